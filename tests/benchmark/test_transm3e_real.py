"""TransM3E and its ablations learn eight real clips (needs the real data beside the checkout)."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmark.settings import Settings
from musclemap_data.catalog import find_activity, load_activities
from musclemap_data.decode import read_frames
from tests.benchmark.overfit import ABLATIONS, TINY, fits


def _real_batch(shared_dir: Path, settings: Settings) -> dict[str, Tensor]:
    """Eight real clips of eight activities with our labels; RGB and its difference, no skeleton."""
    activities = load_activities()
    chosen: dict[str, Path] = {}
    with (shared_dir / "real_clips" / "clips.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            activity = find_activity(row["activity"], activities)
            if activity is not None and len(chosen) < 8:
                chosen.setdefault(activity.slug, next(shared_dir.rglob(row["file"])))
    size = (settings.crop_size, settings.crop_size)
    videos = []
    for path in chosen.values():
        frames = torch.from_numpy(read_frames(path)).float() / 255
        picked = torch.linspace(0, len(frames) - 1, settings.frames).long()
        videos.append(torch.nn.functional.interpolate(frames[picked].permute(0, 3, 1, 2), size))
    rgb = (torch.stack(videos).transpose(1, 2) - 0.45) / 0.225
    return {
        "rgb": rgb,
        "rgb_diff": rgb.diff(dim=2, prepend=rgb[:, :, :1]).abs(),
        "skeleton": torch.zeros(len(rgb), 1, settings.frames, 17, 3),
        "muscles": torch.tensor([activities[slug].muscles for slug in chosen]).float(),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ABLATIONS)
def test_overfits_eight_real_clips_in_preset_tiny(name, shared_dir):
    settings = replace(TINY, **ABLATIONS[name])
    assert fits(settings, steps=60, batch=_real_batch(shared_dir, settings))
