"""Skeletons drawn over a picture."""

import numpy as np
import numpy.typing as npt

from musclemap_data.skeleton import BONES, JOINT_COUNT

LEFT_COLOUR, RIGHT_COLOUR, MIDDLE_COLOUR = (255, 90, 70), (70, 150, 255), (255, 225, 80)
"""RGB, of the person's own left and right; the browse page takes the same (``style.css``)."""


def draw_skeleton(
    frame: npt.NDArray[np.uint8], people: npt.NDArray[np.float32], min_score: float = 0.3
) -> npt.NDArray[np.uint8]:
    """Draw skeletons over a copy of a frame: the person's left in red, right in blue.

    Args:
        frame: uint8 [H, W, 3], RGB.
        people: float32 [M, 17, 3].
        min_score: joints below it, and bones that end in one, are left out.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        ValueError: not one frame, or not skeletons of 17 joints.
    """
    import cv2

    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] != 3:
        raise ValueError(f"frame must be uint8 [H, W, 3], got {frame.dtype} {list(frame.shape)}")
    if people.ndim != 3 or people.shape[1:] != (JOINT_COUNT, 3):
        raise ValueError(f"people must be [M, {JOINT_COUNT}, 3], got {list(people.shape)}")
    picture = np.ascontiguousarray(frame).copy()
    # Drawn in 1/16 pixel; about 1 pixel of line to 150 of picture.
    shift, thickness = 4, max(1, round(min(frame.shape[:2]) / 150))
    for joints in people:
        shown = np.isfinite(joints[:, :2]).all(axis=1) & (joints[:, 2] >= min_score)
        limit = 16 * max(frame.shape[:2])
        place = np.clip(np.nan_to_num(joints[:, :2]), -limit, limit)
        points = [(round(float(x) * 16), round(float(y) * 16)) for x, y in place]
        for a, b in BONES:
            if shown[a] and shown[b]:
                colour = _colour(a) if _colour(a) == _colour(b) else MIDDLE_COLOUR
                cv2.line(picture, points[a], points[b], colour, thickness, cv2.LINE_AA, shift)
        for joint in np.flatnonzero(shown):
            radius = (thickness + 1) * 16
            cv2.circle(picture, points[joint], radius, _colour(int(joint)), -1, cv2.LINE_AA, shift)
    return picture


def _colour(joint: int) -> tuple[int, int, int]:
    if joint == 0:
        return MIDDLE_COLOUR
    return LEFT_COLOUR if joint % 2 else RIGHT_COLOUR
