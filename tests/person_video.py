"""A rendered person for tests that need one to be found."""

from __future__ import annotations

from pathlib import Path

from musclemap_data.sample.plan import SAMPLE_SIZES, plan_sample
from musclemap_data.sample.write import write_video


def render_person(folder: Path) -> Path:
    """A video of the tiny synthetic sample that shows a person standing first: 4.4 s, 160 x 120 px,
    15 frames/s."""
    size = SAMPLE_SIZES["tiny"]
    plan = next(plan for plan in plan_sample(size, 0) if plan.video_id == "synthetic_val_00")
    (folder / "videos").mkdir(parents=True)
    write_video(plan, size, folder, truth=False)
    return folder / "videos" / f"{plan.video_id}.mp4"
