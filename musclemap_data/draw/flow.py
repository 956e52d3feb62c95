"""Optical flow in colour."""

import cv2
import numpy as np
import numpy.typing as npt

from musclemap_data.draw.colours import Picture


def flow_picture(image: npt.NDArray[np.uint8], bound_px: float) -> Picture:
    """Direction as hue, speed as saturation; white is at rest.

    Args:
        image: ``uint8 [2H, W, 1]``, u over v as in a shard.
        bound_px: what 255 stands for, in pixels a frame.

    Returns:
        ``uint8 [H, W, 3]`` RGB; full colour at the speed of the fastest hundredth of the pixels,
        but at no less than 3 pixels a frame: below, the steps of 8 bits would show.
    """
    u, v = (image[..., 0].astype(np.float32) * (2 / 255) - 1).reshape(2, -1, image.shape[1])
    speed, angle = cv2.cartToPolar(u * bound_px, v * bound_px, angleInDegrees=True)
    full = max(3.0, float(np.quantile(speed, 0.99)))
    saturation = np.clip(speed / full, 0, 1) * 255
    hsv = np.stack([angle / 2, saturation, np.full_like(speed, 255)], axis=-1)
    return np.asarray(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB))
