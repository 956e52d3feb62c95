"""Features that a frozen encoder made of every clip, read back: what ``--model probe`` learns on.

:mod:`benchmark.encode` writes them. A row of the Parquet file is one view of one clip; its features
are what the encoder's own head gets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from benchmark.clips import Clip, MissingModality
from benchmark.settings import Settings
from musclemap_data.errors import UserError

FEATURES = "features"
"""The key of a batch, and the column of the file; no modality of a shard."""


@cache
def read_features(path: Path) -> Mapping[str, npt.NDArray[np.float32]]:
    """Clip id -> the features of its views, ``float32 [views, width]``, as many for every clip.

    Raises:
        UserError: the file cannot be read as features.
    """
    try:
        table = pq.read_table(path)
        values = table[FEATURES].combine_chunks()
        width = values.type.list_size
        features = values.flatten().to_numpy().reshape(-1, width)
        ids = table["clip_id"].to_pylist()
    except (OSError, pa.ArrowException, KeyError, AttributeError) as error:
        raise UserError(
            f"{path} cannot be read as features: {error}. Make them with `musclemap features`"
        ) from error
    found: dict[str, list[npt.NDArray[np.float32]]] = {}
    for name, row in zip(ids, features, strict=True):
        found.setdefault(name, []).append(row)
    views = max(map(len, found.values()))
    # A short clip has fewer views: they are repeated, so that clips fit into one batch.
    return {
        name: np.stack([rows[view % len(rows)] for view in range(views)])
        for name, rows in found.items()
    }


def features_of(clips: Sequence[Clip], settings: Settings) -> Mapping[str, npt.NDArray[np.float32]]:
    """:func:`read_features` of the setting ``features``: clip id -> [features].

    It has to have all of these clips.

    Raises:
        MissingModality: no features are set, or a clip has none.
    """
    if settings.features is None:
        raise MissingModality(
            "there are no features: make them with `musclemap features --encoder MODEL`, then give "
            "--set features=PATH"
        )
    found = read_features(Path(settings.features))
    missing = [clip.clip_id for clip in clips if clip.clip_id not in found]
    if missing:
        raise MissingModality(
            f"{len(missing)} of {len(clips)} clips have no features in {settings.features}, the "
            f"first is {missing[0]}: make them again with `musclemap features`"
        )
    return found


def feature_width(settings: Settings) -> int:
    """The width of the features that are set; 1 where none are."""
    if settings.features is None:
        return 1
    return int(next(iter(read_features(Path(settings.features)).values())).shape[1])
