"""Where clips are extracted: processes that die, and a real Ray cluster that loses a node."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from socket import gethostname
from types import SimpleNamespace

import pytest

from musclemap_data.check.validate import validate_dataset
from musclemap_data.cluster import Marker
from musclemap_data.download.videos import download_videos
from musclemap_data.errors import Failure, FailureClass, UserError
from musclemap_data.extract import assemble, build, engines, local, ray, work
from musclemap_data.extract.assemble import ShardJob
from musclemap_data.extract.build import extract_modalities
from musclemap_data.extract.clip import ClipJob, Extracted, tool_versions
from musclemap_data.ffmpeg import ffmpeg_binary
from musclemap_data.manifest import Clip
from musclemap_data.modalities.settings import ExtractionSettings
from tests.musclemap_data.conftest import add_second_node
from tests.musclemap_data.extract.test_build import FAST, make_clips, shard_bytes

# -- what workers do in these tests: functions of a module, so that other processes find them ---


def end_at_c2(job: ClipJob) -> Extracted:
    if job.clip_id == "c2":
        os._exit(1)
    time.sleep(0.05)
    return Extracted(frames=1, clipped_share=0.0, seconds={})


def lack_weights_at_c2(job: ClipJob) -> dict:
    if job.clip_id == "c2":
        raise UserError("no weights file pose.onnx: give the path of a file")
    return {"frames": 1}


def end_at_c2_on_node(job, video, tools, seen):
    return end_at_c2(job), None


def extract_without_shared_files(job, video, tools, seen):
    """As on a node with a file system of its own."""
    hidden = replace(job, video=f"/nowhere/{job.clip_id}")
    return ray._extract_on_node(hidden, video, tools, "/nowhere/seen")


def write_without_shared_files(job, seen, tools):
    return ray._write_on_node(job, "/nowhere/seen", tools)


def hang_on_second_node(job, video, tools, seen):
    """The second node takes clips and finishes none: what it took is lost with it."""
    if os.environ.get("SECOND_NODE"):
        Path(job.staged).with_name("second-node-works").touch()
        time.sleep(300)
    return ray._extract_on_node(job, video, tools, seen)


def hang_in_a_shard_on_second_node(job, seen, tools):
    """Half a shard is there under its temporary name, and the node writes no more."""
    if os.environ.get("SECOND_NODE"):
        folder = Path(job.data_dir)
        (folder / "shards" / f".{job.name}.1.tmp.parquet").write_bytes(b"PAR1 and no more")
        (folder / "work" / "second-node-works").touch()
        time.sleep(300)
    time.sleep(1)  # leaves one for the second node
    return ray._write_on_node(job, seen, tools)


def tell_gpus(job, video, tools, seen):
    """How many clips may share a GPU, as Ray has it, and which GPUs the task sees."""
    import ray as real_ray

    share = real_ray.get_runtime_context().get_assigned_resources().get("GPU", 0.0)
    seen_gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return Extracted(frames=1, clipped_share=share, seconds={seen_gpus: 0.0}), None


def no_shard_here(job):
    raise AssertionError(f"the main process was to do {job.name}")


def some_jobs(count: int) -> list[ClipJob]:
    settings = ExtractionSettings()
    return [
        ClipJob(f"c{n}", __file__, "", "", 0.0, None, ("rgb",), settings, {"source_sha256": "0"})
        for n in range(count)
    ]


# -- processes ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_a_clip_that_kills_its_worker_fails_alone(monkeypatch, workers):
    monkeypatch.setattr(local, "run_job", end_at_c2)
    outcomes = list(engines.run_jobs(some_jobs(20), workers))
    assert sorted(job.clip_id for job, _ in outcomes) == sorted(f"c{n}" for n in range(20))
    failed = {job.clip_id: outcome for job, outcome in outcomes if isinstance(outcome, Failure)}
    assert set(failed) == {"c2"}
    assert failed["c2"].failure_class == FailureClass.BUG
    assert "died twice" in failed["c2"].reason


def test_a_machine_without_weights_ends_the_run(monkeypatch):
    """It is no fault of the clip, nor of MuscleMap: every clip would fail with it."""
    monkeypatch.setattr(local, "run_job", lack_weights_at_c2)
    ended = []
    with pytest.raises(UserError, match=r"no weights file pose\.onnx: give the path"):
        ended += (job.clip_id for job, _ in engines.run_jobs(some_jobs(4), 1))
    assert ended == ["c0", "c1"]  # what was finished is handed out, and kept


def test_few_jobs_are_handed_out_at_once(monkeypatch):
    monkeypatch.setattr(local, "run_job", end_at_c2)
    taken = []

    def jobs():
        for job in some_jobs(30)[3:]:
            taken.append(job.clip_id)
            yield job

    ahead = [len(taken) - done for done, _ in enumerate(engines.run_jobs(jobs(), 2), start=1)]
    assert len(ahead) == 27
    assert max(ahead) <= 2 * local.JOBS_PER_WORKER


def test_a_wrong_engine_is_named(monkeypatch):
    with pytest.raises(UserError, match="choose from local, ray"):
        engines.run_jobs([], 1, engine="slurm")
    with pytest.raises(UserError, match="--address is only for --engine ray"):
        engines.run_jobs([], 1, address="auto")
    with pytest.raises(UserError, match="it must be 1 or more"):
        engines.run_jobs([], 0)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install musclemap\[ray\]"):
        engines.run_jobs([], 1, engine="ray")


# -- what a node does ---------------------------------------------------------------------------


def test_a_node_with_other_versions_refuses():
    tools = tool_versions() | {"numba": "0.1"}
    with pytest.raises(UserError, match=r"numba .* where the main process has numba 0\.1"):
        ray._extract_on_node(some_jobs(1)[0], None, tools, "")
    with pytest.raises(UserError, match=r"numba .* where the main process has numba 0\.1"):
        ray._write_on_node(ShardJob("", ("train", 0), ()), "", tools)


def test_a_node_without_weights_says_which_it_is(monkeypatch):
    monkeypatch.setattr(ray, "run_job", lack_weights_at_c2)
    monkeypatch.setattr(ray, "_is_same_file", lambda path, sha256: True)
    with pytest.raises(UserError, match=rf"on the node {re.escape(gethostname())}: no weights"):
        ray._extract_on_node(some_jobs(3)[2], None, tool_versions(), "")


def test_a_node_asks_for_a_video_that_it_lacks_or_has_otherwise():
    job = some_jobs(1)[0]  # its file exists, with another hash
    for video in (job.video, "/nowhere/v.mp4"):
        answer = ray._extract_on_node(replace(job, video=video), None, tool_versions(), "")
        assert answer == (None, None)


def test_a_folder_of_the_same_name_is_not_the_same_folder(tmp_path):
    """Another machine has its own /data/work: it must not write there."""
    job = ShardJob(str(tmp_path), ("train", 0), ())
    (tmp_path / "work").mkdir()
    with Marker() as marker:
        seen = Path(marker.in_folder(tmp_path / "work"))
        assert seen.exists()
        elsewhere = seen.with_name(".seen-0123")
        assert ray._write_on_node(job, str(elsewhere), tool_versions()) is None
    assert not any((tmp_path / "work").iterdir())


# -- shards -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_main_process_writes_no_shard(folders, monkeypatch):
    built, data = folders
    monkeypatch.setattr(assemble, "write_shard", no_shard_here)  # here, not in the workers
    report = extract_modalities(data, modalities=FAST, workers=2)
    assert (report.built, report.failed) == (10, {})
    assert shard_bytes(data) == shard_bytes(built)


@pytest.mark.slow
def test_a_shard_that_cannot_be_written_ends_the_run_and_goes_on_later(folders, monkeypatch):
    built, data = folders

    def killed(jobs, workers, **_):
        for job in jobs:
            if isinstance(job, ShardJob):
                yield job, local.died("its worker process died twice (out of memory?)")
            else:
                yield job, work.run_job(job)

    with monkeypatch.context() as patch:
        patch.setattr(build, "run_jobs", killed)
        with pytest.raises(UserError, match=r"parquet was not written: its worker process died"):
            extract_modalities(data, modalities=FAST)
    report = extract_modalities(data, modalities=FAST, workers=2)
    assert report.failed == {}
    assert shard_bytes(data) == shard_bytes(built)


# -- Ray ----------------------------------------------------------------------------------------


def bytes_moved() -> int:
    """What this process has read and written until now, from and to whatever."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("rchar", "wchar")))


