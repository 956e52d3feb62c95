"""Angles of the main joints, from a clip's skeleton, and how far they move.

An angle in the picture is the joint's own only where both bones lie in the plane of the picture. A
bone that is seen shorter than it can be points to or from the camera: such angles are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from musclemap_data.movement.repetitions import SCORE_SEEN, Array
from musclemap_data.skeleton import JOINTS

BONES: dict[str, tuple[tuple[str, ...], tuple[str, ...], float]] = {
    "trunk": (("left_hip", "right_hip"), ("left_shoulder", "right_shoulder"), 0.288),
    **{
        f"{side}_{name}": ((f"{side}_{near}",), (f"{side}_{far}",), share)
        for side in ("left", "right")
        for name, near, far, share in (
            ("upper_arm", "shoulder", "elbow", 0.186),
            ("forearm", "elbow", "wrist", 0.146),
            ("thigh", "hip", "knee", 0.245),
            ("shin", "knee", "ankle", 0.246),
        )
    },
}
"""Bones: the joints at whose middle each begins and ends, and its length in body heights (Drillis
and Contini 1966, as in Winter, Biomechanics and Motor Control of Human Movement)."""
ANGLES: dict[str, tuple[str, str, bool]] = {
    f"{side}_{name}": (first if first == "trunk" else f"{side}_{first}", f"{side}_{second}", turned)
    for name, first, second, turned in (
        ("elbow", "upper_arm", "forearm", True),
        ("hip", "trunk", "thigh", False),
        ("knee", "thigh", "shin", True),
    )
    for side in ("left", "right")
}
"""The two bones of an angle, and whether the first is turned round: straight is 180 degrees. The
shoulder is left out: an arm moves to all sides of it, so one view does not carry its angle."""
SHORTER_PEOPLE = 0.88
"""People's bones may be so much shorter, in their heights, than the table says."""
LEAST_BONE, LEAST_ARM = 0.85, 0.95
"""A bone seen shorter than this share of its length lies too far from the plane of the picture.
Arms turn out of the plane in which they bend, legs hardly do."""
LEAST_SEEN = 0.8
"""Share of the frames that must carry an angle before its range is told."""
JOINT_WITHIN_PX = 3.0
"""How exact a joint is: the same frames give joints that differ by so much, in the median, where a
clip is cut with another start (short side of the picture 256 pixels)."""


@dataclass(frozen=True)
class Reach:
    """How far a joint moves.

    Attributes:
        least_deg, most_deg: 2nd and 98th percentile of the angle, degrees.
        seen: share of the frames in which the view carries the angle.
        within_deg: what an error of ``JOINT_WITHIN_PX`` at each of its joints makes of the angle.
    """

    least_deg: float
    most_deg: float
    seen: float
    within_deg: float

    @property
    def range_deg(self) -> float:
        """Degrees between the smallest and the largest angle."""
        return self.most_deg - self.least_deg


def joint_angles(skeleton: npt.NDArray[np.float32]) -> dict[str, Array]:
    """The angle at each joint of ``ANGLES`` in each frame.

    Args:
        skeleton: ``float32 [T, 17, 3]`` x, y (pixels) and score.

    Returns:
        ``float64 [T]`` in degrees, 0 to 180; NaN where a joint is not seen or the view cannot
        carry the angle.
    """
    bones = {name: _bone(skeleton, name) for name in BONES}
    heights = [
        float(np.nanpercentile(np.linalg.norm(bone, axis=1), 90)) / BONES[name][2]
        for name, bone in bones.items()
        if np.isfinite(bone).mean() > 0.2
    ]
    # No bone looks longer than it is: the one that gives the greatest height is seen in full.
    height = max(heights, default=0.0)
    in_plane = {
        name: _in_plane(bone, height * BONES[name][2], LEAST_ARM if "arm" in name else LEAST_BONE)
        for name, bone in bones.items()
    }
    return {
        name: np.where(in_plane[first] & in_plane[second],
                       _between(bones[first] * (-1 if turned else 1), bones[second]), np.nan)
        for name, (first, second, turned) in ANGLES.items()
    }  # fmt: skip


def reaches(skeleton: npt.NDArray[np.float32], angles: dict[str, Array]) -> dict[str, Reach]:
    """The range of motion of each joint that the view carries nearly all the time.

    Args:
        skeleton: ``float32 [T, 17, 3]`` that the angles are of.
        angles: from ``joint_angles``.
    """
    found = {}
    for name, angle in angles.items():
        seen = float(np.isfinite(angle).mean()) if len(angle) else 0.0
        if seen < LEAST_SEEN:
            continue
        low, high = np.nanpercentile(angle, [2, 98])
        lengths = [
            float(np.nanmedian(np.linalg.norm(_bone(skeleton, bone), axis=1)))
            for bone in ANGLES[name][:2]
        ]
        # The outer joints turn one bone each; the joint itself turns both.
        turns = [1 / lengths[0], 1 / lengths[1], 1 / lengths[0] + 1 / lengths[1]]
        within = float(np.degrees(JOINT_WITHIN_PX * np.linalg.norm(turns)))
        found[name] = Reach(float(low), float(high), seen, within)
    return found


def _bone(skeleton: npt.NDArray[np.float32], name: str) -> Array:
    """From the beginning of a bone to its end, ``[T, 2]`` pixels; NaN where it is not seen."""
    ends = []
    for joints in BONES[name][:2]:
        index = [JOINTS.index(joint) for joint in joints]
        seen = np.asarray((skeleton[:, index, 2] >= SCORE_SEEN).all(1))
        middle = skeleton[:, index, :2].astype(np.float64).mean(1)
        ends.append(np.where(seen[:, None], middle, np.nan))
    return np.asarray(ends[1] - ends[0])


def _in_plane(bone: Array, usual: float, least: float) -> npt.NDArray[np.bool_]:
    length = np.linalg.norm(bone, axis=1)
    if not np.isfinite(length).any():
        return np.zeros(len(bone), bool)
    full = max(SHORTER_PEOPLE * usual, float(np.nanpercentile(length, 95)))
    with np.errstate(invalid="ignore"):
        within: npt.NDArray[np.bool_] = (length >= least * full) & (length > 0)
    return within


def _between(first: Array, second: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        size = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        cosine = np.clip((first * second).sum(1) / size, -1, 1)
        return np.asarray(np.degrees(np.arccos(cosine)), np.float64)
