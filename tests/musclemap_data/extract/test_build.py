"""From videos to shards: the real pipeline on tiny videos, also killed, resumed and changed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import simplejpeg

from musclemap_data.check.validate import validate_dataset
from musclemap_data.download.videos import download_videos
from musclemap_data.errors import FailureClass, UserError
from musclemap_data.extract import build
from musclemap_data.extract.build import extract_modalities
from musclemap_data.extract.clip import make_job, run_job
from musclemap_data.ledger import Ledger
from musclemap_data.manifest import Clip, write_manifest
from musclemap_data.modalities import flow
from musclemap_data.modalities.settings import CutSettings, ExtractionSettings
from musclemap_data.shards import Shard, iterate_rows, read_dataset_info, write_dataset_info
from tests.conftest import read_frames, write_video

FAST = ("rgb", "rgb-diff", "flow")
SPLITS = ("train", "train", "train", "val_known", "test_known")


def make_clips(folder: Path, make_video, count: int = 5) -> list[Clip]:
    clips = []
    for n in range(count):
        make_video(folder / f"v{n}.mp4", seed=n, seconds=1.2)
        split = SPLITS[n % len(SPLITS)]
        clips.append(Clip(f"c{n}", f"v{n}", f"v{n}.mp4", 0.2, 1.2, "squat", split))
    return clips


def shard_bytes(data: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((data / "shards").iterdir())}


def rows(data: Path, *columns: str) -> list[dict]:
    return [row for _, _, row in iterate_rows(data, columns)]


@pytest.fixture(scope="module")
def built_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    clips = make_clips(folder, write_video)
    download_videos(clips, folder, folder / "data")
    report = extract_modalities(folder / "data", modalities=FAST, workers=1)
    assert (report.built, report.failed) == (5, {})
    return folder, clips


@pytest.fixture
def built(built_once, tmp_path):
    """A finished data set of five clips, the test's own to change."""
    folder, clips = built_once
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy", clips


@pytest.mark.slow
def test_rows_hold_what_the_cut_shows(built):
    folder, _ = built
    data = folder / "data"
    assert validate_dataset(data) == (5, [])
    row = next(row for _, _, row in iterate_rows(data, None) if row["clip_id"] == "c1")
    frames = read_frames(data / "clips/c1.mp4")
    assert (row["frames"], row["height"], row["width"], row["fps"]) == (10, 64, 96, 10.0)
    assert (row["start_s"], row["end_s"]) == (0.2, 1.2)
    rgb = np.stack([simplejpeg.decode_jpeg(image) for image in row["rgb"]])
    assert np.abs(rgb.astype(int) - frames).mean() < 4
    difference = np.stack([simplejpeg.decode_jpeg(image) for image in row["rgb_diff"]])
    assert not difference[0].any()
    changes = np.abs(np.diff(frames.astype(int), axis=0, prepend=frames[:1]))
    assert np.abs(difference - changes).mean() < 2
    assert len(row["flow"]) == 9
    stored = flow.from_image(
        simplejpeg.decode_jpeg(row["flow"][0], colorspace="GRAY")[..., 0], row["flow_bound_px"]
    )
    assert np.abs(stored - flow.compute_flow(frames)[0]).mean() < 0.15
    assert row["skeleton"] is None
    assert row["muscles"][13]  # a squat works the quadriceps
    assert set(json.loads(row["provenance"])) == {"cut", "source", *FAST}
    info = read_dataset_info(data)
    assert info["splits"]["train"] == {"planned": 3, "built": 3}
    assert not (data / "work").exists()


def test_a_second_run_has_nothing_to_do(built):
    folder, _ = built
    before = shard_bytes(folder / "data")
    report = extract_modalities(folder / "data", modalities=FAST)
    assert (report.built, report.present) == (0, 5)
    assert shard_bytes(folder / "data") == before


@pytest.mark.slow
def test_the_list_of_shards_is_not_written_with_each_of_them(built, tmp_path, monkeypatch):
    """It grows with the data set: a million clips would spend hours on it."""
    folder, clips = built
    written = []

    def counted(data, info):
        written.append(len(info["shards"]))
        write_dataset_info(data, info)

    monkeypatch.setattr(build, "write_dataset_info", counted)
    download_videos(clips, folder, tmp_path / "other")
    extract_modalities(tmp_path / "other", modalities=["rgb"], workers=1, clips_per_shard=1)
    every = sorted(shard_bytes(tmp_path / "other"))
    assert len(every) == 5
    assert written == [1, 5]
    for entry in read_dataset_info(tmp_path / "other")["shards"].values():
        assert entry["rows"] == 1

    # A run that was killed in between left shards that are not listed yet.
    info = read_dataset_info(tmp_path / "other")
    hashes = dict(info["shards"])
    del info["shards"][every[2]]
    write_dataset_info(tmp_path / "other", info)
    extract_modalities(tmp_path / "other", modalities=["rgb"], clips_per_shard=1)
    assert read_dataset_info(tmp_path / "other")["shards"] == hashes


