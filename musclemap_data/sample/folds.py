"""Exercises with the hips high over hands and feet: the key poses of one repetition each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from musclemap_data.sample.poses import (
    HANGING,
    Key,
    Style,
    alternate,
    deg,
    hanging_arm,
    planted_foot,
    planted_palm,
    stand,
    swept,
    symmetric,
    timed,
    vec,
    with_arms,
    with_legs,
)
from musclemap_data.sample.prone import down_and_up, on_forearms, on_hands, toes
from musclemap_data.sample.skeleton import Array, Dimensions, Pose, two_bone

_UP = vec(0, 1, 0)


def tent(size: Dimensions, hand_z: float, hand_x: float = 0.11, heel: float = 0.07) -> Pose:
    """Hands and feet on the floor, arms, trunk and legs straight: the hips are where they must be.

    Args:
        size: the person.
        hand_z: wrist before the ankle in body heights; about 1.06 is a plank, 0.3 a fold.
        hand_x: wrist from the middle in body heights.
        heel: height of the ankle in body heights.
    """
    h = size.height
    ankle, wrist = vec(0, heel * h, 0), vec(0, size.wrist_height, hand_z * h)
    across = hand_x * h - size.shoulder_half
    # The shoulder blades add a little to the reach of arms overhead.
    arm = np.sqrt((0.985 * size.arm) ** 2 - across**2) + 0.015 * h
    hips, _, _ = two_bone(ankle, wrist, 0.985 * size.leg, size.torso + arm, _UP)
    down = wrist - hips
    if hips[2] < -0.06 * h:  # a fold: the hips stay over the feet, the arms hang from the trunk
        rise = np.sqrt((0.985 * size.leg) ** 2 - (0.06 * h) ** 2)
        hips = ankle + vec(0, rise, -0.06 * h)
        shoulders, _, _ = two_bone(hips, wrist, size.torso, arm - 0.03 * h, vec(0, 0, 1))
        down = shoulders - hips
    steep = -0.3 - 4 * (heel - 0.045)
    return symmetric(
        hips,
        planted_palm(hand_x * h, size.wrist_height, hand_z * h, (0.6, -0.8, 0.0)),
        planted_foot(0.06 * h, heel * h, 0, (0.05, steep, 1), (0.08, 0, 1)),
        turn=np.array([np.arctan2(down[2], down[1]), 0, 0]),
        head=deg(6, 0),
    )


def _moved(pose: Pose, shift: Array) -> Pose:
    """The pose with hands and feet on the floor, a little further along [3] (m)."""
    arm = replace(pose.left_arm, target=pose.left_arm.target + shift)
    leg = replace(pose.left_leg, target=pose.left_leg.target + shift)
    return with_arms(with_legs(pose, leg), arm, pelvis=pose.pelvis + shift)


def _bent_down(size: Dimensions, x: float) -> tuple[Pose, Pose]:
    """Standing with the trunk hanging down, and the hands on the floor before the feet."""
    bent = replace(
        with_arms(stand(size), hanging_arm(112, x - size.shoulder_half / size.height)),
        pelvis=vec(0, size.stand - 0.01 * size.height, -0.06 * size.height),
        turn=deg(94, 0, 0),
        spine=deg(18, 0, 0),
    )
    return bent, tent(size, 0.2, x, heel=0.05)


def _walk_hands(size: Dimensions, t: float, end: Pose, places: tuple[float, ...]) -> list[Key]:
    """From a fold the hands walk out in turn to the places (body heights), not yet to ``end``."""
    h = size.height
    x = float(end.left_arm.target[0]) / h
    keys = []
    for number, place in enumerate(places):
        pose = tent(size, place, x, heel=0.05)
        behind = replace(pose.right_arm, target=pose.right_arm.target - vec(0, 0, 0.10 * h))
        pose = replace(pose, right_arm=behind)
        keys.append(Key(pose.mirrored() if number % 2 else pose, 0.36 * t))
    return keys


def pike_push_up(size: Dimensions, style: Style) -> list[Key]:
    h, d = size.height, style.depth
    hand_z = 0.64 + 0.05 * (style.stance - 1)
    high = tent(size, hand_z, size.shoulder_half / h + 0.03, heel=0.085)
    low = replace(
        high,
        pelvis=high.pelvis + vec(0, -0.05 * h * d, 0.045 * h * d),
        turn=high.turn - deg(2 * d, 0, 0),
        left_arm=replace(high.left_arm, pole=vec(0.8, -0.2, 0.6)),
        right_arm=replace(high.right_arm, pole=vec(-0.8, -0.2, 0.6)),
        head=deg(-6, 0),
    )
    # Head between the hands: the hips come forwards, the trunk turns down over the shoulders.
    low = replace(low, pelvis=low.pelvis + vec(0, -0.03 * h * d, 0.03 * h * d))
    return down_and_up(style, high, low)


def downward_dog(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    x = size.shoulder_half / h + 0.02
    dog = tent(size, 0.66 + 0.10 * (style.stance - 1), x, heel=0.058)
    sunk = replace(dog, spine=deg(-3 * style.depth, 0, 0))
    if style.variant == 1:  # out of a plank
        plank = on_hands(size, 0.955, x)
        plank = _moved(plank, vec(0, 0, dog.left_arm.target[2] - plank.left_arm.target[2]))
        foot = plank.left_leg.target
        back = tent(size, (dog.left_arm.target[2] - foot[2]) / h, x, heel=0.09)
        back = _moved(back, vec(0, 0, foot[2]))
        return timed(t, (plank, 0.8), (back, 0.3), (dog, 1.4), (sunk, 0.9), (back, 0.4))
    if style.variant == 2:  # heels up and down in turn
        left = replace(
            dog.left_leg,
            target=dog.left_leg.target + vec(0, 0.035 * h, 0.03 * h),
            end=vec(0.05, -0.9, 1),
            pole=vec(0.08, 0.3, 1),
        )
        pedal = replace(dog, left_leg=left, turn=dog.turn + deg(0, 0, 3))
        return alternate(timed(t, (pedal, 0.4), (pedal, 0.5)))
    if style.variant == 3:  # from standing and back
        bent, fold = _bent_down(size, x)
        return [
            *timed(t, (stand(size), 0.7), (bent, 0.3), (fold, 0.35)),
            *_walk_hands(size, t, dog, (0.30, 0.46)),
            *timed(t, (dog, 1.3), (sunk, 0.9)),
            *reversed(_walk_hands(size, t, dog, (0.30, 0.46))),
            *timed(t, (fold, 0.25), (bent, 0.7)),
        ]
    return timed(t, (dog, 1.2), (sunk, 1.2))


def inchworm(size: Dimensions, style: Style) -> list[Key]:
    h, t = size.height, style.tempo
    x = size.shoulder_half / h + 0.015
    plank = on_hands(size, 0.955, x)
    out = _walk_hands(size, t, plank, (0.26, 0.40, 0.54, 0.67))
    top = stand(size, HANGING, 0.06)
    bent, fold = _bent_down(size, x)
    keys = [
        *timed(t, (top, 0.60), (bent, 0.25), (fold, 0.35)),
        *out,
        *timed(t, (plank, 0.25), (plank, 0.40)),
    ]
    if style.variant == 3:  # a push-up at the far end
        keys += timed(t, (on_hands(size, 0.40, x), 0.6), (plank, 0.4))
    return [*keys, *reversed(out), *timed(t, (fold, 0.25), (bent, 0.60))]


def elbow_pike_plank(size: Dimensions, style: Style) -> list[Key]:
    h, t, d = size.height, style.tempo, style.depth
    flat = on_forearms(size)
    elbow_z = float(flat.left_arm.target[2]) - 0.96 * size.forearm
    back = 0.105 * d * h
    shoulder = vec(0, 0.030 * h + np.sqrt(size.upper_arm**2 - back**2), elbow_z - back)
    ankle = vec(0, 0.095 * h, 0)
    hips, _, _ = two_bone(ankle, shoulder, 0.985 * size.leg, size.torso, _UP)
    down = shoulder - hips
    pike = replace(
        flat, pelvis=hips, turn=np.array([np.arctan2(down[2], down[1]), 0, 0]), head=deg(4, 0)
    )
    return timed(t, (flat, 0.75), (pike, 0.20), (pike, 0.75), (flat, 0.15))


def hindu_push_up(size: Dimensions, style: Style) -> list[Key]:
    h, t, d = size.height, style.tempo, style.depth
    x = size.shoulder_half / h + 0.03
    hand_z = 0.70
    pike = tent(size, hand_z, x, heel=0.085)
    hands = pike.left_arm

    def low(hip_y: float, hip_z: float, pitch: float, bend: float, nod: float) -> Pose:
        feet = toes(size)
        pose = symmetric(
            vec(0, hip_y * h, hip_z * h),
            hands,
            feet,
            turn=deg(pitch, 0, 0),
            spine=deg(bend, 0, 0),
            head=deg(nod, 0),
        )
        return with_legs(pose, feet)

    dive = low(0.34, 0.40, 116, 6, -14)
    flat = low(0.165, 0.455, 92, -6, -20)
    arch = low(0.105 + 0.02 * (1 - d), 0.46, 78, -50, -18)
    swoop = swept(t, (pike, 0.50), (dive, 0.42), (flat, 0.36), (arch, 0))
    return [*swoop, *timed(t, (arch, 0.40), (arch, 0.85), (pike, 0.20))]
