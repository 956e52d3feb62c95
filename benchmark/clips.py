"""What clips a data set has, without decoding any: identity, labels, modalities, addresses."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import groupby
from pathlib import Path

from musclemap_data.catalog import DEFAULT_TABLE, SPLITS, Activity, load_table
from musclemap_data.errors import UserError
from musclemap_data.modalities import modality_of
from musclemap_data.shards import Shard, list_shards, read_dataset_info


@dataclass(frozen=True)
class Clip:
    """What is known of a clip without decoding it.

    Attributes:
        muscles: 20 booleans, as the shard has them.
        grades: 20 numbers of ``catalog.GRADES``; None where the activity table of the data set
            is not at hand, has other labels for the clip, or knows no grades.
    """

    clip_id: str
    video_id: str
    activity: str
    split: str
    frames: int
    height: int
    width: int
    muscles: tuple[bool, ...]
    shard: Path
    row: int
    grades: tuple[float, ...] | None = None

    @property
    def address(self) -> str:
        """Where the clip lies, for messages."""
        return f"clip {self.clip_id} ({self.shard} row {self.row})"


_LIGHT_COLUMNS = [each.name for each in fields(Clip) if each.name not in ("shard", "row", "grades")]


def activity_number(name: str) -> int:
    """A number that stands for an activity in a batch: the same in every data set and process."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=7).digest(), "big")


def read_clips(
    data_dir: Path,
    splits: Sequence[str],
    subset: Collection[str] | None = None,
    assigned: Mapping[str, str] | None = None,
) -> list[Clip]:
    """The clips of some splits in the order of their shards.

    Args:
        subset: clip ids to keep, or all.
        assigned: clip id -> split, instead of the data set's own splits
            (:mod:`benchmark.protocols.folds`); other clips are left out.

    Raises:
        UserError: a shard has not the schema of this MuscleMap (labels of the wrong width, a
            missing column), or holds rows of another split.
    """
    if assigned is not None:
        moved = (
            replace(clip, split=assigned[clip.clip_id])
            for clip in read_clips(data_dir, SPLITS, subset)
            if assigned.get(clip.clip_id) in splits
        )
        return sorted(moved, key=lambda clip: splits.index(clip.split))
    clips = []
    table = _activity_table(data_dir)
    for split in splits:
        for path in list_shards(Path(data_dir), split):
            with Shard(path) as shard:
                problems = shard.schema_problems()
                if problems:
                    raise UserError(
                        f"{path} is not a shard of this MuscleMap: {'; '.join(problems)}. Rebuild "
                        "it with `musclemap extract-modalities`."
                    )
                rows = shard.table(_LIGHT_COLUMNS).to_pylist()
            for row_number, row in enumerate(rows):
                row["muscles"] = tuple(row["muscles"])
                known = table.get(row["activity"])
                grades = known.grades if known and known.muscles == row["muscles"] else None
                clip = Clip(**row, shard=path, row=row_number, grades=grades)
                if clip.split != split or clip.frames < 1:
                    raise UserError(
                        f"{clip.address} has split {clip.split!r} and {clip.frames} frames in a "
                        f"shard of {split!r}. Rebuild it with `musclemap extract-modalities`."
                    )
                if subset is None or clip.clip_id in subset:
                    clips.append(clip)
    return clips


def _activity_table(data_dir: Path) -> Mapping[str, Activity]:
    """The activities with grades that ``dataset.json`` names, by slug; none if not at hand."""
    try:
        table = load_table(read_dataset_info(Path(data_dir)).get("activities", DEFAULT_TABLE))
    except UserError:
        return {}
    return table if {grade for each in table.values() for grade in each.grades} - {0, 1} else {}


def of_quality(clips: Sequence[Clip], least: float) -> list[Clip]:
    """The clips whose skeleton is of this quality, in [0, 1], or a better one; all for 0.

    Raises:
        UserError: clips whose skeleton was not judged, or that have none.
    """
    if not least:
        return list(clips)
    kept, unknown = [], []
    for path, members in groupby(clips, key=lambda clip: clip.shard):
        with Shard(path) as shard:
            quality = shard.table(["skeleton_quality"])["skeleton_quality"].to_pylist()
        for clip in members:
            if quality[clip.row] is None:
                unknown.append(clip)
            elif quality[clip.row] >= least:
                kept.append(clip)
    if unknown:
        raise UserError(
            f"the skeletons of {len(unknown)} of {len(clips)} clips were not judged, the first is "
            f"{unknown[0].address}. Make them anew: `musclemap extract-modalities --modalities "
            "skeleton`; or leave out --min-skeleton-quality."
        )
    return kept


class MissingModality(UserError):
    """Clips lack a modality that a model reads."""


def check_modalities(clips: Sequence[Clip], modalities: Sequence[str]) -> None:
    """Make sure that every clip has every modality, without reading the pictures.

    Args:
        modalities: their keys, such as ``rgb_diff``.

    Raises:
        ValueError: there is no such modality.
        MissingModality: the first modality that is missing, in how many clips, and what to do.
        UserError: a shard cannot be read.
    """
    for key in modalities:
        if key == "features":  # of a file beside the shards: benchmark.features checks them
            continue
        name = modality_of(key).name
        missing = _clips_without(clips, key)
        if missing:
            raise MissingModality(
                f"{len(missing)} of {len(clips)} clips have no {name}, the first is "
                f"{missing[0].address}. Extract it: `musclemap extract-modalities --modalities "
                f"{name}`."
            )


def _clips_without(clips: Sequence[Clip], column: str) -> list[Clip]:
    """The clips whose first column of a modality is null."""
    missing = []
    for path, members in groupby(sorted(clips, key=lambda c: (c.shard, c.row)), lambda c: c.shard):
        with Shard(path) as shard:
            missing += [clip for clip in members if shard.is_null(clip.row, column)]
    return missing
