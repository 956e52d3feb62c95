"""Skeletons of real clips: how many are good, how far a start elsewhere moves them, what they cost.

    python -m tests.bench.bench_skeletons ../shared/real_clips ../shared/real_clips_more \
        [--clips 120] [--stability 30] [--also pull_up_01.mp4 ...] [--seed 613]

For the stability the same frames are given six times, each time with another first one: of the
clips that ``--also`` names and of as many as ``--stability`` says, drawn by the seed. The joints
from shoulders to ankles that two such runs give for the same frame are compared, in pixels of a
picture whose short side is 256. A clip holds where, for every pair of runs, the median difference
is below 3 px and under 10% of the frames are off by more than 20 px (their median joint).

Then the quality is held against an eye: ``skeleton_verdicts.csv`` has 112 windows of 3.2 s whose
skeletons were looked at before their quality was known. How many of the bad ones (partly or wholly
wrong) are flagged, that is not called good, and how many of the good ones? docs/pose.md says how
the two samples were drawn: on the first the values were set, on the second they were tested.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from musclemap_data.errors import StageError
from musclemap_data.extract.cut import cut_clip
from musclemap_data.extract.decode import iterate_frames
from musclemap_data.modalities.settings import CutSettings
from musclemap_data.pose.backends import estimate_skeleton
from musclemap_data.pose.quality import QualityMeter, SkeletonClass, SkeletonQuality, say_notes

STARTS = (0, 3, 7, 12, 17, 23)
BY_EYE = {"bad": ("partly", "wrong"), "wholly wrong": ("wrong",), "good": ("good",)}
VERDICTS = Path(__file__).with_name("skeleton_verdicts.csv")
SECONDS = 3.2  # of each clip, its last ones: some videos open with a title card
LARGEST_MEDIAN_PX, FAR_PX, LARGEST_FAR_SHARE = 3.0, 20.0, 0.1


def list_videos(folders: list[Path], count: int | None = None) -> list[tuple[Path, float]]:
    """Videos and their lengths in seconds, all or ``count`` evenly taken from some tables."""
    found = []
    for folder in folders:
        with (folder / "clips.csv").open(newline="") as file:
            found += [(folder / row["file"], float(row["seconds"])) for row in csv.DictReader(file)]
    if count is None:
        return found
    chosen = np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int)
    return [found[number] for number in chosen]


def read_frames(video: Path, start_s: float, end_s: float | None = None) -> np.ndarray:
    """A part of a video as a clip of the data set has it, uint8 [T, H, W, 3]."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        cut_clip(video, clip, start_s, end_s, CutSettings())
        return np.stack([frame.copy() for frame in iterate_frames(clip)])


def judge(frames: np.ndarray) -> tuple[np.ndarray, SkeletonQuality, float, float]:
    """The skeleton, its quality, and the milliseconds a frame that each took."""
    began = time.process_time()
    found = estimate_skeleton(frames)
    between = time.process_time()
    meter = QualityMeter()
    meter.add(frames, found.skeleton, found.people, found.contradicted)
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


