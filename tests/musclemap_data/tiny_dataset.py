"""A data set of a few tiny clips, written straight into shards, for tests of what reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg

from musclemap_data.catalog import load_activities
from musclemap_data.errors import Failure, FailureClass
from musclemap_data.files import file_sha256
from musclemap_data.ledger import Ledger
from musclemap_data.ledger.rows import VideoFacts
from musclemap_data.manifest import Clip
from musclemap_data.modalities.flow import to_image
from musclemap_data.shards import shard_path, write_dataset_info, write_shard

FRAMES, HEIGHT, WIDTH, FPS = 12, 48, 64, 12.0
PLAN = (
    # clip id, video id, activity, split
    ("push_01", "v1", "push_up", "train"),
    ("push_02", "v1", "push_up", "train"),
    ("squat_01", "v2", "squat", "train"),
    ("squat_02", "v3", "squat", "val_known"),
    ("lunge_01", "v4", "lunge", "test_known"),
    ("hollow_01", "v5", "hollow_hold", "test_new"),
)


def clip_row(clip_id: str, video_id: str, activity: str, split: str, seed: int) -> dict[str, Any]:
    """A bright square that moves 2 px a frame to the right over clouds, with all modalities."""
    rng = np.random.default_rng(seed)
    clouds = rng.integers(30, 120, (4, 5, 3), dtype=np.uint8)
    background = cv2.resize(clouds, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    frames = np.repeat(background[None], FRAMES, axis=0)
    for t in range(FRAMES):
        frames[t, 16:32, 8 + 2 * t : 24 + 2 * t] = (230, 200, 40)
    difference = np.zeros_like(frames)
    difference[1:] = np.abs(np.diff(frames.astype(np.int16), axis=0)).astype(np.uint8)
    flow = np.zeros((FRAMES - 1, HEIGHT, WIDTH, 2), np.float32)
    for t in range(FRAMES - 1):
        flow[t, 16:32, 8 + 2 * t : 24 + 2 * t, 0] = 2.0
    skeleton = np.empty((FRAMES, 1, 17, 3), np.float32)
    skeleton[..., 0] = np.linspace(16, 40, 17) + 2 * np.arange(FRAMES)[:, None, None]
    skeleton[..., 1] = np.linspace(8, 40, 17)
    skeleton[..., 2] = 0.9
    skeleton[0, 0, 3] = (np.nan, np.nan, 0)  # a joint that was not found
    return {
        "clip_id": clip_id,
        "video_id": video_id,
        "url": f"https://example.org/{video_id}",
        "activity": activity,
        "split": split,
        "start_s": 1.0,
        "end_s": 2.0,
        "frames": FRAMES,
        "height": HEIGHT,
        "width": WIDTH,
        "fps": FPS,
        "muscles": list(load_activities()[activity].muscles),
        "rgb": [simplejpeg.encode_jpeg(frame, 95) for frame in frames],
        "rgb_diff": [simplejpeg.encode_jpeg(frame, 95) for frame in difference],
        "flow": [
            simplejpeg.encode_jpeg(to_image(field)[..., None], 95, colorspace="GRAY")
            for field in flow
        ],
        "flow_bound_px": 20.0,
        "flow_clipped_share": 0.0,
        "skeleton": skeleton.ravel(),
        "skeleton_people": 1,
        "source_sha256": f"{seed:064x}",
        "provenance": json.dumps(
            {
                "rgb": {"extractor": "simplejpeg", "version": "1", "settings": {}},
                "flow": {"extractor": "drawn", "version": "1", "settings": {"bound_px": 20.0}},
                "skeleton": {"extractor": "drawn", "version": "1", "settings": {}},
            }
        ),
    }


def write_dataset(folder: Path, *, plan: Sequence[tuple[str, str, str, str]] = PLAN) -> Path:
    """Shards and ``dataset.json`` of the plan; gives the folder."""
    (folder / "shards").mkdir(parents=True, exist_ok=True)
    splits = {s: {"planned": 0, "built": 0} for s in ("train", "val_known", "val_new")}
    splits |= {s: {"planned": 0, "built": 0} for s in ("test_known", "test_new")}
    shards = {}
    for split in splits:
        rows = [
            clip_row(*entry, seed=number) for number, entry in enumerate(plan) if entry[3] == split
        ]
        splits[split] = {"planned": len(rows), "built": len(rows)}
        if rows:
            path = shard_path(folder, split, 0)
            write_shard(path, rows)
            shards[path.name] = {"rows": len(rows), "sha256": file_sha256(path)}
    made = {"extractor": "drawn", "version": "1"}
    write_dataset_info(
        folder,
        {
            "name": "tiny",
            "activities": "musclemap",
            "splits": splits,
            "modalities": dict.fromkeys(("rgb", "rgb-diff", "flow", "skeleton"), made),
            "shards": shards,
        },
    )
    return folder


def write_ledger(folder: Path) -> None:
    """A ledger of the plan, with two clips more: one that failed and one that waits."""
    clips = [
        Clip(clip_id, video_id, f"https://example.org/{video_id}", 1.0, 2.0, activity, split)
        for clip_id, video_id, activity, split in PLAN
    ]
    gone = Clip("plank_gone", "v8", "https://example.org/v8", 0.0, 3.0, "plank", "train")
    late = Clip("plank_late", "v9", "https://example.org/v9", 0.0, 3.0, "plank", "train")
    with Ledger(folder) as ledger:
        ledger.sync([*clips, gone, late], folder)
        failure = Failure("download", FailureClass.GONE, "Video unavailable <b>removed</b>")
        ledger.video_failed("v8", failure, 0.1)
        for clip in clips:
            facts = VideoFacts("x.mp4", 1, "0" * 64, "test", licence="CC BY")
            ledger.video_downloaded(clip.video_id, facts, 0.1)
        ledger.assign_shards(64)
        for split in {clip.split for clip in clips}:
            ids = sorted(clip.clip_id for clip in clips if clip.split == split)
            ledger.shard_written(split, 0, dict.fromkeys(ids, "0" * 64), {})
