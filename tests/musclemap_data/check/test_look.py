"""What a look at the pictures finds: each kind planted into sound clips, and none in those."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg

from musclemap_data.check.findings import Kind
from musclemap_data.check.look import look_at_dataset, look_at_row
from musclemap_data.download.videos import download_videos
from musclemap_data.extract.build import extract_modalities
from musclemap_data.files import file_sha256
from musclemap_data.manifest import Clip
from musclemap_data.shards import Shard, list_shards, write_dataset_info, write_shard
from tests.conftest import write_video
from tests.musclemap_data.tiny_dataset import write_dataset
from tests.test_cli import musclemap

Row = dict[str, Any]


def encoded(picture: np.ndarray) -> bytes:
    colour = picture.shape[-1] == 3
    return simplejpeg.encode_jpeg(
        np.ascontiguousarray(picture),
        90,
        colorspace="RGB" if colour else "GRAY",
        colorsubsampling="420" if colour else "Gray",
    )


def decoded(jpeg: bytes, colorspace: str = "RGB") -> np.ndarray:
    return simplejpeg.decode_jpeg(jpeg, colorspace=colorspace).copy()


def still(picture: np.ndarray, row: Row, column: str) -> Row:
    return {**row, column: [encoded(picture)] * len(row[column])}


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> list[Row]:
    """Three clips of 24 frames, cut and extracted as every data set is; skeletons are drawn."""
    folder = tmp_path_factory.mktemp("look")
    clips = []
    for n in range(3):
        write_video(folder / f"v{n}.mp4", seconds=2.4, width=160, height=128, seed=n)
        clips.append(Clip(f"c{n}", f"v{n}", f"v{n}.mp4", 0.0, 2.4, "squat", "train"))
    download_videos(clips, folder, folder / "data")
    extract_modalities(folder / "data", modalities=("rgb", "rgb-diff", "flow"), workers=1)
    with Shard(list_shards(folder / "data", "train")[0]) as shard:
        found = [shard.row(index) for index in range(len(shard))]
    for row in found:
        joints = np.full((row["frames"], 1, 17, 3), 0.9, np.float32)
        joints[..., 0] = np.linspace(40, 80, 17) + 2 * np.arange(row["frames"])[:, None, None]
        joints[..., 1] = np.linspace(20, 100, 17)
        row["skeleton"], row["skeleton_people"] = joints.ravel().tolist(), 1
    return found


def frozen(row: Row, other: Row) -> Row:
    rgb = list(row["rgb"])
    rgb[4:11] = [rgb[4]] * 7
    return {**row, "rgb": rgb}


def smeared(row: Row, other: Row) -> Row:
    """Every sixth picture is grey in its lower half, as after a lost reference picture."""
    rgb = list(row["rgb"])
    for number in range(3, len(rgb) - 1, 6):
        picture = decoded(rgb[number])
        picture[64:] = 200
        rgb[number] = encoded(picture)
    return {**row, "rgb": rgb}


def black(row: Row, other: Row) -> Row:
    return still(np.zeros((128, 160, 3), np.uint8), row, "rgb")


def green(row: Row, other: Row) -> Row:
    return still(np.full((128, 160, 3), (0, 135, 0), np.uint8), row, "rgb")


def mirrored_difference(row: Row, other: Row) -> Row:
    return {**row, "rgb_diff": [encoded(decoded(jpeg)[:, ::-1]) for jpeg in row["rgb_diff"]]}


def no_difference(row: Row, other: Row) -> Row:
    return still(np.zeros((128, 160, 3), np.uint8), row, "rgb_diff")


def late_difference(row: Row, other: Row) -> Row:
    return {**row, "rgb_diff": row["rgb_diff"][3:] + row["rgb_diff"][:3]}


def mirrored_flow(row: Row, other: Row) -> Row:
    turned = [encoded(255 - decoded(jpeg, "GRAY")) for jpeg in row["flow"]]
    return {**row, "flow": turned}


def no_flow(row: Row, other: Row) -> Row:
    return still(np.full((256, 160, 1), 128, np.uint8), row, "flow")


def late_flow(row: Row, other: Row) -> Row:
    return {**row, "flow": row["flow"][8:] + row["flow"][:8]}


def with_skeleton(change: Callable[[np.ndarray], None]) -> Callable[[Row, Row], Row]:
    def planted(row: Row, other: Row) -> Row:
        joints = np.array(row["skeleton"], np.float32).reshape(-1, 1, 17, 3)
        change(joints)
        return {**row, "skeleton": joints.ravel().tolist()}

    return planted


def nowhere(joints: np.ndarray) -> None:
    joints[5, 0, 4, 0] = np.nan


def certain(joints: np.ndarray) -> None:
    joints[5, 0, 4, 2] = 7


def outside(joints: np.ndarray) -> None:
    joints[6:12, ..., 0] += 900


def constant(joints: np.ndarray) -> None:
    joints[:] = joints[:1]


PLANTED = [
    (Kind.FROZEN, frozen),
    (Kind.DEBRIS, smeared),
    (Kind.BLANK, black),
    (Kind.BLANK, green),
    (Kind.RGB_DIFF, mirrored_difference),
    (Kind.RGB_DIFF, no_difference),
    (Kind.RGB_DIFF, late_difference),
    (Kind.FLOW, mirrored_flow),
    (Kind.FLOW, no_flow),
    (Kind.FLOW, late_flow),
    (Kind.SKELETON, with_skeleton(nowhere)),
    (Kind.SKELETON, with_skeleton(certain)),
    (Kind.SKELETON, with_skeleton(outside)),
    (Kind.SKELETON, with_skeleton(constant)),
]


def test_sound_clips_have_no_finding(rows):
    assert [look_at_row(row) for row in rows] == [[], [], []]


@pytest.mark.parametrize(
    ("kind", "plant"), PLANTED, ids=lambda value: getattr(value, "__name__", value)
)
def test_what_is_planted_is_found(rows, kind, plant):
    for row, other in zip(rows, rows[1:] + rows[:1], strict=True):
        seen = look_at_row(plant(row, other))
        assert kind in {each.kind for each in seen}, seen
        for each in seen:
            assert all(0 <= number < row["frames"] for number in each.frames)


def test_a_skeleton_of_bad_quality_is_a_class_of_its_own(rows):
    poor = {**rows[0], "skeleton_quality": 0.1, "skeleton_notes": ["jumps"]}
    [seen] = look_at_row(poor)
    assert seen.kind is Kind.POOR_SKELETON
    assert "quality 0.10" in seen.what
    assert look_at_row({**poor, "skeleton_quality": 0.8}) == []


def test_one_flash_and_a_cut_between_shots_are_no_debris(rows):
    flash = list(rows[0]["rgb"])
    flash[7] = encoded(np.full((128, 160, 3), 250, np.uint8))
    cut = rows[0]["rgb"][:12] + rows[1]["rgb"][12:]
    for rgb in (flash, cut):
        seen = look_at_row({**rows[0], "rgb": rgb, "rgb_diff": None, "flow": None})
        assert seen == []


def test_a_person_who_is_not_found_is_no_impossible_skeleton(rows):
    joints = np.full((rows[0]["frames"], 1, 17, 3), np.nan, np.float32)
    joints[..., 2] = 0
    assert look_at_row({**rows[0], "skeleton": joints.ravel().tolist()}) == []


def test_a_row_of_rgb_alone_is_looked_at(rows):
    row = {**frozen(rows[0], rows[1]), "rgb_diff": None, "flow": None, "skeleton": None}
    assert [each.kind for each in look_at_row(row)] == [Kind.FROZEN]


def plant_in_dataset(data: Path, plant: Callable[[Row, Row], Row]) -> None:
    """Change the second row of the train shard, as if it had been built so."""
    path = list_shards(data, "train")[0]
    with Shard(path) as shard:
        found = [shard.row(index) for index in range(len(shard))]
    found[1] = plant(found[1], found[0])
    write_shard(path, found)
    info = json.loads((data / "dataset.json").read_text())
    info["shards"][path.name]["sha256"] = file_sha256(path)
    write_dataset_info(data, {k: v for k, v in info.items() if k != "format_version"})


def test_the_verb_counts_classes_shows_the_worst_and_has_an_exit_code(tmp_path):
    data = write_dataset(tmp_path / "data")
    done = musclemap("validate", "--data", data)
    assert done.returncode == 0, done.stderr
    assert "6 rows checked, 0 problems, 0 findings" in done.stdout

    plant_in_dataset(data, frozen)
    sheet = tmp_path / "sheets" / "frozen.png"
    done = musclemap("validate", "--data", data, "--show", "frozen", "--out", sheet)
    assert done.returncode == 1
    assert "FINDING frozen: 1 clips" in done.stderr
    assert "train-00000.parquet row 1 (push_02)" in done.stderr
    assert str(sheet) in done.stderr
    picture = cv2.imread(str(sheet))
    assert picture.shape == (184, 1280, 3)
    assert picture[24:, :1200].std() > 20  # pictures, not an empty strip

    told = json.loads(musclemap("validate", "--data", data, "--json").stdout)
    assert told["problems"] == []
    assert told["classes"]["frozen"]["clips"] == 1
    assert {f["clip_id"] for f in told["findings"] if f["kind"] == "frozen"} == {"push_02"}

    allowed = ",".join(sorted({finding["kind"] for finding in told["findings"]}))
    assert musclemap("validate", "--data", data, "--allow", allowed).returncode == 0
    assert musclemap("validate", "--data", data, "--no-look").returncode == 0
    done = musclemap("validate", "--data", data, "--allow", "ugly")
    assert done.returncode == 2
    assert "choose from frozen, debris" in done.stderr


@pytest.mark.parametrize(
    ("kind", "plant"),
    [PLANTED[1], PLANTED[5], PLANTED[8], (Kind.SKELETON, with_skeleton(constant))],
)
def test_every_kind_can_be_shown(tmp_path, rows, kind, plant):
    from musclemap_data.check.sheet import contact_sheet

    data = write_dataset(tmp_path)
    path = list_shards(data, "train")[0]
    write_shard(path, [plant(row, rows[0]) for row in rows])
    findings = [each for each in look_at_dataset(data) if each.kind is kind]
    assert len(findings) == 3
    assert [each.worst for each in findings] == sorted((f.worst for f in findings), reverse=True)
    assert contact_sheet(data, findings).shape == (3 * 184, 1280, 3)
