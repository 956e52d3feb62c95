"""The skeleton of the exercising person: 17 joints in every frame, by a pose model."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from musclemap_data.errors import FailureClass, StageError
from musclemap_data.modalities.modality import Column, Frames, Modality, Numbers, Row
from musclemap_data.modalities.settings import ExtractionSettings
from musclemap_data.pose.quality import QualityMeter
from musclemap_data.skeleton import JOINT_COUNT, person_share


class SkeletonMaker:
    """The person is followed anew in each window: a pose backend takes a window as one clip.

    Attributes:
        latest: of the last window, ``float32 [T, M, 17, 3]``.
    """

    def __init__(self, settings: ExtractionSettings) -> None:
        self._settings = settings
        self._parts: list[npt.NDArray[np.float32]] = []
        self._meter = QualityMeter()
        self.latest = np.empty((0, 0, JOINT_COUNT, 3), np.float32)

    def add(self, frames: Frames) -> tuple[()]:
        """Find the skeletons of the next window, ``uint8 [t, H, W, 3]`` RGB."""
        from musclemap_data.pose.backends import estimate_skeleton

        settings = self._settings
        found = estimate_skeleton(frames, settings.pose, **settings.pose_options)
        self.latest = found.skeleton
        self._parts.append(found.skeleton)
        self._meter.add(frames, found.skeleton, found.people, found.contradicted)
        return ()

    def finish(self) -> Mapping[str, object]:
        """The skeletons of all windows and their quality.

        Raises:
            StageError: too few frames show a person, or the skeletons are too bad.
        """
        skeleton = np.concatenate(self._parts)
        share, wanted = person_share(skeleton), self._settings.require_person
        if wanted is not None and share < wanted:
            reason = f"{share:.0%} of its frames show a person, {wanted:.0%} must"
            raise StageError("extract", FailureClass.NO_PERSON, reason)
        quality, least = self._meter.finish(), self._settings.min_skeleton_quality
        if least is not None and quality.value < least:
            reason = f"its quality must be {least:g}. {quality.sentence()}"
            raise StageError("extract", FailureClass.BAD_SKELETON, reason)
        return {
            "skeleton": skeleton.ravel(),
            "skeleton_people": skeleton.shape[1],
            "skeleton_quality": quality.value,
            "skeleton_notes": list(quality.notes),
        }


def _describe(settings: ExtractionSettings) -> Mapping[str, object]:
    from musclemap_data.pose.backends import estimator

    made = estimator(settings.pose, **settings.pose_options).provenance()
    # Through JSON, as it will come back from a shard.
    described: Mapping[str, object] = json.loads(json.dumps(made))
    return described


def _shape(row: Row) -> tuple[int, ...]:
    return row["frames"], row["skeleton_people"] or 0, JOINT_COUNT, 3


_CONTENT = Numbers(_shape)


def stored_skeleton(row: Row) -> npt.NDArray[np.float32]:
    """The skeleton of a row that has one, ``float32 [T, M, 17, 3]``: x, y in pixels, score.

    Args:
        row: with the columns ``frames``, ``skeleton`` and ``skeleton_people``.

    Raises:
        ValueError: it has more or fewer values than the row says.
    """
    return _CONTENT.decode("skeleton", row)


SKELETON = Modality(
    name="skeleton",
    title="Skeleton",
    legend="left red, right blue",
    columns=(
        Column(
            "skeleton",
            pa.list_(pa.float32()),
            "float32 [T, M, 17, 3], flattened: x, y in pixels, score; COCO-17",
        ),
        Column("skeleton_people", pa.int32(), "M"),
        Column(
            "skeleton_quality",
            pa.float32(),
            "how far the skeleton can be trusted, 0 to 1; null where it was not judged",
        ),
        Column(
            "skeleton_notes",
            pa.list_(pa.string()),
            "what makes it less: names of musclemap_data.pose.quality.MEASURES",
        ),
    ),
    content=_CONTENT,
    maker=SkeletonMaker,
    describe=_describe,
)
