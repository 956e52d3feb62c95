"""Faces are gone where heads are, and nothing else is: in frames, between them, and in shards."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from musclemap_data.download.videos import download_videos
from musclemap_data.errors import UserError
from musclemap_data.export.card import card_text
from musclemap_data.export.contents import read_contents
from musclemap_data.extract.build import extract_modalities
from musclemap_data.extract.clip import describe_modalities, make_job, run_job
from musclemap_data.extract.staging import read_staged
from musclemap_data.ledger import Ledger
from musclemap_data.manifest import Clip
from musclemap_data.modalities.settings import ExtractionSettings
from musclemap_data.pose import weights
from musclemap_data.pose.faces import (
    CELLS,
    HOLD_FRAMES,
    FaceBlur,
    Head,
    HeadFinder,
    blur,
    head_of,
    hold,
    quarter_turns,
)
from musclemap_data.shards import iterate_rows
from tests.conftest import read_frames
from tests.person_video import render_person

NOISE = np.random.default_rng(0)


def noise(height: int = 90, width: int = 120) -> np.ndarray:
    return NOISE.integers(0, 256, (height, width, 3), np.uint8)


def inside(frame: np.ndarray, head: Head) -> np.ndarray:
    rows, columns = np.ogrid[: frame.shape[0], : frame.shape[1]]
    return (columns - head.x) ** 2 + (rows - head.y) ** 2 <= head.radius**2


def standing(scores: float = 0.9) -> np.ndarray:
    """A person 200 px tall, seen from the front: the trunk is 60 px long, the nose at (100, 30)."""
    joints = {
        0: (100, 30), 1: (104, 26), 2: (96, 26), 3: (109, 28), 4: (91, 28),
        5: (122, 56), 6: (78, 56), 7: (126, 90), 8: (74, 90), 9: (128, 120), 10: (72, 120),
        11: (112, 116), 12: (88, 116), 13: (112, 165), 14: (88, 165), 15: (112, 212), 16: (88, 212),
    }  # fmt: skip
    person = np.full((17, 3), scores, np.float32)
    person[:, :2] = [joints[joint] for joint in range(17)]
    return person


# -- one frame ------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", [Head(50, 40, 15), Head(-4, 40, 20), Head(118.5, 88, 25)])
def test_detail_is_gone_within_the_circle_and_all_else_is_equal(head):
    frame = noise()
    before, part = frame.copy(), inside(frame, head)
    blur(frame, [head])
    assert np.array_equal(frame[~part], before[~part])
    whole = part[1:-1, 1:-1] & part[:-2, 1:-1] & part[2:, 1:-1] & part[1:-1, :-2] & part[1:-1, 2:]

    def detail(picture: np.ndarray) -> float:
        """Mean difference of a pixel to those around it."""
        x = picture.astype(float)
        around = (x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:]) / 4
        return float(np.abs(x[1:-1, 1:-1] - around)[whole].mean())

    assert detail(before) > 40
    assert detail(frame) < 2


def test_two_faces_of_the_same_coarse_colours_become_the_same_picture():
    """Only ``CELLS`` x ``CELLS`` means are left, so nothing can bring the rest back."""
    head = Head(59.5, 59.5, 60.0 - 0.5)
    frame = noise(120, 120)
    size = 120 // CELLS
    other = frame.copy()
    for row in range(0, 120, size):
        for column in range(0, 120, size):
            cell = other[row : row + size, column : column + size]
            cell[:] = cell[::-1, ::-1]
    for picture in (frame, other):
        blur(picture, [head])
    assert np.array_equal(frame[inside(frame, head)], other[inside(frame, head)])


def test_a_head_outside_the_picture_changes_nothing():
    frame = noise()
    before = frame.copy()
    blur(frame, [Head(-50, 20, 30), Head(60, 400, 30)])
    assert np.array_equal(frame, before)


# -- where heads are ------------------------------------------------------------------------------


def test_the_circle_of_a_skeleton_holds_the_whole_head_and_not_the_chest():
    head = head_of(standing())
    assert head is not None
    for x, y in ((100, 8), (100, 44), (88, 28), (112, 28)):  # crown, chin, ears
        assert np.hypot(x - head.x, y - head.y) < head.radius
    assert head.y + head.radius < 70


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_of_a_person_from_behind_the_head_is_above_the_shoulders_however_they_lie(turn):
    person = standing()
    person[:5, :2], person[:5, 2] = (500, 500), 0.01  # the pose model guesses a face somewhere
    along = {0: [1, 0, 0, 1], 1: [0, -1, 1, 0], 2: [-1, 0, 0, -1], 3: [0, 1, -1, 0]}[turn]
    matrix = np.array(along).reshape(2, 2)
    person[:, :2] = person[:, :2] @ matrix.T
    head = head_of(person)
    assert head is not None
    assert quarter_turns(person) == turn
    for point in ((100, 12), (100, 44), (90, 28), (110, 28)):
        x, y = matrix @ point
        assert np.hypot(x - head.x, y - head.y) < head.radius


def test_nobody_has_no_head():
    assert head_of(np.full((17, 3), np.nan, np.float32)) is None
    assert head_of(np.zeros((17, 3), np.float32)) is None


# -- over time ------------------------------------------------------------------------------------


def test_a_lost_head_is_held_both_ways_in_time_and_not_for_ever():
    seen = [[Head(50, 50, 10)]]
    held = hold([[]] * 20 + seen + [[]] * 20)
    covered = [bool(heads) for heads in held]
    assert covered == [abs(number - 20) <= HOLD_FRAMES for number in range(41)]
    assert held[25][0].radius > held[21][0].radius > 10


def test_a_head_that_moves_on_leaves_no_trail_and_another_one_is_kept():
    walk = [[Head(10.0 + 4 * n, 50, 10), *([Head(200, 20, 8)] if n == 0 else [])] for n in range(9)]
    held = hold(walk)
    assert all(any(head.x == 200 for head in heads) for heads in held)
    assert all(len([head for head in heads if head.x < 200]) == 1 for heads in held)


def test_the_next_window_still_knows_the_heads_of_the_last_one(monkeypatch):
    found = iter([[Head(30, 30, 10)], [], []])
    monkeypatch.setattr(HeadFinder, "__init__", lambda self: None)
    monkeypatch.setattr(HeadFinder, "__call__", lambda self, frame, people: next(found))
    blurring, nobody = FaceBlur(), np.full((2, 1, 17, 3), np.nan, np.float32)
    first, second = np.stack([noise()]), np.stack([noise(), noise()])
    before = second.copy()
    blurring(first, nobody[:1])
    blurring(second, nobody)
    assert not np.array_equal(second[1, 25:35, 25:35], before[1, 25:35, 25:35])
    assert np.array_equal(second[:, 60:], before[:, 60:])


# -- the real networks, on the synthetic person ---------------------------------------------------


@pytest.fixture(scope="module")
def person(tmp_path_factory) -> Path:
    try:
        weights.blazepose_files()
    except UserError as error:
        pytest.skip(f"no BlazePose weights: {str(error).splitlines()[0]}")
    return render_person(tmp_path_factory.mktemp("person"))


def extracted(folder: Path, video: Path, settings: ExtractionSettings, names: tuple[str, ...]):
    """A row of the video's first second, and its cut."""
    for name in ("work", "clips"):
        (folder / name).mkdir(parents=True)
    fixed = {
        "clip_id": "c", "video_id": "v", "url": "v", "activity": "squat", "split": "train",
        "muscles": [False] * 20, "source_sha256": "0" * 64,
    }  # fmt: skip
    made = describe_modalities(names, settings)
    job = make_job(folder, fixed, video, (0.0, 1.0), made, settings)
    run_job(job)
    with read_staged(Path(job.staged)) as table:
        assert table is not None
        return table.to_pylist()[0], Path(job.cut)


