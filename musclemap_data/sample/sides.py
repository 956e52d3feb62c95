"""On hands and knees, and lying or propped on one side: the key poses of one repetition each."""

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
    timed,
    vec,
)
from musclemap_data.sample.prone import all_fours, side_arm, side_support
from musclemap_data.sample.skeleton import Dimensions, Limb, Pose, two_bone


def bird_dog(size: Dimensions, style: Style) -> list[Key]:
    t, d = style.tempo, style.depth
    base = all_fours(size)
    out = replace(
        base,
        right_arm=free_arm(0.05, 0.96, 0.24 - 0.10 * d, (1, 0, -0.2)).mirrored(),
        left_leg=straight_leg(-2, point=0.4),
        turn=base.turn + deg(0, 0, -3),
    )
    if style.variant < 2:
        return alternate(timed(t, (base, 0.75), (out, 0.30), (out, 0.75), (base, 0.10)))
    # Elbow and knee meet under the body between two reaches.
    round_back = replace(
        base,
        right_arm=free_arm(-0.10, -0.42, 0.48, (0.2, -0.9, 0.3)).mirrored(),
        left_leg=free_leg(0.02, -0.28, 0.46, (0.1, 0.8, 0.7), 0.8),
        spine=deg(16, 0, 0),
        head=deg(14, 0),
    )
    keys = timed(t, (out, 0.25), (out, 0.70), (round_back, 0.15), (round_back, 0.70))
    return mirrored(keys) if style.variant == 3 else keys


def fire_hydrant(size: Dimensions, style: Style) -> list[Key]:
    t, d = style.tempo, style.depth
    base = all_fours(size)
    angle = np.radians(74 * d)
    thigh = np.array([np.sin(angle), 0.08, np.cos(angle)])
    leg = Limb(0.496 * thigh + 0.50 * vec(0.05, -1, 0), thigh + vec(0, 0.2, 0), end=0.2)
    up = replace(base, left_leg=leg, turn=base.turn + deg(0, 0, -7), spine=deg(0, 0, 3))
    low = replace(base, left_leg=free_leg(0.04, -0.50, 0.47, (0.05, 0.2, 1), 0.3))
    keys = timed(t, (base, 0.20), (low, 0.55), (up, 0.20), (up, 0.60), (low, 0.15))
    return mirrored(keys) if style.variant % 2 else keys


def side_plank_dip(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    up = side_support(size, 0.0, side_arm(style))
    line = vec(np.sin(up.turn[2]), np.cos(up.turn[2]), 0)
    ankle, shoulder = up.pelvis - size.leg * line, up.pelvis + size.torso * line
    # The shoulder comes a little towards the feet; hips and trunk sink between the two.
    shoulder = shoulder - vec(0.05 * style.depth * h, 0.005 * h, 0)
    hips, _, _ = two_bone(ankle, shoulder, 0.955 * size.leg, size.torso, vec(0, -1, 0))
    along = shoulder - hips
    down = replace(up, pelvis=hips, turn=np.array([0, 0, np.arctan2(along[0], along[1])]))
    keys = timed(t, (up, 0.65), (down, 0.10), (down, 0.60), (up, 0.20))
    return mirrored(keys) if style.variant > 1 else keys


def side_plank_rotation(size: Dimensions, style: Style) -> list[Key]:
    t, d = style.tempo, style.depth
    opened = side_support(size, 0.0, free_arm(1.0, 0.05, -0.05, (0, 0, -1)).mirrored())
    under = replace(
        opened,
        pelvis=opened.pelvis + vec(0, 0.02 * size.height, 0),
        right_arm=free_arm(0.62, -0.30, 0.66, (-0.4, -0.8, 0)),
        spin=np.radians(22.0 * d),
        spine=deg(14, 36 * d, 0),
        head=deg(16, 20),
    )
    keys = timed(t, (opened, 0.25), (opened, 0.75), (under, 0.15), (under, 0.75))
    return mirrored(keys) if style.variant > 1 else keys


def _on_side(size: Dimensions, style: Style) -> Pose:
    """On the left side, the head to the left of the stage, on the outstretched arm or the elbow."""
    h = size.height
    front = free_arm(0.10, -0.30, 0.52, (0.6, -0.4, 0.6)).mirrored()
    leg = straight_leg(4, 0.01)
    shoulder_x = 0.95 * size.torso
    if style.variant % 2:  # the trunk up on the elbow
        low = planted_palm(shoulder_x, 0.03 * h, 0.14 * h, (0.1, 1, -0.3))
        pitch, lean = deg(0, 0, 90), deg(4, 0, -44)
    else:  # the head on the outstretched arm
        low = planted_palm(shoulder_x + 0.9 * size.arm, 0.03 * h, 0.03 * h, (0, 0.3, -1))
        pitch, lean = deg(0, 0, 90), deg(2, 0, -8)
    pelvis = vec(0, 0.082 * h, 0)
    return Pose(pelvis, low, front, leg, leg.mirrored(), pitch, lean, deg(0, 0))


def lying_side_leg_raise(size: Dimensions, style: Style) -> list[Key]:
    t, d = style.tempo, style.depth
    down = _on_side(size, style)
    angle = np.radians(46 * d)
    lifted = free_leg(float(np.sin(angle)), -float(np.cos(angle)), 0.02, (0.1, 0, 1), 0.1)
    up = replace(down, right_leg=lifted.mirrored(), spine=down.spine + deg(0, 0, -2))
    keys = timed(t, (down, 0.65), (up, 0.15), (up, 0.70), (down, 0.10))
    return mirrored(keys) if style.variant > 1 else keys


def inner_thigh_lift(size: Dimensions, style: Style) -> list[Key]:
    h, t, d = size.height, style.tempo, style.depth
    down = _on_side(size, style)
    # The upper foot stands on the floor before or behind the lower leg.
    z = (0.17 if style.variant < 3 else -0.10) * h
    foot = planted_foot(-0.19 * h, 0.055 * h, z, (-0.3, 0, 1), (-1, 0.4, 0.6))
    down = replace(down, right_leg=foot)
    angle = np.radians(22 * d)
    up = replace(
        down,
        left_leg=free_leg(-float(np.sin(angle)), -float(np.cos(angle)), 0.02, (0.1, 0, 1), 0.0),
    )
    keys = timed(t, (down, 0.50), (up, 0.18), (up, 0.50), (down, 0.08))
    return mirrored(keys) if style.variant > 1 else keys
