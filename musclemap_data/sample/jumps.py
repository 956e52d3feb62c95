"""Jumps: the key poses of one repetition each."""

from __future__ import annotations

from dataclasses import replace

from musclemap_data.sample.legs import lunge_low
from musclemap_data.sample.poses import (
    GUARD,
    HANGING,
    ON_HIPS,
    RUN_BACK,
    RUN_FRONT,
    Key,
    Style,
    alternate,
    deg,
    free_arm,
    free_leg,
    planted_foot,
    stand,
    symmetric,
    timed,
    vec,
    with_legs,
)
from musclemap_data.sample.skeleton import Array, Dimensions, Limb, Pose
from musclemap_data.sample.standing import squat_low, stride, strides

_SWUNG_BACK = free_arm(0.20, -0.80, -0.45, (0.5, 0, -1))


def crouch(size: Dimensions, low: float, arm: Limb, width: float = 0.075) -> Pose:
    """Feet on the floor, hips lowered by a share of the way to a full squat."""
    h = size.height
    foot = planted_foot(width * h, size.ankle_height, 0, (0.25, 0, 1), (0.3, 0, 1))
    return symmetric(
        vec(0, size.stand - low * (size.stand - 0.315 * h), -0.115 * h * low),
        arm,
        foot,
        turn=deg(42 * low, 0, 0),
        spine=deg(5 * low, 0, 0),
        head=deg(-24 * low, 0),
    )


def take_off(size: Dimensions, arm: Limb, width: float = 0.075) -> Pose:
    """The last moment on the floor: on the toes."""
    h = size.height
    foot = planted_foot(width * h, size.ankle_height + 0.03 * h, 0.01 * h, (0.25, -0.5, 1))
    return symmetric(vec(0, size.stand + 0.03 * h, 0.01 * h), arm, foot)


def jump(off: Pose, air: Pose, land: Pose, tempo: float, air_s: float, dip_s: float) -> list[Key]:
    """From ``off`` through ``air`` to ``land``, which then leads on to the next key."""
    return [
        Key(off, 0.5 * air_s, ease="arrive"),
        Key(air, 0.5 * air_s, ease="leave"),
        Key(land, dip_s * tempo),
    ]


def in_the_air(size: Dimensions, rise: float, arm: Limb, leg: Limb, **angles: Array) -> Pose:
    """Both legs free, the hips ``rise`` body heights above where they are when standing."""
    return symmetric(vec(0, size.stand + rise * size.height, 0), arm, leg, **angles)


def tuck_jump(size: Dimensions, style: Style) -> list[Key]:
    t, d = style.tempo, style.depth
    low = crouch(size, 0.45, _SWUNG_BACK)
    off = take_off(size, free_arm(0.10, 0.10, 0.95, (0.6, -0.6, 0)))
    knees = free_leg(0.04, -0.66 + 0.38 * d, 0.44, (0.10, 0.8, 1), 0.5)
    air = in_the_air(
        size,
        0.17 * d,
        free_arm(0.04, -0.42, 0.55, (1, -0.4, 0)),
        knees,
        turn=deg(12, 0, 0),
        spine=deg(10, 0, 0),
    )
    land = crouch(size, 0.35, free_arm(0.15, -0.55, 0.45, (0.6, -0.5, -0.6)))
    return [Key(low, 0.24 * t), *jump(off, air, land, t, 0.52, 0.30)]


def star_jump(size: Dimensions, style: Style) -> list[Key]:
    t, d = style.tempo, style.depth
    low = crouch(size, 0.62 * d, free_arm(0.02, -0.75, 0.42, (0.8, -0.4, 0)))
    off = take_off(size, free_arm(0.62, -0.62, 0.20, (0.5, -0.3, -1)))
    air = in_the_air(
        size,
        0.15 * d,
        free_arm(0.74, 0.66, 0.02, (0.5, 0, -1)),
        free_leg(0.48, -0.86, 0.02, (0.4, 0, 1), 0.8),
    )
    land = crouch(size, 0.30, free_arm(0.70, -0.45, 0.15, (0.5, -0.3, -1)), 0.10)
    return [Key(low, 0.30 * t), *jump(off, air, land, t, 0.50, 0.36)]


