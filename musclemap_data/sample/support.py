"""Exercises on hands or forearms, face down: the key poses of one repetition each."""

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
    mirrored,
    planted_foot,
    planted_palm,
    straight_leg,
    symmetric,
    timed,
    vec,
    with_legs,
)
from musclemap_data.sample.prone import all_fours, burpee, down_and_up, on_forearms, on_hands, toes
from musclemap_data.sample.skeleton import Dimensions, Limb, Pose


def high_plank(size: Dimensions, style: Style) -> list[Key]:
    x = size.shoulder_half / size.height + 0.01 * style.stance
    return timed(
        style.tempo,
        (on_hands(size, 0.965, x, sag=0.003), 1.1),
        (on_hands(size, 0.955, x, sag=-0.006 * style.variant), 1.1),
    )


def wide_push_up(size: Dimensions, style: Style) -> list[Key]:
    x = size.shoulder_half / size.height + 0.125 * style.stance
    pole = (1.0, -0.25, -0.1)
    return down_and_up(
        style,
        on_hands(size, 0.85, x, pole=pole),
        on_hands(size, 0.86 - 0.50 * style.depth, x, pole=pole),
    )


def _leaning(size: Dimensions, height: float, hand_x: float, shift: float) -> Pose:
    """Push-up position with the chest moved to the left by a share of the body height."""
    body = on_hands(size, height, hand_x)
    hand_z = float(body.left_arm.target[2])
    yaw = np.arcsin(shift * size.height / hand_z)
    pelvis = body.pelvis * vec(1, 1, np.cos(yaw)) + vec(body.pelvis[2] * np.sin(yaw), 0, 0)
    return replace(body, pelvis=pelvis, turn=body.turn + np.array([0, yaw, 0]))


def archer_push_ups(size: Dimensions, style: Style) -> list[Key]:
    x = size.shoulder_half / size.height + 0.165
    high = on_hands(size, 0.80, x, pole=(1.0, -0.4, 0))
    low = _leaning(size, 0.84 - 0.42 * style.depth, x, 0.085)
    return alternate(down_and_up(style, high, low))


def circle_push_ups(size: Dimensions, style: Style) -> list[Key]:
    x = size.shoulder_half / size.height + 0.075
    keys = []
    direction = 1 if style.variant % 2 else -1
    for step in range(8):
        angle = 2 * np.pi * step / 8
        height = 0.63 + 0.27 * style.depth * np.cos(angle)
        pose = _leaning(size, height, x, direction * 0.06 * np.sin(angle))
        keys.append(Key(pose, 0.26 * style.tempo, ease="linear"))
    return keys


def spiderman_push_up(size: Dimensions, style: Style) -> list[Key]:
    x = size.shoulder_half / size.height + 0.05 * style.stance
    high, low = on_hands(size, 0.96, x), on_hands(size, 0.97 - 0.55 * style.depth, x)
    knee = free_leg(0.38, -0.18, 0.20, (1, 0.6, 0.2), 0.3)
    low = replace(low, left_leg=knee, spine=deg(0, 0, 8), head=deg(-8, 14))
    return alternate(down_and_up(style, high, low))


