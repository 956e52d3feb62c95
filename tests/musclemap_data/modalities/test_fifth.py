"""The examples of docs/new-modality.md, added from outside the package and taken all the way."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
import torch

from benchmark.clips import check_modalities, read_clips
from benchmark.data import ClipDataset, normalise_batch
from benchmark.loader import collate
from benchmark.models.video import video_input
from benchmark.report.pictures import clip_strips
from benchmark.settings import Settings
from musclemap_data.check.validate import validate_dataset
from musclemap_data.download.videos import download_videos
from musclemap_data.errors import UserError
from musclemap_data.extract.build import extract_modalities
from musclemap_data.modalities import MODALITIES
from musclemap_data.rows import schema
from musclemap_data.shards import Shard, iterate_rows, shard_path, write_shard
from tests.conftest import REPOSITORY, read_frames, write_video
from tests.musclemap_data.extract.test_build import make_clips
from tests.musclemap_data.tiny_dataset import write_dataset

PAGE = REPOSITORY / "docs" / "new-modality.md"

# Worker processes run the main program's file too, all but what is under its last condition: so
# they know the fifth modality as well.
PROGRAM = """
from musclemap_data.modalities import MODALITIES
from brightness import BRIGHTNESS
from edges import EDGES

MODALITIES |= {{
{line}
    "brightness": BRIGHTNESS,
}}

if __name__ == "__main__":
    from cli import app

    app()
"""
FRAMES, HEIGHT, WIDTH = 10, 64, 96


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of the page and a program that adds them to MuscleMap."""
    folder = tmp_path_factory.mktemp("outside")
    edges, line, brightness = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (folder / "edges.py").write_text(edges)
    (folder / "brightness.py").write_text(brightness)
    (folder / "with_more.py").write_text(PROGRAM.format(line=line.rstrip()))
    return folder


