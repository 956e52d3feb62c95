"""Pictures and skeletons of single clips, straight from the rows of the shards."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from musclemap_data.browse.clip_index import ListedClip
from musclemap_data.errors import UserError
from musclemap_data.modalities import MODALITIES
from musclemap_data.shards import Shard

COLUMNS_KEPT = 9
"""Picture columns in memory: three clips, as the one before and after are often wanted again."""
THUMBNAIL_WIDTH_PX = 320


class MovedRow(Exception):
    """The row no longer holds this clip: the shard was rebuilt after the index was read."""


class PictureCache:
    """The JPEGs of a clip, read from its row once and kept for a while. Safe between threads."""

    def __init__(self) -> None:
        self._columns: OrderedDict[tuple[Any, ...], pa.Array | None] = OrderedDict()
        self._lock = threading.Lock()

    def pictures(self, clip: ListedClip, column: str) -> pa.Array | None:
        """The JPEGs of one modality, an Arrow array [T] of bytes; None where it was not extracted.

        Raises:
            MovedRow: the shard holds another clip at this place now.
            UserError: the row is damaged.
        """
        key = (clip.shard, clip.row, clip.version, column)
        with self._lock:  # held while reading: requests for one clip come many at a time
            if key not in self._columns:
                self._columns[key] = _row(clip, [column])[column][0].values
                while len(self._columns) > COLUMNS_KEPT:
                    self._columns.popitem(last=False)
            self._columns.move_to_end(key)
            return self._columns[key]


def facts(clip: ListedClip) -> dict[str, object]:
    """The light columns of a row that the index does not have, the provenance parsed.

    Raises:
        MovedRow, UserError: as ``PictureCache.pictures``.
    """
    of_modalities = [column.name for each in MODALITIES.values() for column in each.columns[1:]]
    row = _row(clip, [*of_modalities, "source_sha256", "provenance"]).to_pylist()[0]
    return {**row, "provenance": json.loads(row["provenance"])}


def skeleton_bytes(clip: ListedClip) -> bytes:
    """The skeleton as little-endian float32 ``[T, M, 17, 3]``; empty where there is none.

    Raises:
        MovedRow, UserError: as ``PictureCache.pictures``.
    """
    values = _row(clip, ["skeleton"])["skeleton"][0].values
    if values is None:
        return b""
    return np.asarray(values.to_numpy(zero_copy_only=False), "<f4").tobytes()


def thumbnail(clip: ListedClip) -> bytes | None:
    """The middle RGB frame as a small JPEG; None where there is no picture, or a damaged one."""
    if clip.shard is None or clip.row is None:
        return None
    return _thumbnail(clip.shard, clip.row, clip.version, clip.clip_id)


@lru_cache(maxsize=4096)  # about 12 KB each
def _thumbnail(shard_path: Path, row: int, version: str, clip_id: str) -> bytes | None:
    import cv2
    import simplejpeg

    try:
        with Shard(shard_path) as shard:
            if shard.row(row, ["clip_id"])["clip_id"] != clip_id:
                return None
            still = shard.still(row)
        if still is None:
            return None
        frame = simplejpeg.decode_jpeg(still)
    except (UserError, ValueError, IndexError):
        return None
    height = max(1, round(frame.shape[0] * THUMBNAIL_WIDTH_PX / frame.shape[1]))
    size = (THUMBNAIL_WIDTH_PX, height)
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(small), quality=82))


def _row(clip: ListedClip, columns: Any) -> pa.Table:
    if clip.shard is None or clip.row is None:
        raise MovedRow(clip.clip_id)
    with Shard(clip.shard) as shard:
        if clip.row >= len(shard):
            raise MovedRow(clip.clip_id)
        table = shard.row_table(clip.row, list(dict.fromkeys(("clip_id", *columns))))
    if table["clip_id"][0].as_py() != clip.clip_id:
        raise MovedRow(clip.clip_id)
    return table
