"""Every activity's motion: a body moves, not a set of points.

The pictures that a person should look at beside these numbers: ``make motions-sheet``.
"""

from __future__ import annotations

import numpy as np
import pytest

from musclemap_data import catalog
from musclemap_data.sample import skeleton as sk
from musclemap_data.sample.motions import EXERCISES, Performance, perform

ACTIVITIES = catalog.load_activities()
SIZE = sk.Dimensions(height=1.7, leg_ratio=0.98, arm_ratio=1.02)
STEP_S = 0.05


def performances(activity: str) -> list[Performance]:
    """One repetition in each of the four variants."""
    found: dict[int, Performance] = {}
    seed = 0
    while len(found) < 4:
        variant = int(np.random.default_rng(seed).integers(4))  # the first number perform draws
        if variant not in found:
            found[variant] = perform(activity, SIZE, np.random.default_rng(seed), 0.1)
        seed += 1
    return list(found.values())


def test_every_activity_of_the_table_is_performed() -> None:
    assert set(EXERCISES) == set(ACTIVITIES)


@pytest.mark.parametrize("activity", sorted(EXERCISES))
def test_a_body_moves(activity: str) -> None:
    for motion in performances(activity):
        times = np.arange(0.0, motion.seconds, STEP_S)
        bones = [motion.bones(float(time)) for time in times]
        joints = np.array([sk.coco_joints(SIZE, posed) for posed in bones])
        assert joints[..., 1].min() > -0.02, "a joint is under the floor"
        speed = np.linalg.norm(np.diff(joints, axis=0), axis=-1) / STEP_S
        assert speed.max() < 12.0, "metres a second; a pop between key poses is far above"
        assert np.ptp(joints, axis=0).max() > 0.01, "nothing moves"
        assert_limbs_keep_their_length(joints)
        assert_planted_limbs_stay(motion, times, bones)
        assert_it_comes_back(motion)


def test_arms_that_are_free_vary_but_not_in_the_film() -> None:
    def arms(activity: str, *, as_filmed: bool) -> set[tuple[float, ...]]:
        drawn = [
            perform(activity, SIZE, np.random.default_rng(seed), 0.1, as_filmed=as_filmed)
            for seed in range(40)
        ]
        return {tuple(motion.keys[0].pose.left_arm.target.round(6)) for motion in drawn}

    assert len(arms("lunge", as_filmed=True)) == 2, "those that the motion is written with"
    assert len(arms("lunge", as_filmed=False)) == 6
    assert arms("bicep_curl", as_filmed=False) == arms("bicep_curl", as_filmed=True)


def assert_limbs_keep_their_length(joints: np.ndarray) -> None:
    for parts, length in (
        (("shoulder", "elbow"), SIZE.upper_arm),
        (("elbow", "wrist"), SIZE.forearm),
        (("hip", "knee"), SIZE.thigh),
        (("knee", "ankle"), SIZE.shin),
    ):
        for side in ("left", "right"):
            a, b = (sk.COCO_JOINTS.index(f"{side}_{part}") for part in parts)
            measured = np.linalg.norm(joints[:, a] - joints[:, b], axis=-1)
            assert measured == pytest.approx(np.full(len(joints), length), abs=1e-6)


def assert_planted_limbs_stay(
    motion: Performance, times: np.ndarray, bones: list[sk.Bones]
) -> None:
    """A hand or foot planted in two keys is where they say, all the way between them."""
    for time, posed in zip(times, bones, strict=True):
        at = int(np.searchsorted(motion.starts, time, side="right")) - 1
        here, after = motion.keys[at], motion.keys[(at + 1) % len(motion.keys)]
        if here.hop:
            continue
        for limb, bone in (("leg", "foot"), ("arm", "hand")):
            for side in ("left", "right"):
                rules = [getattr(key.pose, f"{side}_{limb}") for key in (here, after)]
                place = posed.origin[sk.BONE_INDEX[f"{side}_{bone}"]]
                if not all(rule.planted for rule in rules):
                    continue
                start, end = (rule.target for rule in rules)
                along = end - start
                share = np.clip((place - start) @ along / max(along @ along, 1e-12), 0, 1)
                off = np.linalg.norm(place - start - share * along)
                most = 0.02 if np.array_equal(start, end) else 0.04
                assert off < most, f"{side} {bone} is {off:.3f} m off at {time:.2f} s"


def assert_it_comes_back(motion: Performance) -> None:
    """The end of a repetition leads on to its start."""
    end, start = (sk.coco_joints(SIZE, motion.bones(time)) for time in (motion.seconds, 0.0))
    assert np.abs(start - end).max() < 0.06, "more than a living body sways"
    assert 0.2 < motion.seconds < 12.0, "seconds of one repetition"
