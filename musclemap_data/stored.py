"""Single pictures of a clip, without a copy of the others.

Arrow reads a column of a row as a whole: of a ten-second clip 250 pictures for the 16 of a sample,
four megabytes. But in an uncompressed column the values lie one after the other, each behind its
length (Parquet's encoding PLAIN), so they can be used where they are in the memory map.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from struct import Struct

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

Bytes = npt.NDArray[np.uint8]

_LENGTH = Struct("<I")
_LONGEST_HEADER = 4096
"""Of a page, with what it says of the lists in it, bytes."""
_JPEG = b"\xff\xd8\xff"


class StoredPictures:
    """The JPEGs of a clip, ``pictures[3]`` is ``uint8 [n]``; nothing is copied.

    Args:
        data: what they lie in.
        spans: first byte, and the one behind the last, of each.
    """

    def __init__(self, data: Bytes, spans: Sequence[tuple[int, int]]) -> None:
        self._data = data
        self._spans = spans

    @classmethod
    def of_list(cls, pictures: pa.ListScalar) -> StoredPictures:
        """Those of a column of JPEGs that Arrow has read."""
        values = pictures.values
        _, offsets, data = values.buffers()
        if not len(values):
            return cls(np.empty(0, np.uint8), ())
        places = np.frombuffer(offsets, np.int64)[values.offset :][: len(values) + 1].tolist()
        return cls(np.frombuffer(data, np.uint8), list(pairwise(places)))

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, number: int) -> Bytes:
        begin, end = self._spans[number]
        return self._data[begin:end]


class MappedPictures:
    """The pictures of a shard that is a file.

    Args:
        path: the shard.
        file: the same, as Arrow has opened it.
    """

    def __init__(self, path: Path, file: pq.FileMetaData) -> None:
        with pa.memory_map(str(path)) as opened:  # the buffer needs no open file
            self._map = memoryview(opened.read_buffer())
        self._data = np.frombuffer(self._map, np.uint8)
        self._file = file
        self._chunks: dict[tuple[int, int], tuple[int, int, int]] = {}

    def find(self, rows: Sequence[int], place: int) -> StoredPictures | None:
        """Those of rows of the file in the column ``place``.

        None where they do not lie one after the other: in other versions of Parquet or Arrow they
        may be in several pages, each with a header. Arrow can read them.
        """
        spans: list[tuple[int, int]] = []
        for row in rows:
            if (row, place) not in self._chunks:
                self._chunks[row, place] = self._chunk(row, place)
            at, end, count = self._chunks[row, place]
            for _ in range(count):
                begin = at + _LENGTH.size
                if at < 0 or begin > end:
                    return None
                at = begin + _LENGTH.unpack_from(self._map, at)[0]
                spans.append((begin, at))
            if at != end:
                return None
        return StoredPictures(self._data, spans)

    def _chunk(self, row: int, place: int) -> tuple[int, int, int]:
        """Where the values begin (-1: nowhere) and end, and how many there are."""
        chunk = self._file.row_group(row).column(place)
        begin = chunk.data_page_offset
        end = begin + chunk.total_compressed_size
        page = self._data[begin : min(end, begin + _LONGEST_HEADER)].tobytes()
        first = page.find(_JPEG) - _LENGTH.size
        return (begin + first if first >= 0 else -1), end, chunk.num_values
