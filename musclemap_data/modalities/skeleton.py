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
from musclemap_data.skeleton import JOINT_COUNT, person_share


class _Maker:
    """The person is followed anew in each window: a pose backend takes a window as one clip."""

    def __init__(self, settings: ExtractionSettings) -> None:
        self._settings = settings
        self._parts: list[npt.NDArray[np.float32]] = []

    def add(self, frames: Frames) -> tuple[()]:
        from musclemap_data.pose.backends import compute_skeleton

        settings = self._settings
        self._parts.append(compute_skeleton(frames, settings.pose, **settings.pose_options))
        return ()

    def finish(self) -> Mapping[str, object]:
        skeleton = np.concatenate(self._parts)
        share, wanted = person_share(skeleton), self._settings.require_person
        if wanted is not None and share < wanted:
            reason = f"{share:.0%} of its frames show a person, {wanted:.0%} must"
            raise StageError("extract", FailureClass.NO_PERSON, reason)
        return {"skeleton": skeleton.ravel(), "skeleton_people": skeleton.shape[1]}


def _describe(settings: ExtractionSettings) -> Mapping[str, object]:
    from musclemap_data.pose.backends import estimator

    made = estimator(settings.pose, **settings.pose_options).provenance()
    # Through JSON, as it will come back from a shard.
    described: Mapping[str, object] = json.loads(json.dumps(made))
    return described


def _shape(row: Row) -> tuple[int, ...]:
    return row["frames"], row["skeleton_people"] or 0, JOINT_COUNT, 3


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
    ),
    content=Numbers(_shape),
    maker=_Maker,
    describe=_describe,
)
