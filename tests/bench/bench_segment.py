"""Proposed clips against the truth, on videos composed of real clips whose borders are known.

    python -m tests.bench.bench_segment CACHE [--clips seen] [--one-shot] [--videos 40] [--real 3]

See ``composed_videos``. The pose of each clip is computed once and put together as the video would
be. A person is followed anew in each shot, so the course is the same where the cuts are found.
``--real`` writes so many of the videos as files too, and goes the whole way on them. CACHE keeps
the poses.

The clips of ``real_clips_more`` (``--clips seen``) and one half of those of ``real_clips`` (``a``)
were looked at when the rules and thresholds of ``segment`` were made; the other half (``b``) was
not. ``unseen`` is both halves. Clips of ``real_clips`` are up to 12 s long; of what is played to
and fro the first six seconds are taken. Two of its sources are left out, see ``UNTRIMMED``;
``--clips untrimmed`` takes them too. ``--clips penn --real 0`` composes courses of Penn Action's
skeletons, which have no pictures.

``--one-shot`` leaves out the cuts between people: each gets the same size and place, and the way
from pose to pose takes half a second to two. Such ways are made up. ``--sample`` is a folder that
``musclemap quickstart`` renders, or ``render_sample`` with another seed: its videos show exercises
0.2 s apart in one shot.

``hand_borders.csv`` has turns of movements, marked by eye on contact sheets of five frames a
second. The clips are not part of the project; without them nothing can be measured.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmark.commands.segment import embedded_recogniser
from musclemap_data.catalog import load_activities
from musclemap_data.manifest import read_manifest
from musclemap_data.segment.proposals import Proposal
from musclemap_data.segment.stretches import LONGEST_S
from musclemap_data.segment.video import Recogniser, Source, propose, segment_video
from tests.bench.composed_videos import (
    CLIPS,
    FOLDERS,
    FPS,
    Course,
    Part,
    clip_course,
    compose,
    course_of,
    exercise_names,
    in_one_shot,
    penn_courses,
    write_video,
)


def joined(proposals: list[Proposal], longer_s: float = 0.0) -> list[tuple[float, float]]:
    """Proposed seconds; pieces that follow one another are one, if that is longer than this."""
    spans: list[tuple[float, float]] = []
    for p in proposals:
        if p.left_out:
            continue
        follows = spans and abs(spans[-1][1] - p.start) < 1 / FPS / 2 and p.repetitions
        if follows and p.end - spans[-1][0] > longer_s:
            spans[-1] = (spans[-1][0], p.end)
        else:
            spans.append((p.start, p.end))
    return spans


def overlap(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Overlap over union."""
    both = min(one[1], other[1]) - max(one[0], other[0])
    return max(0.0, both) / (max(one[1], other[1]) - min(one[0], other[0]))


@dataclass
class Score:
    """What was found of one or several videos, in stretches and seconds.

    Attributes:
        undivided: of ``found``, those in one proposal, or in several because they are too long.
        clips: how often a clip was found (True) or missed, by (name, found).
    """

    true: int = 0
    found: int = 0
    undivided: int = 0
    proposed_s: float = 0.0
    outside_s: float = 0.0
    true_s: float = 0.0
    covered_s: float = 0.0
    clips: Counter[tuple[str, bool]] = field(default_factory=Counter)

    def interval(self) -> tuple[float, float]:
        """Of the share that is found, 95%: the clips are drawn anew, with all their stretches."""
        names = sorted({name for name, _ in self.clips})
        counts = np.array([[self.clips[name, True], self.clips[name, False]] for name in names])
        drawn = np.random.default_rng(0).integers(0, len(names), (2000, len(names)))
        found, missed = counts[drawn].sum(1).T
        low, high = np.percentile(found / (found + missed), [2.5, 97.5])
        return float(low), float(high)


def score(
    proposals: list[Proposal],
    parts: list[Part],
    starts: list[float],
    tell: Counter[str],
    cuts: list[float],
) -> Score:
    """Compare the proposals of a video with its parts."""
    spans, total = split_at(joined(proposals), cuts), Score()
    whole = split_at(joined(proposals, LONGEST_S), cuts)
    if len(cuts) < len(parts) - 1:  # pieces that follow one another may be of two exercises
        spans = whole
    for part, start, end in zip(parts, starts, starts[1:], strict=False):
        inside = sum(max(0.0, min(end, b) - max(start, a)) for a, b in spans)
        total.proposed_s += inside
        if part.kind != "exercise":
            total.outside_s += inside
            tell[f"{part.kind} proposed (s)"] += round(inside)
            continue
        total.true += 1
        total.true_s += end - start
        total.covered_s += inside
        got = max((overlap((start, end), span) for span in spans), default=0.0) >= 0.7
        total.found += got
        total.clips[part.clip, bool(got)] += 1
        total.undivided += max((overlap((start, end), span) for span in whole), default=0.0) >= 0.7
        tell[f"played {part.plays}: {'found' if got else 'missed'}"] += 1
        if not got:
            tell[f"missed {part.clip}"] += 1
            for p in proposals:
                if p.left_out and min(end, p.end) - max(start, p.start) > 0.5 * (end - start):
                    tell[f"because: {p.left_out}"] += 1
    return total


