"""A rendered person for tests that need one to be found."""

from __future__ import annotations

from pathlib import Path

from musclemap_data.sample.plan import SAMPLE_SIZES, plan_sample
from musclemap_data.sample.write import write_video


def render_person(folder: Path) -> Path:
    """The first video of the tiny synthetic sample: a few seconds, 160 x 120 px, 15 frames/s."""
    size = SAMPLE_SIZES["tiny"]
    plan = plan_sample(size, 0)[0]
    (folder / "videos").mkdir(parents=True)
    write_video(plan, size, folder, truth=False)
    return folder / "videos" / f"{plan.video_id}.mp4"
