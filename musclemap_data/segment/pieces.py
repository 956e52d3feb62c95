"""What a person does from frame to frame, and which pieces of that are one exercise.

Nobody does an exercise without a break: people stand for a moment between two squats, keep a leg
up before they lower it, or begin a clip in the middle of a repetition. So no piece is judged
alone. Each second speaks for an exercise or against it, going into an exercise and out of it has a
price, and the best of all ways to divide the time is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from itertools import groupby, pairwise

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_closing, binary_opening

from musclemap_data.movement.repetitions import LEAST_RANGE, Array, count_repetitions
from musclemap_data.segment.likeness import MOVING_WINDOW_S, come_back, turned_back, variance
from musclemap_data.segment.posture import STANDS, rest_of
from musclemap_data.skeleton import JOINTS

MOVING_SPREAD = float(LEAST_RANGE / np.sqrt(8))
"""Standard deviation of the pose over the window, in trunks a joint; that of a there-and-back
movement is its range over the root of 8."""
LEAST_MATCH, SURE_MATCH = 0.35, 0.75
"""Share of the movement that comes back, from which it repeats; from which a small one does."""
SMALL_SPREAD = MOVING_SPREAD / 2
LONGEST_GAP_S = 1.0
"""Moving or matching may fail, and the person be unseen, for so long within one stretch."""
SHORTEST_PIECE_S = 0.7
LEAST_CYCLES = 0.5
"""Repetitions that a clip has at least."""
MOST_SWAY = 2.5 * LEAST_RANGE
"""Range of a movement that does not repeat, below which it may be a pose that sways."""


class Kind(Enum):
    """What a piece of time shows: a movement that repeats, a pose that asks for strength, a
    movement that is not seen to come back, a rest."""

    REPEATS = auto()
    HOLDS = auto()
    MOVES = auto()
    RESTS = auto()


SPEAKS_FOR = {Kind.REPEATS: 1.0, Kind.HOLDS: 1.0, Kind.MOVES: -0.5, Kind.RESTS: -1.0}
"""How much a second of it speaks for an exercise."""
SWITCH_S = 1.0
"""Price of going into an exercise or out of it, in seconds that speak for one. So a rest of less
than twice this does not divide an exercise, and one of less than this at an end belongs to it."""


@dataclass(frozen=True)
class Piece:
    """A time in which a person does one kind of thing.

    Attributes:
        first, stop: frames of the part it was found in.
        kind: what it shows.
        rest: of a pose that is kept: the rest it looks like; empty if it asks for strength.
        lag: of a movement: the period after which the pose comes back, frames (the median).
        again: of a movement: how much of it comes back after a period, 0 to 1 (the mean).
        spread: of the pose around each frame, in trunks a joint (the mean).
    """

    first: int
    stop: int
    kind: Kind
    rest: str
    lag: float
    again: float
    spread: float

    @property
    def frames(self) -> int:
        """How long it is."""
        return self.stop - self.first

    @property
    def moves(self) -> bool:
        """Whether it is no pose that is kept."""
        return self.kind in (Kind.REPEATS, Kind.MOVES)


def find_pieces(
    skeleton: npt.NDArray[np.float32], poses: Array, fps: float, *, posed: bool
) -> list[Piece]:
    """Divide a time into pieces, each of one kind.

    Args:
        skeleton: ``float32 [T, 17, 3]`` x, y (pixels) and score.
        poses: ``float64 [T, 17, 2]`` of it, from ``body_poses``.
        fps: frames a second.
        posed: see ``find_stretches``.
    """
    gap = np.ones(max(1, round(LONGEST_GAP_S * fps)))
    margin = len(gap)
    spread = _spread(poses, fps)
    again, lags = come_back(poses, fps)
    small = (spread > SMALL_SPREAD) & (again > SURE_MATCH)
    moving = (spread > MOVING_SPREAD) | binary_opening(small, np.ones(round(2 * fps)))
    turned = turned_back(poses.reshape(len(poses), -1), fps)
    repeats = moving & (np.maximum(again, turned) > LEAST_MATCH)
    repeats = binary_closing(np.pad(repeats, margin), gap)[margin:-margin]
    # 0: still, 1: moves without coming back, 2: repeats.
    shown = without_short(np.where(repeats, 2, moving.astype(int)), round(SHORTEST_PIECE_S * fps))
    for value, a, b in runs(shown):
        if value and again[a:b].mean() < SURE_MATCH and _sways(skeleton[a:b], fps):
            shown[a:b] = 0
    pieces = []
    for value, a, b in runs(shown):
        rest = "" if value else rest_of(skeleton[a:b])
        kind = (Kind.HOLDS, Kind.MOVES, Kind.REPEATS)[value]
        if rest and (rest == STANDS or not posed):
            kind = Kind.RESTS
        of = slice(a, b)
        pieces.append(
            Piece(a, b, kind, rest, float(np.median(lags[of])), float(again[of].mean()),
                  float(spread[of].mean()))
        )  # fmt: skip
    return pieces


def belong_together(pieces: list[Piece], fps: float) -> list[tuple[bool, list[Piece]]]:
    """The pieces in groups: whether each is an exercise, and of what it is made.

    Of all ways to divide the time the one is taken for which most speaks, see ``SPEAKS_FOR``, less
    ``SWITCH_S`` for each border between an exercise and what is none.

    Args:
        pieces: in order, without gaps.
        fps: frames a second.
    """
    best: list[tuple[float, tuple[bool, ...]]] = [(0.0, ()), (0.0, ())]
    for piece in pieces:
        gain = SPEAKS_FOR[piece.kind] * piece.frames / fps
        ways = [
            max(
                (value - SWITCH_S * (bool(path) and path[-1] != exercise), (*path, exercise))
                for value, path in best
            )
            for exercise in (False, True)
        ]
        best = [(value + gain * path[-1], path) for value, path in ways]
    path = max(best)[1]
    return [
        (exercise, [piece for _, piece in group])
        for exercise, group in groupby(zip(path, pieces, strict=True), key=lambda pair: pair[0])
    ]


def _sways(skeleton: npt.NDArray[np.float32], fps: float) -> bool:
    """Whether a little movement is only that of somebody who keeps a pose."""
    counted = count_repetitions(skeleton, fps)
    return counted.cycles < LEAST_CYCLES and counted.range < MOST_SWAY


def _spread(poses: Array, fps: float) -> Array:
    """Standard deviation of the pose around each frame, in trunks a joint ``[T]``."""
    flat = poses.reshape(len(poses), -1)
    return np.sqrt(variance(flat, max(3, round(MOVING_WINDOW_S * fps))) / len(JOINTS))


def runs(values: npt.ArrayLike) -> list[tuple[int, int, int]]:
    """(value, first, stop) of each run of equal values."""
    line = np.asarray(values).astype(int)
    edges = [0, *(np.flatnonzero(np.diff(line)) + 1).tolist(), len(line)]
    return [(int(line[a]), a, b) for a, b in pairwise(edges) if b > a]


def without_short(kind: npt.NDArray[np.int64], least: int) -> npt.NDArray[np.int64]:
    """``[T]``, in which runs shorter than so many frames have the longer neighbour's value."""
    kind = kind.copy()
    while True:
        there = runs(kind)
        short = [(b - a, n) for n, (_, a, b) in enumerate(there) if b - a < least]
        if not short or len(there) < 2:
            return kind
        n = min(short)[1]
        beside = [there[m] for m in (n - 1, n + 1) if 0 <= m < len(there)]
        value = max(beside, key=lambda run: run[2] - run[1])[0]
        kind[there[n][1] : there[n][2]] = value
