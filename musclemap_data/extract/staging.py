"""Finished rows on their way into a shard, and pictures on their way into a row: kept in files.

A ten-minute clip has gigabytes of pictures; none of it is held in memory. A worker appends JPEGs
to a spool file; the row maps that file and is written as one Arrow file, which the shard writer
maps in turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from musclemap_data.files import mapped, replacing
from musclemap_data.rows import schema


class JpegSpool:
    """Pictures of one column of one row, appended to an unnamed file.

    Args:
        folder: on the file system where there is room for them.
    """

    def __init__(self, folder: Path) -> None:
        import tempfile

        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed in __exit__)
        self._lengths: list[int] = []

    def __enter__(self) -> JpegSpool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._lengths)

    def append(self, jpeg: bytes) -> None:
        """Keep one more JPEG."""
        self._file.write(jpeg)
        self._lengths.append(len(jpeg))

    @contextmanager
    def to_arrow(self) -> Iterator[pa.ListArray]:
        """One row of ``JPEGS`` over the mapped file, no copy: valid in the ``with`` block."""
        ends = np.array([0, *accumulate(self._lengths)], np.int64)
        self._file.flush()
        buffers = [None, pa.py_buffer(ends), None]
        with mapped(self._file.fileno()) as data:
            buffers[2] = data
            pictures = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(self), buffers)
            yield pa.ListArray.from_arrays(pa.array([0, len(self)], pa.int32()), pictures)


def write_staged(path: Path, row: Mapping[str, Any]) -> None:
    """Write one row as an Arrow file: under a temporary name, flushed, then renamed.

    Args:
        path: where it will be.
        row: columns of ``schema()``; values, or Arrow arrays of length 1. Missing ones become null.
    """
    arrays = []
    wanted = schema()
    for field in wanted:
        value = row.get(field.name)
        if not isinstance(value, pa.Array):
            value = pa.array([value], field.type)
        arrays.append(value)
    batch = pa.RecordBatch.from_arrays(arrays, schema=wanted)
    with replacing(path, flush=True) as temporary, pa.ipc.new_file(temporary, wanted) as writer:
        writer.write_batch(batch)


def write_bytes(path: Path, data: npt.NDArray[np.uint8]) -> None:
    """Write a staged row that was made on another machine, uint8 [bytes], the same way."""
    with replacing(path, flush=True) as temporary:
        data.tofile(temporary)


@contextmanager
def read_staged(path: Path) -> Iterator[pa.Table | None]:
    """The staged row, mapped: valid in the ``with`` block; None where none can be read."""
    try:
        file = path.open("rb")
    except OSError:
        yield None
        return
    with file, mapped(file.fileno()) as data:
        try:
            table = pa.ipc.open_file(pa.BufferReader(data)).read_all()
        except (OSError, pa.ArrowException):
            table = None
        usable = table is not None and table.schema.equals(schema()) and len(table) == 1
        yield table if usable else None
