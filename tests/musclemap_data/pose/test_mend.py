"""Sides are kept through a shot, and a frame that shows too little of a person says so."""

from __future__ import annotations

import numpy as np
import pytest

from musclemap_data.pose.mend import (
    ARMS,
    LEGS,
    changed_sides,
    face_one_way,
    facing,
    keep_sides,
    mend_skeleton,
    too_little_in_view,
)
from musclemap_data.skeleton import MIRRORED
from tests.musclemap_data.pose.walking import walking_skeleton


def exchanged(skeleton: np.ndarray, frames: list[int], joints: tuple[int, ...]) -> np.ndarray:
    changed = skeleton.copy()
    for frame in frames:
        changed[frame, joints] = skeleton[frame, [MIRRORED[joint] for joint in joints]]
    return changed


@pytest.mark.parametrize("joints", [(1, 2, 3, 4, *ARMS), LEGS, tuple(range(17))])
@pytest.mark.parametrize("frames", [[7], list(range(10, 22)), [0, 1, 2], [27, 28, 29]])
def test_sides_that_change_for_less_than_half_of_a_shot_are_set_right(joints, frames):
    skeleton = walking_skeleton(30)
    wrong = exchanged(skeleton, frames, joints)
    assert changed_sides(wrong[:-1], wrong[1:]).any()
    np.testing.assert_array_equal(keep_sides(wrong), skeleton)


@pytest.mark.parametrize("joints", [(1, 2, 3, 4, *ARMS), LEGS])
@pytest.mark.parametrize("frames", [list(range(13)), [3, 20], list(range(17, 30))])
def test_shoulders_and_hips_that_face_opposite_ways_are_set_right(joints, frames):
    skeleton = walking_skeleton(30)
    wrong = exchanged(skeleton, frames, joints)
    assert np.flatnonzero(facing(wrong, 256).prod(axis=1) < 0).tolist() == frames
    np.testing.assert_array_equal(face_one_way(wrong), skeleton)


def test_frames_from_the_side_between_exchanged_ones_are_exchanged_too():
    skeleton = walking_skeleton(60)
    for start in (10, 40):
        skeleton[start : start + 3, 11:13, 0] = 128  # hips as from the side tell nothing
    wrong = exchanged(skeleton, list(range(5, 20)), LEGS)
    np.testing.assert_array_equal(face_one_way(wrong), skeleton)


def test_without_a_frame_that_agrees_nothing_is_exchanged():
    wrong = exchanged(walking_skeleton(20), list(range(20)), LEGS)
    np.testing.assert_array_equal(face_one_way(wrong), wrong)
    nobody = np.full((3, 17, 3), np.nan, np.float32)
    np.testing.assert_array_equal(face_one_way(nobody), nobody)


def test_legs_that_cross_do_not_change_sides():
    skeleton = walking_skeleton(60)
    left, right = skeleton[:, 15, 0], skeleton[:, 16, 0]
    assert (np.diff(np.sign(left - right)) != 0).sum() >= 2  # they do cross
    np.testing.assert_array_equal(keep_sides(skeleton), skeleton)


def test_nothing_is_carried_across_a_cut_or_lost_in_a_gap():
    skeleton = walking_skeleton(40)
    skeleton[20:] = exchanged(skeleton, list(range(20, 40)), tuple(range(17)))[20:]
    skeleton[30:33] = (np.nan, np.nan, 0)
    mended = mend_skeleton(skeleton, [(0, 20), (20, 40)], (256, 256), None)
    np.testing.assert_array_equal(mended, skeleton)


def test_a_frame_with_hardly_a_joint_in_view_has_no_skeleton():
    skeleton = walking_skeleton(10)
    skeleton[3, :, 1] += 300  # below the picture
    skeleton[5, :, 2] = 0.1  # not seen
    skeleton[7, 11:, 2] = 0.1  # legs not seen: arms are enough
    assert np.flatnonzero(too_little_in_view(skeleton, (256, 256))).tolist() == [3, 5]
    mended = mend_skeleton(skeleton, [(0, 10)], (256, 256), None)
    assert np.isnan(mended[[3, 5], :, :2]).all() and (mended[[3, 5], :, 2] == 0).all()
    assert np.isfinite(mended[[0, 1, 2, 4, 6, 7, 8, 9]]).all()
