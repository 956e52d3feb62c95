"""The whole path on real video: serve clips on loopback, run the three commands, print figures.

    python -m tests.bench.real_clips OUT_DIR [--clips 72] [--seconds 3] [--models transm3e,...]

Needs the clips in ``../shared/real_clips``, which cannot be shipped.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

from musclemap_data.catalog import load_activities
from musclemap_data.manifest import Clip, write_manifest
from musclemap_data.sample.serve import serve_folder
from musclemap_data.shards import iterate_rows
from musclemap_data.splits import partition_of
from tests.conftest import REPOSITORY

REAL_CLIPS = REPOSITORY.parent / "shared" / "real_clips"
# Known activities that this small set holds out, since only one of our 20 new ones is in it.
HELD_OUT = ("pull_up", "mountain_climber", "burpee", "russian_twist", "donkey_kick")
# Stretches and rests: no region does enough work, or too many clips of one person.
LEFT_OUT = ("corpse_pose", "lotus_pose", "childs_pose", "calf_stretch")


def real_clips(
    base_url: str, count: int, seconds: float, most_per_activity: int = 10
) -> list[Clip]:
    """A manifest of real clips; people, not clips, are divided between train, val and test."""
    activities = load_activities()
    by_name = {name: a.slug for a in activities.values() for name in (a.slug, a.name, *a.aliases)}
    with (REAL_CLIPS / "clips.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    clips: list[Clip] = []
    used: Counter[str] = Counter()
    # Small activities first, so that a short list still has many of them.
    sizes = Counter(row["activity"] for row in rows)
    for row in sorted(rows, key=lambda row: (sizes[row["activity"]], row["file"])):
        slug = by_name.get(row["activity"]) or by_name.get(row["activity"].replace("_", " "))
        if row["activity"] in LEFT_OUT or slug is None or used[slug] >= most_per_activity:
            continue
        part = partition_of(row["person_cluster"])
        if activities[slug].new or slug in HELD_OUT:
            # Each of these files is a video of its own, of one new activity: none need be lost.
            split = "val_new" if used[slug] % 3 == 2 else "test_new"
        else:
            split = part if part == "train" else f"{part}_known"
        used[slug] += 1
        name = Path(row["file"]).stem
        # The last seconds: some videos open with a title card.
        start_s = max(0.0, float(row["seconds"]) - seconds)
        clips.append(Clip(name, name, f"{base_url}/{row['file']}", start_s, None, slug, split))
        if len(clips) == count:
            break
    return clips


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--clips", type=int, default=72)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--models", default="random,all-ones,mvit_v2_s,stgcn,transm3e")
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()
    if not REAL_CLIPS.is_dir():
        sys.exit("the real clips (../shared/real_clips) are not here")
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    with serve_folder(REAL_CLIPS) as base_url:
        clips = real_clips(base_url, arguments.clips, arguments.seconds)
        manifest, data = out / "manifest.csv", out / "data"
        write_manifest(manifest, clips)
        splits = Counter(clip.split for clip in clips)
        print(f"{len(clips)} clips, {len({c.activity for c in clips})} activities, {dict(splits)}")
        run("download", "--manifest", str(manifest), "--data", str(data))
        run("extract-modalities", "--data", str(data))
    run("validate", "--data", str(data))
    report_skeletons(data)
    for model in filter(None, arguments.models.split(",")):
        run("benchmark", "--model", model, "--data", str(data), "--preset", "tiny",
            "--epochs", str(arguments.epochs))  # fmt: skip


def run(*words: str) -> None:
    print(f"$ musclemap {' '.join(words)}", flush=True)
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "cli", *words], cwd=REPOSITORY)
    print(f"  exit code {done.returncode}, {time.perf_counter() - began:.1f} s", flush=True)


def report_skeletons(data: Path) -> None:
    """Print how many clips have a person in at least half of their frames."""
    found, low = 0, []
    columns = ["clip_id", "frames", "skeleton", "skeleton_people", "rgb", "rgb_diff", "flow"]
    rows = list(iterate_rows(data, columns))
    for _path, _index, row in rows:
        assert len(row["rgb"]) == len(row["rgb_diff"]) == len(row["flow"]) + 1 == row["frames"]
        skeleton = np.asarray(row["skeleton"], np.float32)
        skeleton = skeleton.reshape(row["frames"], row["skeleton_people"], 17, 3)
        share = float((skeleton[..., 2].max(axis=(1, 2)) > 0).mean())
        found += share >= 0.5
        if share < 0.5:
            low.append(f"{row['clip_id']} ({share:.0%})")
    print(f"{len(rows)} rows with four modalities; a skeleton in at least half of the frames: "
          f"{found} clips, {found / len(rows):.1%}; below: {', '.join(low) or 'none'}")  # fmt: skip


if __name__ == "__main__":
    main()
