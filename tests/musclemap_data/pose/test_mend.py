"""Sides are kept through a shot, and a frame that shows too little of a person says so."""

from __future__ import annotations

import numpy as np
import pytest

from musclemap_data.pose.mend import (
    ARMS,
    LEGS,
    Mended,
    changed_sides,
    mend_skeleton,
    too_little_in_view,
)
from musclemap_data.pose.smoothing import SmoothingSettings
from musclemap_data.skeleton import MIRRORED
from tests.musclemap_data.pose.walking import walking_skeleton


def exchanged(skeleton: np.ndarray, frames: list[int], joints: tuple[int, ...]) -> np.ndarray:
    changed = skeleton.copy()
    for frame in frames:
        changed[frame, joints] = skeleton[frame, [MIRRORED[joint] for joint in joints]]
    return changed


SWAPPED = [MIRRORED[joint] for joint in range(5, 17)]
WHOLE, UPPER = tuple(range(17)), (1, 2, 3, 4, *ARMS)


def mend(skeleton: np.ndarray, smoothing: SmoothingSettings | None = None) -> Mended:
    return mend_skeleton(skeleton, [(0, len(skeleton))], (256, 256), smoothing)


@pytest.mark.parametrize("joints", [UPPER, LEGS, WHOLE])
@pytest.mark.parametrize("frames", [[7], list(range(10, 25)), [0, 1, 2], [3, 20, 59]])
def test_sides_that_change_in_few_frames_of_a_shot_are_set_right(joints, frames):
    skeleton = walking_skeleton(60)
    wrong = exchanged(skeleton, frames, joints)
    assert changed_sides(wrong[:-1], wrong[1:]).any()
    mended = mend(wrong)
    np.testing.assert_array_equal(mended.joints, skeleton)
    assert mended.contradicted == len(frames) / 60 / (2 if joints is LEGS else 1)


def test_frames_from_the_side_between_exchanged_ones_are_exchanged_too():
    skeleton = walking_skeleton(60)
    for start in (10, 40):
        skeleton[start : start + 3, 11:13, 0] = 128  # hips as from the side tell nothing
    wrong = exchanged(skeleton, list(range(5, 20)), LEGS)
    np.testing.assert_array_equal(mend(wrong).joints, skeleton)


@pytest.mark.parametrize("turned", [24, 30, 36])
def test_where_the_model_takes_both_sides_by_turns_it_is_left_as_it_was_and_said(turned):
    wrong = exchanged(walking_skeleton(60), list(range(turned)), WHOLE)
    mended = mend(wrong)
    np.testing.assert_array_equal(mended.joints, wrong)
    assert mended.contradicted == min(turned, 60 - turned) / 60
    smooth = mend(wrong, SmoothingSettings()).joints
    changes = np.flatnonzero(changed_sides(smooth[:-1], smooth[1:]).all(axis=1))
    assert changes.tolist() == [turned - 1]  # not smeared over the frames beside it


@pytest.mark.parametrize("turned", [12, 36, 40])
def test_the_same_frames_have_the_same_sides_wherever_a_clip_begins(turned):
    wrong = exchanged(walking_skeleton(90), list(range(30, 30 + turned)), WHOLE)
    whole = mend(wrong).joints
    for start in (0, 7, 15, 23):
        np.testing.assert_array_equal(mend(wrong[start : start + 67]).joints, whole[start:][:67])


def test_a_step_that_does_not_tell_does_not_turn_the_rest_of_the_shot():
    # Legs as from the side, in one line, at the moment in which the model turns the person round.
    skeleton = walking_skeleton(60)
    skeleton[28:31, 5:] = (skeleton[28:31, 5:] + skeleton[28:31][:, SWAPPED]) / 2
    wrong = exchanged(skeleton, list(range(26, 30)), WHOLE)
    np.testing.assert_allclose(mend(wrong).joints[:, 5:], skeleton[:, 5:], atol=1e-4)


def test_nobody_has_no_sides():
    nobody = np.full((3, 17, 3), np.nan, np.float32)
    assert mend(nobody).contradicted == 0 and np.isnan(mend(nobody).joints[..., :2]).all()


def test_legs_that_cross_do_not_change_sides():
    skeleton = walking_skeleton(60)
    left, right = skeleton[:, 15, 0], skeleton[:, 16, 0]
    assert (np.diff(np.sign(left - right)) != 0).sum() >= 2  # they do cross
    mended = mend(skeleton)
    np.testing.assert_array_equal(mended.joints, skeleton)
    assert mended.contradicted == 0


def test_nothing_is_carried_across_a_cut_or_lost_in_a_gap():
    skeleton = walking_skeleton(40)
    skeleton[20:] = exchanged(skeleton, list(range(20, 40)), tuple(range(17)))[20:]
    skeleton[30:33] = (np.nan, np.nan, 0)
    mended = mend_skeleton(skeleton, [(0, 20), (20, 40)], (256, 256), None).joints
    np.testing.assert_array_equal(mended, skeleton)


def test_a_frame_with_hardly_a_joint_in_view_has_no_skeleton():
    skeleton = walking_skeleton(10)
    skeleton[3, :, 1] += 300  # below the picture
    skeleton[5, :, 2] = 0.1  # not seen
    skeleton[7, 11:, 2] = 0.1  # legs not seen: arms are enough
    assert np.flatnonzero(too_little_in_view(skeleton, (256, 256))).tolist() == [3, 5]
    mended = mend(skeleton).joints
    assert np.isnan(mended[[3, 5], :, :2]).all() and (mended[[3, 5], :, 2] == 0).all()
    assert np.isfinite(mended[[0, 1, 2, 4, 6, 7, 8, 9]]).all()
