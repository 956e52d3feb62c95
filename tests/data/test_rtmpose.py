"""RTMPose's runner on a small random ONNX model, against a transcription of mmpose's steps."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from musclemap_data.errors import UserError
from musclemap_data.modalities.skeleton import compute_skeleton, coverage
from musclemap_data.pose import weights
from musclemap_data.pose.rtmpose import RTMPose

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

WIDTH, HEIGHT = 12, 16


def small_model(path: Path, joints: int = 17) -> dict[str, np.ndarray]:
    """Average-pool by 4, flatten, one linear layer for each axis; returns the two matrices."""
    random = np.random.default_rng(3)
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
    estimator = RTMPose(weights=path, smoothing=None)
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
        boxes[2] = np.nan
        return boxes

    skeleton = compute_skeleton(frames, "rtmpose", weights=str(path), boxes=some, smoothing=None)
    assert skeleton.shape == (6, 1, 17, 3) and skeleton.dtype == np.float32
    assert np.isnan(skeleton[2, ..., :2]).all() and (skeleton[2, ..., 2] == 0).all()
    expected = transcription(matrices, frames[1], [20, 10, 50, 80])
    np.testing.assert_allclose(skeleton[1, 0, :, :2], expected[:, :2], atol=1e-3)
    whole = compute_skeleton(frames, "rtmpose", weights=str(path))
    assert np.isfinite(whole).all() and 0 <= coverage(whole) <= 1
    with pytest.raises(ValueError, match="unknown boxes"):
        RTMPose(weights=path, boxes="yolo")


def test_weights_are_checked(model, tmp_path):
    path, _ = model
    digest = weights.sha256_of(path.read_bytes())
    assert RTMPose(weights=path, sha256=digest.upper()).provenance()["weights_sha256"] == digest
    with pytest.raises(UserError, match="damaged, or another file"):
        RTMPose(weights=path, sha256="0" * 64)
    with pytest.raises(UserError, match="64 hexadecimal"):
        RTMPose(weights=path, sha256="abc")
    with pytest.raises(UserError, match="no weights file"):
        RTMPose(weights=tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    with pytest.raises(UserError, match="not a model"):
        RTMPose(weights=tmp_path / "bad.onnx")


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
    ours = RTMPose(weights=archive, sha256=weights.sha256_of(archive.read_bytes()))(frames)
    np.testing.assert_array_equal(ours, RTMPose(weights=path)(frames))
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
