"""Skeletons over a picture."""

import re
from pathlib import Path

import numpy as np
import pytest

from musclemap_data import browse
from musclemap_data.draw.skeleton import (
    LEFT_COLOUR,
    MIDDLE_COLOUR,
    RIGHT_COLOUR,
    draw_skeleton,
)


def test_bones_join_seen_joints_only():
    joints = np.zeros((1, 17, 3), np.float32)
    joints[0, 5], joints[0, 7], joints[0, 9] = (10, 10, 0.9), (10, 40, 0.9), (40, 40, 0.1)
    drawn = draw_skeleton(np.zeros((64, 64, 3), np.uint8), joints)
    assert drawn[25, 10].any()  # shoulder to elbow
    assert not drawn[40, 25].any()  # the wrist was not seen
    assert not drawn[0, 0].any()


def test_drawing_leaves_the_frame_alone_and_skips_what_is_unsure():
    frame = np.zeros((120, 120, 3), np.uint8)
    joints = np.full((1, 17, 3), [60, 60, 0.1], np.float32)
    assert not draw_skeleton(frame, joints).any()
    joints[0, 7], joints[0, 9] = [20, 20, 0.9], [20, 100, 0.9]
    joints[0, 5] = [np.nan, np.nan, 0.9]
    picture = draw_skeleton(frame, joints)
    assert not frame.any()
    red, green, blue = picture[60, 20].astype(int)
    assert red > 2 * green > 0 and red > 2 * blue > 0
    assert not picture[60, 60].any()
    with pytest.raises(ValueError, match="17"):
        draw_skeleton(frame, joints[0])


def test_left_and_right_have_the_same_colours_in_the_browse_page():
    style = (Path(browse.__file__).parent / "static" / "style.css").read_text()
    for name, colour in (("left", LEFT_COLOUR), ("right", RIGHT_COLOUR), ("middle", MIDDLE_COLOUR)):
        numbers = re.findall(rf"--{name}: rgb\((\d+) (\d+) (\d+)\)", style)
        assert [tuple(map(int, each)) for each in numbers] == [colour]
