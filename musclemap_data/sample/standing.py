"""Exercises on the feet: the key poses of one repetition each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from musclemap_data.sample.poses import (
    BEHIND_HEAD,
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
from musclemap_data.sample.skeleton import Dimensions, Limb, Pose


def squat_low(size: Dimensions, style: Style, arm: Limb) -> Pose:
    """The lowest pose of a squat, as deep as the style says."""
    h = size.height
    low = size.stand - style.depth * (size.stand - 0.315 * h)
    return symmetric(
        vec(0, low, -0.115 * h * style.depth),
        arm,
        planted_foot(0.10 * style.stance * h, size.ankle_height, 0, (0.35, 0, 1), (0.35, 0, 1)),
        turn=deg(38 * style.depth, 0, 0),
        spine=deg(4, 0, 0),
        head=deg(-24, 0),
    )


def squat(size: Dimensions, style: Style) -> list[Key]:
    t = style.tempo
    top = stand(size, width=0.10 * style.stance)
    arms = (free_arm(0.0, 0.50, 0.80, (0.6, -0.5, -0.4)), free_arm(-0.22, 0.02, 0.52, (0.7, -1, 0)))
    top = with_legs(top, replace(top.left_leg, end=vec(0.35, 0, 1), pole=vec(0.35, 0, 1)))
    low = squat_low(size, style, arms[style.variant % 2])
    return timed(t, (top, 0.95), (low, 0.15), (low, 0.75), (top, 0.15))


def jump_squat(size: Dimensions, style: Style) -> list[Key]:
    t = style.tempo
    low = squat_low(size, style, free_arm(-0.18, 0.06, 0.56, (0.7, -1, 0)))
    h = size.height
    foot = planted_foot(0.10 * style.stance * h, size.ankle_height, 0, (0.3, 0, 1), (0.3, 0, 1))
    swung = free_arm(0.24, -0.88, -0.30, (0.5, 0, -1))
    top = symmetric(vec(0, size.stand, 0), swung, foot, head=deg(-5, 0))
    crouch = symmetric(
        vec(0, size.stand - 0.09 * h, -0.03 * h),
        free_arm(0.10, -0.55, 0.45, (0.6, -0.6, -0.5)),
        foot,
        turn=deg(16, 0, 0),
        head=deg(-10, 0),
    )
    hop = Key(top, 0.48 * t, hop=0.15 * h * style.depth)
    return [Key(low, 0.34 * t), hop, Key(crouch, 0.38 * t)]


def good_morning(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    top = stand(size, BEHIND_HEAD, 0.085 * style.stance)
    hinge = replace(
        top,
        pelvis=vec(0, size.stand - 0.035 * h, -0.10 * h * style.depth),
        turn=deg(72 * style.depth, 0, 0),
        spine=deg(2, 0, 0),
        head=deg(-22, 0),
    )
    return timed(t, (top, 1.1), (hinge, 0.15), (hinge, 0.9), (top, 0.1))


def lunge(size: Dimensions, style: Style) -> list[Key]:
    h, t, d = size.height, style.tempo, style.depth
    top = stand(size, (ON_HIPS, HANGING)[style.variant % 2])
    front, back = top.left_leg, top.right_leg
    lifted = Limb(vec(0.075 * h, 0.14 * h, 0.22 * h), front.pole, True, vec(0.1, 0.15, 1))
    air = replace(
        top,
        pelvis=vec(0, size.stand - 0.03 * h, 0.07 * h),
        left_leg=lifted,
        right_leg=replace(back, target=back.target + vec(0, 0.008 * h, 0.008 * h),
                          end=vec(-0.1, -0.25, 1)),
    )  # fmt: skip
    low = replace(
        top,
        pelvis=vec(0, size.stand - d * (size.stand - 0.315 * h), 0.205 * h),
        turn=deg(6, 0, 0),
        left_leg=planted_foot(
            0.075 * h, size.ankle_height, 0.40 * h * style.stance, (0.08, 0, 1), (0.08, 0, 1)
        ),
        right_leg=planted_foot(-0.075 * h, 0.097 * h, 0.042 * h, (0, -0.86, 0.5), (0, 0, 1)),
    )
    side = timed(t, (top, 0.32), (air, 0.45), (low, 0.12), (low, 0.40), (air, 0.34))
    return alternate(side)


def side_lunge(size: Dimensions, style: Style) -> list[Key]:
    h, t, d = size.height, style.tempo, style.depth
    wide = 0.27 * h
    foot = planted_foot(wide, size.ankle_height, 0, (0.30, 0, 1), (0.35, 0, 1))
    middle = symmetric(
        vec(0, size.ankle_height + 0.82 * size.leg, 0), GUARD, foot, turn=deg(4, 0, 0)
    )
    low = replace(
        middle,
        pelvis=vec(0.135 * h * d, size.stand - d * (size.stand - 0.345 * h), -0.09 * h),
        turn=deg(34 * d, 0, 3),
        head=deg(-20, 0),
    )
    side = timed(t, (middle, 0.62), (low, 0.15), (low, 0.58))
    return alternate(side)


def jumping_jack(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    closed = stand(size, HANGING, 0.055)
    opened = symmetric(
        vec(0, size.stand - 0.030 * h, 0),
        free_arm(0.10, 0.97 * min(style.depth, 1), 0.04, (1, 0, -0.3)),
        planted_foot(0.19 * style.stance * h, size.ankle_height, 0, (0.35, 0, 1)),
    )
    # Through the side, not through the body: a key with the arms out.
    out = free_arm(0.98, -0.05, 0.05, (0.2, 0, -1))
    foot = planted_foot(0.12 * h, size.ankle_height + 0.045 * h, 0, (0.3, -0.5, 1), (0.25, 0, 1))
    rising = symmetric(vec(0, size.stand + 0.02 * h, 0), out, foot)
    low = replace(closed, pelvis=closed.pelvis - vec(0, 0.022 * h, 0))
    return timed(t, (low, 0.22), (rising, 0.24), (opened, 0.22), (rising, 0.24))


def stride(
    size: Dimensions, knee: Limb, arms: tuple[Limb, Limb], lean: float, twist: float = 0.0
) -> Pose:
    """Left leg up, right foot on the ball of the foot."""
    h = size.height
    right = planted_foot(-0.06 * h, size.ankle_height + 0.012 * h, 0, (-0.1, -0.2, 1), (-0.1, 0, 1))
    return Pose(
        pelvis=vec(-0.012 * h, size.stand, 0),
        left_arm=arms[0],
        right_arm=arms[1],
        left_leg=knee,
        right_leg=right,
        turn=deg(lean, 0, -2),
        spine=deg(2, twist, 2),
    )


_RUNNING = (RUN_BACK, RUN_FRONT.mirrored())


def strides(pose: Pose, seconds: float, hop: float) -> list[Key]:
    """A pose with one leg, then with the other; each takes ``seconds``, with a hop in it."""
    return alternate([Key(pose, 0.25 * seconds), Key(pose, 0.75 * seconds, hop=hop)])


def high_knees(size: Dimensions, style: Style) -> list[Key]:
    knee = free_leg(0.02, -0.42, 0.52 * style.depth, (0.05, 0.5, 1), 0.35)
    pose = stride(size, knee, _RUNNING, -3, 6)
    return strides(pose, 0.36 * style.tempo, 0.022 * size.height)


def running(size: Dimensions, style: Style) -> list[Key]:
    knee = free_leg(0.02, -0.66, 0.24 * style.depth, (0.05, 0.1, 1), 0.6)
    pose = stride(size, knee, _RUNNING, 9, 8)
    return strides(pose, 0.30 * style.tempo, 0.025 * size.height)


def butt_kicks(size: Dimensions, style: Style) -> list[Key]:
    heel = free_leg(0.01, -0.46, -0.44 * style.depth, (0.03, -0.2, 1), 0.7)
    pose = stride(size, heel, _RUNNING, 4, 6)
    return strides(pose, 0.36 * style.tempo, 0.020 * size.height)


def march_twists(size: Dimensions, style: Style) -> list[Key]:
    t = style.tempo
    knee = free_leg(-0.02, -0.36, 0.54 * style.depth, (0.0, 0.6, 1), 0.3)
    arms = free_arm(-0.08, 0.34, 0.06, (1, 0.1, 0.2))
    up = stride(size, knee, (arms, arms.mirrored()), 0)
    up = replace(up, spine=deg(20, 38 * style.depth, -3))
    down = stand(size, arms, 0.06)
    return alternate(timed(t, (down, 0.40), (up, 0.10), (up, 0.38)))


def front_kicks(size: Dimensions, style: Style) -> list[Key]:
    t = style.tempo
    arms = (GUARD, GUARD.mirrored())
    chamber = stride(size, free_leg(0.02, -0.40, 0.44, (0.05, 0.5, 1), 0.3), arms, -4)
    knee = free_leg(0.0, -0.28, 0.93 * min(1, style.depth), (0, 1, 0.4), 0.2)
    kick = replace(stride(size, knee, arms, -14), spine=deg(12, 0, 2))
    down = stand(size, GUARD, 0.07)
    return alternate(timed(t, (down, 0.30), (chamber, 0.22), (kick, 0.30), (chamber, 0.26)))


def hops_on_the_spot(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    arms = free_arm(0.12, -0.55, 0.34, (0.6, -0.2, -1))
    foot = planted_foot(0.05 * h, size.ankle_height + 0.008 * h, 0, (0.15, -0.12, 1))
    low = symmetric(vec(0, size.stand - 0.030 * h, 0), arms, foot, turn=deg(5, 0, 0))
    up = symmetric(vec(0, size.stand, 0), free_arm(0.16, -0.60, 0.22, (0.6, -0.2, -1)), foot)
    return [Key(low, 0.13 * t), Key(up, 0.36 * t, hop=0.055 * h * style.depth), Key(up, 0.13 * t)]


def calf_raise_hold(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    arm = (ON_HIPS, free_arm(0.05, -0.05, 0.95, (0.5, -1, 0)))[style.variant % 2]

    def raised(rise: float) -> Pose:
        y, z = size.ankle_height + rise * h, 0.012 * h
        foot = planted_foot(0.065 * h, y, z, (0.15, -rise / 0.075, 1))
        return symmetric(vec(0, size.stand + rise * h, z), arm, foot)

    high, lower = raised(0.046 * min(style.depth, 1.05)), raised(0.039)
    return timed(t, (high, 0.55), (lower, 0.55))


def arm_circle(size: Dimensions, style: Style) -> list[Key]:
    keys = []
    n, radius = 8, 0.26 * style.depth
    direction = 1 if style.variant % 2 else -1
    for step in range(n):
        angle = direction * 2 * np.pi * step / n
        y, z = radius * np.cos(angle), radius * np.sin(angle)
        arm = free_arm(float(np.sqrt(0.97 - y * y - z * z)), 0.04 + y, 0.04 + z, (0.1, -0.3, -1))
        keys.append(Key(stand(size, arm), 0.16 * style.tempo, ease="linear"))
    return keys


def side_leg_raise(size: Dimensions, style: Style) -> list[Key]:
    h, t, d = size.height, style.tempo, style.depth
    down = stand(size, ON_HIPS, 0.06)
    up = replace(
        down,
        pelvis=vec(-0.045 * h, size.stand, 0),
        left_leg=free_leg(0.66 * d, -0.73, 0.0, (0.1, 0, 1), 0.0),
        turn=deg(0, 0, -6),
        spine=deg(0, 0, -4),
    )
    return timed(t, (down, 0.62), (up, 0.14), (up, 0.62))