def t_push_up(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    x = size.shoulder_half / h + 0.035 * style.stance
    high, low = on_hands(size, 0.96, x), on_hands(size, 0.97 - 0.55 * style.depth, x)
    # Over the right hand, the left side up.
    hand = high.right_arm.target
    ankle = vec(0, 0.075 * h, 0)
    shoulder = vec(hand[0], hand[1] + 0.955 * size.arm + 0.97 * size.shoulder_half, hand[2])
    along = (shoulder - ankle) / np.linalg.norm(shoulder - ankle)
    opened = replace(
        high,
        pelvis=ankle + 0.97 * size.leg * along,
        left_arm=free_arm(1.0, 0.04, -0.02, (0, 0, -1)),
        left_leg=planted_foot(0.03 * h, 0.105 * h, 0.02 * h, (0.9, -0.4, 0.3), (0, 0, 1)),
        right_leg=planted_foot(-0.01 * h, 0.055 * h, -0.01 * h, (0.9, -0.3, 0.3), (0, 0, 1)),
        turn=np.array([np.arctan2(along[2], along[1]), np.arctan2(along[0], along[2]), 0]),
        spin=np.radians(80.0),
        head=deg(-4, 20),
    )
    side = timed(
        t, (high, 0.65), (low, 0.08), (low, 0.60), (high, 0.55), (opened, 0.25), (opened, 0.60)
    )
    return alternate(side)


def knee_push_up(size: Dimensions, style: Style) -> list[Key]:
    h = size.height
    knee_y = 0.036 * h
    length = size.thigh + size.torso
    x = size.shoulder_half + 0.05 * style.stance * h
    lifted = style.variant % 2  # feet in the air
    ankle = vec(size.hip_half, knee_y, 0) + size.shin * (
        vec(0, 0.71, -0.70) if lifted else vec(0, 0.02, -0.999)
    )
    rise = np.arcsin((size.wrist_height + 0.95 * size.arm - knee_y) / length)
    hand = planted_palm(x, size.wrist_height, length * np.cos(rise), (0.6, -0.8, 0.0))

    def pose(height: float) -> Pose:
        rise = np.arcsin((size.wrist_height + height * size.arm - knee_y) / length)
        hips = vec(0, knee_y + size.thigh * np.sin(rise), size.thigh * np.cos(rise))
        foot = Limb(ankle, vec(0, -0.4, 1), True, vec(0, -0.1, -1))
        return symmetric(hips, hand, foot, turn=vec(np.pi / 2 - rise, 0, 0), head=deg(-16, 0))

    return down_and_up(style, pose(0.95), pose(0.96 - 0.60 * style.depth))


def plank_hip_dip(size: Dimensions, style: Style) -> list[Key]:
    h, t, d = size.height, style.tempo, style.depth
    flat = on_forearms(size)
    turned = replace(
        flat,
        pelvis=flat.pelvis + vec(0.03 * h, -0.045 * h * d, 0),
        spin=np.radians(44 * d),
        spine=deg(-6, -38 * d, 0),
    )
    return alternate(timed(t, (turned, 0.10), (turned, 0.55)))


def plank_leg_lift(size: Dimensions, style: Style) -> list[Key]:
    t, d = style.tempo, style.depth
    x = size.shoulder_half / size.height + 0.01
    flat = on_forearms(size) if style.variant % 2 else on_hands(size, 0.96, x)
    up = replace(flat, left_leg=straight_leg(-20 * d), turn=flat.turn + deg(2, 0, 0))
    return alternate(timed(t, (flat, 0.50), (up, 0.18), (up, 0.50), (flat, 0.08)))


def renegade_row(size: Dimensions, style: Style) -> list[Key]:
    h, t, d = size.height, style.tempo, style.depth
    flat = with_legs(on_hands(size, 0.95, size.shoulder_half / h + 0.01), toes(size, 0.11))
    row = replace(
        flat,
        pelvis=flat.pelvis + vec(-0.02 * h, 0.004 * h, 0),
        left_arm=free_arm(0.12, -0.60, 0.36 - 0.24 * d, (0.3, -0.1, -1)),
        spin=np.radians(8.0),
    )
    keys = alternate(timed(t, (flat, 0.55), (row, 0.16), (row, 0.55), (flat, 0.10)))
    if style.variant == 3:  # with a push-up after both sides
        low = with_legs(on_hands(size, 0.42, size.shoulder_half / h + 0.01), toes(size, 0.11))
        keys += timed(t, (flat, 0.6), (low, 0.6))
    return keys


def squat_thrust(size: Dimensions, style: Style) -> list[Key]:
    """A burpee without its last key, the jump."""
    return burpee(size, style)[:-1]


def cobra_pose(size: Dimensions, style: Style) -> list[Key]:
    h, t, d = size.height, style.tempo, style.depth
    x = size.shoulder_half / h + 0.03
    hand = planted_palm(x * h, size.wrist_height, 0.20 * h, (0.5, -0.6, -0.8))
    leg = free_leg(0.05 * style.stance, -0.995, 0.0, (0.1, 0, 1), 1.1)
    down = symmetric(vec(0, 0.072 * h, 0), hand, leg, turn=deg(90, 0, 0), head=deg(-8, 0))

    def up(rise: float) -> Pose:
        legs = with_legs(down, straight_leg(-7 * rise, 0.05, 1.1))
        return replace(
            legs,
            turn=deg(90 - 7 * rise, 0, 0),
            spine=deg(-56 * rise, 0, 0),
            head=deg(-22 * rise, 0),
        )

    high = 1.16 * min(d, 1.0) if style.variant % 2 else 0.76 * d
    if style.variant > 1:  # held
        return timed(t, (up(high), 1.2), (up(high - 0.05), 1.2))
    return timed(t, (down, 1.1), (up(high), 0.9), (up(high - 0.04), 0.9), (down, 0.25))


def bear_plank(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    base = hovering(size)
    if style.variant == 3:  # a hand to the opposite shoulder in turn
        tap = replace(
            base,
            pelvis=base.pelvis - vec(0.02 * h, 0, 0),
            left_arm=free_arm(-0.58, -0.05, 0.30, (0.3, -1, 0.5)),
        )
        return alternate(timed(t, (base, 0.45), (tap, 0.10), (tap, 0.45)))
    lower = replace(base, pelvis=base.pelvis - vec(0, 0.010 * h * style.depth, 0))
    return timed(t, (base, 1.1), (lower, 1.1))


def hovering(size: Dimensions, rise: float = 0.04) -> Pose:
    """On hands and toes, the knees off the floor by a share of the body height."""
    h = size.height
    base = all_fours(size)
    foot = planted_foot(size.hip_half, 0.095 * h, -0.215 * h, (0, -0.93, 0.36), (0, 0.6, 0.6))
    hips = base.pelvis + vec(0, rise * h, 0)
    drop = size.wrist_height + 0.97 * size.arm - hips[1]
    pitch = np.pi / 2 - float(np.arcsin(drop / size.torso))
    return with_legs(base, foot, pelvis=hips, turn=np.array([pitch, 0, 0]))


def bear_crawl(size: Dimensions, style: Style) -> list[Key]:
    """On the spot, as on a belt: what is on the floor slides back, what is lifted comes forward."""
    h, t = size.height, style.tempo
    base = hovering(size, (0.05, 0.09, 0.15, 0.12)[style.variant])
    stride = (0.065, 0.10, 0.09, 0.15)[style.variant] * style.depth * h

    def at(hand: float, hand_lift: float, foot: float, foot_lift: float, pose: Pose) -> Pose:
        arm, leg = pose.left_arm, pose.left_leg
        return replace(
            pose,
            left_arm=replace(arm, target=arm.target + vec(0, hand_lift * h, hand * stride)),
            left_leg=replace(leg, target=leg.target + vec(0, foot_lift * h, foot * stride)),
        )

    ahead = at(1, 0, -1, 0, base)  # left hand and right foot in front
    ahead = at(-1, 0, 1, 0, ahead.mirrored()).mirrored()
    passing = at(0, 0, 0, 0.04, base)
    passing = at(0, 0.05, 0, 0, passing.mirrored()).mirrored()
    passing = replace(passing, turn=passing.turn + deg(0, 0, -4))
    return alternate([Key(ahead, 0.30 * t, ease="linear"), Key(passing, 0.30 * t, ease="linear")])


def handstand_hold(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    hand = planted_palm(
        size.shoulder_half + 0.015 * h, size.wrist_height, 0, (1, 0, -0.3), (0, 0, -1)
    )
    hips_y = size.wrist_height + 0.985 * size.arm + 0.028 * h + size.torso
    legs = (straight_leg(0), straight_leg(-10), straight_leg(4, 0.35), straight_leg(0))

    def pose(lean: float) -> Pose:
        body = symmetric(
            vec(0, hips_y, 0.008 * h * lean),
            hand,
            legs[style.variant],
            turn=deg(180 + lean, 0, 0),
            head=deg(-14, 0),
        )
        if style.variant == 3:  # one leg in front, one behind
            body = replace(body, left_leg=straight_leg(38), right_leg=straight_leg(-22).mirrored())
        return body

    return mirrored(timed(t, (pose(1.0), 0.9), (pose(-1.5 * style.depth), 0.9)))
