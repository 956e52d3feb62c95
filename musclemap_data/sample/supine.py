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
    mirrored,
    planted_foot,
    planted_palm,
    straight_leg,
    swept,
    symmetric,
    timed,
    vec,
)
from musclemap_data.sample.skeleton import Dimensions, Limb, Pose


def on_back(
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


def sole(size: Dimensions, z: float) -> Limb:
    """A foot flat on the floor, ``z`` body heights in front of the hips."""
    h = size.height
    return planted_foot(0.075 * h, size.ankle_height, z * h, (0.1, 0.0, 1), (0.05, 0, 1))


def palms_beside(size: Dimensions) -> Limb:
    """The hands on the floor beside the hips."""
    h = size.height
    return planted_palm(0.16 * h, 0.022 * h, -size.torso + 0.95 * size.arm, (1, 0, -0.1))


ARMS_BACK = free_arm(0.16, 0.95, 0.05, (1, 0, -0.2))


def crunch(size: Dimensions, style: Style) -> list[Key]:
    t, d = style.tempo, style.depth
    arm = (BEHIND_HEAD, free_arm(-0.10, -0.50, 0.36, (1, 0, 0.4)))[style.variant % 2]
    leg = sole(size, 0.29)
    down = on_back(size, arm, leg, 2, 4, 4)
    up = on_back(size, arm, leg, 8, 52 * d, 16)
    return timed(t, (down, 0.65), (up, 0.16), (up, 0.60), (down, 0.10))


def sit_up(size: Dimensions, style: Style) -> list[Key]:
    t = style.tempo
    leg = sole(size, 0.30)
    arm_down = (BEHIND_HEAD, ARMS_BACK)[style.variant % 2]
    arm_up = (BEHIND_HEAD, free_arm(0.0, -0.10, 0.93, (0.6, -0.4, 0)))[style.variant % 2]
    down = on_back(size, arm_down, leg, 2, 2, 2)
    curl = on_back(size, arm_up, leg, 26, 44, 14)
    up = on_back(size, arm_up, leg, 76 * style.depth, 30, 6, 0.012)
    return timed(t, (down, 0.65), (curl, 0.50), (up, 0.18), (up, 0.45), (curl, 0.65))


def bridge(size: Dimensions, hip_y_m: float) -> Pose:
    """Shoulders, palms and soles on the floor, the hips at a height in metres."""
    h = size.height
    shoulders_z = -size.torso
    rise = float(np.arcsin(np.clip((hip_y_m - size.lying) / size.torso, -0.9, 0.9)))
    pelvis = vec(0, hip_y_m, shoulders_z + size.torso * np.cos(rise))
    wrist = planted_palm(0.16 * h, 0.022 * h, shoulders_z + 0.93 * size.arm, (1, 0, 0))
    foot = planted_foot(0.075 * h, size.ankle_height, 0.235 * h, (0.1, 0, 1), (0.1, 0, 1))
    turn, head = np.array([-np.pi / 2 - rise, 0, 0]), np.array([rise + 0.1, 0.0])
    return symmetric(pelvis, wrist, foot, turn=turn, head=head)


def glute_bridge(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    down, up = bridge(size, size.lying), bridge(size, size.lying + 0.165 * h * style.depth)
    return timed(t, (down, 0.70), (up, 0.28), (up, 0.65), (down, 0.10))


def single_leg_glute_bridge(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    leg = straight_leg(16)
    if style.variant == 3:  # the free knee bent
        leg = free_leg(0.02, -0.30, 0.52, (0.05, 0.5, 1), 0.2)
    down, up = (
        replace(bridge(size, size.lying + rise * h), left_leg=leg)
        for rise in (0.0, 0.155 * style.depth)
    )
    keys = timed(t, (down, 0.70), (up, 0.28), (up, 0.65), (down, 0.10))
    return mirrored(keys) if style.variant % 2 else keys


def leg_raise(size: Dimensions, style: Style) -> list[Key]:
    t = style.tempo
    palms = palms_beside(size)
    down = on_back(size, palms, free_leg(0.02, -0.98, 0.10, point=0.7), nod=6)
    up = on_back(size, palms, free_leg(0.02, -0.16, 0.97 * style.depth, point=0.5), -4, 2, 6)
    return timed(t, (down, 0.90), (up, 0.12), (up, 0.85), (down, 0.06))


def scissors(size: Dimensions, style: Style) -> list[Key]:
    t = style.tempo
    base = on_back(size, palms_beside(size), free_leg(0.02, -0.95, 0.2), 3, 16, 14)
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
        return on_back(size, free_arm(0.14, 0.97, 0.12, (1, 0, -0.2)), leg, 5, 20 + 60 * more, 8)

    return timed(t, (pose(0.0), 0.8), (pose(0.035 * style.depth), 0.8))


def v_ups(size: Dimensions, style: Style) -> list[Key]:
    t = style.tempo
    down = on_back(size, ARMS_BACK, free_leg(0.02, -0.99, 0.06, point=0.8), 0, 3, 2)
    leg = free_leg(0.02, 0.15, 0.97 * style.depth, (0.05, 0.4, 1), point=0.7)
    up = on_back(size, free_arm(0.02, 0.10, 0.96, (0.8, -0.3, 0)), leg, 42, 34, 2, 0.006)
    return timed(t, (down, 0.75), (up, 0.14), (up, 0.70), (down, 0.12))


def reverse_crunches(size: Dimensions, style: Style) -> list[Key]:
    t, d = style.tempo, style.depth
    palms = palms_beside(size)
    start = on_back(size, palms, free_leg(0.03, -0.44, 0.54, (0.1, 0.6, 1), 0.3), nod=4)
    leg = free_leg(0.03, 0.02, 0.50, (0.1, 1, 0.5), 0.3)
    end = on_back(size, palms, leg, -40 * d, 36 * d, 6, 0.085 * d)
    return timed(t, (start, 0.60), (end, 0.12), (end, 0.62), (start, 0.08))


def bicycle_crunch(size: Dimensions, style: Style) -> list[Key]:
    t, d = style.tempo, style.depth
    base = on_back(size, BEHIND_HEAD, free_leg(0.02, -0.9, 0.3), 6, 36, 14)
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
    base = on_back(size, hands, leg, 44, 18, 4, 0.006)
    left = replace(base, spine=deg(18, 42 * style.depth, 0), head=deg(4, -8))
    right = left.mirrored()
    return timed(t, (left, 0.12), (left, 0.55), (right, 0.12), (right, 0.55))


def butterfly_sit_up(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    leg = planted_foot(0.022 * h, 0.040 * h, 0.27 * h, (0.2, 0.2, 1), (1, 0.1, 0.25))
    down = on_back(size, ARMS_BACK, leg, 0, 2, 2)
    forward = free_arm(-0.06, -0.30, 0.88, (0.6, -0.4, 0))
    curl = on_back(size, free_arm(0.10, 0.10, 0.95, (0.8, -0.3, 0)), leg, 26, 44, 14)
    up = on_back(size, forward, leg, 80 * style.depth, 40, 6, 0.012)
    return timed(t, (down, 0.70), (curl, 0.45), (up, 0.18), (up, 0.45), (curl, 0.70))


def dead_bug(size: Dimensions, style: Style) -> list[Key]:
    t, d = style.tempo, style.depth
    tabletop = free_leg(0.03, -0.50, 0.50, (0.05, 0.5, 1), 0.1)
    base = on_back(size, free_arm(0.02, 0.02, 0.97, (1, -0.2, 0)), tabletop, 0, 2, 2)
    low = replace(
        base,
        left_leg=straight_leg(20 - 10 * d, 0.03, 0.4),
        right_arm=free_arm(0.10, 0.95, 0.30 - 0.18 * d, (1, 0, -0.2)).mirrored(),
    )
    if style.variant == 2:  # the legs alone, the arms stay up
        low = replace(low, right_arm=base.right_arm)
    return alternate(timed(t, (base, 0.85), (low, 0.20), (low, 0.80), (base, 0.10)))


def elbow_to_knee_crunch(size: Dimensions, style: Style) -> list[Key]:
    h, t, d = size.height, style.tempo, style.depth
    crossed = planted_foot(-0.03 * h, 0.285 * h, 0.145 * h, (-0.3, 1, 0.3), (1, 0.2, 0.6))
    base = replace(on_back(size, BEHIND_HEAD, sole(size, 0.29), 2, 4, 4), left_leg=crossed)
    up = replace(base, turn=deg(-84, 0, 0), spine=deg(44 * d, 36 * d, 0), head=deg(14, 6))
    keys = timed(t, (base, 0.60), (up, 0.14), (up, 0.55), (base, 0.10))
    return mirrored(keys) if style.variant % 2 else keys


def flutter_kicks(size: Dimensions, style: Style) -> list[Key]:
    t, d = style.tempo, style.depth
    raised = style.variant % 2  # head and shoulders off the floor
    base = on_back(size, palms_beside(size), free_leg(0.02, -0.95, 0.2), 2, 4 + 22 * raised, 6)
    pose = replace(
        base,
        left_leg=straight_leg(12 + 10 * d, point=0.8),
        right_leg=straight_leg(6, point=0.8).mirrored(),
    )
    return alternate(timed(t, (pose, 0.02), (pose, 0.25)))


def heel_touch(size: Dimensions, style: Style) -> list[Key]:
    t, d = style.tempo, style.depth
    base = on_back(size, free_arm(0.24, -0.95, 0.12, (1, 0, -0.2)), sole(size, 0.25), 4, 30, 14)
    left = replace(
        base,
        left_arm=free_arm(0.12, -0.98, 0.06, (1, 0, -0.2)),
        spine=deg(30, 0, 26 * d),
    )
    return alternate(timed(t, (left, 0.10), (left, 0.48)))


def toe_touch_crunch(size: Dimensions, style: Style) -> list[Key]:
    t, d = style.tempo, style.depth
    leg = straight_leg(84, point=0.1)
    down = on_back(size, free_arm(0.0, 0.10, 0.97, (0.8, -0.3, 0)), leg, 0, 4, 4)
    up = on_back(size, free_arm(0.0, 0.16, 0.97, (0.8, -0.3, 0)), leg, 8, 50 * d, 12)
    return timed(t, (down, 0.55), (up, 0.14), (up, 0.55), (down, 0.08))


def windshield_wipers(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    palm = planted_palm(
        size.shoulder_half + 0.95 * size.arm, 0.024 * h, -size.torso, (0, -0.3, -1), (1, 0, 0)
    )
    bent = style.variant % 2
    leg = free_leg(0.02, -0.42, 0.54, (0.05, 0.6, 1), 0.2) if bent else straight_leg(87, 0.0)
    middle = on_back(size, palm, leg, 0, 0, 4)
    x = (62 if bent else 48) * style.depth

    def tipped(angle: float) -> Pose:
        """The hips roll, the shoulders stay on the floor."""
        lift = 0.3 * size.hip_half * abs(np.sin(np.radians(angle)))
        return replace(
            middle,
            pelvis=middle.pelvis + vec(0, lift, 0),
            spin=float(np.radians(angle)),
            spine=deg(0, -angle, 0),
            head=deg(4, -0.4 * angle),
        )

    left, right = tipped(x), tipped(-x)
    over = swept(t, (left, 0.62), (middle, 0.62), (right, 0))
    back = swept(t, (right, 0.62), (middle, 0.62), (left, 0))
    return [*over, Key(right, 0.12 * t), *back, Key(left, 0.12 * t)]


def modified_scissors(size: Dimensions, style: Style) -> list[Key]:
    t = style.tempo
    reach = free_arm(0.02, -0.42, 0.86, (0.8, -0.3, 0))
    arms = (reach, BEHIND_HEAD)[style.variant == 3]
    base = on_back(size, arms, free_leg(0.02, -0.95, 0.2), 6, 38, 14)
    pose = replace(
        base,
        left_leg=straight_leg(84 * style.depth, 0.0, 0.6),
        right_leg=straight_leg(8, 0.0, 0.6).mirrored(),
    )
    return alternate(timed(t, (pose, 0.30), (pose, 0.55)))
