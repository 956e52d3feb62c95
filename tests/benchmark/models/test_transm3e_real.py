"""TransM3E and its ablations learn eight real clips (needs the real data beside the checkout)."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmark.data import normalise_skeleton
from benchmark.protocols.ablation import ABLATIONS
from musclemap_data.catalog import load_activities
from musclemap_data.pose.backends import compute_skeleton
from tests.benchmark.models.overfit import QUICK, TINY, fits
from tests.conftest import read_frames


@pytest.fixture(scope="module")
def real_batch(shared_dir: Path) -> dict[str, Tensor]:
    """Eight real clips of eight activities with our labels: RGB, its difference, skeletons."""
    settings = replace(TINY, **QUICK)
    activities = load_activities()
    chosen: dict[str, Path] = {}
    with (shared_dir / "real_clips" / "clips.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["activity"] in activities and len(chosen) < 8:
                chosen.setdefault(row["activity"], next(shared_dir.rglob(row["file"])))
    size = (settings.crop_size, settings.crop_size)
    videos, skeletons = [], []
    for path in chosen.values():
        frames = read_frames(path)
        frames = frames[torch.linspace(0, len(frames) - 1, settings.frames).long().numpy()]
        skeletons.append(normalise_skeleton(compute_skeleton(frames), settings.min_joint_score))
        pictures = torch.from_numpy(frames).float().permute(0, 3, 1, 2) / 255
        videos.append(torch.nn.functional.interpolate(pictures, size))
    rgb = (torch.stack(videos).transpose(1, 2) - 0.45) / 0.225
    return {
        "rgb": rgb,
        "rgb_diff": rgb.diff(dim=2, prepend=rgb[:, :, :1]).abs(),
        "skeleton": torch.stack([torch.from_numpy(each).transpose(0, 1) for each in skeletons]),
        "muscles": torch.tensor([activities[slug].muscles for slug in chosen]).float(),
    }


@pytest.mark.slow
def test_people_are_found_in_the_real_clips(real_batch):
    assert (real_batch["skeleton"][..., 2] > 0).any(-1).float().mean() > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("row", ABLATIONS)
def test_overfits_eight_real_clips_in_preset_tiny(row, real_batch):
    assert fits(replace(TINY, **QUICK, **ABLATIONS[row]), steps=60, batch=real_batch)
