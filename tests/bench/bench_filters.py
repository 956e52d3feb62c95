"""What the filters of ``segment`` find in real clips: still pictures, text, the same movement.

    python -m tests.bench.bench_filters CACHE

CACHE is that of ``bench_segment``, which fills it with the poses of the clips. Captions are drawn
over the person by OpenCV, in four of its fonts, five colours and several sizes, and the picture is
compressed again. The thresholds of ``text`` were set with every other clip of ``real_clips_more``:
the captions on the others, and on all of ``real_clips``, are counted.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from benchmark.embedded.model import EmbeddedModel
from musclemap_data.segment.filters import (
    FILTERS,
    FRAMES,
    LEAST_ALIKE_MOVEMENT,
    Pictures,
    read_pictures,
)
from musclemap_data.segment.proposals import Proposal
from musclemap_data.skeleton import MIRRORED
from tests.bench.composed_videos import FOLDERS, FPS, SHORTEST_CLIP_S, Course, clip_course

SIDE, POSE_SIDE = 360, 256
"""Short side of the pictures that captions are drawn on, and of those that poses are found in."""
TEXTS = ("PUSH UPS", "10 REPS", "Keep your back straight", "WORKOUT DAY 3", "REST 00:30",
         "Squat Challenge", "LEVEL 2", "@fitness_coach")  # fmt: skip
FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX,
         cv2.FONT_HERSHEY_COMPLEX)  # fmt: skip
COLOURS = ((255, 255, 255), (255, 255, 255), (255, 255, 255), (0, 255, 255), (0, 0, 0),
           (0, 0, 255), (255, 200, 0))  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """A clip: five frames, and where the person is, in pixels of them."""

    name: str
    pictures: Pictures
    box: tuple[float, float, float, float]

    @property
    def proposal(self) -> Proposal:
        height, width = self.pictures.shape[1:3]
        box = np.array(self.box) / [width, height, width, height]
        return Proposal("x", "x", self.name, 0, 1, box=tuple(box.tolist()))


def read_clip(path: Path, course: Course) -> Shown | None:
    points = course[course[..., 2] >= 0.3][:, :2]
    shown = read_pictures(path, Proposal("x", "x", "x", 0.05, len(course) / FPS - 0.05))
    if len(points) < 50 or not len(shown):
        return None
    scale = SIDE / min(shown.shape[1:3])
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    resized = np.stack(
        [cv2.resize(frame, None, fx=scale, fy=scale, interpolation=way) for frame in shown]
    )
    left, top, right, bottom = (
        np.percentile(points, [5, 95], axis=0).ravel() * SIDE / POSE_SIDE
    ).tolist()
    return Shown(path.stem, resized, (left, top, right, bottom))


def captioned(clip: Shown, draw: random.Random) -> Pictures:
    """The frames with a line of text whose middle is on the person."""
    height, width = clip.pictures.shape[1:3]
    left, top, right, bottom = np.clip(clip.box, 0, [width, height, width, height])
    text, font, scale = draw.choice(TEXTS), draw.choice(FONTS), draw.uniform(0.6, 1.6)
    thick = draw.choice([1, 2, 3] if scale < 1 else [2, 3, 4])
    while (size := cv2.getTextSize(text, font, scale, thick)[0])[0] > 0.9 * width:
        scale *= 0.85
    x = draw.uniform(0.7 * left + 0.3 * right, 0.3 * left + 0.7 * right) - size[0] / 2
    y = draw.uniform(0.85 * top + 0.15 * bottom, 0.15 * top + 0.85 * bottom) + size[1] / 2
    place = (
        int(min(max(2, x), max(2, width - size[0] - 2))),
        int(min(max(size[1] + 2, y), height - 4)),
    )
    colour, edged = draw.choice(COLOURS), draw.random() < 0.4
    edge = (0, 0, 0) if sum(colour) > 200 else (255, 255, 255)
    frames = []
    for frame in clip.pictures.copy():
        if edged:
            cv2.putText(frame, text, place, font, scale, edge, thick + 3, cv2.LINE_AA)
        cv2.putText(frame, text, place, font, scale, colour, thick, cv2.LINE_AA)
        frames.append(compressed(frame, 75))
    return np.stack(frames)


def compressed(frame: npt.NDArray[np.uint8], quality: int) -> npt.NDArray[np.uint8]:
    data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def print_pictures(clips: dict[str, list[Shown]]) -> None:
    every = [clip for part in clips.values() for clip in part]
    still = FILTERS["still"]([c.proposal for c in every], [c.pictures for c in every])
    frozen = [
        np.stack([compressed(clip.pictures[2], q) for q in (60, 70, 75, 80, 85)]) for clip in every
    ]
    caught = FILTERS["still"]([c.proposal for c in every], frozen)
    print(f"still: {len(still)} of {len(every)} clips, {len(caught)} of them frozen", flush=True)
    for name, part in clips.items():
        part = part[1::2] if name == "seen" else part
        proposals = [clip.proposal for clip in part]
        with_text = [captioned(clip, random.Random(n)) for n, clip in enumerate(part)]
        found = FILTERS["text"](proposals, with_text)
        without = FILTERS["text"](proposals, [clip.pictures for clip in part])
        print(f"text, {name}: {len(found)} of {len(part)} with a caption; without: "
              f"{[part[f.index].name for f in without]}", flush=True)  # fmt: skip


def print_movements(courses: dict[str, Course]) -> None:
    """How often copies of a clip, and other clips, are as alike as ``alike`` asks."""
    model, draw = EmbeddedModel.load(), np.random.default_rng(0)

    def unit(course: Course) -> npt.NDArray[np.float32]:
        vector = model.features(course, np.arange(len(course)) / FPS)
        return vector / np.linalg.norm(vector)

    def displaced(course: Course) -> Course:
        trunk = np.nanmedian(np.linalg.norm(course[:, 5, :2] - course[:, 11, :2], axis=1))
        made = course.copy()
        made[..., :2] += draw.normal(0, 0.03 * trunk, made[..., :2].shape)
        return made

    def mirrored(course: Course) -> Course:
        return course[:, MIRRORED] * np.array([-1, 1, 1], np.float32)

    names = list(courses)
    vectors = np.stack([unit(course) for course in courses.values()])
    later = round(0.5 * FPS)
    for what, copies in (
        ("mirrored copies", [displaced(mirrored(c)) for c in courses.values()]),
        ("copies half a second later", [displaced(c[later:]) for c in courses.values()]),
    ):
        alike = [float(unit(copy) @ v) for copy, v in zip(copies, vectors, strict=True)]
        share = np.mean(np.array(alike) >= LEAST_ALIKE_MOVEMENT)
        print(f"alike: {share:.1%} of {len(alike)} {what}")
    same = np.triu(vectors @ vectors.T, 1)
    pairs = [(names[a], names[b]) for a, b in np.argwhere(same >= LEAST_ALIKE_MOVEMENT)]
    print(f"alike: other pairs: {pairs}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    cache = parser.parse_args().cache
    clips: dict[str, list[Shown]] = {}
    courses: dict[str, Course] = {}
    for name, folder in FOLDERS.items():
        clips[name] = []
        for path in sorted(folder.glob("*.mp4")):
            if not (cache / f"{path.stem}.npz").exists():
                continue
            course = clip_course(path, cache)
            if len(course) >= SHORTEST_CLIP_S * FPS and np.isfinite(course[..., :2]).any():
                courses[path.stem] = course
            if len(course) >= FRAMES and (clip := read_clip(path, course)):
                clips[name].append(clip)
    print_movements(courses)
    print_pictures(clips)


if __name__ == "__main__":
    main()