def run_program(outside: Path, data: Path, names: str) -> subprocess.CompletedProcess[str]:
    verb = ["extract-modalities", "--modalities", names, "--workers", "2", "--data", str(data)]
    return subprocess.run(
        [sys.executable, str(outside / "with_more.py"), *verb],
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{outside}"},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def data(outside: Path) -> Path:
    """A data set with RGB alone, to which the program added the two modalities of the page."""
    data = outside / "data"
    download_videos(make_clips(outside, write_video, count=2), outside, data)
    extract_modalities(data, modalities=("rgb",), workers=1)
    before = rgb_of(data)
    for names, told in (("brightness,edges", "2 clips extracted"), ("edges", "0 clips extracted")):
        done = run_program(outside, data, names)
        assert done.returncode == 0, done.stderr
        assert told in done.stdout + done.stderr
    assert rgb_of(data) == before
    return data


@pytest.fixture
def added(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two modalities in this process, for the time of one test."""
    monkeypatch.syspath_prepend(outside)
    for name in ("edges", "brightness"):
        module = importlib.import_module(name)
        monkeypatch.setitem(MODALITIES, name, getattr(module, name.upper()))


def rgb_of(data: Path) -> list[list[bytes]]:
    return [row["rgb"] for _, _, row in iterate_rows(data, ["rgb"])]


def rows(data: Path) -> Iterator[dict]:
    for _, _, row in iterate_rows(data, ["clip_id", "edges", "brightness", "flow", "rgb"]):
        yield row


@pytest.mark.slow
def test_worker_processes_extract_it_into_rows_that_are_there(added, data):
    assert schema().names.index("edges") == schema().names.index("skeleton_notes") + 1
    for row in rows(data):
        frames = read_frames(data / "clips" / f"{row['clip_id']}.mp4")
        assert len(row["rgb"]) == len(row["edges"]) == len(frames) == FRAMES
        assert row["flow"] is None
        np.testing.assert_allclose(row["brightness"], frames.mean((1, 2, 3)), rtol=1e-5)
        stored = simplejpeg.decode_jpeg(row["edges"][3], colorspace="GRAY")[..., 0]
        edges = cv2.Canny(frames[3], 100, 200)
        assert 0 < (edges > 0).sum() < edges.size / 2
        assert ((stored > 127) == (edges > 127)).mean() > 0.98


@pytest.mark.slow
def test_validate_finds_a_damaged_one(added, data, tmp_path):
    assert validate_dataset(data) == (2, [])
    path = shard_path(data, "train", 0)
    with Shard(path) as shard:
        good = [shard.row(index) for index in range(len(shard))]
    damaged = [dict(row) for row in good]
    damaged[0]["edges"] = [*good[0]["edges"][:3], b"no JPEG", *good[0]["edges"][4:]]
    damaged[1]["edges"] = good[1]["edges"][:-1]
    damaged[1]["brightness"] = good[1]["brightness"][:-2]
    try:
        write_shard(path, damaged)
        problems = "\n".join(validate_dataset(data)[1])
    finally:
        write_shard(path, good)
    assert "(c0): edges frame 3 does not decode" in problems
    assert "(c1): edges has 9 frames, not 10" in problems
    assert "(c1): brightness has 8 values, not 10 frames" in problems
    assert validate_dataset(data) == (2, [])


@pytest.mark.slow
def test_the_loader_the_models_and_the_report_read_it(added, data):
    sizes = {"crop_size": 32, "jitter_min": 36, "jitter_max": 44, "test_short_side": 36}
    settings = Settings.from_preset("tiny", frames=4, rate=2, modality="edges", **sizes)
    assert video_input(settings) == ("edges", 1)
    dataset = ClipDataset(data, ["train"], ["rgb", "edges", "brightness"], settings, train=True)
    check_modalities(dataset.clips, dataset.modalities)
    batch = collate([dataset[0], dataset[1]])
    assert (batch["edges"].shape, batch["edges"].dtype) == ((2, 1, 4, 32, 32), torch.uint8)
    assert batch["edges"].max() > 100  # white edges on black, a little blurred by the crop
    assert batch["edges"].median() == 0
    assert batch["brightness"].shape == (2, 4)
    stored = [row["brightness"] for row in rows(data)]
    for views, means in zip(batch["brightness"].tolist(), stored, strict=True):
        start = np.float32(means).tolist().index(views[0])
        np.testing.assert_array_equal(np.float32(means)[start : start + 8 : 2], np.float32(views))
    read = normalise_batch(batch)
    torch.testing.assert_close(read["edges"], batch["edges"].float() / 255)
    assert read["brightness"] is batch["brightness"]
    strips, _ = clip_strips(dataset.clips[0])
    assert set(strips) == {"rgb", "rgb_diff", "flow", "edges", "skeleton"}
    assert strips["edges"].shape == strips["rgb"].shape
    assert strips["flow"] is None


def test_without_it_the_data_set_is_as_before(data):
    assert "edges" not in schema().names
    assert validate_dataset(data) == (2, [])
    assert extract_modalities(data, modalities=("rgb",), workers=1).present == 2
    clips = read_clips(data, ["train"])
    with pytest.raises(ValueError, match="'edges'; it must be one of rgb, rgb_diff, flow, skelet"):
        check_modalities(clips, ["edges"])
    with pytest.raises(UserError, match="must be one of rgb, rgb-diff, flow"):
        Settings.from_preset("tiny", modality="edges")
    with pytest.raises(UserError, match="choose from rgb, rgb-diff, flow, skeleton"):
        extract_modalities(data, modalities=("edges",))


@pytest.mark.slow
def test_one_that_was_removed_is_made_again_when_it_comes_back(
    outside, data, added, tmp_path, monkeypatch
):
    again = shutil.copytree(data, tmp_path / "again")
    with monkeypatch.context() as removed:
        removed.delitem(MODALITIES, "edges")
        removed.delitem(MODALITIES, "brightness")
        report = extract_modalities(again, modalities=("rgb", "rgb-diff"), workers=1)
        assert report.built == 2  # the shard is written anew, without their columns
        for _, _, row in iterate_rows(again, ["provenance"]):
            assert set(json.loads(row["provenance"])) == {"cut", "source", "rgb", "rgb-diff"}
    for row in rows(again):
        assert row["edges"] is None
    done = run_program(outside, again, "edges")
    assert "2 clips extracted" in done.stdout, done.stderr
    assert all(len(row["edges"]) == FRAMES for row in rows(again))


@pytest.mark.slow
def test_a_shard_older_than_a_modality_reads_as_not_extracted(added, tmp_path, monkeypatch):
    with monkeypatch.context() as before:
        before.delitem(MODALITIES, "edges")
        before.delitem(MODALITIES, "brightness")
        write_dataset(tmp_path)
    clips = read_clips(tmp_path, ["train"])
    with Shard(clips[0].shard) as shard:
        assert shard.schema_problems() == []
        assert shard.row(0, ["edges"]) == {"edges": None}
        assert shard.row(0)["brightness"] is None
    with pytest.raises(UserError, match=f"{len(clips)} of {len(clips)} clips have no edges"):
        check_modalities(clips, ["edges"])
    with pytest.raises(UserError, match=r"has no edges.*--modalities edges"):
        ClipDataset(tmp_path, ["train"], ["edges"], Settings(), train=False)[0]
