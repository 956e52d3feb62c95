"""RTMPose through its official ONNX models (Jiang et al., "RTMPose", 2023; Apache-2.0).

Top-down: a person's box is cut out, the network answers with one histogram over x and one over y
for each joint (SimCC: Li et al., ECCV 2022), and the joint is where they peak. Pre- and
post-processing follow mmpose's TopdownAffine, GetBBoxCenterScale and get_simcc_maximum.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from musclemap_data.errors import UserError
from musclemap_data.pose import check_frames
from musclemap_data.pose.coco import JOINT_COUNT
from musclemap_data.pose.follow import FollowSettings, find_shots
from musclemap_data.pose.smoothing import SmoothingSettings, smooth_skeleton
from musclemap_data.pose.weights import read_weights, sha256_of

Frame = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
# frames uint8 [T, H, W, 3] -> float32 [T, 4] as x0, y0, x1, y1 in pixels; NaN where nobody is.
BoxFinder = Callable[[Frame], Floats]

VERSION = "1"  # of this runner: raise it when the numbers it gives change
PADDING = 1.25  # mmpose GetBBoxCenterScale
MEAN = np.array([123.675, 116.28, 103.53], np.float32)  # of RGB, mmpose PoseDataPreprocessor
STD = np.array([58.395, 57.12, 57.375], np.float32)


def frame_boxes(frames: Frame) -> Floats:
    """The whole frame as everybody's box: right when the person fills the picture."""
    height, width = frames.shape[1:3]
    return np.tile(np.array([0, 0, width, height], np.float32), (len(frames), 1))


def blazepose_boxes(frames: Frame) -> Floats:
    """Boxes around the person that BlazePose follows, a tenth wider than their joints."""
    from musclemap_data.modalities.skeleton import estimator

    joints = estimator("blazepose")(frames)[:, 0, :, :2]
    low, high = joints.min(axis=1), joints.max(axis=1)
    margin = 0.1 * (high - low).max(axis=1, keepdims=True)
    return np.concatenate([low - margin, high + margin], axis=1).astype(np.float32)


BOX_FINDERS: dict[str, BoxFinder] = {"frame": frame_boxes, "blazepose": blazepose_boxes}


def padded_box(box: Floats, aspect: float) -> tuple[npt.NDArray[np.float64], float, float]:
    """Centre, width and height of a box, padded and widened to width / height = `aspect`."""
    x0, y0, x1, y1 = (float(v) for v in box)
    width, height = (x1 - x0) * PADDING, (y1 - y0) * PADDING
    if width > height * aspect:
        height = width / aspect
    else:
        width = height * aspect
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2]), width, height


