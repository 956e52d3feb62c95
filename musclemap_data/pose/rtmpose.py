"""RTMPose through its official ONNX models (Jiang et al., "RTMPose", 2023; Apache-2.0).

Top-down: a person's box is cut out, the network answers with one histogram over x and one over y
for each joint (SimCC: Li et al., ECCV 2022), and the joint is where they peak. Pre- and
post-processing follow mmpose's TopdownAffine, GetBBoxCenterScale and get_simcc_maximum.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from musclemap_data.errors import UserError
from musclemap_data.pose.boxes import box_finder, skeleton_in_boxes
from musclemap_data.pose.estimator import Estimate
from musclemap_data.pose.onnx_model import load_session
from musclemap_data.pose.smoothing import SmoothingSettings
from musclemap_data.pose.weights import model_in, read_weights, sha256_of
from musclemap_data.skeleton import JOINT_COUNT

Frame = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

VERSION = "4"  # of this runner: raise it when the numbers it gives change
PADDING = 1.25  # mmpose GetBBoxCenterScale
MEAN = np.array([123.675, 116.28, 103.53], np.float32)  # of RGB, mmpose PoseDataPreprocessor
STD = np.array([58.395, 57.12, 57.375], np.float32)


def padded_box(box: Floats, aspect: float) -> tuple[npt.NDArray[np.float64], float, float]:
    """Centre [2], width and height of a box, padded and widened to width / height = ``aspect``.

    ``box`` is x0, y0, x1, y1 in pixels, [4].
    """
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
        weights_sha256: of that file; needed for a URL.
        detector: what finds the person: see ``boxes.box_finder``.
        detector_sha256: of the detector's file; needed for a URL.
        device: "cpu" or "cuda"; None for the GPU where ONNX Runtime has one.
        smoothing: of the joints over time; None for the raw estimates.

    Raises:
        UserError: onnxruntime is not installed; the weights cannot be had or are another model.
    """

    def __init__(
        self,
        *,
        weights: str | Path,
        weights_sha256: str | None = None,
        detector: str | Path = "blazepose",
        detector_sha256: str | None = None,
        device: str | None = None,
        smoothing: SmoothingSettings | None = SmoothingSettings(),
    ) -> None:
        self.smoothing = smoothing
        model = model_in(read_weights(weights, weights_sha256), weights)
        self.weights_sha256 = sha256_of(model)
        self._session = load_session(model, weights, device)
        self._input, self.input_width, self.input_height = self._check(weights)
        self._find, self._found_by = box_finder(detector, detector_sha256, device)

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
        """The skeleton of a clip: see ``musclemap_data.pose.PoseEstimator``."""
        return self.estimate(frames).skeleton

    def estimate(self, frames: Frame) -> Estimate:
        """The skeleton of a clip: see ``musclemap_data.pose.PoseEstimator``."""
        # One frame a call: official models with a fixed batch have a batch of one.
        return skeleton_in_boxes(
            frames, self._find, lambda f, b: self.measure(f[0], b[0])[None], self.smoothing, batch=1
        )

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

    def provenance(self) -> Mapping[str, object]:
        """See ``musclemap_data.pose.PoseEstimator``."""
        return {
            "extractor": "rtmpose-onnx",
            "version": VERSION,
            "weights_sha256": self.weights_sha256,
            "settings": {
                "boxes": self._found_by,
                "input": [self.input_width, self.input_height],
                "smoothing": None if self.smoothing is None else asdict(self.smoothing),
            },
        }
