"""The data set on disk: Parquet shards of one clip a row, and ``dataset.json`` beside them.

A shard is uncompressed Parquet with one clip a row group, so that a reader maps the file and
decodes only the frames it samples. Any Parquet tool can read it. Pages carry checksums: a flipped
byte is an error that names the shard and the row, never a wrong frame.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from musclemap_data.catalog import SPLITS, load_muscles
from musclemap_data.errors import UserError
from musclemap_data.files import file_sha256, replacing, write_text
from musclemap_data.modalities import MODALITIES
from musclemap_data.modalities.modality import Column

FORMAT_VERSION = 2
"""Of what is written."""
READABLE_VERSIONS = (1, 2)
"""A column that a version does not have is null."""
REGION_COUNT = 20
LARGEST_COLUMN_PARSED = 64 * 2**20
"""Bytes of one column of one row; of larger ones the read-back compares the file's hash alone."""
PICTURES_PER_PAGE = 64
"""About a megabyte: what the writer holds in memory, however long the clip."""

_BEFORE = (
    Column("clip_id", pa.string(), "identity of the clip"),
    Column("video_id", pa.string(), "identity of its source video"),
    Column("url", pa.string(), "where the video came from"),
    Column("activity", pa.string(), "slug in the activity table"),
    Column("split", pa.string(), "train, val_known, val_new, test_known or test_new"),
    Column("start_s", pa.float64(), "where the clip begins in the video, seconds"),
    Column("end_s", pa.float64(), "where it ends, seconds"),
    Column("frames", pa.int32(), "number of frames T"),
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
    """The columns of a row, in order: those of every clip around those of ``MODALITIES``."""
    of_modalities = [column for each in MODALITIES.values() for column in each.columns]
    return (*_BEFORE, *of_modalities, *_AFTER)


def schema() -> pa.Schema:
    """One row of a shard. A modality's columns are null where it was not extracted."""
    always = {column.name for column in _BEFORE + _AFTER}
    return pa.schema(
        [
            pa.field(column.name, column.type, nullable=column.name not in always)
            for column in columns()
        ]
    )


def _file_metadata() -> dict[str, str]:
    return {
        "musclemap.format_version": str(FORMAT_VERSION),
        "musclemap.muscles": json.dumps([muscle.slug for muscle in load_muscles()]),
    }


class _HashedFile(io.BufferedWriter):
    """A file that knows the SHA-256 of what it was given."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path, "wb"))
        self.sha256 = hashlib.sha256()

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        return super().write(data)


def write_shard(path: Path, rows: Iterable[Mapping[str, Any] | pa.Table]) -> str:
    """Write rows as one shard: under a temporary name, read back, flushed, then renamed.

    Args:
        path: where the shard will be; its directory must exist.
        rows: mappings with the columns of ``schema()``, where a missing nullable column becomes
            null; or tables of one row, as ``Shard.row_table`` gives them.

    Returns:
        The SHA-256 of the file, in hexadecimal.

    Raises:
        ValueError: a row lacks a required column, or the file did not read back as written.
    """
    written_schema = schema().with_metadata(_file_metadata())
    count = 0
    with replacing(path, flush=True) as temporary:
        with _HashedFile(temporary) as file:
            with pq.ParquetWriter(
                file,
                written_schema,
                compression="none",
                use_dictionary=False,
                write_page_checksum=True,
                write_statistics=False,
                write_batch_size=PICTURES_PER_PAGE,
            ) as writer:
                for row in rows:
                    writer.write_table(_row_table(row, written_schema), row_group_size=1)
                    count += 1
            file.flush()
            sha256 = file.sha256.hexdigest()
        if file_sha256(temporary) != sha256:
            raise ValueError(f"{path}: the file did not read back as it was written")
        with Shard(temporary, verify=True) as written:
            if len(written) != count:
                raise ValueError(f"{path}: wrote {count} rows but read back {len(written)}")
            written.parse(LARGEST_COLUMN_PARSED)
    return sha256


def _row_table(row: Mapping[str, Any] | pa.Table, wanted: pa.Schema) -> pa.Table:
    if isinstance(row, pa.Table):
        return row.select(wanted.names).replace_schema_metadata(wanted.metadata)
    arrays = []
    for field in wanted:
        value = row.get(field.name)
        if value is None and not field.nullable:
            raise ValueError(f"row {row.get('clip_id')!r} lacks the column {field.name!r}")
        arrays.append(pa.array([value], type=field.type))
    return pa.Table.from_arrays(arrays, schema=wanted)


def replace_columns(table: pa.Table, values: Mapping[str, Any]) -> pa.Table:
    """A table of one row with other values in some columns: plain ones, or Arrow arrays."""
    fields = schema()
    for name, value in values.items():
        field = fields.field(name)
        if not isinstance(value, pa.ChunkedArray):
            value = pa.array([value], type=field.type)
        table = table.set_column(table.schema.get_field_index(name), field, value)
    return table


def check_version(path: Path, version: object) -> int:
    """The format version that a file says it has.

    Raises:
        UserError: none, or one that this MuscleMap cannot read.
    """
    number = version if isinstance(version, int) and version is not True else 0
    if number in READABLE_VERSIONS:
        return number
    if number > FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {version}; this MuscleMap reads versions up to "
            f"{FORMAT_VERSION}. Install a newer MuscleMap: `pip install --upgrade musclemap`."
        )
    raise UserError(
        f"{path} has format version {'none' if version is None else version}: MuscleMap did not "
        "write it. Delete it and run `musclemap extract-modalities` to build it again."
    )


class Shard:
    """A shard, memory-mapped: ``len(shard)``, ``shard.row(3, columns=["rgb"])``.

    Args:
        path: the Parquet file.
        verify: check the page checksums of whatever is read (costs about 1 ms a megabyte).

    Attributes:
        version: of the format that it is written in.

    Raises:
        UserError: not a shard of a version that can be read, or not Parquet at all.
    """

    def __init__(self, path: Path, *, verify: bool = False) -> None:
        self.path = Path(path)
        try:
            self._file = pq.ParquetFile(
                self.path, memory_map=True, page_checksum_verification=verify
            )
        except (pa.ArrowException, OSError) as error:
            raise UserError(
                f"{self.path} cannot be read as a shard: {error}. Delete it and run "
                "`musclemap extract-modalities` to rebuild it."
            ) from error
        metadata = self._file.metadata.metadata or {}
        version = metadata.get(b"musclemap.format_version", b"none").decode()
        try:
            self.version = check_version(self.path, int(version) if version.isdigit() else None)
        except UserError:
            self._file.close()
            raise
        there = self._file.schema_arrow.names
        self._later = [f for f in schema() if f.nullable and f.name not in there]

    def __enter__(self) -> Shard:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return int(self._file.metadata.num_row_groups)

    def close(self) -> None:
        self._file.close()

    def row(self, index: int, columns: Sequence[str] | None = None) -> dict[str, Any]:
        """One clip as plain Python values (JPEGs as ``bytes``).

        Raises:
            UserError: the row cannot be read; the message holds its address.
        """
        return dict(self.row_table(index, columns).to_pylist()[0])

    def row_table(self, index: int, columns: Sequence[str] | None = None) -> pa.Table:
        """One clip as an Arrow table of one row, its bytes still in the memory map.

        Columns of a modality that the shard is older than are null.
        """
        try:
            table = self._file.read_row_group(index, columns=list(columns) if columns else None)
        except (pa.ArrowException, OSError) as error:
            raise UserError(
                f"{self.path} row {index} cannot be read: {error}. The shard is damaged: delete "
                "this file and run `musclemap extract-modalities` to rebuild it."
            ) from error
        return self._with_later(table, columns)

    def parse(self, largest_bytes: int) -> None:
        """Read every column of every row, one at a time, but for those larger than that.

        Raises:
            UserError: one cannot be read; the message holds its address.
        """
        for index in range(len(self)):
            group = self._file.metadata.row_group(index)
            for number in range(group.num_columns):
                column = group.column(number)
                if column.total_uncompressed_size <= largest_bytes:
                    self.row_table(index, [column.path_in_schema.split(".")[0]])

    def table(self, columns: Sequence[str]) -> pa.Table:
        """Light columns (ids, labels, geometry) of all rows."""
        try:
            return self._with_later(self._file.read(columns=list(columns)), columns)
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{self.path} cannot be read: {error}") from error

    def _with_later(self, table: pa.Table, columns: Sequence[str] | None) -> pa.Table:
        """The table with null in the wanted columns that the file is older than."""
        for field in self._later:
            if not columns or field.name in columns:
                table = table.append_column(field, pa.nulls(len(table), field.type))
        return table

    def schema_problems(self) -> list[str]:
        """What differs from ``schema()``; empty when nothing does.

        Columns of a modality may be absent: the shard may be older than the modality.
        """
        found = self._file.schema_arrow
        problems = []
        for field in schema():
            index = found.get_field_index(field.name)
            if index < 0 and not field.nullable:
                problems.append(f"column {field.name!r} is missing")
            elif index >= 0 and found.field(index).type != field.type:
                problems.append(
                    f"column {field.name!r} is {found.field(index).type}, not {field.type}"
                )
        return problems


def shard_path(data_dir: Path, split: str, number: int) -> Path:
    """``shards/SPLIT-00000.parquet``."""
    return data_dir / "shards" / f"{split}-{number:05d}.parquet"


def list_shards(data_dir: Path, split: str) -> list[Path]:
    """The shards of one split, in order. A split without shards gives an empty list."""
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; it must be one of {', '.join(SPLITS)}")
    return sorted((Path(data_dir) / "shards").glob(f"{split}-[0-9][0-9][0-9][0-9][0-9].parquet"))


def iterate_rows(
    data_dir: Path, columns: Sequence[str], splits: Sequence[str] = SPLITS
) -> Iterator[tuple[Path, int, dict[str, Any]]]:
    """Every row of the data set with its address: (shard, row number, values)."""
    for split in splits:
        for path in list_shards(data_dir, split):
            with Shard(path) as shard:
                for index in range(len(shard)):
                    yield path, index, shard.row(index, columns)


def read_dataset_info(data_dir: Path) -> dict[str, Any]:
    """The content of ``dataset.json``.

    Raises:
        UserError: there is no data set here, or it has a format version that cannot be read.
    """
    path = Path(data_dir) / "dataset.json"
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            f"There is no data set in {data_dir} (no dataset.json). Build one first: "
            "`musclemap download`, then `musclemap extract-modalities`."
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    check_version(path, info.get("format_version") if isinstance(info, dict) else None)
    return dict(info)


def write_dataset_info(data_dir: Path, info: Mapping[str, Any]) -> None:
    """Write ``dataset.json`` (atomically)."""
    write_text(Path(data_dir) / "dataset.json", dataset_info_text(info))


def dataset_info_text(info: Mapping[str, Any]) -> str:
    """What ``dataset.json`` holds: with the format version, in a fixed order."""
    return json.dumps({"format_version": FORMAT_VERSION, **info}, indent=2, sort_keys=True) + "\n"
