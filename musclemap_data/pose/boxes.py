"""Top-down pose: a box around the exercising person in every frame, and the joints inside it.

RTMPose and mmpose's models look into a box that somebody else has found. Three find it: BlazePose
(embedded), an ONNX person detector of the user's, or nobody (the whole frame).
"""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from musclemap_data.pose.estimator import Estimate, PoseEstimator, check_frames
from musclemap_data.pose.follow import FollowSettings, find_shots
from musclemap_data.pose.mend import mend_skeleton
from musclemap_data.pose.smoothing import SmoothingSettings
from musclemap_data.skeleton import JOINT_COUNT

Frame = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
# frames uint8 [T, H, W, 3] -> float32 [T, 4] as x0, y0, x1, y1 in pixels; NaN where nobody is.
BoxFinder = Callable[[Frame], Floats]
# frames uint8 [N, H, W, 3], their boxes float32 [N, 4] -> float32 [N, 17, 3]: x, y px, score.
BoxPose = Callable[[Frame, Floats], Floats]

MARGIN = 0.1  # of the longer side, around the joints that BlazePose finds


def frame_boxes(frames: Frame) -> Floats:
    """The whole frame as everybody's box: right when the person fills the picture."""
    height, width = frames.shape[1:3]
    return np.tile(np.array([0, 0, width, height], np.float32), (len(frames), 1))


@functools.lru_cache(maxsize=1)
def _blazepose() -> PoseEstimator:
    from musclemap_data.pose.blazepose import BlazePose

    return BlazePose()


def blazepose_boxes(frames: Frame) -> Floats:
    """Boxes around the person that BlazePose follows, a tenth wider than their joints."""
    joints = _blazepose()(frames)[:, 0, :, :2]
    low, high = joints.min(axis=1), joints.max(axis=1)
    margin = MARGIN * (high - low).max(axis=1, keepdims=True)
    return np.concatenate([low - margin, high + margin], axis=1).astype(np.float32)


def box_finder(
    detector: str | Path, sha256: str | None = None, device: str | None = None
) -> tuple[BoxFinder, Mapping[str, object]]:
    """What finds the person, and its provenance.

    Args:
        detector: "blazepose", "frame", or the path or http(s) URL of an ONNX person detector.
        sha256: of the detector's file; needed for a URL.
        device: "cpu" or "cuda", for an ONNX detector.

    Raises:
        UserError: the detector's weights cannot be had, or are another kind of model.
    """
    if detector == "frame":
        return frame_boxes, {"detector": "frame"}
    if detector == "blazepose":
        made = _blazepose().provenance()
        return blazepose_boxes, {"detector": "blazepose", "margin": MARGIN, "blazepose": made}
    from musclemap_data.pose.detector import PersonDetector

    found = PersonDetector(detector, sha256, device)
    return found, found.provenance()


def skeleton_in_boxes(
    frames: Frame,
    find: BoxFinder,
    measure: BoxPose,
    smoothing: SmoothingSettings | None,
    batch: int,
) -> Estimate:
    """The skeleton of a clip from a model that looks into boxes.

    Args:
        frames: uint8 [T, H, W, 3], RGB.
        find: gives the boxes; a box thinner than a pixel counts as nobody.
        measure: gives the joints of a batch.
        smoothing: of the joints over time, within each shot; None for the raw estimates.
        batch: frames in one call of ``measure``.

    Returns:
        The skeleton, float32 [T, 1, 17, 3], and how far its sides contradict each other.

    Raises:
        ValueError: not uint8 [T, H, W, 3].
    """
    check_frames(frames)
    skeleton = np.full((len(frames), JOINT_COUNT, 3), np.nan, np.float32)
    skeleton[..., 2] = 0
    if not len(frames):
        return Estimate(skeleton[:, None])
    boxes = find(frames)
    with np.errstate(invalid="ignore"):
        there = np.flatnonzero((boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1))
    for start in range(0, len(there), batch):
        some = there[start : start + batch]
        skeleton[some] = measure(frames[some], boxes[some])
    skeleton[..., 2] = np.clip(skeleton[..., 2], 0, 1)
    shots = find_shots(frames, FollowSettings().cut_correlation)
    mended = mend_skeleton(skeleton, shots, (frames.shape[1], frames.shape[2]), smoothing)
    return Estimate(mended.joints[:, None], contradicted=mended.contradicted)
