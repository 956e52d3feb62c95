"""Predictions of every clip: kept as a file, read again, compared with those of another run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from benchmark import metrics
from benchmark.clips import Clip
from benchmark.record import Difference
from musclemap_data.catalog import load_muscles
from musclemap_data.errors import UserError
from musclemap_data.files import replacing

EVALUATION_SPLITS = ("val_known", "val_new", "test_known", "test_new")
REGIONS = 20


@dataclass(frozen=True)
class Predictions:
    """A model's scores: ``scores`` ``float32 [N, 20]``, probabilities, one row a clip.

    Attributes:
        views: ``int [N]``, how many views were averaged.
        skeletons: ``bool [N]``, whether any view of the clip had a skeleton; None where the model
            reads none.
    """

    clips: Sequence[Clip]
    scores: npt.NDArray[np.float32]
    views: npt.NDArray[np.int64]
    skeletons: npt.NDArray[np.bool_] | None = None

    def of_split(self, split: str) -> Predictions:
        """The rows of one split."""
        rows = [index for index, clip in enumerate(self.clips) if clip.split == split]
        skeletons = None if self.skeletons is None else self.skeletons[rows]
        clips = [self.clips[row] for row in rows]
        return Predictions(clips, self.scores[rows], self.views[rows], skeletons)

    @property
    def labels(self) -> npt.NDArray[np.bool_]:
        """``bool [N, 20]``."""
        return np.array([clip.muscles for clip in self.clips], dtype=bool).reshape(-1, REGIONS)


def write_predictions(path: Path, predictions: Predictions) -> None:
    """One row a clip: identity, views averaged, whether with a skeleton, 20 labels, 20 scores."""
    regions = [muscle.slug for muscle in load_muscles()]
    clips = predictions.clips
    columns: dict[str, pa.Array] = {
        name: pa.array([getattr(clip, name) for clip in clips], pa.string())
        for name in ("clip_id", "video_id", "activity", "split")
    }
    columns["views"] = pa.array(predictions.views, pa.int32())
    if predictions.skeletons is not None:
        columns["skeleton"] = pa.array(predictions.skeletons, pa.bool_())
    columns["muscles"] = pa.FixedSizeListArray.from_arrays(
        pa.array(predictions.labels.ravel(), pa.bool_()), REGIONS
    )
    columns["scores"] = pa.FixedSizeListArray.from_arrays(
        pa.array(predictions.scores.ravel(), pa.float32()), REGIONS
    )
    table = pa.table(columns).replace_schema_metadata({"musclemap.muscles": " ".join(regions)})
    with replacing(path) as temporary:
        pq.write_table(table, temporary)


def read_predictions(path: Path) -> Predictions:
    """What :func:`write_predictions` wrote. The clips know where they were scored, no more.

    Raises:
        UserError: the file cannot be read or has other columns.
    """
    names = ("clip_id", "video_id", "activity", "split", "muscles")
    try:
        table = pq.read_table(path)
        rows = table.select(names).to_pylist()
        clips = [
            Clip(
                **{**row, "muscles": tuple(row["muscles"])},
                frames=0, height=0, width=0, shard=path, row=number,
            )
            for number, row in enumerate(rows)
        ]  # fmt: skip
        scores = np.array(table["scores"].to_pylist(), dtype=np.float32).reshape(-1, REGIONS)
        skeletons = table["skeleton"].to_numpy() if "skeleton" in table.column_names else None
        return Predictions(clips, scores, table["views"].to_numpy(), skeletons)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise UserError(f"{path} cannot be read as predictions: {error}") from error


def compare_predictions(first: Predictions, second: Predictions) -> dict[str, Difference]:
    """Is the first better? Differences of mAP on the same clips, the same groups left out.

    Returns:
        The difference of each split that both scored, and of ``val`` and ``test`` (the mean of
        known and new).

    Raises:
        UserError: the two were scored on different clips or labels.
    """
    rows = [
        {clip.clip_id: (number, clip.split, clip.muscles) for number, clip in enumerate(each.clips)}
        for each in (first, second)
    ]
    if {key: value[1:] for key, value in rows[0].items()} != {
        key: value[1:] for key, value in rows[1].items()
    }:
        raise UserError(
            "the two runs were scored on different clips or labels; score both on the same data, "
            "or on one --subset"
        )
    order = [rows[1][clip.clip_id][0] for clip in first.clips]
    aligned = Predictions(first.clips, second.scores[order], second.views[order])
    spreads: dict[str, metrics.Spread] = {}
    for split in EVALUATION_SPLITS:
        both = [each.of_split(split) for each in (first, aligned)]
        if both[0].clips:
            (one, one_left), (two, two_left) = (map_and_left_out(each, split) for each in both)
            spreads[split] = metrics.spread(one - two, one_left - two_left)
    for half in ("val", "test"):
        if f"{half}_known" in spreads and f"{half}_new" in spreads:
            spreads[half] = metrics.mean_spread(spreads[f"{half}_known"], spreads[f"{half}_new"])
    return {
        name: Difference(metrics.none_if_nan(each.value), each.interval(), each.p_above(0.0))
        for name, each in spreads.items()
    }


def map_and_left_out(predictions: Predictions, split: str) -> tuple[float, npt.NDArray[np.float64]]:
    """The mAP of a split from 0 to 1, and without each of its groups in turn, [groups]."""
    scores, labels = predictions.scores, predictions.labels
    value = metrics.mean_over_regions(metrics.average_precision(scores, labels))
    groups = interval_groups(split, predictions.clips)
    return float(value), metrics.leave_groups_out(scores, labels, groups)


def mean_average_precision(predictions: Predictions) -> float | None:
    """The mAP of some clips; None where no region has a positive."""
    values = metrics.average_precision(predictions.scores, predictions.labels)
    return metrics.none_if_nan(float(metrics.mean_over_regions(values)))


def interval_groups(split: str, clips: Sequence[Clip]) -> npt.NDArray[np.object_]:
    """What the intervals of a split leave out, [clips]: activities where new, else videos."""
    new = split.endswith("_new")
    return np.array([clip.activity if new else clip.video_id for clip in clips], dtype=object)
