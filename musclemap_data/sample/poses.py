"""Words for writing key poses: free and planted limbs, symmetry, a few common arms.

Lengths are in metres when they end in ``_m``, else shares of the limb. People face +z standing;
their heads point to +z when lying on the front and to -z on the back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from musclemap_data.sample.skeleton import Array, Dimensions, Limb, Pose


@dataclass(frozen=True)
class Style:
    """One repetition's manner: depth (1: full range), stance (1: usual width), tempo (s factor)."""

    depth: float = 1.0
    stance: float = 1.0
    tempo: float = 1.0
    variant: int = 0


EASES: dict[str, Callable[[Any], Any]] = {
    # Minimum jerk (Flash and Hogan 1985): starts and stops without a jolt.
    "smooth": lambda share: share**3 * (10 - 15 * share + 6 * share**2),
    "linear": lambda share: share,
    "leave": lambda share: share * share,
    "arrive": lambda share: share * (2 - share),
}
"""Share of the time to share of the way, of a number or an array; see :class:`Key`."""


@dataclass(frozen=True)
class Key:
    """A key pose, the seconds from it to the next key, and the height of a hop on the way (m).

    ``ease`` is "smooth" (from rest to rest), "linear" (for circles), "leave" (starts at rest and
    passes the next key at speed) or "arrive" (the other half of it). As a jump, "arrive" goes up
    and "leave" comes down: both are parabolas.
    """

    pose: Pose
    seconds: float
    hop: float = 0.0
    ease: str = "smooth"


def vec(x: float, y: float, z: float) -> Array:
    """A point or direction, float64 ``[3]``: to the person's left, up, forward; in metres."""
    return np.array([x, y, z], dtype=float)


def deg(*angles: float) -> Array:
    """These angles in radians, float64 ``[n]``."""
    turned: Array = np.radians(np.array(angles, dtype=float))
    return turned


def free_arm(x: float, y: float, z: float, pole: tuple[float, float, float]) -> Limb:
    """A free left arm: shoulder to wrist in the chest's frame, in arm lengths."""
    return Limb(vec(x, y, z), vec(*pole))


def hanging_arm(pitch_deg: float, out: float = 0.04, forwards_deg: float = 0.0) -> Limb:
    """A straight left arm that hangs down when the chest is tipped forwards by degrees.

    ``forwards_deg`` swings it forwards from there.
    """
    angle = np.radians(pitch_deg + forwards_deg)
    along = 0.985 * float(np.sqrt(1 - out * out))
    return free_arm(out, -along * float(np.cos(angle)), along * float(np.sin(angle)), (0.5, 0, -1))


def free_leg(
    x: float,
    y: float,
    z: float,
    pole: tuple[float, float, float] = (0.05, 0, 1),
    point: float = 0.3,
) -> Limb:
    """A free left leg: hip to ankle in the pelvis' frame, in leg lengths; toes pointed (rad)."""
    return Limb(vec(x, y, z), vec(*pole), end=point)


def straight_leg(flexion_deg: float, out: float = 0.02, point: float = 0.3) -> Limb:
    """A free straight left leg: the hip bent forwards by degrees, the ankle ``out`` to the side."""
    angle = np.radians(flexion_deg)
    along = 0.999 * float(np.sqrt(1 - out * out))
    y, z = -along * float(np.cos(angle)), along * float(np.sin(angle))
    return free_leg(out, y, z, (0.05, 0.5, 1), point)


def planted_foot(
    x_m: float,
    y_m: float,
    z_m: float,
    toes: tuple[float, float, float] = (0.25, 0, 1),
    pole: tuple[float, float, float] = (0.22, 0, 1),
) -> Limb:
    """A planted left foot: the ankle's place in metres and the direction of the toes."""
    return Limb(vec(x_m, y_m, z_m), vec(*pole), True, vec(*toes))


def planted_palm(
    x_m: float,
    y_m: float,
    z_m: float,
    pole: tuple[float, float, float] = (0.6, -0.8, 0.0),
    fingers: tuple[float, float, float] = (0, 0, 1),
) -> Limb:
    """A planted left hand: the wrist's place in metres and the direction of the fingers."""
    return Limb(vec(x_m, y_m, z_m), vec(*pole), True, vec(*fingers))


def symmetric(pelvis: Array, arm: Limb, leg: Limb, **others: Any) -> Pose:
    """A pose with left and right alike, its pelvis [3] in metres.

    ``others`` are ``turn``, ``spine``, ``head`` and so on.
    """
    return Pose(pelvis, arm, arm.mirrored(), leg, leg.mirrored(), **others)


def with_arms(pose: Pose, arm: Limb, **others: Any) -> Pose:
    """The pose with both arms as the left one given, and other values where given."""
    return replace(pose, left_arm=arm, right_arm=arm.mirrored(), **others)


def with_legs(pose: Pose, leg: Limb, **others: Any) -> Pose:
    """As ``with_arms``."""
    return replace(pose, left_leg=leg, right_leg=leg.mirrored(), **others)


def timed(tempo: float, *poses: tuple[Pose, float]) -> list[Key]:
    """Poses with the seconds from each to the next one, at a tempo."""
    return [Key(pose, seconds * tempo) for pose, seconds in poses]


def swept(tempo: float, *poses: tuple[Pose, float]) -> list[Key]:
    """As ``timed``; the motion does not stop at the poses between the first and the last.

    The last pose is where the next key begins, so its seconds are not used.
    """
    last = len(poses) - 2
    ease = {0: "leave", last: "arrive"} if last else {0: "smooth"}
    return [
        Key(pose, seconds * tempo, ease=ease.get(number, "linear"))
        for number, (pose, seconds) in enumerate(poses[:-1])
    ]


def mirrored(keys: list[Key]) -> list[Key]:
    """The same to the other side."""
    return [replace(key, pose=key.pose.mirrored()) for key in keys]


def alternate(keys: list[Key]) -> list[Key]:
    """The keys, then the same to the other side."""
    return keys + mirrored(keys)


HANGING = free_arm(0.20, -0.95, 0.06, (0.5, 0, -1))
ON_HIPS = free_arm(0.14, -0.70, 0.08, (1, 0, -0.6))
GUARD = free_arm(-0.16, 0.02, 0.46, (0.5, -1, -0.3))
BEHIND_HEAD = free_arm(-0.11, 0.36, -0.02, (1, 0.2, 0.05))
RUN_FRONT = free_arm(-0.10, -0.16, 0.62, (0.5, -1, -0.5))
RUN_BACK = free_arm(0.16, -0.62, -0.05, (0.3, 0.1, -1))


def stand(size: Dimensions, arm: Limb = HANGING, width: float = 0.075) -> Pose:
    """Upright on both feet; ``width`` is half the distance of the feet, in body heights."""
    return symmetric(
        vec(0, size.stand, 0), arm, planted_foot(width * size.height, size.ankle_height, 0)
    )
