"""From downloaded videos to shards: plan what is missing, run it in processes, commit by shard.

A worker (``engines``) turns one clip into a staged row in ``work/``; the main process puts the
finished rows of a shard together, in the order of clip ids, and renames the shard into place. A
killed build leaves whole rows in ``work/`` and whole shards in ``shards/``; the next run goes on
from there and ends with the same bytes as an undisturbed one.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from musclemap_data import remote
from musclemap_data.catalog import SPLITS, load_table
from musclemap_data.errors import RETRIED_BY_DEFAULT, Failure, UserError
from musclemap_data.extract.clip import (
    ClipJob,
    Extracted,
    Outcome,
    describe_cut,
    make_job,
    tool_versions,
)
from musclemap_data.extract.engines import check_engine, run_jobs
from musclemap_data.extract.staging import read_staged
from musclemap_data.files import LEFTOVERS, file_sha256, lock_data_dir
from musclemap_data.ledger import ClipRow, Ledger
from musclemap_data.modalities import MODALITIES
from musclemap_data.modalities.flow import CLIPPED_SHARE_WARNING
from musclemap_data.modalities.settings import ExtractionSettings
from musclemap_data.shards import (
    Shard,
    list_shards,
    read_dataset_info,
    replace_columns,
    shard_path,
    write_dataset_info,
    write_shard,
)

CLIPS_PER_SHARD = 64
LEDGER_UPLOADED_EVERY_S = 600


@dataclass
class BuildReport:
    """What one run of ``extract_modalities`` did. Every clip of the plan is in one count.

    Attributes:
        built: clips extracted by this run.
        present: clips that were in the shards already, as asked for.
        failed: clip id -> failure, of this run or of earlier ones that were not tried again.
        waiting: clips whose video is not downloaded yet.
        frames: frames extracted by this run.
        seconds: stage -> seconds, summed over clips (of all workers).
        clipped: clip id -> share of flow values beyond the bound, where above 0.1%.
    """

    built: int = 0
    present: int = 0
    failed: dict[str, Failure] = field(default_factory=dict)
    waiting: int = 0
    frames: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    clipped: dict[str, float] = field(default_factory=dict)


def extract_modalities(
    data_dir: Path,
    *,
    modalities: Sequence[str] = tuple(MODALITIES),
    workers: int | None = 2,
    engine: str = "local",
    address: str | None = None,
    settings: ExtractionSettings | None = None,
    clips_per_shard: int = CLIPS_PER_SHARD,
    retry_failed: bool = False,
    only: Collection[str] | None = None,
    on_total: Callable[[int], None] | None = None,
    on_clip: Callable[[str, int, Failure | None], None] | None = None,
) -> BuildReport:
    """Build the shards of a data directory, or bring them up to date.

    Only what is missing or was made with other settings is computed.

    Args:
        data_dir: where ``musclemap download`` put the videos.
        modalities: which of ``MODALITIES`` the rows must have; others already there are kept.
        workers: clips at once; None: one a core.
        engine: where clips are extracted, see ``engines.run_jobs``.
        address: of the engine ``ray``.
        settings: how modalities are made.
        clips_per_shard: rows of a full shard.
        retry_failed: try again clips that failed before for good.
        only: ids of the clips to extract; all others stay as they are. None: every clip.
        on_total: called once with the number of clips about to be extracted.
        on_clip: called with (clip id, frames, failure or None) as each clip ends.

    Returns:
        A report.

    Raises:
        UserError: nothing was downloaded here, an unknown modality, the directory is in use, or
            the engine cannot be used.
    """
    unknown = [name for name in modalities if name not in MODALITIES]
    if unknown or not modalities:
        raise UserError(
            f"modalities are {', '.join(modalities) or 'none'}; choose from {', '.join(MODALITIES)}"
        )
    check_engine(engine, workers, address)
    if not (data_dir / "ledger.sqlite").exists():
        raise UserError(f"Nothing was downloaded to {data_dir}. Run `musclemap download` first.")
    with lock_data_dir(data_dir), remote.writing(data_dir), Ledger(data_dir) as ledger:
        ledger.assign_shards(clips_per_shard)
        remote.upload(data_dir)
        build = _Build(data_dir, ledger, tuple(modalities), settings or ExtractionSettings())
        todo = build.plan(retry_failed, only)
        if on_total:
            on_total(len(todo))
        build.commit_complete()
        jobs = build.jobs(todo)
        with closing(run_jobs(jobs, workers, engine=engine, address=address)) as outcomes:
            for job, outcome in outcomes:
                frames, failure = (
                    (0, outcome) if isinstance(outcome, Failure) else (outcome.frames, None)
                )
                if on_clip:
                    on_clip(job.clip_id, frames, failure)
                build.finish(job, outcome)
        build.close()
        return build.report


class _Build:
    """The state of one run: which rows each shard needs, and which of them are there."""

    def __init__(
        self,
        data_dir: Path,
        ledger: Ledger,
        modalities: tuple[str, ...],
        settings: ExtractionSettings,
    ) -> None:
        self.data_dir = data_dir
        self.ledger = ledger
        self.modalities = modalities
        self.settings = settings
        self.report = BuildReport()
        self.work_dir = data_dir / "work"
        for name in ("clips", "shards", "work"):
            (data_dir / name).mkdir(exist_ok=True)
        self._cleanup_temporary()
        self.wanted = {name: MODALITIES[name].describe(settings) for name in modalities}
        self.activity_table = ledger.activity_table()
        activities = load_table(self.activity_table)
        self.clips = ledger.clips()
        unknown = sorted({clip.activity for clip in self.clips} - set(activities))
        if unknown:
            raise UserError(
                f"the activity table {self.activity_table} no longer has {', '.join(unknown)}: "
                "correct the manifest and run `musclemap download` again"
            )
        self.muscles = {
            clip.activity: list(activities[clip.activity].muscles) for clip in self.clips
        }
        self.by_id = {clip.clip_id: clip for clip in self.clips}
        # Shard -> the clips in it whose row is already as wanted, each with its row number.
        self.present: dict[tuple[str, int], dict[str, int]] = defaultdict(dict)
        self.stale: dict[str, tuple[Path, int]] = {}
        self.staged: dict[tuple[str, int], list[str]] = defaultdict(list)
        self.pending: dict[tuple[str, int], int] = defaultdict(int)
        self.timings: dict[str, dict[str, float]] = {}
        self.ledger_uploaded = time.monotonic()
        self.sources: dict[str, str] = {}
        earlier = read_dataset_info(data_dir) if (data_dir / "dataset.json").exists() else {}
        self.shard_hashes: dict[str, dict[str, Any]] = earlier.get("shards", {})
        same_cut = earlier.get("cut") == asdict(settings.cut)
        self.recorded = (earlier.get("modalities", {}) if same_cut else {}) | self.wanted

    def _cleanup_temporary(self) -> None:
        for folder in ("clips", "shards", "work"):
            for leftover in (self.data_dir / folder).glob(LEFTOVERS):
                leftover.unlink(missing_ok=True)

    # -- planning ---------------------------------------------------------------------------

    def plan(
        self, retry_failed: bool, only: Collection[str] | None = None
    ) -> list[tuple[str, tuple[str, ...]]]:
        """What is to be extracted: clip ids, each with its modalities."""
        by_shard: dict[tuple[str, int], list[ClipRow]] = defaultdict(list)
        for clip in self.clips:
            if clip.video.failure is not None:
                self.report.failed[clip.clip_id] = clip.video.failure
            elif clip.video.state != "downloaded":
                self.report.waiting += 1
            if clip.shard_number is not None:
                by_shard[clip.split, clip.shard_number].append(clip)
        todo = []
        for place, clips in by_shard.items():
            rows = self._existing_rows(place)
            for clip in clips:
                clip_id = clip.clip_id
                missing = self._missing(place, clip, rows, retry_failed)
                if missing and only is not None and clip_id not in only:
                    self._keep_old_row(clip_id)
                elif missing:
                    self.pending[place] += 1
                    todo.append((clip_id, missing))
            self.pending.setdefault(place, 0)
        self._drop_unplanned_shards(by_shard)
        if only is not None:
            failed = self.report.failed
            self.report.failed = {name: failed[name] for name in failed if name in only}
        return todo

    def _existing_rows(self, place: tuple[str, int]) -> dict[str, dict[str, Any]]:
        """Clip id -> light columns of the rows of a shard; nothing if it is absent or damaged."""
        path = shard_path(self.data_dir, *place)
        if not path.exists():
            return {}
        columns = ["clip_id", "source_sha256", "provenance", "frames"]
        try:
            with Shard(path, verify=True) as shard:
                if shard.schema_problems():
                    return {}
                rows = shard.table(columns).to_pylist()
        except UserError:
            return {}
        return {row["clip_id"]: row | {"row": index} for index, row in enumerate(rows)}

    def _missing(
        self,
        place: tuple[str, int],
        clip: ClipRow,
        rows: Mapping[str, Mapping[str, Any]],
        retry_failed: bool,
    ) -> tuple[str, ...]:
        """The modalities to extract of a clip; none if it is there, waits, or failed for good."""
        clip_id = clip.clip_id
        row = rows.get(clip_id)
        missing = self.modalities
        if row is not None:
            made = json.loads(row["provenance"])
            downloaded = clip.video.state == "downloaded"
            same_source = not downloaded or row["source_sha256"] == clip.video.sha256
            cut = describe_cut((clip.start_s, clip.end_s), self.settings)
            if same_source and made.get("cut") == cut:
                missing = tuple(m for m in self.modalities if made.get(m) != self.wanted[m])
                if not missing or not downloaded:
                    # A row whose video is gone for now is still a good row: keep what it has.
                    self.present[place][clip_id] = row["row"]
                    self.sources[clip_id] = row["source_sha256"]
                    self.report.failed.pop(clip_id, None)
                    self.report.present += 1
                    return ()
                self.stale[clip_id] = (shard_path(self.data_dir, *place), row["row"])
        if clip.video.state != "downloaded":
            return ()
        self.sources[clip_id] = str(clip.video.sha256)
        staged = self.work_dir / f"{clip_id}.arrow"
        if staged.exists() and _is_staged(self._job(clip, missing)):
            self.staged[place].append(clip_id)
            self.report.built += 1
            return ()
        failure = clip.failure
        if failure and not retry_failed and failure.failure_class not in RETRIED_BY_DEFAULT:
            self.report.failed[clip_id] = failure
            self._keep_old_row(clip_id)
            return ()
        return missing

    def _job(self, clip: ClipRow, modalities: tuple[str, ...]) -> ClipJob:
        return make_job(
            self.data_dir,
            {"clip_id": clip.clip_id, "source_sha256": clip.video.sha256, **self._labels(clip)},
            self.data_dir / str(clip.video.file),
            (clip.start_s, clip.end_s),
            {name: self.wanted[name] for name in modalities},
            self.settings,
        )

    def _labels(self, clip: ClipRow) -> dict[str, Any]:
        """The columns that may change without a new extraction."""
        return {
            "video_id": clip.video.video_id,
            "url": clip.video.url,
            "activity": clip.activity,
            "split": clip.split,
            "muscles": self.muscles[clip.activity],
        }

    def _keep_old_row(self, clip_id: str) -> None:
        """What a clip had stays, where nothing newer could be made."""
        if clip_id in self.stale:
            _, row = self.stale.pop(clip_id)
            self.present[self._place(clip_id)][clip_id] = row

    def _place(self, clip_id: str) -> tuple[str, int]:
        clip = self.by_id[clip_id]
        return clip.split, int(clip.shard_number or 0)

    def _drop_unplanned_shards(self, planned: Iterable[tuple[str, int]]) -> None:
        keep = {shard_path(self.data_dir, *place) for place in planned}
        for split in SPLITS:
            for path in list_shards(self.data_dir, split):
                if path not in keep:
                    self.shard_hashes.pop(path.name, None)
                    self._write_info()
                    path.unlink()

    # -- running ----------------------------------------------------------------------------

    def jobs(self, todo: Iterable[tuple[str, tuple[str, ...]]]) -> Iterator[ClipJob]:
        """Jobs as they are asked for, their videos fetched where the data set is a remote one."""
        for clip_id, modalities in todo:
            job = self._job(self.by_id[clip_id], modalities)
            remote.fetch_video(self.data_dir, Path(job.video), job.fixed["source_sha256"])
            yield job

    def finish(self, job: ClipJob, outcome: Outcome) -> None:
        """Record how a job ended; the last one of a shard has the shard written."""
        if isinstance(outcome, Failure):
            self.ledger.clip_failed(job.clip_id, outcome)
            self.report.failed[job.clip_id] = outcome
            self._keep_old_row(job.clip_id)
        else:
            self._count(job, outcome)
        place = self._place(job.clip_id)
        self.pending[place] -= 1
        if not self.pending[place]:
            del self.pending[place]
            self._commit(place)

    def _count(self, job: ClipJob, outcome: Extracted) -> None:
        self.staged[self._place(job.clip_id)].append(job.clip_id)
        self.report.built += 1
        self.report.frames += outcome.frames
        self.timings[job.clip_id] = outcome.seconds
        for stage, seconds in outcome.seconds.items():
            self.report.seconds[stage] = self.report.seconds.get(stage, 0.0) + seconds
        if outcome.clipped_share > CLIPPED_SHARE_WARNING:
            self.report.clipped[job.clip_id] = outcome.clipped_share

    def commit_complete(self) -> None:
        """Write every shard that waits for no clip."""
        for place in [place for place, count in self.pending.items() if count == 0]:
            del self.pending[place]
            self._commit(place)

    def _commit(self, place: tuple[str, int]) -> None:
        path = shard_path(self.data_dir, *place)
        present, staged = self.present[place], self.staged[place]
        clip_ids = sorted([*present, *staged])
        changed = bool(clip_ids) and not self._is_current(path, place, clip_ids)
        if (changed or not clip_ids) and path.name in self.shard_hashes:
            del self.shard_hashes[path.name]
            self._write_info()  # a crash must not leave the old hash beside the new shard
        if not clip_ids:
            path.unlink(missing_ok=True)
            return
        if changed:
            sha256 = write_shard(path, self._rows(path, place, clip_ids))
            self.shard_hashes[path.name] = {"rows": len(clip_ids), "sha256": sha256}
        elif path.name not in self.shard_hashes:
            self.shard_hashes[path.name] = {"rows": len(clip_ids), "sha256": file_sha256(path)}
        self.ledger.shard_written(*place, clip_ids, self.sources, self.timings)
        for clip_id in staged:
            (self.work_dir / f"{clip_id}.arrow").unlink(missing_ok=True)
            self.timings.pop(clip_id, None)
        if changed:
            self._write_info()
            self._upload()

    def _upload(self) -> None:
        """For a remote data set: the shard at once, the ledger, which grows, now and then."""
        now = time.monotonic()
        with_ledger = now - self.ledger_uploaded > LEDGER_UPLOADED_EVERY_S
        self.ledger_uploaded = now if with_ledger else self.ledger_uploaded
        remote.upload(self.data_dir, shards_only=not with_ledger)

    def _is_current(self, path: Path, place: tuple[str, int], clip_ids: Sequence[str]) -> bool:
        """Whether the shard already holds just these rows with today's labels."""
        if self.staged[place]:
            return False
        wanted = [{"clip_id": clip_id, **self._labels(self.by_id[clip_id])} for clip_id in clip_ids]
        with Shard(path) as shard:
            return bool(shard.table(list(wanted[0])).to_pylist() == wanted)

    def _rows(
        self, path: Path, place: tuple[str, int], clip_ids: Sequence[str]
    ) -> Iterator[pa.Table]:
        """The rows of a shard, old and new, with today's labels."""
        for clip_id in clip_ids:
            labels = self._labels(self.by_id[clip_id])
            if clip_id in self.present[place]:
                yield replace_columns(_read_row(path, self.present[place][clip_id]), labels)
                continue
            with read_staged(self.work_dir / f"{clip_id}.arrow") as row:
                if row is None:
                    raise UserError(
                        f"work/{clip_id}.arrow is gone or damaged: run the command again"
                    )
                if clip_id in self.stale:
                    row = _merged(_read_row(*self.stale[clip_id]), row)
                yield replace_columns(row, labels)

    def close(self) -> None:
        shutil.rmtree(self.work_dir, ignore_errors=True)
        self._write_info()

    def _write_info(self) -> None:
        counts = self.ledger.split_counts()
        splits = {
            split: dict(zip(("planned", "built"), counts.get(split, (0, 0)), strict=True))
            for split in SPLITS
        }
        write_dataset_info(
            self.data_dir,
            {
                "name": self.data_dir.resolve().name,
                "activities": self.activity_table,
                "splits": splits,
                "modalities": self.recorded,
                "cut": asdict(self.settings.cut),
                "tools": tool_versions(),
                "shards": dict(sorted(self.shard_hashes.items())),
            },
        )


def _read_row(path: Path, index: int) -> pa.Table:
    with Shard(path, verify=True) as shard:
        return shard.row_table(index)


def _merged(old: pa.Table, fresh: pa.Table) -> pa.Table:
    """An old row with the modalities that were made anew."""
    made = json.loads(fresh["provenance"][0].as_py())
    provenance = json.loads(old["provenance"][0].as_py()) | made
    columns = [
        column.name for name in made.keys() & MODALITIES for column in MODALITIES[name].columns
    ]
    return replace_columns(
        old,
        {name: fresh[name] for name in columns}
        | {"provenance": json.dumps(provenance, sort_keys=True)},
    )


def _is_staged(job: ClipJob) -> bool:
    """Whether an earlier, interrupted run left this row in ``work/``."""
    with read_staged(Path(job.staged)) as row:
        return row is not None and all(
            row[name][0].as_py() == job.fixed[name] for name in ("provenance", "source_sha256")
        )
