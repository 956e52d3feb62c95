"""One spatial augmentation for all frames and modalities of a clip.

Every draw comes from a ``numpy.random.Generator`` that the caller seeds from (seed, epoch, clip),
so a clip looks the same whichever worker prepares it. Frames are ``uint8 [T, C, H, W]`` until
:mod:`benchmark.data` normalises them; skeletons are ``float32 [T, M, 17, 3]`` in pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import RandAugment
from torchvision.transforms.v2 import functional as F

from benchmark.settings import Settings
from musclemap_data.modalities.jpeg import Box
from musclemap_data.skeleton import MIRRORED

# Area and aspect of an erased rectangle (arXiv 1708.04896, table 1).
_ERASED_AREA = (0.02, 1.0 / 3.0)
_ERASED_ASPECT = (0.3, 1.0 / 0.3)
_RANDAUGMENT_FILL = [115.0, 115.0, 115.0]  # the mean colour, 0.45 of 255
_RANDAUGMENT_BINS = 31  # torchvision's magnitude 30 is magnitude 10 in timm


@dataclass(frozen=True)
class Geometry:
    """The box of the stored frame that becomes the model's input, and whether it is mirrored."""

    top_px: float
    left_px: float
    height_px: float
    width_px: float
    flip: bool


def train_geometry(
    height: int, width: int, settings: Settings, rng: np.random.Generator
) -> Geometry:
    """A random box of a ``height`` x ``width`` frame, by ``settings.crop_policy``."""
    if settings.crop_policy == "jitter":
        short_side = rng.integers(settings.jitter_min, settings.jitter_max + 1)
        box_height = box_width = settings.crop_size * min(height, width) / float(short_side)
    else:
        box_height, box_width = _random_box(height, width, settings.resized_area_min, rng)
    return Geometry(
        top_px=rng.uniform(0.0, height - box_height),
        left_px=rng.uniform(0.0, width - box_width),
        height_px=box_height,
        width_px=box_width,
        flip=bool(rng.random() < settings.flip),
    )


def early_views(
    height: int, width: int, settings: Settings, seed: list[int]
) -> tuple[Geometry, Geometry]:
    """The crops of the two views that a clip has in a batch with ``settings.early_views``."""
    first, second = (
        train_geometry(height, width, settings, np.random.default_rng([*seed, number]))
        for number in (1, 2)
    )
    return first, second


def centre_geometry(height: int, width: int, settings: Settings) -> Geometry:
    """The centre box: short side to ``test_short_side``, then a crop of ``crop_size``."""
    size = settings.crop_size * min(height, width) / settings.test_short_side
    return Geometry((height - size) / 2, (width - size) / 2, size, size, flip=False)


def _random_box(
    height: int, width: int, area_min: float, rng: np.random.Generator
) -> tuple[float, float]:
    """A box of area_min..1 of the frame and aspect 3:4..4:3; the largest square if none fits."""
    for _ in range(10):
        area = height * width * rng.uniform(area_min, 1.0)
        aspect = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        box_width, box_height = math.sqrt(area * aspect), math.sqrt(area / aspect)
        if box_width <= width and box_height <= height:
            return box_height, box_width
    return float(min(height, width)), float(min(height, width))


def crop_box(geometry: Geometry, height: int, width: int) -> Box:
    """The box in whole pixels of a ``height`` x ``width`` frame."""
    box_height = min(max(1, round(geometry.height_px)), height)
    box_width = min(max(1, round(geometry.width_px)), width)
    top = min(round(geometry.top_px), height - box_height)
    left = min(round(geometry.left_px), width - box_width)
    return Box(top, left, box_height, box_width)


def box_in(geometry: Geometry, stored: tuple[int, int], size: tuple[int, int]) -> Box:
    """The box in whole pixels of a frame that was ``stored`` (h, w) and is now of ``size``."""
    scale_y, scale_x = size[0] / stored[0], size[1] / stored[1]
    seen = Geometry(
        geometry.top_px * scale_y,
        geometry.left_px * scale_x,
        geometry.height_px * scale_y,
        geometry.width_px * scale_x,
        geometry.flip,
    )
    return crop_box(seen, *size)


def crop_frames(
    frames: Tensor, geometry: Geometry, height: int, width: int, crop_size: int
) -> Tensor:
    """Crop, resize and mirror frames.

    Args:
        frames: ``uint8 [T, C, h, w]``, the stored frame or a reduced decoding of it.
        geometry: the box in pixels of the stored frame, which is ``height`` x ``width``.

    Returns:
        ``uint8 [T, C, crop_size, crop_size]``, in memory of its own.
    """
    size = (frames.shape[-2], frames.shape[-1])
    box = box_in(geometry, (height, width), size)
    return cut_frames(frames, box, geometry.flip, crop_size)


