"""What is mended in a skeleton, whatever model made it: sides, noise, too little in view."""

from __future__ import annotations

from dataclasses import dataclass

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
SURE_STEP, TWIST_WEIGHT = 2.0, 1.0
"""What speaks for exchanged sides, in units of ``SIDES_MARGIN``: a step between frames counts up to
so much, shoulders that face as the hips so much."""
MODEL_WEIGHT, DOUBT_WEIGHT = 0.1, 0.02
"""The model's own word counts so much in each frame, where sides are exchanged and where it is only
asked how far the model contradicts itself."""
MOST_CONTRADICTED = 1 / 3
"""A shot in which more of the frames do stays as the model gave it: which side is left would hang
on where the shot begins."""


@dataclass(frozen=True)
class Mended:
    """A skeleton fit to be stored.

    Attributes:
        joints: float32 [T, 17, 3]: x, y in pixels (NaN where nobody is), score.
        contradicted: share of the frames with a person in which the model's left and right
            contradict those of most of the shot, whether they were exchanged or not. Frames in
            which only the legs do count half: legs do cross.
    """

    joints: Skeleton
    contradicted: float


def mend_skeleton(
    joints: Skeleton,
    shots: list[tuple[int, int]],
    size: tuple[int, int],
    smoothing: SmoothingSettings | None,
) -> Mended:
    """Make one person's skeleton fit to be stored.

    Args:
        joints: float32 [T, 17, 3]: x, y in pixels (NaN where nobody was found), score.
        shots: half-open ranges of frames; nothing is carried across their borders.
        size: height and width of the picture, pixels.
        smoothing: of the joints over time; None for the raw estimates.
    """
    result = joints.copy()
    contradicted, even = 0.0, []
    for start, stop in shots:
        shot = joints[start:stop]
        frames = np.flatnonzero(np.isfinite(shot[..., :2]).all(axis=(1, 2)))
        if not len(frames):
            continue
        doubted = contradicted_sides(shot[frames], DOUBT_WEIGHT)
        contradicted += float(np.where(doubted[:, 0], 1, doubted[:, 1] / 2).sum())
        if doubted.any(axis=1).mean() <= MOST_CONTRADICTED:
            exchanged = contradicted_sides(shot[frames], MODEL_WEIGHT)
            _exchange(result[start:stop], frames, exchanged)
            doubted ^= exchanged
        changes = (doubted[1:] != doubted[:-1]).any(axis=1)
        borders = [start + int(frame) for frame in frames[1:][changes]]
        even += list(zip([start, *borders], [*borders, stop], strict=True))
    there = int(np.isfinite(joints[..., :2]).all(axis=(1, 2)).sum())
    result[too_little_in_view(result, size)] = (np.nan, np.nan, 0)
    if smoothing is not None:
        result = smooth_skeleton(result, smoothing, even)
    return Mended(result, contradicted / max(1, there))


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
    extent = after[..., :2].max(axis=1) - after[..., :2].min(axis=1)
    size = np.hypot(extent[:, 0], extent[:, 1])
    changed: npt.NDArray[np.bool_] = _nearer(before, after) > SIDES_MARGIN * size[:, None]
    return changed


def _nearer(
    before: npt.NDArray[np.floating], after: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """How much nearer a joint lies to the other side's than to its own in the last frame.

    Args:
        before, after: see ``changed_sides``.

    Returns:
        [N, 2]: in the mean of the arms and of the legs, pixels.
    """
    nearer = []
    for group in (ARMS, LEGS):
        mirrored = [joint + 1 if joint % 2 else joint - 1 for joint in group]
        last, now = before[:, group, :2], after[:, group, :2]
        same = np.linalg.norm(now - last, axis=-1).mean(axis=1)
        other = np.linalg.norm(after[:, mirrored, :2] - last, axis=-1).mean(axis=1)
        nearer.append(same - other)
    return np.stack(nearer, axis=1)


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


def contradicted_sides(joints: Skeleton, model_weight: float) -> npt.NDArray[np.bool_]:
    """The frames in which left and right are the other way round than in most of a shot.

    Of all ways to exchange the sides of arms and legs, that in which joints move least from frame
    to frame, shoulders and hips face one way, and most is as the model says: a shortest path
    (Viterbi, "Error bounds for convolutional codes", 1967) through the four states of a frame. So
    one step that does not tell, as in a side view, does not decide over the rest of the shot.

    Args:
        joints: float32 [n, 17, 3] of one shot, all of them frames with a person.
        model_weight: what each frame as the model gave it counts, see ``MODEL_WEIGHT``.

    Returns:
        bool [n, 2]: the arms (with the face), the legs.
    """
    count = len(joints)
    xy = joints[..., :2].astype(np.float64)
    extent = xy.max(axis=1) - xy.min(axis=1)
    size = max(1.0, float(np.median(np.hypot(extent[:, 0], extent[:, 1]))))
    evidence = np.clip(_nearer(xy[:-1], xy[1:]) / (SIDES_MARGIN * size), -SURE_STEP, SURE_STEP)
    states = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    agree = facing(xy, size).prod(axis=1)[:, None]
    one_sided = states[:, 0] != states[:, 1]
    each = model_weight * states.sum(axis=1) + TWIST_WEIGHT * np.where(
        one_sided, agree > 0, agree < 0
    )
    turned = states[:, None] != states[None]  # [from, to, arms or legs]
    cost, came_from = each[0], np.zeros((count, 4), np.int64)
    for frame in range(1, count):
        changed = evidence[frame - 1]
        step = np.where(turned, np.maximum(-changed, 0), np.maximum(changed, 0)).sum(axis=2)
        total = cost[:, None] + step
        came_from[frame] = total.argmin(axis=0)
        cost = total.min(axis=0) + each[frame]
    path = np.zeros(count, np.int64)
    path[-1] = cost.argmin()
    for frame in range(count - 1, 0, -1):
        path[frame - 1] = came_from[frame, path[frame]]
    exchanged: npt.NDArray[np.bool_] = states[path] == 1
    return exchanged


def _exchange(
    joints: Skeleton, frames: npt.NDArray[np.int64], exchanged: npt.NDArray[np.bool_]
) -> None:
    """Exchange left and right of the arms, the legs or both (bool [n, 2]) in n frames, in place."""
    for part, group in enumerate(((1, 2, 3, 4, *ARMS), LEGS)):
        turned = frames[exchanged[:, part]]
        mirrored = [joint + 1 if joint % 2 else joint - 1 for joint in group]
        joints[turned[:, None], group] = joints[turned[:, None], mirrored]
