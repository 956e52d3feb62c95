"""Where in a video one exercise is done: found in the course of one person's skeleton alone.

Within a shot each frame is moving or still. What moves is an exercise where it comes back to
itself: the pose around a frame is found again some time before or after, or the movement goes back
the way it came. What is still is a hold where the pose asks for strength: standing, sitting and
lying flat do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_closing, binary_opening

from musclemap_data.movement.repetitions import (
    LEAST_RANGE,
    SCORE_SEEN,
    Array,
    body_poses,
    count_repetitions,
)
from musclemap_data.segment.likeness import (
    MOVING_WINDOW_S,
    come_back,
    find_changes,
    turned_back,
    variance,
)
from musclemap_data.segment.posture import STANDS, rest_of
from musclemap_data.skeleton import JOINTS, MIRRORED

SHORTEST_S, LONGEST_S = 1.5, 10.0
"""A clip is at least and at most so long. Longer stretches are cut between repetitions."""
LEAST_HOLD_S = 2.0
MOVING_SPREAD = LEAST_RANGE / np.sqrt(8)
"""Standard deviation of the pose over the window, in trunks a joint; that of a there-and-back
movement is its range over the root of 8."""
LEAST_MATCH, SURE_MATCH = 0.35, 0.75
"""Share of the movement that comes back, from which it repeats; from which a small one does."""
SMALL_SPREAD = MOVING_SPREAD / 2
LONGEST_GAP_S = 1.0
"""Moving or matching may fail for so long within one stretch."""
LEAST_CYCLES, MOST_UNSEEN = 0.5, 1.5
"""Repetitions that a clip has at least; where only the period is known, so many."""
LEAST_UNCLEAR, UNCLEAR = 0.5, 0.7
"""Repetitions that a movement has at least which is not seen to come back, and how sure it is."""
MOST_SWAY = 2.5 * LEAST_RANGE
"""Range of a movement that does not repeat, below which it may be a pose that sways."""
LEAST_WAY = 0.6
"""A way cut off by an end stays in the clip if it is this share of a usual one."""
SLOWER = 1.8
"""The same movement with so much longer a period is its repeat in slow motion."""
SAME_MOVEMENT = 0.15
"""Two stretches show the same movement if their poses differ by less, in trunks a joint."""
_TRUNK = [JOINTS.index(f"{s}_{joint}") for s in ("left", "right") for joint in ("shoulder", "hip")]


@dataclass(frozen=True)
class Stretch:
    """A part of a video: one exercise, or what is left out and why. See ``Proposal``.

    Attributes:
        first, stop: frames of the track.
        period_s: of a repetition; 0 where none was seen whole.
    """

    first: int
    stop: int
    repetitions: float = 0.0
    hold: bool = False
    confidence: float = 0.0
    reasons: tuple[str, ...] = ()
    left_out: str = ""
    borders: tuple[int, ...] = ()
    period_s: float = 0.0


def find_stretches(
    skeleton: npt.NDArray[np.float32],
    fps: float,
    shots: Sequence[tuple[int, int]],
    *,
    posed: bool = False,
) -> list[Stretch]:
    """Divide a video into stretches of one exercise and what lies between them.

    Args:
        skeleton: ``float32 [T, 17, 3]`` of one person, x, y (pixels) and score.
        fps: frames a second.
        shots: first frame and the one after the last of each shot, in order.
        posed: the video is known to show a pose that is held: then what looks like sitting or
            lying is no rest.

    Returns:
        Stretches in order of time; every frame of a shot is in one of them.
    """
    found: list[Stretch] = []
    for first, stop in shots:
        found += _in_shot(skeleton, fps, first, stop, posed)
    return _without_slow_repeats(found, skeleton, fps)


def _in_shot(
    skeleton: npt.NDArray[np.float32], fps: float, first: int, stop: int, posed: bool
) -> list[Stretch]:
    whole = Stretch(first, stop)
    if stop - first < SHORTEST_S * fps:
        return [replace(whole, left_out="a shot shorter than a clip")]
    part = skeleton[first:stop]
    seen = (part[:, :, 2] >= SCORE_SEEN).mean(1) > 0.4
    if seen.mean() < 0.3:
        return [replace(whole, left_out="nobody is seen: a title card, or a thing")]
    there = binary_closing(np.pad(seen, 10), np.ones(round(0.5 * fps) + 1))[10:-10]
    stretches = []
    for value, a, b in _runs(there):
        if not value:
            stretches.append(Stretch(first + a, first + b, left_out="nobody is seen"))
        else:
            stretches += _of_person(skeleton, fps, first + a, first + b, posed)
    return stretches


def _of_person(
    skeleton: npt.NDArray[np.float32], fps: float, first: int, stop: int, posed: bool
) -> list[Stretch]:
    """The stretches of a time in which the person is seen throughout.

    It is divided where the exercise may change, and parts are put together again as long as
    the whole is as sure an exercise as its parts.
    """

    def between(a: int, b: int) -> list[Stretch]:
        return _of_part(skeleton, fps, a, b, posed)

    poses = body_poses(skeleton[first:stop], fps)
    changes = [] if poses is None else find_changes(poses, fps)
    edges = [first, *(first + change for change in changes), stop]
    parts = [between(a, b) for a, b in pairwise(edges)]
    wholes = [between(a, b) for a, b in zip(edges, edges[2:], strict=False)]
    while wholes:
        lost = [
            _worth(parts[n]) + _worth(parts[n + 1]) - _worth(whole)
            for n, whole in enumerate(wholes)
        ]
        n = int(np.argmin(lost))
        if lost[n] > 0:
            break
        parts[n : n + 2] = [wholes.pop(n)]
        del edges[n + 1]
        for m in range(max(0, n - 1), min(n + 1, len(wholes))):
            wholes[m] = between(edges[m], edges[m + 2])
    return [stretch for part in parts for stretch in part]


def _worth(stretches: list[Stretch]) -> float:
    """How much is proposed and how surely, in frames."""
    return sum(s.confidence * (s.stop - s.first) for s in stretches if not s.left_out)


def _of_part(
    skeleton: npt.NDArray[np.float32], fps: float, first: int, stop: int, posed: bool
) -> list[Stretch]:
    """The stretches of a time of one exercise at most, but for what is around it."""
    whole, part = Stretch(first, stop), skeleton[first:stop]
    if stop - first < SHORTEST_S * fps:
        return [replace(whole, left_out="seen for less than a clip")]
    if (part[:, _TRUNK, 2] >= SCORE_SEEN).mean() < 0.5:
        return [replace(whole, left_out="a close-up: shoulders and hips are not in the picture")]
    poses = body_poses(part, fps)
    if poses is None:
        return [replace(whole, left_out="too few joints are seen")]
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
    kind = _without_short(np.where(repeats, 2, moving.astype(int)), round(0.7 * fps))
    for value, a, b in _runs(kind):
        if value and again[a:b].mean() < SURE_MATCH and _sways(part[a:b], fps):
            kind[a:b] = 0
    stretches = []
    for value, a, b in _runs(kind):
        at = Stretch(first + a, first + b)
        if value == 2:
            sure = again[a:b].mean() > LEAST_MATCH
            stretches += _repeated(skeleton, fps, at, float(np.median(lags[a:b])) if sure else 0.0)
        elif value == 1:
            stretches += _unclear(skeleton, fps, at)
        else:
            stretches.append(_still(poses[a:b], part[a:b], fps, at, posed))
    return stretches


def _sways(skeleton: npt.NDArray[np.float32], fps: float) -> bool:
    """Whether a little movement is only that of somebody who keeps a pose."""
    counted = count_repetitions(skeleton, fps)
    return counted.cycles < LEAST_CYCLES and counted.range < MOST_SWAY


def _spread(poses: Array, fps: float) -> Array:
    """Standard deviation of the pose around each frame, in trunks a joint ``[T]``."""
    flat = poses.reshape(len(poses), -1)
    return np.sqrt(variance(flat, max(3, round(MOVING_WINDOW_S * fps))) / len(JOINTS))


def _repeated(
    skeleton: npt.NDArray[np.float32], fps: float, at: Stretch, lag: float
) -> list[Stretch]:
    """A stretch that repeats, cut where repetitions begin and end; and what is cut off.

    Args:
        lag: the period after which the pose comes back, in frames; 0 where that is not sure.
    """
    counted = count_repetitions(skeleton[at.first : at.stop], fps)
    if counted.cycles < LEAST_CYCLES:
        cycles = (at.stop - at.first) / lag if lag else 0.0
        if cycles < MOST_UNSEEN:
            return [replace(at, left_out="less than half a repetition")]
        found = replace(
            at, repetitions=cycles, confidence=0.5, period_s=lag / fps,
            reasons=(f"comes back every {lag / fps:.1f} s", "its turns are not clear"),
        )  # fmt: skip
        return _no_longer_than(found, round(LONGEST_S * fps))
    turns = [at.first + round(turn * fps) for turn in counted.turns_s]
    course = counted.course
    ways = np.abs(np.diff([course[t - at.first] for t in turns]))
    first, stop = at.first, at.stop
    if len(ways) > 2:
        usual = float(np.median(ways))
        seen = course[np.isfinite(course)]
        if abs(course[turns[0] - at.first] - seen[0]) < LEAST_WAY * usual:
            first = turns[0]
        if abs(course[turns[-1] - at.first] - seen[-1]) < LEAST_WAY * usual:
            stop = turns[-1]
    if stop - first < SHORTEST_S * fps:
        return [replace(at, left_out="shorter than a clip")]
    even = 1.0
    if len(ways) > 1:
        lengths = np.diff(turns)
        varies = np.std(ways) / np.mean(ways) + np.std(lengths) / np.mean(lengths)
        even = 1 - min(1.0, float(varies) / 2)
    way = 1 if counted.alternating else 2
    borders = [t for t in turns if first <= t <= stop][::way]
    reasons = [f"{counted.cycles:.1f} repetitions of {counted.period_s or 0:.1f} s"
               if counted.period_s else f"{counted.cycles:.1f} repetitions"]  # fmt: skip
    reasons += ["left and right take turns"] * counted.alternating
    reasons += ["uneven"] * (even < 0.5) + ["fewer than two repetitions"] * (counted.cycles < 2)
    confidence = min(1.0, 0.35 + 0.15 * min(counted.cycles, 3.0)) * (0.5 + 0.5 * even)
    found = replace(
        at, first=first, stop=stop, repetitions=counted.cycles, confidence=confidence,
        reasons=tuple(reasons), borders=tuple(borders), period_s=counted.period_s or 0.0,
    )  # fmt: skip
    cut_off = "a part of a repetition"
    before = [Stretch(at.first, first, left_out=cut_off)] if first > at.first else []
    after = [Stretch(stop, at.stop, left_out=cut_off)] if stop < at.stop else []
    return [*before, *_no_longer_than(found, round(LONGEST_S * fps)), *after]


def _unclear(skeleton: npt.NDArray[np.float32], fps: float, at: Stretch) -> list[Stretch]:
    """A movement that is not seen to come back: there and back may still be a repetition."""
    counted = count_repetitions(skeleton[at.first : at.stop], fps)
    found = _repeated(skeleton, fps, at, 0.0) if counted.cycles >= LEAST_UNCLEAR else []
    if not any(not s.left_out for s in found):
        return [replace(at, left_out="moves, but the movement does not come back")]
    return [
        s if s.left_out else replace(
            s, confidence=UNCLEAR * s.confidence, reasons=(*s.reasons, "its repetitions differ"))
        for s in found
    ]  # fmt: skip


def _no_longer_than(stretch: Stretch, most: int) -> list[Stretch]:
    """Pieces of at most so many frames, cut between repetitions where that can be."""
    length = stretch.stop - stretch.first
    cuts = [stretch.first]
    while (left := stretch.stop - cuts[-1]) > most:
        wish = cuts[-1] + left // -(-left // most)
        near = [(abs(b - wish), b) for b in stretch.borders if b <= cuts[-1] + most]
        apart, border = min(near, default=(most, wish))
        cuts.append(border if apart < most / 2 else wish)
    cuts.append(stretch.stop)
    return [
        replace(stretch, first=a, stop=b, repetitions=stretch.repetitions * (b - a) / length,
                borders=tuple(t for t in stretch.borders if a <= t <= b))
        for a, b in pairwise(cuts)
    ]  # fmt: skip


def _still(
    poses: Array, skeleton: npt.NDArray[np.float32], fps: float, at: Stretch, posed: bool
) -> Stretch:
    rest = rest_of(skeleton)
    if rest and (rest == STANDS or not posed):
        return replace(at, left_out=rest)
    if at.stop - at.first < LEAST_HOLD_S * fps:
        return replace(at, left_out="held for less than a clip")
    shake = float(_spread(poses, fps).mean())
    return replace(
        at, hold=True, confidence=0.5 + 0.4 * max(0.0, 1 - shake / float(MOVING_SPREAD)),
        reasons=(f"held for {(at.stop - at.first) / fps:.1f} s",
                 f"the video is of a pose, else: {rest}" if rest else "it asks for strength"),
    )  # fmt: skip


def _without_slow_repeats(
    found: list[Stretch], skeleton: npt.NDArray[np.float32], fps: float
) -> list[Stretch]:
    """Leave out what shows a movement again that another stretch shows faster."""
    shapes = {
        n: _shape(skeleton[s.first : s.stop], fps)
        for n, s in enumerate(found)
        if not s.left_out and s.period_s
    }
    slow = set()
    for n, shape in shapes.items():
        for other, faster in shapes.items():
            if found[n].period_s > SLOWER * found[other].period_s and _alike(shape, faster):
                slow.add(n)
    return [
        replace(s, left_out="the same movement in slow motion") if n in slow else s
        for n, s in enumerate(found)
    ]


def _shape(skeleton: npt.NDArray[np.float32], fps: float) -> Array:
    """The movement without its time: the pose at five places on its way, ``[5, 17, 2]``."""
    poses = body_poses(skeleton, fps)
    if poses is None:
        return np.full((5, len(JOINTS), 2), np.inf)
    flat = poses.reshape(len(poses), -1)
    moved = flat - flat.mean(0)
    course = moved @ np.linalg.svd(moved, full_matrices=False)[2][0]
    return np.stack([part.mean(0) for part in np.array_split(poses[np.argsort(course)], 5)])


def _alike(one: Array, other: Array) -> bool:
    with np.errstate(invalid="ignore"):
        ways = [other, other[::-1]]
        ways += [way[:, MIRRORED] * np.array([-1.0, 1.0]) for way in ways]
        apart = [np.sqrt(((one - way) ** 2).sum(2).mean()) for way in ways]
    return bool(min(apart) < SAME_MOVEMENT)


def _runs(values: npt.ArrayLike) -> list[tuple[int, int, int]]:
    """(value, first, stop) of each run of equal values."""
    line = np.asarray(values).astype(int)
    edges = [0, *(np.flatnonzero(np.diff(line)) + 1).tolist(), len(line)]
    return [(int(line[a]), a, b) for a, b in pairwise(edges) if b > a]


def _without_short(kind: npt.NDArray[np.int64], least: int) -> npt.NDArray[np.int64]:
    """Runs shorter than so many frames take the value of the longer neighbour."""
    kind = kind.copy()
    while True:
        runs = _runs(kind)
        short = [(b - a, n) for n, (_, a, b) in enumerate(runs) if b - a < least]
        if not short or len(runs) < 2:
            return kind
        n = min(short)[1]
        beside = [runs[m] for m in (n - 1, n + 1) if 0 <= m < len(runs)]
        value = max(beside, key=lambda run: run[2] - run[1])[0]
        kind[runs[n][1] : runs[n][2]] = value
