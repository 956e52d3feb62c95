"""Importers: public action sets, Penn Action, and the authors' pickles (which may be hostile)."""

from __future__ import annotations

import csv
import json
import os
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from musclemap_data.catalog import annotations_dir, load_activities, load_muscles
from musclemap_data.errors import UserError
from musclemap_data.files import file_sha256
from musclemap_data.importers import IMPORTERS
from musclemap_data.importers.action_sets import (
    hmdb51_source,
    import_hmdb51,
    import_ucf101,
    ucf101_source,
)
from musclemap_data.importers.original import ORIGINAL_SPLITS, find_lists, import_original
from musclemap_data.importers.penn_action import import_penn_action
from musclemap_data.importers.plain_pickle import read_plain_pickle
from musclemap_data.manifest import Clip, partition, read_manifest
from musclemap_data.shards import iterate_rows, read_dataset_info
from musclemap_data.skeleton import JOINTS


def table(name: str) -> dict:
    return load_activities(annotations_dir() / "other" / f"{name}.csv")


def make_files(folder: Path, names: list[str], content: bytes = b"x") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def ucf_names(class_name: str, groups: int, clips: int = 3) -> list[str]:
    return [
        f"{class_name}/v_{class_name}_g{group:02d}_c{clip:02d}.avi"
        for group in range(1, groups + 1)
        for clip in range(1, clips + 1)
    ]


def test_every_importer_is_offered() -> None:
    assert set(IMPORTERS) == {"ucf101", "hmdb51", "penn-action", "musclemap"}


# -- UCF101 and HMDB51 --------------------------------------------------------------------------


def test_ucf101_becomes_a_manifest_split_by_group(tmp_path: Path) -> None:
    names = ucf_names("PushUps", 25) + ucf_names("JumpingJack", 25) + ucf_names("Typing", 2)
    make_files(tmp_path / "UCF-101", names)
    report = import_ucf101(tmp_path, tmp_path / "ucf.csv")
    clips = read_manifest(tmp_path / "ucf.csv", table("ucf101"))
    assert report.clips == len(clips) == 150
    assert report.left_out == {"class without muscle labels: Typing": 6}
    assert report.activities == {"jumping_jack": 75, "push_ups": 75}
    sides: dict[str, set[str]] = {}
    for clip in clips:
        sides.setdefault(clip.clip_id.rsplit("_c", 1)[0], set()).add(partition(clip.split))
        assert (tmp_path / clip.url).is_file()
        assert clip.split.endswith("_new") == (clip.activity == "jumping_jack")
    assert all(len(found) == 1 for found in sides.values()) and len(sides) == 50
    assert {c.split for c in clips} == {"train", "val_known", "val_new", "test_known", "test_new"}
    assert "train" in str(report) and "6: class without" in str(report)


def test_hmdb51_keeps_a_film_on_one_side_and_leaves_out_new_in_training(tmp_path: Path) -> None:
    names = [
        f"{action}/FILM{film:02d}_{part}_{action}_f_cm_np1_le_med_{part}.avi"
        for film in range(20)
        for action in ("situp", "pushup", "smile")
        for part in (0, 1)
    ]
    make_files(tmp_path, [*names, "situp/#1 (odd) & name!_situp_f_nm_np1_fr_goo_7.avi"])
    make_files(tmp_path, ["situp/holiday.avi"])
    make_files(tmp_path, ["situp/EMPTY_situp_f_nm_np1_fr_goo_7.avi"], b"")
    report = import_hmdb51(tmp_path, tmp_path / "hmdb.csv")
    clips = read_manifest(tmp_path / "hmdb.csv", table("hmdb51"))
    films: dict[str, set[str]] = {}
    for clip in clips:
        films.setdefault(clip.clip_id[:6], set()).add(partition(clip.split))
    assert all(len(sides) == 1 for sides in films.values())
    films = {name: sides for name, sides in films.items() if name.startswith("FILM")}
    lost = report.left_out["new activity in a source of the training side"]
    assert lost == 2 * sum("train" in sides for sides in films.values()) > 0
    assert report.left_out["class without muscle labels: smile"] == 40
    assert report.left_out["not a file name of hmdb51"] == 1
    assert report.left_out["empty file"] == 1
    assert len(clips) + sum(report.left_out.values()) == 123


