"""A data set of tiny clips with a little noise for a picture, written as real shards."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
import torch
from torch import nn

from benchmark import run
from benchmark.chance import ChanceLevel
from benchmark.record import (
    Cost,
    DataRecord,
    MachineRecord,
    MeanScores,
    RunRecord,
    Scores,
    SplitScores,
)
from benchmark.settings import Settings
from musclemap_data.catalog import load_muscles
from musclemap_data.shards import shard_path, write_dataset_info, write_shard

HEIGHT, WIDTH = 48, 64
BOUND_PX = 20.0

# Made-up activities; the regions of each are drawn from its name.
ACTIVITIES = {
    "train": ("hop", "bend", "press", "row"),
    "val_known": ("hop", "bend"),
    "val_new": ("twist", "kick"),
    "test_known": ("hop", "press", "row"),
    "test_new": ("lunge", "reach", "crawl"),
}


def activity_muscles(activity: str) -> list[bool]:
    """20 booleans that depend on the name alone."""
    seed = int.from_bytes(hashlib.sha256(activity.encode()).digest()[:4], "big")
    return (np.random.default_rng(seed).random(20) < 0.4).tolist()


def make_row(
    clip_id: str,
    activity: str,
    split: str,
    *,
    frames: int = 24,
    height: int = HEIGHT,
    width: int = WIDTH,
    video_id: str | None = None,
    without: tuple[str, ...] = (),
) -> dict[str, Any]:
    """One clip: a noise texture whose brightness tells its activity, moving to the right."""
    rng = np.random.default_rng(list(clip_id.encode()))
    texture = rng.integers(0, 60, (height, width, 3))
    brightness = 20 + 150 * (activity_muscles(activity)[0] + 0.1 * (len(activity) % 3))
    pictures = np.stack(
        [np.clip(np.roll(texture, t, axis=1) + brightness, 0, 255) for t in range(frames)]
    ).astype(np.uint8)
    difference = np.abs(np.diff(pictures.astype(int), axis=0, prepend=pictures[:1])).astype(
        np.uint8
    )
    flow = np.zeros((max(0, frames - 1), 2 * height, width))
    flow[:, :height] = 1.0  # one pixel to the right
    skeleton = np.empty((frames, 1, 17, 3), np.float32)
    skeleton[..., 0] = rng.uniform(10, width - 10, 17) + np.arange(frames)[:, None, None]
    skeleton[..., 1] = rng.uniform(5, height - 5, 17)
    skeleton[..., 2] = 0.9
    row: dict[str, Any] = {
        "clip_id": clip_id,
        "video_id": video_id or f"video-{clip_id}",
        "url": "https://example.org/video.mp4",
        "activity": activity,
        "split": split,
        "start_s": 0.0,
        "end_s": frames / 25,
        "frames": frames,
        "height": height,
        "width": width,
        "fps": 25.0,
        "muscles": activity_muscles(activity),
        "rgb": [jpeg(picture) for picture in pictures],
        "rgb_diff": [jpeg(picture) for picture in difference],
        "flow": [jpeg(np.rint((pair + BOUND_PX) * 255 / (2 * BOUND_PX))) for pair in flow],
        "flow_bound_px": BOUND_PX,
        "flow_clipped_share": 0.0,
        "skeleton": skeleton.ravel(),
        "skeleton_people": 1,
        "source_sha256": "0" * 64,
        "provenance": "{}",
    }
    return {name: None if name in without else value for name, value in row.items()}


def jpeg(picture: np.ndarray) -> bytes:
    """A JPEG of quality 90, grey where the picture has two dimensions."""
    picture = np.ascontiguousarray(picture, dtype=np.uint8)
    if picture.ndim == 2:
        return simplejpeg.encode_jpeg(picture[..., None], quality=90, colorspace="GRAY")
    return simplejpeg.encode_jpeg(picture, quality=90)


def write_dataset(
    directory: Path, rows: dict[str, list[dict[str, Any]]], planned: dict[str, int] | None = None
) -> Path:
    """Shards of at most five clips, and ``dataset.json``."""
    (directory / "shards").mkdir(parents=True)
    for split, clips in rows.items():
        for number, first in enumerate(range(0, len(clips), 5)):
            write_shard(shard_path(directory, split, number), clips[first : first + 5])
    splits = {
        split: {"planned": (planned or {}).get(split, len(clips)), "built": len(clips)}
        for split, clips in rows.items()
    }
    write_dataset_info(directory, {"name": "test", "splits": splits})
    return directory


def make_rows(clips_per_activity: int = 3) -> dict[str, list[dict[str, Any]]]:
    """All splits, clips of 12 to 40 frames."""
    return {
        split: [
            make_row(
                f"{split}-{activity}-{number}",
                activity,
                split,
                frames=12 + (7 * number + 5 * position) % 29,
                video_id=f"{split}-video-{number}",
            )
            for number in range(clips_per_activity)
            for position, activity in enumerate(activities)
        ]
        for split, activities in ACTIVITIES.items()
    }


CHANCE = ChanceLevel(mean=0.35, high=0.45, p=0.004)


def make_split(name: str, **changes: Any) -> SplitScores:
    """Made-up scores of one split."""
    scores = SplitScores(
        clips=10, planned=10, coverage=1.0, videos=5, activities=5,
        skeletons=None, left_out="activities" if name.endswith("_new") else "videos", regions=20,
        trivial_regions=0, map=0.5, map_interval=(0.4, 0.6), constant_map=0.3, chance=CHANCE,
        f1_micro=0.5, f1_macro=0.4, label_ranking_ap=0.7, calibration_error=0.1,
        per_region_ap={muscle.slug: 0.5 for muscle in load_muscles()},
        per_region_chance={muscle.slug: CHANCE for muscle in load_muscles()}, per_activity={},
    )  # fmt: skip
    return replace(scores, **changes)


def make_record(
    *, splits: dict[str, SplitScores] | None = None, threshold: float | None = 0.5, **changes: Any
) -> RunRecord:
    """A made-up finished run; ``splits`` replaces the scores of single splits."""
    names = ("val_known", "val_new", "test_known", "test_new")
    mean = MeanScores(0.5, (0.4, 0.6), 0.3, CHANCE)
    scores = Scores(
        {**{name: make_split(name) for name in names}, **(splits or {})},
        {"val": mean, "test": mean},
        threshold,
    )
    record = RunRecord(
        run="toy-tiny-seed0", model="toy", preset="tiny", seed=0, changes={}, modalities=("rgb",),
        data=DataRecord("test", "0" * 64, subset=True), teacher=None, train_clips=40,
        parameters=80, trained_parameters=80, training=None,
        machine=MachineRecord("cpu", 1, "3.11", "2.0"), cost=Cost(240, 1.0, 10.0), scores=scores,
    )  # fmt: skip
    return replace(record, **changes)


@pytest.fixture(scope="session")
def dataset_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """45 clips in five splits; one planned test clip could not be built."""
    return write_dataset(
        tmp_path_factory.mktemp("dataset") / "data", make_rows(), planned={"test_known": 10}
    )


@pytest.fixture
def tiny() -> Callable[..., Settings]:
    """Settings for 48 x 64 px clips, with changes: ``tiny(epochs=2)``."""

    def make(**changes: Any) -> Settings:
        defaults: dict[str, Any] = {
            "frames": 4,
            "rate": 3,
            "crop_size": 32,
            "jitter_min": 36,
            "jitter_max": 44,
            "test_short_side": 36,
            "test_views": 2,
            "epochs": 1,
            "batch_size": 4,
            "workers": 0,
            "threads": 1,
            "device": "cpu",
        }
        return Settings.from_preset("tiny", **{**defaults, **changes})

    return make


class MeanColour(nn.Module):
    """Mean colour to logits."""

    modalities = ("rgb",)

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 20)
        self.dropout = nn.Dropout(0.2)

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.layer(self.dropout(batch["rgb"].mean(dim=(2, 3, 4))))


@pytest.fixture
def toy_model(monkeypatch) -> None:
    """The model name ``toy`` for one test."""
    monkeypatch.setitem(run.MODELS, "toy", lambda settings: MeanColour())
