"""Looks at what is in a data set: clips whose files are sound and whose content cannot be right.

A finding is a reason to look at a clip, not a proof. The limits were set on clips of real people
(docs/validate.md says how many of those are found wrongly).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt

from musclemap_data.catalog import SPLITS
from musclemap_data.check.belongs import wrong_difference, wrong_flow
from musclemap_data.check.findings import Finding, Kind, Seen
from musclemap_data.errors import UserError
from musclemap_data.modalities.modality import Row
from musclemap_data.pose.quality import SkeletonClass, say_notes, skeleton_class
from musclemap_data.shards import Shard, list_shards
from musclemap_data.skeleton import JOINT_COUNT

Gray = npt.NDArray[np.int16]


FROZEN_S = 0.5
"""A hold is nearly still, but its noise never repeats; a source of fewer frames repeats once."""
BLANK_SPREAD = 3.0
"""Standard deviation of grey levels, below which there is nothing to see."""
BLANK_SHARE = 0.5
DEBRIS_STEP = 24
"""Grey levels by which a pixel differs from both neighbours in time, ..."""
DEBRIS_SAME = 8
"""... which differ by no more than this from each other."""
DEBRIS_AREA = 0.12
"""Share of the pixels for which that holds in a picture of debris."""
DEBRIS_TIMES = 3
PAIRS_LOOKED_AT = 6
OUTSIDE = 0.5
"""A joint is outside when it is further than half the picture's size from its edge."""
OUTSIDE_SHARE = 0.05


def look_at_dataset(data_dir: Path, *, on_row: Callable[[], None] | None = None) -> list[Finding]:
    """Look at the content of every clip. Pictures that do not decode are left to ``validate``.

    Args:
        data_dir: a data set.
        on_row: called after each row.

    Returns:
        The findings, by kind in the order of ``Kind``, the worst first.
    """
    found = []
    for split in SPLITS:
        for path in list_shards(data_dir, split):
            try:
                shard = Shard(path)
            except UserError:
                continue  # validate_dataset says so
            with shard:
                for index in range(len(shard) if not shard.schema_problems() else 0):
                    try:
                        row = shard.row(index)
                        seen = look_at_row(row)
                    except (UserError, ValueError):
                        seen = []
                    name = (path.name, index)
                    found += [
                        Finding(
                            each.kind, *name, row["clip_id"], each.what, each.worst, each.frames
                        )
                        for each in seen
                    ]
                    if on_row:
                        on_row()
    order = list(Kind)
    return sorted(found, key=lambda each: (order.index(each.kind), -each.worst, each.clip_id))


def look_at_row(row: Row) -> list[Seen]:
    """What cannot be right in one clip.

    Raises:
        ValueError: a picture does not decode, or a list has another length than the row says.
    """
    seen: list[Seen | None] = []
    if row["rgb"] is not None:
        small = _thumbnails(row["rgb"])
        seen += [_frozen(row), _debris(small), _blank(small)]
        pairs = _moving_pairs(small)
        if row["rgb_diff"] is not None:
            seen.append(wrong_difference(row, pairs))
        if row["flow"] is not None:
            seen.append(wrong_flow(row, pairs))
    if row["skeleton"] is not None:
        seen += [_impossible_skeleton(row), _poor_skeleton(row)]
    return [each for each in seen if each is not None]


def _thumbnails(jpegs: list[bytes]) -> Gray:
    """Every picture at about an eighth of its size, ``int16 [T, h, w]`` grey."""
    import simplejpeg

    # JPEG's own blocks make smaller decoding cheap; the decoder takes the nearest size above.
    small = [
        simplejpeg.decode_jpeg(jpeg, colorspace="GRAY", min_height=24, min_width=24)[..., 0]
        for jpeg in jpegs
    ]
    return np.stack(small).astype(np.int16)


def _frozen(row: Row) -> Seen | None:
    """The longest run of pictures with the same bytes: same pictures make the same JPEG."""
    at, longest, first = 0, 0, 0
    for _, run in groupby(row["rgb"]):
        length = len(list(run))
        if length > longest:
            longest, first = length, at
        at += length
    seconds = longest / row["fps"]
    if longest < 5 or seconds < FROZEN_S:
        return None
    what = f"{longest} of {row['frames']} pictures from number {first} on are the same"
    return Seen(Kind.FROZEN, what, seconds, _spread(first, first + longest - 1))