@pytest.mark.parametrize(
    ("stem", "class_name", "source"),
    [
        ("April_09_brush_hair_u_nm_np1_ba_goo_0", "brush_hair", "april"),
        ("A_Beautiful_Mind_2_smile_h_nm_np1_fr_goo_2", "smile", "a_beautiful_mind"),
        ("Film3_part__smile_h_nm_np1_fr_goo_2", "smile", "film3_part"),
        ("(HQ)_Rock_climb_f_cm_np1_ba_bad_0", "climb", "(hq)_rock"),
        ("300_sword_f_cm_np2_le_med_1", "sword", "300"),
        ("holiday", "sword", None),
    ],
)
def test_hmdb51_source(stem: str, class_name: str, source: str | None) -> None:
    assert hmdb51_source(stem, class_name) == source


def test_ucf101_source() -> None:
    stem = "v_HandStandPushups_g07_c02"
    assert ucf101_source(stem, "HandstandPushups") == "HandstandPushups_g07"
    assert ucf101_source("v_PushUps_c02", "PushUps") is None


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(kept=st.sets(st.integers(1, 25), min_size=1))
def test_removing_videos_never_moves_others(
    kept: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    def splits(groups: set[int]) -> dict[str, str]:
        folder = tmp_path_factory.mktemp("ucf")
        make_files(folder, [f"PushUps/v_PushUps_g{g:02d}_c01.avi" for g in groups])
        import_ucf101(folder, folder / "m.csv")
        return {c.clip_id: c.split for c in read_manifest(folder / "m.csv", table("ucf101"))}

    whole, part = splits(set(range(1, 26))), splits(kept)
    assert part == {clip_id: whole[clip_id] for clip_id in part} and len(part) == len(kept)


def test_folders_that_are_no_copy_are_refused(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    make_files(copy, ucf_names("PushUps", 2))
    with pytest.raises(UserError, match="is not a folder"):
        import_ucf101(tmp_path / "absent", tmp_path / "m.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no folder in it is named after a class"):
        import_ucf101(tmp_path / "empty", tmp_path / "m.csv")
    make_files(tmp_path / "packed", ["pushup.rar"])
    with pytest.raises(UserError, match=r"Unpack the archives first \(pushup.rar"):
        import_hmdb51(tmp_path / "packed", tmp_path / "m.csv")
    (tmp_path / "beside").mkdir()
    with pytest.raises(UserError, match="or in a folder above it"):
        import_ucf101(copy, tmp_path / "beside" / "m.csv")
    with pytest.raises(UserError, match=r"must end with \.csv"):
        import_ucf101(copy, tmp_path / "m.parquet")
    make_files(tmp_path / "wrong", ["PushUps/holiday.avi"])
    with pytest.raises(UserError, match=r"no usable \.avi file"):
        import_ucf101(tmp_path / "wrong", tmp_path / "m.csv")
    assert not list(tmp_path.glob("*.csv")) and not list(tmp_path.glob(".*tmp*"))


def test_a_link_out_of_the_folder_is_left_out(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    make_files(copy, ucf_names("PushUps", 1))
    make_files(tmp_path, ["secret.avi"])
    (copy / "PushUps" / "v_PushUps_g02_c01.avi").symlink_to(tmp_path / "secret.avi")
    report = import_ucf101(copy, copy / "m.csv")
    assert report.clips == 3
    assert report.left_out == {"a link that leads out of the manifest's folder": 1}


# -- Penn Action --------------------------------------------------------------------------------


def write_sequence(path: Path, action: str = "squat", frames: int = 5, **changes: Any) -> None:
    from scipy.io import savemat

    rng = np.random.default_rng(len(path.stem) + frames)
    content: dict[str, Any] = {
        "action": action,
        "x": rng.uniform(10, 300, (frames, 13)),
        "y": rng.uniform(10, 200, (frames, 13)),
        "visibility": np.ones((frames, 13), np.uint8),
        "dimensions": np.array([[240, 320, frames]], np.uint16),
        "nframes": np.array([[frames]], np.uint16),
        "train": 1,
    } | changes
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {name: value for name, value in content.items() if value is not None})


def test_penn_action_joints_go_where_they_belong(tmp_path: Path) -> None:
    x, y = np.arange(26.0).reshape(2, 13) + 10, np.arange(26.0).reshape(2, 13) + 50
    visible = np.ones((2, 13), np.uint8)
    visible[0, 3] = 0  # hidden, but with a place
    visible[1, 12], x[1, 12], y[1, 12] = 0, 0.75, 0.75  # no place
    write_sequence(tmp_path / "labels" / "0001.mat", frames=2, x=x, y=y, visibility=visible)
    import_penn_action(tmp_path, tmp_path / "data")
    ((_, _, row),) = iterate_rows(
        tmp_path / "data", ["skeleton", "skeleton_people", "rgb", "frames", "height", "width"]
    )
    assert (row["frames"], row["height"], row["width"], row["rgb"]) == (2, 240, 320, None)
    skeleton = np.array(row["skeleton"], np.float32).reshape(2, row["skeleton_people"], 17, 3)[:, 0]
    np.testing.assert_array_equal(skeleton[0, JOINTS.index("nose")], [10, 50, 1])
    np.testing.assert_array_equal(skeleton[0, JOINTS.index("right_shoulder")], [11, 51, 1])
    np.testing.assert_array_equal(skeleton[0, JOINTS.index("left_shoulder")], [12, 52, 1])
    np.testing.assert_array_equal(skeleton[0, JOINTS.index("right_elbow")], [13, 53, 0])
    np.testing.assert_array_equal(skeleton[1, JOINTS.index("left_ankle")], [np.nan, np.nan, 0])
    np.testing.assert_array_equal(skeleton[0, JOINTS.index("left_eye")], [np.nan, np.nan, 0])
    assert np.isfinite(skeleton[..., :2]).all(-1).sum() == 25


def test_penn_action_lists_what_it_cannot_read_and_builds_the_rest(tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    for number in range(1, 7):
        write_sequence(labels / f"{number:04d}.mat")
    write_sequence(labels / "0007.mat", x=None)
    write_sequence(labels / "0008.mat", action="levitation")
    write_sequence(labels / "0009.mat", x=np.zeros((5, 12)))
    write_sequence(labels / "0010.mat", x=np.zeros((4, 13)), y=np.zeros((4, 13)))
    (labels / "0011.mat").write_bytes(b"\0" * 300)
    (labels / "0012.mat").write_bytes((labels / "0001.mat").read_bytes()[:400])
    write_sequence(labels / "0013.mat", dimensions=np.zeros((1, 3)))
    report = import_penn_action(tmp_path, tmp_path / "data")
    assert report.clips == 6
    assert sorted(report.failed) == [f"{n:04d}.mat" for n in range(7, 14)]
    assert "lacks x" in report.failed["0007.mat"] and "levitation" in report.failed["0008.mat"]
    info = read_dataset_info(tmp_path / "data")
    assert info["left_out"] == report.failed and info["activities"] == "penn_action"
    assert sum(split["built"] for split in info["splits"].values()) == 6


def test_penn_action_has_no_new_activity_in_training_and_loses_none(tmp_path: Path) -> None:
    for number in range(1, 41):
        action = "pullup" if number % 2 else "squat"
        write_sequence(tmp_path / "labels" / f"{number:04d}.mat", action=action, frames=2)
    report = import_penn_action(tmp_path, tmp_path / "data")
    assert report.activities == {"pullup": 20, "squat": 20}
    rows = [row for _, _, row in iterate_rows(tmp_path / "data", ["activity", "split"])]
    assert len(rows) == 40
    assert all(row["split"].endswith("_new") == (row["activity"] == "pullup") for row in rows)
    assert {row["split"] for row in rows} >= {"train", "test_new"}


def test_penn_action_repeats_its_bytes_and_respects_other_data(tmp_path: Path) -> None:
    for number in range(1, 6):
        write_sequence(tmp_path / "labels" / f"{number:04d}.mat")

    def hashes(data: Path) -> dict[str, str]:
        files = [data / "dataset.json", *(data / "shards").iterdir()]
        return {path.name: file_sha256(path) for path in files}

    data = tmp_path / "data"
    import_penn_action(tmp_path, data)
    first = hashes(data)
    (data / "shards" / "val_new-00007.parquet").write_bytes(b"left over")
    import_penn_action(tmp_path, data)
    assert hashes(data) == first
    info = read_dataset_info(data)
    assert {name: entry["sha256"] for name, entry in info["shards"].items()} == {
        name: digest for name, digest in first.items() if name != "dataset.json"
    }
    (data / "dataset.json").write_text(json.dumps({"format_version": 1, "name": "mine"}))
    with pytest.raises(UserError, match="holds another data set"):
        import_penn_action(tmp_path, data)
    (tmp_path / "built").mkdir()
    (tmp_path / "built" / "ledger.sqlite").touch()
    with pytest.raises(UserError, match="built from videos"):
        import_penn_action(tmp_path, tmp_path / "built")
    with pytest.raises(UserError, match="not a copy of Penn Action"):
        import_penn_action(tmp_path / "built", tmp_path / "other")


@pytest.mark.slow
def test_penn_action_on_the_whole_copy(shared_dir: Path, tmp_path: Path) -> None:
    report = import_penn_action(shared_dir / "skeletons" / "penn_action", tmp_path)
    assert report.clips == 2326 and len(report.activities) == 15 and not report.failed
    activities = table("penn_action")
    gaps = []
    for _, _, row in iterate_rows(
        tmp_path, ["clip_id", "activity", "split", "skeleton", "frames", "muscles", "rgb", "flow"]
    ):
        assert row["rgb"] is None and row["flow"] is None
        assert row["muscles"] == list(activities[row["activity"]].muscles)
        assert row["split"].endswith("_new") == activities[row["activity"]].new
        skeleton = np.array(row["skeleton"], np.float32).reshape(row["frames"], 17, 3)
        if row["activity"] == "strum_guitar":  # all but one of them face the camera
            left, right = (skeleton[:, JOINTS.index(f"{s}_shoulder")] for s in ("left", "right"))
            seen = (left[:, 2] > 0) & (right[:, 2] > 0)
            if seen.any():
                gaps.append(np.median((left - right)[seen, 0]))
    # Seen from the front, the person's left is on the image's right.
    assert len(gaps) > 80 and np.mean(np.array(gaps) > 0) > 0.95


# -- the authors' release -----------------------------------------------------------------------


def write_release(folder: Path, clips: dict[str, list[tuple[str, list[int]]]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for split in ORIGINAL_SPLITS:
        rows = clips.get(split, [])
        for kind, values in (("paths", [r[0] for r in rows]), ("labels", [r[1] for r in rows])):
            (folder / f"{split}_{kind}.pkl").write_bytes(pickle.dumps(values))


RELEASE = {
    "train": [
        ("/data/musclemap_trimmed/Push Ups/a1.mp4", [1, 2, 4]),
        ("/data/musclemap_trimmed/Push Ups/a2.mp4", [4, 1, 2]),
    ],
    "val_seen": [("/data/musclemap_trimmed/Push Ups/a3.mp4", [1, 2, 4])],
    "val_unseen": [("/data/musclemap_trimmed/running/b1.mp4", [12, 13])],
    "test_seen": [("/data/musclemap_trimmed/squat/c1.mp4", [13, 17])],
    "test_unseen": [("/data/musclemap_trimmed/running/b2.mp4", [12, 13])],
}


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_release_becomes_a_table(tmp_path: Path) -> None:
    write_release(tmp_path, RELEASE)
    report = import_original(tmp_path, tmp_path / "clips.csv")
    assert report.splits == dict.fromkeys(ORIGINAL_SPLITS.values(), 1) | {"train": 2}
    rows = read_rows(tmp_path / "clips.csv")
    assert rows[0] == {
        "path": "/data/musclemap_trimmed/Push Ups/a1.mp4",
        "split": "train",
        "activity": "push_ups",
        "regions": "chest|shoulder|triceps",
    }
    assert [row["split"] for row in rows][2:] == list(ORIGINAL_SPLITS.values())[1:]
    text = str(report)
    assert "6 clips; the paper states 15004" in text
    assert "train: 2 clips; 7069 as we recall" in text and "no manifest was written" in text


def test_the_release_with_videos_becomes_a_manifest(tmp_path: Path) -> None:
    write_release(tmp_path / "lists", RELEASE)
    make_files(tmp_path, [f"videos/Push Ups/a{n}.mp4" for n in (1, 2, 3)])
    make_files(tmp_path, ["videos/running/b1.mp4", "videos/squat/c1.mp4"])
    report = import_original(tmp_path, tmp_path / "mm.csv")
    activities = load_activities(tmp_path / "mm_activities.csv")
    clips = read_manifest(tmp_path / "mm_manifest.csv", activities)
    assert len(clips) == 5 and report.left_out == {"not in the manifest: video not found": 1}
    assert activities["running"].new and not activities["push_ups"].new
    assert activities["squat"].regions() == ("quadriceps", "gluteus")
    assert clips[0].url == "videos/Push Ups/a1.mp4" and clips[0].split == "train"


def test_labels_that_differ_within_an_activity_give_no_manifest(tmp_path: Path) -> None:
    release = RELEASE | {"val_seen": [("/x/Push Ups/a3.mp4", [1])]}
    write_release(tmp_path, release)
    make_files(tmp_path, ["Push Ups/a1.mp4"])
    report = import_original(tmp_path, tmp_path / "mm.csv")
    assert len(read_rows(tmp_path / "mm.csv")) == 6
    assert any("several label sets" in note for note in report.notes)
    assert not (tmp_path / "mm_manifest.csv").exists()


def test_paths_of_the_release_are_never_opened_outside_the_folder(tmp_path: Path) -> None:
    make_files(tmp_path, ["outside/push_ups/a1.mp4"])
    folder = tmp_path / "release"
    target = str(tmp_path / "outside" / "push_ups" / "a1.mp4")
    write_release(folder, {"train": [(target, [1]), ("../outside/push_ups/a1.mp4", [1])]})
    make_files(folder, ["squat/c1.mp4"])
    report = import_original(folder, folder / "mm.csv")
    assert report.left_out == {"not in the manifest: video not found": 2}
    assert not (folder / "mm_manifest.csv").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("train_labels", [[1]]), "2 paths .* but 1 label lists"),
        (("train_labels", [[1], [20]]), "item 1 holds 20; label indices are whole numbers"),
        (("train_labels", [[1], [-1]]), "item 1 holds -1"),
        (("train_labels", [[1], [True]]), "refused: it holds NEWTRUE"),
        (("train_labels", [[1], 3]), "item 1 is 3, not a list of label indices"),
        (("train_labels", [[1], [10**5000]]), "item 1 holds a int"),
        (("train_labels", [[1], [1.0]]), "item 1 holds a float"),
        (("train_labels", {"a": 1}), "refused: it holds EMPTY_DICT"),
        (("train_paths", ["a/b.mp4", 7]), "item 1 is 7, not the path"),
        (("train_paths", ["a/b.mp4", "c\nd"]), "control or broken characters"),
        (("train_paths", "a/b.mp4"), "holds a str of length 7, not a list"),
        (("train_paths", ["a", None]), "refused: it holds NONE"),
        (("train_labels", [np.int64(1)]), "refused: it names 'numpy.*plain Python numbers"),
        (("train_labels", np.ones((2, 20))), "refused: it names 'numpy"),
    ],
)
def test_wrong_lists_are_refused(tmp_path: Path, change: tuple[str, Any], message: str) -> None:
    write_release(tmp_path, RELEASE)
    (tmp_path / f"{change[0]}.pkl").write_bytes(pickle.dumps(change[1]))
    with pytest.raises(UserError, match=rf"(?s){message}"):
        import_original(tmp_path, tmp_path / "clips.csv")
    assert not (tmp_path / "clips.csv").exists()


@pytest.mark.parametrize(
    "names",
    [
        (
            "Train-Video-List",
            "VAL seen video list",
            "val_new_clips",
            "test_seen_files",
            "testunseen_path",
        ),
        (
            "train/paths",
            "val_seen/paths",
            "val_unseen/paths",
            "test_seen/paths",
            "test_unseen/paths",
        ),
    ],
)
def test_file_names_may_vary(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        labels = name.rpartition("/")[0] + "/labels" if "/" in name else f"{name}_gt"
        make_files(tmp_path, [f"{name}.pickle", f"{labels}.pickle"])
    found = find_lists(tmp_path)
    for split, name in zip(ORIGINAL_SPLITS, names, strict=True):
        assert found[split]["paths"] == tmp_path / f"{name}.pickle"
        assert "gt" in found[split]["labels"].stem or "labels" in found[split]["labels"].stem


def test_missing_and_double_lists_are_named(tmp_path: Path) -> None:
    write_release(tmp_path, RELEASE)
    (tmp_path / "val_seen_labels.pkl").rename(tmp_path / "odd.pkl")
    make_files(tmp_path, ["train_video_list.pkl"])
    with pytest.raises(UserError) as caught:
        import_original(tmp_path, tmp_path / "clips.csv")
    text = str(caught.value)
    assert "val_seen labels: no file" in text and "odd.pkl" in text
    assert "train paths: both train_paths.pkl and train_video_list.pkl" in text


# -- hostile pickles ----------------------------------------------------------------------------


class Runs:
    """Unpickling this would run a command."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_runs_a_command_is_refused_and_nothing_ran(
    tmp_path: Path, protocol: int
) -> None:
    mark = tmp_path / "ran"
    write_release(tmp_path / "release", RELEASE)
    hostile = pickle.dumps([Runs(os.system, f"touch {mark}")], protocol)
    (tmp_path / "release" / "train_paths.pkl").write_bytes(hostile)
    with pytest.raises(
        UserError, match=r"train_paths\.pkl: refused: it names '(posix|nt)\.system'"
    ):
        import_original(tmp_path / "release", tmp_path / "clips.csv")
    assert not mark.exists()
    pickle.loads(hostile)  # the pickle is real: without the guard it runs
    assert mark.exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"cos\nsystem\n(S'touch ran'\ntR.", r"names 'os\.system'"),
        (b"(S'touch ran'\nios\nsystem\n.", r"names 'os\.system'"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", r"names 'os\.system'"),
        (b"\x80\x02\x82\x01.", "holds EXT1"),
        (b"Pid\n.", "holds PERSID"),
        (b"\x80\x02K\x01Q.", "holds BINPERSID"),
        (b"]}b.", "holds EMPTY_DICT"),
        (b"](S'x'\nK\x01db.", "holds DICT"),
        (b"\x80\x05\x96\x04\x00\x00\x00\x00\x00\x00\x00abcd.", "holds BYTEARRAY8"),
        (b"\x80\x05\x97.", "holds NEXT_BUFFER"),
        (b"]r\xff\xff\xff\x7f.", "memo index out of range"),
        (b"", "not a readable pickle"),
        (b"]", "not a readable pickle"),
        (b"\x80\x04]", "not a readable pickle"),
        (b"\x80\xff].", "not a readable pickle"),
        (b"X\xff\xff\xff\x7fabc.", "not a readable pickle"),
        (b"I" + b"9" * 10_000 + b"\n.", "not a readable pickle"),
        (b"a.", "not a readable pickle"),
        (b"h\x00.", "not a readable pickle"),
        (b"].trailing", "8 bytes follow"),
        (b"\x89PNG", "not a readable pickle|refused"),
    ],
)
def test_hostile_opcodes_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(data)
    with pytest.raises(UserError, match=message):
        read_plain_pickle(path)
    assert not Path("ran").exists()


def test_the_second_lock_holds_without_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "musclemap_data.importers.plain_pickle._check_opcodes", lambda path, data: len(data)
    )
    mark = tmp_path / "ran"
    for protocol in range(6):
        (tmp_path / "x.pkl").write_bytes(pickle.dumps(Runs(os.system, f"touch {mark}"), protocol))
        with pytest.raises(UserError, match=r"names posix\.system"):
            read_plain_pickle(tmp_path / "x.pkl")
    assert not mark.exists()


@pytest.mark.slow
def test_deeply_nested_and_self_containing_lists_end(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(b"]" * 200_000 + b"a" * 199_999 + b".")
    value = read_plain_pickle(path)
    assert isinstance(value, list) and len(value) == 1
    while value:  # taken apart by hand: nothing here recurses
        value = value.pop()
    loop: list[Any] = []
    loop.append(loop)
    write_release(tmp_path / "release", RELEASE)
    for name in ("train_labels", "train_paths"):
        (tmp_path / "release" / f"{name}.pkl").write_bytes(pickle.dumps(loop))
        with pytest.raises(UserError, match=r"a list of length 1|but 1 label lists|not the path"):
            import_original(tmp_path / "release", tmp_path / "clips.csv")


PLAIN = st.recursive(
    st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.lists(inner, max_size=4).map(tuple),
    max_leaves=20,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=PLAIN, protocol=st.integers(0, 5), optimised=st.booleans())
def test_plain_values_come_back(tmp_path: Path, value: Any, protocol: int, optimised: bool) -> None:
    data = pickle.dumps(value, protocol)
    path = tmp_path / "x.pkl"
    path.write_bytes(pickletools.optimize(data) if optimised else data)
    assert read_plain_pickle(path) == value


@pytest.mark.slow
@settings(
    deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_pickles_give_a_clear_error_or_a_plain_value(tmp_path: Path, data: Any) -> None:
    values = data.draw(PLAIN | st.just([{"a": {1}}, Runs(os.getcwd), b"x", 1j]))
    content = bytearray(pickle.dumps(values, data.draw(st.integers(0, 5))))
    for position, byte in data.draw(st.lists(st.tuples(st.integers(0), st.integers(0, 255)))):
        content[position % len(content)] = byte
    content = content[: data.draw(st.integers(0, len(content)))]
    path = tmp_path / "train_paths.pkl"
    path.write_bytes(bytes(content) or data.draw(st.binary(max_size=60)))
    try:
        value = read_plain_pickle(path)
    except UserError as error:
        assert str(path) in str(error)
    else:
        assert is_plain(value)


def is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(is_plain(item) for item in value)
    return type(value) in (int, float, str, bool)


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(paths=PLAIN, labels=PLAIN)
def test_any_plain_content_is_read_or_refused(tmp_path: Path, paths: Any, labels: Any) -> None:
    write_release(tmp_path, {})
    (tmp_path / "train_paths.pkl").write_bytes(pickle.dumps(paths))
    (tmp_path / "train_labels.pkl").write_bytes(pickle.dumps(labels))
    try:
        report = import_original(tmp_path, tmp_path / "clips.csv")
    except UserError:
        return
    assert report.clips == len(paths) == len(read_rows(tmp_path / "clips.csv"))


def test_regions_of_the_release_are_in_our_order() -> None:
    # Index 0 to 19 in the authors' figures; the importer relies on it.
    slugs = [muscle.slug for muscle in load_muscles()]
    assert slugs[:5] == ["neck_and_head", "chest", "shoulder", "biceps", "triceps"]
    assert slugs[-3:] == ["gluteus", "feet_ankles", "wrists"]


def test_clip_is_the_manifest_row(tmp_path: Path) -> None:
    make_files(tmp_path, ucf_names("PushUps", 1, 1))
    import_ucf101(tmp_path, tmp_path / "m.csv")
    (clip,) = read_manifest(tmp_path / "m.csv", table("ucf101"))
    name = "v_PushUps_g01_c01"
    assert clip == Clip(name, name, f"PushUps/{name}.avi", 0.0, None, "push_ups", clip.split)
