"""BlazePose, the embedded default: its two TensorFlow Lite networks without the mediapipe package.

A detector finds people and how they lie in the frame; a landmark network gives 33 joints in a
region turned upright. The steps follow Bazarevsky et al., "BlazePose: on-device real-time body pose
tracking" (2020) and mediapipe's graphs pose_detection_cpu, pose_detection_to_roi,
pose_landmark_by_roi_cpu and pose_landmarks_to_roi, whose calculators are named beside the formulas.
How a person is followed through a clip is our own: see ``musclemap_data.pose.follow``.
"""

import contextlib
import math
import os
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from musclemap_data.pose.estimator import Estimate, check_frames
from musclemap_data.pose.follow import Detection, FollowSettings, Frame, Pose, Roi, follow_person
from musclemap_data.pose.mend import mend_skeleton
from musclemap_data.pose.smoothing import SmoothingSettings
from musclemap_data.pose.weights import MEDIAPIPE, blazepose_files, sha256_of
from musclemap_data.skeleton import JOINT_COUNT

Floats = npt.NDArray[np.float32]
Network = Callable[[Floats], dict[str, Floats]]

VERSION = "4"  # of this runner: raise it when the numbers it gives change
DETECTOR_SIZE = 224
LANDMARK_SIZE = 256
HEATMAP_SIZE = 64
LANDMARK_COUNT = 39  # 33 joints, then six that steer the region of the next frame
CENTRE, BODY_END = 33, 34  # middle of the hips; a point on the circle around the whole body

# Which of BlazePose's 33 joints are COCO's 17 (BlazePose paper, Fig. 3).
COCO_FROM_BLAZEPOSE = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
_USED = np.array([*COCO_FROM_BLAZEPOSE, CENTRE, BODY_END])

MINIMUM_OVERLAP = 0.3  # NonMaxSuppressionCalculator.min_suppression_threshold
REFINE_RADIUS = 3  # RefineLandmarksFromHeatmapCalculator.kernel_size = 7
REFINE_CONFIDENCE = 0.5  # its min_confidence_to_refine
REGION_SCALE = 1.25  # RectTransformationCalculator.scale_x, scale_y


