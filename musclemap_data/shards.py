"""The data set on disk: Parquet shards of one clip a row, and ``dataset.json`` beside them.

A shard is uncompressed Parquet with one row a row group, so that a reader maps the file and
decodes only the frames it samples. Any Parquet tool can read it. Pages carry checksums: a flipped
byte is an error that names the shard and the row, never a wrong frame. A long clip has several
rows in the file (``rows``); here, a row is a clip.
"""

from __future__ import annotations

import bisect
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from musclemap_data import ranges
from musclemap_data.catalog import SPLITS, load_muscles
from musclemap_data.errors import UserError
from musclemap_data.files import append_lines, file_sha256, replacing, whole_lines, write_text
from musclemap_data.modalities.modality import JPEGS
from musclemap_data.ranges import FOLDER as RANGES
from musclemap_data.ranges import Ranges
from musclemap_data.rows import PART, STILL, divide, file_schema, join, schema
from musclemap_data.stored import MappedPictures, StoredPictures

FORMAT_VERSION = 2
"""Of what is written."""
READABLE_VERSIONS = (1, 2)
"""A column that a version does not have is null."""
READ_AT_ONCE_BYTES = 2**20
"""Of a file that is not mapped."""
CHANGED_SHARDS = "dataset.changes.jsonl"
"""Beside ``dataset.json``, while a build runs or after it was killed."""
PARSED_AT_ONCE_BYTES = 4 * 2**20
PICTURES_PER_PAGE = 64
"""About a megabyte, for pyarrow up to 22; newer ones write a row of a column as one page."""

_JPEGS_1 = pa.list_(pa.binary())
"""Type of a column of pictures in version 1."""


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
    """Write clips as one shard: under a temporary name, read back, flushed, then renamed.

    Args:
        path: where the shard will be; its directory must exist.
        rows: mappings with the columns of ``schema()``, where a missing nullable column becomes
            null; or tables of one row, as ``Shard.row_table`` gives them.

    Returns:
        The SHA-256 of the file, in hexadecimal.

    Raises:
        ValueError: a row lacks a required column, or the file did not read back as written.
    """
    of_clips, of_file = schema(), file_schema().with_metadata(_file_metadata())
    count = 0
    with replacing(path, flush=True) as temporary:
        with _HashedFile(temporary) as file:
            with pq.ParquetWriter(
                file,
                of_file,
                compression="none",
                use_dictionary=False,
                write_page_checksum=True,
                # For tools that look for some clips, and for `Shard`, which looks for part 0.
                write_statistics=[field.name for field in of_file if _is_plain(field.type)],
                write_batch_size=PICTURES_PER_PAGE,
            ) as writer:
                for row in rows:
                    for part in divide(_row_table(row, of_clips)):
                        part = part.select(of_file.names).cast(of_file)
                        writer.write_table(part, row_group_size=1)
                    count += 1
            file.flush()
            sha256 = file.sha256.hexdigest()
        if file_sha256(temporary) != sha256:
            raise ValueError(f"{path}: the file did not read back as it was written")
        with Shard(temporary, verify=True, mapped=False) as written:
            if len(written) != count:
                raise ValueError(f"{path}: wrote {count} rows but read back {len(written)}")
            written.parse()
    return sha256


def _is_plain(kind: pa.DataType) -> bool:
    return bool(pa.types.is_primitive(kind) or pa.types.is_string(kind))


def _row_table(row: Mapping[str, Any] | pa.Table, wanted: pa.Schema) -> pa.Table:
    if isinstance(row, pa.Table):
        return row.select(wanted.names)
    arrays = []
    for field in wanted:
        value = row.get(field.name)
        if value is None and not field.nullable:
            raise ValueError(f"row {row.get('clip_id')!r} lacks the column {field.name!r}")
        arrays.append(pa.array([value], type=field.type))
    return pa.Table.from_arrays(arrays, schema=wanted)


