"""Squats, lunges, kicks and balances: the key poses of one repetition each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from musclemap_data.sample.poses import (
    BEHIND_HEAD,
    GUARD,
    HANGING,
    ON_HIPS,
    Key,
    Style,
    alternate,
    deg,
    free_arm,
    free_leg,
    hanging_arm,
    planted_foot,
    planted_palm,
    stand,
    straight_leg,
    swept,
    symmetric,
    timed,
    vec,
    with_arms,
    with_legs,
)
from musclemap_data.sample.skeleton import Dimensions, Limb, Pose
from musclemap_data.sample.standing import squat, squat_low, stride

BAR_ON_BACK = free_arm(0.36, 0.06, -0.08, (0.3, -1, -0.35))
FRONT_RACK = free_arm(0.02, 0.06, 0.22, (0.15, -0.2, 1))
HANDS_JOINED = free_arm(-0.28, -0.14, 0.40, (0.8, -0.8, 0))


def down_and_up(style: Style, top: Pose, low: Pose) -> list[Key]:
    """A slow way down, a short stop, a way up."""
    return timed(style.tempo, (top, 1.0), (low, 0.15), (low, 0.8), (top, 0.2))


def barbell_squat(size: Dimensions, style: Style) -> list[Key]:
    arm = FRONT_RACK if style.variant == 3 else BAR_ON_BACK
    return [replace(key, pose=with_arms(key.pose, arm)) for key in squat(size, style)]


def sumo_squat(size: Dimensions, style: Style) -> list[Key]:
    h, d = size.height, style.depth
    width = 0.19 * style.stance
    foot = planted_foot(width * h, size.ankle_height, 0, (0.8, 0, 1), (0.9, 0, 1))
    arms = (HANDS_JOINED, free_arm(-0.26, -0.92, 0.16, (0.5, 0, -1)), ON_HIPS)
    arm = arms[style.variant % 3]
    drop = size.leg - np.sqrt(size.leg**2 - (width * h - size.hip_half) ** 2)
    top = symmetric(vec(0, size.stand - drop, 0), arm, foot)
    low = replace(
        top,
        pelvis=vec(0, size.stand - d * (size.stand - 0.33 * h), -0.05 * h),
        turn=deg(20 * d, 0, 0),
        head=deg(-12, 0),
    )
    return down_and_up(style, top, low)


def wall_sit(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    arms = (
        free_arm(0.10, -0.98, 0.02, (0.5, 0, -1)),
        free_arm(-0.05, -0.55, 0.55, (0.6, -0.6, -0.4)),  # on the thighs
        free_arm(0.0, -0.02, 0.96, (0.5, -1, 0)),
        HANDS_JOINED,
    )
    toes = vec(0, size.ankle_height, size.thigh)

    def pose(sink: float) -> Pose:
        foot = planted_foot(0.08 * style.stance * h, toes[1], toes[2], (0.15, 0, 1), (0.1, 0, 1))
        hip_y = size.ankle_height + size.shin + (0.10 * (1 - style.depth) - sink) * h
        return symmetric(
            vec(0, hip_y, 0.005 * h), arms[style.variant % 4], foot, turn=deg(-3, 0, 0)
        )

    return timed(t, (pose(0.0), 1.1), (pose(0.008), 1.1))


def lunge_low(
    size: Dimensions, depth: float, arm: Limb, front_z: float = 0.0, length: float = 1.0
) -> Pose:
    """The low point of a lunge, left foot in front at ``front_z`` body heights."""
    h = size.height
    return Pose(
        pelvis=vec(
            0, size.stand - depth * (size.stand - 0.315 * h), (front_z - 0.195 * length) * h
        ),
        left_arm=arm,
        right_arm=arm.mirrored(),
        left_leg=planted_foot(
            0.075 * h, size.ankle_height, front_z * h, (0.08, 0, 1), (0.08, 0, 1)
        ),
        right_leg=planted_foot(
            -0.075 * h, 0.097 * h, (front_z - 0.358 * length) * h, (0, -0.86, 0.5), (0, 0, 1)
        ),
        turn=deg(6, 0, 0),
    )


def _step_back(size: Dimensions, style: Style, arm: Limb) -> tuple[Pose, Pose, Pose]:
    """Standing, the right foot on its way back, and the low point with the left foot in place."""
    h = size.height
    top = stand(size, arm)
    lifted = planted_foot(-0.075 * h, 0.13 * h, -0.20 * h, (0, -0.7, 0.7), (-0.1, 0, 1))
    air = replace(top, pelvis=vec(0, size.stand - 0.04 * h, -0.04 * h), right_leg=lifted)
    return top, air, lunge_low(size, style.depth, arm, length=style.stance)


def reverse_lunge(size: Dimensions, style: Style) -> list[Key]:
    top, air, low = _step_back(size, style, (ON_HIPS, HANGING, HANDS_JOINED)[style.variant % 3])
    t = style.tempo
    return alternate(timed(t, (top, 0.34), (air, 0.45), (low, 0.12), (low, 0.40), (air, 0.36)))


def curtsy_lunge(size: Dimensions, style: Style) -> list[Key]:
    h, t, d = size.height, style.tempo, style.depth
    top, air, low = _step_back(size, style, (HANDS_JOINED, ON_HIPS)[style.variant % 2])
    air = replace(air, right_leg=replace(air.right_leg, target=vec(0.01 * h, 0.12 * h, -0.19 * h)))
    low = replace(
        low,
        pelvis=vec(0.02 * h, size.stand - 0.92 * d * (size.stand - 0.315 * h), -0.15 * h),
        right_leg=planted_foot(0.17 * h, 0.095 * h, -0.26 * h, (0.2, -0.8, 0.5), (0.2, 0, 1)),
        turn=deg(16, -10, 0),
        spine=deg(4, 8, 0),
        head=deg(-10, 0),
    )
    return alternate(timed(t, (top, 0.34), (air, 0.42), (low, 0.12), (low, 0.42), (air, 0.36)))


def lunge_twist(size: Dimensions, style: Style) -> list[Key]:
    arm = (HANDS_JOINED, free_arm(-0.30, 0.0, 0.84, (0.8, -0.6, 0)))[style.variant % 2]
    top, air, low = _step_back(size, style, arm)
    twisted = replace(low, spine=deg(6, 52 * style.depth, 0), head=deg(0, 10))
    return alternate(
        timed(
            style.tempo,
            (top, 0.32),
            (air, 0.40),
            (low, 0.34),
            (twisted, 0.14),
            (twisted, 0.34),
            (low, 0.36),
            (air, 0.34),
        )
    )


def side_lunge_touch(size: Dimensions, style: Style) -> list[Key]:
    h, t, d = size.height, style.tempo, style.depth
    wide = 0.26 * style.stance * h
    foot = planted_foot(wide, size.ankle_height, 0, (0.30, 0, 1), (0.35, 0, 1))
    middle = symmetric(
        vec(0, size.ankle_height + 0.85 * size.leg, 0), HANGING, foot, turn=deg(14, 0, 0)
    )
    low = replace(
        middle,
        pelvis=vec(0.28 * wide, size.stand - d * (size.stand - 0.345 * h), -0.16 * h),
        turn=deg(74, 12, 0),
        spine=deg(20, 24, 0),
        head=deg(-10, 0),
        right_arm=planted_palm(
            wide - 0.06 * h, 0.10 * h, 0.06 * h, (-0.6, -0.3, 0.4), (0.2, -1, 0)
        ),
        left_arm=free_arm(0.55, -0.25, -0.70, (0.5, 0, -1)),
    )
    return alternate(timed(t, (middle, 0.50), (low, 0.12), (low, 0.50)))


def squat_reach(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    foot = planted_foot(0.12 * style.stance * h, size.ankle_height, 0, (0.35, 0, 1), (0.45, 0, 1))
    low = with_legs(squat_low(size, style, HANGING), foot)
    pitch = 60 * style.depth
    low = with_arms(low, hanging_arm(pitch + 16, -0.1), turn=deg(pitch, 0, 0), spine=deg(16, 0, 0))
    top = symmetric(vec(0, size.stand - 0.012 * h, 0), HANGING, foot)
    reach = replace(
        top,
        left_arm=free_arm(0.16, 0.97, 0.05, (1, 0, -0.3)),
        spine=deg(-4, 42 * style.depth, 0),
        head=deg(-22, 18),
    )
    if style.variant > 1:  # the other hand stays on the floor
        reach = replace(
            low,
            pelvis=low.pelvis + vec(0, 0.075 * h, 0),
            left_arm=free_arm(0.97, 0.10, -0.12, (0, 0, -1)),
            right_arm=hanging_arm(pitch + 20, -0.1).mirrored(),
            turn=deg(pitch + 6, 0, 0),
            spine=deg(14, 50 * style.depth, 0),
            head=deg(0, 40),
        )
        return [Key(top, 0.6 * t), *alternate(timed(t, (low, 0.55), (reach, 0.2), (reach, 0.55)))]
    return alternate(timed(t, (low, 0.14), (low, 0.72), (reach, 0.20), (reach, 0.62)))


def squat_kick(size: Dimensions, style: Style) -> list[Key]:
    t = style.tempo
    low = squat_low(size, replace(style, depth=0.88 * style.depth), GUARD)
    low = with_legs(low, replace(low.left_leg, target=low.left_leg.target * vec(0.8, 1, 1)))
    arms = (GUARD, GUARD.mirrored())
    chamber = stride(size, free_leg(0.02, -0.42, 0.44, (0.05, 0.5, 1), 0.3), arms, -3)
    knee = free_leg(0.0, -0.36, 0.90 * min(1, style.depth), (0, 1, 0.4), 0.2)
    kick = replace(stride(size, knee, arms, -12), spine=deg(10, 0, 2))
    top = with_legs(stand(size, GUARD), low.left_leg)
    kicking = timed(t, (top, 0.22), (chamber, 0.24), (kick, 0.24), (chamber, 0.24), (top, 0.46))
    return alternate([Key(low, 0.50 * t), *kicking])


def single_leg_deadlift(size: Dimensions, style: Style) -> list[Key]:
    h, d = size.height, style.depth
    top = replace(stand(size, HANGING, 0.045), pelvis=vec(-0.035 * h, size.stand, 0))
    pitch = 80 * d
    low = with_arms(
        replace(
            top,
            pelvis=vec(-0.045 * h, size.stand - 0.030 * h, -0.05 * h),
            left_leg=straight_leg(-5, point=0.2),
            turn=deg(pitch, 0, 0),
            spine=deg(2, 0, 0),
            head=deg(-18, 0),
        ),
        hanging_arm(pitch),
    )
    if style.variant == 2:  # arms out as an airplane
        low = with_arms(low, free_arm(0.96, 0.0, 0.05, (0, 0, -1)))
    if style.variant == 3:
        top, low = with_arms(top, HANDS_JOINED), with_arms(low, HANDS_JOINED)
    return timed(style.tempo, (top, 1.1), (low, 0.3), (low, 0.95), (top, 0.2))


def deadlift(size: Dimensions, style: Style) -> list[Key]:
    t = style.tempo
    floor, knees, hips = pull_from_floor(size, 0.13 * style.stance, style.depth)
    up = swept(t, (floor, 0.55), (knees, 0.50), (hips, 0))
    down = swept(t, (hips, 0.60), (knees, 0.55), (floor, 0))
    return [*up, Key(hips, 0.35 * t), *down, Key(floor, 0.25 * t)]


def pull_from_floor(size: Dimensions, grip: float, depth: float = 1.0) -> tuple[Pose, Pose, Pose]:
    """A bar pulled from the floor: start, at the knees, standing; ``grip`` in body heights."""
    h = size.height
    foot = planted_foot(0.075 * h, size.ankle_height, 0, (0.2, 0, 1), (0.2, 0.8, 0.8))
    elbow = (0.7, 0.0, -1.0)

    def pose(hip_y: float, hip_z: float, pitch: float, hand_y: float) -> Pose:
        hand = planted_palm(grip * h, hand_y * h, 0.085 * h, elbow, (0, -1, 0))
        return symmetric(
            vec(0, hip_y, hip_z * h),
            hand,
            foot,
            turn=deg(pitch, 0, 0),
            spine=deg(3, 0, 0),
            head=deg(-0.35 * pitch, 0),
        )

    out = grip * h - size.shoulder_half
    # With a wide grip the hands hang less deep, so the hips go lower.
    deeper = 0.99 * size.arm - np.sqrt((0.99 * size.arm) ** 2 - out**2)
    floor = pose((0.325 - 0.03 * (depth - 1)) * h - deeper, -0.14, 66, 0.14)
    knees = pose(0.43 * h - deeper, -0.125, 56, 0.25)
    share = out / size.arm
    hips = with_arms(
        stand(size), free_arm(share, -float(np.sqrt(0.96 - share * share)), 0.10, elbow)
    )
    return floor, knees, replace(with_legs(hips, foot), turn=deg(-2, 0, 0))


def standing_leg_raise(size: Dimensions, style: Style) -> list[Key]:
    h, t, d = size.height, style.tempo, style.depth
    arm = (ON_HIPS, free_arm(0.80, -0.55, 0.05, (0.3, 0, -1)))[style.variant % 2]
    down = replace(stand(size, arm, 0.05), pelvis=vec(-0.025 * h, size.stand, 0))
    bent = free_leg(0.02, -0.42, 0.52 * d, (0.05, 0.5, 1), 0.2)
    straight = straight_leg(48 * d, point=0.2)
    up = replace(
        down, left_leg=(straight, bent)[style.variant // 2], turn=deg(-5, 0, -2), spine=deg(5, 0, 2)
    )
    return timed(t, (down, 0.75), (up, 0.25), (up, 0.75), (down, 0.1))


def standing_side_crunch(size: Dimensions, style: Style) -> list[Key]:
    h, t, d = size.height, style.tempo, style.depth
    down = stand(size, BEHIND_HEAD, 0.07)
    up = replace(
        down,
        pelvis=vec(-0.045 * h, size.stand, 0),
        left_leg=free_leg(0.46, -0.34, 0.22, (1, 0.5, 0.4), 0.3),
        turn=deg(0, 0, 2),
        spine=deg(6, 0, 30 * d),
    )
    return alternate(timed(t, (down, 0.42), (up, 0.12), (up, 0.42)))


def side_kick(size: Dimensions, style: Style) -> list[Key]:
    h, t, d = size.height, style.tempo, style.depth
    down = stand(size, GUARD, 0.09)
    right = planted_foot(-0.06 * h, size.ankle_height, 0, (-0.5, 0, 1), (-0.3, 0, 1))
    chamber = replace(
        down,
        pelvis=vec(-0.05 * h, size.stand, 0),
        left_leg=free_leg(0.25, -0.34, 0.34, (0.5, 0.6, 0.8), 0.0),
        right_leg=right,
        turn=deg(0, 0, -10),
    )
    kick = replace(
        chamber,
        pelvis=vec(-0.055 * h, size.stand - 0.01 * h, 0),
        left_leg=free_leg(0.96 * min(d, 1), -0.22, 0.08, (0, 0.6, 1), 0.0),
        turn=deg(0, 0, -32 * d),
        spine=deg(4, 0, 8),
    )
    return alternate(
        timed(t, (down, 0.34), (chamber, 0.22), (kick, 0.08), (kick, 0.26), (chamber, 0.30))
    )


def triangle_pose(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    wide = 0.25 * style.stance * h

    # The hips tip to the left and move to the right, so that both legs stay straight.
    roll = np.radians(24)
    low, out = size.hip_half * np.sin(roll), wide - size.hip_half * np.cos(roll)
    hip_y = np.sqrt(((0.995 * size.leg) ** 2 - out**2 - low**2) / (1 + (low / out) ** 2))

    def pose(lean: float) -> Pose:
        return Pose(
            pelvis=vec(-hip_y * low / out, size.ankle_height + hip_y, 0),
            left_arm=free_arm(1.0, -0.06, 0.02, (0, 0, -1)),
            right_arm=free_arm(-1.0, 0.0, -0.02, (0, 0, -1)),
            left_leg=planted_foot(wide, size.ankle_height, 0, (1, 0, 0.1), (0.6, 0, 1)),
            right_leg=planted_foot(-wide, size.ankle_height, 0, (-0.2, 0, 1), (-0.2, 0, 1)),
            turn=deg(0, 0, 24),
            spine=deg(4, 0, lean - 24),
            head=deg(0, -45 if style.variant % 2 else 0),
        )

    keys = timed(t, (pose(80 * style.depth), 1.3), (pose(80 * style.depth - 4), 1.3))
    if style.variant % 2:  # with the way in and out
        upright = replace(
            pose(24),
            pelvis=vec(0, hip_y + size.ankle_height - low, 0),
            turn=deg(0, 0, 0),
            spine=deg(0, 0, 0),
            head=deg(0, 0),
        )
        keys = [
            *timed(t, (upright, 0.5), (upright, 1.0)),
            *keys[:1],
            *timed(t, (keys[0].pose, 1.0)),
        ]
    return [replace(key, pose=key.pose.mirrored()) for key in keys] if style.variant > 1 else keys
