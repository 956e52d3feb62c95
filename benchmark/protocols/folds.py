"""The protocols of folds: the experiment on known and new activities, k times over.

One fixed set of new activities is small, so its scores are noisy. Here the activities are dealt
into k folds, and in fold i those of fold i are new. The rules:

* **Folds** of ``activity-folds``: all activities with a clip, sorted by a hash of their name, are
  dealt in turn to folds 1 to k. Folds differ by at most one activity. The data set's own flag "new"
  plays no part.
* **Folds** of ``family-folds``: the same with whole families (column ``family`` of the activity
  table: all squats, all push-ups, ...), the largest first, each to the fold with the fewest
  activities so far. So no near relative of a new activity is trained on.
* **Sides of videos.** A video with a clip in ``train`` is on the training side; one with a clip in
  ``val_known`` or ``test_known`` on that side. A video whose clips are all of activities that the
  data set holds out has no training side yet, so it gets a side by a hash of its id: without this
  those activities could never be known.
* **Sides of new activities.** A third of a fold's activities, by the hash of their names, is for
  validation (none of two), the others are for the test: what a model was chosen on is not what it
  is tested on.
* **Training** in fold i: the clips on the training side whose activity is not in fold i.
* **Known**: clips on the validation or test side whose activity is not in fold i, if there is a
  training clip of that activity.
* **New**: clips of fold i, on the side of their activity, if their video has no clip in this fold's
  training and none on the other side. Where a video shows one activity, as in most data sets,
  those are all of them.

So in each fold no video of a scored clip is trained on, no activity scored as new has a single
clip in training, and no video or new activity is both validated and tested on. Each activity is
new in exactly one fold.

Scores of different folds are never pooled. What a fold trains on has less of the label sets that
it holds out, so pooled scores would leak which fold, and so which labels, a clip is of. The table
has the mean over the folds of what each fold's own clips score.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from benchmark.run import Fold
from musclemap_data.catalog import DEFAULT_TABLE, load_table
from musclemap_data.errors import UserError
from musclemap_data.shards import read_dataset_info
from musclemap_data.splits import Partition, partition_of

HASHED_WITH = "activity-folds-1"
"""What names and videos are hashed with: another text is another assignment."""

FIXED, BY_ACTIVITY, BY_FAMILY = PROTOCOLS = ("fixed", "activity-folds", "family-folds")


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


def folds_to_run(protocol: str, folds: int, data: Path) -> list[Fold | None]:
    """What a :class:`benchmark.run.Run` takes as ``fold``, once for each experiment.

    Args:
        data: the data set, whose table of activities knows their families.

    Raises:
        UserError: there is no such protocol, or no table of activities.
    """
    if protocol not in PROTOCOLS:
        raise UserError(f"protocol is {protocol!r}; it must be one of {', '.join(PROTOCOLS)}")
    if protocol == FIXED:
        return [None]
    families = families_of(protocol, data)
    return [activity_fold(number, folds, families) for number in range(1, folds + 1)]


def families_of(protocol: str | None, data: Path) -> Mapping[str, str] | None:
    """Activity -> family where the protocol deals whole families, else None.

    Raises:
        UserError: the data set's table of activities cannot be read.
    """
    if protocol != BY_FAMILY:
        return None
    table = load_table(read_dataset_info(data).get("activities", DEFAULT_TABLE))
    return {slug: activity.family for slug, activity in table.items()}


def activity_fold(number: int, folds: int, families: Mapping[str, str] | None = None) -> Fold:
    """One fold, 1 to ``folds``, for a run; of whole families where they are given."""
    assign = partial(fold_splits, fold=number, folds=folds, families=families)
    return Fold(number, folds, assign, BY_ACTIVITY if families is None else BY_FAMILY)


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


def family_folds(
    activities: Iterable[str], folds: int, families: Mapping[str, str]
) -> dict[str, int]:
    """The fold of each activity, 1 to ``folds``: that of its family.

    Args:
        families: activity -> family.

    Raises:
        UserError: an activity has no family; fewer than two folds, or fewer families than folds.
    """
    names = sorted(set(activities), key=_hash)
    without = [name for name in names if name not in families]
    if without:
        raise UserError(
            f"{len(without)} of {len(names)} activities are not in the data set's table of "
            f"activities, which names their families; the first is {without[0]}. Deal single "
            f"activities with --protocol {BY_ACTIVITY}, or build the data set with a table that "
            "lists them"
        )
    sizes = Counter(families[name] for name in names)
    if folds < 2:
        raise UserError(f"there are {folds} folds; give at least 2")
    if len(sizes) < folds:
        raise UserError(
            f"the data set has {len(sizes)} families ({', '.join(sorted(sizes))}), too few for "
            f"{folds} folds; give --folds {len(sizes)} or less"
        )
    filled = dict.fromkeys(range(1, folds + 1), 0)
    fold_of: dict[str, int] = {}
    for family in sorted(sizes, key=lambda name: (-sizes[name], _hash(name))):
        fold_of[family] = min(filled, key=lambda number: filled[number])
        filled[fold_of[family]] += sizes[family]
    return {name: fold_of[families[name]] for name in names}


def fold_splits(
    clips: Sequence[ClipLike], fold: int, folds: int, families: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The split of each clip in one fold, by clip id; clips without a part in it are left out.

    Args:
        clips: all clips of the data set, of all splits.
        fold: 1 to ``folds``.
        families: activity -> family, to deal whole families.

    Raises:
        UserError: as :func:`activity_folds` and :func:`family_folds`.
        ValueError: ``fold`` is out of range.
    """
    if not 1 <= fold <= folds:
        raise ValueError(f"fold is {fold}; it must be from 1 to {folds}")
    names = {clip.activity for clip in clips}
    fold_of = (
        activity_folds(names, folds) if families is None else family_folds(names, folds, families)
    )
    new = sorted((name for name in names if fold_of[name] == fold), key=_hash)
    validated = set(new[: len(new) // 3])
    sides = _sides(clips)
    trained = [
        clip for clip in clips if sides[clip.video_id] == "train" and fold_of[clip.activity] != fold
    ]
    known = {clip.activity for clip in trained}
    splits = {clip.clip_id: "train" for clip in trained}
    # Where each video is seen; a new clip may only join where its video already is, or is nowhere.
    seen = {clip.video_id: "train" for clip in trained}
    for clip in clips:
        side = sides[clip.video_id]
        if side != "train" and clip.activity in known:
            splits[clip.clip_id] = f"{side}_known"
            seen[clip.video_id] = side
    for side in ("test", "val"):  # of a video that shows new activities of both, the test's
        joining = [
            clip
            for clip in clips
            if fold_of[clip.activity] == fold
            and (clip.activity in validated) == (side == "val")
            and seen.get(clip.video_id, side) == side
        ]
        splits |= {clip.clip_id: f"{side}_new" for clip in joining}
        seen |= {clip.video_id: side for clip in joining}
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
            sides[video] = partition_of(video, version=HASHED_WITH)
    return sides


def _hash(name: str) -> bytes:
    return hashlib.blake2b(f"{HASHED_WITH}:{name}".encode(), digest_size=8).digest()