def score_sample(folder: Path, recognise: Recogniser) -> Score:
    """Proposals in the videos of the synthetic sample against its exact manifest."""
    clips, total = read_manifest(folder / "manifest.csv", load_activities()), Score()
    for name in sorted({clip.video_id for clip in clips}):
        path = folder / "videos" / f"{name}.mp4"
        made = segment_video(Source(path, path.name, name, name), recognise)
        spans = [(p.start, p.end) for p in made if not p.left_out]
        exercises = [(c.start_s, c.end_s or 0.0) for c in clips if c.video_id == name]
        total.proposed_s += sum(end - start for start, end in spans)
        total.outside_s += sum(end - start for start, end in spans)
        for one in exercises:
            inside = sum(max(0.0, min(one[1], b) - max(one[0], a)) for a, b in spans)
            total.outside_s -= inside
            total.covered_s += inside
            total.true_s += one[1] - one[0]
            total.true += 1
            got = max((overlap(one, span) for span in spans), default=0.0) >= 0.7
            total.found += got
            total.undivided += got
    return total


def split_at(spans: list[tuple[float, float]], cuts: list[float]) -> list[tuple[float, float]]:
    """Spans that were joined over a cut, divided there again."""
    out = []
    for a, b in spans:
        at = [a, *(c for c in cuts if a + 1e-6 < c < b - 1e-6), b]
        out += list(pairwise(at))
    return out


def border_errors(courses: dict[str, Course]) -> list[float]:
    """Distance of each border found from the nearest turn marked by hand, seconds."""
    errors = []
    with (Path(__file__).parent / "hand_borders.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["clip"] in courses]
    for row in rows:
        course, marked = courses[row["clip"]], [float(word) for word in row["borders"].split()]
        times = np.arange(len(course)) / FPS
        clips = [p for p in propose(Source(Path("x"), "x", "x", "x"), course, times, [])
                 if not p.left_out]  # fmt: skip
        found = [border for clip in clips for border in clip.borders]
        errors += [min(abs(border - mark) for mark in marked) for border in found]
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--clips", choices=CLIPS, default="seen")
    parser.add_argument("--one-shot", action="store_true", help="no cuts between people")
    parser.add_argument("--videos", type=int, default=40)
    parser.add_argument("--real", type=int, default=3)
    parser.add_argument("--cached-only", action="store_true", help="no pose that is not there")
    parser.add_argument("--sample", type=Path, help="the folder `sample` of a quickstart")
    arguments = parser.parse_args()
    if arguments.sample:
        print_score("the synthetic sample", score_sample(arguments.sample, embedded_recogniser()))
        return
    arguments.cache.mkdir(parents=True, exist_ok=True)
    paths = sorted(path for folder in FOLDERS.values() for path in folder.glob("*.mp4"))
    if arguments.cached_only:
        paths = [path for path in paths if (arguments.cache / f"{path.stem}.npz").exists()]
    courses = {path.stem: clip_course(path, arguments.cache) for path in paths}
    if arguments.clips == "penn":
        courses |= penn_courses()
    recognise = embedded_recogniser()
    chosen = exercise_names(arguments.clips)
    tell: Counter[str] = Counter()
    total, seconds = Score(), []
    for number in range(arguments.videos):
        parts = compose(courses, number, chosen)
        course, starts = course_of(parts, courses)
        if arguments.one_shot:
            parts, course, starts = in_one_shot(parts, courses, number)
        people = [bool(part.clip) for part in parts]
        cuts = [
            start for start, one, other in zip(starts[1:], people, people[1:], strict=False)
            if not (arguments.one_shot and one and other)
        ]  # fmt: skip
        source = Source(Path(f"{number}.mp4"), f"{number}.mp4", f"v{number}", f"v{number}")
        times = np.arange(len(course)) / FPS
        made = propose(source, course, times, cuts, recognise)
        got = score(made, parts, starts, tell, cuts)
        seconds.append(starts[-1])
        for name in vars(total):
            setattr(total, name, getattr(total, name) + getattr(got, name))
    print_score(f"{len(seconds)} videos of {min(seconds):.0f} to {max(seconds):.0f} s", total)
    low, high = total.interval()
    names = {name for name, _ in total.clips}
    print(f"95% interval: {low:.1%} to {high:.1%}, of {len(names)} clips")
    for name, count in sorted(tell.items(), key=lambda item: -item[1])[:40]:
        print(f"  {count:5d}  {name}")
    if errors := border_errors(courses):
        near = np.mean(np.array(errors) <= 0.3)
        print(f"{len(errors)} borders found, from the nearest turn marked by eye: median "
              f"{np.median(errors):.2f} s, {near:.0%} within 0.3 s")  # fmt: skip
    for number in range(arguments.real):
        parts = compose(courses, number, chosen)
        _, starts = course_of(parts, courses)
        path = arguments.cache / f"composed_{arguments.clips}_{number}.mp4"
        if not path.exists():
            write_video(parts, path)
        source = Source(path, path.name, f"v{number}", f"v{number}")
        made = segment_video(source, recognise)
        print_score(
            f"video {number} as a file", score(made, parts, starts, Counter(), starts[1:-1])
        )


def print_score(name: str, total: Score) -> None:
    outside = total.outside_s / max(total.proposed_s, 1e-9)
    print(
        f"{name}: {total.found} of {total.true} stretches found ({total.found / total.true:.1%}), "
        f"{total.undivided} of them undivided; "
        f"{total.proposed_s:.0f} s proposed, {outside:.1%} outside any exercise; "
        f"{total.covered_s / total.true_s:.1%} of the exercise's seconds covered",
        flush=True,
    )


if __name__ == "__main__":
    main()
