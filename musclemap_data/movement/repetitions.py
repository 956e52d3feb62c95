"""Repetitions of a movement, counted from a clip's skeleton.

The pose, seen from the hips and in lengths of the trunk, changes most along one direction (the
first principal component). Along it the movement goes there and back; each way is half a
repetition.
Where the pose half a cycle later is the mirror image, left and right take turns, and each of the
two is a repetition.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

from musclemap_data.skeleton import JOINTS, MIRRORED

Array = npt.NDArray[np.float64]

SCORE_SEEN = 0.3
"""Joints with a lower score are not used."""
SMOOTH_S = 0.1
"""Width (standard deviation) of the filter over time: faster is the trembling of joints."""
LEAST_TURN = 0.4
"""A turn counts when the movement goes back by this share of its whole range."""
LEAST_RANGE = 0.12
"""Range of the movement, in lengths of the trunk a joint, below which a clip is a hold."""
LEAST_MIRRORED = 0.3
"""Correlation with the mirrored pose half a cycle later from which left and right take turns."""
LONGEST_GAP_S = 0.5
"""Frames without a person for longer end a stretch."""
_HIPS = (JOINTS.index("left_hip"), JOINTS.index("right_hip"))
_BODY = [JOINTS.index("nose"), *range(JOINTS.index("left_shoulder"), len(JOINTS))]


@dataclass(frozen=True)
class Repetitions:
    """The repetitions of a clip.

    Attributes:
        cycles: there and back is 1; a way that the clip's ends cut off counts as far as it goes.
        turns_s: when the movement turns, seconds from the start of the clip.
        alternating: left and right take turns; then each way is a repetition, else two are.
        range: how far the movement goes, in lengths of the trunk a joint.
        course: the movement itself, ``float64 [T]`` in the same; NaN where nobody is seen.
    """

    cycles: float
    turns_s: tuple[float, ...]
    alternating: bool
    range: float
    course: Array = field(repr=False, compare=False)

    @property
    def period_s(self) -> float | None:
        """Seconds of one repetition (the median); None where no whole one was seen."""
        step = 1 if self.alternating else 2
        if len(self.turns_s) <= step:
            return None
        turns = np.array(self.turns_s)
        return float(np.median(turns[step:] - turns[:-step]))


def count_repetitions(skeleton: npt.NDArray[np.float32], fps: float) -> Repetitions:
    """Count the repetitions of one person's movement.

    Args:
        skeleton: ``float32 [T, 17, 3]`` x, y (pixels) and score; NaN or score 0 where not seen.
        fps: frames a second.
    """
    stretch = _longest_stretch(skeleton, fps)
    course = np.full(len(skeleton), np.nan)
    poses = None
    if stretch.stop - stretch.start >= max(4, 0.5 * fps):
        poses = body_poses(skeleton[stretch], fps)
    if poses is None:
        return Repetitions(0.0, (), False, 0.0, course)
    flat = poses.reshape(len(poses), -1)
    flat = flat - flat.mean(0)
    _, _, directions = np.linalg.svd(flat, full_matrices=False)
    signal = course[stretch] = flat @ directions[0] / np.sqrt(len(JOINTS))
    span = float(np.subtract(*np.percentile(signal, [98, 2])))
    if span < LEAST_RANGE:
        return Repetitions(0.0, (), False, span, course)
    turns = zigzag(signal, LEAST_TURN * span)
    ways = np.abs(np.diff(signal[turns]))
    usual = float(np.median(ways[1:-1])) if len(ways) > 2 else float(ways.max(initial=span))
    done = np.minimum(ways / usual, 1.0)
    done[1:-1] = 1.0
    alternating = len(turns) > 5 and _takes_turns(poses, turns)
    return Repetitions(
        cycles=float(done.sum()) * (1.0 if alternating else 0.5),
        turns_s=tuple(float((stretch.start + turn) / fps) for turn in turns[1:-1]),
        alternating=alternating,
        range=span,
        course=course,
    )


def body_poses(skeleton: npt.NDArray[np.float32], fps: float) -> Array | None:
    """Joints seen from the hips, in lengths of the trunk; None where too few are seen.

    Args:
        skeleton: ``float32 [T, 17, 3]`` x, y (pixels) and score.
        fps: frames a second.

    Returns:
        ``float64 [T, 17, 2]``; 0 for a joint that is not used.
    """
    points = skeleton[:, :, :2].astype(np.float64)
    seen = np.isfinite(points).all(2) & (skeleton[:, :, 2] >= SCORE_SEEN)
    usable = [joint for joint in _BODY if seen[:, joint].mean() > 0.5]
    if len(usable) < 4:
        return None
    frames = np.arange(len(points))
    for joint in usable:
        there = seen[:, joint]
        for axis in range(2):
            points[:, joint, axis] = np.interp(frames, frames[there], points[there, joint, axis])
    hips = [joint for joint in _HIPS if joint in usable] or usable
    points = (points - points[:, hips].mean(1, keepdims=True)) / _trunk_length(points, usable)
    unused = [joint for joint in range(len(JOINTS)) if joint not in usable]
    points[:, unused] = 0.0
    return np.asarray(gaussian_filter1d(points, SMOOTH_S * fps, axis=0), np.float64)


def _takes_turns(poses: Array, turns: npt.NDArray[np.int64]) -> bool:
    """Whether the pose half a cycle later is the mirror image."""
    half = int(np.median(np.diff(turns)[1:-1]))
    moving = poses - poses.mean(0)
    best = -1.0
    # Seen from the side the mirror image swaps left and right; heights do so from everywhere.
    for weights in ((1.0, 1.0), (0.0, 1.0)):
        mirrored = moving[:, MIRRORED] * np.array(weights)
        now, later = (moving * np.abs(weights))[:-half], mirrored[half:]
        size = np.linalg.norm(now) * np.linalg.norm(later)
        best = max(best, float((now * later).sum() / max(size, 1e-9)))
    return best > LEAST_MIRRORED


def zigzag(signal: Array, least: float) -> npt.NDArray[np.int64]:
    """The first frame, every frame at which the signal turns by at least ``least``, and the last.

    Args:
        signal: ``float64 [T]``.
        least: how far it must go back before a turn is one.
    """
    turns, low, high, way = [0], 0, 0, 0
    for frame in range(1, len(signal)):
        if signal[frame] > signal[high]:
            high = frame
        if signal[frame] < signal[low]:
            low = frame
        if way >= 0 and signal[high] - signal[frame] >= least:
            turns += [high] if high else []
            way, low, high = -1, frame, frame
        elif way <= 0 and signal[frame] - signal[low] >= least:
            turns += [low] if low else []
            way, low, high = 1, frame, frame
    end = high if way > 0 else low if way < 0 else len(signal) - 1
    return np.unique([*turns, end, len(signal) - 1])


def _trunk_length(points: Array, usable: list[int]) -> float:
    """Usual length of the trunk in pixels; where it is not seen, a third of the person's size."""
    sides = [(JOINTS.index(f"{s}_shoulder"), JOINTS.index(f"{s}_hip")) for s in ("left", "right")]
    lengths = [
        np.linalg.norm(points[:, a] - points[:, b], axis=1)
        for a, b in sides
        if a in usable and b in usable
    ]
    if lengths:
        return float(np.percentile(np.concatenate(lengths), 80)) + 1e-6
    return float(np.median(np.ptp(points[:, usable], axis=1).max(1))) / 3 + 1e-6


def _longest_stretch(skeleton: npt.NDArray[np.float32], fps: float) -> slice:
    """The longest run of frames in which the person is seen."""
    seen = (skeleton[:, _BODY, 2] >= SCORE_SEEN).mean(1) > 0.4
    frames = np.flatnonzero(seen)
    if not len(frames):
        return slice(0, 0)
    breaks = np.flatnonzero(np.diff(frames) > max(1.0, LONGEST_GAP_S * fps))
    starts = np.concatenate([[0], breaks + 1])
    ends = np.concatenate([breaks, [len(frames) - 1]])
    longest = int(np.argmax(frames[ends] - frames[starts]))
    return slice(int(frames[starts[longest]]), int(frames[ends[longest]]) + 1)
