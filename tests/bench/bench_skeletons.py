"""Skeletons of real clips: how many are good, how far a start elsewhere moves them, what they cost.

    python -m tests.bench.bench_skeletons ../shared/real_clips ../shared/real_clips_more \
        [--clips 120] [--stability 16]

For the stability the same frames are given six times, each time with another first one. The joints
from shoulders to ankles that two such runs give for the same frame are compared, in pixels of a
picture whose short side is 256. A clip holds where, for every pair of runs, the median difference
is below 3 px and under 10% of the frames are off by more than 20 px (their median joint).
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np

from musclemap_data.errors import StageError
from musclemap_data.extract.cut import cut_clip
from musclemap_data.extract.decode import iterate_frames
from musclemap_data.modalities.settings import CutSettings
from musclemap_data.pose.backends import estimate_skeleton
from musclemap_data.pose.quality import QualityMeter, SkeletonClass, SkeletonQuality, say_notes

STARTS = (0, 3, 7, 12, 17, 23)
SECONDS = 3.2  # of each clip, its last ones: some videos open with a title card
LARGEST_MEDIAN_PX, FAR_PX, LARGEST_FAR_SHARE = 3.0, 20.0, 0.1


def list_videos(folders: list[Path], count: int) -> list[tuple[Path, float]]:
    """Videos and their lengths in seconds, evenly taken from the tables of some folders."""
    found = []
    for folder in folders:
        with (folder / "clips.csv").open(newline="") as file:
            found += [(folder / row["file"], float(row["seconds"])) for row in csv.DictReader(file)]
    chosen = np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int)
    return [found[number] for number in chosen]


def read_frames(video: Path, seconds: float) -> np.ndarray:
    """The last frames of a video as a clip of the data set has them, uint8 [T, H, W, 3]."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        cut_clip(video, clip, max(0.0, seconds - SECONDS), None, CutSettings())
        return np.stack([frame.copy() for frame in iterate_frames(clip)])


def judge(frames: np.ndarray) -> tuple[np.ndarray, SkeletonQuality, float, float]:
    """The skeleton, its quality, and the milliseconds a frame that each took."""
    began = time.process_time()
    found = estimate_skeleton(frames)
    between = time.process_time()
    meter = QualityMeter()
    meter.add(frames, found.skeleton, found.people)
    quality = meter.finish()
    each = 1000 / len(frames)
    pose_ms, quality_ms = (between - began) * each, (time.process_time() - between) * each
    return found.skeleton[:, 0], quality, pose_ms, quality_ms


def stability(frames: np.ndarray) -> tuple[float, float]:
    """The largest median difference in px of any two starts, and the largest share far off."""
    length = len(frames) - STARTS[-1]
    runs = [estimate_skeleton(frames[start : start + length]).skeleton[:, 0] for start in STARTS]
    scale = 256 / min(frames.shape[1:3])
    medians, far = [], []
    for (a, one), (b, other) in combinations(zip(STARTS, runs, strict=True), 2):
        same = one[b - a :, 5:, :2], other[: length - (b - a), 5:, :2]
        apart = np.linalg.norm(same[0] - same[1], axis=-1) * scale
        found = [np.isfinite(joints.sum(axis=(1, 2))) for joints in same]
        both = found[0] & found[1]
        off = np.median(apart[both], axis=1) > FAR_PX
        medians.append(float(np.median(apart[both])) if both.any() else 0.0)
        far.append(float((off.sum() + (found[0] != found[1]).sum()) / len(both)))
    return max(medians), max(far)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", help="with clips.csv (file, seconds)")
    parser.add_argument("--clips", type=int, default=120, help="evenly taken from the tables")
    parser.add_argument("--stability", type=int, default=16, help="clips started at six places")
    arguments = parser.parse_args()
    videos = list_videos(arguments.folders, arguments.clips)
    every = max(1, len(videos) // max(1, arguments.stability))
    classes, notes = Counter[SkeletonClass](), Counter[str]()
    times, unstable = [], []
    for number, (video, seconds) in enumerate(videos):
        try:
            frames = read_frames(video, seconds)
        except StageError as error:
            print(f"{video.stem:28s} {error}")
            continue
        _, quality, *spent = judge(frames)
        classes[quality.label] += 1
        notes.update(quality.notes)
        times.append(spent)
        line = f"{video.stem:28s} {quality.value:4.2f} {quality.label}{say_notes(quality.notes)}"
        long_enough = len(frames) >= 2 * STARTS[-1]
        if number % every == 0 and long_enough and number // every < arguments.stability:
            median, far = stability(frames)
            holds = median < LARGEST_MEDIAN_PX and far < LARGEST_FAR_SHARE
            line += f"; starts: {median:.2f} px, {far:.0%} far off"
            if not holds and quality.label is SkeletonClass.GOOD:
                unstable.append(video.stem)
        print(line, flush=True)
    total = sum(classes.values())
    print(", ".join(f"{each} {classes[each] / total:.1%}" for each in SkeletonClass), f"of {total}")
    print("notes: " + ", ".join(f"{name} {count}" for name, count in notes.most_common()))
    print(f"good and yet moved by another start: {', '.join(unstable) or 'none'}")
    pose_ms, quality_ms = np.median(times, axis=0)
    print(f"CPU, median of the clips: pose {pose_ms:.1f} ms a frame, quality {quality_ms:.2f} ms")


if __name__ == "__main__":
    main()
