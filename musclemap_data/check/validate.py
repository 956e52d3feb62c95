"""Check a finished data set: schema, checksums, every frame, labels, and splits without leaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from musclemap_data.catalog import DEFAULT_TABLE, SPLITS, Activity, load_table
from musclemap_data.errors import UserError
from musclemap_data.manifest import partition
from musclemap_data.modalities import MODALITIES
from musclemap_data.ranges import shard_sha256
from musclemap_data.shards import Shard, list_shards, read_dataset_info


def validate_dataset(
    data_dir: Path, *, on_row: Callable[[], None] | None = None
) -> tuple[int, list[str]]:
    """Read everything in a data set and report what is wrong with it.

    Checked: the schema and hash of every shard; that every JPEG decodes to the row's size and
    count; that labels are those of the activity; that no clip is there twice; and that no source
    video (by id or by content) is in two of train, val and test.

    Args:
        on_row: called after each row.

    Returns:
        The number of rows and the problems found, each with its address.

    Raises:
        UserError: there is no data set here.
    """
    info = read_dataset_info(data_dir)
    activities = load_table(info.get("activities", DEFAULT_TABLE))
    problems: list[str] = []
    seen_clips: dict[str, str] = {}
    seen_sources: dict[str, tuple[str, str]] = {}
    row_count = 0
    listed = set(info.get("shards", {}))
    for split in SPLITS:
        for path in list_shards(data_dir, split):
            listed.discard(path.name)
            problems += _shard_problems(path, info)
            try:
                shard = Shard(path, verify=True)
            except UserError as error:
                problems.append(str(error))
                continue
            with shard:
                schema = shard.schema_problems()
                problems += [f"{path.name}: {text}" for text in schema]
                for index in range(len(shard) if not schema else 0):
                    address = f"{path.name} row {index}"
                    row_count += 1
                    try:
                        row = shard.row(index)
                    except UserError as error:
                        problems.append(str(error))
                        continue
                    found = _row_problems(row, split, activities)
                    problems += [f"{address} ({row['clip_id']}): {text}" for text in found]
                    first = seen_clips.setdefault(row["clip_id"], address)
                    if first != address:
                        problems.append(f"{address}: clip {row['clip_id']} is also at {first}")
                    for source in (f"video {row['video_id']}", f"content {row['source_sha256']}"):
                        part, first = seen_sources.setdefault(source, (partition(split), address))
                        if part != partition(split):
                            problems.append(
                                f"{address}: {source} is in {partition(split)} and, at {first}, "
                                f"in {part}: a leak between splits"
                            )
                    if on_row:
                        on_row()
    problems += [f"{name} is in dataset.json but not in shards/" for name in sorted(listed)]
    return row_count, problems


def _shard_problems(path: Path, info: Mapping[str, Any]) -> list[str]:
    recorded = info.get("shards", {}).get(path.name)
    if recorded is None:
        return [f"{path.name} is not in dataset.json"]
    if recorded["sha256"] != shard_sha256(path):
        return [f"{path.name}: its content is not what was written (sha256 differs)"]
    return []


def _row_problems(
    row: Mapping[str, Any], split: str, activities: Mapping[str, Activity]
) -> list[str]:
    problems = []
    if row["split"] != split:
        problems.append(f"says split {row['split']} but lies in a shard of {split}")
    activity = activities.get(row["activity"])
    if activity is None:
        problems.append(f"activity {row['activity']!r} is not in the activity table")
    elif list(activity.muscles) != row["muscles"]:
        problems.append(f"labels are not those of {row['activity']} in the activity table")
    for modality in MODALITIES.values():
        problems += modality.problems(row)
    return problems
