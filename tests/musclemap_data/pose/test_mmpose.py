"""mmpose as a backend: a random-weight RTMPose of its own config, where mmpose is installed.

The first tests run in the ordinary environment, the others through ``make test-mmpose``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from musclemap_data import skeleton as coco
from musclemap_data.check.validate import validate_dataset
from musclemap_data.download.videos import download_videos
from musclemap_data.errors import UserError
from musclemap_data.manifest import Clip
from musclemap_data.pose.backends import compute_skeleton, estimator
from musclemap_data.pose.mmpose import MMPose, import_mmpose, read_checkpoint
from musclemap_data.pose.weights import sha256_of
from musclemap_data.shards import iterate_rows, read_dataset_info
from tests.conftest import REPOSITORY

TINY = "rtmpose-t_8xb256-420e_coco-256x192"
has_mmpose = importlib.util.find_spec("mmpose") is not None
needs_mmpose = pytest.mark.skipif(not has_mmpose, reason="needs mmpose: make test-mmpose")


# --- in any environment ---------------------------------------------------------------------------


@pytest.mark.skipif(has_mmpose, reason="this is the mmpose environment")
def test_without_mmpose_the_message_says_make_mmpose(tmp_path):
    with pytest.raises(UserError, match="make mmpose"):
        estimator("mmpose", config=TINY, checkpoint=str(tmp_path / "x.pth"))


def test_torch_and_mmpose_are_imported_in_functions_only():
    code = (
        "import sys, musclemap_data.pose.mmpose; assert not {'torch', 'mmpose'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)


@pytest.mark.parametrize(
    ("zipped", "numpy_module"),  # mmpose publishes in the old format; numpy.core is of numpy 1
    [(True, b"numpy._core"), (False, b"numpy._core"), (False, b"numpy.core")],
)
def test_numpy_values_in_a_checkpoint_are_read(tmp_path, zipped, numpy_module):
    meta = {"epoch": np.int64(420), "score": np.float64(0.75), "sigmas": np.ones(17, np.float32)}
    content = {"state_dict": {"w": torch.ones(2)}, "meta": meta}
    path = tmp_path / "model.pth"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    if not zipped:  # the names are plain text in this format
        path.write_bytes(path.read_bytes().replace(b"numpy._core.", numpy_module + b"."))
        assert numpy_module in path.read_bytes()
    read = read_checkpoint(path)
    assert read["meta"]["epoch"] == 420 and read["meta"]["score"] == 0.75
    np.testing.assert_array_equal(read["meta"]["sigmas"], np.ones(17))
    assert torch.equal(read["state_dict"]["w"], torch.ones(2))


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_nothing_else_in_a_checkpoint_is_unpickled(tmp_path):
    trap = tmp_path / "trap"
    path = tmp_path / "evil.pth"
    torch.save({"state_dict": {}, "meta": Trap(trap)}, path)
    with pytest.raises(UserError, match="more than weights and numbers"):
        read_checkpoint(path)
    path.write_bytes(pickle.dumps({"state_dict": Trap(trap)}, protocol=2))
    with pytest.raises(UserError, match=r"evil\.pth"):
        read_checkpoint(path)
    assert not trap.exists()


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(UserError, match="no checkpoint"):
        read_checkpoint(tmp_path / "none.pth")
    (tmp_path / "page.pth").write_text("<html>")
    with pytest.raises(UserError, match=r"page\.pth"):
        read_checkpoint(tmp_path / "page.pth")
    torch.save({"weights": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="has no `state_dict`"):
        read_checkpoint(tmp_path / "other.pth")


# --- with mmpose ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A config of RTMPose-tiny, a checkpoint with random weights, and mmpose's model of the two."""
    folder = tmp_path_factory.mktemp("tiny")
    import_mmpose()
    from mmengine.config import Config
    from mmpose.apis import init_model

    from musclemap_data.pose.mmpose import find_config

    config = Config.fromfile(find_config(TINY))
    config.model.test_cfg.flip_test = False  # the exported network does not flip either
    config.dump(folder / "tiny.py")
    torch.manual_seed(0)
    model = init_model(str(folder / "tiny.py"), None, device="cpu")
    with torch.no_grad():
        for layer in (model.head.cls_x, model.head.cls_y):
            layer.weight.mul_(0.1)  # scores between 0 and 1
    save(model, folder / "tiny.pth")
    return folder / "tiny.py", folder / "tiny.pth", model


def save(model, path: Path, **meta) -> None:
    """As mmpose's publish_model.py writes it: the old format, numpy values in ``meta``."""
    meta = {"dataset_meta": model.dataset_meta, "epoch": np.int64(420), **meta}
    content = {"meta": meta, "state_dict": model.state_dict()}
    torch.save(content, path, _use_new_zipfile_serialization=False)


@pytest.fixture
def frames() -> np.ndarray:
    """Smooth pictures, so that a rounding of the warp does not move a peak."""
    import cv2

    coarse = np.random.default_rng(5).integers(0, 255, (6, 9, 7, 3), dtype=np.uint8)
    return np.stack([cv2.resize(f, (140, 180), interpolation=cv2.INTER_CUBIC) for f in coarse])


BOXES = np.array(
    [[0, 0, 140, 180], [40, 20, 100, 160], [10, 80, 132, 120], [-60, -20, 60, 100]], np.float32
)