@pytest.mark.slow
def test_workers_do_not_change_the_bytes(built, tmp_path_factory, make_video):
    folder, _ = built
    other = tmp_path_factory.mktemp("other")
    download_videos(make_clips(other, make_video), other, other / "data")
    extract_modalities(other / "data", modalities=FAST, workers=3)
    assert shard_bytes(other / "data") == shard_bytes(folder / "data")


@pytest.mark.slow
def test_other_modalities_are_added_to_the_rows(built):
    folder, _ = built
    data = folder / "data"
    complete = shard_bytes(data)
    for path in (data / "shards").iterdir():
        path.unlink()
    extract_modalities(data, modalities=("rgb",))
    assert all(row["flow"] is None for row in rows(data, "flow"))
    report = extract_modalities(data, modalities=FAST)
    assert report.built == 5
    assert shard_bytes(data) == complete


@pytest.mark.slow
def test_flow_by_torch_is_the_same_and_says_so(built):
    folder, _ = built
    data = folder / "data"
    before = {row["clip_id"]: row for row in rows(data, "clip_id", "flow", "provenance")}
    by_torch = ExtractionSettings(flow_device="cpu")
    assert extract_modalities(data, modalities=FAST, settings=by_torch).present == 5
    for schedule, device in (("fast", None), ("default", "cpu"), ("fast", None)):
        settings = replace(ExtractionSettings(), flow_schedule=schedule, flow_device=device)
        assert extract_modalities(data, modalities=FAST, settings=settings).built == 5
        for row in rows(data, "clip_id", "flow", "provenance"):
            made = json.loads(row["provenance"])
            if device is None:
                assert "engines" not in made
                continue
            assert made["engines"]["flow"].startswith("torch ")
            old = before[row["clip_id"]]
            assert made["flow"] == json.loads(old["provenance"])["flow"]
            for ours, theirs in zip(old["flow"], row["flow"], strict=True):
                step = simplejpeg.decode_jpeg(ours, colorspace="GRAY").astype(int)
                step -= simplejpeg.decode_jpeg(theirs, colorspace="GRAY")
                assert np.abs(step).mean() < 0.05  # of a step; JPEG spreads it


@pytest.mark.slow
def test_changed_settings_redo_their_modality_only(built):
    folder, _ = built
    data = folder / "data"
    before = {row["clip_id"]: row for row in rows(data, "clip_id", "rgb", "flow", "provenance")}
    settings = replace(ExtractionSettings(), flow_schedule="fast")
    assert extract_modalities(data, modalities=FAST, settings=settings).built == 5
    for row in rows(data, "clip_id", "rgb", "flow", "provenance"):
        old = before[row["clip_id"]]
        assert row["rgb"] == old["rgb"]
        made, made_before = json.loads(row["provenance"]), json.loads(old["provenance"])
        assert made["flow"]["settings"]["schedule"] == "fast"
        assert made["rgb-diff"] == made_before["rgb-diff"]
    # Another cut makes all of it anew.
    settings = replace(ExtractionSettings(), cut=CutSettings(short_side=32))
    assert extract_modalities(data, modalities=FAST, settings=settings).built == 5
    assert {row["height"] for row in rows(data, "height")} == {32}


@pytest.mark.slow
def test_new_clips_extend_and_removed_ones_leave(built, make_video):
    folder, clips = built
    data = folder / "data"
    before = shard_bytes(data)
    make_video(folder / "w.mp4", seed=77)
    added = [Clip("a_first_by_name", "w", "w.mp4", 0.0, None, "squat", "train")]
    download_videos([*clips, *added], folder, data)
    assert extract_modalities(data, modalities=FAST).built == 1
    after = shard_bytes(data)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"train-00001.parquet"}
    download_videos(clips[1:], folder, data)
    assert extract_modalities(data, modalities=FAST).built == 0
    assert sorted(row["clip_id"] for row in rows(data, "clip_id")) == ["c1", "c2", "c3", "c4"]
    assert validate_dataset(data)[1] == []
    # And a clip that comes back takes its old place.
    download_videos(clips, folder, data)
    extract_modalities(data, modalities=FAST)
    assert shard_bytes(data) == before


