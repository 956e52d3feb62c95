"""The optical flow modality: TV-L1 between neighbouring frames, stored as 8-bit images.

A flow field is float32 [..., H, W, 2]: u (right) and v (down) in pixels. On disk it is one gray
image [2H, W] a pair, u over v, quantised over [-bound_px, bound_px]:

    value = round((clip(flow, -bound_px, bound_px) + bound_px) * 255 / (2 bound_px))

Rounding and not truncating halves the error (0.064 against 0.120 px, see docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from musclemap_data.modalities import tvl1
from musclemap_data.modalities.jpeg import encode_jpeg
from musclemap_data.modalities.modality import (
    JPEGS,
    Column,
    Frames,
    Modality,
    Pictures,
)
from musclemap_data.modalities.settings import ExtractionSettings
from musclemap_data.modalities.tvl1.schedule import resolve_schedule

BOUND_PX = ExtractionSettings.flow_bound_px  # flow beyond this is clipped when stored
CLIPPED_SHARE_WARNING = 0.001  # share of clipped values in a clip above which a build warns
EXTRACTOR = "musclemap-tvl1"
VERSION = "2"  # to be raised when a change alters the flow of any schedule
FRAMES_AT_ONCE = 32  # frames whose flow is in memory at the same time


def compute_flow(
    frames_rgb: npt.NDArray[np.uint8], schedule: str | tvl1.Schedule = "default", threads: int = 1
) -> npt.NDArray[np.float32]:
    """TV-L1 flow between neighbouring frames of a clip.

    Frames are turned to gray by Y = 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601, as ``cv2.cvtColor``
    does in fixed point).

    Args:
        frames_rgb: uint8 [T, H, W, 3] RGB.
        schedule: a ``tvl1.Schedule`` or the name of one in ``tvl1.SCHEDULES``.
        threads: pairs solved at the same time; the result does not depend on it.

    Returns:
        float32 [T - 1, H, W, 2], pixels; frame t(x) = frame t+1 (x + flow[t]).

    Raises:
        ValueError: wrong dtype or shape, or unknown schedule.
    """
    return tvl1.flow_clip(gray_frames(frames_rgb), schedule, threads)


def gray_frames(frames_rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """BT.601 luma of uint8 RGB frames [T, H, W, 3] as uint8 [T, H, W].

    Raises:
        ValueError: the frames have another type or shape.
    """
    import cv2

    if frames_rgb.dtype != np.uint8 or frames_rgb.ndim != 4 or frames_rgb.shape[3] != 3:
        raise ValueError(
            "frames_rgb must be uint8 [T, H, W, 3] RGB; "
            f"got {frames_rgb.dtype} {list(frames_rgb.shape)}"
        )
    if frames_rgb.size == 0:
        raise ValueError(f"frames_rgb has an empty side: {list(frames_rgb.shape)}")
    gray = np.empty(frames_rgb.shape[:3], dtype=np.uint8)
    for frame, out in zip(frames_rgb, gray, strict=True):
        cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY, dst=out)
    return gray


def quantise(flow: npt.NDArray[np.float32], bound_px: float = BOUND_PX) -> npt.NDArray[np.uint8]:
    """Flow in pixels to uint8 of the same shape, rounded to the nearest of 256 steps."""
    _check_bound(bound_px)
    steps = np.clip(flow, -bound_px, bound_px)
    steps += bound_px  # in place: a new array for each step would take four times as long
    steps *= 127.5 / bound_px
    return np.rint(steps, out=steps).astype(np.uint8)


def dequantise(
    values: npt.NDArray[np.uint8], bound_px: float = BOUND_PX
) -> npt.NDArray[np.float32]:
    """uint8 values back to float32 pixels: the centre of each step, 127.5 being no motion.

    Of any shape [...], which stays.

    Raises:
        ValueError: ``bound_px`` is not positive and finite.
    """
    _check_bound(bound_px)
    return values.astype(np.float32) * np.float32(bound_px / 127.5) - np.float32(bound_px)


def clipped_share(flow: npt.NDArray[np.float32], bound_px: float = BOUND_PX) -> float:
    """Share of flow values, in [0, 1], that lie beyond the bound and are cut to it when stored."""
    _check_bound(bound_px)
    if not flow.size or (flow.min() >= -bound_px and flow.max() <= bound_px):  # as in most clips
        return 0.0
    return float(np.mean(np.abs(flow) > bound_px))


def to_image(flow: npt.NDArray[np.float32], bound_px: float = BOUND_PX) -> npt.NDArray[np.uint8]:
    """One flow field [H, W, 2], pixels, as the gray image that is stored: uint8 [2H, W], u over v.

    Raises:
        ValueError: the field has another shape.
    """
    if flow.ndim != 3 or flow.shape[2] != 2:
        raise ValueError(f"flow must be [H, W, 2]; got {list(flow.shape)}")
    steps = quantise(flow, bound_px)
    return np.concatenate([steps[..., 0], steps[..., 1]])


def from_image(image: npt.NDArray[np.uint8], bound_px: float = BOUND_PX) -> npt.NDArray[np.float32]:
    """A stored uint8 image [2H, W] back to float32 [H, W, 2], pixels.

    Raises:
        ValueError: the image has another type or shape.
    """
    if image.dtype != np.uint8 or image.ndim != 2 or image.shape[0] % 2:
        raise ValueError(
            f"a flow image must be uint8 [2H, W], u over v; got {image.dtype} {list(image.shape)}"
        )
    return np.stack(np.split(dequantise(image, bound_px), 2), axis=-1)


def _check_bound(bound_px: float) -> None:
    if not 0 < bound_px < float("inf"):
        raise ValueError(f"bound_px must be a positive number of pixels; got {bound_px}")


class _Maker:
    """Flow runs across the borders of windows."""

    def __init__(self, settings: ExtractionSettings) -> None:
        self._settings = settings
        device = settings.flow_device
        self._compute = tvl1.torch_solver(device) if device else tvl1.flow_clip
        self._before: Frames | None = None
        self._clipped = 0.0
        self._pairs = 0

    def add(self, frames: Frames) -> Iterator[bytes]:
        bound_px = self._settings.flow_bound_px
        for start in range(0, len(frames), FRAMES_AT_ONCE):
            joined = frames[start : start + FRAMES_AT_ONCE]
            if self._before is not None:
                joined = np.concatenate([self._before[None], joined])
            self._before = joined[-1].copy()
            if len(joined) < 2:
                continue
            flow = self._compute(gray_frames(joined), self._settings.flow_schedule)
            self._clipped += clipped_share(flow, bound_px) * len(flow)
            self._pairs += len(flow)
            for pair in flow:
                image = to_image(pair, bound_px)[..., None]
                yield encode_jpeg(image, self._settings.jpeg_quality)

    def finish(self) -> Mapping[str, object]:
        return {
            "flow_bound_px": self._settings.flow_bound_px,
            "flow_clipped_share": self._clipped / max(1, self._pairs),
        }


def engine(settings: ExtractionSettings) -> str | None:
    """What computes the flow, if it is not numba on the processor: torch, its version, the device.

    Raises:
        UserError: torch sees no such device.
    """
    return tvl1.torch_solver(settings.flow_device).name if settings.flow_device else None


def _describe(settings: ExtractionSettings) -> Mapping[str, object]:
    _check_bound(settings.flow_bound_px)
    return {
        "extractor": EXTRACTOR,
        "version": VERSION,
        "settings": {
            "schedule": settings.flow_schedule,
            **asdict(resolve_schedule(settings.flow_schedule)),
            "gray": "BT.601",
            "bound_px": settings.flow_bound_px,
            "jpeg_quality": settings.jpeg_quality,
        },
    }


FLOW = Modality(
    name="flow",
    title="Optical flow",
    legend="colour is direction, white is at rest",
    columns=(
        Column(
            "flow",
            JPEGS,
            "T - 1 grey JPEGs [2H, W]: u (right) stacked over v (down), see flow_bound_px",
        ),
        Column(
            "flow_bound_px",
            pa.float32(),
            "0 to 255 in a flow picture are -bound to +bound pixels a frame",
        ),
        Column("flow_clipped_share", pa.float32(), "share of flow values beyond the bound"),
    ),
    # A model reads -1 to 1 of the bound.
    content=Pictures(channels=2, of_pairs=True, scale=2.0 / 255.0, shift=-1.0, blank=128),
    maker=_Maker,
    describe=_describe,
)
