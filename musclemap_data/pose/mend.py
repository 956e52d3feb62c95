"""What is mended in a skeleton, whatever model made it: sides, noise, too little in view."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from musclemap_data.pose.smoothing import SmoothingSettings, smooth_skeleton

Skeleton = npt.NDArray[np.float32]

ARMS, LEGS = (5, 6, 7, 8, 9, 10), (11, 12, 13, 14, 15, 16)
"""Joints that change sides together: left and right in turn."""
FEWEST_JOINTS = 4
"""A frame with fewer joints of the body (shoulders to ankles) in view shows too little of it."""
IN_VIEW_SCORE = 0.3
"""A joint with a lower score is not in view."""
SIDES_MARGIN = 0.06
"""Of the body's size and for each pair of joints: the other sides must be so much nearer."""
LEAST_WIDTH, LEAST_APART = 0.03, 0.05
"""Shoulders or hips tell which way they face where left and right lie so far apart across the
trunk, and at all, of the body's size: in a side view they do not."""
LONGEST_SIDE_VIEW = 15
"""Between two frames whose sides are exchanged, so many that do not tell are exchanged, too."""


def mend_skeleton(
    joints: Skeleton,
    shots: list[tuple[int, int]],
    size: tuple[int, int],
    smoothing: SmoothingSettings | None,
) -> Skeleton:
    """Make one person's skeleton fit to be stored.

    Args:
        joints: float32 [T, 17, 3]: x, y in pixels (NaN where nobody was found), score.
        shots: half-open ranges of frames; nothing is carried across their borders.
        size: height and width of the picture, pixels.
        smoothing: of the joints over time; None for the raw estimates.

    Returns:
        A new array of the same shape.
    """
    result = joints.copy()
    for start, stop in shots:
        result[start:stop] = face_one_way(keep_sides(result[start:stop]))
    result[too_little_in_view(result, size)] = (np.nan, np.nan, 0)
    return result if smoothing is None else smooth_skeleton(result, smoothing, shots)


def too_little_in_view(joints: Skeleton, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The frames, bool [T], in which fewer than ``FEWEST_JOINTS`` of the body are in view.

    Args:
        joints: float32 [T, 17, 3].
        size: height and width of the picture, pixels.
    """
    height, width = size
    x, y, score = np.moveaxis(joints[:, 5:], -1, 0)
    with np.errstate(invalid="ignore"):
        seen = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (score >= IN_VIEW_SCORE)
    few: npt.NDArray[np.bool_] = seen.sum(axis=1) < FEWEST_JOINTS
    return few


def changed_sides(
    before: npt.NDArray[np.floating], after: npt.NDArray[np.floating]
) -> npt.NDArray[np.bool_]:
    """Whether left and right changed places between two frames.

    They did where the joints of one frame lie much nearer to those of the other side in the last.

    Args:
        before, after: [N, 17, 2] or more columns: x, y in pixels.

    Returns:
        bool [N, 2]: the arms, the legs.
    """
    before, after = before[..., :2], after[..., :2]
    extent = after.max(axis=1) - after.min(axis=1)
    margin = SIDES_MARGIN * np.hypot(extent[:, 0], extent[:, 1])
    changed = []
    for group in (ARMS, LEGS):
        same = np.linalg.norm(after[:, group] - before[:, group], axis=-1).sum(axis=1)
        mirrored = [joint + 1 if joint % 2 else joint - 1 for joint in group]
        other = np.linalg.norm(after[:, mirrored] - before[:, group], axis=-1).sum(axis=1)
        changed.append(same - other > margin * len(group))
    return np.stack(changed, axis=1)


def keep_sides(joints: Skeleton) -> Skeleton:
    """Keep left and right through a shot: what was seen in most of its frames holds for all.

    Args:
        joints: float32 [T, 17, 3] of one shot; NaN where nobody was found.

    Returns:
        A new array of the same shape, with the sides of arms, legs or both exchanged in the frames
        that differ. The face goes with the arms.
    """
    result = joints.copy()
    frames = np.flatnonzero(np.isfinite(joints[..., :2]).all(axis=(1, 2)))
    if len(frames) < 2:
        return result
    changes = changed_sides(joints[frames[:-1]], joints[frames[1:]])
    exchanged = np.concatenate([np.zeros((1, 2), bool), np.cumsum(changes, axis=0) % 2 == 1])
    exchanged ^= exchanged.mean(axis=0) > 0.5
    _exchange(result, frames, exchanged)
    return result


def facing(
    xy: npt.NDArray[np.floating], size: float | npt.NDArray[np.floating]
) -> npt.NDArray[np.int64]:
    """Which way the shoulders and the hips face, int64 [n, 2]: 1, -1, or 0 where they do not tell.

    A spine does not turn so far that the two differ: then the sides of arms or legs are exchanged.

    Args:
        xy: [n, 17, 2].
        size: of the body, in the unit of ``xy``.
    """
    trunk = xy[:, 11:13].mean(axis=1) - xy[:, 5:7].mean(axis=1)
    length = np.maximum(np.hypot(trunk[:, 0], trunk[:, 1]), 1e-3 * size)
    ways = []
    for left, right in ((5, 6), (11, 12)):
        apart = xy[:, left] - xy[:, right]
        across = (apart[:, 0] * trunk[:, 1] - apart[:, 1] * trunk[:, 0]) / length
        tells = np.abs(across) > LEAST_WIDTH * size
        tells &= np.hypot(apart[:, 0], apart[:, 1]) > LEAST_APART * size
        ways.append(np.where(tells, np.sign(across), 0).astype(np.int64))
    return np.stack(ways, axis=1)


def face_one_way(joints: Skeleton) -> Skeleton:
    """Exchange the sides of arms or legs where shoulders and hips face opposite ways.

    The frames of the shot in which the two agree say which of them is wrong.

    Args:
        joints: as for :func:`keep_sides`.

    Returns:
        A new array of the same shape.
    """
    result = joints.copy()
    frames = np.flatnonzero(np.isfinite(joints[..., :2]).all(axis=(1, 2)))
    if not len(frames):
        return result
    xy = joints[frames, :, :2]
    extent = xy.max(axis=1) - xy.min(axis=1)
    size = max(1.0, float(np.median(np.hypot(extent[:, 0], extent[:, 1]))))
    faces = facing(xy, size)
    both = faces.prod(axis=1)
    way = np.sign(faces[both > 0, 0].sum())
    exchanged = (both < 0)[:, None] & (faces != way) & (way != 0)
    for part in (0, 1):
        known = np.flatnonzero(both != 0)
        for before, after in itertools.pairwise(known):
            if exchanged[before, part] and exchanged[after, part]:
                exchanged[before:after, part] |= after - before <= LONGEST_SIDE_VIEW
    _exchange(result, frames, exchanged)
    return result


def _exchange(
    joints: Skeleton, frames: npt.NDArray[np.int64], exchanged: npt.NDArray[np.bool_]
) -> None:
    """Exchange left and right of the arms, the legs or both (bool [n, 2]) in n frames, in place."""
    for part, group in enumerate(((1, 2, 3, 4, *ARMS), LEGS)):
        turned = frames[exchanged[:, part]]
        mirrored = [joint + 1 if joint % 2 else joint - 1 for joint in group]
        joints[turned[:, None], group] = joints[turned[:, None], mirrored]
