"""Exercises on the back or seated: the key poses of one repetition each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from musclemap_data.sample.poses import (
    BEHIND_HEAD,
    Key,
    Style,
    alternate,
    deg,
    free_arm,
    free_leg,
    planted_foot,
    planted_palm,
    symmetric,
    timed,
    vec,
)
from musclemap_data.sample.skeleton import Dimensions, Limb, Pose


def _supine(
    size: Dimensions,
    arm: Limb,
    leg: Limb,
    tilt: float = 0.0,
    bend: float = 0.0,
    nod: float = 0.0,
    lift: float = 0.0,
) -> Pose:
    """On the back; tilt raises the chest end of the pelvis (degrees), bend curls the spine."""
    return symmetric(
        vec(0, size.lying + lift * size.height, 0),
        arm,
        leg,
        turn=deg(-90 + tilt, 0, 0),
        spine=deg(bend, 0, 0),
        head=deg(nod, 0),
    )


def _sole(size: Dimensions, z: float) -> Limb:
    h = size.height
    return planted_foot(0.075 * h, size.ankle_height, z * h, (0.1, 0.0, 1), (0.05, 0, 1))


def _palms_beside(size: Dimensions) -> Limb:
    h = size.height
    return planted_palm(0.16 * h, 0.022 * h, -size.torso + 0.95 * size.arm, (1, 0, -0.1))


ARMS_BACK = free_arm(0.16, 0.95, 0.05, (1, 0, -0.2))


def crunch(size: Dimensions, style: Style) -> list[Key]:
    t, d = style.tempo, style.depth
    arm = (BEHIND_HEAD, free_arm(-0.10, -0.50, 0.36, (1, 0, 0.4)))[style.variant % 2]
    leg = _sole(size, 0.29)
    down = _supine(size, arm, leg, 2, 4, 4)
    up = _supine(size, arm, leg, 8, 52 * d, 16)
    return timed(t, (down, 0.65), (up, 0.16), (up, 0.60), (down, 0.10))


def sit_up(size: Dimensions, style: Style) -> list[Key]:
    t = style.tempo
    leg = _sole(size, 0.30)
    arm_down = (BEHIND_HEAD, ARMS_BACK)[style.variant % 2]
    arm_up = (BEHIND_HEAD, free_arm(0.0, -0.10, 0.93, (0.6, -0.4, 0)))[style.variant % 2]
    down = _supine(size, arm_down, leg, 2, 2, 2)
    curl = _supine(size, arm_up, leg, 26, 44, 14)
    up = _supine(size, arm_up, leg, 76 * style.depth, 30, 6, 0.012)
    return timed(t, (down, 0.65), (curl, 0.50), (up, 0.18), (up, 0.45), (curl, 0.65))


def glute_bridge(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    shoulders_z = -size.torso

    def pose(hip_y_m: float) -> Pose:
        rise = float(np.arcsin(np.clip((hip_y_m - size.lying) / size.torso, -0.9, 0.9)))
        pelvis = vec(0, hip_y_m, shoulders_z + size.torso * np.cos(rise))
        wrist = planted_palm(0.16 * h, 0.022 * h, shoulders_z + 0.93 * size.arm, (1, 0, 0))
        foot = planted_foot(0.075 * h, size.ankle_height, 0.235 * h, (0.1, 0, 1), (0.1, 0, 1))
        turn, head = np.array([-np.pi / 2 - rise, 0, 0]), np.array([rise + 0.1, 0.0])
        return symmetric(pelvis, wrist, foot, turn=turn, head=head)

    down, up = pose(size.lying), pose(size.lying + 0.165 * h * style.depth)
    return timed(t, (down, 0.70), (up, 0.28), (up, 0.65), (down, 0.10))


def leg_raise(size: Dimensions, style: Style) -> list[Key]:
    t = style.tempo
    palms = _palms_beside(size)
    down = _supine(size, palms, free_leg(0.02, -0.98, 0.10, point=0.7), nod=6)
    up = _supine(size, palms, free_leg(0.02, -0.16, 0.97 * style.depth, point=0.5), -4, 2, 6)
    return timed(t, (down, 0.90), (up, 0.12), (up, 0.85), (down, 0.06))


def scissors(size: Dimensions, style: Style) -> list[Key]:
    t = style.tempo
    base = _supine(size, _palms_beside(size), free_leg(0.02, -0.95, 0.2), 3, 16, 14)
    pose = replace(
        base,
        left_leg=free_leg(0.0, -0.55, 0.82 * style.depth, point=0.7),
        right_leg=free_leg(0.0, -0.98, 0.14, point=0.7).mirrored(),
    )
    return alternate(timed(t, (pose, 0.06), (pose, 0.46)))


def hollow_hold(size: Dimensions, style: Style) -> list[Key]:
    t = style.tempo

    def pose(more: float) -> Pose:
        leg = free_leg(0.02, -0.92, 0.33 + more, point=0.9)
        return _supine(size, free_arm(0.14, 0.97, 0.12, (1, 0, -0.2)), leg, 5, 20 + 60 * more, 8)

    return timed(t, (pose(0.0), 0.8), (pose(0.035 * style.depth), 0.8))


def v_ups(size: Dimensions, style: Style) -> list[Key]:
    t = style.tempo
    down = _supine(size, ARMS_BACK, free_leg(0.02, -0.99, 0.06, point=0.8), 0, 3, 2)
    leg = free_leg(0.02, 0.15, 0.97 * style.depth, (0.05, 0.4, 1), point=0.7)
    up = _supine(size, free_arm(0.02, 0.10, 0.96, (0.8, -0.3, 0)), leg, 42, 34, 2, 0.006)
    return timed(t, (down, 0.75), (up, 0.14), (up, 0.70), (down, 0.12))


def reverse_crunches(size: Dimensions, style: Style) -> list[Key]:
    t, d = style.tempo, style.depth
    palms = _palms_beside(size)
    start = _supine(size, palms, free_leg(0.03, -0.44, 0.54, (0.1, 0.6, 1), 0.3), nod=4)
    leg = free_leg(0.03, 0.02, 0.50, (0.1, 1, 0.5), 0.3)
    end = _supine(size, palms, leg, -40 * d, 36 * d, 6, 0.085 * d)
    return timed(t, (start, 0.60), (end, 0.12), (end, 0.62), (start, 0.08))


def bicycle_crunch(size: Dimensions, style: Style) -> list[Key]:
    t, d = style.tempo, style.depth
    base = _supine(size, BEHIND_HEAD, free_leg(0.02, -0.9, 0.3), 6, 36, 14)
    pose = replace(
        base,
        left_leg=free_leg(0.0, -0.22, 0.56, (0.05, 0.8, 1), 0.3),
        right_leg=free_leg(0.03, -0.93, 0.26, point=0.6).mirrored(),
        spine=deg(38, 34 * d, 0),
    )
    return alternate(timed(t, (pose, 0.10), (pose, 0.50)))


def russian_twist(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    if style.variant % 2:
        leg = planted_foot(0.06 * h, size.ankle_height, 0.40 * h, (0.1, 0.25, 1), (0.05, 0, 1))
    else:
        leg = free_leg(0.04, -0.50, 0.62, (0.05, 0.5, 1), 0.1)
    hands = free_arm(-0.30, -0.42, 0.46, (0.9, -0.4, 0))
    base = _supine(size, hands, leg, 44, 18, 4, 0.006)
    left = replace(base, spine=deg(18, 42 * style.depth, 0), head=deg(4, -8))
    right = left.mirrored()
    return timed(t, (left, 0.12), (left, 0.55), (right, 0.12), (right, 0.55))