@pytest.fixture
def folders(tmp_path, make_video):
    """The same ten clips downloaded twice; the first is built with the local engine."""
    clips = make_clips(tmp_path, make_video, 10)
    for name in ("local", "ray"):
        download_videos(clips, tmp_path, tmp_path / name)
    extract_modalities(tmp_path / "local", modalities=FAST, workers=2)
    return tmp_path / "local", tmp_path / "ray"


@pytest.mark.slow
def test_ray_gives_the_same_shards_without_shared_files(cluster, folders, monkeypatch):
    local, data = folders
    monkeypatch.setattr(ray, "_extract_on_node", extract_without_shared_files)
    monkeypatch.setattr(ray, "_write_on_node", write_without_shared_files)
    report = extract_modalities(
        data, modalities=FAST, workers=None, engine="ray", address=cluster[0].address
    )
    assert (report.built, report.failed) == (10, {})
    assert shard_bytes(data) == shard_bytes(local)
    assert validate_dataset(data) == (10, [])


@pytest.mark.slow
def test_with_a_shared_folder_the_driver_moves_hardly_a_byte(cluster, tmp_path, monkeypatch):
    """Nodes write rows and shards; less than a hundredth of the bytes pass through the driver."""
    noise = "testsrc2=size=256x256:rate=20:duration=4,noise=alls=60:allf=t"
    command = [ffmpeg_binary(), "-loglevel", "error", "-f", "lavfi", "-i", noise, "-crf", "10"]
    subprocess.run([*command, "-pix_fmt", "yuv420p", str(tmp_path / "v.mp4")], check=True)
    clips = [Clip(f"c{n}", "v", "v.mp4", n / 2, n / 2 + 2.0, "squat", "train") for n in range(4)]
    for name in ("local", "ray"):
        download_videos(clips, tmp_path, tmp_path / name)
    extract_modalities(tmp_path / "local", modalities=("rgb", "rgb-diff"), workers=1)
    # Loads the code of Ray.
    list(engines.run_jobs(some_jobs(2), None, engine="ray", address=cluster[0].address))
    monkeypatch.setattr(ray, "run_job", no_shard_here)
    monkeypatch.setattr(ray, "write_bytes", no_shard_here)
    before = bytes_moved()
    report = extract_modalities(
        tmp_path / "ray", modalities=("rgb", "rgb-diff"), engine="ray", address=cluster[0].address,
        clips_per_shard=64,
    )  # fmt: skip
    moved = bytes_moved() - before
    assert (report.built, report.failed) == (4, {})
    made = shard_bytes(tmp_path / "ray")
    assert made == shard_bytes(tmp_path / "local")
    # Each row is written to work/, read, written to its shard, and the shard is read back.
    whole = 4 * sum(map(len, made.values()))
    print(f"{moved} of {whole} bytes")
    assert moved < whole / 100


