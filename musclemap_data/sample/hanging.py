"""Exercises that hang from a bar or a rope: the key poses of one repetition each."""

from __future__ import annotations

from dataclasses import replace

from musclemap_data.sample.poses import (
    Key,
    Style,
    alternate,
    deg,
    free_leg,
    planted_palm,
    straight_leg,
    symmetric,
    timed,
    vec,
)
from musclemap_data.sample.skeleton import Dimensions, Limb, Pose

_FISTS = (0.0, 1.0, 0.2)
_BENT_BACK = free_leg(0.02, -0.72, -0.40, (0.05, -0.1, 1), 0.7)


def bar_height(size: Dimensions) -> float:
    """Metres: 2.1, or more for a tall person, whose feet must stay off the floor."""
    return max(2.1, 1.33 * size.height)


def _hanging(
    size: Dimensions, hand: Limb, below: float, lean: float, leg: Limb, shift_m: float = 0.0
) -> Pose:
    """Hands on the bar, the hips ``below`` it in metres; the trunk leans back by degrees."""
    return symmetric(
        vec(0, bar_height(size) - below, shift_m), hand, leg, turn=deg(-lean, 0, 0),
        head=deg(-10, 0),
    )  # fmt: skip


def pull_up(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    grip = (0.16, 0.19, 0.11, 0.22)[style.variant] * h
    elbow = (0.6, -0.6, 0.5) if style.variant == 2 else (1.0, -0.9, 0.2)
    hand = planted_palm(grip, bar_height(size), 0.0, elbow, _FISTS)
    out = grip - size.shoulder_half
    reach = ((0.985 * size.arm) ** 2 - out**2) ** 0.5
    # The shoulder girdle is lifted by the raised arms.
    dead = size.torso + reach + 0.026 * h
    leg = (straight_leg(2), _BENT_BACK, straight_leg(14), _BENT_BACK)[style.variant]
    down = _hanging(size, hand, dead, 2, leg, 0.005 * h)
    pulled = size.torso + (0.075 + 0.30 * (1 - min(style.depth, 1.0))) * h
    up = _hanging(size, hand, pulled, 12, leg, -0.035 * h)
    up = replace(up, spine=deg(-8, 0, 0), head=deg(-22, 0))
    return timed(t, (down, 0.85), (up, 0.15), (up, 1.0), (down, 0.30))


def monkey_bars(size: Dimensions, style: Style) -> list[Key]:
    """On the spot: the rungs go by, the hands grip them in turn."""
    h, t = size.height, style.tempo
    bar, rung = bar_height(size), 0.13 * style.depth * h
    elbow = (1.0, -0.6, 0.1)

    def hand(z: float, drop: float = 0.0) -> Limb:
        return planted_palm(0.085 * h, bar - drop, z, elbow, _FISTS)

    hang = size.torso + 0.90 * size.arm + 0.026 * h
    leg = (_BENT_BACK, straight_leg(10), free_leg(0.03, -0.66, 0.36), _BENT_BACK)[style.variant]
    base = _hanging(size, hand(0), hang, 4, leg)
    ahead = replace(
        base,
        left_arm=hand(rung),
        right_arm=hand(-rung).mirrored(),
        turn=deg(-4, -16, 0),
        spine=deg(0, -10, 0),
    )
    one = replace(
        base,
        pelvis=base.pelvis + vec(0.05 * h, -0.02 * h, -0.02 * h),
        left_arm=hand(0),
        right_arm=hand(0.02 * h, 0.10 * h).mirrored(),
        turn=deg(2, 4, 6),
    )
    return alternate([Key(ahead, 0.36 * t, ease="linear"), Key(one, 0.36 * t, ease="linear")])


def rope_climb(size: Dimensions, style: Style) -> list[Key]:
    """On the spot: the rope goes down past the climber, who reaches up and pulls."""
    h, t, d = size.height, style.tempo, style.depth
    hips_y = 1.0 * h
    shoulder_y = hips_y + size.torso
    rope = 0.13 * h

    def hand(above: float) -> Limb:
        return planted_palm(0.006 * h, shoulder_y + above * h, rope, (1.0, -0.8, -0.2), _FISTS)

    tucked = free_leg(0.04, -0.34, 0.50, (0.5, 0.6, 1), 0.4)
    long = straight_leg(14, 0.0, 0.6)
    if style.variant == 3:  # without the legs
        tucked, long = straight_leg(20), straight_leg(6)

    def pose(left: float, right: float, leg: Limb, lean: float, rise: float) -> Pose:
        body = symmetric(
            vec(0, hips_y + rise * h, 0), hand(left), leg, turn=deg(-lean, 0, 0), head=deg(-20, 0)
        )
        return replace(body, right_arm=hand(right).mirrored())

    high, low = 0.12 + 0.10 * min(d, 1.0), -0.02
    reached = pose(high, high - 0.07, tucked, 8, -0.02)
    pulled = pose(low + 0.07, low, long, 6, 0.0)
    reach = pose(high, low, long, 6, 0.0)
    return timed(t, (reached, 0.70), (pulled, 0.42), (reach, 0.50))
