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
from scipy.ndimage import binary_closing

from musclemap_data.movement.repetitions import (
    SCORE_SEEN,
    Array,
    body_poses,
    count_repetitions,
)
from musclemap_data.segment.likeness import find_changes
from musclemap_data.segment.pieces import (
    LEAST_CYCLES,
    LEAST_MATCH,
    LONGEST_GAP_S,
    MOVING_SPREAD,
    Kind,
    Piece,
    belong_together,
    find_pieces,
    runs,
)
from musclemap_data.skeleton import JOINTS, MIRRORED

SHORTEST_S, LONGEST_S = 1.5, 10.0
"""A clip is at least and at most so long. Longer stretches are cut between repetitions."""
LEAST_HOLD_S = 2.0
MOST_UNSEEN = 1.5
"""Repetitions that a clip has at least where only the period is known."""
UNCLEAR = 0.7
"""How sure a movement is that is not seen to come back."""
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
    skeleton = skeleton.copy()  # in which gaps are filled
    for first, stop in shots:
        found += _in_shot(skeleton, fps, first, stop, posed)
    return _without_slow_repeats(found, skeleton, fps)


@dataclass(frozen=True)
class _Seen:
    """A time of a shot in which the person is seen throughout: frames ``first`` to ``stop``."""

    skeleton: npt.NDArray[np.float32]
    fps: float
    first: int
    stop: int
    posed: bool


def _in_shot(
    skeleton: npt.NDArray[np.float32], fps: float, first: int, stop: int, posed: bool
) -> list[Stretch]:
    whole = Stretch(first, stop)
    if stop - first < SHORTEST_S * fps:
        return [replace(whole, left_out="a shot shorter than a clip")]
    seen = (skeleton[first:stop, :, 2] >= SCORE_SEEN).mean(1) > 0.4
    if seen.mean() < 0.3:
        return [replace(whole, left_out="nobody is seen: a title card, or a thing")]
    width = round(LONGEST_GAP_S * fps) + 1
    there = binary_closing(np.pad(seen, width), np.ones(width))[width:-width]
    _fill_gaps(skeleton[first:stop], seen, there & ~seen)
    stretches = []
    for value, a, b in runs(there):
        if not value:
            stretches.append(Stretch(first + a, first + b, left_out="nobody is seen"))
        else:
            stretches += _of_person(_Seen(skeleton, fps, first + a, first + b, posed))
    return stretches


def _fill_gaps(
    skeleton: npt.NDArray[np.float32], seen: npt.NDArray[np.bool_], gaps: npt.NDArray[np.bool_]
) -> None:
    """Put the joints of ``[T, 17, 3]`` on a straight way in gaps between frames that are seen."""
    if not gaps.any():
        return
    frames = np.arange(len(skeleton))
    for joint, axis in np.ndindex(*skeleton.shape[1:]):
        known = skeleton[seen, joint, axis]
        skeleton[gaps, joint, axis] = np.interp(frames[gaps], frames[seen], known)


def _of_person(seen: _Seen) -> list[Stretch]:
    """The stretches of a time in which the person is seen throughout.

    It is divided where the exercise may change, and parts are put together again as long as
    the whole is as sure an exercise as its parts.
    """
    poses = body_poses(seen.skeleton[seen.first : seen.stop], seen.fps)
    changes = [] if poses is None else find_changes(poses, seen.fps)
    edges = [seen.first, *(seen.first + change for change in changes), seen.stop]
    parts = [_of_part(seen, a, b) for a, b in pairwise(edges)]
    wholes = [_of_part(seen, a, b) for a, b in zip(edges, edges[2:], strict=False)]
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
            wholes[m] = _of_part(seen, edges[m], edges[m + 2])
    return [stretch for part in parts for stretch in part]


def _worth(stretches: list[Stretch]) -> float:
    """How much is proposed and how surely, in frames."""
    return sum(s.confidence * (s.stop - s.first) for s in stretches if not s.left_out)