@pytest.mark.slow
def test_a_clip_that_kills_its_ray_worker_fails_alone(cluster, monkeypatch):
    monkeypatch.setattr(ray, "_extract_on_node", end_at_c2_on_node)
    monkeypatch.setattr(ray, "write_bytes", lambda path, data: None)
    outcomes = engines.run_jobs(some_jobs(6), None, engine="ray", address=cluster[0].address)
    failed = {job.clip_id: result for job, result in outcomes if isinstance(result, Failure)}
    assert set(failed) == {"c2"}
    assert failed["c2"].failure_class == FailureClass.BUG
    assert "worker process died 2 times" in failed["c2"].reason


@pytest.mark.slow
def test_a_ray_node_with_other_versions_stops_the_run(cluster, monkeypatch):
    monkeypatch.setattr(ray, "tool_versions", lambda: tool_versions() | {"numba": "0.1"})
    with pytest.raises(UserError, match=r"the node .* the main process has numba 0\.1"):
        list(engines.run_jobs(some_jobs(3), None, engine="ray", address=cluster[0].address))


@pytest.mark.slow
@pytest.mark.parametrize(
    "in_work",
    [
        {"_extract_on_node": hang_on_second_node},
        {"_write_on_node": hang_in_a_shard_on_second_node},
    ],
)
def test_nothing_is_lost_with_a_ray_node(cluster, folders, monkeypatch, in_work):
    local, data = folders
    for name, hanging in in_work.items():
        monkeypatch.setattr(ray, name, hanging)
    second = cluster[1].pop() if cluster[1] else add_second_node(cluster[0])
    worked = []

    def kill_once_it_works():
        until = time.monotonic() + 60
        while not worked and time.monotonic() < until:
            worked.extend((data / "work").glob("second-node-works"))
            time.sleep(0.05)
        cluster[0].remove_node(second, allow_graceful=False)

    killer = threading.Thread(target=kill_once_it_works)
    killer.start()
    report = extract_modalities(
        data, modalities=FAST, workers=None, engine="ray", address=cluster[0].address
    )
    killer.join()
    assert worked
    assert (report.built, report.failed) == (10, {})
    assert shard_bytes(data) == shard_bytes(local)


