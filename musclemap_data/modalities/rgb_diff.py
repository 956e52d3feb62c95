"""RGB difference: what changed since the frame before."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def rgb_difference(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """``|x(t) - x(t-1)|`` for every frame; the first has none before it and is zero.

    Args:
        frames: ``uint8 [T, H, W, 3]``.

    Returns:
        ``uint8 [T, H, W, 3]``.
    """
    import cv2

    difference = np.zeros_like(frames)
    for t in range(1, len(frames)):
        cv2.absdiff(frames[t], frames[t - 1], dst=difference[t])
    return difference