def replace_columns(table: pa.Table, values: Mapping[str, Any]) -> pa.Table:
    """A table of one row with other values in some columns: plain ones, or Arrow arrays."""
    for name, value in values.items():
        field = table.schema.field(name)
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

    Of a shard in object storage (see ``ranges``), the bytes of what is read are fetched before.

    Args:
        path: the Parquet file.
        verify: check the page checksums of whatever is read (costs about 1 ms a megabyte).
        mapped: map the file; otherwise read it piece by piece, for one pass over all of it, after
            which a mapped file would look like memory in use.

    Attributes:
        version: of the format that it is written in.

    Raises:
        UserError: not a shard of a version that can be read, or not Parquet at all.
    """

    def __init__(self, path: Path, *, verify: bool = False, mapped: bool = True) -> None:
        self.path = Path(path)
        self._verify = verify
        self._pictures: MappedPictures | None = None
        self._leaves: list[str] = []
        self._ranges = Ranges(self.path) if self.path.parent.name == RANGES else None
        self._mapped = mapped and self._ranges is None
        self._streamed: pq.ParquetFile | None = None
        try:
            if self._ranges:
                self._ranges.fetch_footer()
            self._file = pq.ParquetFile(
                self.path,
                memory_map=mapped,
                buffer_size=0 if mapped else READ_AT_ONCE_BYTES,
                page_checksum_verification=verify,
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
        try:
            self._starts = [*self._first_rows(), self._file.metadata.num_rows]
        except (IndexError, AttributeError) as error:
            self._file.close()
            raise UserError(
                f"{self.path} says that it is a shard of format {self.version}, but does not tell "
                f"where its clips begin (column {PART.name!r} with its statistics). Another "
                "program wrote it anew: take the original, or delete it and run `musclemap "
                "extract-modalities` to rebuild it."
            ) from error

    def _first_rows(self) -> Iterable[int]:
        """The row of the file, and so the row group, in which each clip begins."""
        metadata = self._file.metadata
        if self.version == 1 or not metadata.num_row_groups:
            return range(metadata.num_row_groups)
        place = self._places(PART.name)[0]
        parts = (
            metadata.row_group(row).column(place).statistics.min
            for row in range(metadata.num_row_groups)
        )
        return (row for row, part in enumerate(parts) if part == 0)

    def _places(self, column: str) -> list[int]:
        """Where a column is among the leaves of the file's schema; nowhere if it is absent."""
        # Not `metadata.schema`: the two refer to each other, and the metadata of a shard, which is
        # megabytes, would stay in memory until Python's next full collection, which may be far off.
        if not self._leaves:
            group = self._file.metadata.row_group(0)
            paths = [group.column(place).path_in_schema for place in range(group.num_columns)]
            self._leaves = [path.split(".")[0] for path in paths]
        return [place for place, name in enumerate(self._leaves) if name == column]

    def _rows_of(self, index: int) -> range:
        return range(self._starts[index], self._starts[index + 1])

    def __enter__(self) -> Shard:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        """The number of clips."""
        return len(self._starts) - 1

    def close(self) -> None:
        """Unmap the file; the shard cannot be read after this."""
        self._file.close()
        self._pictures = None
        if self._streamed:
            self._streamed.close()
        if self._ranges:
            self._ranges.close()
            self._ranges = None

    def row(self, index: int, columns: Sequence[str] | None = None) -> dict[str, Any]:
        """One clip as plain Python values (JPEGs as ``bytes``).

        Raises:
            UserError: the row cannot be read; the message holds its address.
        """
        return dict(self.row_table(index, columns).to_pylist()[0])

    def row_table(self, index: int, columns: Sequence[str] | None = None) -> pa.Table:
        """One clip as an Arrow table of one row, its bytes still in the memory map.

        Columns that the shard is older than are null.
        """
        return join(self._read(self._rows_of(index), columns, f"row {index}"))

    def pictures(self, index: int, column: str) -> StoredPictures | None:
        """The JPEGs of a clip in the memory map, their checksums not checked.

        None where they do not lie there as they are, or there are none: ``row_table`` can tell.
        """
        places = self._places(column)
        if not self._mapped or not places:
            return None
        if self._pictures is None:
            self._pictures = MappedPictures(self.path, self._file.metadata)
        return self._pictures.find(self._rows_of(index), places[0])

    def still(self, index: int) -> bytes | None:
        """A JPEG from the middle of a clip; None where there is no picture."""
        rows = self._rows_of(index)
        if self.version > 1:
            middle = rows[len(rows) // 2]
            found = self._read(range(middle, middle + 1), [STILL.name], f"row {index}")
        else:
            found = next(divide(self.row_table(index)))
        still: bytes | None = found[STILL.name][0].as_py()
        return still

    def is_null(self, index: int, column: str) -> bool:
        """Whether a clip has no value in a column, told without reading pictures.

        A null list is one value of its column chunk, and so is a list of one: only then is it read.
        """
        places = self._places(column)
        if not places:  # the shard is older than the modality
            return True
        first = self._file.metadata.row_group(self._starts[index])
        if first.column(places[0]).num_values != 1:
            return False
        return bool(self.row_table(index, [column])[column].null_count)

    def parse(self) -> None:
        """Read every column of every row of the file: of small rows many at once, of large ones one
        column at a time.

        Raises:
            UserError: one cannot be read; the message holds its address.
        """
        size, small = 0, list[int]()
        metadata = self._file.metadata
        for index in range(len(self)):
            for row in self._rows_of(index):
                size += metadata.row_group(row).total_byte_size
                small.append(row)
                if size < PARSED_AT_ONCE_BYTES:
                    continue
                self._parse(small, index)
                size, small = 0, []
        self._parse(small, len(self) - 1)

    def _parse(self, rows: list[int], last: int) -> None:
        """Read rows of the file, the last of which is of the clip ``last``."""
        if len(rows) > 1:
            try:
                self._with(rows, None).read_row_groups(rows, use_threads=False)
                return
            except (pa.ArrowException, OSError):
                pass  # read again, to say which one it was
        for row in rows:
            index = bisect.bisect_right(self._starts, row, hi=last + 1) - 1
            for name in self._file.schema_arrow.names:
                self._read(range(row, row + 1), [name], f"row {index}")

    def table(self, columns: Sequence[str]) -> pa.Table:
        """Light columns (ids, labels, geometry) of all clips."""
        rows = self._read(range(self._starts[-1]), columns, "")
        if len(rows) == len(self):
            return rows
        return pa.concat_tables(
            join(rows.slice(of.start, len(of))) for of in map(self._rows_of, range(len(self)))
        )

    def _read(self, rows: range, columns: Sequence[str] | None, what: str) -> pa.Table:
        """Rows of the file, with the types of today, and null where it has no column."""
        try:
            file = self._with(rows, columns)
            table = file.read_row_groups(list(rows), columns=list(columns or ()) or None)
        except (pa.ArrowException, OSError) as error:
            raise UserError(
                f"{self.path} {what} cannot be read: {error}. The shard is damaged: delete "
                "this file and run `musclemap extract-modalities` to rebuild it."
            ) from error
        for place, field in enumerate(table.schema):
            if field.type == _JPEGS_1:
                today = table[field.name].cast(JPEGS)
                table = table.set_column(place, field.with_type(JPEGS), today)
        for field in self._later:
            if not columns or field.name in columns:
                table = table.append_column(field, pa.nulls(len(table), field.type))
        return table

    def _with(self, rows: Sequence[int], columns: Sequence[str] | None) -> pq.ParquetFile:
        """The file, with some of its rows fetched if it is in object storage."""
        if self._ranges is None or self._ranges.fetch(self._parts(rows, columns)):
            return self._file
        if self._streamed is None:  # there is no room to keep it
            self._streamed = pq.ParquetFile(
                self._ranges.open(),
                metadata=self._file.metadata,
                page_checksum_verification=self._verify,
            )
        return self._streamed

    def _parts(self, rows: Sequence[int], columns: Sequence[str] | None) -> Iterator[range]:
        """Where columns (all for none) of rows of the file are, as bytes."""
        metadata = self._file.metadata
        if columns:
            places = [place for name in columns for place in self._places(name)]
        else:
            places = list(range(metadata.num_columns))
        for row in rows:
            group = metadata.row_group(row)
            for chunk in map(group.column, places):
                first = chunk.data_page_offset
                if chunk.has_dictionary_page:
                    first = min(first, chunk.dictionary_page_offset)
                yield range(first, first + chunk.total_compressed_size)

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
            elif index >= 0:
                kind = found.field(index).type
                old = self.version == 1 and kind == _JPEGS_1
                if (JPEGS if old else kind) != field.type:
                    problems.append(f"column {field.name!r} is {kind}, not {field.type}")
        return problems


def shard_path(data_dir: Path, split: str, number: int) -> Path:
    """``shards/SPLIT-00000.parquet``."""
    return data_dir / "shards" / f"{split}-{number:05d}.parquet"


def list_shards(data_dir: Path, split: str) -> list[Path]:
    """The shards of one split, in order. A split without shards gives an empty list.

    In the copy of a remote data set, most are in ``ranges/``: read them by ``Shard`` only.

    Raises:
        ValueError: there is no such split.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; it must be one of {', '.join(SPLITS)}")
    pattern = f"{split}-[0-9][0-9][0-9][0-9][0-9]*.parquet"
    found = {
        path.name: path
        for folder in (RANGES, "shards")  # a whole one is there because it is newer
        for path in (Path(data_dir) / folder).glob(pattern)
        if path.stem[len(split) + 1 :].isdecimal()
    }
    # Past 99,999 a number has more digits: train-100000 comes after train-99999.
    return sorted(found.values(), key=lambda path: (len(path.name), path.name))


def find_shard(data_dir: Path, name: str) -> Path:
    """Where the shard of this file name is read, see ``list_shards``; it need not be there."""
    whole, part = data_dir / "shards" / name, data_dir / RANGES / name
    return part if part.exists() and not whole.exists() else whole


def remove_shard(data_dir: Path, name: str) -> None:
    """Remove a shard, if it is there."""
    (data_dir / "shards" / name).unlink(missing_ok=True)
    ranges.remove(data_dir / RANGES / name)


def iterate_rows(
    data_dir: Path, columns: Sequence[str] | None, splits: Sequence[str] = SPLITS
) -> Iterator[tuple[Path, int, dict[str, Any]]]:
    """Every row of the data set with its address: (shard, row number, values).

    All columns for None.
    """
    for split in splits:
        for path in list_shards(data_dir, split):
            with Shard(path) as shard:
                for index in range(len(shard)):
                    yield path, index, shard.row(index, columns)


def read_dataset_info(data_dir: Path) -> dict[str, Any]:
    """The content of ``dataset.json``, and what ``note_shard`` noted since.

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
    changes = path.with_name(CHANGED_SHARDS)
    if changes.exists():
        shards = info.setdefault("shards", {})
        for line in whole_lines(changes).splitlines():
            for name, entry in json.loads(line).items():
                shards.pop(name, None)
                if entry is not None:
                    shards[name] = entry
    return dict(info)


def write_dataset_info(data_dir: Path, info: Mapping[str, Any]) -> None:
    """Write ``dataset.json`` (atomically), and forget what was noted before."""
    write_text(Path(data_dir) / "dataset.json", dataset_info_text(info))
    (Path(data_dir) / CHANGED_SHARDS).unlink(missing_ok=True)


def note_shard(data_dir: Path, name: str, entry: Mapping[str, object] | None) -> None:
    """Note how one shard of ``dataset.json`` changes, without writing all others again.

    Args:
        data_dir: of the data set, whose ``dataset.json`` is there.
        name: of the file of the shard.
        entry: its rows and SHA-256; None while it is replaced, and when it is gone.
    """
    append_lines(Path(data_dir) / CHANGED_SHARDS, json.dumps({name: entry}) + "\n", header="")


def dataset_info_text(info: Mapping[str, Any]) -> str:
    """What ``dataset.json`` holds: with the format version, in a fixed order."""
    return json.dumps({"format_version": FORMAT_VERSION, **info}, indent=2, sort_keys=True) + "\n"
