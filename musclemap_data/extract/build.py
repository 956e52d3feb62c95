"""From downloaded videos to shards: plan what is missing, run it in processes, commit by shard.

A worker (``engines``) turns one clip into a staged row in ``work/``. Where the last clip of a shard
has ended, a worker puts its rows together, in the order of clip ids, and renames the shard into
place. The main process plans and records: the bytes do not pass through it. A killed build leaves
whole rows in ``work/`` and whole shards in ``shards/``; the next run goes on from there and ends
with the same bytes as an undisturbed one.
"""

from __future__ import annotations

import shutil
import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from musclemap_data import remote
from musclemap_data.catalog import SPLITS, load_table
from musclemap_data.errors import Failure, UserError
from musclemap_data.extract import work
from musclemap_data.extract.assemble import RowPlan, ShardJob, Written
from musclemap_data.extract.clip import (
    ClipJob,
    Outcome,
    asked_provenance,
    describe_modalities,
    make_job,
    tool_versions,
)
from musclemap_data.extract.engines import check_engine, run_jobs
from musclemap_data.extract.plan import (
    Place,
    Plan,
    StagedRow,
    StoredRow,
    Wish,
    labels_of,
    make_plan,
)
from musclemap_data.extract.report import BuildReport
from musclemap_data.extract.staging import read_staged
from musclemap_data.files import LEFTOVERS, lock_data_dir
from musclemap_data.ledger import Ledger
from musclemap_data.ledger.rows import ClipRow
from musclemap_data.modalities import MODALITIES
from musclemap_data.modalities.settings import ExtractionSettings
from musclemap_data.ranges import shard_sha256
from musclemap_data.shards import (
    CHANGED_SHARDS,
    Shard,
    find_shard,
    list_shards,
    note_shard,
    read_dataset_info,
    remove_shard,
    shard_path,
    write_dataset_info,
)

CLIPS_PER_SHARD = 64
LEDGER_UPLOADED_EVERY_S = 600
INFO_WRITTEN_EVERY_S = 60
LARGEST_SHARE_OF_INFO = 0.01
"""``dataset.json`` names every shard: written with each, it would cost the square of these. In
between, ``note_shard`` says which changed."""


