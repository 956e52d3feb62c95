"""A person detector in ONNX, as OpenMMLab publishes them beside RTMPose (RTMDet, YOLOX).

Such a model answers with boxes in pixels of its input after suppression ("dets" [1, N, 5]: x0, y0,
x1, y1, score; "labels" [1, N], of which 0 is a person), as mmdeploy exports it.
"""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from musclemap_data.errors import UserError
from musclemap_data.pose.follow import (
    Detection,
    FollowSettings,
    Roi,
    find_shots,
    main_person,
    separation,
)
from musclemap_data.pose.onnx_model import load_session
from musclemap_data.pose.weights import is_archive, model_in, read_weights, sha256_of

Frame = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

VERSION = "2"  # of this runner: raise it when the numbers it gives change
SCORE_LIMIT = 0.3  # mmpose's demo, --bbox-thr
PAD_GREY = 114  # of RTMDet and YOLOX
LOOKS = 32  # frames of a shot in which the exerciser is chosen


@dataclass(frozen=True)
class Normalisation:
    """How the input is scaled: (pixel - mean) / std, channels as RGB or BGR."""

    mean: tuple[float, ...] = (103.53, 116.28, 123.675)  # RTMDet's, which reads BGR
    std: tuple[float, ...] = (57.375, 57.12, 58.395)
    rgb: bool = False


@dataclass(frozen=True)
class BoxedPerson(Detection):
    """A person found, with the box (x0, y0, x1, y1 px) besides the region."""

    box: tuple[float, float, float, float]


def read_normalisation(data: bytes, source: str | Path) -> Normalisation:
    """How a detector wants its input, from the ``pipeline.json`` in its official archive.

    A pipeline without a Normalize step (YOLOX) takes plain pixels. A bare .onnx file says nothing:
    RTMDet's values are taken.

    Raises:
        UserError: the pipeline cannot be understood.
    """
    if not is_archive(data):
        return Normalisation()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [name for name in archive.namelist() if Path(name).name == "pipeline.json"]
        text = archive.read(names[0]) if len(names) == 1 else None
    if text is None:
        return Normalisation()
    try:
        tasks = json.loads(text)["pipeline"]["tasks"]
        steps = [step for task in tasks for step in task.get("transforms", ())]
        found = [step for step in steps if step["type"] == "Normalize"]
        if not found:
            return Normalisation((0, 0, 0), (1, 1, 1))
        mean, std = (tuple(float(v) for v in found[0][name]) for name in ("mean", "std"))
        if len(mean) != 3 or len(std) != 3 or 0 in std:
            raise ValueError(f"mean {mean}, std {std}")
        return Normalisation(mean, std, bool(found[0]["to_rgb"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"pipeline.json in {source} is not what mmdeploy writes: {error}") from None


class PersonDetector:
    """Finds the exercising person's box in every frame of a clip.

    Args:
        weights: path or http(s) URL of the .onnx file, or of a zip archive with one.
        sha256: of that file; needed for a URL.
        device: "cpu" or "cuda"; None for the GPU where ONNX Runtime has one.

    Raises:
        UserError: onnxruntime is not installed; the weights cannot be had or are another model.
    """

    def __init__(
        self, weights: str | Path, sha256: str | None = None, device: str | None = None
    ) -> None:
        data = read_weights(weights, sha256)
        model = model_in(data, weights)
        self.weights_sha256 = sha256_of(model)
        self.normalisation = read_normalisation(data, weights)
        self._session = load_session(model, weights, device)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shapes = [list(item.shape) for item in (*inputs, *outputs)]
        good = len(inputs) == 1 and len(shapes[0]) == 4 and len(outputs) in (1, 2)
        good = good and all(isinstance(side, int) for side in shapes[0][2:])
        good = good and len(shapes[1]) == 3 and shapes[1][2] in (5, None)
        if not good:
            raise UserError(
                f"{weights} is not a person detector as mmdeploy exports it: wanted one input "
                "[1, 3, height, width] of fixed size and the outputs dets [1, N, 5] and labels "
                f"[1, N], got shapes {shapes}"
            )
        self._input = inputs[0].name
        self.height, self.width = shapes[0][2:]

    def __call__(self, frames: Frame) -> Floats:
        """Boxes float32 [T, 4] of one person (x0, y0, x1, y1 px), NaN where they are not seen.

        Args:
            frames: uint8 [T, H, W, 3], RGB.
        """
        people = [self.people(frame) for frame in frames]
        shots = find_shots(frames, FollowSettings().cut_correlation) if len(frames) else []
        boxes = [follow_boxes(people[start:stop]) for start, stop in shots]
        return np.concatenate(boxes) if boxes else np.empty((0, 4), np.float32)

    def people(self, frame: Frame) -> list[BoxedPerson]:
        """Everybody in a frame, uint8 [H, W, 3] RGB."""
        import cv2

        scale = min(self.height / frame.shape[0], self.width / frame.shape[1])
        height, width = (max(1, int(side * scale + 0.5)) for side in frame.shape[:2])
        image = np.full((self.height, self.width, 3), PAD_GREY, np.float32)
        image[:height, :width] = cv2.resize(frame, (width, height))
        if not self.normalisation.rgb:
            image = image[..., ::-1]
        mean, std = (
            np.array(v, np.float32) for v in (self.normalisation.mean, self.normalisation.std)
        )
        tensor = np.ascontiguousarray(((image - mean) / std).transpose(2, 0, 1)[None])
        found, *labels = (answer[0] for answer in self._session.run(None, {self._input: tensor}))
        kept = found[:, 4] >= SCORE_LIMIT
        if labels:
            kept &= labels[0] == 0
        people = []
        for x0, y0, x1, y1, score in found[kept].astype(np.float64):
            # Two factors, because the scaled picture has whole pixels.
            left, right = (float(x * frame.shape[1] / width) for x in (x0, x1))
            top, bottom = (float(y * frame.shape[0] / height) for y in (y0, y1))
            side = max(right - left, bottom - top)
            if side >= 1:
                roi = Roi((left + right) / 2, (top + bottom) / 2, side, 0)
                people.append(BoxedPerson(float(score), roi, (left, top, right, bottom)))
        return sorted(people, key=lambda person: -person.score)

    def provenance(self) -> Mapping[str, object]:
        """What found the person, as JSON values."""
        return {
            "detector": "onnx",
            "version": VERSION,
            "weights_sha256": self.weights_sha256,
            "normalisation": asdict(self.normalisation),
            "score_limit": SCORE_LIMIT,
        }


def follow_boxes(people: Sequence[Sequence[BoxedPerson]]) -> Floats:
    """Choose the exerciser of one shot (see ``follow.main_person``) and follow their box both ways.

    Args:
        people: who was found in each of T frames.

    Returns:
        float32 [T, 4]; NaN where nobody near enough to the last box was found.
    """
    boxes = np.full((len(people), 4), np.nan, np.float32)
    sampled = list(range(0, len(people), max(1, len(people) // LOOKS)))
    chosen = main_person([people[index] for index in sampled])
    if chosen is None:
        return boxes
    seed, settings = sampled[chosen[0]], FollowSettings()
    for order in (range(seed, len(people)), range(seed - 1, -1, -1)):
        last, lost_frames = chosen[1].roi, 0
        for index in order:
            reach = settings.reach + settings.reach_growth * lost_frames
            near = min(people[index], key=lambda p: separation(p.roi, last), default=None)
            if near is None or separation(near.roi, last) > reach:
                lost_frames += 1
            else:
                boxes[index], last, lost_frames = near.box, near.roi, 0
    return boxes