def _debris(small: Gray) -> Seen | None:
    if len(small) < 3:
        return None
    before, here, after = small[:-2], small[1:-1], small[2:]
    alone = (
        (np.abs(here - before) > DEBRIS_STEP)
        & (np.abs(here - after) > DEBRIS_STEP)
        & (np.abs(after - before) < DEBRIS_SAME)
    )
    area = alone.mean(axis=(1, 2))
    bad = np.flatnonzero(area > DEBRIS_AREA) + 1
    if len(bad) < DEBRIS_TIMES:
        return None
    worst = int(np.argmax(area)) + 1
    what = f"{len(bad)} of {len(small)} pictures are unlike both neighbours, such as {worst}"
    others = [int(number) for number in bad if number != worst][:3]
    return Seen(Kind.DEBRIS, what, float(len(bad)), (worst - 1, worst, worst + 1, *others))


def _blank(small: Gray) -> Seen | None:
    empty = small.std(axis=(1, 2)) < BLANK_SPREAD
    if empty.mean() < BLANK_SHARE:
        return None
    level = float(small[empty].mean())
    name = "black" if level < 32 else "white" if level > 223 else "of one grey level"
    what = f"{int(empty.sum())} of {len(small)} pictures are {name}"
    return Seen(Kind.BLANK, what, float(empty.mean()), _spread(0, len(small) - 1))


def _moving_pairs(small: Gray) -> list[int]:
    """Numbers t of a few pairs (t, t + 1): those that change most, without cuts, and others."""
    if len(small) < 2:
        return []
    change = np.abs(np.diff(small, axis=0)).mean(axis=(1, 2))
    usual = np.flatnonzero(change <= max(4 * float(np.median(change)), 8.0))
    most = usual[np.argsort(-change[usual], kind="stable")][: PAIRS_LOOKED_AT // 2]
    evenly = np.linspace(0, len(change) - 1, PAIRS_LOOKED_AT - len(most)).astype(int)
    return sorted({*map(int, most), *map(int, evenly)})


def _impossible_skeleton(row: Row) -> Seen | None:
    frames, people = row["frames"], row["skeleton_people"] or 0
    flat = np.asarray(row["skeleton"], np.float32)
    if not flat.size or flat.size != frames * people * JOINT_COUNT * 3:
        return None  # of another length: validate_dataset says so
    skeleton = flat.reshape(frames, people, JOINT_COUNT, 3)
    place, score = skeleton[..., :2], skeleton[..., 2]
    finite = np.asarray(np.isfinite(place).all(axis=-1))
    if not np.isfinite(score).all() or score.min() < 0 or score.max() > 1.001:
        bad = ~np.isfinite(score) | (score < 0) | (score > 1.001)
        return _skeleton_seen("scores that are no numbers from 0 to 1", bad)
    claimed = (score > 0) & ~finite
    if claimed.any():
        return _skeleton_seen("joints with a score and no place", claimed)
    size = np.array([row["width"], row["height"]], np.float32)
    beyond = (place < -OUTSIDE * size) | (place > (1 + OUTSIDE) * size)
    far = np.asarray(finite & beyond.any(axis=-1))
    if far.sum() > OUTSIDE_SHARE * max(1, finite.sum()):
        return _skeleton_seen("joints far outside the picture", far)
    there = np.asarray(finite.all(axis=-1))  # of each person in each frame
    for person in range(people):
        shown = place[there[:, person], person]
        if len(shown) >= max(5, FROZEN_S * row["fps"]) and np.ptp(shown, axis=0).max() == 0:
            moves = np.zeros(finite.shape, bool)
            moves[there[:, person], person] = True
            return _skeleton_seen("a skeleton that is the same in all frames", moves)
    return None


def _poor_skeleton(row: Row) -> Seen | None:
    quality = row.get("skeleton_quality")
    if quality is None or skeleton_class(quality) is not SkeletonClass.BAD:
        return None
    what = f"quality {quality:.2f}{say_notes(row['skeleton_notes'] or ())}"
    return Seen(Kind.POOR_SKELETON, what, 1 - quality, _spread(0, row["frames"] - 1))


def _skeleton_seen(text: str, bad: npt.NDArray[np.bool_]) -> Seen:
    """``bad`` is of the joints, ``bool [T, M, 17]``."""
    share = float(bad.any(axis=(1, 2)).mean())
    numbers = np.flatnonzero(bad.any(axis=(1, 2)))
    shown = numbers[np.linspace(0, len(numbers) - 1, 6).round().astype(int)]
    frames = tuple(dict.fromkeys(int(number) for number in shown))
    return Seen(Kind.SKELETON, f"{text}, in {share:.0%} of the frames", share, frames)


def _spread(first: int, last: int) -> tuple[int, ...]:
    numbers = np.linspace(first, last, 6).round().astype(int)
    return tuple(dict.fromkeys(int(number) for number in numbers))
