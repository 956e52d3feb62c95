"""mmpose itself (OpenMMLab, Apache-2.0): any of its top-down models for COCO-17.

mmpose 1.3.2 needs an environment of its own, which ``make mmpose`` builds: see docs/pose.md. It and
torch are imported inside functions only.
"""

import contextlib
import hashlib
import importlib.util
import json
import logging
import pickle
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from musclemap_data.errors import UserError
from musclemap_data.pose.boxes import box_finder, skeleton_in_boxes
from musclemap_data.pose.estimator import Estimate, check_device
from musclemap_data.pose.smoothing import SmoothingSettings
from musclemap_data.pose.weights import sha256_of
from musclemap_data.skeleton import JOINTS

Frame = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

VERSION = "4"  # of this runner: raise it when the numbers it gives change

# Modules that mmpose imports as it is loaded, for models that are no top-down ones: what it takes
# from each. mmdet does not install today, and mmcv-lite has no compiled operations.
ABSENT_MODULES: dict[str, tuple[str, ...]] = {
    "mmdet": (),
    "mmdet.utils": ("ConfigType", "reduce_mean"),
    "mmcv.ops": ("MultiScaleDeformableAttention", "DeformConv2d", "ModulatedDeformConv2d"),
}


def _stand_in(name: str, members: tuple[str, ...]) -> ModuleType:
    """A module whose members complain when they are used, not when they are imported."""

    def refuse(*_: Any, **__: Any) -> None:
        raise UserError(f"this model needs {name}, which is not in the mmpose environment")

    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None, is_package=True)
    module.__path__ = []
    for member in members:
        setattr(module, member, type(member, (), {"__init__": refuse}))
    return module


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """mmpose's warnings are about parts that are left out here on purpose."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def import_mmpose() -> ModuleType:
    """mmpose, with stand-ins for what it imports and never calls here.

    Raises:
        UserError: it is not in this environment, or cannot be imported.
    """
    if importlib.util.find_spec("mmpose") is None:
        raise UserError(
            "the pose backend mmpose needs an environment of its own, and this is not it: run "
            "`make mmpose`, then `.venv-mmpose/bin/musclemap extract-modalities --pose mmpose ...`"
        )
    for name, members in ABSENT_MODULES.items():
        if name not in sys.modules and _is_absent(name):
            sys.modules[name] = _stand_in(name, members)
    try:
        with _quiet():
            import mmpose.apis
    except ImportError as error:
        raise UserError(f"mmpose cannot be imported: {error}. Run `make mmpose` again.") from error
    module: ModuleType = mmpose
    return module


def _is_absent(name: str) -> bool:
    # mmcv-lite has the folder mmcv/ops, but not the extension that it loads.
    needed = "mmcv._ext" if name == "mmcv.ops" else name
    try:
        with _quiet():
            return importlib.util.find_spec(needed) is None
    except (ModuleNotFoundError, ValueError):  # ValueError: the parent is a stand-in already
        return True


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint: weights, and facts in numbers, text and numpy values.

    Nothing else is unpickled: ``weights_only`` stays on, and numpy's scalars and arrays, which the
    published checkpoints carry in their ``meta``, are allowed by name.

    Raises:
        UserError: missing, damaged, or with other objects in it.
    """
    import torch
    from numpy._core import multiarray

    if not path.is_file():
        raise UserError(f"no checkpoint {path}: give the path of a .pth file")
    dtypes = {type(np.dtype(code)) for code in "?bhilqBHILQefdSU"}
    allowed: list[Any] = [np.ndarray, np.dtype, *dtypes]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):  # numpy 1, numpy 2
        allowed.append((multiarray.scalar, f"{module}.scalar"))
        allowed.append((multiarray._reconstruct, f"{module}._reconstruct"))
    try:
        with torch.serialization.safe_globals(allowed):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"{path} holds more than weights and numbers, and is not opened: {reason} "
            "Save a copy with nothing but its `meta` and `state_dict`."
        ) from None
    except Exception as error:  # zip and end-of-file errors of torch's reader, of many classes
        raise UserError(f"{path} is not a checkpoint, or a damaged one: {error}") from None
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise UserError(f"{path} is not a checkpoint of mmpose: it has no `state_dict`")
    return checkpoint


def find_config(config: str | Path) -> Path:
    """The file of a config: a path, or the name of one of mmpose's own without the .py.

    Raises:
        UserError: there is no such file and no such name.
    """
    path = Path(config).expanduser()
    if path.is_file():
        return path
    folder = Path(str(import_mmpose().__file__)).parent / ".mim" / "configs"
    for found in sorted(folder.rglob("*.py")):
        if found.stem == str(config):
            return found
    raise UserError(
        f"no config {config}: give the path of a .py file, or the name of one of mmpose's, such as "
        "rtmpose-m_8xb256-420e_coco-256x192"
    )


