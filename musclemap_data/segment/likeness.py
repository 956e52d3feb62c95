"""How alike the poses of one course are: which come back, and where none comes back any more."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter1d

from musclemap_data.movement.repetitions import Array
from musclemap_data.skeleton import JOINTS, MIRRORED

MOVING_WINDOW_S = 2.0
"""A slow repetition stands still at its turns for less than this."""
MATCH_S = 0.6
"""The pose is compared over so much before and after a frame."""
LEAST_PERIOD_S, LONGEST_PERIOD_S = 0.4, 6.0
CHANGE_S = 1.5
"""So much before and after a change of exercise is looked for on its other side."""
LEAST_APART_S = 1.0
"""Two changes are further apart."""
LEAST_CHANGE = 0.2
"""Distance from the nearest pose on the other side of a change, in trunks a joint (the mean). In
144 real clips of one exercise it is more at some place in one of three, so a change is only a
place where two exercises may meet."""


def find_changes(poses: Array, fps: float) -> list[int]:
    """Frames at which one exercise may have ended and another begun.

    What comes before such a frame is not done again after it within the longest period, and what
    comes after was not done before: neither by the same nor by the other side of the body, nor
    facing the other way. A movement that goes there and back passes its poses twice, so a half of
    it already is like the other.

    Args:
        poses: ``float64 [T, 17, 2]`` from ``body_poses``.
        fps: frames a second.

    Returns:
        Frames in order; the surest of those that are too near to one another.
    """
    flat = poses.reshape(len(poses), -1)
    swapped = poses[:, MIRRORED]
    ways = np.stack([poses, swapped, swapped * np.array([-1.0, 1.0])]).reshape(3, *flat.shape)
    near, far, apart = (round(s * fps) for s in (CHANGE_S, LONGEST_PERIOD_S, LEAST_APART_S))
    change = np.zeros(len(flat))
    for frame in range(apart, len(flat) - apart + 1):
        before, after = slice(max(0, frame - far), frame), slice(frame, frame + far)
        just_before, just_after = slice(max(0, frame - near), frame), slice(frame, frame + near)
        change[frame] = min(
            _nearest(flat[just_after], ways[:, before]).mean(),
            _nearest(flat[just_before], ways[:, after]).mean(),
        )
    found: list[int] = []
    for frame in np.argsort(-change, kind="stable").tolist():
        if change[frame] <= LEAST_CHANGE:
            break
        if all(abs(frame - other) >= apart for other in found):
            found.append(frame)
    return sorted(found)


def _nearest(poses: Array, others: Array) -> Array:
    """``[T]``: distance of each pose ``[T, 34]`` from the nearest of others ``[3, U, 34]``."""
    others = others.reshape(-1, others.shape[-1])
    square = (poses**2).sum(1)[:, None] + (others**2).sum(1) - 2 * poses @ others.T
    return np.asarray(np.sqrt(np.maximum(square.min(1), 0) / len(JOINTS)))


def come_back(poses: Array, fps: float) -> tuple[Array, npt.NDArray[np.int64]]:
    """How much of the movement around each frame comes back a period later or earlier, 0 to 1.

    The difference at the best period is set against how much the pose changes, here and half a
    period on: a pose that has not gone away cannot come back.

    Args:
        poses: ``float64 [T, 17, 2]`` from ``body_poses``.
        fps: frames a second.

    Returns:
        ``float64 [T]``, and the best period of each frame, in frames.
    """
    flat = poses.reshape(len(poses), -1)
    frames, width = len(flat), max(3, 2 * round(MATCH_S * fps) + 1)
    best, lags = np.zeros(frames), np.zeros(frames, np.int64)
    usual = _usual(flat, fps)
    step = max(1, round(fps / 15))
    longest = min(round(LONGEST_PERIOD_S * fps), frames - width // 2)
    for lag in range(max(2, round(LEAST_PERIOD_S * fps)), longest, step):
        apart = ((flat[lag:] - flat[:-lag]) ** 2).sum(1)
        if len(apart) < width:
            break
        gone = ((flat[lag // 2 : frames - lag + lag // 2] - flat[:-lag]) ** 2).sum(1)
        near = uniform_filter1d(apart, width, mode="nearest")
        away = np.maximum(uniform_filter1d(gone, width, mode="nearest"), 1e-9)
        score = np.zeros(frames)
        score[:-lag] = 1 - near / np.minimum(usual[:-lag], away)
        score[lag:] = np.maximum(score[lag:], 1 - near / np.minimum(usual[lag:], away))
        # The shortest period counts: twice it fits as well.
        better = score > best + 0.05 * (best > 0)
        best[better], lags[better] = score[better], lag
    return best, lags


def _usual(flat: Array, fps: float) -> Array:
    """The squared change of the pose within two seconds: what a match must be small against."""
    width = max(3, 2 * round(MATCH_S * fps) + 1)
    usual = 2 * uniform_filter1d(variance(flat, round(2 * MOVING_WINDOW_S * fps)), width)
    return np.asarray(np.maximum(usual, 1e-9))


def turned_back(flat: Array, fps: float) -> Array:
    """As ``come_back``, for a movement that goes back the way it came, at the turn that suits best.

    Args:
        flat: ``float64 [T, 34]``, the poses.
        fps: frames a second.
    """
    frames, usual, reach = len(flat), _usual(flat, fps), round(LONGEST_PERIOD_S * fps / 2)
    best = np.zeros(frames)
    least = max(3, reach // 5)
    for turn in range(least, frames - least):
        size = min(reach, turn, frames - 1 - turn)
        back, on = flat[turn - size : turn + 1][::-1], flat[turn : turn + size + 1]
        apart = np.cumsum(((on - back) ** 2).sum(1)) / np.arange(1, size + 2)
        change = np.cumsum(((on - on[0]) ** 2).sum(1)) / np.arange(1, size + 2)
        score = 1 - apart / np.maximum(change, 1e-9)
        # A way back counts once it has gone as far as the movement usually goes here.
        score = np.where(((on - on[0]) ** 2).sum(1) > usual[turn], score, 0)
        score = np.maximum.accumulate(score[::-1])[::-1]  # all frames on the way to there
        best[turn : turn + size + 1] = np.maximum(best[turn : turn + size + 1], score)
        part = best[turn - size : turn + 1]
        best[turn - size : turn + 1] = np.maximum(part, score[::-1])
    return best


def variance(flat: Array, width: int) -> Array:
    """Variance of the pose ``[T, 34]`` over so many frames around each, summed over joints."""
    mean = uniform_filter1d(flat, width, axis=0, mode="nearest")
    square = uniform_filter1d(flat**2, width, axis=0, mode="nearest")
    return np.asarray(np.maximum(square - mean**2, 0).sum(1))
