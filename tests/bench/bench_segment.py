"""Proposed clips against the truth, on videos composed of real clips whose borders are known.

    python -m tests.bench.bench_segment CACHE [--clips seen] [--one-shot] [--videos 40] [--real 3]

Each video has 1 to 3 minutes: title cards, somebody who stands and hardly moves, rests, exercises
of several people, cut one after the other. About half of the exercises are a clip of some five
seconds as it is, half are played forwards, backwards and forwards, as a set of repetitions.

The pose of each clip is computed once and put together as the video would be. A person is followed
anew in each shot, so the course is the same where the cuts are found. ``--real`` writes so many of
the videos as files too, and goes the whole way on them. CACHE keeps the poses.

The thresholds of ``segment`` were set on the clips of ``real_clips_more`` (``--clips seen``). Those
of ``real_clips`` (``--clips unseen``) were in no video that a threshold was set on. They are 10 s
long; of what is played to and fro the first six seconds are taken. Two of its sources are left out,
see ``UNTRIMMED``; ``--clips untrimmed`` takes them too.

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
import random
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from benchmark.commands.segment import embedded_recogniser
from musclemap_data.catalog import load_activities
from musclemap_data.errors import UserError
from musclemap_data.extract.person import follow
from musclemap_data.extract.windows import read_video
from musclemap_data.ffmpeg import ffmpeg_binary
from musclemap_data.manifest import read_manifest
from musclemap_data.modalities.settings import CutSettings, ExtractionSettings
from musclemap_data.segment.proposals import Proposal
from musclemap_data.segment.stretches import LONGEST_S
from musclemap_data.segment.video import MAX_FPS, Recogniser, Source, propose, segment_video
from tests.conftest import REPOSITORY

FOLDERS = {
    "unseen": REPOSITORY.parent / "shared" / "real_clips",
    "seen": REPOSITORY.parent / "shared" / "real_clips_more",
}
UNTRIMMED = ("DarshilPungalia/Major-Project", "TomNotchYmk/lightweight-human-pose")
"""Sources of ``real_clips`` whose clips are longer than the exercise: in the first people get into
a yoga pose and out again (two of its poses are rests), the second begins with 4 s of a title."""
FPS = 12.5
"""Of composed courses: the clips' own rates are between 10 and 16, and are resampled."""
RESTS = ("lotus_pose",)
SHORTEST_CLIP_S, LONGEST_PLAYED_S = 3.0, 6.0
STANDING = ("bicep_curl_m01", "lateral_raise_m01", "shrug_m01", "bicep_curl_m06", "arm_circle_m01")
"""Clips in whose first half second somebody stands. Its frames in an order drawn by chance, to and
fro with pauses, are a person who stands and talks."""
STANDING_S = 0.5

Course = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Part:
    """A shot of a composed video.

    Attributes:
        clip: name of the clip; empty for a title card.
        kind: exercise, rest, standing, title, or the way from one pose to the next.
        order: which frames of the clip it shows, at ``FPS``.
        plays: how often the clip is played in it.
    """

    clip: str
    kind: str
    order: tuple[int, ...]
    plays: int = 1

    @property
    def seconds(self) -> float:
        return len(self.order) / FPS


def clip_course(path: Path, cache: Path) -> Course:
    """The person's course through a clip at ``FPS``, computed once."""
    kept = cache / f"{path.stem}.npz"
    if not kept.exists():
        settings = ExtractionSettings(cut=CutSettings(max_fps=MAX_FPS))
        try:
            with tempfile.TemporaryDirectory() as work:
                person = follow(read_video(path), Path(work), settings=settings, workers=1)
            made, fps = person.skeleton, person.pieces.fps
        except UserError:
            made, fps = np.zeros((0, 17, 3), np.float32), 0.0
        np.savez(kept, skeleton=made, fps=fps)
    with np.load(kept) as file:
        skeleton, fps = file["skeleton"], float(file["fps"])
    if not len(skeleton):
        return np.zeros((0, 17, 3), np.float32)
    times = np.arange(0, len(skeleton) / fps, 1 / FPS)
    return np.asarray(skeleton[np.minimum(np.round(times * fps).astype(int), len(skeleton) - 1)])


def exercise_names(clips: str) -> set[str]:
    """The clips that are exercises of the composed videos: see ``--clips``."""
    folder = FOLDERS["seen" if clips == "seen" else "unseen"]
    with (folder / "clips.csv").open(encoding="utf-8") as file:
        return {
            Path(row["file"]).stem
            for row in csv.DictReader(file)
            if clips != "unseen" or not row["source"].startswith(UNTRIMMED)
        }


def compose(courses: dict[str, Course], number: int, names: set[str]) -> list[Part]:
    """The parts of one video, the same for a number each time; ``names`` are of its exercises."""
    draw = random.Random(number)
    seconds = {name: len(course) / FPS for name, course in courses.items()}
    exercises = [n for n in courses if n in names and seconds[n] >= SHORTEST_CLIP_S]
    rests = [n for n in courses if n.startswith(RESTS) and seconds[n] >= SHORTEST_CLIP_S]
    length = draw.uniform(50, 150)
    parts = [title(draw)]
    while sum(part.seconds for part in parts) < length:
        if draw.random() < 0.7:
            parts.append(standing(draw, draw.choice([n for n in STANDING if n in courses])))
        for name in draw.sample(exercises, draw.randint(1, 3)):
            there = tuple(range(len(courses[name])))
            if draw.random() < 0.5:
                parts.append(Part(name, "exercise", there))
            else:
                there = there[: round(LONGEST_PLAYED_S * FPS)]
                parts.append(Part(name, "exercise", there + there[::-1] + there, 3))
        if rests and draw.random() < 0.3:
            name = draw.choice(rests)
            parts.append(Part(name, "rest", tuple(range(len(courses[name])))))
        if draw.random() < 0.3:
            parts.append(title(draw))
    return parts


