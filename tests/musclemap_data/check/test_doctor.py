"""What `musclemap doctor` says of this machine, and of machines that lack something."""

from __future__ import annotations

import json
import os
from datetime import date

import pytest

from musclemap_data.check import doctor
from tests.test_cli import musclemap


def test_here_all_three_commands_can_run(tmp_path):
    done = musclemap("doctor", "--data", tmp_path / "new", "--json")
    assert done.returncode == 0, done.stdout
    told = json.loads(done.stdout)
    assert {name: entry["can_run"] for name, entry in told["commands"].items()} == {
        "download": True,
        "extract-modalities": True,
        "benchmark": True,
    }
    found = {entry["name"]: entry["found"] for entry in told["findings"]}
    assert {"ffmpeg", "yt-dlp", "JavaScript runtime", "GPU", "BlazePose weights", "disk"} <= set(
        found
    )
    assert "days old" in found["yt-dlp"]
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_without_ffmpeg_two_commands_cannot_run(tmp_path):
    away = {**os.environ, "IMAGEIO_FFMPEG_EXE": str(tmp_path / "no-ffmpeg")}
    done = musclemap("doctor", "--data", tmp_path, env=away)
    assert done.returncode == 1
    assert "STOPS ffmpeg: does not run" in done.stdout
    assert "download: cannot run: ffmpeg" in done.stdout
    assert "extract-modalities: cannot run: ffmpeg" in done.stdout
    assert "benchmark: can run" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("version", "today", "found", "advised"),
    [
        ("2026.8.19", date(2026, 9, 1), "13 days old", False),
        ("2026.8.19", date(2027, 1, 1), "135 days old", True),
        ("2026.08.19.232707", date(2026, 8, 20), "1 days old", False),
        ("local", date(2026, 9, 1), "of unknown age", True),
    ],
)
def test_the_age_of_yt_dlp_is_that_of_its_version(monkeypatch, version, today, found, advised):
    monkeypatch.setattr(doctor, "version", lambda _: version)
    finding = doctor._yt_dlp(today)
    assert found in finding.found
    assert ("install -U" in finding.advice) is advised
    assert finding.stops == ()


@pytest.mark.parametrize(
    ("needed", "found", "stops"),
    [
        ("no-such-package>=1.2", "missing", doctor.MAIN_COMMANDS),
        ("torch>=99", "needed is >=99", ()),
        ("numpy>=1; python_version < '3'", None, None),
        ("numpy>=1; extra == 'dev'", None, None),
        ("numpy>=1", None, None),
    ],
)
def test_packages_are_held_against_what_the_project_asks_for(monkeypatch, needed, found, stops):
    monkeypatch.setattr(doctor, "requires", lambda _: [needed])
    [finding] = doctor._packages() if found else [*doctor._packages(), None][:1]
    if found is None:
        assert finding is None or finding.name == "packages"
    else:
        assert found in finding.found
        assert finding.stops == stops
        assert finding.advice.startswith('pip install "')


def test_a_package_that_does_not_load_stops_what_needs_it(monkeypatch):
    monkeypatch.setattr(doctor, "requires", lambda _: ["numba>=0.1"])
    monkeypatch.setitem(doctor._LOADED, "numba", "no_such_module_of_numba")
    [finding] = doctor._packages()
    assert finding.stops == ("extract-modalities",)
    assert "does not load: ModuleNotFoundError" in finding.found
    assert doctor.cannot_run([finding]) == {
        "download": [],
        "extract-modalities": ["numba"],
        "benchmark": [],
    }


def test_weights_that_cannot_be_had_stop_extraction(monkeypatch, tmp_path):
    monkeypatch.setenv("MUSCLEMAP_BLAZEPOSE_DIR", str(tmp_path))
    assert doctor._pose_weights().stops == ()  # pip would fetch them
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    finding = doctor._pose_weights()
    assert finding.stops == ("extract-modalities",)
    assert "MUSCLEMAP_BLAZEPOSE_DIR" in finding.advice


def test_a_disk_that_cannot_be_written_stops_everything(monkeypatch, tmp_path):
    assert "GB free" in doctor._disk(tmp_path / "a" / "b").found
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    assert doctor._disk(tmp_path / "a" / "b").stops == doctor.MAIN_COMMANDS
