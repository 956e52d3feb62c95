"""BlazePose: geometry against its definitions, behaviour on blank and real clips, weights."""

from __future__ import annotations

import csv
import math
import multiprocessing
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musclemap_data import skeleton as coco
from musclemap_data.errors import UserError
from musclemap_data.pose import blazepose, follow, weights
from musclemap_data.pose.backends import BACKENDS, compute_skeleton, estimator
from musclemap_data.pose.estimator import check_frames
from musclemap_data.pose.follow import Detection, FollowSettings, Pose, Roi
from musclemap_data.pose.smoothing import SmoothingSettings, smooth_skeleton
from musclemap_data.skeleton import person_share

sides = st.floats(-500, 500)


# --- joints ---------------------------------------------------------------------------------------


def test_blazepose_joints_map_to_the_coco_joints_of_the_same_name():
    text = (
        "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer "
        "left_ear right_ear mouth_left mouth_right left_shoulder right_shoulder left_elbow "
        "right_elbow left_wrist right_wrist left_pinky right_pinky left_index right_index "
        "left_thumb right_thumb left_hip right_hip left_knee right_knee left_ankle right_ankle "
        "left_heel right_heel left_foot_index right_foot_index"
    )
    names = text.split(" ")
    assert len(names) == 33
    assert tuple(names[i] for i in blazepose.COCO_FROM_BLAZEPOSE) == coco.JOINTS


def test_mirror_and_bones_agree_with_the_names():
    swapped = {"left": "right", "right": "left"}
    for name, mirrored in zip(coco.JOINTS, coco.MIRRORED, strict=True):
        side, _, part = name.partition("_")
        assert coco.JOINTS[mirrored] == (f"{swapped[side]}_{part}" if part else name)
    mirrored = {frozenset((coco.MIRRORED[a], coco.MIRRORED[b])) for a, b in coco.BONES}
    assert mirrored == {frozenset(bone) for bone in coco.BONES}
    assert {joint for bone in coco.BONES for joint in bone} == set(range(coco.JOINT_COUNT))


# --- geometry -------------------------------------------------------------------------------------


def test_anchors():
    anchors = blazepose.anchor_centres()
    assert anchors.shape == (2254, 2)
    assert anchors[0] == pytest.approx([0.5 / 28, 0.5 / 28])
    assert anchors[2] == pytest.approx([1.5 / 28, 0.5 / 28])  # x runs first, two anchors a cell
    assert anchors[-1] == pytest.approx([6.5 / 7, 6.5 / 7])
    assert np.unique(anchors[-294:], axis=0).shape == (49, 2)


@given(x=sides, y=sides, size=st.floats(5, 900), angle=st.floats(-math.pi, math.pi))
def test_a_region_is_recovered_from_its_own_upright_axis(x, y, size, angle):
    """The hip centre and the body circle, placed upright in the crop, give the region back."""
    roi = Roi(x, y, size, angle)
    to_image = roi.to_image(256)
    centre = blazepose.transform(to_image, np.array([128.0, 128.0]))
    end = blazepose.transform(to_image, np.array([128.0, 128.0 - 256 / 2.5]))
    again = blazepose.region_from_points(centre, end)
    assert (again.x, again.y) == pytest.approx((x, y), abs=1e-6)
    assert again.size == pytest.approx(size)
    assert math.cos(again.angle - angle) == pytest.approx(1)