def cut_frames(frames: Tensor, box: Box, flip: bool, crop_size: int) -> Tensor:
    """Crop ``uint8 [T, C, h, w]`` to a box, resize it and mirror it if ``flip``.

    Returns:
        ``uint8 [T, C, crop_size, crop_size]``, in memory of its own.
    """
    count, channels, *size = frames.shape
    at_once = 1
    if frames.is_contiguous() and count % (4 // channels) == 0:
        at_once = 4 // channels  # torch takes as long for two channels as for four
    cut: Tensor = F.resized_crop(
        frames.reshape(count // at_once, at_once * channels, *size),
        box.top,
        box.left,
        box.height,
        box.width,
        [crop_size, crop_size],
        antialias=True,
    )
    cut = cut.reshape(count, channels, crop_size, crop_size)
    if cut.untyped_storage().data_ptr() == frames.untyped_storage().data_ptr():
        cut = cut.clone()
    if flip and _interleaved(cut):  # torch takes ten times as long for three-byte pixels
        rows = cut.permute(0, 2, 3, 1).view(-1, crop_size, 3).numpy()
        cv2.flip(rows, 1, dst=rows)
    elif flip:
        cut = F.horizontal_flip(cut)
    return cut


def _interleaved(frames: Tensor) -> bool:
    """Whether ``uint8 [T, 3, H, W]`` lies in memory as pictures do, ``[T, H, W, 3]``."""
    return frames.shape[1] == 3 and frames.permute(0, 2, 3, 1).is_contiguous()


def copy_planes(frames: Tensor, out: Tensor) -> None:
    """Copy ``uint8 [C, T, H, W]``, however it lies in memory, to ``out``, which is contiguous."""
    if not _interleaved(frames.transpose(0, 1)):
        out.copy_(frames)
        return
    planes = out.numpy()
    for number, picture in enumerate(frames.permute(1, 2, 3, 0).numpy()):
        cv2.split(picture, list(planes[:, number]))  # ten times as fast as torch's copy


def crop_flow(flow: Tensor, geometry: Geometry, height: int, width: int, crop_size: int) -> Tensor:
    """As :func:`crop_frames` for quantised flow ``uint8 [T, 2, h, w]`` (u, v).

    A mirror turns u into -u, which is 255 - u in the symmetric quantisation. Lengths stay in
    pixels of the stored frame: they do not follow the zoom.
    """
    flow = crop_frames(flow, geometry, height, width, crop_size)
    if geometry.flip:
        flow = torch.stack([255 - flow[:, 0], flow[:, 1]], dim=1)
    return flow


def crop_skeleton(
    skeleton: npt.NDArray[np.float32], geometry: Geometry, crop_size: int
) -> npt.NDArray[np.float32]:
    """As :func:`crop_frames` for joints ``float32 [T, M, 17, 3]`` (x, y in px, score).

    Joints outside the box stay: the skeleton was seen in the whole frame. A mirror also swaps
    the left and right joints, so that a left wrist remains a left wrist.
    """
    moved = skeleton.copy()
    # The centre of the first pixel lies at 0, its edge at -0.5.
    moved[..., 0] = (moved[..., 0] + 0.5 - geometry.left_px) * crop_size / geometry.width_px - 0.5
    moved[..., 1] = (moved[..., 1] + 0.5 - geometry.top_px) * crop_size / geometry.height_px - 0.5
    if geometry.flip:
        moved[..., 0] = crop_size - 1 - moved[..., 0]
        moved = moved[..., list(MIRRORED), :]
    return moved


def randaugment(frames: Tensor, settings: Settings, rng: np.random.Generator) -> Tensor:
    """RandAugment on RGB ``uint8 [T, 3, H, W]``, the same operations for all frames.

    As "rand-m7-n4-mstd0.5", which the authors' code configures and never applies: n chances, each
    taken with probability one half; the magnitude is normal around m with spread 0.5. The
    operations are torchvision's. Other modalities are left alone: a change of colour means nothing
    to them.
    """
    if settings.randaugment_ops == 0:
        return frames
    operations = int(rng.binomial(settings.randaugment_ops, 0.5))
    magnitude = float(np.clip(rng.normal(settings.randaugment_magnitude, 0.5), 0.0, 10.0))
    seed = int(rng.integers(2**63))
    if operations == 0:
        return frames
    augment = RandAugment(
        num_ops=operations,
        magnitude=round(magnitude / 10.0 * (_RANDAUGMENT_BINS - 1)),
        num_magnitude_bins=_RANDAUGMENT_BINS,
        interpolation=InterpolationMode.BILINEAR,
        fill=_RANDAUGMENT_FILL,
    )
    with torch.random.fork_rng(devices=[]):  # torchvision draws from the global generator
        torch.manual_seed(seed)
        result: Tensor = augment(frames)
    return result


def erased_box(settings: Settings, rng: np.random.Generator) -> tuple[slice, slice] | None:
    """The rows and columns that random erasing blanks in all frames and image modalities."""
    if rng.random() >= settings.erasing:
        return None
    size = settings.crop_size
    for _ in range(10):
        area = size * size * rng.uniform(*_ERASED_AREA)
        aspect = math.exp(rng.uniform(*np.log(_ERASED_ASPECT)))
        height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < height < size and 0 < width < size:
            top = int(rng.integers(size - height + 1))
            left = int(rng.integers(size - width + 1))
            return slice(top, top + height), slice(left, left + width)
    return None
