"""What every pose backend is: a call from frames to COCO-17 joints, and what made them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from musclemap_data.errors import UserError


@dataclass(frozen=True)
class Estimate:
    """What a backend found in a clip.

    Attributes:
        skeleton: float32 [T, M, 17, 3], see ``PoseEstimator.__call__``.
        people: how many people there are, followed or not; 0 where that is not known.
        contradicted: share of the frames in which the model took left for right, judged by the rest
            of the shot: see ``musclemap_data.pose.mend.Mended``.
    """

    skeleton: npt.NDArray[np.float32]
    people: int = 0
    contradicted: float = 0.0


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
            ``musclemap_data.skeleton.JOINTS``. A frame without a person: x = y = NaN, score 0.

        Raises:
            ValueError: not uint8 [T, H, W, 3].
        """
        ...

    def estimate(self, frames: npt.NDArray[np.uint8]) -> Estimate:
        """The same of uint8 frames [T, H, W, 3], and what else was seen."""
        ...

    def provenance(self) -> Mapping[str, object]:
        """What made the skeleton, as JSON values: extractor, version, weights' sha256, settings."""
        ...


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
