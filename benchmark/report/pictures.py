"""Pictures of a clip for people: strips of a few frames of each modality."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import simplejpeg

from benchmark.clips import COLUMN_SETS, Clip
from musclemap_data.draw.flow import flow_picture
from musclemap_data.draw.skeleton import draw_skeleton
from musclemap_data.errors import UserError
from musclemap_data.shards import Shard
from musclemap_data.skeleton import JOINT_COUNT

FRAME_HEIGHT = 150
DIFFERENCE_GAIN = 3
"""RGB difference is dark: it is shown this many times as bright."""
_QUALITY = 82
_LOWEST_SCORE = 0.3


def clip_strips(clip: Clip, frames: int = 3, min_score: float = _LOWEST_SCORE) -> dict[str, Any]:
    """A strip of frames of each modality of a clip, evenly spread over it.

    Args:
        clip: with the address of its row.
        min_score: joints scored lower are not drawn.

    Returns:
        ``rgb``, ``rgb_diff``, ``flow`` and ``skeleton`` -> ``uint8 [150, W, 3]`` RGB, or None
        where the modality was not extracted; ``frame_numbers``, ``int64 [frames]``.

    Raises:
        UserError: the row cannot be read or its pictures cannot be decoded.
    """
    columns = [column for columns in COLUMN_SETS.values() for column in columns]
    with Shard(clip.shard) as shard:
        row = shard.row(clip.row, columns)
    last = max(0, clip.frames - 2)  # the last frame has no flow
    numbers = np.unique(np.rint(np.linspace(0.1 * last, 0.9 * last, frames)).astype(int))
    try:
        rgb = _decoded(row["rgb"], numbers)
        difference = _decoded(row["rgb_diff"], numbers)
        flow = _decoded(row["flow"], numbers, "GRAY")
    except (ValueError, IndexError) as error:
        raise UserError(f"{clip.address}: a picture cannot be decoded: {error}") from error
    strips: dict[str, Any] = {"rgb": rgb, "rgb_diff": difference, "flow": None, "skeleton": None}
    if difference:
        brighter = [np.minimum(frame.astype(int) * DIFFERENCE_GAIN, 255) for frame in difference]
        strips["rgb_diff"] = [frame.astype(np.uint8) for frame in brighter]
    if flow:
        strips["flow"] = [flow_picture(image, row["flow_bound_px"]) for image in flow]
    people = row["skeleton_people"]
    if row["skeleton"] is not None:
        skeleton = np.array(row["skeleton"], np.float32)
        skeleton = skeleton.reshape(clip.frames, people or 0, JOINT_COUNT, 3)[numbers]
        blank = np.full((clip.height, clip.width, 3), 32, np.uint8)
        under = [frame // 3 for frame in rgb] if rgb else [blank] * len(numbers)
        strips["skeleton"] = [
            draw_skeleton(picture, joints, min_score)
            for picture, joints in zip(under, skeleton, strict=True)
        ]
    return {
        **{name: strip(pictures) if pictures else None for name, pictures in strips.items()},
        "frame_numbers": numbers,
    }


def _decoded(
    jpegs: Sequence[bytes] | None, numbers: np.ndarray, colorspace: str = "RGB"
) -> list[np.ndarray]:
    """The frames of these numbers, or none where the modality was not extracted."""
    if not jpegs:
        return []
    return [simplejpeg.decode_jpeg(jpegs[number], colorspace=colorspace) for number in numbers]


def strip(pictures: Sequence[np.ndarray], height_px: int = FRAME_HEIGHT) -> np.ndarray:
    """Pictures side by side at one height, ``uint8 [height_px, W, 3]``."""
    resized = []
    for picture in pictures:
        width_px = max(1, round(picture.shape[1] * height_px / picture.shape[0]))
        shrinks = height_px < picture.shape[0]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        resized.append(cv2.resize(picture, (width_px, height_px), interpolation=how))
    return np.concatenate(resized, axis=1)


def data_url(picture: np.ndarray) -> str:
    """A picture ``uint8 [H, W, 3]`` RGB as a ``data:`` URL (JPEG)."""
    jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(picture), _QUALITY, colorspace="RGB")
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
