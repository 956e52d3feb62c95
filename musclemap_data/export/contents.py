"""What every export needs to know of a data set, read once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musclemap_data.catalog import DEFAULT_TABLE, SPLITS, Activity, is_synthetic, load_table
from musclemap_data.check.stats import DatasetStats, dataset_stats
from musclemap_data.errors import UserError
from musclemap_data.ledger import Ledger
from musclemap_data.modalities import MODALITIES
from musclemap_data.modalities.modality import Pictures
from musclemap_data.shards import Shard, list_shards, read_dataset_info


@dataclass(frozen=True)
class Contents:
    """A finished data set.

    Attributes:
        data_dir: where it is.
        info: ``dataset.json``.
        activities: its label table, by slug.
        shards: split -> its shards; splits without one are left out.
        counts: clips and seconds, as ``dataset_stats`` counts them.
        synthetic: whether every video is of the embedded sample.
        licences: licence of the source videos as their sites state it -> videos; "" where unknown.
            Empty without a ledger.
        blurred_clips: clips in whose pictures the faces that were found are blurred.
        failures: failure class -> clips that could not be built. Empty without a ledger.
    """

    data_dir: Path
    info: Mapping[str, Any]
    activities: Mapping[str, Activity]
    shards: Mapping[str, list[Path]]
    counts: DatasetStats
    synthetic: bool
    licences: Mapping[str, int]
    failures: Mapping[str, int]
    blurred_clips: int

    @property
    def shard_paths(self) -> list[Path]:
        """The shards of all splits, split after split."""
        return [path for found in self.shards.values() for path in found]

    @property
    def clip_count(self) -> int:
        """Clips in all shards."""
        return sum(entry["clips"] for entry in self.counts["splits"].values())

    @property
    def shard_count(self) -> int:
        """Shards of all splits."""
        return len(self.shard_paths)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities that the build extracted."""
        return tuple(name for name in self.info.get("modalities", {}) if name != "cut")


def read_contents(data_dir: Path) -> Contents:
    """Read what the exports need; no pictures.

    Raises:
        UserError: there is no finished data set here, it is empty, or its shards are not those
            that ``dataset.json`` lists (a build is running or was interrupted).
    """
    data_dir = Path(data_dir)
    info = read_dataset_info(data_dir)
    shards = {split: found for split in SPLITS if (found := list_shards(data_dir, split))}
    listed = {name: entry["rows"] for name, entry in info.get("shards", {}).items()}
    there = {}
    for path in (path for found in shards.values() for path in found):
        with Shard(path) as shard:
            there[path.name] = len(shard)
    if there != listed:
        raise UserError(
            f"The shards in {data_dir} are not those that dataset.json lists: a build is running "
            "or was interrupted. Let `musclemap extract-modalities` end first."
        )
    if not there:
        raise UserError(f"The data set in {data_dir} has no clip: nothing to export.")
    video_ids: set[str] = set()
    blurred = 0
    for path in (path for found in shards.values() for path in found):
        with Shard(path) as shard:
            rows = shard.table(["video_id", "provenance"]).to_pylist()
        video_ids.update(row["video_id"] for row in rows)
        blurred += sum(_is_blurred(json.loads(row["provenance"])) for row in rows)
    licences: dict[str, int] = {}
    failures: dict[str, int] = {}
    if (data_dir / "ledger.sqlite").exists():
        with Ledger(data_dir, read_only=True) as ledger:
            failures = {
                group.failure.failure_class: group.clips for group in ledger.summary().failures
            }
            for video in ledger.videos():
                if video.video_id in video_ids:
                    name = video.licence or ""
                    licences[name] = licences.get(name, 0) + 1
    return Contents(
        data_dir=data_dir,
        info=info,
        activities=load_table(info.get("activities", DEFAULT_TABLE)),
        shards=shards,
        counts=dataset_stats(data_dir),
        synthetic=is_synthetic(video_ids),
        licences=licences,
        failures=failures,
        blurred_clips=blurred,
    )


def _is_blurred(provenance: Mapping[str, Any]) -> bool:
    """Whether a row has pictures, and all of them were made of frames with blurred faces."""
    shown = [
        how
        for name, how in provenance.items()
        if name in MODALITIES and isinstance(MODALITIES[name].content, Pictures)
    ]
    return bool(shown) and all("faces" in how for how in shown)
