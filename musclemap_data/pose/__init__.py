"""2D pose estimation: one small interface, several backends, all answering in COCO-17."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from musclemap_data.errors import UserError


class PoseEstimator(Protocol):
    """Finds the joints of the exercising person in a clip.

    Whatever is remembered from frame to frame is forgotten at the end of a call: one call is one
    clip, so a result never depends on what was processed before.
    """

    def __call__(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Estimate the skeleton of a clip.

        Args:
            frames: uint8 [T, H, W, 3], RGB.

        Returns:
            float32 [T, M, 17, 3]: x, y in pixels, score in [0, 1]; M people, joints as in
            `musclemap_data.skeleton.JOINTS`. A frame without a person: x = y = NaN, score 0.

        Raises:
            ValueError: not uint8 [T, H, W, 3].
        """
        ...

    def provenance(self) -> dict[str, Any]:
        """What made the skeleton, as JSON values: extractor, version, weights' sha256, settings."""
        ...


def _blazepose(**settings: Any) -> PoseEstimator:
    from musclemap_data.pose.blazepose import BlazePose

    return BlazePose(**settings)


def _rtmpose(**settings: Any) -> PoseEstimator:
    from musclemap_data.pose.rtmpose import RTMPose

    return RTMPose(**settings)


def _mmpose(**settings: Any) -> PoseEstimator:
    from musclemap_data.pose.mmpose import MMPose

    return MMPose(**settings)


# Name -> constructor, which takes the backend's own settings as keyword arguments.
BACKENDS: dict[str, Callable[..., PoseEstimator]] = {
    "blazepose": _blazepose,
    "rtmpose": _rtmpose,
    "mmpose": _mmpose,
}

_TOP_DOWN = ("detector", "detector_sha256", "device")
# Name -> the settings that a user must give, and those that they may give.
OPTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "blazepose": ((), ()),
    "rtmpose": (("weights",), ("weights_sha256", *_TOP_DOWN)),
    "mmpose": (("config", "checkpoint"), ("pose_batch", *_TOP_DOWN)),
}


def check_options(backend: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """A backend's settings from what a user gave, where None stands for not given.

    Raises:
        UserError: unknown backend, an option that it lacks, or one that it does not have.
    """
    if backend not in OPTIONS:
        raise UserError(f"--pose is {backend!r}; choose one of {', '.join(OPTIONS)}")
    given = {name: value for name, value in options.items() if value is not None}
    needed, allowed = OPTIONS[backend]
    for name in needed:
        if name not in given:
            raise UserError(f"--pose {backend} needs {_flag(name)}: see docs/pose.md")
    for name in given:
        if name not in (*needed, *allowed):
            raise UserError(f"{_flag(name)} is not an option of --pose {backend}: leave it away")
    return given


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def check_device(device: str | None) -> None:
    """Refuse a device that no backend knows.

    Raises:
        UserError: neither None (a GPU where there is one) nor "cpu" nor "cuda".
    """
    if device not in (None, "cpu", "cuda"):
        raise UserError(f"--device is {device!r}; choose cpu or cuda")


def check_frames(frames: npt.NDArray[np.uint8]) -> None:
    """Refuse what is not a clip.

    Raises:
        ValueError: not a numpy array of uint8 [T, H, W, 3] with H and W at least 1.
    """
    if not isinstance(frames, np.ndarray):
        raise ValueError(f"frames must be a numpy array, got {type(frames).__name__}")
    if (
        frames.dtype != np.uint8
        or frames.ndim != 4
        or frames.shape[-1] != 3
        or 0 in frames.shape[1:]
    ):
        raise ValueError(
            f"frames must be uint8 [T, H, W, 3] (RGB), got {frames.dtype} {list(frames.shape)}"
        )