def _of_part(seen: _Seen, first: int, stop: int) -> list[Stretch]:
    """The stretches of a time of one exercise at most, but for what is around it."""
    whole, part = Stretch(first, stop), seen.skeleton[first:stop]
    if stop - first < SHORTEST_S * seen.fps:
        return [replace(whole, left_out="seen for less than a clip")]
    if (part[:, _TRUNK, 2] >= SCORE_SEEN).mean() < 0.5:
        return [replace(whole, left_out="a close-up: shoulders and hips are not in the picture")]
    poses = body_poses(part, seen.fps)
    if poses is None:
        return [replace(whole, left_out="too few joints are seen")]
    found = find_pieces(part, poses, seen.fps, posed=seen.posed)
    stretches = []
    for exercise, pieces in belong_together(found, seen.fps):
        for group in [pieces] if exercise else [[piece] for piece in pieces]:
            at = Stretch(first + group[0].first, first + group[-1].stop)
            stretches += _of_group(seen, at, group)
    return stretches


def _of_group(seen: _Seen, at: Stretch, group: list[Piece]) -> list[Stretch]:
    """The stretches of pieces that belong together, or of one that belongs to no exercise."""
    still = [piece for piece in group if not piece.moves]
    moving = [piece for piece in group if piece.moves]
    held = sum(piece.frames for piece in still if piece.kind is Kind.HOLDS)
    if not moving or held > max((at.stop - at.first) / 2, LEAST_HOLD_S * seen.fps):
        return [_still(still, seen.fps, at)]
    longest = max(moving, key=lambda piece: piece.frames)
    found = _repeated(seen, at, longest.lag if longest.again > LEAST_MATCH else 0.0)
    if any(piece.kind is Kind.REPEATS for piece in moving):
        return found
    if all(s.left_out for s in found):
        return [replace(at, left_out="moves, but the movement does not come back")]
    return [
        s if s.left_out else replace(
            s, confidence=UNCLEAR * s.confidence, reasons=(*s.reasons, "its repetitions differ"))
        for s in found
    ]  # fmt: skip


def _repeated(seen: _Seen, at: Stretch, lag: float) -> list[Stretch]:
    """A stretch that repeats, cut where repetitions begin and end; and what is cut off.

    At the ends of the shot nothing is cut off: half a repetition there is of the same exercise.

    Args:
        lag: the period after which the pose comes back, in frames; 0 where that is not sure.
    """
    fps = seen.fps
    counted = count_repetitions(seen.skeleton[at.first : at.stop], fps)
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
        known = course[np.isfinite(course)]
        begun = abs(course[turns[0] - at.first] - known[0]) / usual
        ended = abs(course[turns[-1] - at.first] - known[-1]) / usual
        if at.first > seen.first and begun < LEAST_WAY:
            first = turns[0]
        if at.stop < seen.stop and ended < LEAST_WAY:
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


def _still(pieces: list[Piece], fps: float, at: Stretch) -> Stretch:
    """A hold or a rest, of the pieces of it in which a pose is kept."""
    held = [piece for piece in pieces if piece.kind is Kind.HOLDS]
    if not held:
        return replace(at, left_out=max(pieces, key=lambda piece: piece.frames).rest)
    frames = sum(piece.frames for piece in held)
    if frames < LEAST_HOLD_S * fps:
        return replace(at, left_out="held for less than a clip")
    longest = max(held, key=lambda piece: piece.frames)
    shake = sum(piece.spread * piece.frames for piece in held) / frames
    steady = 0.5 + 0.4 * max(0.0, 1 - shake / MOVING_SPREAD)
    return replace(
        at, hold=True, confidence=steady * frames / (at.stop - at.first),
        reasons=(f"held for {frames / fps:.1f} s",
                 f"the video is of a pose, else: {longest.rest}" if longest.rest
                 else "it asks for strength"),
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
