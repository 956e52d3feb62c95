"""Punches, kicks in series, and work against a wall or a door frame: the key poses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from musclemap_data.sample.poses import (
    GUARD,
    Key,
    Style,
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
)
from musclemap_data.sample.skeleton import Dimensions, Pose

_JAB = free_arm(-0.16, 0.06, 0.97, (0.5, -0.8, 0))


def arm_swing_back(size: Dimensions, style: Style) -> list[Key]:
    t, d = style.tempo, style.depth
    closed = stand(size, free_arm(-0.10, 0.02, 0.97, (0.8, -0.5, 0)), 0.085 * style.stance)
    opened = with_arms(closed, free_arm(0.95, 0.04, -0.05 - 0.24 * d, (0.2, -0.6, -1)))
    opened = replace(opened, spine=deg(-5, 0, 0))
    return timed(t, (closed, 0.55), (opened, 0.08), (opened, 0.55), (closed, 0.06))


def fighting_stance(size: Dimensions) -> Pose:
    """Left foot in front, fists up, turned a little to the right."""
    h = size.height
    return Pose(
        pelvis=vec(0, size.stand - 0.035 * h, -0.01 * h),
        left_arm=GUARD,
        right_arm=GUARD.mirrored(),
        left_leg=planted_foot(0.085 * h, size.ankle_height, 0.11 * h, (-0.2, 0, 1), (0.1, 0, 1)),
        right_leg=planted_foot(
            -0.085 * h, size.ankle_height + 0.012 * h, -0.12 * h, (-0.6, -0.15, 1), (-0.3, 0, 1)
        ),
        turn=deg(4, -22, 0),
        spine=deg(8, 0, 0),
        head=deg(2, 20),
    )


def _jab(size: Dimensions, d: float) -> Pose:
    guard = fighting_stance(size)
    return replace(
        guard,
        pelvis=guard.pelvis + vec(0, 0, 0.035 * size.height),
        left_arm=free_arm(0.10, 0.06, 0.97, (0.5, -0.8, 0)),
        turn=deg(6, -30, 0),
        spine=deg(8, -12 * d, 0),
        head=deg(2, 34),
    )


def _cross(size: Dimensions, d: float) -> Pose:
    guard = fighting_stance(size)
    h = size.height
    back = replace(
        guard.right_leg,
        target=guard.right_leg.target + vec(0, 0.02 * h, 0.01 * h),
        end=vec(0.1, -0.45, 1),
        pole=vec(0.1, 0, 1),
    )
    return replace(
        guard,
        pelvis=guard.pelvis + vec(0, 0, 0.045 * h),
        right_arm=_JAB.mirrored(),
        right_leg=back,
        turn=deg(8, 14, 0),
        spine=deg(8, 24 * d, 0),
        head=deg(2, -34),
    )


def punches(size: Dimensions, style: Style) -> list[Key]:
    t, d = style.tempo, style.depth
    guard, jab, cross = fighting_stance(size), _jab(size, d), _cross(size, d)
    if style.variant == 1:  # feet side by side, fists in turn
        base = stand(size, GUARD, 0.10)
        left = replace(base, left_arm=_JAB, spine=deg(4, -26 * d, 0), head=deg(0, 22))
        return timed(
            t, (left, 0.06), (left, 0.26), (left.mirrored(), 0.06), (left.mirrored(), 0.26)
        )
    keys = timed(
        t,
        (guard, 0.24),
        (jab, 0.05),
        (jab, 0.22),
        (guard, 0.06),
        (guard, 0.24),
        (cross, 0.06),
        (cross, 0.26),
        (guard, 0.16),
    )
    return mirrored(keys) if style.variant == 3 else keys


def kickboxing(size: Dimensions, style: Style) -> list[Key]:
    h, t, d = size.height, style.tempo, style.depth
    guard, jab, cross = fighting_stance(size), _jab(size, d), _cross(size, d)
    standing = replace(
        guard,
        pelvis=vec(0.055 * h, size.stand - 0.012 * h, 0.09 * h),
        left_leg=replace(guard.left_leg, end=vec(0.5, 0, 1), pole=vec(0.4, 0, 1)),
        turn=deg(-4, 10, 8),
    )
    chamber = replace(
        standing, right_leg=free_leg(0.05, -0.36, 0.42, (0.05, 0.6, 1), 0.5).mirrored()
    )
    if style.variant % 2:  # a kick to the front
        leg = free_leg(0.0, -0.22, 0.95 * min(d, 1), (0, 1, 0.4), 0.2).mirrored()
        kick = replace(chamber, right_leg=leg, turn=deg(-16, 6, 6), spine=deg(12, 0, 0))
    else:  # round from the side
        leg = free_leg(0.52, -0.20, 0.80 * min(d, 1), (0.8, 0.6, 0.4), 0.8).mirrored()
        kick = replace(
            chamber, right_leg=leg, turn=deg(-6, 42, 30 * d), spine=deg(6, -8, 0), head=deg(0, -40)
        )
    keys = timed(
        t,
        (guard, 0.22),
        (jab, 0.20),
        (guard, 0.22),
        (cross, 0.24),
        (guard, 0.22),
        (chamber, 0.24),
        (kick, 0.08),
        (kick, 0.26),
        (chamber, 0.28),
    )
    return mirrored(keys) if style.variant > 1 else keys


def wall_push_up(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    wall = 0.50 * h
    ankle = vec(0, size.ankle_height + 0.012 * h, 0)
    foot = planted_foot(0.06 * h, ankle[1], 0, (0.1, -0.15, 1), (0.1, 0, 1))
    length = 0.99 * size.leg + size.torso
    hand = planted_palm(0.14 * style.stance * h, 0.76 * h, wall, (0.8, -0.8, -0.3), (0, 1, 0))

    def pose(lean_deg: float) -> Pose:
        lean = np.radians(lean_deg)
        along = vec(0, np.cos(lean), np.sin(lean))
        return symmetric(
            ankle + 0.99 * size.leg * along, hand, foot, turn=vec(lean, 0, 0), head=deg(-8, 0)
        )

    # Straight arms: the shoulders stand off the wall by an arm; then they come close to it.
    far = np.degrees(np.arcsin((wall - 0.93 * size.arm) / length))
    near = np.degrees(np.arcsin((wall - (0.93 - 0.52 * style.depth) * size.arm) / length))
    return timed(t, (pose(far), 0.85), (pose(near), 0.12), (pose(near), 0.75), (pose(far), 0.15))


def doorway_row(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    ankle = vec(0, size.ankle_height, 0)
    foot = planted_foot(0.06 * h, ankle[1], 0, (0.1, 0, 1), (0.1, 0, 1))
    frame_z, frame_y = -0.13 * h, 0.66 * h
    hand = planted_palm(0.13 * h, frame_y, frame_z, (0.6, -0.5, -1), (0, 0.5, 1))
    length = 0.99 * size.leg + size.torso

    def pose(back_deg: float) -> Pose:
        back = np.radians(back_deg)
        along = vec(0, np.cos(back), -np.sin(back))
        return symmetric(
            ankle + 0.99 * size.leg * along, hand, foot, turn=vec(-back, 0, 0), head=deg(6, 0)
        )

    # Straight arms; the shoulders of a body that leans like this are about as high as the hands.
    far = np.degrees(np.arcsin((0.95 * size.arm - frame_z) / length))
    near = far - 26 * style.depth
    return timed(t, (pose(far), 0.85), (pose(near), 0.2), (pose(near), 0.85), (pose(far), 0.15))
