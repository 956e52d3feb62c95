"""The split of a clip, from the id of its source video alone.

All clips of one video lie on the same side (train, validation or test), whatever they show. The
side is a hash of the video's id: it needs no list of videos, so adding, removing or shuffling
videos or clips never moves another clip.

A clip of a *new* activity may not be trained on. If its video falls to train, it has no split and
is left out (``split_of`` returns None). The other way, to send every video that holds a new
activity to validation or test, would keep those clips, but then one added row could move all
other clips of its video, and a list published last year would no longer be the same split.
"""

from __future__ import annotations

import hashlib
from typing import Literal

Partition = Literal["train", "val", "test"]

SPLIT_VERSION = "open-1"
"""Name of the assignment. A change of it, or of the shares, is a new benchmark."""

SHARES_PERCENT: dict[Partition, int] = {"train": 50, "val": 15, "test": 35}
"""Expected share of the videos, near 47 : 16 : 37 of the original clips; the choice is ours."""


def partition_of(video_key: str, *, version: str = SPLIT_VERSION) -> Partition:
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


def split_of(video_key: str, *, new: bool, version: str = SPLIT_VERSION) -> str | None:
    """The split of a clip: one of :data:`musclemap_data.catalog.SPLITS`, or None.

    Args:
        video_key: As for :func:`partition_of`.
        new: True if the clip's activity is held out from training.
        version: As for :func:`partition_of`.

    Returns:
        ``train``, ``val_known`` or ``test_known`` for a known activity, ``val_new`` or
        ``test_new`` for a new one, and None for a new activity in a video of the train side:
        such a clip belongs to no split.
    """
    partition = partition_of(video_key, version=version)
    if partition == "train":
        return None if new else "train"
    return f"{partition}_{'new' if new else 'known'}"