@pytest.mark.slow
def test_a_relabelled_clip_moves_without_being_extracted_again(built):
    folder, clips = built
    data = folder / "data"
    moved = [replace(clip, split="test_known") if clip.clip_id == "c0" else clip for clip in clips]
    download_videos(moved, folder, data)
    extract_modalities(data, modalities=FAST)
    places = {row["clip_id"]: row["split"] for row in rows(data, "clip_id", "split")}
    assert places == {"c0": "test_known", "c1": "train", "c2": "train", "c3": "val_known",
                      "c4": "test_known"}  # fmt: skip
    assert validate_dataset(data)[1] == []


def test_failures_are_recorded_and_the_rest_is_built(tmp_path, make_video):
    clips = make_clips(tmp_path, make_video, 3)
    video = tmp_path / "v1.mp4"
    content = bytearray(video.read_bytes())
    middle = content.find(b"mdat") + 600
    content[middle : middle + 4000] = os.urandom(4000)
    video.write_bytes(content)
    clips[2] = replace(clips[2], start_s=0.5, end_s=9.0)
    missing = Clip("gone", "gone", "gone.mp4", 0, None, "squat", "train")
    data = tmp_path / "data"
    download_videos([*clips, missing], tmp_path, data)
    report = extract_modalities(data, modalities=("rgb",))
    assert report.built == 1
    classes = {name: failure.failure_class for name, failure in report.failed.items()}
    assert classes == {
        "c1": FailureClass.DECODE,
        "c2": FailureClass.TOO_SHORT,
        "gone": FailureClass.GONE,
    }
    assert read_dataset_info(data)["splits"]["train"] == {"planned": 4, "built": 1}
    with Ledger(data, read_only=True) as ledger:
        states = {
            clip.clip_id: (clip.state, clip.failure and clip.failure.stage)
            for clip in ledger.clips()
        }
    assert states["c0"] == ("built", None)
    assert states["c2"] == ("failed", "cut")
    # What failed for good is not tried again, but still reported.
    again = extract_modalities(data, modalities=("rgb",))
    assert (again.built, again.present, set(again.failed)) == (0, 1, {"c1", "c2", "gone"})


@pytest.mark.slow
def test_a_clip_that_fails_anew_keeps_what_it_had(built):
    folder, _ = built
    data = folder / "data"
    before = shard_bytes(data)
    (data / "videos/v0.mp4").write_bytes(b"damaged since")
    settings = replace(ExtractionSettings(), flow_schedule="fast")
    report = extract_modalities(data, modalities=FAST, settings=settings)
    assert set(report.failed) == {"c0"}
    schedules = {
        row["clip_id"]: json.loads(row["provenance"])["flow"]["settings"]["schedule"]
        for row in rows(data, "clip_id", "provenance")
    }
    assert schedules == {"c0": "default"} | dict.fromkeys(["c1", "c2", "c3", "c4"], "fast")
    assert shard_bytes(data) != before
    assert validate_dataset(data)[1] == []


@pytest.mark.slow
def test_only_the_clips_asked_for_are_extracted(tmp_path, make_video):
    clips = make_clips(tmp_path, make_video)
    data = tmp_path / "data"
    download_videos(clips, tmp_path, data)
    first = extract_modalities(data, modalities=("rgb",), workers=1, only=["c0", "c3"])
    assert (first.built, [row["clip_id"] for row in rows(data, "clip_id")]) == (2, ["c0", "c3"])
    before = {row["clip_id"]: row for row in rows(data, "clip_id", "rgb", "provenance")}
    settings = ExtractionSettings(jpeg_quality=50)  # would redo the rows that are there
    extract_modalities(data, modalities=("rgb",), workers=1, settings=settings, only=["c1"])
    after = {row["clip_id"]: row for row in rows(data, "clip_id", "rgb", "provenance")}
    assert set(after) == {"c0", "c1", "c3"}
    assert all(after[name] == before[name] for name in before)


