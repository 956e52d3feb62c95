"""A right skeleton is good; each way to be wrong is found, named and costs quality."""

from __future__ import annotations

import numpy as np
import pytest

from musclemap_data.pose import quality
from musclemap_data.pose.quality import (
    BAD_BELOW,
    GOOD_FROM,
    MEASURES,
    SEVERAL_PEOPLE,
    QualityMeter,
    SkeletonClass,
    SkeletonQuality,
    quality_doubts,
    skeleton_class,
)
from tests.musclemap_data.pose.walking import picture_of, walking_skeleton

COUNT = 60


def judge(frames, skeleton, windows: int = 1, people: int = 1, contradicted: float = 0):
    meter = QualityMeter()
    for some, joints in zip(
        np.array_split(frames, windows), np.array_split(skeleton[:, None], windows), strict=True
    ):
        meter.add(some, joints, people, contradicted)
    return meter.finish()


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return picture_of(walking_skeleton(COUNT))


def test_a_right_skeleton_is_good(frames):
    found = judge(frames, walking_skeleton(COUNT))
    assert found.label is SkeletonClass.GOOD and found.value > 0.9 and found.notes == ()
    assert found.sentence() == f"The skeleton is good (quality {found.value:.2f})."


def test_windows_are_judged_as_one_clip(frames):
    skeleton = walking_skeleton(COUNT)
    skeleton[20:25, :, :2] += 20
    whole, parts = judge(frames, skeleton), judge(frames, skeleton, windows=3)
    assert parts.value == pytest.approx(whole.value, abs=0.05)


def wrong(kind: str) -> np.ndarray:
    random = np.random.default_rng(1)
    skeleton = walking_skeleton(COUNT)
    if kind == "out-of-view":
        skeleton[:, 11:, 1] += 200
        skeleton[:, :8:3, 1] -= 200
    elif kind == "unsure":
        skeleton[..., 2] = 0.4
    elif kind == "jumps":
        skeleton[::10, :, 0] += 60
    elif kind == "trembling":
        skeleton[..., :2] += random.normal(0, 5, skeleton[..., :2].shape)
    elif kind == "limbs":
        for root, ends in ((5, [7, 9]), (6, [8, 10]), (11, [13, 15]), (12, [14, 16])):
            growth = 1 + 0.7 * np.sin(np.arange(COUNT) / 4 + root)[:, None, None]
            way = skeleton[:, ends, :2] - skeleton[:, [root], :2]
            skeleton[:, ends, :2] = skeleton[:, [root], :2] + way * growth
    elif kind == "sides":
        for frame in range(0, COUNT, 3):
            skeleton[frame, 5:] = skeleton[frame][[6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]]
    elif kind == "twisted":
        skeleton[30:, 11:] = skeleton[30:][:, [12, 11, 14, 13, 16, 15]]
    elif kind == "colours":
        skeleton[:, :, 0] += 40 * np.sin(np.arange(COUNT) / 9)[:, None]
    elif kind == "elsewhere":
        skeleton[..., :2] = skeleton[..., :2] * 0.3 + [170, 10]
    return skeleton


@pytest.mark.parametrize("kind", list(MEASURES))
def test_each_fault_is_named_and_costs_quality(frames, kind):
    found = judge(frames, wrong(kind), contradicted=0.4 if kind == "unsettled" else 0)
    assert kind in found.notes
    assert found.value < GOOD_FROM
    assert MEASURES[kind].said in found.sentence()


def test_joints_that_hardly_move_and_shake_tremble(frames):
    skeleton = np.repeat(walking_skeleton(1), COUNT, axis=0)
    skeleton[..., :2] += np.random.default_rng(2).normal(0, 1.5, skeleton[..., :2].shape)
    assert "trembling" in judge(frames, skeleton).notes


@pytest.mark.parametrize("every", [1, 3, 6])
def test_a_fast_movement_in_few_frames_a_second_does_not_tremble(every):
    swing = np.sin(2 * np.pi * np.arange(0, 40 * every, every) / 30)
    skeleton = np.repeat(walking_skeleton(1), 40, axis=0)
    for joint, way in ((7, 1), (8, -1), (9, 1), (10, -1)):  # a jumping jack
        skeleton[:, joint, 0] += way * 25 * swing
        skeleton[:, joint, 1] -= 60 * swing
    skeleton[..., 1] -= 25 * np.abs(swing)[:, None]
    assert "trembling" not in judge(picture_of(skeleton), skeleton).notes


def test_a_few_frames_a_second_say_nothing_of_steps_between_them():
    skeleton = walking_skeleton(90)[::9]
    skeleton[::2, :, 0] += 45
    few = judge(picture_of(skeleton), skeleton, contradicted=0.4)
    assert few.label is SkeletonClass.GOOD
    many = np.repeat(skeleton, 4, axis=0)
    assert "unsettled" in judge(picture_of(many), many, contradicted=0.4).notes


def test_two_pairs_of_joints_that_the_body_hides_leave_a_skeleton_good(frames):
    skeleton = walking_skeleton(COUNT)
    skeleton[:, 13:, 2] = 0.1  # knees and ankles of a push-up seen from the head
    assert judge(frames, skeleton).label is SkeletonClass.GOOD
    skeleton[:, 9:, 2] = 0.1
    assert "unsure" in judge(frames, skeleton).notes


def test_limbs_of_somebody_who_comes_nearer_keep_their_length():
    skeleton = walking_skeleton(COUNT)
    nearer = np.linspace(0.4, 1, COUNT)[:, None, None]
    skeleton[..., :2] = 128 + (skeleton[..., :2] - 128) * nearer
    assert "limbs" not in judge(picture_of(skeleton), skeleton).notes


def test_a_clip_with_nobody_is_bad_and_says_why(frames):
    nobody = np.full((COUNT, 17, 3), np.nan, np.float32)
    nobody[..., 2] = 0
    for skeleton in (nobody, nobody[:0]):
        found = judge(frames[: len(skeleton)], skeleton)
        assert found.value == 0 and found.label is SkeletonClass.BAD
        assert "too little of a person in view" in found.sentence()


def test_several_people_are_said_and_cost_nothing(frames):
    alone, together = (judge(frames, walking_skeleton(COUNT), people=n) for n in (1, 3))
    assert together.value == alone.value
    assert together.notes == (SEVERAL_PEOPLE,) and "several people" in together.sentence()


def test_a_still_picture_says_nothing_of_where_things_move():
    skeleton = np.repeat(walking_skeleton(1), 30, axis=0)
    assert judge(picture_of(skeleton), skeleton).label is SkeletonClass.GOOD


def test_classes_meet_at_their_thresholds():
    assert skeleton_class(1) is skeleton_class(GOOD_FROM) is SkeletonClass.GOOD
    assert skeleton_class(GOOD_FROM - 1e-6) is skeleton_class(BAD_BELOW) is SkeletonClass.DOUBTFUL
    assert skeleton_class(BAD_BELOW - 1e-6) is skeleton_class(0) is SkeletonClass.BAD
    unknown = SkeletonQuality(0.5, ("of-a-later-version",))
    assert "of-a-later-version" in unknown.sentence()
    assert quality.MEASURES["jumps"].loss(float("nan")) == 0


def test_a_prediction_doubts_what_is_not_good():
    assert quality_doubts(0.9, ["jumps"]) == []
    (said,) = quality_doubts(0.2, ["jumps", SEVERAL_PEOPLE])
    assert said == "The skeleton is bad (quality 0.20): the hips jump."
