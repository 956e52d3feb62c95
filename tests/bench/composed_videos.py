"""Videos composed of real clips, whose borders are known, for ``bench_segment``.

Each has 1 to 3 minutes: title cards, somebody who stands and hardly moves, rests, exercises of
several people, cut one after the other. About half of the exercises are a clip of some five
seconds as it is, half are played forwards, backwards and forwards, as a set of repetitions. The
clips are not part of the project.
"""

from __future__ import annotations

import csv
import hashlib
import random
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from musclemap_data.errors import UserError
from musclemap_data.extract.person import follow
from musclemap_data.extract.windows import read_video
from musclemap_data.ffmpeg import ffmpeg_binary
from musclemap_data.importers.penn_action import ASSUMED_FPS, read_sequence
from musclemap_data.modalities.settings import CutSettings, ExtractionSettings
from musclemap_data.segment.video import MAX_FPS
from tests.conftest import REPOSITORY

FOLDERS = {
    "unseen": REPOSITORY.parent / "shared" / "real_clips",
    "seen": REPOSITORY.parent / "shared" / "real_clips_more",
}
PENN_ACTION = REPOSITORY.parent / "shared" / "skeletons" / "penn_action" / "labels"
PENN_EXERCISES = (
    *("bench_press", "clean_and_jerk", "jump_rope", "jumping_jacks", "pullup"),
    *("pushup", "situp", "squat"),
)
"""Of its 15 actions; the others are sports and a guitar."""
CLIPS = ("seen", "a", "b", "unseen", "untrimmed", "penn")
"""Which clips are the exercises: see ``exercise_names``."""
UNTRIMMED = ("DarshilPungalia/Major-Project", "TomNotchYmk/lightweight-human-pose")
"""Sources of ``real_clips`` whose clips are longer than the exercise: in the first people get into
a yoga pose and out again (two of its poses are rests), the second begins with 4 s of a title."""
FPS = 12.5
"""Of composed courses: the clips' own rates are between 10 and 16, and are resampled."""
RESTS = ("lotus_pose",)
SHORTEST_CLIP_S, LONGEST_PLAYED_S = 3.0, 6.0
STANDING = ("bicep_curl_m01", "lateral_raise_m01", "shrug_m01", "bicep_curl_m06", "arm_circle_m01")
"""Clips in whose first half second somebody stands. Its frames in an order drawn by chance, to and
fro with pauses, are a person who stands and talks. In the second he holds dumbbells out to the
sides, so to propose that one would be right; it counts as an error all the same."""
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


def clip_course(path: Path, folder: Path) -> Course:
    """The person's course through a clip at ``FPS``, computed once."""
    kept = folder / f"{path.stem}.npz"
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
    """The clips that are exercises of the composed videos.

    Args:
        clips: ``seen`` is all of ``real_clips_more``; ``untrimmed`` is all of ``real_clips``, and
            ``unseen`` the same without ``UNTRIMMED``, of which ``a`` and ``b`` are two halves. A
            person is in one of them, by a hash. ``penn``: see ``penn_courses``.
    """
    if clips == "penn":
        return set(penn_courses())
    folder = FOLDERS["seen" if clips == "seen" else "unseen"]
    with (folder / "clips.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if clips not in ("seen", "untrimmed"):
        rows = [row for row in rows if not row["source"].startswith(UNTRIMMED)]
    if clips in ("a", "b"):
        rows = [row for row in rows if half_of(row["person_cluster"]) == clips]
    return {Path(row["file"]).stem for row in rows}


@cache
def penn_courses() -> dict[str, Course]:
    """The exercises of Penn Action at ``FPS``: skeletons that people drew, without pictures.

    A hidden joint counts as seen, for it was drawn all the same, as pose networks do. The files
    state no rate; 30 frames a second are assumed.
    """
    found = {}
    for path in sorted(PENN_ACTION.glob("*.mat")):
        sequence = read_sequence(path)
        if sequence.action in PENN_EXERCISES:
            course = sequence.skeleton[:, 0]
            course[..., 2] = np.isfinite(course[..., 0])
            frames = np.arange(0, len(course), ASSUMED_FPS / FPS).astype(int)
            found[f"penn_{sequence.action}_{path.stem}"] = course[frames]
    return found


def half_of(person: str) -> str:
    """``a`` or ``b``, by the parity of the name's SHA-256."""
    return "ab"[hashlib.sha256(person.encode()).digest()[-1] % 2]


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