def pictures(row, key: str) -> np.ndarray:
    return np.stack([simplejpeg.decode_jpeg(jpeg) for jpeg in row[key]]).astype(int)


@pytest.mark.slow
def test_a_row_has_no_face_in_any_picture_and_the_skeleton_of_the_whole_person(person, tmp_path):
    fine = ExtractionSettings(jpeg_quality=100)
    names = ("rgb", "rgb-diff", "skeleton")
    plain, cut = extracted(tmp_path / "plain", person, fine, names)
    assert cut.exists()
    blurred, cut = extracted(tmp_path / "blurred", person, replace(fine, blur_faces=True), names)
    assert not cut.exists(), "the cut shows the face"
    assert blurred["skeleton"] == plain["skeleton"]
    joints = np.array(plain["skeleton"], np.float32).reshape(-1, 17, 3)
    before, after = pictures(plain, "rgb"), pictures(blurred, "rgb")
    for frame, was, now in zip(joints, before, after, strict=True):
        head = head_of(frame)
        assert head is not None
        changed = np.abs(now - was).max(axis=-1) > 12  # JPEG's blocks reach a little further
        assert changed[inside(now, head)].any()
        assert not changed[~inside(now, Head(head.x, head.y, 1.6 * head.radius + 8))].any()
    # The difference is that of the blurred pictures: nothing of the face comes back through it.
    stored = pictures(blurred, "rgb_diff")[1:]
    of_blurred, of_plain = (np.abs(x[1:] - x[:-1]) for x in (after, before))
    near = np.stack([inside(x, head_of(joints[0])) for x in stored])  # type: ignore[arg-type]
    assert np.abs(stored - of_blurred)[near].mean() < 0.5 * np.abs(stored - of_plain)[near].mean()
    made = json.loads(blurred["provenance"])
    assert made["rgb"]["faces"] == made["rgb-diff"]["faces"]
    assert "faces" not in made["skeleton"]


