"""Exports: what other tools read is what the shards hold."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import datasets
import mlcroissant
import numpy as np
import pytest
import simplejpeg
import webdataset

from musclemap_data.catalog import load_activities, load_muscles
from musclemap_data.errors import UserError
from musclemap_data.export import FORMATS, export_dataset
from musclemap_data.shards import shard_path, write_shard
from tests.musclemap_data.tiny_dataset import (
    FRAMES,
    HEIGHT,
    PLAN,
    WIDTH,
    clip_row,
    write_dataset,
    write_ledger,
)
from tests.test_cli import musclemap

pytestmark = pytest.mark.slow

SPLITS = {"train": 3, "val_known": 1, "test_known": 1, "test_new": 1}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_dataset(tmp_path_factory.mktemp("export") / "tiny")
    write_ledger(folder)
    return folder


@pytest.fixture(scope="module")
def everything(data: Path) -> Path:
    export_dataset(data, data.parent / "everything", FORMATS)
    return data.parent / "everything"


def load(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> datasets.DatasetDict:
    """As a reader would, without a network."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    return datasets.load_dataset(str(folder), cache_dir=str(cache))


def test_datasets_loads_the_folder_by_its_own_splits(everything, tmp_path, monkeypatch):
    loaded = load(everything, tmp_path, monkeypatch)
    assert {split: len(rows) for split, rows in loaded.items()} == SPLITS
    row = loaded["train"][0]
    expected = clip_row(*PLAN[0], seed=0)
    assert row["clip_id"] == "push_01"
    assert row["muscles"] == expected["muscles"]
    assert len(row["rgb"]) == FRAMES
    np.testing.assert_array_equal(row["rgb"][3], simplejpeg.decode_jpeg(expected["rgb"][3]))
    assert row["flow"][0].size == (WIDTH, 2 * HEIGHT)
    assert row["still"].size == (WIDTH, HEIGHT)


def test_webdataset_reads_the_tars(everything):
    shards = [str(path) for path in sorted((everything / "webdataset").glob("train-*.tar"))]
    samples = webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8")
    by_key = {sample["__key__"]: sample for sample in samples}
    assert sorted(by_key) == sorted(clip_id for clip_id, *_, split in PLAN if split == "train")
    sample, expected = by_key["push_01"], clip_row(*PLAN[0], seed=0)
    assert sample["json"]["activity"] == "push_up"
    assert set(sample["json"]["regions"]) == set(load_activities()["push_up"].regions())
    frame = simplejpeg.decode_jpeg(expected["rgb"][3])
    assert np.abs(sample["rgb.0003.jpg"].astype(int) - frame).mean() < 1
    assert f"flow.{FRAMES - 2:04d}.jpg" in sample
    skeleton = np.asarray(expected["skeleton"], np.float32).reshape(FRAMES, 1, 17, 3)
    np.testing.assert_array_equal(sample["skeleton.npy"], skeleton)


def test_croissant_is_valid_and_gives_the_rows(everything):
    described = mlcroissant.Dataset(str(everything / "croissant.json"))
    issues = described.metadata.ctx.issues
    assert not issues.errors
    assert not issues.warnings
    records = {record["clips/clip_id"]: record for record in described.records("clips")}
    assert sorted(records) == sorted(clip_id.encode() for clip_id, *_ in PLAN)
    record = records[b"push_01"]
    expected = clip_row(*PLAN[0], seed=0)
    assert list(record["clips/muscles"]) == expected["muscles"]
    assert (record["clips/frames"], record["clips/fps"]) == (FRAMES, 12.0)
    assert len(record["clips/rgb"]) == FRAMES
    assert record["clips/rgb"][3].size == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(np.float32(record["clips/skeleton"]), expected["skeleton"])


def test_croissant_names_the_hash_of_every_file(everything):
    described = json.loads((everything / "croissant.json").read_text())
    recorded = json.loads((everything.parent / "tiny" / "dataset.json").read_text())["shards"]
    files = [entry for entry in described["distribution"] if entry["@type"] == "cr:FileObject"]
    assert {entry["name"]: entry["sha256"] for entry in files} == {
        name: entry["sha256"] for name, entry in recorded.items()
    }
    assert all((everything / entry["contentUrl"]).is_file() for entry in files)


def test_the_skeleton_pickle_has_pyskls_form(everything):
    content = (everything / "pyskl" / "musclemap_skeleton.pkl").read_bytes()
    assert content == (everything / "mmaction2" / "musclemap_skeleton.pkl").read_bytes()
    found = pickle.loads(content)
    assert set(found) == {"split", "annotations"}
    assert {split: len(ids) for split, ids in found["split"].items()} == SPLITS
    by_id = {entry["frame_dir"]: entry for entry in found["annotations"]}
    assert sorted(by_id) == sorted(clip_id for clip_id, *_ in PLAN)
    entry = by_id["squat_01"]
    active = [i for i, on in enumerate(load_activities()["squat"].muscles) if on]
    assert entry["label"] == active
    assert entry["img_shape"] == entry["original_shape"] == (HEIGHT, WIDTH)
    assert entry["total_frames"] == FRAMES
    assert entry["keypoint"].shape == (1, FRAMES, 17, 2)
    assert entry["keypoint_score"].shape == (1, FRAMES, 17)
    truth = np.asarray(clip_row(*PLAN[2], seed=2)["skeleton"]).reshape(FRAMES, 1, 17, 3)
    np.testing.assert_array_equal(entry["keypoint"][0, 5], truth[5, 0, :, :2])
    assert entry["keypoint"][0, 0, 3].tolist() == [0, 0]  # not found: NaN in the shard
    assert entry["keypoint_score"][0, 0, 3] == 0
    assert np.isfinite(entry["keypoint"]).all()


