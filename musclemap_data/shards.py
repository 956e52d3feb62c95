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

FORMAT_VERSION = 1
REGION_COUNT = 20
LARGEST_COLUMN_PARSED = 64 * 2**20
"""Bytes of one column of one row; of larger ones the read-back compares the file's hash alone."""
PICTURES_PER_PAGE = 64
"""About a megabyte: what the writer holds in memory, however long the clip."""

MODALITY_COLUMNS: dict[str, tuple[str, ...]] = {
    "rgb": ("rgb",),
    "rgb-diff": ("rgb_diff",),
    "flow": ("flow", "flow_bound_px", "flow_clipped_share"),
    "skeleton": ("skeleton", "skeleton_people"),
}
"""The columns that each modality fills. They are null where it was not extracted."""

_JPEGS = pa.list_(pa.binary())

SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("video_id", pa.string(), nullable=False),
        pa.field("url", pa.string(), nullable=False),
        pa.field("activity", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("start_s", pa.float64(), nullable=False),
        pa.field("end_s", pa.float64(), nullable=False),
        pa.field("frames", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("fps", pa.float64(), nullable=False),
        pa.field("muscles", pa.list_(pa.bool_(), REGION_COUNT), nullable=False),
        pa.field("rgb", _JPEGS),
        pa.field("rgb_diff", _JPEGS),
        pa.field("flow", _JPEGS),
        pa.field("flow_bound_px", pa.float32()),
        pa.field("flow_clipped_share", pa.float32()),
        pa.field("skeleton", pa.list_(pa.float32())),
        pa.field("skeleton_people", pa.int32()),
        pa.field("source_sha256", pa.string(), nullable=False),
        pa.field("provenance", pa.string(), nullable=False),
    ]
)
"""One row of a shard.

``rgb`` and ``rgb_diff`` hold one JPEG a frame; ``flow`` one a pair of frames, u stacked over v,
``uint8 [2H, W]`` over ``[-flow_bound_px, flow_bound_px]``. ``skeleton`` is flattened
``float32 [T, M, 17, 3]`` (x and y in pixels, score; COCO-17), with M in ``skeleton_people``.
``provenance`` is JSON: modality -> extractor, version and settings.
"""


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
        rows: mappings with the columns of ``SCHEMA``, where a missing nullable column becomes
            null; or tables of one row, as ``Shard.row_table`` gives them.

    Returns:
        The SHA-256 of the file, in hexadecimal.

    Raises:
        ValueError: a row lacks a required column, or the file did not read back as written.
    """
    schema = SCHEMA.with_metadata(_file_metadata())
    count = 0
    with replacing(path, flush=True) as temporary:
        with _HashedFile(temporary) as file:
            with pq.ParquetWriter(
                file,
                schema,
                compression="none",
                use_dictionary=False,
                write_page_checksum=True,
                write_statistics=False,
                write_batch_size=PICTURES_PER_PAGE,
            ) as writer:
                for row in rows:
                    writer.write_table(_row_table(row, schema), row_group_size=1)
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


def _row_table(row: Mapping[str, Any] | pa.Table, schema: pa.Schema) -> pa.Table:
    if isinstance(row, pa.Table):
        return row.select(schema.names).replace_schema_metadata(schema.metadata)
    arrays = []
    for field in schema:
        value = row.get(field.name)
        if value is None and not field.nullable:
            raise ValueError(f"row {row.get('clip_id')!r} lacks the column {field.name!r}")
        arrays.append(pa.array([value], type=field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def replace_columns(table: pa.Table, values: Mapping[str, Any]) -> pa.Table:
    """A table of one row with other values in some columns of ``SCHEMA``."""
    for name, value in values.items():
        array = pa.array([value], type=SCHEMA.field(name).type)
        table = table.set_column(table.schema.get_field_index(name), SCHEMA.field(name), array)
    return table


class Shard:
    """A shard, memory-mapped: ``len(shard)``, ``shard.row(3, columns=["rgb"])``.

    Args:
        path: the Parquet file.
        verify: check the page checksums of whatever is read (costs about 1 ms a megabyte).

    Raises:
        UserError: not a shard of this format version, or not Parquet at all.
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
        if version != str(FORMAT_VERSION):
            self._file.close()
            raise UserError(
                f"{self.path} has format version {version}; this MuscleMap reads version "
                f"{FORMAT_VERSION}. Rebuild it with `musclemap extract-modalities`, or install the "
                "MuscleMap that wrote it."
            )

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
        return self.row_table(index, columns).to_pylist()[0]

    def row_table(self, index: int, columns: Sequence[str] | None = None) -> pa.Table:
        """One clip as an Arrow table of one row, its bytes still in the memory map."""
        try:
            return self._file.read_row_group(index, columns=list(columns) if columns else None)
        except (pa.ArrowException, OSError) as error:
            raise UserError(
                f"{self.path} row {index} cannot be read: {error}. The shard is damaged: delete "
                "this file and run `musclemap extract-modalities` to rebuild it."
            ) from error

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
            return self._file.read(columns=list(columns))
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{self.path} cannot be read: {error}") from error

    def schema_problems(self) -> list[str]:
        """What differs from ``SCHEMA``; empty when nothing does."""
        found = self._file.schema_arrow
        problems = []
        for field in SCHEMA:
            index = found.get_field_index(field.name)
            if index < 0:
                problems.append(f"column {field.name!r} is missing")
            elif found.field(index).type != field.type:
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
        UserError: there is no data set here, or it has another format version.
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
    if not isinstance(info, dict) or info.get("format_version") != FORMAT_VERSION:
        found = info.get("format_version") if isinstance(info, dict) else None
        raise UserError(
            f"{path} has format version {found}; this MuscleMap reads {FORMAT_VERSION}."
        )
    return info


def write_dataset_info(data_dir: Path, info: Mapping[str, Any]) -> None:
    """Write ``dataset.json`` (atomically)."""
    write_text(Path(data_dir) / "dataset.json", dataset_info_text(info))


def dataset_info_text(info: Mapping[str, Any]) -> str:
    """What ``dataset.json`` holds: with the format version, in a fixed order."""
    return json.dumps({"format_version": FORMAT_VERSION, **info}, indent=2, sort_keys=True) + "\n"