def extract_modalities(
    data_dir: Path | str,
    *,
    modalities: Sequence[str] = tuple(MODALITIES),
    workers: int | None = None,
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

    Only what is missing or was made with other settings is computed. Workers are processes that
    import the main program: in a script, call it under ``if __name__ == "__main__":``.

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
        UserError: nothing was downloaded here, an unknown modality, the directory is in use, the
            engine cannot be used, weights are missing, or faces are to be blurred in a row whose
            video is gone. What is finished is kept.
    """
    unknown = [name for name in modalities if name not in MODALITIES]
    if unknown or not modalities:
        raise UserError(
            f"modalities are {', '.join(modalities) or 'none'}; choose from {', '.join(MODALITIES)}"
        )
    check_engine(engine, workers, address)
    data_dir = Path(data_dir)
    settings = settings or ExtractionSettings()
    if not (data_dir / "ledger.sqlite").exists():
        raise UserError(f"Nothing was downloaded to {data_dir}. Run `musclemap download` first.")
    with lock_data_dir(data_dir), remote.writing(data_dir), Ledger(data_dir) as ledger:
        ledger.assign_shards(clips_per_shard)
        remote.upload(data_dir)
        made = describe_modalities(modalities, settings)
        table = ledger.activity_table()
        wish = Wish(made, settings, _muscles(table, ledger.activities()), retry_failed, only)
        for name in ("clips", "shards", "work"):
            (data_dir / name).mkdir(exist_ok=True)
        plan = make_plan(
            ledger.iterate_clips(),
            lambda place: _stored_rows(find_shard(data_dir, shard_path(data_dir, *place).name)),
            _staged_rows(data_dir / "work"),
            wish,
        )
        if settings.blur_faces and plan.kept:
            raise UserError(
                f"{len(plan.kept)} clips are in the shards with their faces, or with faces blurred "
                f"otherwise, and their videos are no longer in {data_dir / 'videos'}; the first is "
                f"{plan.kept[0]}. Run `musclemap download` for them, or leave out --blur-faces"
            )
        if on_total:
            on_total(plan.total)
        build = _Build(data_dir, ledger, table, wish, plan)
        build.begin()
        with closing(run_jobs(build, workers, engine=engine, address=address)) as outcomes:
            for job, outcome in outcomes:
                if isinstance(job, ShardJob):
                    build.record(job, outcome)
                elif not isinstance(outcome, Written):
                    frames, failure = (
                        (0, outcome) if isinstance(outcome, Failure) else (outcome.frames, None)
                    )
                    if on_clip:
                        on_clip(job.clip_id, frames, failure)
                    build.finish(job.clip_id, outcome)
        build.close()
        return build.report


def _muscles(table: str, used: Collection[str]) -> dict[str, tuple[bool, ...]]:
    """Activity -> its 20 booleans, of the activities of the clips."""
    activities = load_table(table)
    if unknown := sorted(set(used) - set(activities)):
        raise UserError(
            f"the activity table {table} no longer has {', '.join(unknown)}: "
            "correct the manifest and run `musclemap download` again"
        )
    return {slug: activities[slug].muscles for slug in used}


def _stored_rows(path: Path) -> dict[str, StoredRow]:
    """Clip id -> row of a shard, in their order; nothing if it is absent or damaged."""
    labels = ("video_id", "url", "activity", "split", "muscles")
    try:
        with Shard(path, verify=True) as shard:
            if shard.schema_problems():
                return {}
            rows = shard.table(["clip_id", "source_sha256", "provenance", *labels]).to_pylist()
    except UserError:
        return {}
    return {
        row["clip_id"]: StoredRow(
            number, row["source_sha256"], row["provenance"], {name: row[name] for name in labels}
        )
        for number, row in enumerate(rows)
    }


def _staged_rows(work_dir: Path) -> dict[str, StagedRow]:
    """Clip id -> row that an interrupted run left in ``work/``."""
    found = {}
    for path in work_dir.glob("[!.]*.arrow"):
        with read_staged(path) as row:
            if row is not None:
                sha256, made = (row[name][0].as_py() for name in ("source_sha256", "provenance"))
                found[path.stem] = StagedRow(sha256, asked_provenance(made))
    return found


class _Build:
    """One run: carries out a plan, and commits each shard as its last clip ends."""

    def __init__(
        self,
        data_dir: Path,
        ledger: Ledger,
        activity_table: str,
        wish: Wish,
        plan: Plan,
    ) -> None:
        self.data_dir = data_dir
        self.ledger = ledger
        self.activity_table = activity_table
        self.wish = wish
        self.plan = plan
        self.report = BuildReport(
            built=sum(len(shard.staged) for shard in plan.shards.values()),
            present=plan.present,
            failed=dict(plan.failed),
            waiting=plan.waiting,
        )
        self.places: dict[str, Place] = {}
        """Clip id -> its shard, of the clips in work: of a million, most are done or not begun."""
        self.ready: deque[ShardJob] = deque()
        self.clip_jobs = self._clip_jobs()
        self.pending = {place: len(shard.todo) for place, shard in plan.shards.items()}
        self.made: dict[Place, list[str]] = defaultdict(list)
        self.timings: dict[str, dict[str, float]] = {}
        self.damaged_frames: dict[str, int] = {}
        self.ledger_uploaded = time.monotonic()
        self.info_due = float("-inf")  # with the first shard at once
        earlier = read_dataset_info(data_dir) if (data_dir / "dataset.json").exists() else {}
        self.shard_hashes: dict[str, dict[str, object]] = earlier.get("shards", {})
        same_cut = earlier.get("cut") == asdict(wish.settings.cut)
        self.recorded = {**(earlier.get("modalities", {}) if same_cut else {}), **wish.made}

    def begin(self) -> None:
        """Clean up, drop shards that have no clip any more, write those that wait for none."""
        self._remove_leftovers()
        if (self.data_dir / CHANGED_SHARDS).exists():  # of a killed run
            self._write_info()
        planned = {shard_path(self.data_dir, *place).name for place in self.plan.shards}
        for path in (path for split in SPLITS for path in list_shards(self.data_dir, split)):
            if path.name not in planned:
                self._set_hash(path.name, None)
                remove_shard(self.data_dir, path.name)
        for place, count in self.pending.items():
            if not count:
                self._complete(place)

    def __iter__(self) -> Iterator[work.Job]:
        return self

    def __next__(self) -> work.Job:
        """The next job: a shard whose clips have all ended, or else a clip.

        At the end there may be more after all, as shards are completed: ask again while jobs run.
        """
        if self.ready:
            job = self.ready.popleft()
            if job.name in self.shard_hashes:
                self._set_hash(job.name, None)  # a crash must not leave it beside the new shard
            return job
        return next(self.clip_jobs)

    def _clip_jobs(self) -> Iterator[ClipJob]:
        """Jobs as they are asked for, their videos fetched where the data set is a remote one."""
        for place, shard in self.plan.shards.items():
            if not shard.todo:
                continue
            clips = self._clips_of(place)
            for clip_id, modalities in shard.todo.items():
                clip = clips[clip_id]
                video, sha256 = self.data_dir / str(clip.video.file), str(clip.video.sha256)
                remote.fetch_video(self.data_dir, video, sha256)
                self.places[clip_id] = place
                yield make_job(
                    self.data_dir,
                    {"clip_id": clip_id, "source_sha256": sha256, **labels_of(clip, self.wish)},
                    video,
                    (clip.start_s, clip.end_s),
                    {name: self.wish.made[name] for name in modalities},
                    self.wish.settings,
                )

    def _clips_of(self, place: Place) -> dict[str, ClipRow]:
        return {clip.clip_id: clip for clip in self.ledger.clips_of(*place)}

    def finish(self, clip_id: str, outcome: Outcome) -> None:
        """Record how a clip ended; after the last one of a shard, the shard is to be written."""
        place = self.places.pop(clip_id)
        if isinstance(outcome, Failure):
            self.ledger.clip_failed(clip_id, outcome)
            self.report.failed[clip_id] = outcome
        else:
            self.made[place].append(clip_id)
            self.timings[clip_id] = outcome.seconds
            self.damaged_frames[clip_id] = outcome.damaged_frames
            self.report.count_clip(clip_id, outcome)
        self.pending[place] -= 1
        if not self.pending[place]:
            self._complete(place)

    def _complete(self, place: Place) -> None:
        """All clips of a shard have ended: have it written if it is to change, else record it."""
        shard, name = self.plan.shards[place], shard_path(self.data_dir, *place).name
        fresh = {*shard.staged, *self.made.pop(place, ())}
        stored = shard.present | shard.stale  # what a clip had stays where nothing newer was made
        clip_ids = sorted({*stored, *fresh})
        if not clip_ids:
            if name in self.shard_hashes:
                self._set_hash(name, None)
            remove_shard(self.data_dir, name)
            return
        clips = self._clips_of(place)
        if fresh or not shard.as_is:
            rows = (
                RowPlan(each, labels_of(clips[each], self.wish), stored.get(each), each in fresh)
                for each in clip_ids
            )
            self.ready.append(ShardJob(str(self.data_dir), place, tuple(rows)))
            return
        path = find_shard(self.data_dir, name)
        if name not in self.shard_hashes:
            self._set_hash(name, {"rows": len(clip_ids), "sha256": shard_sha256(path)})
        if shard.todo or not _are_recorded(clips, clip_ids):
            with Shard(path) as there:
                rows = there.table(["clip_id", "source_sha256", "skeleton_quality"]).to_pydict()
            sources = dict(zip(rows["clip_id"], rows["source_sha256"], strict=True))
            quality = dict(zip(rows["clip_id"], rows["skeleton_quality"], strict=True))
            self.ledger.shard_written(*place, sources, {}, {}, quality)

    def record(self, job: ShardJob, written: work.Outcome) -> None:
        """Record a shard that was written.

        Raises:
            UserError: it could not be.
        """
        if not isinstance(written, Written):
            why = written.reason if isinstance(written, Failure) else "it came to nothing"
            raise UserError(f"{job.name} was not written: {why}. Run the command again to go on")
        self._set_hash(job.name, {"rows": len(job.rows), "sha256": written.sha256})
        self.ledger.shard_written(
            *job.place, written.sources, self.timings, self.damaged_frames, written.quality
        )
        self.report.count_shard(job, written)
        for row in job.rows:
            if row.staged:
                (self.data_dir / "work" / f"{row.clip_id}.arrow").unlink(missing_ok=True)
                self.timings.pop(row.clip_id, None)
                self.damaged_frames.pop(row.clip_id, None)
        if time.monotonic() > self.info_due:
            self._write_info()
            self._upload()

    def _set_hash(self, name: str, entry: dict[str, object] | None) -> None:
        """Record at once what a shard is now; None while it is replaced, and when it is gone."""
        self.shard_hashes.pop(name, None)
        if entry is not None:
            self.shard_hashes[name] = entry
        if (self.data_dir / "dataset.json").exists():
            note_shard(self.data_dir, name, entry)

    def _upload(self) -> None:
        """For a remote data set: the shards of the last minute; the ledger less often, it grows."""
        now = time.monotonic()
        with_ledger = now - self.ledger_uploaded > LEDGER_UPLOADED_EVERY_S
        self.ledger_uploaded = now if with_ledger else self.ledger_uploaded
        remote.upload(self.data_dir, shards_only=not with_ledger)

    def _remove_leftovers(self) -> None:
        """Half files of processes and nodes that were killed."""
        for folder in ("clips", "shards", "work"):
            for leftover in (self.data_dir / folder).glob(LEFTOVERS):
                leftover.unlink(missing_ok=True)

    def close(self) -> None:
        self._remove_leftovers()
        shutil.rmtree(self.data_dir / "work", ignore_errors=True)
        self._write_info()

    def _write_info(self) -> None:
        began = time.monotonic()
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
                "cut": asdict(self.wish.settings.cut),
                "tools": tool_versions(),
                "shards": dict(sorted(self.shard_hashes.items())),
            },
        )
        now = time.monotonic()
        self.info_due = now + max(INFO_WRITTEN_EVERY_S, (now - began) / LARGEST_SHARE_OF_INFO)


def _are_recorded(clips: Mapping[str, ClipRow], clip_ids: Iterable[str]) -> bool:
    """Whether the ledger has these clips as the rows of their shard."""
    rows = ((clips[clip_id].state, clips[clip_id].shard_row) for clip_id in clip_ids)
    return all(row == ("built", number) for number, row in enumerate(rows))
