"""The pose backends by name, the settings each takes, and one loaded estimator a process."""

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from musclemap_data.errors import UserError
from musclemap_data.pose.estimator import Estimate, PoseEstimator


def _lazy(file: str, constructor: str) -> Callable[..., PoseEstimator]:
    """A constructor that imports ``musclemap_data.pose.FILE`` when it is called."""

    def build(**settings: Any) -> PoseEstimator:
        module = importlib.import_module(f"musclemap_data.pose.{file}")
        estimator: PoseEstimator = getattr(module, constructor)(**settings)
        return estimator

    return build


# Name -> constructor, which takes the backend's own settings as keyword arguments.
BACKENDS: dict[str, Callable[..., PoseEstimator]] = {
    "blazepose": _lazy("blazepose", "BlazePose"),
    "rtmpose": _lazy("rtmpose", "RTMPose"),
    "mmpose": _lazy("mmpose", "MMPose"),
}

PoseOption = str | int
"""The value of a setting that a user gives."""

_TOP_DOWN = ("detector", "detector_sha256", "device")
# Name -> the settings that a user must give, and those that they may give.
OPTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "blazepose": ((), ()),
    "rtmpose": (("weights",), ("weights_sha256", *_TOP_DOWN)),
    "mmpose": (("config", "checkpoint"), ("pose_batch", *_TOP_DOWN)),
}


def check_options(backend: str, options: Mapping[str, PoseOption | None]) -> dict[str, PoseOption]:
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
            raise UserError(f"{_flag(name)} is not an option of --pose {backend}: leave it out")
    return given


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


@functools.lru_cache(maxsize=4)
def estimator(backend: str = "blazepose", **settings: Any) -> PoseEstimator:
    """The pose estimator with these settings, loaded once a process.

    Args:
        backend: a name in ``BACKENDS``.
        settings: the backend's own; hashable.

    Raises:
        ValueError: unknown backend or setting.
        UserError: the weights are not there and cannot be fetched.
    """
    if backend not in BACKENDS:
        raise ValueError(f"unknown pose backend {backend!r}: choose one of {', '.join(BACKENDS)}")
    try:
        return BACKENDS[backend](**settings)
    except TypeError as error:
        raise ValueError(f"wrong settings for the pose backend {backend}: {error}") from None


def compute_skeleton(
    frames: npt.NDArray[np.uint8], backend: str = "blazepose", **settings: Any
) -> npt.NDArray[np.float32]:
    """The skeleton of one clip.

    Args:
        frames: uint8 [T, H, W, 3], RGB.
        backend: a name in ``BACKENDS``.
        settings: the backend's own; hashable.

    Returns:
        float32 [T, M, 17, 3]: x, y in pixels of the given frames, score in [0, 1]; a frame without
        a person has x = y = NaN and score 0.

    Raises:
        ValueError: frames of another type or shape; unknown backend or setting.
        UserError: the weights are not there and cannot be fetched.
    """
    return estimator(backend, **settings)(frames)


def estimate_skeleton(
    frames: npt.NDArray[np.uint8], backend: str = "blazepose", **settings: Any
) -> Estimate:
    """The skeleton of one clip, uint8 [T, H, W, 3], and what else was seen.

    As :func:`compute_skeleton`, also in what it raises.
    """
    return estimator(backend, **settings).estimate(frames)
