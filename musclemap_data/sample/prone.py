"""Exercises on hands, forearms, knees or belly: the key poses of one repetition each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from musclemap_data.sample.poses import (
    HANGING,
    Key,
    Style,
    alternate,
    deg,
    free_arm,
    free_leg,
    mirrored,
    planted_foot,
    planted_palm,
    stand,
    symmetric,
    timed,
    vec,
    with_arms,
    with_legs,
)
from musclemap_data.sample.skeleton import Array, Dimensions, Limb, Pose
from musclemap_data.sample.standing import squat_low


@dataclass(frozen=True)
class Straight:
    """A straight body on its toes: pitch (radians), mid-hip [3], and z of the shoulders (m)."""

    pitch: float
    pelvis: Array
    shoulder_z: float


def straight(size: Dimensions, shoulder_y_m: float, ankle_y_m: float, sag: float = 0.0) -> Straight:
    """A straight body face down, from the height of its shoulders and ankles in metres."""
    leg = 0.985 * size.leg
    length = leg + size.torso
    rise = np.arcsin(np.clip((shoulder_y_m - ankle_y_m) / length, -0.9, 0.9))
    along = vec(0, np.sin(rise), np.cos(rise))
    pelvis = vec(0, ankle_y_m, 0) + leg * along + vec(0, sag * size.height, 0)
    return Straight(np.pi / 2 - float(rise), pelvis, float(length * np.cos(rise)))


_TOES = (0.0, -0.93, 0.36)


def toes(size: Dimensions, x: float = 0.055, lift: float = 0.0) -> Limb:
    """A foot on its toes; ``x`` to the side and ``lift`` off the floor, in body heights."""
    h = size.height
    return planted_foot(x * h, (0.095 + lift) * h, 0, _TOES, (0.08, 0, 1))


def on_hands(
    size: Dimensions,
    height: float,
    hand_x: float,
    hand_z: float = 0.0,
    pole: tuple[float, float, float] = (0.6, -0.8, 0.0),
    sag: float = 0.0,
    fingers: tuple[float, float, float] = (0, 0, 1),
) -> Pose:
    """Push-up position.

    Args:
        height: of the shoulders above the wrists in arm lengths.
        hand_x: wrist from the middle, in body heights.
        hand_z: wrist before the place under the shoulders of the high position, in body heights.
    """
    h = size.height
    top = straight(size, size.wrist_height + 0.975 * size.arm, 0.095 * h)
    body = straight(size, size.wrist_height + height * size.arm, 0.095 * h, sag)
    hand = planted_palm(hand_x * h, size.wrist_height, top.shoulder_z + hand_z * h, pole, fingers)
    turn = np.array([body.pitch, 0, 0])
    return symmetric(body.pelvis, hand, toes(size), turn=turn, head=deg(-18, 0))


def on_forearms(size: Dimensions, sag: float = 0.0) -> Pose:
    """A plank on the forearms; ``sag`` lets the hips hang."""
    h = size.height
    body = straight(size, size.upper_arm + 0.030 * h, 0.095 * h, sag)
    wrist_z = body.shoulder_z + 0.96 * size.forearm
    wrist = planted_palm(0.065 * h, 0.022 * h, wrist_z, (0.25, -0.6, 1.0))
    turn = np.array([body.pitch, 0, 0])
    return symmetric(body.pelvis, wrist, toes(size), turn=turn, head=deg(-12, 0))


def down_and_up(style: Style, high: Pose, low: Pose) -> list[Key]:
    """One repetition: from high to low, a short stop, and back."""
    return timed(style.tempo, (high, 0.80), (low, 0.10), (low, 0.62), (high, 0.12))


def push_up(size: Dimensions, style: Style) -> list[Key]:
    x = size.shoulder_half / size.height + 0.045 * style.stance
    low = 0.97 - 0.62 * style.depth
    return down_and_up(style, on_hands(size, 0.96, x), on_hands(size, low, x))


def diamond_push_ups(size: Dimensions, style: Style) -> list[Key]:
    low = 0.95 - 0.50 * style.depth
    poses = [
        on_hands(size, y, 0.030, -0.035, (0.9, -0.7, 0.0), fingers=(-0.6, 0, 1))
        for y in (0.94, low)
    ]
    return down_and_up(style, *poses)


def raised_leg_push_ups(size: Dimensions, style: Style) -> list[Key]:
    x = size.shoulder_half / size.height + 0.045 * style.stance
    raised = free_leg(0.03, -0.95, -0.26, (0.05, 0, 1), 0.5)
    high, low = (
        replace(on_hands(size, y, x), left_leg=raised) for y in (0.96, 0.97 - 0.58 * style.depth)
    )
    keys = down_and_up(style, high, low)
    return mirrored(keys) if style.variant % 2 else keys


def plank(size: Dimensions, style: Style) -> list[Key]:
    t = style.tempo
    return timed(t, (on_forearms(size, 0.004), 1.1), (on_forearms(size, -0.006), 1.1))


def plank_jacks(size: Dimensions, style: Style) -> list[Key]:
    t = style.tempo
    x = size.shoulder_half / size.height + 0.01
    base = on_forearms(size) if style.variant % 2 else on_hands(size, 0.96, x)

    def legs(spread: float, lift: float) -> Pose:
        pelvis = base.pelvis + vec(0, (0.2 * lift - 0.05 * max(0, spread - 0.1)) * size.height, 0)
        return with_legs(base, toes(size, spread, lift), pelvis=pelvis)

    wide = 0.20 * style.depth
    between = legs(0.5 * wide, 0.055)
    return timed(t, (legs(0.04, 0), 0.16), (between, 0.18), (legs(wide, 0), 0.16), (between, 0.18))


def shoulder_taps(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    base = on_hands(size, 0.96, size.shoulder_half / h + 0.005)
    tap = replace(
        base,
        pelvis=base.pelvis + vec(-0.022 * h, 0.004 * h, 0),
        turn=base.turn + deg(0, 0, -4),
        left_arm=replace(free_arm(-0.58, -0.05, 0.30, (0.3, -1, 0.5)), end=vec(-0.8, 0.3, 0.6)),
    )
    return alternate(timed(t, (base, 0.36), (tap, 0.12), (tap, 0.36)))


def mountain_climber(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    base = on_hands(size, 0.95, size.shoulder_half / h + 0.01, sag=0.022)
    drive = free_leg(0.04, -0.25, 0.13 * style.depth, (0.12, 1, 0.7), 1.2)
    pose = replace(base, left_leg=drive, spine=deg(8, 0, 0))
    return alternate(timed(t, (pose, 0.08), (pose, 0.32)))


def up_and_down_planks(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    x = size.shoulder_half / h + 0.01
    high, low = on_hands(size, 0.95, x), on_forearms(size)
    half = replace(
        high,
        pelvis=0.45 * high.pelvis + 0.55 * low.pelvis + vec(-0.01 * h, 0.012 * h, 0),
        turn=0.5 * (high.turn + low.turn) + deg(0, 0, 7),
        left_arm=low.left_arm,
    )

    def between(a: Pose, b: Pose, side: str) -> Pose:
        arm_a, arm_b = getattr(a, side), getattr(b, side)
        arm = replace(arm_b, target=(arm_a.target + arm_b.target) / 2 + vec(0, 0.045 * h, 0))
        pelvis, turn = (a.pelvis + b.pelvis) / 2, (a.turn + b.turn) / 2
        return replace(a, pelvis=pelvis, turn=turn, **{side: arm})

    return timed(
        t,
        (high, 0.24),
        (between(high, half, "left_arm"), 0.22),
        (half, 0.22),
        (between(half, low, "right_arm"), 0.22),
        (low, 0.28),
        (between(low, half, "right_arm"), 0.22),
        (half, 0.22),
        (between(half, high, "left_arm"), 0.22),
    )


def burpee(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    top = stand(size, HANGING, 0.07)
    x = size.shoulder_half / h + 0.01
    flat = on_hands(size, 0.95, x)
    hand_z = 0.26 * h
    shift = hand_z - flat.left_arm.target[2]
    hand = replace(flat.left_arm, target=flat.left_arm.target + vec(0, 0, shift))
    leg = replace(flat.left_leg, target=flat.left_leg.target + vec(0, 0, shift))
    flat = with_arms(with_legs(flat, leg), hand, pelvis=flat.pelvis + vec(0, 0, shift))
    crouch = symmetric(
        vec(0, 0.275 * h, -0.075 * h),
        hand,
        planted_foot(0.085 * h, 0.070 * h, -0.01 * h, (0.2, -0.4, 1), (0.4, 0.2, 1)),
        turn=deg(72, 0, 0),
        spine=deg(16, 0, 0),
        head=deg(-25, 0),
    )
    flying = with_legs(
        crouch,
        planted_foot(0.07 * h, 0.17 * h, -0.26 * h, (0, -0.9, 0.4), (0.2, 0.2, 1)),
        pelvis=(crouch.pelvis + flat.pelvis) / 2 + vec(0, 0.045 * h, 0),
        turn=deg(88, 0, 0),
        spine=deg(6, 0, 0),
    )
    arm = free_arm(0.12, -0.50, 0.50, (0.6, -0.5, -0.5))
    dip = with_legs(squat_low(size, replace(style, depth=0.55), arm), top.left_leg)
    # Arms high and wide: they come down through the side, not through the head.
    jump = with_arms(top, free_arm(0.48, 0.85, 0.06, (1, 0, -0.3)))
    down = timed(t, (top, 0.52), (crouch, 0.20), (flying, 0.20), (flat, 0.26))
    up = timed(t, (flying, 0.20), (crouch, 0.36), (dip, 0.38))
    return [*down, *up, Key(jump, 0.44 * t, hop=0.12 * h * style.depth)]


def all_fours(size: Dimensions) -> Pose:
    """On hands and knees."""
    h = size.height
    hip_y = 0.036 * h + size.thigh
    shoulder_y = size.wrist_height + 0.975 * size.arm
    rise = float(np.arcsin((shoulder_y - hip_y) / size.torso))
    hand_z = size.torso * np.cos(rise)
    hand = planted_palm(size.shoulder_half, size.wrist_height, hand_z, (0.4, -0.9, 0.0))
    shin_z = -0.985 * size.shin
    leg = planted_foot(size.hip_half, 0.034 * h, shin_z, (0, -0.12, -1), (0, 0.6, 0.6))
    turn = np.array([np.pi / 2 - rise, 0, 0])
    return symmetric(vec(0, hip_y, 0), hand, leg, turn=turn, head=deg(-20, 0))


def donkey_kick(size: Dimensions, style: Style) -> list[Key]:
    t = style.tempo
    base = all_fours(size)
    kick = replace(
        base,
        left_leg=free_leg(0.03, -0.55, -0.55 * style.depth, (0.1, -1, 0.45), 0.0),
        turn=base.turn + deg(4, 0, -5),
        spine=deg(-6, 0, 3),
    )
    mid = replace(base, left_leg=free_leg(0.04, -0.62, 0.20, (0.05, 0.1, 1), 0.2))
    keys = timed(t, (base, 0.30), (mid, 0.36), (kick, 0.12), (kick, 0.34), (mid, 0.30))
    return mirrored(keys) if style.variant % 2 else keys


def superman(size: Dimensions, style: Style) -> list[Key]:
    h, t, d = size.height, style.tempo, style.depth
    down = symmetric(
        vec(0, 0.080 * h, 0),
        free_arm(0.18, 0.96, 0.10, (1, 0, -0.2)),
        free_leg(0.10, -0.99, 0.02, (0.1, 0, 1), 1.1),
        turn=deg(90, 0, 0),
        head=deg(-12, 0),
    )
    lifted = with_legs(down, free_leg(0.12, -0.94, -0.30 * d, (0.1, 0, 1), 1.1))
    arm = free_arm(0.18, 0.95, -0.12, (1, 0, -0.2))
    up = with_arms(lifted, arm, spine=deg(-30 * d, 0, 0), head=deg(-20, 0))
    return timed(t, (down, 0.75), (up, 0.45), (up, 0.70), (down, 0.15))


def side_arm(style: Style) -> Limb:
    """The upper (right) arm of a side plank: to the ceiling or along the body."""
    return (
        free_arm(1.0, 0.05, 0.05, (0, 0, -1)).mirrored(),
        free_arm(0.14, -0.70, 0.10, (1, 0, -0.5)).mirrored(),
    )[style.variant % 2]


def side_support(size: Dimensions, dip: float, top_arm: Limb) -> Pose:
    """Side-on on the left forearm, the hips lowered by a share of the body height."""
    h = size.height
    shoulder_y = size.upper_arm + 0.028 * h + 0.85 * size.shoulder_half
    rise = float(np.arcsin((shoulder_y - 0.045 * h) / (size.leg + size.torso)))
    roll = np.pi / 2 - rise
    pelvis = vec(np.cos(rise) * size.leg, 0.045 * h + np.sin(rise) * size.leg - dip * h, 0)
    shoulder_x = np.cos(rise) * (size.leg + size.torso) + size.shoulder_half * np.sin(rise)
    wrist = planted_palm(shoulder_x, 0.024 * h, 0.95 * size.forearm, (1, -0.15, -0.2))
    low_leg = planted_foot(0, 0.050 * h, -0.012 * h, (-0.2, 0.0, 1), (0, 0, 1))
    high_leg = planted_foot(0, 0.112 * h, 0.012 * h, (-0.2, 0.0, 1), (0, 0, 1))
    turn, spine = np.array([0, 0, roll]), np.array([0, 0, -0.3 * dip * 4])
    return Pose(pelvis, wrist, top_arm, low_leg, high_leg, turn, spine)


def side_plank(size: Dimensions, style: Style) -> list[Key]:
    t, arm = style.tempo, side_arm(style)
    low = side_support(size, 0.012 * style.depth, arm)
    return timed(t, (side_support(size, 0.0, arm), 1.0), (low, 1.0))