def against_the_eye(folders: list[Path]) -> None:
    """Print how many of the bad and of the good skeletons are flagged, with 95% intervals."""
    videos = {video.name: (video, seconds) for video, seconds in list_videos(folders)}
    flagged = defaultdict[tuple[str, str], list[bool]](list)
    with VERDICTS.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["file"] in videos]
    for row in rows:
        video, seconds = videos[row["file"]]
        start_s = float(row["first_s"])
        _, quality, *_ = judge(read_frames(video, start_s, min(start_s + SECONDS, seconds)))
        found = quality.label is not SkeletonClass.GOOD
        flagged[row["sample"], row["verdict"]].append(found)
        if found == (row["verdict"] == "good"):
            print(f"{video.stem:28s} {row['verdict']} by eye: {quality.sentence()}", flush=True)
    for sample in sorted({row["sample"] for row in rows}):
        for name, verdicts in BY_EYE.items():
            of_name = [each for verdict in verdicts for each in flagged[sample, verdict]]
            if of_name:
                ends = binomtest(sum(of_name), len(of_name)).proportion_ci(method="wilson")
                print(
                    f"sample {sample}, {len(of_name)} {name} by eye: flagged {sum(of_name)}, "
                    f"{np.mean(of_name):.0%} ({ends.low:.0%} to {ends.high:.0%})"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", help="with clips.csv (file, seconds)")
    parser.add_argument("--clips", type=int, default=120, help="evenly taken from the tables")
    parser.add_argument("--stability", type=int, default=30, help="clips started at six places")
    parser.add_argument("--seed", type=int, default=613, help="of the draw for --stability")
    parser.add_argument("--also", nargs="*", default=[], help="files started at six places, too")
    parser.add_argument("--no-verdicts", action="store_true", help="leave out the verdicts")
    arguments = parser.parse_args()
    if arguments.clips:
        classes_of(list_videos(arguments.folders, arguments.clips))
    videos = sorted(list_videos(arguments.folders), key=lambda each: each[0].name)
    other_starts(videos, arguments.stability, arguments.seed, arguments.also)
    if not arguments.no_verdicts:
        against_the_eye(arguments.folders)


def classes_of(videos: list[tuple[Path, float]]) -> None:
    """Print the quality of each clip, how many are of each class, and what pose and it cost."""
    classes, notes = Counter[SkeletonClass](), Counter[str]()
    times = []
    for video, seconds in videos:
        try:
            frames = read_frames(video, max(0.0, seconds - SECONDS))
        except StageError as error:
            print(f"{video.stem:28s} {error}")
            continue
        _, quality, *spent = judge(frames)
        classes[quality.label] += 1
        notes.update(quality.notes)
        times.append(spent)
        print(say_quality(video, quality), flush=True)
    total = sum(classes.values())
    print(", ".join(f"{each} {classes[each] / total:.1%}" for each in SkeletonClass), f"of {total}")
    print("notes: " + ", ".join(f"{name} {count}" for name, count in notes.most_common()))
    pose_ms, quality_ms = np.median(times, axis=0)
    print(f"CPU, median of the clips: pose {pose_ms:.1f} ms a frame, quality {quality_ms:.2f} ms")


def say_quality(video: Path, quality: SkeletonQuality) -> str:
    return f"{video.stem:28s} {quality.value:4.2f} {quality.label}{say_notes(quality.notes)}"


def other_starts(videos: list[tuple[Path, float]], count: int, seed: int, also: list[str]) -> None:
    """Print how far another start moves the skeletons of some clips, drawn and named."""
    by_name = {video.name: (video, seconds) for video, seconds in videos}
    drawn = np.random.default_rng(seed).permutation(sorted(by_name)).tolist()
    tried: list[tuple[bool, bool]] = []
    medians = []
    for name in dict.fromkeys([*also, *drawn]):
        if len(tried) >= count + len(also):
            break
        video, seconds = by_name[name]
        try:
            frames = read_frames(video, max(0.0, seconds - SECONDS))
        except StageError:
            continue
        if len(frames) < 2 * STARTS[-1]:
            continue
        _, quality, *_ = judge(frames)
        median, far = stability(frames)
        holds = median < LARGEST_MEDIAN_PX and far < LARGEST_FAR_SHARE
        tried.append((quality.label is SkeletonClass.GOOD, holds))
        medians.append(median)
        said = f"starts: {median:.2f} px, {far:.0%} far off{'' if holds else ', MOVED'}"
        print(f"{say_quality(video, quality)}; {said}", flush=True)
    for good, name in ((True, "good"), (False, "flagged")):
        of_name = [holds for is_good, holds in tried if is_good is good]
        print(f"other starts, {len(of_name)} {name} clips: {sum(of_name)} hold")
    print(f"median of the clips {np.median(medians):.2f} px" if medians else "no clip started anew")


if __name__ == "__main__":
    main()
