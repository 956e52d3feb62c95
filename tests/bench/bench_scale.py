"""Does a clip of a large build cost more than one of a small build? Time a clip, and memory.

    python -m tests.bench.bench_scale [--sizes 1000,10000,100000,1000000] [--full-sizes 250,1000]

Two measurements, each size in a process of its own, on tiny videos, one for every 50 clips:

- bookkeeping: everything that the main process does (read the manifest, ledger, plan, jobs,
  ``dataset.json``), once for a fresh build and once for a run that finds all of it done. Extraction
  is replaced: a staged row is copied where a worker would have made it. What workers do is given
  apart: writing and checking shards, with that copy. So is the start: the first build in a process
  loads libraries and tables, and every build has to be opened and closed. Both are measured on a
  data set of one clip; the second is taken off the build of N clips. In memory (/dev/shm) if there
  is room, so that the disk, which is busier at some times than at others, does not count.
- full: ``musclemap extract-modalities --modalities rgb`` as it is, two frames of 32 x 32 a clip.

A million rows take an hour and 8 GB, so from 200,000 clips on (``LIGHT_FROM``), or with
``--light``, shards are light: they have the columns that the bookkeeping reads and no modality, and
are not read back. What the main process does is the same.

Seconds of a processor (all processes) are steadier than the clock on a busy machine: both are
given. Memory is the main process's peak.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from musclemap_data.catalog import load_activities
from musclemap_data.download.videos import download_videos
from musclemap_data.extract.assemble import ShardJob, Written
from musclemap_data.extract.staging import read_staged, write_staged
from musclemap_data.extract.work import run_job
from musclemap_data.manifest import Clip, read_manifest, write_manifest
from musclemap_data.rows import PART, file_schema
from musclemap_data.shards import FORMAT_VERSION, shard_path
from tests.conftest import REPOSITORY, write_video

CLIPS_PER_VIDEO = 50
DIFFERENT_VIDEOS = 20
LIGHT_FROM = 200_000
"""Clips from which on shards have no modalities."""


@dataclass
class Measured:
    """Of one size. Times are milliseconds a clip; ``cpu`` is of all processes.

    Attributes:
        clips: how many.
        manifest_ms: reading and checking the manifest.
        ledger_ms: the plan into the ledger, and the videos copied.
        start_ms: the main process's first build of one clip: all that a build costs however few
            clips it has. Not divided by anything.
        main_cpu_ms: a fresh build in the main process, less another build of one clip.
        workers_cpu_ms: what workers would do but for extracting; None where shards are light.
        first_record_ms, last_record_ms: recording one shard, median of the first and of the last
            tenth of the shards.
        again_cpu_ms: a run that finds everything done; None where shards are light.
        memory_mb: peak.
    """

    clips: int
    manifest_ms: float
    ledger_ms: float
    start_ms: float
    main_cpu_ms: float
    workers_cpu_ms: float | None
    first_record_ms: float
    last_record_ms: float
    again_cpu_ms: float | None
    memory_mb: int


def make_manifest(folder: Path, count: int) -> Path:
    """A manifest of so many clips of 0.2 s, 50 a video, 32 x 32 at 10 frames/s."""
    clips = []
    for n in range(-(-count // CLIPS_PER_VIDEO)):
        video = folder / f"v{n}.mp4"
        if n < DIFFERENT_VIDEOS:
            write_video(video, seconds=2.2, width=32, height=32, seed=n)
        else:
            os.link(folder / f"v{n % DIFFERENT_VIDEOS}.mp4", video)
        split = ("train", "train", "train", "val_known", "test_known")[n % 5]
        clips += [
            Clip(f"c{n:05}_{k:02}", f"v{n}", video.name, k % 20 / 10, k % 20 / 10 + 0.2,
                 "squat", split)
            for k in range(min(CLIPS_PER_VIDEO, count - n * CLIPS_PER_VIDEO))
        ]  # fmt: skip
    write_manifest(folder / "manifest.csv", clips)
    return folder / "manifest.csv"


def cpu_s() -> float:
    """Seconds of a processor that this process and its ended children took."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