def title(draw: random.Random) -> Part:
    return Part("", "title", tuple(range(round(draw.uniform(1.5, 4) * FPS))))


def standing(draw: random.Random, clip: str) -> Part:
    """Four to ten seconds of somebody who stands and hardly moves."""
    last, frame, order = round(STANDING_S * FPS), 0, []
    for _ in range(round(draw.uniform(4, 10) * FPS)):
        frame = min(last, max(0, frame + draw.choice([-1, 0, 0, 1])))
        order.append(frame)
    return Part(clip, "standing", tuple(order))


def course_of(parts: list[Part], courses: dict[str, Course]) -> tuple[Course, list[float]]:
    """The person's course through a composed video, and when its parts begin."""
    nobody = np.full((1, 17, 3), [np.nan, np.nan, 0], np.float32)
    pieces = [
        courses[part.clip][list(part.order)] if part.clip else nobody.repeat(len(part.order), 0)
        for part in parts
    ]
    ends = np.cumsum([0, *(len(piece) for piece in pieces)]) / FPS
    return np.concatenate(pieces), ends.tolist()


def in_one_shot(
    parts: list[Part], courses: dict[str, Course], number: int
) -> tuple[list[Part], Course, list[float]]:
    """The same without cuts between people: the parts and ways, the course, when they begin."""
    draw, shown, pieces = random.Random(1000 + number), [], []
    before: Course | None = None
    for part in parts:
        if not part.clip:
            piece = np.full((len(part.order), 17, 3), [np.nan, np.nan, 0], np.float32)
        else:
            piece = courses[part.clip][list(part.order)].copy()
            hips, shoulders = piece[:, 11:13, :2].mean(1), piece[:, 5:7, :2].mean(1)
            trunk = np.nanpercentile(np.linalg.norm(shoulders - hips, axis=1), 80)
            piece[..., :2] = 200 + 80 * (piece[..., :2] - np.nanmedian(hips, 0)) / trunk
            if before is not None:
                share = np.linspace(0, 1, round(draw.uniform(0.5, 2) * FPS) + 2)[1:-1, None, None]
                way = 3 * share**2 - 2 * share**3
                ends = (np.nan_to_num(end, nan=200.0) for end in (before[-1], piece[0]))
                one, other = ends
                pieces.append((one * (1 - way) + other * way).astype(np.float32))
                shown.append(Part(part.clip, "way", tuple(range(len(share)))))
        before = piece if part.clip else None
        pieces.append(piece)
        shown.append(part)
    ends_s = np.cumsum([0, *(len(piece) for piece in pieces)]) / FPS
    return shown, np.concatenate(pieces), ends_s.tolist()


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
    """

    true: int = 0
    found: int = 0
    undivided: int = 0
    proposed_s: float = 0.0
    outside_s: float = 0.0
    true_s: float = 0.0
    covered_s: float = 0.0


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


def write_video(parts: list[Part], path: Path) -> None:
    """The composed video as a file, of ``FPS`` frames a second."""
    where = {p.stem: p for folder in FOLDERS.values() for p in folder.glob("*.mp4")}
    words = [ffmpeg_binary(), "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "bgr24"]
    words += ["-s", "568x320", "-r", str(FPS), "-i", "-", "-pix_fmt", "yuv420p", str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as writer:
        assert writer.stdin is not None
        for number, part in enumerate(parts):
            if part.clip:
                frames = read_frames(where[part.clip])
            else:
                card = np.full((320, 568, 3), (90, 40 + 20 * (number % 5), 20), np.uint8)
                cv2.putText(card, f"PART {number}", (150, 170), 0, 2, (255, 255, 255), 3)
                frames = [card] * len(part.order)
            for index in part.order:
                writer.stdin.write(frames[min(index, len(frames) - 1)].tobytes())
        writer.stdin.close()


def read_frames(path: Path) -> list[npt.NDArray[np.uint8]]:
    """A clip's frames at ``FPS``, on black where its shape differs."""
    reader, shown = cv2.VideoCapture(str(path)), []
    while True:
        good, frame = reader.read()
        if not good:
            break
        scale = min(568 / frame.shape[1], 320 / frame.shape[0])
        small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        canvas = np.zeros((320, 568, 3), np.uint8)
        top, left = (320 - small.shape[0]) // 2, (568 - small.shape[1]) // 2
        canvas[top : top + small.shape[0], left : left + small.shape[1]] = small[:320, :568]
        shown.append(canvas)
    rate = reader.get(cv2.CAP_PROP_FPS)
    count = max(1, round(len(shown) / rate * FPS))
    return [shown[min(round(n * rate / FPS), len(shown) - 1)] for n in range(count)]


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
    parser.add_argument("--clips", choices=(*FOLDERS, "untrimmed"), default="seen")
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
    recognise = embedded_recogniser()
    names = exercise_names(arguments.clips)
    tell: Counter[str] = Counter()
    total, seconds = Score(), []
    for number in range(arguments.videos):
        parts = compose(courses, number, names)
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
    for name, count in sorted(tell.items(), key=lambda item: -item[1])[:40]:
        print(f"  {count:5d}  {name}")
    if errors := border_errors(courses):
        near = np.mean(np.array(errors) <= 0.3)
        print(f"{len(errors)} borders found, from the nearest turn marked by eye: median "
              f"{np.median(errors):.2f} s, {near:.0%} within 0.3 s")  # fmt: skip
    for number in range(arguments.real):
        parts = compose(courses, number, names)
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