@pytest.mark.slow
def test_with_ray_a_clip_that_needs_a_gpu_gets_a_share_of_one(cluster, monkeypatch):
    """The GPU is said to be there; what a task is shown of it is Ray's doing."""
    monkeypatch.setattr(ray, "_extract_on_node", tell_gpus)
    on_gpu = [replace(job, settings=ExtractionSettings(flow_device="cuda"))
              for job in some_jobs(3)]  # fmt: skip
    address = cluster[0].address
    with pytest.raises(UserError, match=r"--device cuda: no node of the Ray cluster has a GPU"):
        list(engines.run_jobs(on_gpu, None, engine="ray", address=address))
    node = cluster[0].add_node(num_cpus=4, num_gpus=1, object_store_memory=80 * 2**20)
    try:
        found = [outcome for _, outcome in engines.run_jobs(on_gpu, None, engine="ray",
                                                            address=address)]  # fmt: skip
        assert [(each.clipped_share, each.seconds) for each in found] == [(0.25, {"0": 0.0})] * 3
        without = engines.run_jobs(some_jobs(3), None, engine="ray", address=address)
        assert {each.clipped_share for _, each in without} == {0.0}
    finally:
        cluster[0].remove_node(node)


@pytest.mark.parametrize(
    ("settings", "resources", "share"),
    [
        ({"flow_device": "cuda"}, [{"CPU": 64.0, "GPU": 8.0}, {"CPU": 100.0}], 0.125),
        ({"flow_device": "cuda"}, [{"CPU": 2.0, "GPU": 4.0}], 1.0),
        ({"pose": "rtmpose"}, [{"CPU": 3.0, "GPU": 1.0}], 0.3333),
        ({"pose": "rtmpose"}, [{"CPU": 4.0}], 0.0),
        ({"pose": "rtmpose", "pose_options": {"device": "cpu"}}, [{"CPU": 4.0, "GPU": 1.0}], 0.0),
        ({}, [{"CPU": 4.0, "GPU": 1.0}], 0.0),
    ],
)
def test_the_share_of_a_gpu_keeps_the_cores_beside_it_busy(settings, resources, share):
    nodes = [{"Alive": True, "Resources": each} for each in resources]
    dead = {"Alive": False, "Resources": {"CPU": 1.0, "GPU": 1.0}}
    job = replace(some_jobs(1)[0], settings=ExtractionSettings(**settings))
    assert ray._gpu_share(SimpleNamespace(nodes=lambda: [*nodes, dead]), job) == share


@pytest.mark.slow
def test_no_cluster_is_a_users_mistake():
    pytest.importorskip("ray")
    with pytest.raises(UserError, match=r"no Ray cluster at --address 127\.0\.0\.1:1"):
        list(engines.run_jobs(some_jobs(1), 1, engine="ray", address="127.0.0.1:1"))