class Replaced:
    """In the place of the workers: the first clip is extracted, its row copied for all others.

    Args:
        light: write shards without modalities.

    Attributes:
        workers_s: of a processor, for what workers do: copying rows and writing shards.
        records_s: of a processor, for recording each shard.
    """

    def __init__(self, light: bool) -> None:
        from musclemap_data.extract import build

        self.workers_s = 0.0
        self.records_s: list[float] = []
        self._light = light
        self._outcome: Any = None
        self._row: dict[str, Any] = {}
        self._fixed: dict[str, Any] = {}  # clip id -> known columns, until its shard is written
        # Not public places.
        build.run_jobs = self._run  # type: ignore[assignment,attr-defined]
        build._Build.record = self._timed(build._Build.record)  # type: ignore[method-assign]

    def _run(self, jobs: Iterable[Any], *_: object, **__: object) -> Iterator[tuple[Any, Any]]:
        taken = iter(jobs)
        while (job := next(taken, None)) is not None:
            began = cpu_s()
            made = self._write(job) if isinstance(job, ShardJob) else self._extract(job)
            self.workers_s += cpu_s() - began
            yield job, made

    def _extract(self, job: Any) -> Any:
        if not self._row:
            self._outcome = run_job(job)
            with read_staged(Path(job.staged)) as table:
                assert table is not None, self._outcome
                self._row = table.to_pylist()[0]
        if self._light:
            self._fixed[job.clip_id] = job.fixed
        else:
            write_staged(Path(job.staged), {**self._row, **job.fixed})
        return self._outcome

    def _write(self, job: ShardJob) -> Any:
        if not self._light:
            return run_job(job)
        rows = [{**self._row, **self._fixed.pop(row.clip_id), PART.name: 0} for row in job.rows]
        fields = [field for field in file_schema() if not field.nullable]
        table = pa.Table.from_pylist(rows, schema=pa.schema(fields))
        table = table.replace_schema_metadata({"musclemap.format_version": str(FORMAT_VERSION)})
        pq.write_table(table, shard_path(Path(job.data_dir), *job.place), row_group_size=1)
        sources = {row["clip_id"]: row["source_sha256"] for row in rows}
        return Written("0" * 64, sources, dict.fromkeys(sources))

    def _timed(self, record: Callable[..., None]) -> Callable[..., None]:
        def timed(*words: Any) -> None:
            began = cpu_s()
            record(*words)
            self.records_s.append(cpu_s() - began)

        return timed