class MMPose:
    """The mmpose backend: one person, M = 1, in a box that the detector finds.

    A config of mmpose is a Python program that is run: use configs that you trust.

    Args:
        config: file of a top-down model for COCO-17, or the name of one of mmpose's own.
        checkpoint: file with its weights.
        detector: what finds the person: see ``boxes.box_finder``.
        detector_sha256: of the detector's file; needed for a URL.
        device: "cpu" or "cuda"; None for the GPU where torch has one.
        pose_batch: frames in one forward pass.
        smoothing: of the joints over time; None for the raw estimates.

    Raises:
        UserError: mmpose is not in this environment; config and checkpoint cannot be used, or the
            device is not there.
        ValueError: ``pose_batch`` is below 1.
    """

    def __init__(
        self,
        *,
        config: str | Path,
        checkpoint: str | Path,
        detector: str | Path = "blazepose",
        detector_sha256: str | None = None,
        device: str | None = None,
        pose_batch: int = 16,
        smoothing: SmoothingSettings | None = SmoothingSettings(),
    ) -> None:
        if pose_batch < 1:
            raise ValueError(f"pose_batch is {pose_batch}; it must be 1 or more")
        check_device(device)
        self._mmpose = import_mmpose()
        self._find, self._found_by = box_finder(detector, detector_sha256, device)
        self.pose_batch, self.smoothing = pose_batch, smoothing
        self._config_file, path = find_config(config), Path(checkpoint).expanduser()
        content = read_checkpoint(path)
        self.weights_sha256 = sha256_of(path.read_bytes())
        with _quiet():
            self._model = self._build(content, path, device)
        names = self._model.dataset_meta.get("keypoint_id2name", {})
        if tuple(names.get(index) for index in range(len(names))) != JOINTS:
            raise UserError(
                f"{self._config_file} answers in {len(names)} keypoints that are not COCO-17's"
            )

    def _build(self, checkpoint: dict[str, Any], path: Path, device: str | None) -> Any:
        import torch
        from mmengine.config import Config
        from mmengine.dataset import Compose

        if device == "cuda" and not torch.cuda.is_available():
            raise UserError(
                "--device cuda: torch sees no GPU here; leave the option out to use the CPU"
            )
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        where = self._config_file
        try:
            config = Config.fromfile(where)
            if config.model.type != "TopdownPoseEstimator":
                raise UserError(f"{where} is a {config.model.type}, not a TopdownPoseEstimator")
            # What decides the numbers; before ``init_model``, which changes it.
            deciding = {
                "model": config.model.to_dict(),
                "pipeline": config.test_dataloader.dataset.pipeline,
            }
            # The weights are not left to mmpose, which would fetch and unpickle what it is told.
            model = self._mmpose.apis.init_model(config, None, device=device)
            pipeline = Compose(config.test_dataloader.dataset.pipeline)
        except UserError:
            raise
        except Exception as error:  # a config is a program: anything may come out of it
            raise UserError(
                f"no model can be built from {where}: {type(error).__name__}: {error}"
            ) from error
        text = json.dumps(deciding, sort_keys=True, default=str)
        self.config_sha256 = hashlib.sha256(text.encode()).hexdigest()
        weights = {key.removeprefix("module."): v for key, v in checkpoint["state_dict"].items()}
        try:
            missing = model.load_state_dict(weights, strict=False).missing_keys
        except RuntimeError as error:
            raise UserError(f"{path} does not fit {where}: {error}") from None
        if missing:
            raise UserError(f"{path} does not fit {where}: it has no {', '.join(missing[:3])} ...")
        # mmpose's own order: the checkpoint's account of its joints goes before the config's.
        meta = checkpoint.get("meta")
        if isinstance(meta, dict) and isinstance(meta.get("dataset_meta"), dict):
            model.dataset_meta = meta["dataset_meta"]
        self._pipeline = pipeline
        return model

    def __call__(self, frames: Frame) -> Floats:
        """The skeleton of a clip: see ``musclemap_data.pose.PoseEstimator``."""
        return self.estimate(frames).skeleton

    def estimate(self, frames: Frame) -> Estimate:
        """The skeleton of a clip: see ``musclemap_data.pose.PoseEstimator``."""
        return skeleton_in_boxes(
            frames, self._find, self.measure, self.smoothing, batch=self.pose_batch
        )

    def measure(self, frames: Frame, boxes: Floats) -> Floats:
        """Joints of the person in each box, by mmpose's own test pipeline and decoder.

        Args:
            frames: uint8 [N, H, W, 3], RGB.
            boxes: float32 [N, 4]: x0, y0, x1, y1 in pixels.

        Returns:
            float32 [N, 17, 3]: x, y in pixels, score.
        """
        import torch
        from mmengine.dataset import pseudo_collate

        samples = [
            self._pipeline(
                {
                    **self._model.dataset_meta,
                    "img": np.ascontiguousarray(frame[..., ::-1]),  # mmpose reads BGR
                    "bbox": box[None],
                    "bbox_score": np.ones(1, np.float32),
                }
            )
            for frame, box in zip(frames, boxes, strict=True)
        ]
        with torch.no_grad(), _quiet():
            answers = self._model.test_step(pseudo_collate(samples))
        people = [answer.pred_instances for answer in answers]
        joints = np.stack([person.keypoints[0] for person in people])
        scores = np.stack([person.keypoint_scores[0] for person in people])
        return np.concatenate([joints, scores[..., None]], axis=-1).astype(np.float32)

    def provenance(self) -> Mapping[str, object]:
        """See ``musclemap_data.pose.PoseEstimator``.

        Device and batch are left out: they change no more than rounding.
        """
        return {
            "extractor": "mmpose",
            "version": VERSION,
            "mmpose": self._mmpose.__version__,
            "config": self._config_file.stem,
            "config_sha256": self.config_sha256,
            "weights_sha256": self.weights_sha256,
            "settings": {
                "boxes": self._found_by,
                "smoothing": None if self.smoothing is None else asdict(self.smoothing),
            },
        }
