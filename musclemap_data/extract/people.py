"""How many people a video shows: the pose model follows one, and whoever filmed two should know."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from musclemap_data.errors import StageError
from musclemap_data.extract.decode import iterate_frames
from musclemap_data.pose.backends import estimator
from musclemap_data.pose.blazepose import BlazePose
from musclemap_data.pose.follow import OTHER_PERSON, Detection, separation

EVERY = 75
"""Frames from one look to the next."""
SURE = 0.7
"""Detections of a lower score are not counted: clothes on a chair, a poster."""


def count_people(cut: Path) -> list[int]:
    """People in a frame every two to three seconds of a short video, upright ones only.

    Args:
        cut: a cut of at most 30 frames/s.

    Returns:
        A count a look; nothing where the default pose model cannot count or the cut be read.
    """
    model = estimator()
    if not isinstance(model, BlazePose):
        return []
    try:
        frames = islice(iterate_frames(cut), EVERY // 3, None, EVERY)
        return [len(_apart(model.detect(frame, 0))) for frame in frames]
    except StageError:
        return []  # the window has failed too, and says so


def _apart(found: list[Detection]) -> list[Detection]:
    people: list[Detection] = []
    for each in found:
        if each.score >= SURE and all(
            separation(each.roi, other.roi) >= OTHER_PERSON for other in people
        ):
            people.append(each)
    return people
