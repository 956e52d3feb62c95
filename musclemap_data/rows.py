"""The rows of a shard: their columns, and how a long clip is divided into rows and made one again.

A row holds at most ``FRAMES_PER_ROW`` frames. So a tool that takes rows one by one, or a hundred at
once, needs the same memory however long a clip is, and so does pyarrow: since version 23 it keeps a
whole row of a column in memory, twice, while it writes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from musclemap_data.modalities import MODALITIES
from musclemap_data.modalities.modality import Column, Numbers

REGION_COUNT = 20
FRAMES_PER_ROW = 320
"""Ten seconds and a little: nearly every clip is one row."""

PART = Column("part", pa.int32(), "0; where a clip goes on in further rows, 1, 2, ...")
STILL = Column("still", pa.binary(), "the JPEG in the middle of rgb, for a preview")
"""``binary`` also tells ``datasets`` that rows are large: it collects 100 of them, not 1,000."""

_BEFORE = (
    Column("clip_id", pa.string(), "identity of the clip"),
    Column("video_id", pa.string(), "identity of its source video"),
    Column("url", pa.string(), "where the video came from"),
    Column("activity", pa.string(), "slug in the activity table"),
    Column("split", pa.string(), "train, val_known, val_new, test_known or test_new"),
    Column("start_s", pa.float64(), "where the row begins in the video, seconds"),
    Column("end_s", pa.float64(), "where it ends, seconds"),
    Column("frames", pa.int32(), "number of frames in the row, T"),
    Column("height", pa.int32(), "pixels"),
    Column("width", pa.int32(), "pixels"),
    Column("fps", pa.float64(), "frames a second"),
    Column(
        "muscles",
        pa.list_(pa.bool_(), REGION_COUNT),
        "20 booleans, in the order of the muscle regions below",
    ),
)
_AFTER = (
    Column("source_sha256", pa.string(), "SHA-256 of the source file"),
    Column("provenance", pa.string(), "JSON: modality -> extractor, version, settings"),
)


def columns() -> tuple[Column, ...]:
    """The columns of the file, in order: those of every clip around those of ``MODALITIES``."""
    of_modalities = [column for each in MODALITIES.values() for column in each.columns]
    return (_BEFORE[0], PART, *_BEFORE[1:], *of_modalities, *_AFTER, STILL)


def file_schema() -> pa.Schema:
    """One row of the file. A modality's columns are null where it was not extracted."""
    always = {column.name for column in (*_BEFORE, *_AFTER, PART)}
    return pa.schema(
        [
            pa.field(column.name, column.type, nullable=column.name not in always)
            for column in columns()
        ]
    )


def schema() -> pa.Schema:
    """One clip: what ``Shard.row_table`` gives and ``write_shard`` takes."""
    return pa.schema(
        [field for field in file_schema() if field.name not in (PART.name, STILL.name)]
    )


def divide(clip: pa.Table) -> Iterator[pa.Table]:
    """The rows of a clip.

    Args:
        clip: one row with the columns of ``schema()``.

    Yields:
        Tables of one row that also have ``PART`` and ``STILL``. Nothing is copied: they look into
        the memory of ``clip``. ``frames``, ``start_s`` and ``end_s`` are those of the row.

    Raises:
        ValueError: the numbers of a modality are not so many a frame.
    """
    frames, start_s, end_s, fps = (
        clip[name][0].as_py() for name in ("frames", "start_s", "end_s", "fps")
    )
    starts = range(0, max(1, frames), FRAMES_PER_ROW)
    whole = {each.key: clip[each.key][0].values for each in MODALITIES.values()}
    for part, first in enumerate(starts):
        is_last = part == len(starts) - 1
        after = first + FRAMES_PER_ROW
        columns: dict[str, Any] = {
            "frames": frames - first if is_last else FRAMES_PER_ROW,
            "start_s": round(start_s + first / fps, 6) if part else start_s,
            "end_s": end_s if is_last else round(start_s + after / fps, 6),
        }
        row = clip
        for key, values in whole.items():
            if values is not None and len(starts) > 1:
                each = _values_a_frame(key, len(values), frames)
                # A last row takes all that is left: too many is for `validate` to say.
                values = values[first * each : None if is_last else after * each]
                columns[key] = _one_list(values)
        for name, value in columns.items():
            place = clip.schema.get_field_index(name)
            field = clip.schema.field(place)
            if not isinstance(value, pa.Array):
                value = pa.array([value], field.type)
            row = row.set_column(place, field, value)
        still = _middle(row["rgb"][0].values)
        row = row.append_column(PART.name, pa.array([part], PART.type))
        yield row.append_column(STILL.name, pa.array([still], STILL.type))


def join(rows: pa.Table) -> pa.Table:
    """The rows of one clip as one row, without ``PART`` and ``STILL``.

    Args:
        rows: all rows of the clip, in order; any of the columns.
    """
    kept = [name for name in rows.column_names if name not in (PART.name, STILL.name)]
    rows = rows.select(kept)
    if len(rows) == 1:
        return rows
    clip = rows.slice(0, 1)
    for each in MODALITIES.values():
        if each.key in kept and rows[each.key].null_count == 0:
            values = pa.concat_arrays([row.values for row in rows[each.key]])
            clip = _replaced(clip, each.key, _one_list(values))
    if "frames" in kept:
        frames = pa.array([sum(rows["frames"].to_pylist())], pa.int32())
        clip = _replaced(clip, "frames", frames)
    if "end_s" in kept:
        clip = _replaced(clip, "end_s", rows["end_s"].slice(len(rows) - 1))
    return clip


def _replaced(table: pa.Table, name: str, value: Any) -> pa.Table:
    place = table.schema.get_field_index(name)
    return table.set_column(place, table.schema.field(place), value)


def _one_list(values: pa.Array) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)


def _values_a_frame(key: str, count: int, frames: int) -> int:
    content = next(each.content for each in MODALITIES.values() if each.key == key)
    if not isinstance(content, Numbers):
        return 1
    if count % frames:
        raise ValueError(f"{key} has {count} values, which are not so many for each of {frames}")
    return count // frames


def _middle(pictures: pa.Array | None) -> bytes | None:
    return pictures[len(pictures) // 2].as_py() if pictures else None
