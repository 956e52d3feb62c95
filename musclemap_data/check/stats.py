"""Counts of a data set: clips and seconds by split, activity and muscle region."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import TypedDict

from musclemap_data.catalog import (
    SPLITS,
    Activity,
    annotations_dir,
    load_activities,
    load_muscles,
)
from musclemap_data.manifest import read_manifest
from musclemap_data.shards import Shard, list_shards, read_dataset_info


class SplitStats(TypedDict):
    """One split; ``coverage`` is built / planned clips, None for an empty plan."""

    clips: int
    seconds: float
    videos: int
    planned: int
    coverage: float | None


class ActivityStats(TypedDict):
    """One activity; ``splits`` is split -> clips, of the splits that have any."""

    clips: int
    seconds: float
    splits: dict[str, int]


class RegionStats(TypedDict):
    """One muscle region: clips in which it is active, and their share of all clips."""

    clips: int
    share: float | None


class DatasetStats(TypedDict):
    """Split, activity and muscle region -> what is in the shards."""

    splits: dict[str, SplitStats]
    activities: dict[str, ActivityStats]
    regions: dict[str, RegionStats]


class KnownAndNew(TypedDict):
    """Activities that are trained on, and activities that are held out."""

    known: int
    new: int


class ListedSplit(TypedDict):
    """One split of the bundled list of clips."""

    clips: int
    videos: int
    activities: int


class AnnotationStats(TypedDict):
    """The bundled activities, by muscle region and by family too, and the bundled list of clips."""

    activities: KnownAndNew
    regions: dict[str, KnownAndNew]
    families: dict[str, KnownAndNew]
    splits: dict[str, ListedSplit]


def dataset_stats(data_dir: Path) -> DatasetStats:
    """Count what is in the shards. Seconds are rounded to hundredths.

    Raises:
        UserError: there is no data set here.
    """
    info = read_dataset_info(data_dir)
    muscles = load_muscles()
    splits: dict[str, SplitStats] = {}
    activities: dict[str, ActivityStats] = defaultdict(
        lambda: ActivityStats(clips=0, seconds=0.0, splits=Counter())
    )
    region_clips = [0] * len(muscles)
    for split in SPLITS:
        clips, seconds, videos = 0, 0.0, set()
        for path in list_shards(data_dir, split):
            with Shard(path) as shard:
                columns = ["video_id", "activity", "frames", "fps", "muscles"]
                rows = shard.table(columns).to_pylist()
            for row in rows:
                length_s = row["frames"] / row["fps"]
                clips += 1
                seconds += length_s
                videos.add(row["video_id"])
                activity = activities[row["activity"]]
                activity["clips"] += 1
                activity["seconds"] += length_s
                activity["splits"][split] += 1
                for index, active in enumerate(row["muscles"]):
                    region_clips[index] += active
        planned = info["splits"][split]["planned"]
        splits[split] = {
            "clips": clips,
            "seconds": round(seconds, 2),
            "videos": len(videos),
            "planned": planned,
            "coverage": clips / planned if planned else None,
        }
    total = sum(entry["clips"] for entry in splits.values())
    for entry in activities.values():
        entry["seconds"] = round(entry["seconds"], 2)
    return {
        "splits": splits,
        "activities": dict(sorted(activities.items())),
        "regions": {
            muscle.slug: {"clips": count, "share": count / total if total else None}
            for muscle, count in zip(muscles, region_clips, strict=True)
        },
    }


def annotation_stats() -> AnnotationStats:
    """Count the bundled annotations."""
    activities = load_activities()
    clips = read_manifest(annotations_dir() / "videos" / "default.csv", activities)
    muscles = load_muscles()

    def known_and_new(group: list[Activity]) -> KnownAndNew:
        new = sum(activity.new for activity in group)
        return {"known": len(group) - new, "new": new}

    everything = list(activities.values())
    families = sorted({activity.family for activity in everything})
    return {
        "activities": known_and_new(everything),
        "regions": {
            muscle.slug: known_and_new([a for a in everything if a.muscles[muscle.index]])
            for muscle in muscles
        },
        "families": {
            family: known_and_new([a for a in everything if a.family == family])
            for family in families
        },
        "splits": {
            split: {
                "clips": len(inside),
                "videos": len({clip.video_id for clip in inside}),
                "activities": len({clip.activity for clip in inside}),
            }
            for split in SPLITS
            for inside in [[clip for clip in clips if clip.split == split]]
        },
    }