class RTMPose:
    """The RTMPose backend: one person, M = 1.

    Args:
        weights: path or http(s) URL of an ONNX model with SimCC outputs for COCO-17, or of a zip
            archive with one (as the official ones come in).
        sha256: of that file; needed for a URL.
        boxes: where the person is: "frame" (the whole frame), "blazepose" (around the person whom
            BlazePose follows), or a function of the frames.
        smoothing: of the joints over time; None for the raw estimates.
        providers: of ONNX Runtime, in order of preference.

    Raises:
        UserError: onnxruntime is not installed; the weights cannot be had or are another model.
        ValueError: unknown `boxes`.
    """

    def __init__(
        self,
        *,
        weights: str | Path,
        sha256: str | None = None,
        boxes: str | BoxFinder = "frame",
        smoothing: SmoothingSettings | None = SmoothingSettings(),
        providers: tuple[str, ...] = ("CPUExecutionProvider",),
    ) -> None:
        if isinstance(boxes, str) and boxes not in BOX_FINDERS:
            raise ValueError(f"unknown boxes {boxes!r}: choose one of {', '.join(BOX_FINDERS)}")
        try:
            import onnxruntime
        except ImportError:
            raise UserError(
                "the pose backend rtmpose needs onnxruntime: pip install 'musclemap[rtmpose]'"
            ) from None
        self.boxes, self.smoothing = boxes, smoothing
        model = read_weights(weights, sha256)
        self.weights_sha256 = sha256_of(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            # From bytes, so that a model cannot name other files of this machine as its data.
            self._session = onnxruntime.InferenceSession(model, options, providers=list(providers))
        except Exception as error:  # ONNX Runtime's own, of many classes
            raise UserError(f"{weights} is not a model ONNX Runtime can load: {error}") from None
        self._input, self.input_width, self.input_height = self._check(weights)

    def _check(self, weights: str | Path) -> tuple[str, int, int]:
        inputs = self._session.get_inputs()
        outputs = self._session.get_outputs()
        shapes = [list(item.shape) for item in (*inputs, *outputs)]
        good = len(inputs) == 1 and len(outputs) == 2
        good = good and len(shapes[0]) == 4 and all(isinstance(n, int) for n in shapes[0][1:])
        good = good and all(len(s) == 3 and s[1] in (JOINT_COUNT, None) for s in shapes[1:])
        if not good:
            raise UserError(
                f"{weights} is not an RTMPose model for COCO-17: wanted one input [N, 3, H, W] and "
                f"two outputs [N, {JOINT_COUNT}, bins], got shapes {shapes}"
            )
        return inputs[0].name, shapes[0][3], shapes[0][2]

    def __call__(self, frames: Frame) -> Floats:
        """The skeleton of a clip: see `musclemap_data.pose.PoseEstimator`."""
        check_frames(frames)
        find = BOX_FINDERS[self.boxes] if isinstance(self.boxes, str) else self.boxes
        skeleton = np.full((len(frames), JOINT_COUNT, 3), np.nan, np.float32)
        skeleton[..., 2] = 0
        boxes = find(frames) if len(frames) else np.empty((0, 4), np.float32)
        if boxes.shape != (len(frames), 4):
            raise ValueError(f"boxes must be [{len(frames)}, 4], got {list(boxes.shape)}")
        for index, box in enumerate(boxes):
            if np.isfinite(box).all() and (box[2:] - box[:2] >= 1).all():
                skeleton[index] = self.measure(frames[index], box)
        if self.smoothing is not None:
            shots = find_shots(frames, FollowSettings().cut_contrast) if len(frames) else []
            skeleton = smooth_skeleton(skeleton, self.smoothing, shots)
        return skeleton[:, None]

    def measure(self, frame: Frame, box: Floats) -> Floats:
        """Joints of the person in a box.

        Args:
            frame: uint8 [H, W, 3], RGB.
            box: x0, y0, x1, y1 in pixels.

        Returns:
            float32 [17, 3]: x, y in pixels, score in [0, 1].
        """
        import cv2

        size = np.array([self.input_width, self.input_height])
        centre, width, height = padded_box(box, self.input_width / self.input_height)
        corner = centre - [width / 2, height / 2]
        scale = width / self.input_width
        to_frame = np.array([[scale, 0, corner[0]], [0, scale, corner[1]]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        image = cv2.warpAffine(
            frame, to_frame, (self.input_width, self.input_height), flags=flags
        ).astype(np.float32)
        tensor = np.ascontiguousarray(((image - MEAN) / STD).transpose(2, 0, 1)[None])
        across, down = (answer[0] for answer in self._session.run(None, {self._input: tensor}))
        # Bins are finer than pixels (simcc_split_ratio, 2 in all official models).
        bins = np.array([across.shape[1], down.shape[1]])
        place = np.stack([across.argmax(axis=1), down.argmax(axis=1)], axis=1) * (size / bins)
        score = np.clip(np.minimum(across.max(axis=1), down.max(axis=1)), 0, 1)
        points = place / size * [width, height] + corner
        return np.concatenate([points, score[:, None]], axis=1).astype(np.float32)

    def provenance(self) -> dict[str, Any]:
        """See `musclemap_data.pose.PoseEstimator`."""
        boxes = self.boxes if isinstance(self.boxes, str) else self.boxes.__name__
        return {
            "extractor": "rtmpose-onnx",
            "version": VERSION,
            "weights_sha256": self.weights_sha256,
            "settings": {
                "boxes": boxes,
                "input": [self.input_width, self.input_height],
                "smoothing": None if self.smoothing is None else asdict(self.smoothing),
            },
        }
