"""One shard from its staged rows: what a worker does, on whatever machine sees the folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from musclemap_data.errors import UserError
from musclemap_data.extract.plan import Place
from musclemap_data.extract.staging import read_staged
from musclemap_data.modalities import MODALITIES
from musclemap_data.shards import Shard, find_shard, replace_columns, shard_path, write_shard

OF_THE_CLIP = ("cut", "source", "engines")
"""Names in a row's provenance that are no modalities."""


@dataclass(frozen=True)
class RowPlan:
    """Where a row of a shard comes from: the shard as it is, ``work/``, or both.

    Attributes:
        clip_id: of the row.
        labels: as of now, see ``plan.labels_of``.
        stored: its number in the shard as it is; None if it is not there.
        staged: whether ``work/`` has what was made anew, which is merged into a stored one.
    """

    clip_id: str
    labels: Mapping[str, object]
    stored: int | None
    staged: bool


@dataclass(frozen=True)
class ShardJob:
    """One shard to write: plain values only, so that it can go to another process.

    Attributes:
        data_dir: the data set's folder.
        place: which shard.
        rows: in order.
    """

    data_dir: str
    place: Place
    rows: tuple[RowPlan, ...]

    @property
    def name(self) -> str:
        """File name of the shard."""
        return shard_path(Path(self.data_dir), *self.place).name


@dataclass
class Written:
    """A shard that was written.

    Attributes:
        sha256: of the file.
        sources: clip id -> SHA-256 of its video, in the order of the rows.
        quality: clip id -> quality of its skeleton; None where it has none.
        skeletons: how many skeletons were made anew.
        without_person: ids of the clips whose new skeleton shows nobody.
    """

    sha256: str = ""
    sources: dict[str, str] = field(default_factory=dict)
    quality: dict[str, float | None] = field(default_factory=dict)
    skeletons: int = 0
    without_person: list[str] = field(default_factory=list)


def write_job(job: ShardJob) -> Written:
    """Write a shard where it belongs: under a temporary name, read back, renamed.

    Raises:
        UserError: a staged row is gone or damaged.
        ValueError: the file did not read back as it was written.
        OSError: no room, or no permission.
    """
    written = Written()
    path = shard_path(Path(job.data_dir), *job.place)
    written.sha256 = write_shard(path, _rows(job, written))
    return written


def _rows(job: ShardJob, written: Written) -> Iterator[pa.Table]:
    """The rows of a shard, old and new, with today's labels; noted as they pass."""
    data_dir = Path(job.data_dir)
    old = find_shard(data_dir, job.name)
    for planned in job.rows:
        kept = None if planned.stored is None else _read_row(old, planned.stored)
        if kept is not None and not planned.staged:
            yield _noted(written, replace_columns(kept, planned.labels))
            continue
        with read_staged(data_dir / "work" / f"{planned.clip_id}.arrow") as row:
            if row is None:
                raise UserError(
                    f"work/{planned.clip_id}.arrow is gone or damaged: run the command again"
                )
            _look_for_person(written, planned.clip_id, row)
            if kept is not None:
                row = _merged(kept, row)
            yield _noted(written, replace_columns(row, planned.labels))


def _noted(written: Written, row: pa.Table) -> pa.Table:
    clip_id: Any = row["clip_id"][0].as_py()
    written.sources[clip_id] = row["source_sha256"][0].as_py()
    written.quality[clip_id] = row["skeleton_quality"][0].as_py()
    return row


def _look_for_person(written: Written, clip_id: str, row: pa.Table) -> None:
    skeleton = row["skeleton"][0].values
    if skeleton is not None:
        written.skeletons += 1
        if not skeleton.to_numpy(zero_copy_only=False)[2::3].any():
            written.without_person.append(clip_id)


def _read_row(path: Path, index: int) -> pa.Table:
    """A row to be written again; a modality that MuscleMap no longer has leaves its provenance.

    Its columns are not written again, and a name without them would later count as made.
    """
    with Shard(path, verify=True) as shard:
        row = shard.row_table(index)
    made = json.loads(row["provenance"][0].as_py())
    known = {name: value for name, value in made.items() if name in {*OF_THE_CLIP, *MODALITIES}}
    if known == made:
        return row
    return replace_columns(row, {"provenance": json.dumps(known, sort_keys=True)})


def _merged(old: pa.Table, fresh: pa.Table) -> pa.Table:
    """An old row with the modalities that were made anew."""
    made = json.loads(fresh["provenance"][0].as_py())
    before = json.loads(old["provenance"][0].as_py())
    engines = before.get("engines", {})
    engines = {name: engines[name] for name in engines if name not in made}
    engines |= made.get("engines", {})
    provenance = before | made | {"engines": engines}
    if not engines:
        del provenance["engines"]
    columns = [
        column.name for name in made.keys() & MODALITIES for column in MODALITIES[name].columns
    ]
    return replace_columns(
        old,
        {name: fresh[name] for name in columns}
        | {"provenance": json.dumps(provenance, sort_keys=True)},
    )
