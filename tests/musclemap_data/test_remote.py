"""Data sets and sources on S3: against a real server on loopback (moto)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import app
from musclemap_data import remote, storage
from musclemap_data.catalog import SPLITS, load_activities
from musclemap_data.check.validate import validate_dataset
from musclemap_data.download.videos import download_videos
from musclemap_data.errors import FailureClass, StageError, UserError
from musclemap_data.extract import build as build_module
from musclemap_data.extract.build import extract_modalities
from musclemap_data.ledger import Ledger
from musclemap_data.manifest import Clip, read_manifest, write_manifest
from musclemap_data.ranges import copy_shard
from musclemap_data.shards import iterate_rows, list_shards, note_shard
from tests.conftest import REPOSITORY, write_video
from tests.musclemap_data.extract.test_build import make_clips, shard_bytes

URL = "s3://bucket/sets/mine"
ROOT = "bucket/sets/mine"


def forget_local_copy(tmp_path: Path) -> None:
    """As on a new machine."""
    shutil.rmtree(tmp_path / "cache" / "data")


def copied_bytes(data: Path) -> dict[str, bytes]:
    """Every shard of a copy, whole: what is not in it is read from the storage."""
    found = {}
    for path in (path for split in SPLITS for path in list_shards(data, split)):
        copy_shard(path, data / "whole")
        found[path.name] = (data / "whole").read_bytes()
        (data / "whole").unlink()
    return found


def remote_shards(files) -> dict[str, bytes]:
    names = [key.rpartition("/")[2] for key in files.ls(f"{ROOT}/shards", detail=False)]
    return {name: files.cat_file(f"{ROOT}/shards/{name}") for name in sorted(names)}


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """Five clips, and the data set built from them in a folder."""
    folder = tmp_path_factory.mktemp("local")
    clips = make_clips(folder, write_video)
    download_videos(clips, folder, folder / "data")
    build(folder / "data")
    return clips, folder / "data"


@pytest.fixture
def uploaded(files, local):
    """The same clips downloaded to S3."""
    clips, folder = local
    data = remote.local_copy(URL)
    with remote.writing(data):
        download_videos(clips, folder.parent, data)
    return clips, folder


def build(data: Path, modalities=("rgb",)) -> None:
    report = extract_modalities(data, modalities=modalities, workers=1)
    assert not report.failed


@pytest.mark.slow
def test_the_commands_work_on_a_remote_data_set(files, local, tmp_path):
    clips, folder = local
    write_manifest(folder.parent / "manifest.csv", clips)

    def run(*arguments: str):
        return CliRunner().invoke(app, [*arguments, "--data", URL])

    result = run("download", "--manifest", str(folder.parent / "manifest.csv"))
    assert result.exit_code == 0, result.output
    forget_local_copy(tmp_path)
    result = run("extract-modalities", "--modalities", "rgb", "--workers", "1")
    assert result.exit_code == 0, result.output
    assert remote_shards(files) == shard_bytes(folder)
    forget_local_copy(tmp_path)
    result = run("validate", "--json")
    found = json.loads(result.stdout)
    assert (found["rows"], found["problems"]) == (5, [])
    result = run("status", "--json")
    assert json.loads(result.stdout)["clips"] == {"built": 5}
    left = {key.removeprefix(f"{ROOT}/").split("/")[0] for key in files.find(ROOT)}
    assert left == {"dataset.json", "ledger.sqlite", "shards", "videos"}


@pytest.mark.slow
def test_a_build_needs_no_disk_for_what_it_has_sent(files, uploaded, tmp_path, monkeypatch):
    monkeypatch.setenv("MUSCLEMAP_CACHE_GB", "0")
    monkeypatch.setattr(build_module, "INFO_WRITTEN_EVERY_S", 0)  # and sent, after each shard
    monkeypatch.setattr(build_module, "LARGEST_SHARE_OF_INFO", 1.0)
    data = remote.local_copy(URL)
    left = []

    def count_whole(*_: object) -> None:
        left.append(len(list((data / "shards").glob("*.parquet"))))

    report = extract_modalities(data, modalities=("rgb",), workers=1, on_clip=count_whole)
    assert (report.built, report.failed) == (5, {})
    assert max(left) <= 1
    assert not list((data / "shards").glob("*.parquet"))
    assert remote_shards(files) == shard_bytes(uploaded[1])
    report = extract_modalities(data, modalities=("rgb",), workers=1)  # in the same copy
    assert (report.built, report.present) == (0, 5)
    # What is made anew is merged with rows that are in the storage alone.
    build(data, ("rgb", "rgb-diff"))
    assert validate_dataset(data) == (5, [])
    made = [json.loads(row["provenance"]) for _, _, row in iterate_rows(data, ["provenance"])]
    assert all({"rgb", "rgb-diff"} <= each.keys() for each in made) and len(made) == 5


@pytest.mark.slow
def test_google_cloud_storage_is_written_and_read_as_s3_is(local, tmp_path, monkeypatch):
    """Where `pip install gcsfs gcp-storage-emulator` was run: neither is needed otherwise."""
    pytest.importorskip("gcsfs")
    emulator = pytest.importorskip("gcp_storage_emulator.server")
    import fsspec

    server = emulator.create_server("127.0.0.1", 0, in_memory=True, default_bucket="bucket")
    server.start()
    try:
        port = server._api._httpd.server_address[1]
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("MUSCLEMAP_CACHE", str(tmp_path / "cache"))
        monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon"})
        clips, folder = local
        data = remote.local_copy("gs://bucket/sets/mine")
        with remote.writing(data):
            download_videos(clips, folder.parent, data)
        forget_local_copy(tmp_path)
        build(remote.local_copy("gs://bucket/sets/mine"))
        forget_local_copy(tmp_path)
        data = remote.local_copy("gs://bucket/sets/mine")
        assert validate_dataset(data) == (5, [])
        assert copied_bytes(data) == shard_bytes(folder)
    finally:
        server.stop()


@pytest.mark.slow
def test_ray_builds_a_remote_data_set_with_the_same_bytes(files, uploaded, cluster, tmp_path):
    forget_local_copy(tmp_path)
    report = extract_modalities(
        remote.local_copy(URL), modalities=("rgb",), engine="ray", address=cluster[0].address
    )
    assert (report.built, report.failed) == (5, {})
    assert remote_shards(files) == shard_bytes(uploaded[1])
    forget_local_copy(tmp_path)
    assert validate_dataset(remote.local_copy(URL)) == (5, [])


@pytest.mark.slow
def test_killed_it_goes_on_from_an_empty_copy(files, uploaded, tmp_path):
    command = [sys.executable, "-m", "cli", "extract-modalities", "--modalities", "rgb"]
    process = subprocess.Popen(
        [*command, "--workers", "1", "--data", URL],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )
    until = time.monotonic() + 60
    while not files.exists(f"{ROOT}/shards/test_known-00000.parquet"):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(remote_shards(files)) < 3
    forget_local_copy(tmp_path)
    build(remote.local_copy(URL))
    assert remote_shards(files) == shard_bytes(uploaded[1])
    assert validate_dataset(remote.local_copy(URL)) == (5, [])
    assert not files.exists(f"{ROOT}/musclemap.lock")


@pytest.mark.slow
def test_killed_before_it_replaced_a_shard_of_the_storage_it_loses_none(files, uploaded, tmp_path):
    build(remote.local_copy(URL))
    before = remote_shards(files)
    forget_local_copy(tmp_path)
    data = remote.local_copy(URL)
    note_shard(data, "train-00000.parquet", None)  # and then the power was cut
    assert remote.local_copy(URL) == data
    with remote.writing(data):  # another command sends what changed
        pass
    assert remote_shards(files) == before
    report = extract_modalities(data, modalities=("rgb",), workers=1)
    assert (report.built, report.present) == (0, 5)
    assert remote_shards(files) == before
    listed = json.loads(files.cat_file(f"{ROOT}/dataset.json"))["shards"]
    assert set(listed) == set(before)


@pytest.mark.slow
def test_an_upload_that_fails_is_made_up_for(files, uploaded, monkeypatch):
    data = remote.local_copy(URL)
    put_file = files.put_file

    def fail_at_train(local, remote, **options):
        if "shards/train" in remote:
            raise ConnectionError("the network is away")
        put_file(local, remote, **options)

    with monkeypatch.context() as patch:
        patch.setattr(files, "put_file", fail_at_train)
        with pytest.raises(UserError, match=r"the network is away.*run the same command"):
            build(data)
    assert set(remote_shards(files)) == {"test_known-00000.parquet"}
    assert {path.name for path in (data / "shards").iterdir()} > set(remote_shards(files))
    build(remote.local_copy(URL))
    assert remote_shards(files) == shard_bytes(uploaded[1])


@pytest.mark.slow
def test_an_emptied_storage_does_not_empty_the_copy(files, uploaded):
    data = remote.local_copy(URL)
    build(data)
    before = shard_bytes(data)
    files.rm("bucket/sets", recursive=True)
    with pytest.raises(UserError, match="was there before"):
        remote.local_copy(URL)
    assert shard_bytes(data) == before


@pytest.mark.slow
def test_two_machines_in_turn(files, uploaded, tmp_path, monkeypatch):
    first = remote.local_copy(URL)
    build(first)
    monkeypatch.setenv("MUSCLEMAP_CACHE", str(tmp_path / "cache2"))
    second = remote.local_copy(URL)
    assert second != first
    assert copied_bytes(second) == shard_bytes(first)
    # The second machine adds a modality and takes a clip out of the plan.
    with remote.writing(second):
        download_videos(uploaded[0][:4], uploaded[1].parent, second)
    build(second, ("rgb", "rgb-diff"))
    after = copied_bytes(second)
    assert "test_known-00000.parquet" not in after
    assert remote_shards(files) == after
    monkeypatch.setenv("MUSCLEMAP_CACHE", str(tmp_path / "cache"))
    assert remote.local_copy(URL) == first
    assert copied_bytes(first) == after
    with Ledger(first, read_only=True) as ledger:
        assert len(ledger.clips()) == 4


@pytest.mark.slow
def test_the_remote_wins_over_a_copy_that_was_left_behind(files, uploaded, tmp_path, monkeypatch):
    first = remote.local_copy(URL)
    build(first)
    before = remote_shards(files)
    # The first machine builds more and dies before it can send any of it.
    with monkeypatch.context() as patch:
        patch.setattr(remote, "upload", lambda data_dir, shards_only=False: None)
        build(first, ("rgb", "rgb-diff"))
    assert shard_bytes(first) != before
    assert copied_bytes(remote.local_copy(URL)) != before  # nobody else wrote: it keeps its work
    monkeypatch.setenv("MUSCLEMAP_CACHE", str(tmp_path / "cache2"))
    second = remote.local_copy(URL)
    with remote.writing(second):
        download_videos(uploaded[0][:4], uploaded[1].parent, second)
    monkeypatch.setenv("MUSCLEMAP_CACHE", str(tmp_path / "cache"))
    assert copied_bytes(remote.local_copy(URL)) == before


def test_what_is_there_is_not_sent_again(files, uploaded):
    build(remote.local_copy(URL))
    shards = {entry["name"]: entry["LastModified"] for entry in files.ls(f"{ROOT}/shards", True)}
    videos = {entry["name"]: entry["LastModified"] for entry in files.ls(f"{ROOT}/videos", True)}
    time.sleep(1.1)  # these times are whole seconds
    build(remote.local_copy(URL))
    again = files.ls(f"{ROOT}/shards", True) + files.ls(f"{ROOT}/videos", True)
    assert {entry["name"]: entry["LastModified"] for entry in again} == shards | videos


@pytest.mark.slow
def test_changed_bytes_are_found(files, uploaded, tmp_path):
    build(remote.local_copy(URL))
    key = f"{ROOT}/shards/train-00000.parquet"
    files.pipe_file(key, files.cat_file(key)[:-1] + b"?")
    forget_local_copy(tmp_path)
    problems = validate_dataset(remote.local_copy(URL))[1]
    assert any("train-00000.parquet cannot be read" in problem for problem in problems)


def test_a_shards_name_is_no_path(files, tmp_path):
    info = {"format_version": 1, "shards": {"../../evil": {"rows": 1, "sha256": "0"}}}
    files.pipe_file(f"{ROOT}/dataset.json", json.dumps(info).encode())
    with pytest.raises(UserError, match="no shard's name"):
        remote.local_copy(URL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("age_s", "host", "free"),
    [(30, "elsewhere", False), (700, "elsewhere", True), (30, None, False)],
)
def test_one_writer_at_a_time(files, uploaded, age_s, host, free):
    data = remote.local_copy(URL)
    holder = json.loads(remote._lock_text()) | {"time": time.time() - age_s}
    files.pipe_file(
        f"{ROOT}/musclemap.lock", json.dumps(holder | ({"host": host} if host else {})).encode()
    )
    if free:
        build(data)
        assert not files.exists(f"{ROOT}/musclemap.lock")
        return
    with pytest.raises(UserError, match="is in use by process"):
        build(data)
    assert files.exists(f"{ROOT}/musclemap.lock")
    assert not (data / "dataset.json").exists()


def test_sources_are_fetched_from_s3(files, tmp_path):
    files.pipe_file("bucket/videos/a.mp4", b"x" * 1000)
    target = tmp_path / "a.mp4"
    storage.fetch("s3://bucket/videos/a.mp4", target)
    assert target.read_bytes() == b"x" * 1000
    for url, most, kind in (
        ("s3://bucket/videos/none.mp4", None, FailureClass.GONE),
        ("s3://bucket/videos/a.mp4", 999, FailureClass.TOO_LARGE),
    ):
        with pytest.raises(StageError) as error:
            storage.fetch(url, tmp_path / "b.mp4", most)
        assert error.value.failure.failure_class == kind
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_manifest_may_name_videos_in_s3(files, tmp_path):
    source = write_video(tmp_path / "source.mp4")
    files.put_file(str(source), "bucket/videos/a.mp4")
    rows = [Clip(n, n, f"s3://bucket/videos/{n}.mp4", 0, 1, "squat", "train") for n in "ab"]
    write_manifest(tmp_path / "manifest.csv", rows)
    clips = read_manifest(tmp_path / "manifest.csv", load_activities())
    report = download_videos(clips, tmp_path, tmp_path / "data")
    assert (tmp_path / "data/videos/a.mp4").read_bytes() == source.read_bytes()
    assert {name: f.failure_class for name, f in report.failed.items()} == {"b": FailureClass.GONE}


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "http://host/x", "s3://", "s3://bucket", "s3://key:secret@bucket/x"]
    + ["s3://bucket/../x", "s3://bucket//x", "S3://bucket/x", "simplecache::s3://bucket/x"],
)
def test_wrong_urls_are_refused(url, tmp_path):
    with pytest.raises(UserError, match="must"):
        remote.local_copy(url)


def test_a_missing_package_is_named(monkeypatch):
    from fsspec.registry import _registry

    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(_registry, "s3", raising=False)
    with pytest.raises(UserError, match=r"pip install musclemap\[s3\]"):
        remote.local_copy(URL)


def test_a_folder_is_itself(tmp_path):
    assert storage.is_object_url(URL)
    assert not storage.is_object_url("videos/s3.mp4")
    remote.upload(tmp_path)
    with remote.writing(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
