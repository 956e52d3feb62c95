"""Bring a data set of an older format version up, shard by shard.

The clips keep their content, their order and their places; only the way they are written changes.
A shard is replaced whole, so a killed run leaves some shards old and some new, all of them
readable, and the next run goes on with the old ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from musclemap_data import remote
from musclemap_data.catalog import SPLITS
from musclemap_data.errors import UserError
from musclemap_data.files import LEFTOVERS, lock_data_dir
from musclemap_data.ledger import Ledger
from musclemap_data.ranges import shard_sha256
from musclemap_data.shards import (
    FORMAT_VERSION,
    Shard,
    list_shards,
    read_dataset_info,
    write_dataset_info,
    write_shard,
)


@dataclass(frozen=True)
class OldShard:
    """A shard to be written anew.

    Attributes:
        path: where it is.
        version: of its format.
        clips: in it.
        bytes: size of the file.
    """

    path: Path
    version: int
    clips: int
    bytes: int


@dataclass
class UpgradeReport:
    """What an upgrade has done, or would do.

    Attributes:
        todo: the shards of an older version, as they were found.
        upgraded: names of those that were written anew.
        current: shards that had the newest version already.
        failed: name of a shard -> why it stays as it was.
    """

    todo: list[OldShard]
    upgraded: list[str] = field(default_factory=list)
    current: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def plan_upgrade(data_dir: Path) -> UpgradeReport:
    """What an upgrade would do; nothing is written, and no row is read.

    Raises:
        UserError: there is no data set here, or one of a newer version than this MuscleMap knows.
    """
    read_dataset_info(data_dir)
    report = UpgradeReport(todo=[])
    for path in (path for split in SPLITS for path in list_shards(data_dir, split)):
        try:
            with Shard(path) as shard:
                if shard.version == FORMAT_VERSION:
                    report.current += 1
                    continue
                old = OldShard(path, shard.version, len(shard), path.stat().st_size)
        except UserError as error:
            report.failed[path.name] = str(error)
        else:
            report.todo.append(old)
    return report


def upgrade_dataset(
    data_dir: Path,
    *,
    on_total: Callable[[int], None] = lambda clips: None,
    on_clip: Callable[[], None] = lambda: None,
) -> UpgradeReport:
    """Write every shard of an older format version anew.

    A shard that cannot be read is left as it is, and the others go on.

    Args:
        data_dir: a data set.
        on_total: called once with the number of clips to be written.
        on_clip: called after each.

    Returns:
        A report.

    Raises:
        UserError: there is no data set here, it is in use, or it is of a newer version.
    """
    read_dataset_info(data_dir)  # before the lock makes a folder of a wrong name
    with lock_data_dir(data_dir), remote.writing(data_dir):
        report = plan_upgrade(data_dir)
        on_total(sum(old.clips for old in report.todo))
        for leftover in (data_dir / "shards").glob(LEFTOVERS):
            leftover.unlink(missing_ok=True)
        if (data_dir / "ledger.sqlite").exists():
            Ledger(data_dir).close()  # gets the columns that it is older than
        info = read_dataset_info(data_dir)
        info["format_version"] = FORMAT_VERSION
        _record_missing(data_dir, info, report)
        for old in report.todo:
            _write_anew(data_dir, info, old, report, on_clip)
        write_dataset_info(data_dir, info)
    return report


def _write_anew(
    data_dir: Path,
    info: MutableMapping[str, Any],
    old: OldShard,
    report: UpgradeReport,
    on_clip: Callable[[], None],
) -> None:
    name = old.path.name
    # A crash must not leave the old hash beside the new shard.
    before = info["shards"].pop(name)
    write_dataset_info(data_dir, info)
    try:
        after = before | {
            "sha256": write_shard(data_dir / "shards" / name, _clips(old.path, on_clip))
        }
    except (UserError, ValueError) as error:
        report.failed[name] = str(error)
        after = before
    else:
        report.upgraded.append(name)
    info["shards"][name] = after
    write_dataset_info(data_dir, info)
    remote.upload(data_dir, shards_only=True)


def _clips(path: Path, on_clip: Callable[[], None]) -> Iterator[pa.Table]:
    with Shard(path, verify=True) as shard:
        for index in range(len(shard)):
            yield shard.row_table(index)
            on_clip()


def _record_missing(data_dir: Path, info: MutableMapping[str, Any], report: UpgradeReport) -> None:
    """Record the shard whose entry a killed run had taken out, be it an old or a new one."""
    recorded = info.setdefault("shards", {})
    for path in (path for split in SPLITS for path in list_shards(data_dir, split)):
        if path.name not in recorded and path.name not in report.failed:
            with Shard(path) as shard:
                recorded[path.name] = {"rows": len(shard), "sha256": shard_sha256(path)}
