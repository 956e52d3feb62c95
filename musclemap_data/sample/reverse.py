"""Exercises face up on hands and feet, and seated: the key poses of one repetition each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from musclemap_data.sample.poses import (
    Key,
    Style,
    alternate,
    deg,
    free_arm,
    free_leg,
    hanging_arm,
    planted_foot,
    planted_palm,
    straight_leg,
    symmetric,
    timed,
    vec,
)
from musclemap_data.sample.skeleton import Dimensions, Limb, Pose

_BACK_ELBOW = (0.35, 0.0, -1.0)


def table(size: Dimensions, hip_y: float, arm: float = 0.97, foot_z: float = 0.236) -> Pose:
    """Face up on hands and soles.

    Args:
        size: the person.
        hip_y: height of the hips in body heights.
        arm: height of the shoulders above the wrists in arm lengths.
        foot_z: ankle before the hips of the high table in body heights.
    """
    h = size.height
    shoulder_y, shoulder_z = size.wrist_height + arm * size.arm, -size.torso
    rise = np.arcsin(np.clip((shoulder_y - hip_y * h) / size.torso, -0.9, 0.9))
    pelvis = vec(0, hip_y * h, shoulder_z + size.torso * np.cos(rise))
    hand_z = shoulder_z - 0.35 * (0.97 - arm) * size.arm
    hand = planted_palm(size.shoulder_half + 0.02 * h, size.wrist_height, hand_z, _BACK_ELBOW)
    foot = planted_foot(0.075 * h, size.ankle_height, foot_z * h, (0.1, 0, 1), (0.1, 0.2, 1))
    turn = np.array([rise - np.pi / 2, 0, 0])
    return symmetric(pelvis, hand, foot, turn=turn, head=deg(12, 0))


def crab_bridge(size: Dimensions, style: Style) -> list[Key]:
    low, high = table(size, 0.095), table(size, 0.10 + 0.20 * min(style.depth, 1.02))
    high = replace(high, head=deg(-6, 0))
    return timed(style.tempo, (low, 0.80), (high, 0.35), (high, 0.80), (low, 0.25))


def crab_toe_touch(size: Dimensions, style: Style) -> list[Key]:
    h, t, d = size.height, style.tempo, style.depth
    base = table(size, 0.20)
    touch = replace(
        base,
        pelvis=base.pelvis + vec(-0.015 * h, 0.005 * h, 0),
        left_leg=straight_leg(70 + 20 * d, 0.0, 0.1),
        right_arm=free_arm(0.30, -0.22, 0.90, (-0.5, -0.8, 0)),
        spine=deg(12, 18, 0),
        head=deg(10, 6),
    )
    return alternate(timed(t, (base, 0.50), (touch, 0.12), (touch, 0.50)))


def crab_walk(size: Dimensions, style: Style) -> list[Key]:
    """On the spot, as on a belt: hand and opposite foot step together."""
    h, t = size.height, style.tempo
    base = table(size, (0.14, 0.19, 0.24, 0.17)[style.variant])
    base = replace(base, head=deg(24, 0))
    stride = 0.055 * style.depth * h

    def limbs(
        hand: Limb, foot: Limb, ahead: float, lifts: tuple[float, float]
    ) -> tuple[Limb, Limb]:
        up, along = vec(0, h, 0), vec(0, 0, stride * ahead)
        return (
            replace(hand, target=hand.target + along + lifts[0] * up),
            replace(foot, target=foot.target - along + lifts[1] * up),
        )

    def at(left: tuple[Limb, Limb], right: tuple[Limb, Limb], yaw: float) -> Pose:
        return replace(
            base,
            left_arm=left[0],
            left_leg=left[1],
            right_arm=right[0],
            right_leg=right[1],
            turn=base.turn + deg(0, yaw, 0),
        )

    left, right = (base.left_arm, base.left_leg), (base.right_arm, base.right_leg)
    ahead = at(limbs(*left, 1, (0, 0)), limbs(*right, -1, (0, 0)), 4)
    passing = at(limbs(*left, 0, (0, 0.06)), limbs(*right, 0, (0.045, 0)), 0)
    return alternate([Key(ahead, 0.28 * t, ease="linear"), Key(passing, 0.28 * t, ease="linear")])


def straight_back(size: Dimensions, forearms: bool = False, sag: float = 0.0) -> Pose:
    """Reverse plank: heels and hands, or heels and forearms, the body straight."""
    h = size.height
    heel_y = 0.040 * h
    shoulder_y = size.upper_arm + 0.028 * h if forearms else size.wrist_height + 0.965 * size.arm
    leg = 0.998 * size.leg
    length = leg + size.torso
    rise = np.arcsin((shoulder_y - heel_y) / length)
    along = vec(0, np.sin(rise), -np.cos(rise))
    heels = vec(0, heel_y, leg * np.cos(rise))
    pelvis = heels + leg * along - vec(0, sag * h, 0)
    shoulder_z = float((heels + length * along)[2])
    if forearms:
        hand = planted_palm(
            size.shoulder_half + 0.01 * h,
            0.024 * h,
            shoulder_z + 0.95 * size.forearm,
            (0.3, -0.9, -0.6),
        )
    else:
        hand = planted_palm(
            size.shoulder_half + 0.02 * h, size.wrist_height, shoulder_z - 0.01 * h, _BACK_ELBOW
        )
    foot = planted_foot(0.05 * h, heel_y, float(heels[2]), (0.15, 0.9, 0.5), (0.1, 0, 1))
    return symmetric(pelvis, hand, foot, turn=np.array([rise - np.pi / 2, 0, 0]), head=deg(8, 0))


def reverse_plank(size: Dimensions, style: Style) -> list[Key]:
    forearms = style.variant == 3
    high, low = straight_back(size, forearms), straight_back(size, forearms, 0.012 * style.depth)
    return timed(style.tempo, (high, 1.1), (low, 1.1))


def reverse_plank_kick(size: Dimensions, style: Style) -> list[Key]:
    t, d = style.tempo, style.depth
    base = straight_back(size)
    kick = replace(base, left_leg=straight_leg(64 * d, 0.0, 0.4), spine=deg(4, 0, 0))
    return alternate(timed(t, (base, 0.45), (kick, 0.10), (kick, 0.45)))


def bench_dip(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    bench = (0.25 + 0.01 * style.variant) * h
    hand = planted_palm(
        size.shoulder_half + 0.015 * h, bench + size.wrist_height, 0, _BACK_ELBOW, (0, -0.3, 1)
    )
    if style.variant % 2:  # straight legs, on the heels
        foot = planted_foot(0.05 * h, 0.04 * h, 0.445 * h, (0.15, 0.9, 0.5), (0.1, 0, 1))
    else:
        foot = planted_foot(0.075 * h, size.ankle_height, 0.35 * h, (0.1, 0, 1), (0.1, 0.2, 1))

    def pose(arm: float, pitch: float, out: float) -> Pose:
        shoulder_y = bench + size.wrist_height + arm * size.arm
        hips = vec(0, shoulder_y - size.torso * np.cos(np.radians(pitch)), out * h)
        return symmetric(hips, hand, foot, turn=deg(-pitch, 0, 0), head=deg(4, 0))

    high, low = pose(0.955, 12, 0.085), pose(0.96 - 0.42 * style.depth, 6, 0.105)
    return timed(t, (high, 0.85), (low, 0.12), (low, 0.75), (high, 0.15))


def triceps_dip_hold(size: Dimensions, style: Style) -> list[Key]:
    t = style.tempo
    base = table(size, 0.165, arm=0.78 - 0.04 * style.depth, foot_z=0.22)
    lower = replace(base, pelvis=base.pelvis - vec(0, 0.010 * size.height, 0))
    return timed(t, (base, 1.0), (lower, 1.0))


def _seated_lean(size: Dimensions, lean: float, arm: Limb, leg: Limb, bend: float = 12) -> Pose:
    """Balanced on the seat, the trunk tipped back by degrees."""
    return symmetric(
        vec(0, size.lying + 0.01 * size.height, 0),
        arm,
        leg,
        turn=deg(-lean, 0, 0),
        spine=deg(bend, 0, 0),
        head=deg(0.5 * lean, 0),
    )


def boat_pose(size: Dimensions, style: Style) -> list[Key]:
    t = style.tempo
    bent = free_leg(0.03, -0.24, 0.66, (0.05, 0.6, 1), 0.4)

    def pose(lean: float) -> Pose:
        arm = hanging_arm(12 - lean, 0.05, 84 + 6 * style.depth)
        leg = straight_leg(78 + 6 * style.depth, 0.02, 0.7)
        if style.variant % 2:
            leg, arm = bent, hanging_arm(12 - lean, 0.04, 72)
        return _seated_lean(size, lean, arm, leg)

    return timed(t, (pose(38), 1.1), (pose(42), 1.1))


def seated_knee_tuck(size: Dimensions, style: Style) -> list[Key]:
    h, t, d = size.height, style.tempo, style.depth
    seat = 0.24 * h if style.variant == 3 else 0.0  # on a bench
    hands = planted_palm(0.15 * h, size.wrist_height + seat, -0.15 * h, _BACK_ELBOW)
    if style.variant == 1:
        hands = free_arm(0.02, -0.30, 0.80, (0.6, -0.6, 0))
    tucked = _seated_lean(size, 36, hands, free_leg(0.03, -0.10, 0.44, (0.08, 0.8, 1), 0.5), 14)
    out = _seated_lean(size, 28 + 14 * d, hands, straight_leg(62, 0.02, 0.7), 12)
    tucked, out = (replace(p, pelvis=p.pelvis + vec(0, seat, 0)) for p in (tucked, out))
    return timed(t, (out, 0.55), (tucked, 0.12), (tucked, 0.55), (out, 0.10))


def spine_twist(size: Dimensions, style: Style) -> list[Key]:
    h, t, d = size.height, style.tempo, style.depth
    foot = planted_foot(
        0.05 * style.stance * h, 0.05 * h, 0.985 * size.leg, (0.1, 1, 0.2), (0.1, 0.5, 1)
    )
    arms = (free_arm(0.98, 0.0, 0.08, (0, 0, -1)), free_arm(-0.26, -0.06, 0.42, (0.8, -0.6, 0)))
    middle = symmetric(vec(0, size.lying + 0.01 * h, 0), arms[style.variant == 3], foot)
    left = replace(middle, spine=deg(0, 56 * d, 0), head=deg(0, 14))
    return alternate(timed(t, (middle, 0.60), (left, 0.20), (left, 0.60)))