@pytest.mark.slow
def test_pictures_alone_are_blurred_just_so(person, tmp_path):
    settings = ExtractionSettings(blur_faces=True)
    whole, _ = extracted(tmp_path / "whole", person, settings, ("rgb", "skeleton"))
    alone, _ = extracted(tmp_path / "alone", person, settings, ("rgb",))
    assert alone["rgb"] == whole["rgb"]
    assert alone["skeleton"] is None


@pytest.mark.slow
def test_of_two_people_both_heads_are_found(person):
    """Only one of them is followed; the other is found by the detector."""
    frame = read_frames(person)[0]
    nobody = np.full((1, 17, 3), np.nan, np.float32)
    one = HeadFinder()(frame, nobody)[0]
    both = np.concatenate([frame, frame[:, ::-1]], axis=1)
    heads = HeadFinder()(both, nobody)
    for x in (one.x, both.shape[1] - one.x):
        assert any(np.hypot(head.x - x, head.y - one.y) < one.radius for head in heads)


@pytest.mark.slow
def test_a_change_of_the_option_makes_the_pictures_again_and_not_the_skeletons(person, tmp_path):
    clip = Clip("c", "v", person.name, 0.0, 1.0, "squat", "train")
    data = tmp_path / "data"
    download_videos([clip], person.parent, data)
    names = ("rgb", "skeleton")

    def card(data: Path) -> str:
        return card_text(read_contents(data))

    def build(blur_faces: bool) -> tuple[int, dict]:
        settings = ExtractionSettings(blur_faces=blur_faces)
        report = extract_modalities(data, modalities=names, workers=1, settings=settings)
        row = next(row for _, _, row in iterate_rows(data, ["rgb", "skeleton", "provenance"]))
        return report.built, {"skeletons": report.skeletons, **row}

    _, plain = build(False)
    built, blurred = build(True)
    assert (built, blurred["skeletons"]) == (1, 0)
    assert blurred["rgb"] != plain["rgb"]
    assert blurred["skeleton"] == plain["skeleton"]
    assert build(True)[0] == 0
    assert "faces that were found are blurred in all pictures of 1 of 1 clips" in card(data)
    built, again = build(False)
    assert built == 1
    assert again["rgb"] == plain["rgb"]
    assert again["provenance"] == plain["provenance"]
    assert "blurred" not in card(data)
    shutil.rmtree(data / "videos")
    with Ledger(data) as ledger:
        ledger.video_missing("v")
    with pytest.raises(UserError, match="1 clips are in the shards with their faces"):
        build(True)
