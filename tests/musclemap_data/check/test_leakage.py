"""Leaks between splits: copies are found under other names, different clips are not."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg

from musclemap_data.check.leakage import (
    LEAST_MATCHES,
    _Clip,
    _near_duplicates,
    find_leaks,
    perceptual_hash,
)
from musclemap_data.shards import shard_path, write_shard


def scene(seed: int, frames: int = 12, height: int = 120, width: int = 160) -> np.ndarray:
    """A figure that moves over clouds: ``uint8 [T, H, W, 3]``."""
    rng = np.random.default_rng(seed)
    clouds = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    background = cv2.resize(clouds, (width, height), interpolation=cv2.INTER_CUBIC)
    video = np.repeat(background[None], frames, axis=0)
    for t in range(frames):
        cv2.circle(video[t], (20 + 9 * t, height // 2), 18, (250, 220, 60), -1)
    return video


def row(clip_id: str, split: str, video: np.ndarray | None, **changes: Any) -> dict[str, Any]:
    quality = changes.pop("quality", 90)
    images = None if video is None else [simplejpeg.encode_jpeg(f, quality) for f in video]
    frames, height, width = (4, 90, 160) if video is None else video.shape[:3]
    return {
        "clip_id": clip_id,
        "video_id": f"v_{clip_id}",
        "url": f"{clip_id}.mp4",
        "activity": "squat",
        "split": split,
        "start_s": 0.0,
        "end_s": 1.0,
        "frames": frames,
        "height": height,
        "width": width,
        "fps": 10.0,
        "muscles": [True] * 20,
        "rgb": images,
        "source_sha256": f"sha_{clip_id}",
        "provenance": "{}",
    } | changes


def write(folder: Path, *rows: dict[str, Any]) -> Path:
    (folder / "shards").mkdir(exist_ok=True)
    for split in {r["split"] for r in rows}:
        write_shard(shard_path(folder, split, 0), [r for r in rows if r["split"] == split])
    return folder


def rescaled(video: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.stack([cv2.resize(f, (width, height), interpolation=cv2.INTER_AREA) for f in video])


def test_a_rescaled_and_recompressed_copy_is_found(tmp_path: Path) -> None:
    original = scene(1)
    copy = np.clip(rescaled(original, 96, 72) * 1.08 + 6, 0, 255).astype(np.uint8)
    write(
        tmp_path,
        row("original", "train", original),
        row("other", "train", scene(2)),
        row("copy", "test_known", copy, quality=50),
        row("third", "test_known", scene(3)),
    )
    (message,) = find_leaks(tmp_path)
    assert "test_known-00000.parquet row 0 (copy) in test" in message
    assert "train-00000.parquet row 0 (original) in train" in message


def test_copies_on_one_side_are_no_leak(tmp_path: Path) -> None:
    write(tmp_path, row("a", "test_known", scene(1)), row("b", "test_new", scene(1)))
    assert find_leaks(tmp_path) == []


@pytest.mark.parametrize("split", ["val_known", "val_new", "test_known", "test_new"])
def test_every_pair_of_sides_is_compared(tmp_path: Path, split: str) -> None:
    first = "test_new" if split.startswith("val") else "val_new"
    write(tmp_path, row("a", first, scene(1)), row("b", split, scene(1)))
    assert len(find_leaks(tmp_path)) == 1


def test_different_clips_are_not_alike(tmp_path: Path) -> None:
    rows = [
        row(f"c{seed}", ("train", "val_known", "test_known")[seed % 3], scene(seed, frames=8))
        for seed in range(36)
    ]
    assert find_leaks(write(tmp_path, *rows)) == []


def test_flat_frames_match_nothing(tmp_path: Path) -> None:
    black = np.zeros((8, 90, 160, 3), np.uint8)
    gray = np.full((8, 60, 80, 3), 128, np.uint8)
    write(
        tmp_path,
        row("a", "train", black),
        row("b", "val_known", black),
        row("c", "test_known", gray),
    )
    assert find_leaks(tmp_path) == []


def test_a_shared_title_card_is_not_enough_but_more_is(tmp_path: Path) -> None:
    card, first, second = scene(9, 1), scene(1, 7), scene(2, 7)
    few, many = np.repeat(card, 1, 0), np.repeat(card, 7, 0)
    clips = [np.concatenate([few, first]), np.concatenate([few, second])]
    write(tmp_path, row("a", "train", clips[0]), row("b", "test_known", clips[1]))
    assert find_leaks(tmp_path, least_matches=2) == []
    clips = [np.concatenate([many, first[:1]]), np.concatenate([many, second[:1]])]
    write(tmp_path, row("a", "train", clips[0]), row("b", "test_known", clips[1]))
    assert len(find_leaks(tmp_path)) == 1


@pytest.mark.parametrize("column", ["video_id", "source_sha256"])
def test_one_source_on_two_sides_is_found_without_pictures(tmp_path: Path, column: str) -> None:
    write(
        tmp_path,
        row("a", "train", None, **{column: "one"}),
        row("b", "test_known", None, **{column: "one"}),
        row("c", "test_known", None, **{column: "one"}),
        row("d", "test_known", None),
    )
    (message,) = find_leaks(tmp_path)
    assert "one is in train at train-00000.parquet row 0 (a)" in message
    assert "in test at test_known-00000.parquet row 0 (b)" in message


def test_a_source_leak_is_told_once(tmp_path: Path) -> None:
    same = {"video_id": "one", "source_sha256": "two"}
    write(
        tmp_path,
        row("a", "train", scene(1), **same),
        row("b", "test_known", scene(1), **same),
        row("c", "val_known", scene(1), **same),
    )
    messages = find_leaks(tmp_path)
    assert len(messages) == 2 and all(m.startswith("video one") for m in messages)


def test_damaged_frames_are_passed_over_and_told(tmp_path: Path) -> None:
    damaged = row("b", "test_known", scene(1, 8))
    damaged["rgb"][0] = b"not a jpeg"
    write(tmp_path, row("a", "train", scene(1, 8)), damaged)
    leak, note = find_leaks(tmp_path)
    assert "shows the same pictures" in leak and "7 of 8" in leak
    assert note == "test_known-00000.parquet row 0 (b): 1 frames do not decode: not compared"


def test_arguments_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="max_distance is 33"):
        find_leaks(tmp_path, max_distance=33)
    with pytest.raises(ValueError, match="least_matches is 1"):
        find_leaks(tmp_path, least_matches=1)
    assert find_leaks(tmp_path) == []


def test_hash_is_that_of_its_definition() -> None:
    rng = np.random.default_rng(0)
    small = cv2.GaussianBlur(rng.integers(0, 256, (32, 32), dtype=np.uint8), (0, 0), 2) * 3
    # DCT-II by its formula, orthonormal scale left out: it is the same for all frequencies used.
    k, n = np.arange(1, 9)[:, None], np.arange(32)[None]
    basis = np.cos(np.pi * k * (2 * n + 1) / 64)
    low = basis @ small.astype(np.float64) @ basis.T
    bits = "".join("1" if v > np.median(low) else "0" for v in low.ravel())
    assert perceptual_hash(small) == int(bits, 2)
    assert perceptual_hash(np.full((50, 50), 7, np.uint8)) is None


def test_blocks_agree_with_plain_comparison_and_are_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    parts = ["train"] * 40 + ["val"] * 25 + ["test"] * 30
    clips = [_Clip(str(i), part, str(i), str(i)) for i, part in enumerate(parts)]
    pool = rng.integers(0, 2**63, 60, dtype=np.uint64)
    hashes = [
        rng.choice(pool, rng.integers(0, 9)) ^ np.uint64(1 << int(rng.integers(0, 63)))
        for _ in clips
    ]
    expected = []
    for i in range(len(clips)):
        for j in range(i + 1, len(clips)):
            if parts[i] == parts[j]:
                continue
            near = [[(int(a) ^ int(b)).bit_count() <= 2 for b in hashes[j]] for a in hashes[i]]
            table = np.array(near, bool).reshape(len(hashes[i]), len(hashes[j]))
            count = min(table.any(0).sum(), table.any(1).sum())
            if count >= 2:
                expected.append((i, j, int(count)))
    assert len(expected) > 20
    monkeypatch.setattr("musclemap_data.check.leakage._PAIRS_AT_ONCE", 700)
    assert _near_duplicates(clips, hashes, 2, 2) == expected
    monkeypatch.undo()
    many = [_Clip(str(i), ("train", "val", "test")[i // 700], "", "") for i in range(2100)]
    values = [rng.integers(0, 2**63, 8, dtype=np.uint64) for _ in many]
    began = time.perf_counter()
    assert _near_duplicates(many, values, 6, LEAST_MATCHES) == []
    # 94 million pairs of frames: 0.3 s on a quiet core.
    assert time.perf_counter() - began < 10
