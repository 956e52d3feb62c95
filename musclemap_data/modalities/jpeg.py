"""The JPEGs that are stored: how they are written, and how a part of one is cut out undecoded.

A JPEG is a row of small blocks (MCUs, 16 x 16 px of a 4:2:0 picture), and each can be found only by
decoding all before it. Coloured pictures are stored with restart markers, which end that every
``RESTART_MCUS`` blocks (ITU-T T.81, B.2.1 and E.1.4): the bytes between two markers, a segment,
can be decoded alone. So the segments that a box needs, under a header of their size, are a JPEG
again, and a training crop is decoded without the rest of its frame. Any program can read the
pictures; those without markers (older shards, other writers) are decoded whole.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

RESTART_MCUS = 2
"""MCUs from one restart marker to the next in a coloured picture. Grey ones have none: their flat
blocks take fewer bits than a marker."""

_BASELINE, _OTHER_FRAMES = 0xC0, {*range(0xC1, 0xD0)} - {0xC4, 0xC8, 0xCC}
LONGEST_SEGMENT = 16
"""MCUs; pictures of longer ones are left whole, as little could be cut off."""
LARGEST_PART = 0.9
"""Of the picture: cutting out more would take longer than decoding the rest."""

_LONGEST_HEADER = 4096
_SCAN, _INTERVAL = 0xDA, 0xDD
_RESTART, _END_OF_IMAGE = 0xD0, b"\xff\xd9"


def encode_jpeg(picture: Bytes, quality: int) -> bytes:
    """JPEG of ``uint8 [h, w, 3]`` (RGB, 4:2:0 like its video) or ``[h, w, 1]`` (grey).

    With Huffman tables of its own, which more than pays for the markers, and the exact DCT.
    """
    import cv2

    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    if picture.shape[-1] == 3:
        picture = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), np.uint8)
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
        options += [cv2.IMWRITE_JPEG_RST_INTERVAL, RESTART_MCUS]
    return bytes(cv2.imencode(".jpg", picture, options)[1])


@dataclass(frozen=True)
class Box:
    """A part of a picture, pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class _Layout:
    """How the MCUs of a JPEG lie.

    Attributes:
        height, width: of the picture, pixels.
        mcu_height, mcu_width: pixels.
        interval: MCUs a segment.
    """

    height: int
    width: int
    mcu_height: int
    mcu_width: int
    interval: int

    @property
    def rows(self) -> int:
        """Of MCUs."""
        return -(-self.height // self.mcu_height)

    @property
    def columns(self) -> int:
        """Of MCUs."""
        return -(-self.width // self.mcu_width)


class _Header(NamedTuple):
    """What lies before the first segment.

    Attributes:
        frame: the restart interval, and what the header says of the picture from its height on.
        size_at: where the height is, and behind it the width.
        length: bytes.
    """

    frame: tuple[int, bytes]
    size_at: int
    length: int


@dataclass(frozen=True)
class _Plan:
    """Which part is cut out of the pictures of a layout.

    Attributes:
        top, left: of the part, pixels.
        size: its height and width as a header has them, ``uint8 [4]``.
        restarts: markers in the whole picture.
        taken: segments of the part, ``int64 [n]``.
        runs: the same as first and behind the last of neighbours, ``int64 [m, 2]``.
        markers: the byte that ends each of the part, ``uint8 [n]``.
    """

    top: int
    left: int
    size: Bytes
    restarts: int
    taken: npt.NDArray[np.int64]
    runs: npt.NDArray[np.int64]
    markers: Bytes


def cut_out(jpegs: Sequence[Bytes], box: Box) -> tuple[Sequence[Bytes], int, int]:
    """Smaller JPEGs that decode, within ``box``, to the same bytes as the whole ones.

    Args:
        jpegs: pictures of one clip, ``uint8 [n]`` each, in any state: those that cannot be cut
            alike are given back, and their decoder will say what is wrong with them.
        box: a part of the picture that is not empty.

    Returns:
        The JPEGs, and the row and column of the picture at which they begin. The whole ones where
        one has no restart markers, or where nearly all of the picture is needed.
    """
    headers = [header for header in map(_read_header, jpegs) if header]
    if len(headers) < len(jpegs) or len({header.frame for header in headers}) > 1:
        return jpegs, 0, 0
    plan = _plan(headers[0].frame, box)
    if plan is None or any(bytes(jpeg[-2:]) != _END_OF_IMAGE for jpeg in jpegs):
        return jpegs, 0, 0
    # Of all pictures at once: each has few bytes for the price of a call to NumPy.
    scans = [jpeg[header.length :] for jpeg, header in zip(jpegs, headers, strict=True)]
    content = np.concatenate(scans)
    # In coded blocks 0xFF is followed by 0, or by what makes it a marker.
    escapes = np.flatnonzero(content[:-1] == 0xFF)
    ends = escapes[(content[escapes + 1] & 0xF8) == _RESTART] + 2
    stops = np.cumsum([len(scan) for scan in scans])
    found = np.searchsorted(ends, stops)
    if not np.array_equal(found, plan.restarts * np.arange(1, len(jpegs) + 1)):
        return jpegs, 0, 0
    starts = np.concatenate(([0], stops[:-1]))
    # A segment has its marker behind it.
    bounds = np.column_stack((starts, ends.reshape(len(jpegs), plan.restarts), stops))
    pieces = []
    data = content.data
    for number, runs in enumerate(bounds[:, plan.runs].tolist()):
        pieces.append(jpegs[number][: headers[number].length].data)
        pieces += [data[begin:end] for begin, end in runs]
    parts = np.frombuffer(bytearray().join(pieces), np.uint8)
    lengths = np.diff(bounds)[:, plan.taken]
    lengths[:, 0] += [header.length for header in headers]
    behind = np.cumsum(lengths).reshape(lengths.shape)
    parts[behind - 1] = plan.markers
    result = []
    start = 0
    for header, end in zip(headers, behind[:, -1].tolist(), strict=True):
        part = parts[start:end]
        part[header.size_at : header.size_at + 4] = plan.size
        result.append(part)
        start = end
    return result, plan.top, plan.left


def _read_header(jpeg: Bytes) -> _Header | None:
    """None for a JPEG that cannot be cut."""
    header = jpeg[:_LONGEST_HEADER].tobytes()
    place, size_at, interval = 2, 0, 0
    while place + 4 <= len(header) and header[place] == 0xFF:
        kind, length = header[place + 1], header[place + 2] << 8 | header[place + 3]
        if kind == _SCAN:
            break
        if kind == _BASELINE:
            size_at = place + 5
        elif kind == _INTERVAL:
            interval = header[place + 4] << 8 | header[place + 5]
        elif kind in _OTHER_FRAMES:
            return None
        place += 2 + length
    else:
        return None
    start = place + 2 + length
    # One scan has all channels: so it is the only one.
    if (
        not size_at
        or not interval
        or header[place + 4 : place + 5] != header[size_at + 4 : size_at + 5]
    ):
        return None
    said = header[size_at : size_at + 5 + 3 * header[size_at + 4]]
    return _Header((interval, said), size_at, start)


def _layout(frame: tuple[int, bytes]) -> _Layout | None:
    """None for one that cannot be cut, or is damaged."""
    interval, content = frame
    height, width, channels = struct.unpack_from(">HHB", content)
    factors = content[6::3] if channels > 1 else b"\x11"  # of one channel, an MCU is one block
    across, down = (max(each >> bits & 15 for each in factors) for bits in (4, 0))
    if not (height and width and across and down and interval <= LONGEST_SEGMENT):
        return None
    return _Layout(height, width, 8 * down, 8 * across, interval)


@lru_cache(maxsize=16)  # the pictures of a clip are cut alike
def _plan(frame: tuple[int, bytes], box: Box) -> _Plan | None:
    """The smallest part around a box that can be cut out; None for the whole."""
    whole = _layout(frame)
    if not whole or box.top + box.height > whole.height or box.left + box.width > whole.width:
        return None
    interval, columns = whole.interval, whole.columns
    size, top, left, bottom, right = _smallest_part(whole, box)
    if size > LARGEST_PART * whole.rows * columns:
        return None
    # Of each segment, one MCU in the row of the part which it fits: its last, or its first.
    width = right - left
    mcus = np.arange(0, size, interval)
    if right < columns:
        mcus = np.minimum(mcus + interval, size) - 1
    taken = ((top + mcus // width) * columns + left + mcus % width) // interval
    runs = np.split(taken, np.flatnonzero(np.diff(taken) != 1) + 1)
    markers = (_RESTART + np.arange(len(taken)) % 8).astype(np.uint8)
    markers[-1] = _END_OF_IMAGE[1]
    top_px, left_px = top * whole.mcu_height, left * whole.mcu_width
    height_px = min(bottom * whole.mcu_height, whole.height) - top_px
    width_px = min(right * whole.mcu_width, whole.width) - left_px
    return _Plan(
        top_px,
        left_px,
        np.array([height_px, width_px], ">u2").view(np.uint8),
        -(-whole.rows * columns // interval) - 1,
        taken,
        np.array([(run[0], run[-1] + 1) for run in runs]),
        markers,
    )


def _smallest_part(whole: _Layout, box: Box) -> tuple[int, int, int, int, int]:
    """MCUs in all, and the first and last (not included) row and column of them, around a box.

    A segment may end in one row of MCUs and go on in the next. For every segment to begin at the
    same column of the part as of the picture, the part's corner must be the beginning of one, and
    its width may differ from the picture's by whole segments only. A segment that spans two rows
    of the part fits one of them, and leaves something else in the other: at the right end of the
    upper row or, where the part reaches the picture's right border, at the left end of the lower.
    The box must lie beside that.
    """
    n, rows, columns = whole.interval, whole.rows, whole.columns
    # A pixel more on each side: the colour of a pixel is mixed with that of its neighbours.
    first_row = max(0, box.top - 1) // whole.mcu_height
    first_column = max(0, box.left - 1) // whole.mcu_width
    last_row = min(rows, -(-(box.top + box.height + 1) // whole.mcu_height))
    last_column = min(columns, -(-(box.left + box.width + 1) // whole.mcu_width))
    spans = {row * columns % n for row in range(1, n)} - {0}
    spoilt_right, spoilt_left = max(spans, default=0), n - min(spans, default=n)

    best = (rows * columns, 0, 0, rows, columns)
    for top in range(first_row, max(-1, first_row - n), -1):
        for left in range(first_column, max(-1, first_column - 2 * n), -1):
            if (top * columns + left) % n:
                continue
            # Two columns at least: libjpeg upsamples the narrowest pictures in another way.
            for right in range(max(last_column, left + 2), min(columns, last_column + 2 * n) + 1):
                if (right - left - columns) % n:
                    continue
                if right < columns:
                    beside = right - spoilt_right >= last_column
                else:
                    beside = left + spoilt_left <= first_column or left == 0
                for bottom in range(last_row, min(rows, last_row + n) + 1):
                    size = (bottom - top) * (right - left)
                    ends = size % n == 0 or (bottom, right) == (rows, columns)
                    if beside and ends:
                        best = min(best, (size, top, left, bottom, right))
                        break
    return best
