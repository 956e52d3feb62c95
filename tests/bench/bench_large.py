"""A split of 5 GB of pictures in datasets, pandas, Polars and DuckDB: all of it, time and memory.

    python -m tests.bench.bench_large [--gigabytes 5] [--folder FOLDER]

The pictures are random bytes of 25 kB. Of sixteen clips, fifteen have 300 frames and one has 1,600,
which is five rows. Each tool is a process of its own that must find every byte; memory is the
largest that it had, resident (with files that it maps) and anonymous (which the system cannot take
back). The folder needs room for three times the pictures: the shards, and what `datasets` caches.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from musclemap_data.catalog import SPLITS
from musclemap_data.export import export_dataset
from musclemap_data.files import file_sha256
from musclemap_data.shards import shard_path, write_dataset_info, write_shard
from tests.bench.bench_memory import kilobytes
from tests.conftest import REPOSITORY

PICTURE_BYTES = 25_000
CLIPS_PER_SHARD = 64


def clips(number: int, block: bytes) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(number)
    for index in range(CLIPS_PER_SHARD):
        frames = 1600 if index % 16 == 15 else 300
        starts = rng.integers(len(block) - PICTURE_BYTES, size=frames).tolist()
        yield {
            "clip_id": f"c{number:04d}_{index:02d}",
            "video_id": f"v{number:04d}_{index:02d}",
            "url": "https://example.org/v",
            "activity": "squat",
            "split": "train",
            "start_s": 0.0,
            "end_s": frames / 30,
            "frames": frames,
            "height": 256,
            "width": 456,
            "fps": 30.0,
            "muscles": [True] * 20,
            "rgb": [block[start : start + PICTURE_BYTES] for start in starts],
            "source_sha256": "0" * 64,
            "provenance": "{}",
        }


def write_split(data: Path, least_bytes: float) -> int:
    """Shards of random pictures; gives the bytes of the pictures in them."""
    (data / "shards").mkdir(parents=True)
    block = np.random.default_rng(0).bytes(2**24)
    total = 0
    shards: dict[str, dict[str, object]] = {}
    while total < least_bytes:
        path = shard_path(data, "train", len(shards))
        write_shard(path, clips(len(shards), block))
        shards[path.name] = {"rows": CLIPS_PER_SHARD, "sha256": file_sha256(path)}
        total += sum(row["frames"] for row in clips(len(shards) - 1, block)) * PICTURE_BYTES
    counts = {split: {"planned": 0, "built": 0} for split in SPLITS}
    info = {"name": "large", "activities": "musclemap", "splits": counts, "shards": shards}
    write_dataset_info(data, info)
    return total


def with_datasets(folder: Path, files: list[str]) -> int:
    import datasets
    import pyarrow.compute as pc

    rows = datasets.load_dataset(str(folder), cache_dir=str(folder.parent / "cache"))["train"]
    assert len(rows[len(rows) - 1]["rgb"]) == rows[len(rows) - 1]["frames"]
    tables = rows.select_columns(["rgb"]).with_format("arrow").iter(50)
    return sum(pc.sum(pc.binary_length(pc.list_flatten(t["rgb"]))).as_py() for t in tables)


def with_datasets_streaming(folder: Path, files: list[str]) -> int:
    import datasets

    rows = datasets.load_dataset(str(folder), split="train", streaming=True)
    return sum(len(picture) for row in rows for picture in row["rgb"])


def with_pandas(folder: Path, files: list[str]) -> int:
    import pandas as pd

    columns = ["clip_id", "rgb"]
    # Its stubs do not know that it takes several files.
    rows = pd.read_parquet(files, columns=columns, dtype_backend="pyarrow")  # type: ignore[call-overload]
    return sum(len(picture) for pictures in rows["rgb"] for picture in pictures)


def with_polars(folder: Path, files: list[str]) -> int:
    import polars as pl

    rows = pl.scan_parquet(files).select("clip_id", "rgb").collect()
    sizes = rows["rgb"].explode().bin.size()
    return int(sizes.cast(pl.Int64).sum())


def with_duckdb(folder: Path, files: list[str]) -> int:
    import duckdb

    query = "SELECT sum(list_sum(list_transform(rgb, lambda p: octet_length(p)))) FROM "
    found = duckdb.sql(f"{query} read_parquet({files!r})")
    assert found is not None
    return int(found.fetchall()[0][0])


WAYS: dict[str, Callable[[Path, list[str]], int]] = {
    "datasets": with_datasets,
    "datasets, streaming": with_datasets_streaming,
    "pandas, Arrow's types": with_pandas,
    "Polars": with_polars,
    "DuckDB": with_duckdb,
}


def measure(way: str, folder: Path) -> dict[str, float]:
    """Runs in a process of its own."""
    files = [str(path) for path in sorted((folder / "data").glob("train-*.parquet"))]
    anonymous, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            anonymous.append(status("RssAnon"))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    began = time.perf_counter()
    found = WAYS[way](folder, files)
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    return {
        "bytes": found,
        "seconds": seconds,
        "resident": status("VmHWM") // 1024,
        "anonymous": max(anonymous) // 1024,
    }


def status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return kilobytes(next(line.split(":", 1)[1] for line in lines if line.startswith(f"{name}:")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=5)
    parser.add_argument("--folder", type=Path, help="where there is room; default: a temporary one")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        print(json.dumps(measure(chosen.measure[0], Path(chosen.measure[1]))))
        return
    failed = False
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        total = write_split(Path(name) / "data", chosen.gigabytes * 1e9)
        export_dataset(Path(name) / "data", Path(name) / "hf", ("hf",))
        print(f"{total / 1e9:.2f} GB of pictures\n\n| tool | s | resident MB | anonymous MB |")
        print("|---|---:|---:|---:|", flush=True)
        for way in WAYS:
            done = subprocess.run(
                [sys.executable, "-m", "tests.bench.bench_large"]
                + ["--measure", way, str(Path(name) / "hf")],
                cwd=REPOSITORY,
                env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"},
                capture_output=True,
                text=True,
            )
            found = json.loads(done.stdout) if done.returncode == 0 else {"bytes": 0}
            if found["bytes"] != total:
                failed = True
                print(f"| {way} | **failed**: {done.stderr[-300:]!r} | | |", flush=True)
                continue
            print(
                f"| {way} | {found['seconds']:.1f} | {found['resident']} | {found['anonymous']} |",
                flush=True,
            )
    if failed:
        raise SystemExit("A tool did not read the split.")


if __name__ == "__main__":
    main()
