"""Repetitions counted by program against repetitions counted by eye, on real clips.

    python -m tests.bench.bench_movement

``hand_counts.csv`` has what was counted on contact sheets of five to eight frames a second, before
the program was run: there and back is 1, halves at the ends count, either side counts. The clips
are not part of the project; those that are not found are left out.
"""

from __future__ import annotations

import csv
import tempfile
import time
from pathlib import Path

import numpy as np

from musclemap_data.extract.person import follow
from musclemap_data.extract.windows import read_video
from musclemap_data.movement import count_repetitions
from tests.conftest import REPOSITORY

FOLDERS = [REPOSITORY.parent / "shared" / name for name in ("real_clips", "real_clips_more")]


def main() -> None:
    """Print one line a clip, then the mean absolute error."""
    errors, activities = [], set()
    table = csv.DictReader((Path(__file__).parent / "hand_counts.csv").open(encoding="utf-8"))
    for row in table:
        found = [path for folder in FOLDERS if (path := folder / row["file"]).exists()]
        if not found:
            continue
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as work:
            person = follow(read_video(found[0]), Path(work))
        counted = count_repetitions(person.skeleton, person.pieces.fps)
        error = counted.cycles - float(row["cycles"])
        errors.append(abs(error))
        activities.add(row["file"].rpartition("_")[0])
        print(
            f"{row['file']:30} by eye {float(row['cycles']):5.2f}  counted {counted.cycles:5.2f}  "
            f"{error:+5.2f}  {'in turn' if counted.alternating else '':8}"
            f"{time.perf_counter() - began:5.1f} s",
            flush=True,
        )
    if errors:
        print(
            f"{len(errors)} clips of {len(activities)} activities: mean absolute error "
            f"{np.mean(errors):.2f}, median {np.median(errors):.2f}, over 0.5 in "
            f"{sum(error > 0.5 for error in errors)}"
        )
    else:
        print("no clips: ../shared has none here")


if __name__ == "__main__":
    main()
