"""Is a pose that is kept a rest, or does it ask for strength? Told from where the joints lie.

Only the picture is known, so what looks like sitting on a chair may be a wall sit: the name that a
list gives the video, or a model, must say that.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from musclemap_data.skeleton import JOINTS

STANDS = "stands"
UPRIGHT_DEG = 35.0
"""A trunk nearer to the vertical is upright."""
STRAIGHT_DEG = 150.0
"""A hip or knee wider than this is straight."""
FOLDED_DEG = 75.0
OVERHEAD = 0.5
"""Wrists higher above the shoulders than this, in trunks, are held up."""
SUPPORTED = 0.35
"""A trunk that the arms or legs hold is higher above hand, elbow or foot than this, in trunks."""


def rest_of(skeleton: npt.NDArray[np.float32]) -> str:
    """What kind of rest a pose is; empty if it asks for strength.

    Args:
        skeleton: ``float32 [T, 17, 3]`` x, y (pixels, y down) and score, of somebody who keeps
            still.
    """
    points = np.nanmedian(skeleton[..., :2].astype(np.float64), axis=0)
    middle = {
        name: (points[JOINTS.index(f"left_{name}")] + points[JOINTS.index(f"right_{name}")]) / 2
        for name in ("shoulder", "hip", "knee", "ankle", "wrist", "elbow")
    }
    trunk = middle["shoulder"] - middle["hip"]
    length = float(np.linalg.norm(trunk)) + 1e-6
    lean = float(np.degrees(np.arctan2(abs(trunk[0]), -trunk[1])))  # 0: upright, 180: head down
    knee = _angle(middle["hip"], middle["knee"], middle["ankle"])
    hip = _angle(middle["shoulder"], middle["hip"], middle["knee"])
    below = {name: float(point[1] - middle["hip"][1]) / length for name, point in middle.items()}
    raised = float(middle["shoulder"][1] - middle["wrist"][1]) / length
    if lean < UPRIGHT_DEG:
        if raised > OVERHEAD:
            return ""
        return STANDS if knee > STRAIGHT_DEG and hip > STRAIGHT_DEG - 10 else "sits or kneels"
    if lean > 180 - UPRIGHT_DEG:
        return ""  # head down
    if hip < FOLDED_DEG and knee < FOLDED_DEG:
        return "rests folded up"
    lowest = max(below["wrist"], below["elbow"], below["ankle"], below["knee"])
    shoulder_up = max(below["wrist"], below["elbow"]) - below["shoulder"]
    if lowest > SUPPORTED or shoulder_up > SUPPORTED:
        return ""  # limbs carry the trunk
    feet_up = -below["ankle"]
    if feet_up > 0.15 or (hip < STRAIGHT_DEG and lean < 75):
        return ""  # lying, with feet or trunk in the air
    return "lies"


def _angle(
    a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], c: npt.NDArray[np.float64]
) -> float:
    one, two = a - b, c - b
    size = float(np.linalg.norm(one) * np.linalg.norm(two)) + 1e-9
    return float(np.degrees(np.arccos(np.clip(float(one @ two) / size, -1, 1))))
