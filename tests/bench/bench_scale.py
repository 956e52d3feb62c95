"""Does a clip of a large build cost more than one of a small build? Time a clip, and memory.

    python -m tests.bench.bench_scale [--sizes 1000,5000,10000,20000] [--full-sizes 250,1000]

Two measurements, each size in a process of its own, on 20 tiny videos that the clips share:

- bookkeeping: everything that the main process does (read the manifest, ledger, plan, write and
  check shards, ``dataset.json``), once for a fresh build and once for a run that finds all of it
  done. Extraction is replaced: a staged row is copied where a worker would have made it, and the
  time of that is taken off. In memory (/dev/shm) if there is room, so that the disk, which is
  busier at some times than at others, does not count.
- full: ``musclemap extract-modalities --modalities rgb`` as it is, two frames of 32 x 32 a clip.

Seconds of a processor (all processes) are steadier than the clock on a busy machine: both are
given. Memory is the main process's peak.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from musclemap_data.catalog import load_activities
from musclemap_data.download.videos import download_videos
from musclemap_data.extract.staging import read_staged, write_staged
from musclemap_data.manifest import Clip, read_manifest, write_manifest
from tests.conftest import REPOSITORY, write_video

VIDEOS = 20


@dataclass
class Measured:
    """Of one size. Times are milliseconds a clip; ``cpu`` is of all processes."""

    clips: int
    manifest_ms: float
    ledger_ms: float
    build_ms: float
    build_cpu_ms: float
    again_cpu_ms: float
    memory_mb: int


def make_manifest(folder: Path, count: int) -> Path:
    """A manifest of so many clips of 0.2 s of 20 videos, 32 x 32 at 10 frames/s."""
    clips = []
    for n in range(VIDEOS):
        write_video(folder / f"v{n}.mp4", seconds=2.2, width=32, height=32, seed=n)
        split = ("train", "train", "train", "val_known", "test_known")[n % 5]
        clips += [
            Clip(f"c{n:02}_{k:05}", f"v{n}", f"v{n}.mp4", k % 20 / 10, k % 20 / 10 + 0.2,
                 "squat", split)
            for k in range(count // VIDEOS)
        ]  # fmt: skip
    write_manifest(folder / "manifest.csv", clips)
    return folder / "manifest.csv"


def cpu_s() -> float:
    """Seconds of a processor that this process and its ended children took."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


class CopiedRows:
    """In the place of the workers: the first clip is extracted, its row copied for all others."""

    def __init__(self) -> None:
        self.seconds = self.cpu_s = 0.0

    def run(self, jobs: Iterator[Any], *_: object, **__: object) -> Iterator[tuple[Any, Any]]:
        from musclemap_data.extract.clip import run_job

        row: dict[str, Any] = {}
        for job in jobs:
            began, began_cpu = time.perf_counter(), cpu_s()
            if not row:
                outcome = run_job(job)
                with read_staged(Path(job.staged)) as table:
                    assert table is not None, outcome
                    row = table.to_pylist()[0]
            write_staged(Path(job.staged), {**row, **job.fixed})
            self.seconds += time.perf_counter() - began
            self.cpu_s += cpu_s() - began_cpu
            yield job, outcome


def measure_bookkeeping(folder: Path, count: int) -> Measured:
    """In this process: a build of ``count`` clips without the workers."""
    from musclemap_data.extract import build

    manifest = make_manifest(folder, count)
    times = [time.perf_counter()]
    clips = read_manifest(manifest, load_activities())
    times.append(time.perf_counter())
    download_videos(clips, folder, folder / "data")
    times.append(time.perf_counter())
    copied = CopiedRows()
    build.run_jobs = copied.run  # type: ignore[assignment,attr-defined]  # not a public place
    began_cpu = cpu_s()
    report = build.extract_modalities(folder / "data", modalities=("rgb",))
    if report.built != count:
        raise SystemExit(f"{report.built} of {count} clips were built: {report.failed}")
    build_cpu_s = cpu_s() - began_cpu - copied.cpu_s
    times.append(time.perf_counter() - copied.seconds)
    began_cpu = cpu_s()
    report = build.extract_modalities(folder / "data", modalities=("rgb",))
    if report.present != count:
        raise SystemExit(f"{report.present} of {count} clips were found again")
    again_cpu_s = cpu_s() - began_cpu
    manifest_s, ledger_s, build_s = (after - before for before, after in pairwise(times))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    each_ms = 1000 / count
    return Measured(
        count,
        each_ms * manifest_s,
        each_ms * ledger_s,
        each_ms * build_s,
        each_ms * build_cpu_s,
        each_ms * again_cpu_s,
        memory,
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
    parser.add_argument("--sizes", default="1000,5000,10000,20000")
    parser.add_argument("--full-sizes", default="250,1000")
    parser.add_argument("--tries", type=int, default=2, help="the one with the least is printed")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--one", type=int, help="one size, in this process; prints JSON")
    chosen = parser.parse_args()
    if chosen.one:
        memory = Path("/dev/shm")
        with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
            print(json.dumps(asdict(measure_bookkeeping(Path(folder), chosen.one))))
        return
    print("Bookkeeping, ms a clip (extraction replaced):\n")
    print("| clips | manifest | ledger | build | build, processor | second run, processor | MB |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    rows = []
    for size in map(int, chosen.sizes.split(",")):
        tries = [bookkeeping_in_own_process(size) for _ in range(chosen.tries)]
        row = min(tries, key=lambda measured: measured.build_cpu_ms)
        rows.append(row)
        print(
            f"| {row.clips:,} | {row.manifest_ms:.3f} | {row.ledger_ms:.3f} | {row.build_ms:.2f} "
            f"| {row.build_cpu_ms:.2f} | {row.again_cpu_ms:.2f} | {row.memory_mb} |",
            flush=True,
        )
    first, last = rows[0], rows[-1]
    ratio = last.build_cpu_ms / first.build_cpu_ms
    print(
        f"\n{last.clips:,} against {first.clips:,} clips: {ratio:.2f} times the processor time a "
        f"clip, {last.memory_mb - first.memory_mb} MB more"
    )
    print(f"\nFull path, {chosen.workers} workers, ms a clip:\n")
    print("| clips | clock | processor |\n|---:|---:|---:|")
    for size in map(int, chosen.full_sizes.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            clock, cpu = measure_full(Path(folder), size, chosen.workers)
        print(f"| {size:,} | {clock:.1f} | {cpu:.1f} |", flush=True)


if __name__ == "__main__":
    main()
