"""Does a clip of a large build cost more than one of a small build? Time a clip, and memory.

    python -m tests.bench.bench_scale [--sizes 1000,10000,100000,1000000] [--full-sizes 250,1000]

Two measurements, each size in a process of its own, on tiny videos, one for every 50 clips:

- bookkeeping: everything that the main process does (read the manifest, ledger, plan, write and
  check shards, ``dataset.json``), once for a fresh build and once for a run that finds all of it
  done. Extraction is replaced: a staged row is copied where a worker would have made it, and the
  time of that is taken off. In memory (/dev/shm) if there is room, so that the disk, which is
  busier at some times than at others, does not count.
- full: ``musclemap extract-modalities --modalities rgb`` as it is, two frames of 32 x 32 a clip.

A million rows take an hour and 8 GB, so from 200,000 clips on (``LIGHT_FROM``) shards are light:
they have the columns that the bookkeeping reads and no modality, and are not read back. The time
of writing shards is taken off at all sizes in the column "without shards", which so compares the
same work from the first size to the last; a shard of 64 rows is the same work in any build.

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
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from musclemap_data.catalog import load_activities
from musclemap_data.download.videos import download_videos
from musclemap_data.extract.staging import read_staged, write_staged
from musclemap_data.manifest import Clip, read_manifest, write_manifest
from musclemap_data.rows import PART, schema
from musclemap_data.shards import FORMAT_VERSION, write_shard
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
        build_cpu_ms: a fresh build, without the copying of rows; None where shards are light.
        rest_cpu_ms: of these, without the writing of shards.
        first_commit_ms, last_commit_ms: recording one shard (not writing it), median of the first
            and of the last tenth of the shards.
        again_cpu_ms: a run that finds everything done.
        memory_mb: peak.
    """

    clips: int
    manifest_ms: float
    ledger_ms: float
    build_cpu_ms: float | None
    rest_cpu_ms: float
    first_commit_ms: float
    last_commit_ms: float
    again_cpu_ms: float
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
        copying_s, writing_s: of a processor, for copying rows and for writing shards.
        commits_s: of a processor, for each shard, without the writing.
    """

    def __init__(self, light: bool) -> None:
        from musclemap_data.extract import build

        self.copying_s = self.writing_s = 0.0
        self.commits_s: list[float] = []
        self._light = light
        self._row: dict[str, Any] = {}
        self._fixed: dict[str, Any] = {}  # clip id -> known columns, where shards are light
        self._write_shard = write_shard
        # Not public places, but the only ones that tell writing from recording.
        build.run_jobs = self._run  # type: ignore[assignment,attr-defined]
        build.write_shard = self._write  # type: ignore[attr-defined]
        build._Build._commit = self._timed(build._Build._commit)  # type: ignore[method-assign]
        if light:
            build.read_staged = self._staged  # type: ignore[attr-defined]

    def _run(self, jobs: Iterator[Any], *_: object, **__: object) -> Iterator[tuple[Any, Any]]:
        from musclemap_data.extract.clip import run_job

        for job in jobs:
            began = cpu_s()
            if not self._row:
                outcome = run_job(job)
                with read_staged(Path(job.staged)) as table:
                    assert table is not None, outcome
                    self._row = table.to_pylist()[0]
            if self._light:
                self._fixed[job.clip_id] = job.fixed
            else:
                write_staged(Path(job.staged), {**self._row, **job.fixed})
            self.copying_s += cpu_s() - began
            yield job, outcome

    @contextmanager
    def _staged(self, path: Path) -> Iterator[pa.Table]:
        """A row without modalities, from memory."""
        began = cpu_s()
        row = {**self._row, **self._fixed.pop(path.stem)}
        table = pa.Table.from_arrays(
            [pa.array([None if field.nullable else row[field.name]], field.type)
             for field in schema()],
            schema=schema(),
        )  # fmt: skip
        self.copying_s += cpu_s() - began
        yield table

    def _write(self, path: Path, rows: Iterable[pa.Table]) -> str:
        if not self._light:
            began = cpu_s()
            sha256 = self._write_shard(path, rows)
            self.writing_s += cpu_s() - began
            return sha256
        tables = list(rows)
        began = cpu_s()
        table = pa.concat_tables(tables).select([f.name for f in schema() if not f.nullable])
        table = table.append_column(PART.name, pa.array([0] * len(table), PART.type))
        table = table.replace_schema_metadata({"musclemap.format_version": str(FORMAT_VERSION)})
        pq.write_table(table, path, row_group_size=1)
        self.writing_s += cpu_s() - began
        return "0" * 64

    def _timed(self, commit: Callable[..., None]) -> Callable[..., None]:
        def timed(*words: Any) -> None:
            others_s, began = self.writing_s + self.copying_s, cpu_s()
            commit(*words)
            others_s = self.writing_s + self.copying_s - others_s
            self.commits_s.append(cpu_s() - began - others_s)

        return timed


def measure_bookkeeping(folder: Path, count: int) -> Measured:
    """In this process: a build of ``count`` clips without the workers."""
    from musclemap_data.extract import build

    manifest = make_manifest(folder, count)
    times = [time.perf_counter()]
    clips = read_manifest(manifest, load_activities())
    times.append(time.perf_counter())
    download_videos(clips, folder, folder / "data")
    times.append(time.perf_counter())
    del clips  # of another command
    light = count >= LIGHT_FROM
    replaced = Replaced(light)
    began = cpu_s()
    report = build.extract_modalities(folder / "data", modalities=("rgb",))
    if report.built != count:
        raise SystemExit(f"{report.built} of {count} clips were built: {report.failed}")
    build_s = cpu_s() - began - replaced.copying_s
    commits = replaced.commits_s[:]
    tenth = max(1, len(commits) // 10)
    began = cpu_s()
    if not light:  # else nothing is as wished: the modality is missing
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
        None if light else each_ms * build_s,
        each_ms * (build_s - replaced.writing_s),
        1000 * statistics.median(commits[:tenth]),
        1000 * statistics.median(commits[-tenth:]),
        each_ms * again_s,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    )


def bookkeeping_in_own_process(count: int) -> Measured:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.bench_scale", "--one", str(count)],
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
    parser.add_argument("--one", type=int, help="one size, in this process; prints JSON")
    chosen = parser.parse_args()
    if chosen.one:
        memory = Path("/dev/shm")
        with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
            print(json.dumps(asdict(measure_bookkeeping(Path(folder), chosen.one))))
        return
    print("Bookkeeping (extraction replaced), ms a clip; of a processor but for the first two:\n")
    print(
        "| clips | manifest | ledger | build | without shards | recording a shard, first tenth "
        "and last | second run | MB |\n|---:|---:|---:|---:|---:|---:|---:|---:|"
    )
    rows = []
    for size in map(int, filter(None, chosen.sizes.split(","))):
        tries = [bookkeeping_in_own_process(size) for _ in range(chosen.tries)]
        row = min(tries, key=lambda measured: measured.rest_cpu_ms)
        rows.append(row)
        build = "" if row.build_cpu_ms is None else f"{row.build_cpu_ms:.2f}"
        again = "" if row.build_cpu_ms is None else f"{row.again_cpu_ms:.2f}"
        print(
            f"| {row.clips:,} | {row.manifest_ms:.3f} | {row.ledger_ms:.3f} | {build} "
            f"| {row.rest_cpu_ms:.3f} | {row.first_commit_ms:.1f}, {row.last_commit_ms:.1f} "
            f"| {again} | {row.memory_mb} |",
            flush=True,
        )
    if len(rows) > 1:
        first, last = rows[0], rows[-1]
        print(
            f"\n{last.clips:,} against {first.clips:,} clips: "
            f"{last.rest_cpu_ms / first.rest_cpu_ms:.2f} times the processor time a clip, "
            f"{last.memory_mb - first.memory_mb} MB more"
        )
    print(f"\nFull path, {chosen.workers} workers, ms a clip:\n")
    print("| clips | clock | processor |\n|---:|---:|---:|")
    for size in map(int, filter(None, chosen.full_sizes.split(","))):
        with tempfile.TemporaryDirectory() as folder:
            clock, cpu = measure_full(Path(folder), size, chosen.workers)
        print(f"| {size:,} | {clock:.1f} | {cpu:.1f} |", flush=True)


if __name__ == "__main__":
    main()