def test_missing_weights_are_told_before_a_clip_is_tried(tmp_path, make_video):
    data = tmp_path / "data"
    download_videos(make_clips(tmp_path, make_video, 1), tmp_path, data)
    settings = ExtractionSettings(pose="rtmpose", pose_options={"weights": "nowhere.onnx"})
    with pytest.raises(UserError, match=r"no weights file nowhere\.onnx: give the path"):
        extract_modalities(data, settings=settings)
    with Ledger(data, read_only=True) as ledger:
        assert [(clip.state, clip.attempts) for clip in ledger.clips()] == [("planned", 0)]
    # On another machine, or deleted meanwhile: a worker meets the same.
    for folder in ("clips", "work"):
        (data / folder).mkdir(exist_ok=True)
    fixed = {"clip_id": "c0", "source_sha256": "0"}
    video = data / "videos/v0.mp4"
    with pytest.raises(UserError, match=r"no weights file nowhere\.onnx"):
        run_job(make_job(data, fixed, video, (0.2, 1.2), {"skeleton": {}}, settings))


def test_bad_arguments_are_named(tmp_path):
    with pytest.raises(UserError, match="Run `musclemap download` first"):
        extract_modalities(tmp_path)
    with pytest.raises(UserError, match="choose from rgb, rgb-diff, flow, skeleton"):
        extract_modalities(tmp_path, modalities=["depth"])


@pytest.mark.slow
def test_a_damaged_shard_is_built_anew(built):
    folder, _ = built
    data = folder / "data"
    before = shard_bytes(data)
    path = data / "shards/train-00000.parquet"
    path.write_bytes(before[path.name][:5000])
    assert any("cannot be read as a shard" in text for text in validate_dataset(data)[1])
    assert extract_modalities(data, modalities=FAST).built == 3
    assert shard_bytes(data) == before


@pytest.mark.slow
def test_a_data_set_of_no_format_version_is_refused_and_can_be_built_again(built):
    """The version policy of docs/format.md."""
    folder, _ = built
    data = folder / "data"
    before = shard_bytes(data)
    info = json.loads((data / "dataset.json").read_text())
    (data / "dataset.json").write_text(json.dumps(info | {"format_version": 0}))
    for path in (data / "shards").iterdir():
        table = pq.read_table(path)
        old = {**table.schema.metadata, b"musclemap.format_version": b"0"}
        pq.write_table(table.replace_schema_metadata(old), path)
    with pytest.raises(UserError, match=r"has format version 0.*Delete it and run"):
        extract_modalities(data, modalities=FAST)
    with pytest.raises(UserError, match=r"has format version 0.*run `musclemap extract-mod"):
        Shard(path)
    (data / "dataset.json").unlink()
    assert extract_modalities(data, modalities=FAST).built == 5
    assert shard_bytes(data) == before


def test_validate_finds_a_changed_byte_and_a_leak(built):
    folder, _ = built
    data = folder / "data"
    path = data / "shards/val_known-00000.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    problems = validate_dataset(data)[1]
    assert any("sha256 differs" in text for text in problems)


@pytest.mark.slow
def test_validate_finds_the_same_video_under_two_names(tmp_path, make_video):
    make_video(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_bytes((tmp_path / "a.mp4").read_bytes())
    clips = [
        Clip("a", "a", "a.mp4", 0, None, "squat", "train"),
        Clip("b", "b", "b.mp4", 0, None, "squat", "test_known"),
    ]
    download_videos(clips, tmp_path, tmp_path / "data")
    extract_modalities(tmp_path / "data", modalities=("rgb",))
    problems = validate_dataset(tmp_path / "data")[1]
    assert len(problems) == 1
    assert "a leak between splits" in problems[0]


@pytest.mark.slow
def test_killed_at_any_moment_the_next_run_ends_with_the_same_bytes(tmp_path, make_video):
    clips = make_clips(tmp_path, make_video, 10)
    write_manifest(tmp_path / "manifest.csv", clips)
    for name in ("calm", "killed"):
        download_videos(clips, tmp_path, tmp_path / name)
    command = [sys.executable, "-m", "cli", "extract-modalities", "--workers", "2",
               "--modalities", ",".join(FAST), "--data"]  # fmt: skip
    began = time.monotonic()
    subprocess.run([*command, str(tmp_path / "calm")], check=True, capture_output=True)
    duration = time.monotonic() - began
    kills = 0
    for share in (0.5, 0.7, 0.85, 0.95):
        process = subprocess.Popen(
            [*command, str(tmp_path / "killed")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(timeout=duration * share)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
    assert kills
    subprocess.run([*command, str(tmp_path / "killed")], check=True, capture_output=True)
    assert shard_bytes(tmp_path / "killed") == shard_bytes(tmp_path / "calm")
    names = [row["clip_id"] for row in rows(tmp_path / "killed", "clip_id")]
    assert sorted(names) == sorted(clip.clip_id for clip in clips)
    assert validate_dataset(tmp_path / "killed") == (10, [])
