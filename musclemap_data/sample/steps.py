"""Steps, machines and other rounds on the feet: the key poses of one repetition each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from musclemap_data.sample.poses import (
    HANGING,
    RUN_BACK,
    RUN_FRONT,
    Key,
    Style,
    alternate,
    deg,
    free_arm,
    free_leg,
    planted_foot,
    planted_palm,
    stand,
    symmetric,
    timed,
    vec,
    with_legs,
)
from musclemap_data.sample.skeleton import Dimensions, Limb, Pose
from musclemap_data.sample.standing import stride


def marching(size: Dimensions, style: Style) -> list[Key]:
    t = style.tempo
    knee = free_leg(0.02, -0.56, 0.46 * style.depth, (0.05, 0.3, 1), 0.35)
    back, front = (
        free_arm(0.16, -0.86, -0.34, (0.3, 0, -1)),
        free_arm(0.10, -0.70, 0.55, (0.5, 0, -1)),
    )
    if style.variant % 2:
        back, front = RUN_BACK, RUN_FRONT
    up = stride(size, knee, (back, front.mirrored()), 1, 4)
    foot = planted_foot(-0.06 * size.height, size.ankle_height, 0, (-0.1, 0, 1), (-0.1, 0, 1))
    up = replace(up, right_leg=foot)
    down = stand(size, HANGING, 0.06)
    return alternate(timed(t, (up, 0.06), (up, 0.28), (down, 0.24)))


def _step_cycle(
    size: Dimensions, style: Style, box: float, arms: tuple[Limb, Limb], s: float
) -> list[Key]:
    """Left foot on, right foot on, left foot off, right foot off; ``box`` in body heights."""
    h, t = size.height, style.tempo
    box_y, box_z = box * h, 0.27 * h
    floor = stand(size, HANGING, 0.06)
    foot = floor.left_leg
    on = replace(foot, target=foot.target + vec(0, box_y, box_z))
    swing = replace(
        foot, target=foot.target + vec(0, box_y + 0.06 * h, 0.6 * box_z), end=vec(0, 0.1, 1)
    )
    lean = 10 + 60 * box
    reach = replace(
        floor,
        left_leg=on,
        pelvis=vec(0, size.stand - 0.01 * h, 0.05 * h),
        turn=deg(lean, 0, 0),
        left_arm=arms[0],
        right_arm=arms[1].mirrored(),
    )
    lifting = replace(
        floor, left_leg=swing, pelvis=vec(0, size.stand - 0.005 * h, 0.01 * h), turn=deg(3, 0, 0)
    )
    drive = replace(
        reach,
        pelvis=vec(0, 0.35 * box_y + size.stand - 0.02 * h, 0.72 * box_z),
        right_leg=replace(
            foot.mirrored(),
            target=vec(-0.06 * h, 0.55 * box_y + 0.10 * h, 0.15 * h),
            end=vec(0, -0.5, 1),
        ),
        turn=deg(lean + 8, 0, 0),
    )
    top = with_legs(stand(size, HANGING, 0.06), on, pelvis=vec(0, size.stand + box_y, box_z))
    top = replace(top, left_arm=arms[1], right_arm=arms[0].mirrored())
    leave = replace(
        reach,
        left_leg=foot,
        right_leg=on.mirrored(),
        turn=deg(lean, 0, 0),
        left_arm=arms[1],
        right_arm=arms[0].mirrored(),
    )
    return timed(
        t,
        (floor, 0.45 * s),
        (lifting, 0.35 * s),
        (reach, 0.45 * s),
        (drive, 0.40 * s),
        (top, 0.15 * s),
        (top, 0.70 * s),
        (leave, 0.50 * s),
    )


def step_up(size: Dimensions, style: Style) -> list[Key]:
    swing = free_arm(0.06, -0.45, 0.50, (0.5, -0.6, -0.6))
    arms = ((HANGING, HANGING), (RUN_BACK, swing))[style.variant % 2]
    return alternate(_step_cycle(size, style, 0.19 + 0.03 * (style.variant // 2), arms, 1.0))


def step_aerobics(size: Dimensions, style: Style) -> list[Key]:
    low = free_arm(0.06, -0.40, 0.46, (0.4, -1, -0.4))
    high = (
        free_arm(0.10, -0.10, 0.35, (0.3, -1, 0)),
        free_arm(0.16, 0.95, 0.08, (1, 0, -0.3)),
        free_arm(0.95, 0.0, 0.10, (0, 0, -1)),
        low,
    )[style.variant]
    return alternate(_step_cycle(size, style, 0.085, (low, high), 0.72))


def hula_hoop(size: Dimensions, style: Style) -> list[Key]:
    h = size.height
    arms = (free_arm(0.62, -0.02, 0.32, (0.6, -1, -0.3)), free_arm(0.30, 0.72, 0.10, (1, 0, 0)))
    direction = 1 if style.variant % 2 else -1
    base = stand(size, arms[style.variant // 2], 0.085 * style.stance)
    keys = []
    for step in range(8):
        angle = direction * 2 * np.pi * step / 8
        side, front = np.sin(angle), np.cos(angle)
        pose = replace(
            base,
            pelvis=vec(0.06 * h * side, size.stand - 0.025 * h, 0.055 * h * front)
            * vec(style.depth, 1, 1),
            turn=deg(-9 * front, 0, -7 * side),
            spine=deg(9 * front, 0, 9 * side),
        )
        keys.append(Key(pose, 0.085 * style.tempo, ease="linear"))
    return keys


def elliptical(size: Dimensions, style: Style) -> list[Key]:
    h = size.height
    keys = []
    for step in range(8):
        angle = 2 * np.pi * step / 8

        def limbs(phase: float) -> tuple[Limb, Limb]:
            z, y = np.cos(phase), np.sin(phase)
            foot = planted_foot(
                0.065 * h,
                0.14 * h + 0.05 * h * y,
                0.13 * h * z,
                (0.05, 0.12 * z - 0.12, 1),
                (0.1, 0, 1),
            )
            hand = planted_palm(
                0.13 * h, 0.80 * h, (0.235 - 0.09 * z) * h, (0.6, -1, -0.3), (0, 0.6, 1)
            )
            return hand, foot

        left, right = limbs(-angle), limbs(-angle + np.pi)
        pose = Pose(
            vec(0, 0.14 * h + 0.93 * size.leg + 0.006 * h * np.cos(2 * angle), -0.01 * h),
            left[0],
            right[0].mirrored(),
            left[1],
            right[1].mirrored(),
            turn=deg(5, 4 * np.cos(angle), 0),
            spine=deg(4, -10 * np.cos(angle), 0),
        )
        keys.append(Key(pose, 0.15 * style.tempo, ease="linear"))
    return keys


def stationary_cycling(size: Dimensions, style: Style) -> list[Key]:
    h = size.height
    crank_y, crank_z, crank = 0.21 * h, 0.05 * h, 0.098 * h
    # At the far pedal the leg is almost straight.
    far = 0.97 * size.leg - crank
    seat = vec(0, crank_y + far * np.cos(np.radians(22)), crank_z - far * np.sin(np.radians(22)))
    lean = (30.0, 42.0, 16.0, 36.0)[style.variant]
    hand_y = (0.60, 0.56, 0.66, 0.58)[style.variant] * h
    hand_z = (0.29, 0.32, 0.26, 0.30)[style.variant] * h
    keys = []
    for step in range(8):
        angle = 2 * np.pi * step / 8

        def foot(phase: float) -> Limb:
            y, z = crank_y + crank * np.cos(phase), crank_z + crank * np.sin(phase)
            return planted_foot(0.055 * h, y, z, (0.02, -0.25, 1), (0.02, 0.2, 1))

        hand = planted_palm(0.115 * h, hand_y, hand_z, (0.6, -1, -0.2), (0, -0.2, 1))
        pose = symmetric(
            seat,
            hand,
            foot(angle),
            turn=deg(lean, 0, 2 * np.cos(angle)),
            spine=deg(16, 0, 0),
            head=deg(-0.6 * lean, 0),
        )
        right = foot(angle + np.pi).mirrored()
        keys.append(Key(replace(pose, right_leg=right), 0.10 * style.tempo, ease="linear"))
    return keys
