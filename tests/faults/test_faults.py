"""Kills, a full disk, a folder that cannot be written, a clock set back, two runs at once."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from musclemap_data.download.videos import download_videos
from musclemap_data.errors import RETRIED_BY_DEFAULT, StageError, UserError
from musclemap_data.extract.cut import cut_clip
from musclemap_data.files import lock_data_dir
from musclemap_data.ledger import Ledger
from musclemap_data.manifest import Clip, write_manifest
from musclemap_data.modalities.settings import CutSettings
from musclemap_data.rows import schema
from musclemap_data.shards import iterate_rows
from tests.conftest import REPOSITORY, write_video
from tests.faults.kill import Attempt, command, run_session, shard_bytes
from tests.test_cli import musclemap

pytestmark = pytest.mark.slow

NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount", "bash", "-uc"]


@pytest.fixture(scope="module")
def calm(tmp_path_factory) -> Path:
    """A folder with a manifest of six clips, and the data set that an undisturbed build makes."""
    folder = tmp_path_factory.mktemp("calm")
    clips = []
    for n in range(3):
        write_video(folder / f"v{n}.mp4", seconds=1.5, width=64, height=48, seed=n)
        clips += [
            Clip(f"c{n}{k}", f"v{n}", f"v{n}.mp4", 0.5 * k, 0.5 * k + 0.5, "squat", "train")
            for k in range(2)
        ]
    write_manifest(folder / "manifest.csv", clips)
    for verb in ("download", "extract-modalities"):
        run(verb, folder, folder / "data", check=True)
    return folder


def run(verb: str, folder: Path, data: Path, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(verb, folder / "manifest.csv", data),
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        **options,
    )


def assert_resumes(calm: Path, data: Path) -> None:
    """Without the fault, the same commands end with the rows and bytes of the calm build."""
    for verb in ("download", "extract-modalities"):
        done = run(verb, calm, data)
        assert done.returncode == 0, done.stderr
    assert shard_bytes(data) == shard_bytes(calm / "data")


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_ten_kills_lose_and_double_nothing(tmp_path):
    tally, clips = run_session(tmp_path, kills=10, lanes=1, videos=6, seed=3)
    assert clips == 30
    assert tally.kills == 10
    assert tally.clean, tally


def test_what_a_failed_command_said_is_told_and_kept(tmp_path):
    for word, code in (("earlier", 0), ("the reason", 3)):
        program = f"print({word!r}); raise SystemExit({code})"
        attempt = Attempt([sys.executable, "-c", program], tmp_path / "build0")
        attempt.process.wait()
        if code == 0:
            attempt.must_end_well()
    with pytest.raises(AssertionError, match="exit code 3") as caught:
        attempt.must_end_well()
    assert "the reason" in str(caught.value)
    assert "earlier" not in str(caught.value)
    log = (tmp_path / "build0.log").read_text()
    assert log.index("earlier") < log.index("the reason") < log.index("exit code 3")


@pytest.mark.slow
def test_a_second_run_on_the_same_folder_says_so_and_stops(calm, tmp_path):
    data = shutil.copytree(calm / "data", tmp_path / "data")
    before = shard_bytes(data)
    with lock_data_dir(data):
        for verb in ("download", "extract-modalities"):
            done = run(verb, calm, data)
            assert done.returncode == 2
            assert "is in use by another musclemap run. Wait for it" in done.stderr
            assert "Traceback" not in done.stderr
        assert musclemap("status", "-d", data).returncode == 0  # looking is allowed
    assert shard_bytes(data) == before
    assert_resumes(calm, data)


@pytest.mark.slow
def test_a_clock_that_was_set_back_changes_nothing(calm, tmp_path, monkeypatch):
    data = tmp_path / "data"
    assert run("download", calm, data).returncode == 0
    monkeypatch.setattr("musclemap_data.ledger._now", lambda: "1970-01-01T00:00:00+00:00")
    of_rows = [field.name for field in fields(Clip) if field.name in schema().names]
    clips = [Clip(**row) for _, _, row in iterate_rows(calm / "data", of_rows)]
    download_videos(clips, calm, data)
    with Ledger(data, read_only=True) as ledger:
        assert {video.state for video in ledger.videos()} == {"downloaded"}
    assert_resumes(calm, data)


@pytest.mark.slow
def test_files_that_may_not_grow_are_a_message_and_the_build_goes_on_later(calm, tmp_path):
    """A full disk that needs no rights: no file over 60 kB. Rows fit, the shard does not."""
    data = tmp_path / "data"
    assert run("download", calm, data).returncode == 0
    limit = 60_000
    assert (calm / "data/ledger.sqlite").stat().st_size < limit
    assert (calm / "data/shards/train-00000.parquet").stat().st_size > limit
    done = run(
        "extract-modalities",
        calm,
        data,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert "File too large" in done.stderr
    assert_resumes(calm, data)


def test_a_ledger_that_cannot_grow_is_a_message(tmp_path):
    clips = [Clip(f"c{n}", f"v{n}", f"v{n}.mp4", 0, None, "squat", "train") for n in range(500)]
    with Ledger(tmp_path) as ledger:
        ledger.sync(clips[:1], tmp_path)
        ledger._db.execute("PRAGMA max_page_count = 1")  # means: not one page more
        with pytest.raises(UserError, match="full"):
            ledger.sync(clips, tmp_path)
        assert [clip.clip_id for clip in ledger.clips()] == ["c0"]


@pytest.mark.parametrize(("name", "kind"), [("KILL", "bug"), ("TERM", "bug"), ("XFSZ", "disk")])
def test_an_ffmpeg_that_is_killed_is_no_damaged_video(calm, tmp_path, monkeypatch, name, kind):
    """The out-of-memory killer takes ffmpeg: the same command must try that clip again."""
    script = tmp_path / "ffmpeg"
    script.write_text(f"#!/bin/sh\nkill -{name} $$\n")
    script.chmod(0o700)
    monkeypatch.setattr("musclemap_data.ffmpeg.ffmpeg_binary", lambda: str(script))
    with pytest.raises(StageError) as caught:
        cut_clip(calm / "v0.mp4", tmp_path / "cut.mp4", 0, 0.5, CutSettings())
    assert caught.value.failure.failure_class == kind
    assert caught.value.failure.failure_class in RETRIED_BY_DEFAULT


def in_namespace(script: str, calm: Path, tmp_path: Path) -> None:
    """Run a script where file systems can be mounted; skips the test where that is not allowed.

    In the script, ``$DATA`` is in a file system of its own, mounted at ``$DISK``; ``try N VERB``
    runs a verb with its messages and exit code in the files ``N.err`` and ``N.rc``.
    """
    if not shutil.which("unshare"):
        pytest.skip("unshare is not here")
    (tmp_path / "disk").mkdir()
    verbs = {
        verb: subprocess.list2cmdline(
            command(verb, calm / "manifest.csv", tmp_path / "disk" / "data")
        )
        for verb in ("download", "extract-modalities")
    }
    prelude = f"""
        export OUT={tmp_path} DISK={tmp_path}/disk DATA={tmp_path}/disk/data
        cd {REPOSITORY}
        try() {{ {{ case $2 in
            download) {verbs["download"]};;
            extract) {verbs["extract-modalities"]};;
            esac; }} > "$OUT/$1.out" 2> "$OUT/$1.err"; echo $? > "$OUT/$1.rc"; }}
        mount -t tmpfs -o size=64m tmpfs "$DISK" || exit 77
    """
    done = subprocess.run([*NAMESPACE, prelude + script], capture_output=True, text=True)
    if done.returncode in (1, 77) and not (tmp_path / "1.rc").exists():
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("size", ["60k", "110k", "250k"])
def test_a_full_disk_is_a_message_and_the_build_goes_on_later(calm, tmp_path, size):
    script = f"""
        mount -o remount,size={size} "$DISK"
        try 1 download; try 2 extract
        mount -o remount,size=64m "$DISK"
        try 3 download; try 4 extract
        cp -r "$DATA/shards" "$OUT/shards"
    """
    in_namespace(script, calm, tmp_path)
    codes = [int((tmp_path / f"{n}.rc").read_text()) for n in (1, 2, 3, 4)]
    assert codes[2:] == [0, 0], (tmp_path / "4.err").read_text()
    assert any(codes[:2]), "the disk was large enough"
    for n in (1, 2):
        message = (tmp_path / f"{n}.err").read_text()
        assert "Traceback" not in message
        assert codes[n - 1] == 0 or "full" in message or "No space left" in message
    assert shard_bytes(tmp_path) == shard_bytes(calm / "data")


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_a_message(calm, tmp_path):
    script = """
        mount -o remount,ro "$DISK"
        try 1 download
        mount -o remount,rw "$DISK"
        try 2 download
        mount -o remount,ro "$DISK"
        try 3 download; try 4 extract
        mount -o remount,rw "$DISK"
        try 5 extract
        cp -r "$DATA/shards" "$OUT/shards"
    """
    in_namespace(script, calm, tmp_path)
    codes = [int((tmp_path / f"{n}.rc").read_text()) for n in range(1, 6)]
    assert codes == [2, 0, 2, 2, 0]
    for n in (1, 3, 4):
        message = (tmp_path / f"{n}.err").read_text()
        assert "cannot be written: Read-only file system" in message
        assert "Traceback" not in message
    assert shard_bytes(tmp_path) == shard_bytes(calm / "data")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_of_somebody_else_is_a_message(calm, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    done = run("download", calm, tmp_path / "locked" / "data")
    assert done.returncode == 2
    assert "cannot be written: Permission denied" in done.stderr
