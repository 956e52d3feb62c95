"""The skeleton's maker: its columns, and the clips that it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from musclemap_data.errors import FailureClass, StageError, UserError
from musclemap_data.modalities import MODALITIES
from musclemap_data.modalities.settings import ExtractionSettings
from musclemap_data.pose import backends
from musclemap_data.pose.estimator import Estimate
from tests.musclemap_data.pose.walking import picture_of, walking_skeleton

SKELETON = MODALITIES["skeleton"]


@pytest.fixture
def sees(monkeypatch):
    """As if the pose model saw a skeleton that is given."""

    def see(skeleton: np.ndarray, people: int = 1) -> None:
        def estimate(frames, backend, **_):
            return Estimate(skeleton[:, None], people)

        monkeypatch.setattr(backends, "estimate_skeleton", estimate)

    return see


def made(frames: np.ndarray, **settings):
    maker = SKELETON.maker(ExtractionSettings(**settings))
    maker.add(frames)
    return maker.finish()


def test_a_row_has_the_quality_and_what_makes_it_less(sees):
    skeleton = walking_skeleton(40)
    frames = picture_of(skeleton)
    sees(skeleton)
    good = made(frames)
    assert set(good) == {column.name for column in SKELETON.columns}
    assert good["skeleton_quality"] > 0.9 and good["skeleton_notes"] == []
    sees(skeleton * np.float32([1, 1, 0.45]), people=2)
    unsure = made(frames)
    assert unsure["skeleton_quality"] < good["skeleton_quality"]
    assert unsure["skeleton_notes"] == ["unsure", "several-people"]


def test_a_clip_below_the_least_quality_fails_and_says_why(sees):
    skeleton = walking_skeleton(40)
    frames = picture_of(skeleton)
    sees(skeleton)
    assert made(frames, min_skeleton_quality=0.7)["skeleton_quality"] >= 0.7
    sees(skeleton * np.float32([1, 1, 0.4]))
    with pytest.raises(StageError) as caught:
        made(frames, min_skeleton_quality=0.7)
    failure = caught.value.failure
    assert failure.failure_class is FailureClass.BAD_SKELETON
    assert "must be 0.7" in failure.reason and "unsure where the joints are" in failure.reason
    for wrong in (-0.1, 1.5):
        with pytest.raises(UserError, match="--min-skeleton-quality"):
            ExtractionSettings(min_skeleton_quality=wrong)
