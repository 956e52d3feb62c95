"""What a large build takes, derived from one that was measured: hours, bytes, money, shards.

    python -m tests.bench.project_scale DATA [--clips 15004] [--seconds 10] [--cores 2,16,256]
        [--ms-a-frame 38]

DATA is any finished data set with all four modalities, best of real videos (``make real-clips``).
Its ledger has the seconds that each stage took, its shards the bytes of each column. The ledger's
are those of a clock on the wall: on a busy machine give what ``bench_extract`` measures.
"""

from __future__ import annotations

import argparse
import json
import math
import sqlite3
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

from musclemap_data.catalog import SPLITS
from musclemap_data.download.settings import DownloadSettings
from musclemap_data.extract.build import CLIPS_PER_SHARD
from musclemap_data.shards import Shard, list_shards

FRAMES_PER_S = 30
PRICE_PER_CORE_HOUR = 0.04
"""An assumption, in dollars: about what a rented x86-64 core costs on demand."""
PASSES_OVER_ROWS = 4
"""A row is written to work/, read, written to its shard, and the shard is read back."""


def per_frame(data: Path) -> tuple[int, int, dict[str, float], dict[str, float]]:
    """(clips, frames, milliseconds a frame by stage, bytes a frame by column and of the cuts)."""
    seconds: Counter[str] = Counter()
    size: Counter[str] = Counter()
    clips = frames = 0
    for split in SPLITS:
        for path in list_shards(data, split):
            with Shard(path) as shard:
                counts = shard.table(["frames"])["frames"].to_pylist()
            file = pq.ParquetFile(path)
            clips, frames = clips + len(counts), frames + sum(counts)
            for group in range(file.metadata.num_row_groups):
                for column in range(file.metadata.num_columns):
                    part = file.metadata.row_group(group).column(column)
                    size[part.path_in_schema.split(".")[0]] += part.total_compressed_size
    size["cuts"] = sum(path.stat().st_size for path in (data / "clips").glob("*.mp4"))
    ledger = sqlite3.connect(f"{(data / 'ledger.sqlite').resolve().as_uri()}?mode=ro", uri=True)
    for (timings,) in ledger.execute("SELECT timings FROM clips WHERE shard_row IS NOT NULL"):
        seconds.update(json.loads(timings))
    ledger.close()
    milliseconds = {name: 1000 * total / frames for name, total in seconds.most_common()}
    return clips, frames, milliseconds, {name: n / frames for name, n in size.most_common()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--clips", type=int, default=15_004)
    parser.add_argument("--seconds", type=float, default=10.0, help="mean length of a clip")
    parser.add_argument("--cores", default="2,16,256")
    parser.add_argument("--ms-a-frame", type=float, help="of a core, in place of the ledger's")
    chosen = parser.parse_args()
    clips, frames, milliseconds, size = per_frame(chosen.data)
    print(f"measured on {clips} clips, {frames} frames:")
    for what, unit, each in (("core", "ms", milliseconds), ("disk", "bytes", size)):
        parts = ", ".join(f"{name} {value:.1f}" for name, value in list(each.items())[:8])
        print(f"  {what}: {sum(each.values()):.1f} {unit} a frame ({parts})")
    core_ms = chosen.ms_a_frame or sum(milliseconds.values())
    total_frames = chosen.clips * chosen.seconds * FRAMES_PER_S
    core_hours = total_frames * core_ms / 3.6e6
    cuts = total_frames * size.pop("cuts")
    shards = total_frames * sum(size.values())
    shard_count = math.ceil(chosen.clips / CLIPS_PER_SHARD)
    pause_h = chosen.clips * DownloadSettings().pause_s / 3600
    print(
        f"{chosen.clips:,} clips of {chosen.seconds:g} s at {FRAMES_PER_S} frames/s: "
        f"{total_frames:,.0f} frames, {core_hours:,.0f} core-hours, "
        f"${core_hours * PRICE_PER_CORE_HOUR:,.0f}\n"
        f"  shards: {shard_count} (up to {shard_count + len(SPLITS) - 1} as splits end in "
        f"partly filled ones), {shards / 1e9:,.0f} GB, {shards / shard_count / 1e6:,.0f} MB each; "
        f"cuts {cuts / 1e9:,.0f} GB\n"
        f"  download: one video a clip from one host is {pause_h:.1f} h of pauses, on any machine\n"
    )
    print("| cores | hours | clips/s | MB/s read and written |\n|---:|---:|---:|---:|")
    for cores in map(int, chosen.cores.split(",")):
        hours = core_hours / cores
        rate = PASSES_OVER_ROWS * shards / hours / 3.6e9
        print(f"| {cores} | {hours:,.1f} | {chosen.clips / hours / 3600:.2f} | {rate:.0f} |")


if __name__ == "__main__":
    main()
