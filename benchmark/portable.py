"""A trained model as ONNX, with its preprocessing inside: frames in, probabilities out.

The file takes one view: the frames that :mod:`benchmark.sampling` chooses, as they are stored, and
gives the probability of each region. Cropping, resizing, normalisation and the sigmoid are part of
the graph. A clip's score is the mean over its views.

The size of the frames is fixed in the file, because the crop and the antialiased resizing are two
matrices that follow from it. Skeletons come in as :func:`benchmark.data.normalise_skeleton` gives
them: it looks at the whole clip, not at one view. PyTorch's older exporter is used: the new one
needs one more package and gives nothing more here.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.augment import Geometry, centre_geometry, crop_box
from benchmark.predict.runs import TrainedRun
from benchmark.settings import Settings
from musclemap_data.catalog import load_muscles
from musclemap_data.errors import UserError
from musclemap_data.files import replacing, write_text
from musclemap_data.modalities import pictures
from musclemap_data.skeleton import JOINT_COUNT

OPSET = 18
TOLERANCE = 1e-4
"""Largest difference in a probability between the file and PyTorch."""


@dataclass(frozen=True)
class Exported:
    """What :func:`export_model` wrote.

    Attributes:
        path: the ONNX file; beside it lies a JSON file that says what goes in and comes out.
        difference: largest difference in a probability to PyTorch on a random input; None where
            onnxruntime is not installed.
    """

    path: Path
    difference: float | None


def resize_matrix(length: int, start: int, count: int, size: int) -> Tensor:
    """Crop and antialiased resizing along one axis, as a matrix ``float32 [size, length]``.

    Args:
        length: pixels of the frame along the axis.
        start, count: the cropped pixels.
        size: pixels that they become.
    """
    identity = torch.eye(count)[None, None]
    resized = F.interpolate(identity, (size, count), mode="bilinear", antialias=True)[0, 0]
    matrix = torch.zeros(size, length)
    matrix[:, start : start + count] = resized
    return matrix


class Portable(nn.Module):
    """A model with its preprocessing: one view in, 20 probabilities out.

    Args:
        model: the trained model.
        modalities: what it reads, in the order of the inputs.
        settings: of its run.
        height, width: pixels of the frames.
    """

    rows: Tensor
    columns: Tensor

    def __init__(
        self,
        model: nn.Module,
        modalities: tuple[str, ...],
        settings: Settings,
        height: int,
        width: int,
    ) -> None:
        super().__init__()
        self.model = model
        self.names = modalities
        self.normalise = settings.normalise
        geometry: Geometry = centre_geometry(height, width, settings)
        box = crop_box(geometry, height, width)
        size = settings.crop_size
        self.register_buffer("rows", resize_matrix(height, box.top, box.height, size))
        self.register_buffer("columns", resize_matrix(width, box.left, box.width, size))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Pictures ``uint8 [T, H, W, 3]``, a skeleton ``float32 [M, T, 17, 3]`` -> ``[20]``."""
        batch = {}
        for name, value in zip(self.names, inputs, strict=True):
            if name == "skeleton":
                batch[name] = value[None]
                continue
            content = pictures()[name]
            frames = value.permute(3, 0, 1, 2).float()  # [3, T, H, W]
            resized = self.rows @ frames @ self.columns.T
            resized = resized.round().clamp(0, 255)
            scale, shift = content.scale, content.shift
            if not self.normalise:
                scale, shift = 1 / 255, 0.0
            batch[name] = (resized * scale + shift)[None]
        probabilities: Tensor = self.model(batch)[0].sigmoid()
        return probabilities


def example_inputs(
    modalities: tuple[str, ...], settings: Settings, height: int, width: int
) -> dict[str, Tensor]:
    """Random inputs of the right shapes, the same each time."""
    random = torch.Generator().manual_seed(0)
    found: dict[str, Tensor] = {}
    for name in modalities:
        if name == "skeleton":
            shape = (settings.people, settings.frames, JOINT_COUNT, 3)
            found[name] = torch.rand(shape, generator=random)
        else:
            shape = (settings.frames, height, width, 3)
            found[name] = torch.randint(0, 256, shape, generator=random, dtype=torch.uint8)
    return found


def export_model(run: TrainedRun, out: Path, *, height: int, width: int) -> Exported:
    """Write a finished run's model as ONNX, and check it against PyTorch where possible.

    Args:
        run: see :func:`benchmark.predict.runs.load_run`.
        out: the ``.onnx`` file; ``.json`` of the same name says what goes in and comes out.
        height, width: pixels of the frames that go in.

    Raises:
        UserError: the model reads flow, onnx is missing, the frames are too small, or the file
            gives other probabilities than PyTorch.
    """
    out = Path(out)
    modalities = run.record.modalities
    if out.suffix != ".onnx":
        raise UserError(f"{out} does not end in .onnx")
    if "flow" in modalities:
        raise UserError("a model that reads flow cannot be exported: flow is not read from frames")
    if min(height, width) < 16:
        raise UserError(f"frames of {height} x {width} pixels are too small; give at least 16")
    model = run.model.to("cpu").eval()
    portable = Portable(model, modalities, run.settings, height, width).eval()
    inputs = example_inputs(modalities, run.settings, height, width)
    with torch.inference_mode():
        expected = portable(*inputs.values()).numpy()
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as temporary:
        _to_onnx(portable, inputs, temporary)
        difference = _difference(temporary, inputs, expected)
        if difference is not None and difference > TOLERANCE:
            raise UserError(
                f"the exported model differs from PyTorch's by {difference:.2g} in a probability; "
                "nothing was written"
            )
    write_text(out.with_suffix(".json"), json.dumps(_describe(run, inputs), indent=2) + "\n")
    return Exported(out, difference)


def _to_onnx(portable: Portable, inputs: Mapping[str, Tensor], path: Path) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter: that it is the older one
            torch.onnx.export(
                portable,
                tuple(inputs.values()),
                str(path),
                input_names=list(inputs),
                output_names=["probabilities"],
                opset_version=OPSET,
                dynamo=False,
            )
    except ImportError as error:
        raise UserError(f'{error}. Install it: pip install "musclemap[onnx]"') from error


def _difference(
    path: Path, inputs: Mapping[str, Tensor], expected: npt.NDArray[np.float32]
) -> float | None:
    try:
        import onnxruntime
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    return float(np.abs(found - expected).max())


def _describe(run: TrainedRun, inputs: Mapping[str, Tensor]) -> dict[str, object]:
    settings = run.settings
    what = {
        "skeleton": "joints of COCO-17, people x frames x joints x (x, y, score), as "
        "benchmark.data.normalise_skeleton gives them; zeros where nobody was found",
    }
    return {
        "run": run.record.run,
        "model": run.record.model,
        "inputs": {
            name: {
                "shape": list(value.shape),
                "dtype": str(value.dtype).removeprefix("torch."),
                "what": what.get(name, "frames x height x width x RGB, as stored"),
            }
            for name, value in inputs.items()
        },
        "outputs": {"probabilities": [muscle.slug for muscle in load_muscles()]},
        "threshold": run.threshold,
        "view": {"frames": settings.frames, "every": settings.rate},
        "note": "one view; a clip's score is the mean over its views (benchmark.sampling)",
    }