@needs_mmpose
def test_the_backend_equals_mmpose_s_own_inference(tiny, frames):
    from mmpose.apis import inference_topdown

    config, checkpoint, model = tiny
    ours = MMPose(config=config, checkpoint=checkpoint, detector="frame", device="cpu")
    for frame in frames[:2]:
        expected = inference_topdown(model, frame[..., ::-1].copy(), BOXES)
        found = ours.measure(np.repeat(frame[None], len(BOXES), axis=0), BOXES)
        for person, answer in zip(found, expected, strict=True):
            np.testing.assert_allclose(person[:, :2], answer.pred_instances.keypoints[0], atol=1e-3)
            scores = answer.pred_instances.keypoint_scores[0]
            np.testing.assert_allclose(person[:, 2], scores, atol=1e-5)


@needs_mmpose
def test_the_onnx_backend_equals_mmpose_on_the_exported_model(tiny, frames, tmp_path):
    pytest.importorskip("onnxruntime")
    from musclemap_data.pose.rtmpose import RTMPose

    config, checkpoint, model = tiny

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, image):
            return self.model.head.forward(self.model.extract_feat(image))

    path = tmp_path / "tiny.onnx"
    torch.onnx.export(
        Network(),
        (torch.zeros(1, 3, 256, 192),),
        path,
        input_names=["input"],
        output_names=["simcc_x", "simcc_y"],
        dynamo=False,
    )
    by_onnx = RTMPose(weights=path, detector="frame")
    by_mmpose = MMPose(config=config, checkpoint=checkpoint, detector="frame", device="cpu")
    for box in BOXES:
        expected = by_mmpose.measure(frames, np.repeat(box[None], len(frames), axis=0))
        found = np.stack([by_onnx.measure(frame, box) for frame in frames])
        assert np.abs(found[..., :2] - expected[..., :2]).max() < 0.01
        np.testing.assert_allclose(found[..., 2], expected[..., 2], atol=2e-3)
        assert expected[..., 2].min() > 0 and expected[..., 2].max() < 1
    spread = expected[..., :2].std(axis=0).max()
    assert spread > 1  # the joints are not at one place whatever the picture is


@needs_mmpose
def test_the_batch_changes_nothing(tiny, frames):
    config, checkpoint, _ = map(str, tiny)
    options = {"config": config, "checkpoint": checkpoint, "detector": "frame", "device": "cpu"}
    alone = compute_skeleton(frames, "mmpose", pose_batch=1, **options)
    together = compute_skeleton(frames, "mmpose", pose_batch=4, **options)
    assert alone.shape == (6, 1, 17, 3) and alone.dtype == np.float32
    np.testing.assert_allclose(alone, together, atol=1e-2)


@needs_mmpose
def test_config_and_checkpoint_must_belong_together(tiny, tmp_path):
    config, checkpoint, model = tiny

    def load(config=config, checkpoint=checkpoint, **options):
        return MMPose(config=config, checkpoint=checkpoint, detector="frame", **options)

    with pytest.raises(UserError, match="no config rtmpose-xxl"):
        load(config="rtmpose-xxl")
    with pytest.raises(UserError, match="does not fit"):
        load(config=TINY.replace("-t_", "-s_"))
    with pytest.raises(UserError, match="BottomupPoseEstimator, not a TopdownPoseEstimator"):
        load(config="ae_hrnet-w32_8xb24-300e_coco-512x512")
    (tmp_path / "broken.py").write_text("model = dict(type='TopdownPoseEstimator', backbone=1)\n")
    with pytest.raises(UserError, match="no model can be built"):
        load(config=tmp_path / "broken.py")
    names = dict(enumerate(coco.JOINTS)) | {0: "snout"}
    save(model, tmp_path / "dog.pth", dataset_meta={"keypoint_id2name": names})
    with pytest.raises(UserError, match="not COCO-17"):
        load(checkpoint=tmp_path / "dog.pth")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="torch sees no GPU"):
            load(device="cuda")


@needs_mmpose
def test_the_command_builds_a_data_set_with_mmpose(tiny, tmp_path, make_video):
    config, checkpoint, _ = tiny
    make_video(tmp_path / "v.mp4", seconds=0.8)
    clips = [Clip("c", "v", "v.mp4", 0, None, "squat", "train")]
    data = tmp_path / "data"
    download_videos(clips, tmp_path, data)
    command = [Path(sys.executable).with_name("musclemap"), "extract-modalities", "--data", data]
    command += ["--modalities", "rgb,skeleton", "--workers", "1", "--pose", "mmpose"]
    command += ["--config", config, "--checkpoint", checkpoint]
    command += ["--detector", "frame", "--device", "cpu", "--pose-batch", "4"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "1 clips extracted" in done.stdout and "WARNING" not in done.stderr
    columns = ("frames", "rgb", "skeleton", "skeleton_people", "provenance")
    [(_, _, row)] = iterate_rows(data, columns)
    skeleton = np.array(row["skeleton"], np.float32).reshape(row["frames"], 1, 17, 3)
    assert len(row["rgb"]) == row["frames"] == 8 and np.isfinite(skeleton).all()
    made = json.loads(row["provenance"])["skeleton"]
    assert (made["extractor"], made["mmpose"], made["config"]) == ("mmpose", "1.3.2", "tiny")
    assert made["weights_sha256"] == sha256_of(checkpoint.read_bytes())
    assert read_dataset_info(data)["modalities"]["skeleton"] == made
    assert validate_dataset(data) == (1, [])
