"""RTMPose's runner on a small random ONNX model, against a transcription of mmpose's steps."""

from __future__ import annotations

import json
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from musclemap_data.download.videos import download_videos
from musclemap_data.errors import FailureClass, UserError
from musclemap_data.extract.build import extract_modalities
from musclemap_data.manifest import Clip
from musclemap_data.modalities.settings import ExtractionSettings
from musclemap_data.pose import weights
from musclemap_data.pose.backends import check_options, compute_skeleton
from musclemap_data.pose.boxes import blazepose_boxes, skeleton_in_boxes
from musclemap_data.pose.detector import BoxedPerson, PersonDetector, follow_boxes
from musclemap_data.pose.follow import Roi
from musclemap_data.pose.rtmpose import RTMPose
from musclemap_data.shards import iterate_rows
from musclemap_data.skeleton import person_share
from tests.musclemap_data.pose.test_pose import real_frames
from tests.test_cli import musclemap

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

WIDTH, HEIGHT = 12, 16


def small_model(path: Path, joints: int = 17, seed: int = 3) -> dict[str, np.ndarray]:
    """Average-pool by 4, flatten, one linear layer for each axis; returns the two matrices."""
    random = np.random.default_rng(seed)
    features = 3 * (WIDTH // 4) * (HEIGHT // 4)
    matrices = {
        "x": random.normal(0, 0.1, (features, joints * 2 * WIDTH)).astype(np.float32),
        "y": random.normal(0, 0.1, (features, joints * 2 * HEIGHT)).astype(np.float32),
    }
    nodes = [
        helper.make_node("AveragePool", ["input"], ["pooled"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
    ]
    constants, outputs = [], []
    for axis, side in (("x", WIDTH), ("y", HEIGHT)):
        constants.append(numpy_helper.from_array(matrices[axis], f"matrix_{axis}"))
        shape = np.array([-1, joints, 2 * side], np.int64)
        constants.append(numpy_helper.from_array(shape, f"shape_{axis}"))
        nodes.append(helper.make_node("MatMul", ["flat", f"matrix_{axis}"], [f"long_{axis}"]))
        nodes.append(
            helper.make_node("Reshape", [f"long_{axis}", f"shape_{axis}"], [f"simcc_{axis}"])
        )
        outputs.append(
            helper.make_tensor_value_info(
                f"simcc_{axis}", TensorProto.FLOAT, ["batch", joints, 2 * side]
            )
        )
    entry = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, HEIGHT, WIDTH])
    graph = helper.make_graph(nodes, "small", [entry], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return matrices


def transcription(matrices, frame, box):
    """mmpose: GetBBoxCenterScale, TopdownAffine, data preprocessor, get_simcc_maximum, decode."""
    import cv2

    centre = np.array([box[0] + box[2], box[1] + box[3]]) / 2
    scale = np.array([box[2] - box[0], box[3] - box[1]]) * 1.25
    if scale[0] > scale[1] * WIDTH / HEIGHT:
        scale = np.array([scale[0], scale[0] * HEIGHT / WIDTH])
    else:
        scale = np.array([scale[1] * WIDTH / HEIGHT, scale[1]])
    source = np.array([centre, centre - [0, scale[0] / 2], centre - scale[0] / 2], np.float32)
    half = np.array([WIDTH, HEIGHT]) / 2
    target = np.array([half, half - [0, WIDTH / 2], half - WIDTH / 2], np.float32)
    bgr = frame[..., ::-1]
    warped = cv2.warpAffine(
        np.ascontiguousarray(bgr), cv2.getAffineTransform(source, target), (WIDTH, HEIGHT)
    )
    image = warped[..., ::-1].astype(np.float64)
    image = (image - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]
    pooled = image.reshape(HEIGHT // 4, 4, WIDTH // 4, 4, 3).mean(axis=(1, 3))
    flat = pooled.transpose(2, 0, 1).ravel()
    result = []
    for j in range(17):
        x = (flat @ matrices["x"]).reshape(17, -1)[j]
        y = (flat @ matrices["y"]).reshape(17, -1)[j]
        point = np.array([np.argmax(x), np.argmax(y)]) / 2.0
        point = point / [WIDTH, HEIGHT] * scale + centre - scale / 2
        result.append([*point, min(max(min(x.max(), y.max()), 0), 1)])
    return np.array(result)


@pytest.fixture
def model(tmp_path) -> tuple[Path, dict[str, np.ndarray]]:
    path = tmp_path / "small.onnx"
    return path, small_model(path)


@pytest.fixture
def frames() -> np.ndarray:
    """Smooth pictures, so that a rounding of the warp does not move a peak."""
    import cv2

    coarse = np.random.default_rng(5).integers(0, 255, (6, 9, 7, 3), dtype=np.uint8)
    return np.stack([cv2.resize(f, (70, 90), interpolation=cv2.INTER_CUBIC) for f in coarse])


def test_decoding_equals_the_transcription(model, frames):
    path, matrices = model
    estimator = RTMPose(weights=path, detector="frame", smoothing=None)
    for box in ([0, 0, 70, 90], [20, 10, 50, 80], [5, 40, 66, 60], [-30, -10, 30, 50]):
        for frame in frames:
            expected = transcription(matrices, frame, box)
            found = estimator.measure(frame, np.array(box, np.float32))
            np.testing.assert_allclose(found[:, :2], expected[:, :2], atol=1e-3)
            np.testing.assert_allclose(found[:, 2], expected[:, 2], atol=1e-3)


def test_a_clip_gives_a_skeleton_and_frames_without_a_box_give_nobody(model, frames):
    path, matrices = model

    def some(clip):
        boxes = np.tile(np.array([20, 10, 50, 80], np.float32), (len(clip), 1))
        boxes[2], boxes[4] = np.nan, [20, 10, 20.5, 80]
        return boxes

    measure = RTMPose(weights=path, detector="frame").measure
    # One picture: in several, the sides of these random joints would be set right.
    same = np.repeat(frames[1:2], len(frames), axis=0)
    skeleton = skeleton_in_boxes(
        same, some, lambda f, b: measure(f[0], b[0])[None], None, 1
    ).skeleton
    assert skeleton.shape == (6, 1, 17, 3) and skeleton.dtype == np.float32
    for nobody in (2, 4):
        assert np.isnan(skeleton[nobody, ..., :2]).all() and not skeleton[nobody, ..., 2].any()
    expected = transcription(matrices, frames[1], [20, 10, 50, 80])
    np.testing.assert_allclose(skeleton[1, 0, :, :2], expected[:, :2], atol=1e-3)
    whole = compute_skeleton(frames, "rtmpose", weights=str(path), detector="frame")
    assert np.isfinite(whole).all() and 0 <= person_share(whole) <= 1
    assert compute_skeleton(frames[:0], "rtmpose", weights=str(path), detector="frame").shape == (
        0,
        1,
        17,
        3,
    )


def test_weights_are_checked(model, tmp_path):
    path, _ = model
    digest = weights.sha256_of(path.read_bytes())
    assert (
        RTMPose(weights=path, detector="frame", weights_sha256=digest.upper()).provenance()[
            "weights_sha256"
        ]
        == digest
    )
    with pytest.raises(UserError, match="damaged, or another file"):
        RTMPose(weights=path, detector="frame", weights_sha256="0" * 64)
    with pytest.raises(UserError, match="64 hexadecimal"):
        RTMPose(weights=path, detector="frame", weights_sha256="abc")
    with pytest.raises(UserError, match="no weights file"):
        RTMPose(weights=tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    with pytest.raises(UserError, match="not a model"):
        RTMPose(weights=tmp_path / "bad.onnx")
    with pytest.raises(UserError, match="--device is 'tpu'"):
        RTMPose(weights=path, device="tpu")


def test_without_onnxruntime_the_extra_is_named(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install 'musclemap\[rtmpose\]'"):
        RTMPose(weights=model[0], detector="frame")


@pytest.mark.parametrize(
    ("backend", "options", "message"),
    [
        ("openpose", {}, "choose one of blazepose, rtmpose, mmpose"),
        ("rtmpose", {"detector": "frame"}, "--pose rtmpose needs --weights"),
        ("mmpose", {"config": "x.py"}, "--pose mmpose needs --checkpoint"),
        ("blazepose", {"weights": "x.onnx"}, "--weights is not an option of --pose blazepose"),
        ("mmpose", {"config": "x", "checkpoint": "y", "weights_sha256": "0"}, "--weights-sha256"),
    ],
)
def test_options_of_another_backend_are_refused(backend, options, message):
    with pytest.raises(UserError, match=message):
        check_options(backend, options)


def test_options_that_were_not_given_are_left_out():
    given = {"weights": "x.onnx", "detector": None, "device": "cpu", "config": None}
    assert check_options("rtmpose", given) == {"weights": "x.onnx", "device": "cpu"}


def test_another_kind_of_model_is_refused(tmp_path):
    small_model(tmp_path / "hands.onnx", joints=21)
    with pytest.raises(UserError, match="not an RTMPose model for COCO-17"):
        RTMPose(weights=tmp_path / "hands.onnx")


def test_an_archive_with_one_model_stands_for_it(model, tmp_path, frames):
    path, _ = model
    archive = tmp_path / "model.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(path, "folder/end2end.onnx")
        file.writestr("folder/deploy.json", "{}")
    ours = RTMPose(
        weights=archive,
        weights_sha256=weights.sha256_of(archive.read_bytes()),
        detector="frame",
    )(frames)
    np.testing.assert_array_equal(ours, RTMPose(weights=path, detector="frame")(frames))
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("readme", "")
    with pytest.raises(UserError, match="holds 0"):
        RTMPose(weights=archive)


def test_a_url_is_fetched_once_with_its_checksum(model, tmp_path, serve, monkeypatch):
    path, _ = model
    monkeypatch.setenv("MUSCLEMAP_CACHE", str(tmp_path / "cache"))
    digest = weights.sha256_of(path.read_bytes())
    url = f"{serve(tmp_path)}/small.onnx"
    with pytest.raises(UserError, match="give the sha256"):
        weights.read_weights(url, None)
    with pytest.raises(UserError, match="damaged, or another file"):
        weights.read_weights(url, "0" * 64)
    assert not (tmp_path / "cache").exists()
    assert weights.read_weights(url, digest) == path.read_bytes()
    path.unlink()
    assert weights.sha256_of(weights.read_weights(url, digest)) == digest
    with pytest.raises(UserError, match="could not be fetched"):
        weights.read_weights(url, "1" * 64)


# --- the detector ---------------------------------------------------------------------------------

BRIGHT_REGION = """
<ir_version: 8, opset_import: ["" : 17]>
bright_region (float[1, 3, 48, 64] input) => (float[1, 1, 5] dets, int64[1, 1] labels) {
    first = Constant <value_ints = [0]> ()
    one = Constant <value_ints = [1]> ()
    limit = Constant <value_float = 1.0> ()
    most = Constant <value_float = 0.9> ()
    channel = Gather <axis = 1> (input, first)
    over = Greater (channel, limit)
    bright = Cast <to = 1> (over)
    columns = ReduceMax <axes = [1, 2], keepdims = 0> (bright)
    rows = ReduceMax <axes = [1, 3], keepdims = 0> (bright)
    left = ArgMax <axis = 1> (columns)
    top = ArgMax <axis = 1> (rows)
    right = ArgMax <axis = 1, select_last_index = 1> (columns)
    bottom = ArgMax <axis = 1, select_last_index = 1> (rows)
    after = Add (right, one)
    below = Add (bottom, one)
    corners = Concat <axis = 1> (left, top, after, below)
    box = Cast <to = 1> (corners)
    found = ReduceMax <axes = [1], keepdims = 1> (columns)
    score = Mul (found, most)
    person = Concat <axis = 1> (box, score)
    dets = Unsqueeze (person, first)
    labels = Sub (left, left)
}
"""


@pytest.fixture
def detector(tmp_path) -> Path:
    """A "person detector" that boxes what is bright in the first channel of its 64 x 48 input."""
    path = tmp_path / "detector.onnx"
    path.write_bytes(onnx.parser.parse_model(BRIGHT_REGION).SerializeToString())
    return path


def in_archive(detector: Path, transforms: list[dict]) -> Path:
    """The detector with a pipeline.json, as mmdeploy lays them in the official archives."""
    path = detector.with_suffix(".zip")
    pipeline = {"pipeline": {"tasks": [{"transforms": transforms}, {"name": "detector"}]}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(detector, "sdk/end2end.onnx")
        archive.writestr("sdk/pipeline.json", json.dumps(pipeline))
    return path


NORMALISE_RGB = {"type": "Normalize", "mean": [124, 116, 104], "std": [58, 57, 57], "to_rgb": True}


def test_the_detector_s_box_comes_back_in_pixels_of_the_frame(detector):
    frames = np.zeros((3, 120, 128, 3), np.uint8)  # scaled by 0.4: 48 x 51
    frames[:2, 30:90, 10:50, 2] = 255  # blue, RTMDet's first channel
    frames[:, 60:100, 80:120, 0] = 255  # red
    boxes = PersonDetector(detector)(frames)
    np.testing.assert_allclose(boxes[:2], [[10, 30, 50, 90]] * 2, atol=2.6)  # a pixel of the input
    assert np.isnan(boxes[2]).all()
    red = PersonDetector(in_archive(detector, [{"type": "Resize"}, NORMALISE_RGB]))
    np.testing.assert_allclose(red(frames), [[80, 60, 120, 100]] * 3, atol=2.6)
    plain = PersonDetector(in_archive(detector, [{"type": "Resize"}]))  # as YOLOX
    assert plain.normalisation.std == (1, 1, 1) and not plain.normalisation.rgb
    hashes = {d.provenance()["weights_sha256"] for d in (red, plain, PersonDetector(detector))}
    assert hashes == {weights.sha256_of(detector.read_bytes())}
    assert red.provenance() != plain.provenance()


def test_what_is_no_detector_is_refused(model, detector):
    with pytest.raises(UserError, match="not a person detector"):
        PersonDetector(model[0])
    with pytest.raises(UserError, match=r"pipeline\.json in .* is not what mmdeploy writes"):
        PersonDetector(in_archive(detector, [{"type": "Normalize", "mean": [0]}]))
    with pytest.raises(UserError, match="damaged, or another file"):
        RTMPose(weights=model[0], detector=detector, detector_sha256="0" * 64)


def test_blazepose_finds_the_person_by_default(model, shared_dir):
    try:
        weights.blazepose_files()
    except UserError as error:
        pytest.skip(str(error).splitlines()[0])
    estimator = RTMPose(weights=model[0], smoothing=None)
    found_by = estimator.provenance()["settings"]["boxes"]
    assert found_by["detector"] == "blazepose" and found_by["blazepose"]["weights_sha256"]
    assert np.isnan(estimator(np.zeros((4, 64, 64, 3), np.uint8))[..., :2]).all()
    frames = real_frames(shared_dir, "squat_06.mp4", 8)
    joints = compute_skeleton(frames)[:, 0, :, :2]
    boxes = blazepose_boxes(frames)
    assert (joints.min(axis=1) > boxes[:, :2]).all() and (joints.max(axis=1) < boxes[:, 2:]).all()
    assert np.isfinite(estimator(frames)).all()


def person(x: float, score: float = 0.9, side: float = 40) -> BoxedPerson:
    box = (x - side / 4, 80 - side / 2, x + side / 4, 80 + side / 2)
    return BoxedPerson(score, Roi(x, 80, side, 0), box)


def test_boxes_stay_with_the_exerciser():
    """A walker-by crosses the first half; in frames 20 to 22 the exerciser is not seen."""
    people = [[person(10 + 9 * i, 0.95)] if i < 20 else [] for i in range(40)]
    for index, found in enumerate(people):
        if index not in (20, 21, 22):
            found.append(person(100 + index / 4))
    boxes = follow_boxes(people)
    assert np.flatnonzero(np.isnan(boxes[:, 0])).tolist() == [20, 21, 22]
    seen = np.isfinite(boxes[:, 0])
    centre = boxes[seen][:, [0, 2]].mean(axis=1)
    np.testing.assert_allclose(centre, 100 + np.arange(40)[seen] / 4, atol=1e-4)
    assert np.isnan(follow_boxes([[], []])).all()


# --- building a data set --------------------------------------------------------------------------


@pytest.fixture
def downloaded(tmp_path, make_video) -> Path:
    """Two clips in which a yellow square moves: bright in red, dark in blue."""
    clips = []
    for n in range(2):
        make_video(tmp_path / f"v{n}.mp4", seed=n, seconds=0.8)
        clips.append(Clip(f"c{n}", f"v{n}", f"v{n}.mp4", 0, None, "squat", "train"))
    download_videos(clips, tmp_path, tmp_path / "data")
    return tmp_path / "data"


def built_rows(data: Path) -> list[dict]:
    columns = ("clip_id", "rgb", "skeleton", "provenance")
    found = [row for _, _, row in iterate_rows(data, columns)]
    return [row | {"provenance": json.loads(row["provenance"])} for row in found]


@pytest.mark.slow
def test_another_backend_or_other_weights_redo_the_skeleton_only(downloaded, detector, model):
    def extract(**options):
        settings = ExtractionSettings(pose="rtmpose", pose_options=options)
        report = extract_modalities(
            downloaded, modalities=("rgb", "skeleton"), workers=1, settings=settings
        )
        return report, built_rows(downloaded)

    path = str(model[0])
    report, first = extract(weights=path, detector="frame")
    assert report.built == 2 and {"rgb", "skeleton"} <= set(report.seconds)
    made = first[0]["provenance"]["skeleton"]
    assert made["extractor"] == "rtmpose-onnx"
    assert made["weights_sha256"] == weights.sha256_of(model[0].read_bytes())
    other = model[0].with_name("other.onnx")
    small_model(other, seed=4)
    for changed in (
        {"weights": str(other), "detector": "frame"},
        {"weights": str(other), "detector": str(in_archive(detector, [NORMALISE_RGB]))},
    ):
        report, second = extract(**changed)
        assert report.built == 2
        assert "skeleton" in report.seconds and "rgb" not in report.seconds
        for old, new in zip(first, second, strict=True):
            assert new["rgb"] == old["rgb"] and new["skeleton"] != old["skeleton"]
            made, made_before = new["provenance"], old["provenance"]
            assert made["skeleton"] != made_before["skeleton"]
            assert {**made, "skeleton": None} == {**made_before, "skeleton": None}
        first = second
        assert extract(**changed)[0].present == 2


@pytest.mark.slow
def test_clips_without_a_person_are_built_unless_a_person_is_required(
    downloaded, detector, model, tmp_path
):
    options = {"weights": str(model[0]), "detector": str(detector)}  # sees blue: nobody is there
    words = ["extract-modalities", "--data", downloaded, "--modalities", "rgb,skeleton"]
    words += ["--workers", "1", "--pose", "rtmpose"]
    words += ["--weights", options["weights"], "--detector", options["detector"]]
    done = musclemap(*words)
    assert done.returncode == 0, done.stderr
    assert "WARNING: 2 of 2 clips show no person in any frame" in done.stderr
    assert "skeletons are empty: c0, c1\n" in done.stderr
    assert "WARNING" not in musclemap(*words).stderr  # told once: nothing is read again for it
    for row in built_rows(downloaded):
        assert row["rgb"] and not np.array(row["skeleton"])[2::3].any()

    for shard in (downloaded / "shards").iterdir():
        shard.unlink()
    settings = ExtractionSettings(pose="rtmpose", pose_options=options, require_person=0.5)
    report = extract_modalities(downloaded, workers=1, settings=settings)
    assert report.built == 0
    assert {f.failure_class for f in report.failed.values()} == {FailureClass.NO_PERSON}
    assert "0% of its frames show a person, 50% must" in report.failed["c0"].reason
    # They are not tried again by themselves; with a detector that sees them, they are built.
    assert len(extract_modalities(downloaded, workers=1, settings=settings).failed) == 2
    seeing = options | {"detector": str(in_archive(detector, [NORMALISE_RGB]))}
    settings = replace(settings, pose_options=seeing)
    report = extract_modalities(
        downloaded, modalities=("skeleton",), workers=1, settings=settings, retry_failed=True
    )
    assert (report.built, report.failed) == (2, {})
    assert (report.skeletons, report.without_person) == (2, [])
    for wrong in (0, 1.5):
        with pytest.raises(UserError, match="--require-person"):
            ExtractionSettings(require_person=wrong)
