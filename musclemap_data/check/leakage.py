"""Leaks between train, validation and test: one source, or the same pictures, on both sides.

Pictures are compared by a 64-bit perceptual hash (the "pHash" of Zauner, "Implementation and
Benchmarking of Perceptual Image Hash Functions", 2010): the signs of 64 low frequencies of the
32 x 32 grey picture against their median. Re-encoding and rescaling turn a few bits; other
pictures differ in about half of the 64.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from musclemap_data.catalog import SPLITS
from musclemap_data.manifest import partition
from musclemap_data.shards import Shard, list_shards

MAX_DISTANCE = 6
"""Bits of 64 in which the hashes of one picture may differ. Measured: see ``find_leaks``."""

FRAMES_PER_CLIP = 8

LEAST_MATCHES = 4
"""Frames of 8 that must match. Measured on 147 real clips: pairs that share only the title card of
a series match in 3; with 4, no pair of clips from different makers was found, and of copies at half
the size all were, of copies also cut by half a second 89% (with 2: all, and the title cards)."""

LEAST_DEVIATION = 8.0
"""Grey levels; a flatter picture (black, a fade, a title card) says nothing about its source."""

_SIDE = 32
_PAIRS_AT_ONCE = 2**22


@dataclass(frozen=True)
class _Clip:
    address: str
    part: str
    video_id: str
    source_sha256: str


def find_leaks(
    data_dir: Path,
    *,
    max_distance: int = MAX_DISTANCE,
    frames_per_clip: int = FRAMES_PER_CLIP,
    least_matches: int = LEAST_MATCHES,
    on_row: Callable[[], None] | None = None,
) -> list[str]:
    """Clips in different ones of train, validation and test that share a source or their pictures.

    Two clips are near-duplicates if ``least_matches`` frames of each have a partner in the other. A
    data set without the rgb modality is checked by source only. Clips that one person filmed in one
    place with a still camera can be near-duplicates in this sense as well; they belong on one side
    for the same reason. Not found: mirrored, cropped or strongly re-timed copies.

    Args:
        max_distance: differing bits up to which two frames are the same, 0 to 32. See
            ``LEAST_MATCHES`` for what was measured at 6.
        frames_per_clip: frames looked at, evenly spaced.
        least_matches: frames that must match, 2 to ``frames_per_clip``.
        on_row: called after each row.

    Returns:
        One message for each leak, with the addresses of both clips; by source first. At the end,
        clips with frames that do not decode and so could not be compared.

    Raises:
        UserError: a shard cannot be read.
        ValueError: an argument out of range.
    """
    if not 0 <= max_distance <= 32:
        raise ValueError(f"max_distance is {max_distance}; it must be from 0 to 32")
    if not 2 <= least_matches <= frames_per_clip:
        raise ValueError(
            f"least_matches is {least_matches}; it must be from 2 to frames_per_clip, "
            f"{frames_per_clip}"
        )
    unread: list[str] = []
    clips: list[_Clip] = []
    hashes: list[npt.NDArray[np.uint64]] = []
    for split in SPLITS:
        for path in list_shards(Path(data_dir), split):
            with Shard(path) as shard:
                for index in range(len(shard)):
                    row = shard.row(index, ["clip_id", "video_id", "source_sha256"])
                    address = f"{path.name} row {index} ({row['clip_id']})"
                    source = (row["video_id"], row["source_sha256"])
                    clips.append(_Clip(address, partition(split), *source))
                    found, broken = _row_hashes(shard, index, frames_per_clip)
                    hashes.append(found)
                    if broken:
                        unread.append(f"{address}: {broken} frames do not decode: not compared")
                    if on_row:
                        on_row()
    messages, explained = _source_leaks(clips)
    for first, second, count in _near_duplicates(clips, hashes, max_distance, least_matches):
        if (first, second) not in explained:
            a, b = clips[first], clips[second]
            messages.append(
                f"{b.address} in {b.part} shows the same pictures as {a.address} in {a.part} "
                f"({count} of {frames_per_clip} frames alike): a leak between splits"
            )
    return messages + unread


def perceptual_hash(gray: npt.NDArray[np.uint8]) -> int | None:
    """The 64-bit pHash of a picture, or None if it is too flat to tell anything.

    Args:
        gray: ``uint8 [H, W]``.
    """
    import cv2

    small = cv2.resize(gray, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    if float(small.std()) < LEAST_DEVIATION:
        return None
    # The mean (frequency 0, 0) only tells brightness: frequencies 1 to 8 in each direction.
    low = cv2.dct(small)[1:9, 1:9]
    bits = (low > np.median(low)).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _row_hashes(shard: Shard, index: int, frames: int) -> tuple[npt.NDArray[np.uint64], int]:
    """Hashes of evenly spaced frames that are not flat, and how many do not decode."""
    import simplejpeg

    pictures = shard.row_table(index, ["rgb"]).column("rgb")[0].values
    if pictures is None or not len(pictures):
        return np.empty(0, np.uint64), 0
    found, broken = [], 0
    for number in sorted({int(n) for n in np.linspace(0, len(pictures) - 1, frames).round()}):
        data = np.frombuffer(pictures[number].as_buffer(), np.uint8)
        try:
            gray = simplejpeg.decode_jpeg(data, colorspace="GRAY")
        except ValueError:
            broken += 1
            continue
        value = perceptual_hash(gray[..., 0])
        if value is not None:
            found.append(value)
    return np.array(found, np.uint64), broken


def _source_leaks(clips: list[_Clip]) -> tuple[list[str], set[tuple[int, int]]]:
    """Messages, and the pairs of clips (first in order first) that they explain."""
    messages = []
    explained: set[tuple[int, int]] = set()
    for name, key in (("video", "video_id"), ("content", "source_sha256")):
        groups: dict[str, list[int]] = defaultdict(list)
        for number, clip in enumerate(clips):
            groups[getattr(clip, key)].append(number)
        for source, members in groups.items():
            if not source or len({clips[number].part for number in members}) == 1:
                continue
            told = {clips[members[0]].part}
            for number in members:
                clip = clips[number]
                others = [m for m in members if m < number and clips[m].part != clip.part]
                new = [m for m in others if (m, number) not in explained]
                explained.update((m, number) for m in others)
                if clip.part not in told and new:
                    first = clips[new[0]]
                    messages.append(
                        f"{name} {source} is in {first.part} at {first.address} and in "
                        f"{clip.part} at {clip.address}: a leak between splits"
                    )
                told.add(clip.part)
    return messages, explained


def _near_duplicates(
    clips: list[_Clip], hashes: list[npt.NDArray[np.uint64]], max_distance: int, least_matches: int
) -> list[tuple[int, int, int]]:
    """(clip, later clip, matching frames) of pairs on different sides, in order.

    Every hash is compared with every hash of the sides after its own, in blocks.
    """
    owners = np.repeat(np.arange(len(clips)), [len(found) for found in hashes])
    values = np.concatenate([np.empty(0, np.uint64), *hashes])
    frames = np.concatenate([np.empty(0, np.int64), *(np.arange(len(found)) for found in hashes)])
    parts = np.array([clip.part for clip in clips])[owners] if len(owners) else np.empty(0, str)
    # Frames of either clip that have a partner in the other, by pair.
    matched: dict[tuple[int, int], tuple[set[int], set[int]]] = defaultdict(lambda: (set(), set()))
    ends = [int(np.flatnonzero(parts == part)[-1]) + 1 for part in np.unique(parts)]
    for start, stop in zip([0, *sorted(ends)], sorted(ends), strict=False):
        later = values[stop:]
        if not len(later):
            continue
        rows = max(1, _PAIRS_AT_ONCE // len(later))
        for top in range(start, stop, rows):
            block = values[top : min(top + rows, stop), None]
            near = np.bitwise_count(block ^ later) <= max_distance
            for i, j in np.argwhere(near):
                a, b = top + int(i), stop + int(j)
                pair = matched[int(owners[a]), int(owners[b])]
                pair[0].add(int(frames[a]))
                pair[1].add(int(frames[b]))
    return sorted(
        (first, second, min(len(a), len(b)))
        for (first, second), (a, b) in matched.items()
        if min(len(a), len(b)) >= least_matches
    )