def box_jump(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    box_y, box_z = (0.26 + 0.03 * (style.variant % 3)) * h, 0.36 * h
    low = crouch(size, 0.55 * style.depth, _SWUNG_BACK)
    off = take_off(size, free_arm(0.10, 0.10, 0.95, (0.6, -0.6, 0)))
    off = replace(off, pelvis=off.pelvis + vec(0, 0, 0.05 * h), turn=deg(14, 0, 0))
    air = replace(
        in_the_air(
            size,
            0.15 + box_y / h * 0.62,
            free_arm(0.12, -0.20, 0.85, (0.6, -0.6, 0)),
            free_leg(0.06, -0.42, 0.42, (0.15, 0.6, 1), 0.1),
            turn=deg(22, 0, 0),
        ),
        head=deg(-8, 0),
    )
    air = replace(air, pelvis=air.pelvis + vec(0, 0, 0.22 * h))

    def onto_box(pose: Pose) -> Pose:
        leg = replace(pose.left_leg, target=pose.left_leg.target + vec(0, box_y, box_z))
        return with_legs(pose, leg, pelvis=pose.pelvis + vec(0, box_y, box_z))

    land = onto_box(crouch(size, 0.50, free_arm(0.12, -0.35, 0.75, (0.6, -0.6, 0))))
    up = onto_box(stand(size))
    floor_foot = stand(size).left_leg
    down = replace(
        up,
        pelvis=vec(0, size.stand - 0.012 * h, 0.055 * h),
        left_leg=floor_foot,
        turn=deg(12, 0, 0),
    )
    rise = [Key(low, 0.30 * t), *jump(off, air, land, t, 0.50, 0.45)]
    return rise + timed(t, (up, 0.55), (down, 0.40), (stand(size), 0.40))


def jump_rope(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    elbow = (0.35, -0.2, -1.0)
    down, up = free_arm(0.42, -0.64, 0.30, elbow), free_arm(0.46, -0.54, 0.20, elbow)
    if style.variant == 2:  # the arms out wide
        down, up = free_arm(0.72, -0.56, 0.20, elbow), free_arm(0.74, -0.46, 0.10, elbow)
    if style.variant == 3:  # from foot to foot
        knee = free_leg(0.02, -0.74, 0.26 * style.depth, (0.05, 0.1, 1), 0.6)
        return strides(stride(size, knee, (down, up.mirrored()), 2), 0.34 * t, 0.03 * h)
    foot = planted_foot(0.04 * h, size.ankle_height + 0.012 * h, 0, (0.15, -0.18, 1))
    low = symmetric(vec(0, size.stand - 0.022 * h, 0), down, foot, turn=deg(4, 0, 0))
    high = symmetric(vec(0, size.stand + 0.010 * h, 0), up, foot)
    hop = 0.045 * h * style.depth
    return [Key(low, 0.11 * t), Key(high, 0.27 * t, hop=hop), Key(high, 0.06 * t)]


def jumping_lunge(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    arms = ((RUN_BACK, RUN_FRONT.mirrored()), (ON_HIPS, ON_HIPS.mirrored()))[style.variant == 3]
    low = lunge_low(size, 0.95 * style.depth, HANGING, front_z=0.19)
    low = replace(low, left_arm=arms[0], right_arm=arms[1])
    off = replace(
        low,
        pelvis=vec(0, size.stand - 0.05 * h, 0),
        turn=deg(2, 0, 0),
        left_leg=planted_foot(0.075 * h, 0.075 * h, 0.16 * h, (0.08, -0.4, 1), (0.08, 0, 1)),
        right_leg=planted_foot(-0.075 * h, 0.105 * h, -0.17 * h, (0, -0.86, 0.5), (0, 0, 1)),
    )
    leg = free_leg(0.03, -0.90, 0.06, (0.05, 0, 1), 0.7)
    air = in_the_air(size, 0.09, HANGING, leg)
    middle = replace(
        air,
        left_arm=free_arm(0.16, -0.55, 0.30, (0.5, -0.2, -1)),
        right_arm=free_arm(-0.16, -0.55, 0.30, (-0.5, -0.2, -1)),
    )
    return alternate([Key(low, 0.26 * t), *jump(off, middle, low.mirrored(), t, 0.40, 0.14)])


def lateral_hops(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    reach = 0.11 * h * style.stance
    arms = free_arm(0.10, -0.42, 0.45, (0.6, -0.4, -1))

    def landed(side: float, low: float) -> Pose:
        pose = crouch(size, low, arms, 0.04)
        shift = vec(side * reach, 0, 0)
        return replace(
            pose,
            pelvis=pose.pelvis + 0.75 * shift,
            left_leg=replace(pose.left_leg, target=pose.left_leg.target + shift),
            right_leg=replace(pose.right_leg, target=pose.right_leg.target + shift),
            turn=deg(10, 0, -5 * side),
        )

    low, high = landed(1, 0.30), landed(1, 0.14)
    hop = 0.075 * h * style.depth
    return alternate([Key(low, 0.12 * t), Key(high, 0.30 * t, hop=hop)])


def skater_jump(size: Dimensions, style: Style) -> list[Key]:
    h, t, d = size.height, style.tempo, style.depth
    reach = 0.23 * h * style.stance
    low = Pose(
        pelvis=vec(reach - 0.035 * h, size.stand - 0.10 * h * d, -0.06 * h),
        left_arm=free_arm(0.30, -0.75, -0.45, (0.5, 0, -1)),
        right_arm=free_arm(0.30, -0.55, 0.60, (-0.6, -0.4, 0)),
        left_leg=planted_foot(reach, size.ankle_height, 0, (0.1, 0, 1), (0.1, 0, 1)),
        right_leg=free_leg(0.26, -0.74, -0.12, (-0.2, -0.2, 1), 0.7),
        turn=deg(34 * d, 8, 4),
        spine=deg(8, 12, 0),
        head=deg(-22, 0),
    )
    if style.variant == 2:  # arms out wide
        low = replace(
            low,
            left_arm=free_arm(0.90, 0.10, -0.30, (0.2, 0, -1)),
            right_arm=free_arm(-0.10, -0.45, 0.70, (-0.6, -0.4, 0)),
        )
    push = replace(
        low,
        pelvis=vec(reach - 0.10 * h, size.stand - 0.03 * h, -0.02 * h),
        left_leg=replace(
            low.left_leg, target=low.left_leg.target + vec(0, 0.03 * h, 0), end=vec(0.1, -0.5, 1)
        ),
        right_leg=free_leg(-0.30, -0.80, 0.05, (-0.2, 0, 1), 0.5),
        turn=deg(16, 0, -6),
        spine=deg(4, 0, 0),
    )
    leg = free_leg(0.24, -0.88, 0.02, (0.1, 0, 1), 0.5)
    air = in_the_air(size, 0.035, GUARD, leg, turn=deg(12, 0, 0))
    air = replace(air, pelvis=air.pelvis * vec(1, 1, 0))
    return alternate([Key(low, 0.30 * t), *jump(push, air, low.mirrored(), t, 0.40, 0.10)])


def squat_jack(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    lower = replace(style, depth=0.72 * style.depth)
    arm = (GUARD, free_arm(-0.18, 0.0, 0.55, (0.7, -1, 0)))[style.variant % 2]

    def at(width: float) -> Pose:
        pose = squat_low(size, lower, arm)
        foot = planted_foot(width * h, size.ankle_height, 0, (0.4, 0, 1), (0.5, 0, 1))
        return with_legs(pose, foot)

    narrow, wide = at(0.055), at(0.19 * style.stance)
    hop = 0.035 * h
    return [
        Key(narrow, 0.14 * t),
        Key(narrow, 0.36 * t, hop=hop),
        Key(wide, 0.14 * t),
        Key(wide, 0.36 * t, hop=hop),
    ]
