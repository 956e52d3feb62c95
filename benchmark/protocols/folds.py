"""The protocol activity-folds: the experiment on known and new activities, k times over.

One fixed set of new activities is small, so its scores are noisy. Here the activities are dealt
into k folds, and in fold i those of fold i are new. The rules:

* **Folds.** All activities with a clip, sorted by a hash of their name, are dealt in turn to folds
  1 to k. Folds differ by at most one activity. The data set's own flag "new" plays no part.
* **Sides.** All clips of a video lie on one side. A video with a clip in ``train`` is on the
  training side; one with a clip in ``val_known`` or ``test_known`` on that side. A video whose
  clips are all of activities that the data set holds out has no training side yet, so it gets a
  side by a hash of its id: without this those activities could never be known.
* **Training** in fold i: the clips on the training side whose activity is not in fold i.
* **Known**: clips on the validation or test side whose activity is not in fold i, if there is a
  training clip of that activity.
* **New**: clips of fold i on the validation or test side; and those on the training side whose
  video has no clip in this fold's training, for the test. Where a video shows one activity, as in
  most data sets, those are all of them.

So in each fold no video of a scored clip is trained on, and no activity scored as new has a single
clip in training. Each activity is new in exactly one fold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Protocol

from benchmark.run import Fold
from musclemap_data.errors import UserError
from musclemap_data.splits import Partition, partition_of

VERSION = "activity-folds-1"
"""Name of the assignment: another is another protocol."""


class ClipLike(Protocol):
    """What is needed of a clip."""

    @property
    def clip_id(self) -> str: ...
    @property
    def video_id(self) -> str: ...
    @property
    def activity(self) -> str: ...
    @property
    def split(self) -> str: ...


PROTOCOLS = ("fixed", "activity-folds")


def folds_to_run(protocol: str, folds: int) -> list[Fold | None]:
    """What a :class:`benchmark.run.Run` takes as ``fold``, once for each experiment.

    Raises:
        UserError: there is no such protocol.
    """
    if protocol not in PROTOCOLS:
        raise UserError(f"protocol is {protocol!r}; it must be one of {', '.join(PROTOCOLS)}")
    if protocol == "fixed":
        return [None]
    return [activity_fold(number, folds) for number in range(1, folds + 1)]


def activity_fold(number: int, folds: int) -> Fold:
    """One fold of the protocol, 1 to ``folds``, for a run."""
    return Fold(number, folds, partial(fold_splits, fold=number, folds=folds))


def activity_folds(activities: Iterable[str], folds: int) -> dict[str, int]:
    """The fold of each activity, 1 to ``folds``; the same whatever their order.

    Raises:
        UserError: fewer than two folds, or fewer activities than folds.
    """
    names = sorted(set(activities), key=_hash)
    if folds < 2:
        raise UserError(f"there are {folds} folds; give at least 2")
    if len(names) < folds:
        raise UserError(
            f"the data set has {len(names)} activities, too few for {folds} folds; give --folds "
            f"{len(names)} or less"
        )
    return {name: 1 + place % folds for place, name in enumerate(names)}


def fold_splits(clips: Sequence[ClipLike], fold: int, folds: int) -> dict[str, str]:
    """The split of each clip in one fold, by clip id; clips without a part in it are left out.

    Args:
        clips: all clips of the data set, of all splits.
        fold: 1 to ``folds``.

    Raises:
        UserError: as :func:`activity_folds`.
        ValueError: ``fold`` is out of range.
    """
    if not 1 <= fold <= folds:
        raise ValueError(f"fold is {fold}; it must be from 1 to {folds}")
    fold_of = activity_folds((clip.activity for clip in clips), folds)
    sides = _sides(clips)
    trained = [
        clip for clip in clips if sides[clip.video_id] == "train" and fold_of[clip.activity] != fold
    ]
    trained_activities = {clip.activity for clip in trained}
    trained_videos = {clip.video_id for clip in trained}
    splits = {clip.clip_id: "train" for clip in trained}
    for clip in clips:
        side = sides[clip.video_id]
        if fold_of[clip.activity] == fold:
            if clip.video_id not in trained_videos:
                splits[clip.clip_id] = "val_new" if side == "val" else "test_new"
        elif side != "train" and clip.activity in trained_activities:
            splits[clip.clip_id] = f"{side}_known"
    return splits


def _sides(clips: Sequence[ClipLike]) -> dict[str, Partition]:
    """The side of each video."""
    found: dict[str, set[str]] = {}
    for clip in clips:
        found.setdefault(clip.video_id, set()).add(clip.split)
    sides: dict[str, Partition] = {}
    for video, splits in found.items():
        if "train" in splits:
            sides[video] = "train"
        elif "val_known" in splits:
            sides[video] = "val"
        elif "test_known" in splits:
            sides[video] = "test"
        else:
            sides[video] = partition_of(video, version=VERSION)
    return sides


def _hash(name: str) -> bytes:
    return hashlib.blake2b(f"{VERSION}:{name}".encode(), digest_size=8).digest()
