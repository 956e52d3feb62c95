"""Exercises with a weight, a rope or a cable in the hands: the key poses of one repetition each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from musclemap_data.sample.jumps import crouch
from musclemap_data.sample.legs import FRONT_RACK, pull_from_floor
from musclemap_data.sample.poses import (
    HANGING,
    Key,
    Style,
    alternate,
    deg,
    free_arm,
    hanging_arm,
    planted_foot,
    planted_palm,
    stand,
    swept,
    symmetric,
    timed,
    vec,
    with_arms,
)
from musclemap_data.sample.skeleton import Dimensions, Limb, Pose
from musclemap_data.sample.standing import squat_low

DOWN = free_arm(0.10, -0.985, 0.08, (0.5, 0, -1))
OVERHEAD = free_arm(0.14, 0.98, 0.03, (1, 0, -0.3))
_PRESS_LOW = free_arm(0.26, 0.10, 0.10, (0.5, -1, 0.2))


def seated(size: Dimensions, arm: Limb) -> Pose:
    """On a bench, soles on the floor."""
    h = size.height
    foot = planted_foot(0.09 * h, size.ankle_height, 0.9 * size.thigh, (0.2, 0, 1), (0.2, 0.3, 1))
    return symmetric(vec(0, size.ankle_height + 0.98 * size.shin, 0), arm, foot)


def raised(
    style: Style,
    base: Pose,
    low: Limb,
    high: Limb,
    middle: Limb | None = None,
    alternating: int = 1,
) -> list[Key]:
    """Both arms up and down; one after the other in the variant ``alternating``.

    Args:
        low, high: the left arm at both ends.
        middle: where it passes on the way, if not on the shortest arc.
        alternating: -1 for never.
    """
    t = style.tempo
    down, up = with_arms(base, low), with_arms(base, high)
    over = with_arms(base, middle) if middle else None
    if style.variant == alternating:
        up = replace(down, left_arm=high)
        over = replace(down, left_arm=middle) if middle else None
    if over:
        rise = swept(t, (down, 0.42), (over, 0.42), (up, 0))
        fall = swept(t, (up, 0.52), (over, 0.52), (down, 0))
    else:
        rise, fall = timed(t, (down, 0.85)), timed(t, (up, 0.95))
    keys = [*rise, Key(up, 0.18 * t), *fall, Key(down, 0.14 * t)]
    return alternate(keys) if style.variant == alternating else keys


def bicep_curl(size: Dimensions, style: Style) -> list[Key]:
    d = style.depth
    base = seated(size, DOWN) if style.variant == 3 else stand(size)
    middle = free_arm(0.08, -0.55, 0.50, (0.2, -1, -0.3))
    high = free_arm(0.10, -0.32 + 0.14 * d, 0.30, (0.2, -1, -0.2))
    return raised(style, base, DOWN, high, middle)


def hammer_curl(size: Dimensions, style: Style) -> list[Key]:
    d = style.depth
    middle = free_arm(0.03, -0.56, 0.49, (0.3, -1, -0.3))
    high = free_arm(0.02, -0.32 + 0.12 * d, 0.33, (0.3, -1, -0.2))
    if style.variant == 3:  # across the body
        middle, high = (
            free_arm(-0.20, -0.56, 0.42, (0.5, -1, -0.2)),
            free_arm(-0.28, -0.24, 0.28, (0.6, -1, -0.1)),
        )
        style = replace(style, variant=1)
    return raised(style, stand(size), DOWN, high, middle)


def front_raise(size: Dimensions, style: Style) -> list[Key]:
    low = free_arm(0.0, -0.98, 0.14, (0.5, 0, -1))
    high = free_arm(-0.02, -0.14 + 0.16 * style.depth, 0.98, (0.6, -0.6, 0))
    return raised(style, stand(size), low, high)


def lateral_raise(size: Dimensions, style: Style) -> list[Key]:
    high = free_arm(0.97, -0.22 + 0.24 * style.depth, 0.14, (0.1, -0.4, -1))
    return raised(style, stand(size), DOWN, high, alternating=-1)


def shoulder_press(size: Dimensions, style: Style) -> list[Key]:
    base = seated(size, DOWN) if style.variant >= 2 else stand(size)
    middle = free_arm(0.36, 0.55, 0.08, (0.8, -0.8, 0.2))
    return raised(style, base, _PRESS_LOW, OVERHEAD, middle, alternating=-1)


def shrug(size: Dimensions, style: Style) -> list[Key]:
    t = style.tempo
    down = replace(stand(size, DOWN), head=deg(2, 0))
    up = replace(down, shrug=0.036 * style.depth, head=deg(-4, 0))
    return timed(t, (down, 0.50), (up, 0.30), (up, 0.55), (down, 0.15))


def thruster(size: Dimensions, style: Style) -> list[Key]:
    t = style.tempo
    low = squat_low(size, style, FRONT_RACK)
    rack = with_arms(stand(size, width=0.10), FRONT_RACK)
    rack = replace(rack, left_leg=low.left_leg, right_leg=low.right_leg)
    top = with_arms(rack, OVERHEAD)
    half = with_arms(rack, free_arm(0.26, 0.52, 0.20, (0.8, -0.6, 0.5)))
    up = swept(t, (low, 0.60), (rack, 0.22), (half, 0.25), (top, 0))
    down = swept(t, (top, 0.30), (half, 0.30), (rack, 0.70), (low, 0))
    return [*up, Key(top, 0.15 * t), *down, Key(low, 0.10 * t)]


def triceps_pushdown(size: Dimensions, style: Style) -> list[Key]:
    lean = (6, 14, 10, 22)[style.variant]
    base = replace(stand(size), turn=deg(lean, 0, 0), head=deg(4, 0))
    high = free_arm(-0.02, -0.40 + 0.06 * style.depth, 0.44, (0.4, -1, -0.3))
    low = free_arm(0.06, -0.97, 0.16, (0.4, -0.3, -1))
    middle = free_arm(0.02, -0.66, 0.44, (0.4, -1, -0.5))
    return raised(style, base, high, low, middle, alternating=-1)


def bent_over_row(size: Dimensions, style: Style) -> list[Key]:
    h, d = size.height, style.depth
    pitch = (62, 50, 74, 66)[style.variant]
    base = replace(
        stand(size, width=0.085),
        pelvis=vec(0, size.stand - 0.05 * h, -0.11 * h),
        turn=deg(pitch, 0, 0),
        spine=deg(3, 0, 0),
        head=deg(-25, 0),
    )
    low = hanging_arm(pitch + 3, 0.06)
    high = free_arm(0.14, -0.62 + 0.06 * (1 - d), 0.10 + 0.5 * (1 - d), (0.35, -0.1, -1))
    if style.variant < 3:
        return raised(style, base, low, high, alternating=-1)
    # One arm: the other hand on the knee or a bench, which the free hand stays on.
    prop = planted_palm(-0.09 * h, 0.30 * h, 0.13 * h, (-0.7, 0, -0.6), (0, -1, 0.3))
    down = replace(base, left_arm=low, right_arm=prop)
    up = replace(down, left_arm=high, spine=deg(3, 6, 0))
    t = style.tempo
    return timed(t, (down, 0.75), (up, 0.2), (up, 0.85), (down, 0.15))


def kettlebell_swing(size: Dimensions, style: Style) -> list[Key]:
    h, t, d = size.height, style.tempo, style.depth
    base = stand(size, width=0.12 * style.stance)
    hinge = with_arms(
        replace(
            base,
            pelvis=vec(0, size.stand - 0.085 * h, -0.12 * h),
            turn=deg(58 * d, 0, 0),
            spine=deg(4, 0, 0),
            head=deg(-26, 0),
        ),
        hanging_arm(58 * d + 4, -0.28, -34),
    )
    passing = with_arms(
        replace(hinge, pelvis=vec(0, size.stand - 0.02 * h, -0.03 * h), turn=deg(18, 0, 0)),
        hanging_arm(20, -0.28, 12),
    )
    top = with_arms(base, hanging_arm(0, -0.28, 84 + 10 * (style.variant - 1)), turn=deg(-4, 0, 0))
    if style.variant == 3:  # one arm, the other out to the side
        balance = free_arm(0.70, -0.66, -0.15, (0.3, 0, -1)).mirrored()
        hinge, passing, top = (replace(p, right_arm=balance) for p in (hinge, passing, top))
    up = swept(t, (hinge, 0.32), (passing, 0.32), (top, 0))
    return [*up, *swept(t, (top, 0.36), (passing, 0.34), (hinge, 0))]


def medicine_ball_slam(size: Dimensions, style: Style) -> list[Key]:
    t, d = style.tempo, style.depth
    h = size.height
    high = with_arms(stand(size, width=0.09), free_arm(-0.16, 0.96, 0.0, (1, 0.2, 0)))
    high = replace(high, spine=deg(-8, 0, 0))
    low = crouch(size, 0.62 * d, HANGING, 0.09)
    low = with_arms(low, hanging_arm(62, -0.24, 10), turn=deg(52, 0, 0), spine=deg(14, 0, 0))
    pick = crouch(size, 0.95, HANGING, 0.09)
    pick = with_arms(pick, hanging_arm(74, -0.24, 6), turn=deg(62, 0, 0), spine=deg(14, 0, 0))
    chest = with_arms(stand(size, width=0.09), free_arm(-0.24, -0.30, 0.34, (0.8, -0.8, 0)))
    chest = replace(chest, pelvis=chest.pelvis - vec(0, 0.02 * h, 0), turn=deg(8, 0, 0))
    return timed(t, (high, 0.10), (high, 0.40), (low, 0.42), (pick, 0.48), (chest, 0.34))


def battle_ropes(size: Dimensions, style: Style) -> list[Key]:
    t, d = style.tempo, style.depth
    base = crouch(size, 0.30, HANGING, 0.11)
    up = free_arm(0.08, -0.42 + 0.24 * d, 0.68, (0.5, -0.8, -0.5))
    down = free_arm(0.10, -0.60 - 0.18 * d, 0.50, (0.5, -0.5, -1))
    if style.variant == 1:  # both hands together
        high = with_arms(base, up, pelvis=base.pelvis + vec(0, 0.02 * size.height, 0))
        return timed(t, (high, 0.26), (with_arms(base, down), 0.26))
    pose = replace(base, left_arm=up, right_arm=down.mirrored(), spine=deg(2, -5, 0))
    return alternate(timed(t, (pose, 0.24)))


def _rack_to_overhead(size: Dimensions, t: float, rack: Pose) -> list[Key]:
    """From standing with the bar on the shoulders through a dip to a push overhead."""
    h = size.height
    dip = replace(rack, pelvis=rack.pelvis - vec(0, 0.055 * h, 0), turn=deg(2, 0, 0))
    top = with_arms(rack, free_arm(0.28, 0.95, 0.02, (1, 0, -0.3)))
    catch = replace(top, pelvis=top.pelvis - vec(0, 0.045 * h, 0))
    return timed(t, (rack, 0.50), (rack, 0.30), (dip, 0.36), (catch, 0.40), (top, 0.60))


def clean_and_jerk(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    floor, knees, hips = pull_from_floor(size, 0.15, style.depth)
    elbows = free_arm(0.14, -0.30, 0.18, (1, 0.5, 0.1))
    rack_arm = free_arm(0.06, 0.06, 0.22, (0.3, -0.3, 1))
    pull = replace(with_arms(hips, elbows), shrug=0.02)
    pull = replace(pull, pelvis=hips.pelvis + vec(0, 0.012 * h, 0))
    deep = 0.35 + 0.2 * style.variant
    low = with_arms(crouch(size, deep, HANGING), rack_arm)
    low = replace(low, left_leg=hips.left_leg, right_leg=hips.right_leg, turn=deg(16 * deep, 0, 0))
    rack = with_arms(hips, rack_arm, turn=deg(-2, 0, 0))
    clean = [
        *swept(t, (floor, 0.50), (knees, 0.30), (hips, 0.14), (pull, 0)),
        *timed(t, (pull, 0.32), (low, 0.55)),
    ]
    down = timed(t, (rack, 0.45), (hips, 0.40), (knees, 0.40), (floor, 0.25))
    return [*clean, *_rack_to_overhead(size, t, rack), *down]


def snatch(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    floor, knees, hips = pull_from_floor(size, 0.235, style.depth)
    wide = free_arm(0.44, 0.88, 0.0, (1, 0, -0.3))
    elbows = free_arm(0.42, -0.36, 0.16, (0.7, 0.7, -0.2))
    pull = replace(with_arms(hips, elbows), shrug=0.02)
    pull = replace(pull, pelvis=hips.pelvis + vec(0, 0.012 * h, 0))
    deep = 0.35 + 0.2 * style.variant
    low = crouch(size, deep, HANGING)
    low = replace(low, left_leg=hips.left_leg, right_leg=hips.right_leg, turn=deg(28 * deep, 0, 0))
    low = with_arms(low, free_arm(0.44, 0.85, -0.26 * deep, (1, 0, -0.3)))
    top = with_arms(hips, wide, turn=deg(0, 0, 0))
    up = swept(t, (floor, 0.50), (knees, 0.30), (hips, 0.14), (pull, 0))
    rest = timed(
        t,
        (pull, 0.40),
        (low, 0.65),
        (top, 0.50),
        (top, 0.50),
        (pull, 0.40),
        (hips, 0.40),
        (knees, 0.40),
        (floor, 0.25),
    )
    return [*up, *rest]


def bench_press(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    bench_y = 0.25 * h
    foot = planted_foot(0.13 * h, size.ankle_height, 0.19 * h, (0.3, 0, 1), (0.5, 0.2, 1))
    grip = (0.19 + 0.02 * style.variant) * h
    elbow = (1.0, -0.5, -0.7)

    def pose(hand_y: float, hand_z: float) -> Pose:
        hand = planted_palm(grip, bench_y + hand_y, hand_z, elbow, (0, 1, -0.2))
        return symmetric(vec(0, bench_y, 0), hand, foot, turn=deg(-90, 0, 0), spine=deg(-6, 0, 0))

    reach = np.sqrt((0.95 * size.arm) ** 2 - (grip - size.shoulder_half) ** 2)
    high = pose(reach + 0.005 * h, -0.99 * size.torso)
    low = pose((0.115 + 0.10 * (1 - style.depth)) * h, -0.80 * size.torso)
    return timed(t, (high, 1.0), (low, 0.15), (low, 0.85), (high, 0.20))


def rowing_machine(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    seat_y, feet_z = 0.17 * h, 0.36 * h
    foot = planted_foot(0.055 * h, 0.13 * h, feet_z, (0.05, 0.8, 1), (0.12, 0.6, 1))
    back_z = feet_z - np.sqrt((0.985 * size.leg) ** 2 - (seat_y - 0.13 * h) ** 2)
    front_z = back_z + 0.24 * h * style.depth

    def pose(seat_z: float, lean: float, hand_z: float | None) -> Pose:
        """``hand_z``: of the handle; None for straight arms."""
        bend = 0.35 * lean
        pitch = np.radians(lean + bend)
        shoulder = vec(0, seat_y + size.torso * np.cos(pitch), seat_z + size.torso * np.sin(pitch))
        drop = shoulder[1] - 0.345 * h
        reach = np.sqrt((0.94 * size.arm) ** 2 - drop**2 - (0.07 * h) ** 2)
        z = shoulder[2] + (reach if hand_z is None else hand_z)
        hand = planted_palm(0.05 * h, 0.345 * h, z, (0.5, -0.4, -1), (0, 0, 1))
        return symmetric(
            vec(0, seat_y, seat_z),
            hand,
            foot,
            turn=deg(lean, 0, 0),
            spine=deg(bend, 0, 0),
            head=deg(-0.7 * lean, 0),
        )

    catch, drive = pose(front_z, 26, None), pose(back_z + 0.05 * h, 4, None)
    finish, away = pose(back_z, -16, 0.09 * h), pose(back_z, 12, None)
    pull = swept(t, (catch, 0.50), (drive, 0.36), (finish, 0))
    return [*pull, *timed(t, (finish, 0.14)), *swept(t, (finish, 0.45), (away, 0.85), (catch, 0))]
