"""A skeleton that walks on the spot, and its picture."""

from __future__ import annotations

import cv2
import numpy as np

from musclemap_data.skeleton import BONES

# x, y of the joints of a standing body, in a picture of 256 x 256.
STANDING = np.array(
    [
        [128, 40], [132, 36], [124, 36], [138, 40], [118, 40],
        [150, 70], [106, 70], [160, 105], [96, 105], [164, 138], [92, 138],
        [142, 140], [114, 140], [143, 185], [113, 185], [144, 230], [112, 230],
    ],
    np.float32,
)  # fmt: skip


def walking_skeleton(count: int, score: float = 0.9) -> np.ndarray:
    """float32 [count, 17, 3]: arms and legs swing, so that the feet cross."""
    swing = np.sin(2 * np.pi * np.arange(count) / 30)
    skeleton = np.zeros((count, 17, 3), np.float32)
    skeleton[..., :2] = STANDING
    skeleton[..., 2] = score
    for joint, reach in ((7, 8), (9, 18), (13, 12), (15, 24)):
        skeleton[:, joint, 0] -= reach * swing
        skeleton[:, joint + 1, 0] += reach * swing
    return skeleton


def picture_of(skeleton: np.ndarray, seed: int = 0) -> np.ndarray:
    """uint8 [T, 256, 256, 3]: the skeletons, drawn thick in one colour on a noisy wall."""
    wall = np.random.default_rng(seed).integers(0, 60, (256, 256, 3), dtype=np.uint8)
    frames = np.repeat(wall[None], len(skeleton), axis=0)
    for frame, joints in zip(frames, skeleton, strict=True):
        places = [tuple(int(v) for v in np.round(place)) for place in joints[:, :2]]
        for a, b in BONES:
            cv2.line(frame, places[a], places[b], (200, 150, 120), 13)
    return frames