@given(
    height=st.integers(1, 2000),
    width=st.integers(1, 2000),
    turns=st.integers(0, 3),
    point=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_every_point_of_a_frame_lies_in_the_turned_letterbox(height, width, turns, point):
    view = blazepose.whole_frame(height, width, turns)
    matrix = np.vstack([view.to_image(224), [0, 0, 1]])
    there = np.linalg.inv(matrix) @ [point[0] * width, point[1] * height, 1]
    assert (there[:2] >= -1e-6).all() and (there[:2] <= 224 + 1e-6).all()
    back = matrix @ there
    assert back[:2] == pytest.approx([point[0] * width, point[1] * height], abs=1e-6)


def test_a_quarter_turn_brings_a_head_that_points_right_to_the_top():
    frame = np.zeros((100, 200, 3), np.uint8)
    frame[40:60, 180:] = 255  # the head
    upright = blazepose.crop(frame, blazepose.whole_frame(100, 200, 1), 224)
    rows, columns = np.nonzero(upright[..., 0])
    assert rows.mean() < 30 and abs(columns.mean() - 112) < 5


def test_crop_of_an_unturned_region_is_a_plain_slice():
    frame = np.random.default_rng(0).integers(0, 255, (80, 80, 3), dtype=np.uint8)
    cut = blazepose.crop(frame, Roi(40, 40, 32, 0), 32)
    np.testing.assert_array_equal(cut, frame[24:56, 24:56])


def literal_refine(points, heatmaps, kernel=7, confidence=0.5):
    """RefineLandmarksFromHeatmapCalculator, loop by loop."""
    result = points.copy()
    for j, (x, y) in enumerate(points):
        column, row = int(np.floor(x)), int(np.floor(y))
        if not (0 <= column < 64 and 0 <= row < 64):
            continue
        total = sum_x = sum_y = best = 0.0
        for r in range(max(0, row - kernel // 2), min(64, row + kernel // 2 + 1)):
            for c in range(max(0, column - kernel // 2), min(64, column + kernel // 2 + 1)):
                value = 1 / (1 + math.exp(-float(heatmaps[r, c, j])))
                total += value
                sum_x += value * c
                sum_y += value * r
                best = max(best, value)
        if best >= confidence and total > 0:
            result[j] = sum_x / total, sum_y / total
    return result


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_heatmap_refinement_equals_the_loop(seed):
    random = np.random.default_rng(seed)
    points = random.uniform(-5, 69, (19, 2))
    heatmaps = random.normal(-3, 2.5, (64, 64, 19)).astype(np.float32)
    expected = literal_refine(points, heatmaps)
    refined, peaks = blazepose.refine(points, heatmaps, np.arange(19))
    np.testing.assert_allclose(refined, expected, atol=1e-4)
    assert ((peaks >= 0) & (peaks <= 1)).all()


def test_a_joint_that_the_heatmap_does_not_show_has_no_peak():
    heatmaps = np.full((64, 64, 2), -10, np.float32)
    heatmaps[20, 30, 0] = 3
    points = np.array([[30.5, 20.5], [30.5, 20.5]])
    for which in ([0, 1], [1, 0]):
        _, peaks = blazepose.refine(points, heatmaps, np.array(which))
        assert peaks[which] == pytest.approx([1 / (1 + math.exp(-3)), 0], abs=1e-3)


def test_suppression_groups_people_and_keeps_the_best_first():
    boxes = np.array([[0, 0, 2, 2], [5, 5, 7, 7], [0.2, 0, 2.2, 2], [5, 5, 7, 7.2]], np.float32)
    scores = np.array([0.6, 0.9, 0.8, 0.7], np.float32)
    groups = [group.tolist() for group in blazepose.weighted_suppression(boxes, scores)]
    assert groups == [[1, 3], [2, 0]]
    assert list(blazepose.weighted_suppression(boxes[:0], scores[:0])) == []


# --- following ------------------------------------------------------------------------------------


class ScriptedModel:
    """A model whose people are given: ``people[name] -> Roi`` for each frame, found by place."""

    def __init__(self, script: list[dict[str, Roi]], hidden: frozenset[int] = frozenset()) -> None:
        self.script, self.hidden = script, hidden

    def detect(self, frame, quarter_turns):
        index = int(frame[0, 0, 0])
        if index in self.hidden or quarter_turns:
            return []
        return [Detection(0.9, roi) for roi in self.script[index].values()]

    def measure(self, frame, roi):
        people = self.script[int(frame[0, 0, 0])]
        names = [n for n in people if follow.separation(people[n], roi) < 0.5]
        if not names:
            return Pose(np.zeros((17, 3), np.float32), 0.1, roi)
        nearest = min(names, key=lambda n: follow.separation(people[n], roi))
        joints = np.full((17, 3), ord(nearest), np.float32)
        return Pose(joints, 0.9, people[nearest])


def numbered_frames(count: int) -> np.ndarray:
    frames = np.zeros((count, 200, 200, 3), np.uint8)
    frames[:, 0, 0, 0] = np.arange(count)
    return frames


def followed(script, **others) -> str:
    model = ScriptedModel(script, **others)
    found = follow.follow_person(model, numbered_frames(len(script)), FollowSettings())
    return "".join("-" if pose is None else chr(int(pose.joints[0, 0])) for pose in found.poses)


def test_the_exerciser_is_kept_when_somebody_larger_walks_by_in_the_first_frames():
    script = []
    for i in range(40):
        people = {"E": Roi(140, 100, 80, 0)}
        if i < 12:
            people["W"] = Roi(10 + 8 * i, 100, 120, 0)
        script.append(people)
    assert followed(script) == "E" * 40


def test_the_exerciser_is_found_again_after_being_hidden_by_a_walker():
    script = []
    for i in range(40):
        people = {"W": Roi(20 + 5 * i, 100, 90, 0)} if i >= 10 else {}
        if not 20 <= i < 26:  # hidden
            people["E"] = Roi(130, 100, 80, 0)
        script.append(people)
    result = followed(script)
    assert result[:20] == "E" * 20 and result[30:] == "E" * 10


def test_somebody_far_away_is_not_taken_for_the_person_who_left():
    script = [
        {"E": Roi(40, 100, 40, 0)} if i < 24 else {"W": Roi(190, 100, 40, 0)} for i in range(30)
    ]
    assert followed(script) == "E" * 24 + "-" * 6


def test_frames_before_the_first_detection_are_followed_backwards():
    script = [{"E": Roi(100, 100, 80, 0)} for _ in range(20)]
    assert followed(script, hidden=frozenset(range(12))) == "E" * 20


def test_somebody_seen_only_between_the_first_looks_is_found():
    script = [{"E": Roi(100, 100, 80, 0)} for _ in range(64)]
    hidden = frozenset(i for i in range(64) if i % 4)
    looks = {(2 * i + 1) * 64 // 16 for i in range(8)}
    assert followed(script, hidden=hidden | looks) == "E" * 64


def test_of_two_people_the_one_who_moves_is_followed_and_both_are_counted():
    script = [{"M": Roi(50, 100, 80, 0), "S": Roi(150, 100, 84, 0)} for _ in range(30)]
    frames = numbered_frames(30)
    frames[::2, 60:140, 20:80] = 200  # the left one waves
    found = follow.follow_person(ScriptedModel(script), frames, FollowSettings())
    assert {chr(int(pose.joints[0, 0])) for pose in found.poses if pose is not None} == {"M"}
    assert found.people == 2
    alone = [{"M": Roi(50, 100, 80, 0)} for _ in range(30)]
    assert follow.follow_person(ScriptedModel(alone), frames, FollowSettings()).people == 1
    nobody = [{} for _ in range(30)]
    assert follow.follow_person(ScriptedModel(nobody), frames, FollowSettings()).people == 0


def test_cuts_split_a_clip_and_a_moving_texture_does_not():
    random = np.random.default_rng(0)
    limit = FollowSettings().cut_correlation
    one, other = random.integers(0, 60, (64, 64, 3)), random.integers(120, 250, (64, 64, 3))
    frames = np.stack([one] * 5 + [other] * 4).astype(np.uint8)
    assert follow.find_shots(frames, limit) == [(0, 5), (5, 9)]
    assert follow.find_shots(frames // 8, limit) == [(0, 5), (5, 9)]  # however dark it is
    noise = random.integers(0, 255, (9, 64, 64, 3), dtype=np.uint8)
    assert follow.find_shots(noise, limit) == [(0, 9)]
    light = np.stack([one * k / 10 for k in range(5, 14)]).astype(np.uint8)
    assert follow.find_shots(light, limit) == [(0, 9)]  # a lamp is switched on
    assert follow.find_shots(frames[:1], limit) == [(0, 1)]
    assert follow.find_shots(np.zeros((4, 64, 64, 3), np.uint8), limit) == [(0, 4)]


# --- smoothing ------------------------------------------------------------------------------------


def moving_skeleton(count: int = 90) -> np.ndarray:
    """A body whose joints swing with different phases, 200 px tall."""
    t = np.arange(count)[:, None]
    phase = np.linspace(0, 6, 17)
    x = 100 + 30 * np.sin(2 * np.pi * t / 40 + phase)
    y = 20 + 200 * np.arange(17) / 16 + 30 * np.cos(2 * np.pi * t / 40 + phase)
    return np.stack([x, y, np.full_like(x, 0.9)], axis=-1).astype(np.float32)


def jitter(skeleton: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(skeleton[..., :2], 2, axis=0), axis=-1).mean())


def test_smoothing_lowers_jitter_and_error_without_lag():
    clean = moving_skeleton()
    noisy = clean.copy()
    noisy[..., :2] += np.random.default_rng(0).normal(0, 1.5, clean[..., :2].shape)
    smooth = smooth_skeleton(noisy, SmoothingSettings())
    assert jitter(smooth) < 0.7 * jitter(noisy)

    def error(a):
        return float(np.sqrt(np.mean((a - clean)[..., :2] ** 2)))

    assert error(smooth) < error(noisy)
    # The delay with which the smoothed signal fits the clean one best, to a tenth of a frame.
    fine = moving_skeleton(91)
    steps = np.diff(fine[..., :2], axis=0)
    late = np.sum((clean - smooth)[..., :2] * steps) / np.sum(steps**2)
    assert abs(late) < 0.1


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_smoothing_commutes_with_time_reversal_scale_and_shift(seed):
    skeleton = moving_skeleton(30)
    skeleton[..., :2] += np.random.default_rng(seed).normal(0, 2, skeleton[..., :2].shape)
    smooth = smooth_skeleton(skeleton, SmoothingSettings())
    reversed_first = smooth_skeleton(skeleton[::-1], SmoothingSettings())[::-1]
    np.testing.assert_allclose(smooth, reversed_first, atol=1e-3)
    grown = skeleton * np.float32([2, 2, 1]) + np.float32([7, -3, 0])
    expected = smooth * np.float32([2, 2, 1]) + np.float32([7, -3, 0])
    np.testing.assert_allclose(smooth_skeleton(grown, SmoothingSettings()), expected, atol=1e-2)


def test_smoothing_keeps_scores_gaps_and_cuts():
    skeleton = moving_skeleton(30)
    skeleton[10:13, :, :2] = np.nan
    skeleton[10:13, :, 2] = 0
    skeleton[20:, :, 0] += 500  # another shot
    smooth = smooth_skeleton(skeleton, SmoothingSettings(), [(0, 20), (20, 30)])
    np.testing.assert_array_equal(smooth[..., 2], skeleton[..., 2])
    np.testing.assert_array_equal(np.isnan(smooth), np.isnan(skeleton))
    assert smooth[19, :, 0].max() < 200 and smooth[20, :, 0].min() > 500
    still = np.repeat(moving_skeleton(1), 10, axis=0)
    np.testing.assert_allclose(smooth_skeleton(still, SmoothingSettings()), still, atol=1e-4)
    with pytest.raises(ValueError, match="minimum_cutoff"):
        SmoothingSettings(minimum_cutoff=0)


# --- weights --------------------------------------------------------------------------------------


def fake_wheel(folder: Path, content: bytes = b"not the network") -> Path:
    wheel = folder / "mediapipe-0.10.21-cp312-cp312-manylinux_2_28_x86_64.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for place, _ in weights.BLAZEPOSE_FILES.values():
            archive.writestr(place, content)
    return wheel


@pytest.fixture
def pinned(monkeypatch):
    """As if ``good`` were the right content of both files."""
    monkeypatch.delenv("MUSCLEMAP_BLAZEPOSE_DIR", raising=False)
    files = {
        name: (place, weights.sha256_of(b"good"))
        for name, (place, _) in weights.BLAZEPOSE_FILES.items()
    }
    monkeypatch.setattr(weights, "BLAZEPOSE_FILES", files)


def test_a_wrong_checksum_is_refused_and_leaves_nothing_behind(tmp_path, pinned):
    with pytest.raises(UserError, match="sha256"):
        weights.blazepose_files(tmp_path, fetch_wheel=fake_wheel)
    assert list((tmp_path / "blazepose").iterdir()) == []


def test_weights_are_fetched_once_and_a_damaged_cache_is_mended(tmp_path, pinned, capsys):
    calls = []

    def fetch(folder):
        calls.append(folder)
        return fake_wheel(folder, b"good")

    for _ in range(2):
        paths = weights.blazepose_files(tmp_path, fetch_wheel=fetch)
    assert [path.read_bytes() for path in paths] == [b"good", b"good"]
    assert [path.name for path in paths] == list(weights.BLAZEPOSE_FILES)
    assert len(calls) == 1 and capsys.readouterr().err.count("fetching the BlazePose weights") == 1
    assert not calls[0].exists()
    paths[1].write_bytes(b"bad")
    weights.blazepose_files(tmp_path, fetch_wheel=fetch)
    assert len(calls) == 2 and paths[1].read_bytes() == b"good"
    assert sorted(path.name for path in paths[0].parent.iterdir()) == sorted(
        weights.BLAZEPOSE_FILES
    )


def test_a_wheel_without_the_files_or_a_broken_one_is_a_user_error(tmp_path, pinned):
    def broken(folder):
        (folder / "mediapipe.whl").write_bytes(b"<html>")
        return folder / "mediapipe.whl"

    with pytest.raises(UserError, match="not the wheel it should be"):
        weights.blazepose_files(tmp_path, fetch_wheel=broken)


def _fetch_in_process(cache: str, log: str) -> None:
    def fetch(folder):
        with Path(log).open("a") as file:
            file.write("fetched\n")
        return fake_wheel(folder, b"good")

    good = weights.sha256_of(b"good")
    weights.BLAZEPOSE_FILES = {n: (p, good) for n, (p, _) in weights.BLAZEPOSE_FILES.items()}
    for path in weights.blazepose_files(Path(cache), fetch_wheel=fetch):
        assert path.read_bytes() == b"good"


@pytest.mark.slow
def test_processes_that_ask_at_once_fetch_once(tmp_path, monkeypatch):
    monkeypatch.delenv("MUSCLEMAP_BLAZEPOSE_DIR", raising=False)
    log = tmp_path / "log"
    context = multiprocessing.get_context("spawn")
    arguments = (str(tmp_path / "cache"), str(log))
    workers = [context.Process(target=_fetch_in_process, args=arguments) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert log.read_text() == "fetched\n"


def test_the_folder_given_by_hand_is_used_and_checked(tmp_path, pinned, monkeypatch):
    monkeypatch.setenv("MUSCLEMAP_BLAZEPOSE_DIR", str(tmp_path))
    with pytest.raises(UserError, match=r"has no pose_detection\.tflite"):
        weights.blazepose_files()
    for name in weights.BLAZEPOSE_FILES:
        (tmp_path / name).write_bytes(b"good")
    assert [path.parent for path in weights.blazepose_files()] == [tmp_path, tmp_path]
    (tmp_path / "pose_landmark_full.tflite").write_bytes(b"bad")
    with pytest.raises(UserError, match="not the expected file"):
        weights.blazepose_files()


def test_a_failed_download_says_why_and_what_to_do(tmp_path, monkeypatch):
    def fail(command, **_):
        assert isinstance(command, list) and command[-1] == weights.MEDIAPIPE
        return subprocess.CompletedProcess(
            command, 1, "", "x\n/usr/bin/python3: No module named pip"
        )

    monkeypatch.setattr(weights.subprocess, "run", fail)
    monkeypatch.delenv("MUSCLEMAP_BLAZEPOSE_DIR", raising=False)
    with pytest.raises(UserError, match=r"No module named pip[\s\S]*MUSCLEMAP_BLAZEPOSE_DIR"):
        weights.blazepose_files(tmp_path)


def test_a_cache_that_cannot_be_written_is_a_user_error(tmp_path, pinned):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="MUSCLEMAP_CACHE"):
        weights.blazepose_files(tmp_path / "file")


# --- the modality ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((2, 8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((2, 8, 8, 4), np.uint8),
        np.zeros((2, 0, 8, 3), np.uint8),
        [[0]],
    ],
)
def test_what_is_not_a_clip_is_refused(frames):
    with pytest.raises(ValueError, match="frames must be"):
        check_frames(frames)


def test_unknown_backends_and_settings_are_refused():
    with pytest.raises(ValueError, match="blazepose"):
        estimator("openpose")
    with pytest.raises(ValueError, match="speling"):
        estimator("blazepose", speling=1)
    assert set(BACKENDS) >= {"blazepose", "rtmpose"}


def test_coverage_counts_frames_with_a_person():
    skeleton = np.full((4, 1, 17, 3), np.nan, np.float32)
    skeleton[..., 2] = 0
    assert person_share(skeleton) == 0
    skeleton[1] = 0.5
    assert person_share(skeleton) == 0.25
    assert person_share(skeleton[:0]) == 0


@pytest.fixture(scope="module")
def real_weights() -> tuple[Path, Path]:
    """The real networks; without them (no index, no cache) the tests that need them are skipped."""
    try:
        return weights.blazepose_files()
    except UserError as error:
        pytest.skip(f"no BlazePose weights: {str(error).splitlines()[0]}")


def test_blank_frames_have_nobody(real_weights):
    frames = np.stack([np.full((48, 64, 3), value, np.uint8) for value in (0, 90, 255, 255)])
    skeleton = compute_skeleton(frames)
    assert skeleton.shape == (4, 1, 17, 3) and skeleton.dtype == np.float32
    assert np.isnan(skeleton[..., :2]).all() and (skeleton[..., 2] == 0).all()
    assert compute_skeleton(frames[:0]).shape == (0, 1, 17, 3)
    assert compute_skeleton(np.zeros((1, 1, 1, 3), np.uint8)).shape == (1, 1, 17, 3)


def test_an_output_that_nobody_reads_is_not_computed_and_the_others_stay(real_weights):
    from ai_edge_litert.interpreter import Interpreter

    def outputs(network: bytes) -> dict[str, np.ndarray]:
        interpreter = Interpreter(model_content=network, num_threads=1)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
        interpreter.invoke()
        found = interpreter.get_output_details()
        return {detail["name"]: interpreter.get_tensor(detail["index"]) for detail in found}

    image = np.random.default_rng(0).random((1, 256, 256, 3), np.float32)
    network = weights.blazepose_files()[1].read_bytes()
    whole = outputs(network)
    assert whole["Identity_2"].shape == (1, 256, 256, 1)  # the outline of the person
    kept = outputs(blazepose.without_rest(network, ["Identity", "Identity_3"]))
    assert sorted(kept) == ["Identity", "Identity_3"]
    for name, values in kept.items():
        np.testing.assert_array_equal(values, whole[name])


def test_provenance_names_everything_that_shaped_the_result(real_weights):
    provenance = estimator().provenance()
    assert provenance["weights_sha256"] == {
        "detector": weights.BLAZEPOSE_FILES["pose_detection.tflite"][1],
        "landmark": weights.BLAZEPOSE_FILES["pose_landmark_full.tflite"][1],
    }
    assert provenance["settings"]["smoothing"]["speed_gain"] == SmoothingSettings().speed_gain
    raw = estimator(smoothing=None).provenance()
    assert raw["settings"]["smoothing"] is None
    assert estimator() is estimator()


def real_frames(shared_dir: Path, name: str, count: int, step: int = 3) -> np.ndarray:
    import av

    frames = []
    with av.open(str(shared_dir / "real_clips" / name)) as container:
        stream = container.streams.video[0]
        scale = min(1.0, 256 / min(stream.width, stream.height))
        width, height = round(stream.width * scale), round(stream.height * scale)
        for index, frame in enumerate(container.decode(stream)):
            if index % step == 0:
                small = frame.reformat(width, height, format="rgb24", interpolation="AREA")
                frames.append(small.to_ndarray())
            if len(frames) == count:
                break
    return np.stack(frames)


@pytest.mark.slow
def test_a_clip_s_skeleton_does_not_depend_on_what_came_before(shared_dir, real_weights):
    squat = real_frames(shared_dir, "squat_06.mp4", 12)
    push_up = real_frames(shared_dir, "push_up_02.mp4", 12)
    first = compute_skeleton(squat)
    np.testing.assert_array_equal(first, compute_skeleton(squat))
    compute_skeleton(push_up)
    compute_skeleton(np.zeros((3, 64, 64, 3), np.uint8))
    np.testing.assert_array_equal(first, compute_skeleton(squat))
    np.testing.assert_array_equal(first, blazepose.BlazePose()(squat))


@pytest.mark.parametrize(
    ("name", "near_side"),
    [("push_up_01.mp4", "right"), ("push_up_02.mp4", "left"), ("plank_04.mp4", "right")],
)
def test_lying_people_are_found_with_their_sides_right(shared_dir, real_weights, name, near_side):
    """Face down with the head to the right of the picture, the right side is the near one.

    The joints of the near side are seen better than those behind the body.
    """
    skeleton = compute_skeleton(real_frames(shared_dir, name, 16))
    assert person_share(skeleton) == 1
    shoulders, hips = skeleton[:, 0, 5:7, 0].mean(axis=1), skeleton[:, 0, 11:13, 0].mean(axis=1)
    assert ((shoulders > hips) == (near_side == "right")).all()
    right_minus_left = skeleton[:, 0, 6::2, 2].mean(axis=1) - skeleton[:, 0, 5::2, 2].mean(axis=1)
    assert ((right_minus_left > 0) == (near_side == "right")).mean() > 0.8


def test_a_turned_clip_has_the_turned_skeleton(shared_dir, real_weights):
    frames = real_frames(shared_dir, "jumping_jack_03.mp4", 8)
    upright = compute_skeleton(frames, smoothing=None)[:, 0]
    turned = compute_skeleton(np.ascontiguousarray(np.rot90(frames, axes=(1, 2))), smoothing=None)
    width = frames.shape[2]
    back = np.stack([width - turned[:, 0, :, 1], turned[:, 0, :, 0]], axis=-1)
    assert np.median(np.linalg.norm(back - upright[..., :2], axis=-1)) < 4


def test_a_mirrored_clip_has_the_mirrored_skeleton(shared_dir, real_weights):
    frames = real_frames(shared_dir, "jumping_jack_03.mp4", 8)
    plain = compute_skeleton(frames, smoothing=None)[:, 0]
    mirror = compute_skeleton(np.ascontiguousarray(frames[:, :, ::-1]), smoothing=None)[:, 0]
    back = mirror[:, coco.MIRRORED]
    back[..., 0] = frames.shape[2] - 1 - back[..., 0]
    assert np.median(np.linalg.norm((back - plain)[..., :2], axis=-1)) < 4


@pytest.mark.slow
def test_most_real_clips_have_a_skeleton_in_at_least_half_of_their_frames(shared_dir, real_weights):
    """A clip of every third activity; title cards in some of them show nobody."""
    with (shared_dir / "real_clips" / "clips.csv").open(newline="") as file:
        clips = {row["activity"]: row for row in csv.DictReader(file)}
    covered = []
    for row in list(clips.values())[::3]:
        step = max(1, int(float(row["seconds"]) * float(row["fps"])) // 8)
        frames = real_frames(shared_dir, row["file"], 8, step)
        covered.append(person_share(compute_skeleton(frames)) >= 0.5)
    assert len(covered) >= 15 and np.mean(covered) >= 0.9
