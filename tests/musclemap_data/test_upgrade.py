"""`musclemap upgrade`: a data set of format version 1 becomes one of version 2."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from cli import app
from musclemap_data.check.validate import validate_dataset
from musclemap_data.errors import UserError
from musclemap_data.files import file_sha256
from musclemap_data.shards import Shard, iterate_rows, list_shards, read_dataset_info
from musclemap_data.upgrade import plan_upgrade, upgrade_dataset
from tests.conftest import REPOSITORY
from tests.musclemap_data.test_shards import write_version_1
from tests.musclemap_data.tiny_dataset import PLAN, clip_row, write_dataset, write_ledger


def without_new_columns(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k not in ("skeleton_quality", "skeleton_notes")}


def write_old_dataset(folder: Path) -> Path:
    """A data set of version 1: five shards, one with a clip of two rows in version 2."""
    data = write_dataset(folder)
    info = read_dataset_info(data)
    for split in {entry[3] for entry in PLAN}:
        rows = [
            clip_row(*entry, seed=number) for number, entry in enumerate(PLAN) if entry[3] == split
        ]
        if split == "train":
            rows.append(_long(rows[0]))
        path = list_shards(data, split)[0]
        path.unlink()
        write_version_1(path, [without_new_columns(row) for row in rows])
        info["shards"][path.name] = {"rows": len(rows), "sha256": file_sha256(path)}
    text = json.dumps(info | {"format_version": 1})
    (data / "dataset.json").write_text(text)
    write_ledger(data)
    return data


def _long(row: dict[str, Any]) -> dict[str, Any]:
    """The clip thirty times over, 360 frames."""
    pictures = {name: row[name] * 30 for name in ("rgb", "rgb_diff")}
    skeleton = np.tile(row["skeleton"], 30)
    flow = (row["flow"] * 33)[:359]
    changes = {"clip_id": "push_03", "frames": 360, "end_s": 31.0, "flow": flow}
    return row | pictures | changes | {"skeleton": skeleton}


def contents(data: Path) -> list[tuple[str, int, dict[str, Any]]]:
    """Every clip with its place; NaN joints as they compare equal."""
    found = []
    for path, index, row in iterate_rows(data, ()):
        skeleton = np.nan_to_num(np.asarray(row["skeleton"]), nan=-1.0).tolist()
        found.append((path.name, index, row | {"skeleton": skeleton}))
    return found


def versions(data: Path) -> list[int]:
    found = []
    for split in ("train", "val_known", "test_known", "test_new"):
        with Shard(list_shards(data, split)[0]) as shard:
            found.append(shard.version)
    return found


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_old_dataset(tmp_path_factory.mktemp("old") / "data")


@pytest.fixture
def data(old: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(old, tmp_path / "data"))


def test_clips_stay_what_and_where_they_are(data):
    before = contents(data)
    assert versions(data) == [1] * 4
    clips: list[int] = []
    report = upgrade_dataset(data, on_total=clips.append, on_clip=lambda: clips.append(1))
    assert clips == [len(before)] + [1] * len(before)
    assert len(report.upgraded) == 4 and not report.failed
    assert versions(data) == [2] * 4
    assert contents(data) == before
    info = read_dataset_info(data)
    assert info["format_version"] == 2
    for name, entry in info["shards"].items():
        assert entry["sha256"] == file_sha256(data / "shards" / name)
    rows, problems = validate_dataset(data)
    assert (rows, problems) == (7, [])


def test_a_second_run_changes_nothing(data):
    upgrade_dataset(data)
    first = {path: path.stat().st_mtime_ns for path in (data / "shards").iterdir()}
    text = (data / "dataset.json").read_text()
    report = upgrade_dataset(data)
    assert (report.todo, report.upgraded, report.current) == ([], [], 4)
    assert {path: path.stat().st_mtime_ns for path in (data / "shards").iterdir()} == first
    assert (data / "dataset.json").read_text() == text


def test_a_dry_run_writes_nothing(data):
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    result = CliRunner().invoke(app, ["upgrade", str(data), "--dry-run", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["old_shards"] == {"1": 4} and found["clips"] == 7 and found["upgraded"] == []
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*")} == before


def test_the_command_says_what_it_did_and_what_comes_next(data):
    result = CliRunner().invoke(app, ["upgrade", "--data", str(data)])
    assert result.exit_code == 0, result.output
    assert "4 shards upgraded to version 2" in result.stdout
    assert f"musclemap validate --data {data}" in result.stderr


@pytest.mark.parametrize("after_rename", [False, True])
def test_a_run_that_stops_anywhere_goes_on(data, monkeypatch, after_rename):
    """Stopped before or after a shard was renamed into place, `dataset.json` not yet written."""
    from musclemap_data import upgrade

    before = contents(data)
    real = upgrade.write_shard

    def stopped(path, rows):
        if path.name.startswith("val_known"):
            if after_rename:
                real(path, rows)
            raise KeyboardInterrupt
        return real(path, rows)

    monkeypatch.setattr(upgrade, "write_shard", stopped)
    with pytest.raises(KeyboardInterrupt):
        upgrade_dataset(data)
    monkeypatch.undo()
    assert versions(data) == [2, 1 + after_rename, 1, 1]
    assert contents(data) == before  # usable in between
    report = upgrade_dataset(data)
    assert len(report.upgraded) == 3 - after_rename
    assert contents(data) == before
    assert validate_dataset(data) == (7, [])


@pytest.mark.slow
def test_a_killed_run_goes_on(data):
    """The process is killed while it writes; what it leaves behind is cleaned up."""
    before = contents(data)
    script = """
import sys, time
from pathlib import Path
from musclemap_data import upgrade
real = upgrade._clips
def slow(path, on_clip):
    for number, clip in enumerate(real(path, on_clip)):
        if path.name.startswith("val_known"):
            print("now", flush=True)
            time.sleep(60)
        yield clip
upgrade._clips = slow
upgrade.upgrade_dataset(Path(sys.argv[1]))
"""
    command = [sys.executable, "-c", script, str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY) as process:
        assert process.stdout is not None and process.stdout.readline() == b"now\n"
        os.kill(process.pid, signal.SIGKILL)
    time.sleep(0.1)
    assert list((data / "shards").glob(".*.tmp*"))
    assert versions(data) == [2, 1, 1, 1]
    report = upgrade_dataset(data)
    assert len(report.upgraded) == 3
    assert contents(data) == before and validate_dataset(data) == (7, [])
    assert not list((data / "shards").glob(".*"))


def test_a_damaged_shard_stays_and_the_others_go_on(data):
    path = list_shards(data, "val_known")[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    recorded = read_dataset_info(data)["shards"][path.name]
    result = CliRunner().invoke(app, ["upgrade", str(data), "--json"])
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert list(found["failed"]) == [path.name] and len(found["upgraded"]) == 3
    assert "row 0 cannot be read" in found["failed"][path.name]
    assert path.read_bytes() == bytes(content)
    assert read_dataset_info(data)["shards"][path.name] == recorded  # so `validate` finds it


def test_what_is_no_data_set_of_ours_is_left_alone(data, tmp_path):
    with pytest.raises(UserError, match="There is no data set"):
        upgrade_dataset(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    info = read_dataset_info(data) | {"format_version": 3}
    (data / "dataset.json").write_text(json.dumps(info))
    for verb in (plan_upgrade, upgrade_dataset):
        with pytest.raises(UserError, match="Install a newer MuscleMap"):
            verb(data)