def sigmoid(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Logistic function of an array of any shape; clipped where float32 would overflow."""
    probability: npt.NDArray[Any] = 1 / (1 + np.exp(-np.clip(x, -80, 80)))
    return probability


def anchor_centres() -> Floats:
    """Centres of the detector's anchors in units of the input's side, float32 [2254, 2].

    SsdAnchorsCalculator with strides 8, 16, 32, 32, 32, anchor offset 0.5, fixed anchor size and
    two anchors a cell and layer: the three layers of stride 32 share a grid, which has six a cell.
    """
    layers = []
    for stride, anchors_per_cell in ((8, 2), (16, 2), (32, 6)):
        cells = DETECTOR_SIZE // stride
        y, x = np.mgrid[:cells, :cells]
        centres = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) / cells
        layers.append(np.repeat(centres, anchors_per_cell, axis=0))
    return np.concatenate(layers).astype(np.float32)


def region_from_points(centre: npt.NDArray[Any], end: npt.NDArray[Any]) -> Roi:
    """The square around a body, given its hip centre and a point on the circle around it ([2], px).

    AlignmentPointsRectsCalculator (the direction from centre to end is to point up, target angle
    90 degrees, and the box is twice their distance), then RectTransformationCalculator.
    """
    dx, dy = float(end[0] - centre[0]), float(end[1] - centre[1])
    return Roi(
        x=float(centre[0]),
        y=float(centre[1]),
        size=2 * REGION_SCALE * math.hypot(dx, dy),
        angle=math.atan2(dx, -dy),
    )


def crop(frame: Frame, roi: Roi, size: int) -> Frame:
    """Cut a region out of a frame, turned upright and scaled to size x size; black outside."""
    import cv2

    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cut: Frame = cv2.warpAffine(frame, roi.to_image(size), (size, size), flags=flags)  # type: ignore[assignment]
    return cut


def transform(matrix: npt.NDArray[np.float64], points: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Apply an affine matrix [2, 3] to points [..., 2]."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def whole_frame(height: int, width: int, quarter_turns: int) -> Roi:
    """The square around a whole frame (the detector's letterbox), turned by quarter turns."""
    return Roi(width / 2, height / 2, float(max(height, width)), quarter_turns * math.pi / 2)


def weighted_suppression(boxes: Floats, scores: Floats) -> Iterator[npt.NDArray[np.intp]]:
    """Group boxes that mean the same person: NonMaxSuppressionCalculator, algorithm WEIGHTED.

    Args:
        boxes: [N, 4] as x0, y0, x1, y1.
        scores: [N].

    Yields:
        Indices of one person's boxes, the best first; persons by falling score.
    """
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    left = np.argsort(-scores, kind="stable")
    while len(left):
        best = left[0]
        corner = np.maximum(boxes[best, :2], boxes[left, :2])
        opposite = np.minimum(boxes[best, 2:], boxes[left, 2:])
        common = np.prod(np.clip(opposite - corner, 0, None), axis=1)
        overlap = common / np.maximum(area[best] + area[left] - common, 1e-9)
        same = (overlap > MINIMUM_OVERLAP) | (left == best)
        yield left[same]
        left = left[~same]


def refine(
    points: npt.NDArray[np.float64], heatmaps: Floats, which: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Move joints to the weighted mean of their heatmap around them.

    RefineLandmarksFromHeatmapCalculator: a joint whose 7 x 7 window of the heatmap reaches the
    confidence goes to the window's centre of mass, others stay.

    Args:
        points: [J, 2] in heatmap cells.
        heatmaps: float32 [64, 64, L], before the sigmoid, of all landmarks.
        which: [J], the landmark that each joint is.

    Returns:
        The joints [J, 2] in heatmap cells; and how high the heatmap rises around each, [J] in
        [0, 1].
    """
    cell = np.floor(points).astype(np.int64)
    inside = ((cell >= 0) & (cell < HEATMAP_SIZE)).all(axis=1)
    column, row = np.clip(cell, 0, HEATMAP_SIZE - 1).T
    reach = np.arange(-REFINE_RADIUS, REFINE_RADIUS + 1)
    rows, columns = row[:, None, None] + reach[:, None], column[:, None, None] + reach
    # Only the windows are read: copies of all heatmaps would take as long as the rest together.
    window = sigmoid(
        heatmaps[
            np.clip(rows, 0, HEATMAP_SIZE - 1),
            np.clip(columns, 0, HEATMAP_SIZE - 1),
            which[:, None, None],
        ]
    )
    window[np.broadcast_to((rows < 0) | (rows >= HEATMAP_SIZE), window.shape)] = 0
    window[np.broadcast_to((columns < 0) | (columns >= HEATMAP_SIZE), window.shape)] = 0
    peak = window.max(axis=(1, 2))
    trusted = inside & (peak >= REFINE_CONFIDENCE)
    total = np.maximum(window.sum(axis=(1, 2)), 1e-9)
    x = (window.sum(axis=1) * columns[:, 0]).sum(axis=1) / total
    y = (window.sum(axis=2) * rows[:, :, 0]).sum(axis=1) / total
    return np.where(trusted[:, None], np.stack([x, y], axis=1), points), peak


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """LiteRT greets on the C level's stderr with no switch against it: close its mouth briefly."""
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, ValueError, AttributeError):  # no stderr at all (a service, a notebook)
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def without_rest(content: bytes, outputs: Collection[str]) -> bytes:
    """A TensorFlow Lite model without what only its other outputs need; these stay bit for bit.

    A third of the landmark network's time goes into an outline of the person, which nobody reads.

    Args:
        content: the model file.
        outputs: names of the outputs that stay.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    (graph,) = model.subgraphs
    graph.outputs = [i for i in graph.outputs if graph.tensors[i].name.decode() in outputs]
    needed, operators = set(graph.outputs), []
    for operator in reversed(graph.operators):  # they stand in the order of their work
        if needed.intersection(operator.outputs):
            needed.update(operator.inputs)
            operators.append(operator)
    graph.operators = operators[::-1]
    model.signatureDefs = None  # they name outputs that are gone
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def load_network(content: bytes, outputs: dict[str, str]) -> Network:
    """A TensorFlow Lite model as a function from its input to its named outputs.

    Args:
        content: the model file.
        outputs: name in the model -> name in the answer; others are not computed.
    """
    from ai_edge_litert.interpreter import Interpreter

    content = without_rest(content, outputs)
    # One thread: two processes of one thread are faster than one of two, and results do not vary.
    with _quiet_stderr():
        interpreter = Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]["index"]
    found = {detail["name"]: detail["index"] for detail in interpreter.get_output_details()}
    wanted = {ours: found[theirs] for theirs, ours in outputs.items()}

    def run(image: Floats) -> dict[str, Floats]:
        interpreter.set_tensor(entry, image)
        interpreter.invoke()
        return {name: interpreter.get_tensor(index)[0] for name, index in wanted.items()}

    return run


class BlazePose:
    """The BlazePose backend: follows one person through a clip, M = 1.

    Args:
        min_detection_score: people the detector is less sure of are not seen.
        follow: how the person is chosen and followed.
        smoothing: of the joints over time; None for the raw estimates.
        files: the two networks; fetched by ``blazepose_files`` when not given.

    Raises:
        UserError: the weights are not there and cannot be fetched.
    """

    def __init__(
        self,
        *,
        min_detection_score: float = 0.5,
        follow: FollowSettings = FollowSettings(),
        smoothing: SmoothingSettings | None = SmoothingSettings(),
        files: tuple[Path, Path] | None = None,
    ) -> None:
        if not 0 < min_detection_score < 1:
            raise ValueError(f"min_detection_score must lie in (0, 1), got {min_detection_score}")
        self.min_detection_score = min_detection_score
        self.follow = follow
        self.smoothing = smoothing
        detector, landmark = (path.read_bytes() for path in files or blazepose_files())
        self.weights_sha256 = {"detector": sha256_of(detector), "landmark": sha256_of(landmark)}
        self._detector = load_network(detector, {"Identity": "boxes", "Identity_1": "scores"})
        self._landmark = load_network(
            landmark, {"Identity": "landmarks", "Identity_1": "presence", "Identity_3": "heatmaps"}
        )
        self._anchors = anchor_centres()
        self._lock = threading.Lock()  # an interpreter serves one caller at a time

    def __call__(self, frames: Frame) -> Floats:
        """The skeleton of a clip: see ``musclemap_data.pose.PoseEstimator``."""
        return self.estimate(frames).skeleton

    def estimate(self, frames: Frame) -> Estimate:
        """The skeleton of a clip: see ``musclemap_data.pose.PoseEstimator``."""
        check_frames(frames)
        with self._lock:
            followed = follow_person(self, frames, self.follow)
        skeleton = np.full((len(frames), JOINT_COUNT, 3), np.nan, np.float32)
        skeleton[..., 2] = 0
        for index, pose in enumerate(followed.poses):
            if pose is not None:
                skeleton[index] = pose.joints
        size = (frames.shape[1], frames.shape[2])
        mended = mend_skeleton(skeleton, followed.shots, size, self.smoothing)
        return Estimate(mended.joints[:, None], followed.people, mended.contradicted)

    def provenance(self) -> Mapping[str, object]:
        """See ``musclemap_data.pose.PoseEstimator``."""
        return {
            "extractor": "blazepose-full",
            "version": VERSION,
            "weights": MEDIAPIPE,
            "weights_sha256": self.weights_sha256,
            "settings": {
                "min_detection_score": self.min_detection_score,
                "follow": asdict(self.follow),
                "smoothing": None if self.smoothing is None else asdict(self.smoothing),
            },
        }

    def detect(self, frame: Frame, quarter_turns: int) -> list[Detection]:
        """People in a frame, best first (pose_detection_cpu and pose_detection_to_roi).

        Args:
            frame: uint8 [H, W, 3].
            quarter_turns: how the frame is turned first: 1 makes a head that points right point up.
        """
        to_image, _, points, groups = self._look(frame, quarter_turns, self.min_detection_score)
        people = []
        for group, scores in groups:
            mean = np.average(points[group], axis=0, weights=scores)
            hips, end = transform(to_image, mean[:2] * DETECTOR_SIZE)
            people.append(Detection(float(scores[0]), region_from_points(hips, end)))
        return people

    def heads(
        self, frame: Frame, quarter_turns: int, least_score: float
    ) -> list[npt.NDArray[np.float64]]:
        """Where everybody's head is, best first: [3, 2] of each, head, mid shoulders, mid hips.

        The detector's box lies around head and shoulders, its centre midway between them: seen on
        real clips, where it agrees with the landmark network within a tenth of the trunk.

        Args:
            frame: uint8 [H, W, 3].
            quarter_turns: see ``detect``.
            least_score: of people, in (0, 1).
        """
        with self._lock:
            to_image, boxes, points, groups = self._look(frame, quarter_turns, least_score)
        heads = []
        for group, scores in groups:
            box = np.average(boxes[group], axis=0, weights=scores)
            hips, _, shoulders, _ = np.average(points[group], axis=0, weights=scores)
            head = box[:2] + box[2:] - shoulders
            found = np.stack([head, shoulders, hips]) * DETECTOR_SIZE
            heads.append(transform(to_image, found.astype(np.float64)))
        return heads

    def _look(
        self, frame: Frame, quarter_turns: int, least_score: float
    ) -> tuple[npt.NDArray[np.float64], Floats, Floats, list[tuple[npt.NDArray[np.intp], Floats]]]:
        """What the detector finds in a frame.

        Returns:
            The matrix from pixels of its input to the frame's; boxes [N, 4] and points [N, 4, 2]
            (mid hips, end of the circle around the body, mid shoulders, end of the circle around
            the upper body) in units of its input's side; of each person the rows that mean them,
            and their scores, the best first.
        """
        view = whole_frame(frame.shape[0], frame.shape[1], quarter_turns)
        image: Floats = crop(frame, view, DETECTOR_SIZE).astype(np.float32) / 127.5 - 1
        answer = self._detector(image[None])
        scores = sigmoid(answer["scores"][:, 0])  # TensorsToDetectionsCalculator
        kept = np.flatnonzero(scores >= least_score)
        scores, anchors = scores[kept], self._anchors[kept]
        # x, y, width, height, then four points as x, y: offsets from the anchor in pixels.
        values = answer["boxes"][kept].reshape(-1, 6, 2) / DETECTOR_SIZE
        centre, half = values[:, 0] + anchors, values[:, 1] / 2
        boxes: Floats = np.concatenate([centre - half, centre + half], axis=1)
        points = (values[:, 2:] + anchors[:, None]).astype(np.float32)
        groups = [(group, scores[group]) for group in weighted_suppression(boxes, scores)]
        return view.to_image(DETECTOR_SIZE), boxes, points, groups

    def measure(self, frame: Frame, roi: Roi) -> Pose:
        """Joints of the person in a region (pose_landmark_by_roi_cpu, pose_landmarks_to_roi)."""
        image: Floats = crop(frame, roi, LANDMARK_SIZE).astype(np.float32) / np.float32(255)
        answer = self._landmark(image[None])
        # x, y, z in pixels of the crop, visibility, presence; visibility is what COCO calls seen.
        landmarks = answer["landmarks"].reshape(LANDMARK_COUNT, 5)[_USED]
        cell = LANDMARK_SIZE / HEATMAP_SIZE
        in_crop, peaks = refine(
            landmarks[:, :2].astype(np.float64) / cell, answer["heatmaps"], _USED
        )
        points = transform(roi.to_image(LANDMARK_SIZE), in_crop * cell)
        # Visibility alone is high also where the network has no place for a joint.
        score = np.minimum(sigmoid(landmarks[:, 3]), peaks)
        joints = np.concatenate([points, score[:, None]], axis=1)[:JOINT_COUNT]
        return Pose(
            joints=joints.astype(np.float32),
            presence=float(answer["presence"].ravel()[0]),
            next_roi=region_from_points(points[-2], points[-1]),
        )
