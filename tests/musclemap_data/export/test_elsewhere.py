"""Exports, read by the other tools' own loaders, each in its own environment.

``make test-exports`` makes these environments; without one, its test is skipped.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import simplejpeg

from musclemap_data.catalog import load_activities
from musclemap_data.export import export_dataset
from musclemap_data.export.bare import without_pictures
from musclemap_data.export.contents import read_contents
from musclemap_data.export.lerobot import write_lerobot
from musclemap_data.shards import write_shard
from musclemap_data.skeleton import JOINTS
from tests.conftest import REPOSITORY, read_frames
from tests.musclemap_data.tiny_dataset import (
    FPS,
    FRAMES,
    HEIGHT,
    PLAN,
    WIDTH,
    clip_row,
    write_dataset,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("elsewhere") / "tiny")


def read(tool: str, folder: Path) -> Any:
    python = REPOSITORY / ".venv-exports" / tool / "bin" / "python"
    if not python.is_file():
        pytest.skip(f"{tool} is not installed: make test-exports")
    script = REPOSITORY / "tests" / "musclemap_data" / "export" / "read_elsewhere.py"
    done = subprocess.run(
        [python, script, tool, folder], capture_output=True, text=True, cwd=folder, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def skeleton_of(row: dict[str, Any]) -> np.ndarray:
    return np.asarray(row["skeleton"], np.float32).reshape(FRAMES, 17, 3)


def test_lerobot_reads_pictures_joints_and_tasks(data, tmp_path):
    export_dataset(data, tmp_path / "out", ("lerobot",))
    found = read("lerobot", tmp_path / "out")
    assert found["tasks"] == [activity for _, _, activity, _ in PLAN]  # split after split
    assert (found["fps"], found["frames"]) == (FPS, FRAMES * len(PLAN))
    row = clip_row(*PLAN[1], seed=1)  # frame 13 is the second one of the second clip
    frame = found["frame"]
    assert (frame["episode_index"], frame["frame_index"], frame["index"]) == (1, 1, 13)
    assert frame["timestamp"] == pytest.approx(1 / FPS)
    np.testing.assert_array_equal(frame["observation.state"], skeleton_of(row)[1].ravel())
    assert frame["regions"] == [float(active) for active in row["muscles"]]
    shown = simplejpeg.decode_jpeg(row["rgb"][1]).transpose(2, 0, 1)
    assert np.abs(np.asarray(found["picture"]) - shown).mean() < 1
    assert found["window"] == [2, 3, HEIGHT, WIDTH]
    every = np.concatenate([skeleton_of(clip_row(*c, seed=i)) for i, c in enumerate(PLAN)])
    np.testing.assert_allclose(
        found["mean"], np.nan_to_num(every).reshape(-1, 51).mean(axis=0), rtol=1e-5
    )


def test_fiftyone_reads_labels_and_joints(data, tmp_path):
    export_dataset(data, tmp_path / "out", ("fiftyone",))
    found = read("fiftyone", tmp_path / "out")
    assert sorted(found) == sorted(clip_id for clip_id, *_ in PLAN)
    clip = found["push_01"]
    assert clip["there"]
    regions = {f"region_{slug}": "active" for slug in load_activities()["push_up"].regions()}
    assert clip["fields"] == {"activity": "push_up", "split": "train", **regions}
    row = clip_row(*PLAN[0], seed=0)
    assert JOINTS[3] not in clip["joints"]["1"]  # it was not found in the first frame
    for name, joint in (("nose", 0), ("right_ankle", 16)):
        x, y, score = skeleton_of(row)[5, joint]
        assert clip["joints"]["6"][name] == pytest.approx([x / WIDTH, y / HEIGHT, score])


def test_mmaction2_reads_joints_and_lists(data, tmp_path):
    export_dataset(data, tmp_path / "out", ("mmaction2",))
    found = read("mmaction2", tmp_path / "out")
    pose = {each["frame_dir"]: each for each in found["poses"]}["push_01"]
    row = clip_row(*PLAN[0], seed=0)
    assert pose["label"] == [float(active) for active in row["muscles"]]
    np.testing.assert_allclose(np.asarray(pose["keypoint"])[0, 1:], skeleton_of(row)[1:, :, :2])
    assert [Path(each["filename"]).stem for each in found["videos"]] == [
        clip_id for clip_id, *_, split in PLAN if split == "train"
    ]


def test_a_video_for_fiftyone_shows_the_frames_of_the_shard(data, tmp_path):
    export_dataset(data, tmp_path / "out", ("fiftyone",))
    path = tmp_path / "out" / "data" / "squat_01.mp4"
    shown = read_frames(path)
    row = clip_row(*PLAN[2], seed=2)
    assert len(shown) == FRAMES
    for t in (0, 5, 11):
        assert np.abs(shown[t].astype(int) - simplejpeg.decode_jpeg(row["rgb"][t])).mean() < 6


def test_lerobot_brings_clips_to_one_rate_and_size(tmp_path):
    data = write_dataset(tmp_path / "tiny", plan=PLAN[:3])
    other = clip_row("tall_01", "v9", "squat", "train", seed=5)
    tall = np.zeros((96, 64, 3), np.uint8)
    tall[:, :] = (200, 40, 40)
    other |= {"rgb_diff": None, "flow": None}
    other |= {"rgb": [simplejpeg.encode_jpeg(tall, 95)] * FRAMES, "height": 96, "fps": 24.0}
    rows = [clip_row(*clip, seed=i) for i, clip in enumerate(PLAN[:3])] + [other]
    digest = write_shard(data / "shards" / "train-00000.parquet", rows)
    info = json.loads((data / "dataset.json").read_text())
    info["shards"]["train-00000.parquet"] = {"rows": 4, "sha256": digest}
    (data / "dataset.json").write_text(json.dumps(info))
    (tmp_path / "out").mkdir()
    write_lerobot(read_contents(data), tmp_path / "out", lambda: None)
    table = pq.read_table(tmp_path / "out" / "data" / "chunk-000" / "file-000.parquet").to_pylist()
    brought = [frame for frame in table if frame["episode_index"] == 3]
    assert len(brought) == FRAMES // 2  # 24 frames a second became 12
    picture = simplejpeg.decode_jpeg(brought[0]["observation.images.rgb"]["bytes"])
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert picture[24, 32, 0] > 180 > 40 > picture[24, 5].max()  # in the middle, black beside it
    joints = np.asarray(brought[1]["observation.state"]).reshape(17, 3)
    expected = skeleton_of(other)[2] * (0.5, 0.5, 1) + (16, 0, 0)
    np.testing.assert_allclose(joints, expected, rtol=1e-5)


def test_without_pictures_lerobot_has_the_joints_and_fiftyone_counts_them(data, tmp_path):
    bare = without_pictures(read_contents(data), tmp_path / "bare", lambda: None)
    export_dataset(bare.data_dir, tmp_path / "lerobot", ("lerobot",))
    info = json.loads((tmp_path / "lerobot" / "meta" / "info.json").read_text())
    assert "observation.state" in info["features"]
    assert "observation.images.rgb" not in info["features"]
    (line,) = export_dataset(bare.data_dir, tmp_path / "fiftyone", ("fiftyone",))
    assert "0 videos; 6 clips have neither pictures nor a cut and are left out" in line
    assert json.loads((tmp_path / "fiftyone" / "manifest.json").read_text())["index"] == []
