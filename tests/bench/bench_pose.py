"""Pose on the real clips: share of frames with a person, speed, jitter and lag of the smoothing.

    python -m tests.bench.bench_pose ../shared/real_clips --clips 20 --frames 100

Jitter is the mean length of a joint's second difference in pixels (joints with a score over 0.5).
Lag is the shift, in frames, at which the velocity of the smoothed joint fits that of the raw one
best; it is taken on coordinates that move (standard deviation over 5 px).
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections import deque
from pathlib import Path

import numpy as np

from musclemap_data.pose.backends import estimator
from musclemap_data.pose.follow import FollowSettings, find_shots
from musclemap_data.pose.smoothing import SmoothingSettings, smooth_skeleton
from musclemap_data.skeleton import person_share


def read_last_frames(path: Path, count: int) -> np.ndarray:
    """The last frames of a video at short side 256, uint8 [T, H, W, 3].

    The last, because many clips begin with a title card.
    """
    import av

    kept: deque[np.ndarray] = deque(maxlen=count)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        scale = min(1.0, 256 / min(stream.width, stream.height))
        width, height = round(stream.width * scale), round(stream.height * scale)
        for frame in container.decode(stream):
            kept.append(frame.reformat(width, height, format="rgb24").to_ndarray())
    return np.stack(kept)


def jitter_px(joints: np.ndarray) -> np.ndarray:
    """Lengths of second differences of the well seen joints of [T, 17, 3]."""
    length = np.linalg.norm(np.diff(joints[..., :2], 2, axis=0), axis=-1)
    return length[np.isfinite(length) & (joints[1:-1, :, 2] > 0.5)]


def lag_frames(raw: np.ndarray, smooth: np.ndarray, reach: int = 4) -> float:
    """By how many frames ``smooth`` [T] comes after ``raw`` [T]; NaN when it cannot be told."""
    a, b = np.diff(raw), np.diff(smooth)
    inner = slice(reach, len(a) - reach)
    shifts = range(-reach, reach + 1)
    fit = [float(a[inner] @ b[reach + s : len(b) - reach + s]) for s in shifts]
    best = int(np.argmax(fit))
    if best in (0, 2 * reach):
        return float("nan")
    before, at, after = fit[best - 1 : best + 2]
    return shifts[best] + 0.5 * (before - after) / (before - 2 * at + after)


def moving_coordinates(joints: np.ndarray) -> list[tuple[int, int]]:
    """(joint, axis) of what is seen in every frame of [T, 17, 3] and moves."""
    if not np.isfinite(joints).all():
        return []
    seen = (joints[..., 2] > 0.5).mean(axis=0) > 0.9
    spread = joints[..., :2].std(axis=0)
    return [(int(j), c) for j in np.flatnonzero(seen) for c in (0, 1) if spread[j, c] > 5]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="with clips.csv (columns file, activity)")
    parser.add_argument("--clips", type=int, default=20, help="evenly taken from the table")
    parser.add_argument("--frames", type=int, default=100)
    arguments = parser.parse_args()
    with (arguments.folder / "clips.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = [rows[i] for i in np.linspace(0, len(rows) - 1, arguments.clips).astype(int)]

    raw_estimator, settings = estimator("blazepose", smoothing=None), SmoothingSettings()
    covered, seconds, frame_count = [], 0.0, 0
    raw_jitter, smooth_jitter, lags = [], [], []
    for row in chosen:
        frames = read_last_frames(arguments.folder / row["file"], arguments.frames)
        start = time.perf_counter()
        skeleton = raw_estimator(frames)
        seconds += time.perf_counter() - start
        frame_count += len(frames)
        covered.append(person_share(skeleton))
        raw = skeleton[:, 0]
        shots = find_shots(frames, FollowSettings().cut_correlation)
        smooth = smooth_skeleton(raw, settings, shots)
        for first, last in shots:
            raw_jitter.append(jitter_px(raw[first:last]))
            smooth_jitter.append(jitter_px(smooth[first:last]))
            if last - first >= 30:
                for joint, axis in moving_coordinates(raw[first:last]):
                    pair = raw[first:last, joint, axis], smooth[first:last, joint, axis]
                    lags.append(lag_frames(*pair))
        print(f"{row['file']:30s} {len(frames):4d} frames, coverage {covered[-1]:.2f}", flush=True)
    if not frame_count:
        sys.exit("no clips")
    half = np.mean(np.array(covered) >= 0.5)
    print(f"clips with a person in half of their frames or more: {half:.1%} of {len(covered)}")
    print(f"speed, one thread: {1000 * seconds / frame_count:.1f} ms a frame")
    before, after = (float(np.concatenate(j).mean()) for j in (raw_jitter, smooth_jitter))
    print(f"jitter: {before:.2f} px raw, {after:.2f} px smoothed ({after / before - 1:+.0%})")
    low, middle, high = np.nanpercentile(lags, (5, 50, 95))
    print(
        f"lag of the smoothing: median {middle:+.3f} frames, 5-95% {low:+.2f} to {high:+.2f} "
        f"({len(lags)} signals)"
    )


if __name__ == "__main__":
    main()
