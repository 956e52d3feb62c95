"""The split of a clip, from the id of its source video and the list of new activities.

All clips of one video lie on the same side (train, validation or test), whatever they show. The
side is a hash of the video's id: it needs no list of videos, so adding, removing or shuffling
videos or clips never moves another clip.

A clip of a *new* activity may not be trained on. If its video falls to train, it has no split and
is left out (``split_of`` returns None). The other way, to send every video that holds a new
activity to validation or test, would keep those clips, but then one added row could move all
other clips of its video, and a list published last year would no longer be the same split.

Since ``open-2`` a new activity is either validated or tested on, never both, so that a model chosen
on ``val_new`` has not been chosen on what ``test_new`` asks. ``annotations/splits.csv`` says which.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Literal

from musclemap_data.catalog import annotations_dir, read_table
from musclemap_data.errors import UserError

Partition = Literal["train", "val", "test"]
Side = Literal["val", "test"]

SPLIT_VERSION = "open-2"
"""Name of the list of new activities. A change of it, or of the shares, is a new benchmark."""

SIDES_NAME = "open-1"
"""What the sides of videos are hashed with: ``open-2`` left every video on its side."""

SPLIT_COLUMNS = ("version", "activity", "side", "scope", "reason")
SCOPES = ("activities", "videos")

SHARES_PERCENT: dict[Partition, int] = {"train": 50, "val": 15, "test": 35}
"""Expected share of the videos, near 47 : 16 : 37 of the original clips; the choice is ours."""


def partition_of(video_key: str, *, version: str = SIDES_NAME) -> Partition:
    """The side on which a video lies.

    Args:
        video_key: Stable id of what must not be torn apart: the YouTube id, the file name of a
            recording, or better the channel or person where it is known. Case counts.
        version: Name of the assignment; another name gives another, unrelated assignment.

    Returns:
        ``"train"``, ``"val"`` or ``"test"``, with the odds of ``SHARES_PERCENT``.

    Raises:
        ValueError: If ``video_key`` is empty.
    """
    if not video_key:
        raise ValueError("video_key is empty; give the id of the source video")
    digest = hashlib.blake2b(f"{version}:{video_key}".encode(), digest_size=8).digest()
    # The top of a 64-bit number scaled to 0-99: exact integers, the same on every machine.
    percent = int.from_bytes(digest, "big") * 100 >> 64
    if percent < SHARES_PERCENT["train"]:
        return "train"
    if percent < SHARES_PERCENT["train"] + SHARES_PERCENT["val"]:
        return "val"
    return "test"


def split_of(video_key: str, *, new: bool, side: Side | None = None) -> str | None:
    """The split of a clip: one of :data:`musclemap_data.catalog.SPLITS`, or None.

    Args:
        video_key: As for :func:`partition_of`.
        new: True if the clip's activity is held out from training.
        side: On which side a new activity is scored, see :func:`held_out`; None leaves it to the
            video's id, as ``open-1`` did. A video that also shows other activities may then be on
            two sides: who makes a list leaves such a clip out.

    Returns:
        ``train``, ``val_known`` or ``test_known`` for a known activity, ``val_new`` or
        ``test_new`` for a new one, and None for a new activity in a video of the train side:
        such a clip belongs to no split.
    """
    return split_on(partition_of(video_key), new=new, side=side)


def split_on(partition: str, *, new: bool, side: Side | None = None) -> str | None:
    """As :func:`split_of`, for a video whose partition (``train``, ``val``, ``test``) is known."""
    if partition == "train":
        return None if new else "train"
    return f"{side or partition}_new" if new else f"{partition}_known"


def split_among(video_key: str, activity: str, new: Mapping[str, Side | None]) -> str | None:
    """As :func:`split_of`, for an activity among the new ones of :func:`held_out` or not."""
    return split_of(video_key, new=activity in new, side=new.get(activity))


@cache
def held_out(version: str = SPLIT_VERSION, *, videos: bool = False) -> Mapping[str, Side | None]:
    """The new activities of a version, and the side on which each is scored.

    Args:
        version: ``open-1`` or ``open-2``.
        videos: also those held out in the bundled video manifests only.

    Returns:
        slug -> ``val``, ``test``, or None where the video's id decides (``open-1``).

    Raises:
        UserError: there is no such version, or ``annotations/splits.csv`` is malformed.
    """
    path = annotations_dir() / "splits.csv"
    found: dict[str, Side | None] = {}
    versions = set()
    sides: dict[str, Side | None] = {"val": "val", "test": "test", "": None}
    for line, row in read_table(path, SPLIT_COLUMNS):
        if row["side"] not in sides or row["scope"] not in SCOPES or not row["reason"]:
            raise UserError(f"{path}: line {line}: unknown side or scope, or no reason")
        versions.add(row["version"])
        if row["version"] == version and (videos or row["scope"] == "activities"):
            found[row["activity"]] = sides[row["side"]]
    if not found:
        raise UserError(f"no split {version!r}; there are {', '.join(sorted(versions))}")
    return found
