"""The 2D skeleton modality: COCO-17 joints of the exercising person in every frame."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from musclemap_data.catalog import SPLITS
from musclemap_data.pose import BACKENDS, PoseEstimator
from musclemap_data.shards import Shard, list_shards
from musclemap_data.skeleton import BONES, JOINT_COUNT

LEFT_COLOUR, RIGHT_COLOUR, MIDDLE_COLOUR = (255, 90, 70), (70, 150, 255), (255, 225, 80)


@functools.lru_cache(maxsize=4)
def estimator(backend: str = "blazepose", **settings: Any) -> PoseEstimator:
    """The pose estimator with these settings, loaded once a process.

    Args:
        backend: a name in `musclemap_data.pose.BACKENDS`.
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
        backend: a name in `musclemap_data.pose.BACKENDS`.
        settings: the backend's own; hashable.

    Returns:
        float32 [T, M, 17, 3]: x, y in pixels of the given frames, score in [0, 1]; a frame without
        a person has x = y = NaN and score 0.

    Raises:
        ValueError: frames of another type or shape; unknown backend or setting.
        UserError: the weights are not there and cannot be fetched.
    """
    return estimator(backend, **settings)(frames)


def coverage(skeleton: npt.NDArray[np.float32]) -> float:
    """Share of a clip's frames in which a person was found; 0 for a clip of no frames.

    Args:
        skeleton: float32 [T, M, 17, 3].
    """
    if len(skeleton) == 0:
        return 0.0
    found = np.isfinite(skeleton[..., :2]).all(axis=-1) & (skeleton[..., 2] > 0)
    return float(found.any(axis=(1, 2)).mean())


def clips_without_person(data_dir: Path) -> tuple[list[str], int]:
    """The clips of a data set whose skeleton shows nobody in any frame.

    Returns:
        Their ids, and how many clips have a skeleton at all.
    """
    empty, count = [], 0
    for split in SPLITS:
        for path in list_shards(data_dir, split):
            with Shard(path) as shard:
                table = shard.table(["clip_id", "skeleton"])
            for clip_id, skeleton in zip(table["clip_id"], table["skeleton"], strict=True):
                if skeleton.values is not None:
                    count += 1
                    scores = skeleton.values.to_numpy(zero_copy_only=False)[2::3]
                    if not scores.any():
                        empty.append(clip_id.as_py())
    return empty, count


def draw_skeleton(
    frame: npt.NDArray[np.uint8], people: npt.NDArray[np.float32], min_score: float = 0.3
) -> npt.NDArray[np.uint8]:
    """Draw skeletons over a copy of a frame: the person's left in red, right in blue.

    Args:
        frame: uint8 [H, W, 3], RGB.
        people: float32 [M, 17, 3].
        min_score: joints below it, and bones that end in one, are left out.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        ValueError: not one frame, or not skeletons of 17 joints.
    """
    import cv2

    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] != 3:
        raise ValueError(f"frame must be uint8 [H, W, 3], got {frame.dtype} {list(frame.shape)}")
    if people.ndim != 3 or people.shape[1:] != (JOINT_COUNT, 3):
        raise ValueError(f"people must be [M, {JOINT_COUNT}, 3], got {list(people.shape)}")
    picture = np.ascontiguousarray(frame).copy()
    # Drawn in 1/16 pixel; about 1 pixel of line to 150 of picture.
    shift, thickness = 4, max(1, round(min(frame.shape[:2]) / 150))
    for joints in people:
        shown = np.isfinite(joints[:, :2]).all(axis=1) & (joints[:, 2] >= min_score)
        limit = 16 * max(frame.shape[:2])
        place = np.clip(np.nan_to_num(joints[:, :2]), -limit, limit)
        points = [(round(float(x) * 16), round(float(y) * 16)) for x, y in place]
        for a, b in BONES:
            if shown[a] and shown[b]:
                colour = _colour(a) if _colour(a) == _colour(b) else MIDDLE_COLOUR
                cv2.line(picture, points[a], points[b], colour, thickness, cv2.LINE_AA, shift)
        for joint in np.flatnonzero(shown):
            radius = (thickness + 1) * 16
            cv2.circle(picture, points[joint], radius, _colour(int(joint)), -1, cv2.LINE_AA, shift)
    return picture


def _colour(joint: int) -> tuple[int, int, int]:
    if joint == 0:
        return MIDDLE_COLOUR
    return LEFT_COLOUR if joint % 2 else RIGHT_COLOUR