def test_mmaction2_lists_are_read_as_its_datasets_do(everything):
    folder = everything / "mmaction2"
    names = (folder / "label_map.txt").read_text().split()
    assert names == [muscle.slug for muscle in load_muscles()]
    for split, count in SPLITS.items():
        videos = [line.split() for line in (folder / f"{split}_video.txt").read_text().splitlines()]
        frames = (folder / f"{split}_rawframes.txt").read_text().splitlines()
        assert len(videos) == len(frames) == count
        for (name, *labels), line in zip(videos, frames, strict=True):
            frame_dir, total, *same = line.split()
            activity = next(a for clip_id, _, a, _ in PLAN if clip_id == frame_dir)
            assert name == f"{frame_dir}.mp4"
            assert int(total) == FRAMES
            assert labels == same
            assert {names[int(n)] for n in labels} == set(load_activities()[activity].regions())


def test_it_says_that_the_cut_videos_are_gone(data, tmp_path):
    report = export_dataset(data, tmp_path / "out", ("mmaction2",))
    assert "6 of 6 mp4 files are no longer in" in report[0]


def test_clips_without_a_skeleton_are_counted(tmp_path):
    data = write_dataset(tmp_path / "data", plan=PLAN[:2])
    bare = {"skeleton": None, "skeleton_people": None}
    rows = [clip_row(*PLAN[0], seed=0), clip_row(*PLAN[1], seed=1) | bare]
    write_shard(shard_path(data, "train", 0), rows)
    (line,) = export_dataset(data, tmp_path / "out", ("pyskl",))
    assert line.endswith("1 clips; 1 clips have no skeleton and are left out")


def test_the_card_counts_and_warns(everything):
    card = (everything / "DATASET_CARD.md").read_text()
    assert "| train | 3 | 3 | 100.0% | 2 | 3.0 |" in card
    assert "not be built, by reason: 1 gone" in card
    assert "1 of the 4 activities here are new" in card
    assert "Nobody measured muscle activity" in card
    assert "CC BY (5 videos)" in card
    assert "synthetic" not in card
    readme = (everything / "README.md").read_text()
    assert readme.startswith("---\n")
    assert readme.endswith(card)


def test_the_card_of_the_sample_says_synthetic(tmp_path):
    plan = [("a", "synthetic_train_00", "squat", "train")]
    data = write_dataset(tmp_path / "data", plan=plan)
    export_dataset(data, tmp_path / "out", ("card", "hf", "croissant"))
    assert "**These videos are synthetic.**" in (tmp_path / "out/DATASET_CARD.md").read_text()
    assert "\n- synthetic\n" in (tmp_path / "out/README.md").read_text()
    assert "synthetic" in (tmp_path / "out/croissant.json").read_text()


def test_an_export_is_whole_or_not_there(data, tmp_path, monkeypatch):
    def fail(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("musclemap_data.export.write_skeletons", fail)
    with pytest.raises(OSError, match="No space"):
        export_dataset(data, tmp_path / "out", FORMATS)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_the_users_is_never_replaced(data, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="no earlier export"):
            export_dataset(data, mine, ("card",), overwrite=overwrite)
    assert (mine / "thesis.tex").read_text() == "years of work"
    out = tmp_path / "out"
    out.mkdir()
    export_dataset(data, out, ("card",))
    with pytest.raises(UserError, match="add --overwrite"):
        export_dataset(data, out, ("pyskl",))
    export_dataset(data, out, ("pyskl",), overwrite=True)
    assert sorted(path.name for path in out.iterdir()) == ["export.json", "musclemap_skeleton.pkl"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "out"]


def test_an_unfinished_build_is_not_exported(tmp_path):
    data = write_dataset(tmp_path / "data")
    write_shard(shard_path(data, "train", 1), [clip_row("late", "v7", "squat", "train", seed=7)])
    with pytest.raises(UserError, match="a build is running or was interrupted"):
        export_dataset(data, tmp_path / "out", ("card",))


def test_the_verb(data, tmp_path):
    done = musclemap("export", "--data", data, "--format", "card,pyskl", "--out", tmp_path / "x")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, f"written to {tmp_path / 'x'}")
    assert (tmp_path / "x" / "pyskl" / "musclemap_skeleton.pkl").is_file()
    done = musclemap("export", "--data", data, "--format", "tfrecord", "--out", tmp_path / "y")
    assert done.returncode == 2
    assert "choose from hf, croissant" in done.stderr
    done = musclemap("export", "--data", tmp_path, "--out", tmp_path / "y")
    assert done.returncode == 2
    assert "There is no data set" in done.stderr
    assert not (tmp_path / "y").exists()
