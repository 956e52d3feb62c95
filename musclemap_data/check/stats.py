"""Counts of a data set: clips and seconds by split, activity and muscle region."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from musclemap_data.catalog import (
    SPLITS,
    Activity,
    annotations_dir,
    load_activities,
    load_muscles,
)
from musclemap_data.manifest import read_manifest
from musclemap_data.shards import Shard, list_shards, read_dataset_info


def dataset_stats(data_dir: Path) -> dict[str, Any]:
    """Count what is in the shards.

    Returns:
        ``{"splits": {split: {clips, seconds, videos, planned, coverage}}, "activities": {slug:
        {clips, seconds, splits}}, "regions": {slug: {clips, share}}, "skeleton": {...}}``.
        ``coverage`` is built / planned clips, None for an empty plan.

    Raises:
        UserError: there is no data set here.
    """
    info = read_dataset_info(data_dir)
    muscles = load_muscles()
    splits: dict[str, dict[str, Any]] = {}
    activities: dict[str, dict[str, Any]] = defaultdict(
        lambda: {"clips": 0, "seconds": 0.0, "splits": defaultdict(int)}
    )
    region_clips = [0] * len(muscles)
    total = 0
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
        total += clips
        planned = info["splits"][split]["planned"]
        splits[split] = {
            "clips": clips,
            "seconds": round(seconds, 2),
            "videos": len(videos),
            "planned": planned,
            "coverage": clips / planned if planned else None,
        }
    return {
        "splits": splits,
        "activities": {
            slug: {
                "clips": entry["clips"],
                "seconds": round(entry["seconds"], 2),
                "splits": dict(entry["splits"]),
            }
            for slug, entry in sorted(activities.items())
        },
        "regions": {
            muscle.slug: {"clips": count, "share": count / total if total else None}
            for muscle, count in zip(muscles, region_clips, strict=True)
        },
    }


def annotation_stats() -> dict[str, Any]:
    """Count the bundled annotations: activities by region and family, listed clips by split.

    Returns:
        ``{"activities": {known, new}, "regions": {slug: {known, new}}, "families": {name: {known,
        new}}, "splits": {split: {clips, videos, activities}}}``.
    """
    activities = load_activities()
    clips = read_manifest(annotations_dir() / "videos" / "default.csv", activities)
    muscles = load_muscles()

    def known_and_new(group: list[Activity]) -> dict[str, int]:
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