def measure_bookkeeping(folder: Path, count: int, light: bool) -> Measured:
    """In this process: a build of ``count`` clips without the workers."""
    replaced = Replaced(light)
    first_s, another_s = (_build_one(folder / name, replaced) for name in ("first", "another"))
    replaced.workers_s = 0.0
    replaced.records_s.clear()
    manifest = make_manifest(folder, count)
    times = [time.perf_counter()]
    clips = read_manifest(manifest, load_activities())
    times.append(time.perf_counter())
    download_videos(clips, folder, folder / "data")
    times.append(time.perf_counter())
    del clips  # of another command
    main_s = _main_process_s(folder / "data", count, replaced) - another_s
    records = replaced.records_s[:]
    tenth = max(1, len(records) // 10)
    began = cpu_s()
    if not light:  # else nothing is as wished: the modality is missing
        from musclemap_data.extract import build

        report = build.extract_modalities(folder / "data", modalities=("rgb",))
        if report.present != count:
            raise SystemExit(f"{report.present} of {count} clips were found again")
    again_s = cpu_s() - began
    manifest_s, ledger_s = (after - before for before, after in pairwise(times))
    each_ms = 1000 / count
    return Measured(
        count,
        each_ms * manifest_s,
        each_ms * ledger_s,
        1000 * first_s,
        each_ms * main_s,
        None if light else each_ms * replaced.workers_s,
        1000 * statistics.median(records[:tenth]),
        1000 * statistics.median(records[-tenth:]),
        None if light else each_ms * again_s,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    )


def _build_one(folder: Path, replaced: Replaced) -> float:
    """Seconds of the main process for the smallest build."""
    folder.mkdir()
    clips = read_manifest(make_manifest(folder, 1), load_activities())
    download_videos(clips, folder, folder / "data")
    return _main_process_s(folder / "data", 1, replaced)


def _main_process_s(data_dir: Path, count: int, replaced: Replaced) -> float:
    """Seconds of a processor for a fresh build, without what workers would do."""
    from musclemap_data.extract import build

    began, by_workers = cpu_s(), replaced.workers_s
    report = build.extract_modalities(data_dir, modalities=("rgb",))
    if report.built != count:
        raise SystemExit(f"{report.built} of {count} clips were built: {report.failed}")
    return cpu_s() - began - (replaced.workers_s - by_workers)


def bookkeeping_in_own_process(count: int, light: bool) -> Measured:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.bench_scale", "--one", str(count)]
        + ["--light"] * light,
        cwd=REPOSITORY,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def measure_full(folder: Path, count: int, workers: int) -> tuple[float, float]:
    """The real command on ``count`` clips: milliseconds a clip by the clock and of a processor."""
    manifest = make_manifest(folder, count)
    data = folder / "data"
    download_videos(read_manifest(manifest, load_activities()), folder, data)
    words = ["--data", str(data), "--modalities", "rgb", "--workers", str(workers)]
    began, began_cpu = time.perf_counter(), cpu_s()
    subprocess.run(
        [sys.executable, str(REPOSITORY / "cli.py"), "extract-modalities", *words],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return 1000 * (time.perf_counter() - began) / count, 1000 * (cpu_s() - began_cpu) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--full-sizes", default="250,1000", help="'' for none")
    parser.add_argument("--tries", type=int, default=2, help="the one with the least is printed")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--light", action="store_true", help="no modalities at any size")
    parser.add_argument("--one", type=int, help="one size, in this process; prints JSON")
    chosen = parser.parse_args()
    if chosen.one:
        memory = Path("/dev/shm")
        light = chosen.light or chosen.one >= LIGHT_FROM
        with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
            print(json.dumps(asdict(measure_bookkeeping(Path(folder), chosen.one, light))))
        return
    print("Bookkeeping (extraction replaced), ms a clip; of a processor but for the first two:\n")
    print(
        "| clips | manifest | ledger | start, ms in all | build, main process "
        "| workers but for extraction | recording a shard, first tenth, last | second run | MB |\n"
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    )
    rows = []
    for size in map(int, filter(None, chosen.sizes.split(","))):
        tries = [bookkeeping_in_own_process(size, chosen.light) for _ in range(chosen.tries)]
        row = min(tries, key=lambda measured: measured.main_cpu_ms)
        rows.append(row)
        workers, again = (
            "" if value is None else f"{value:.2f}"
            for value in (row.workers_cpu_ms, row.again_cpu_ms)
        )
        print(
            f"| {row.clips:,} | {row.manifest_ms:.3f} | {row.ledger_ms:.3f} "
            f"| {row.start_ms:.0f} | {row.main_cpu_ms:.3f} | {workers} "
            f"| {row.first_record_ms:.1f}, {row.last_record_ms:.1f} | {again} | {row.memory_mb} |",
            flush=True,
        )
    if len(rows) > 1:
        first, last = rows[0], rows[-1]
        print(
            f"\n{last.clips:,} against {first.clips:,} clips: "
            f"{last.main_cpu_ms / first.main_cpu_ms:.2f} times the processor time a clip in the "
            f"main process, {last.memory_mb - first.memory_mb} MB more"
        )
    print(f"\nFull path, {chosen.workers} workers, ms a clip:\n")
    print("| clips | clock | processor |\n|---:|---:|---:|")
    for size in map(int, filter(None, chosen.full_sizes.split(","))):
        with tempfile.TemporaryDirectory() as folder:
            clock, cpu = measure_full(Path(folder), size, chosen.workers)
        print(f"| {size:,} | {clock:.1f} | {cpu:.1f} |", flush=True)


if __name__ == "__main__":
    main()
