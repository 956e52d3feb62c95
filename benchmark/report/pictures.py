"""Pictures of a clip for people: strips of a few frames of each modality."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from benchmark.clips import Clip
from musclemap_data.draw.colours import Picture
from musclemap_data.draw.flow import flow_picture
from musclemap_data.draw.skeleton import draw_skeleton
from musclemap_data.errors import UserError
from musclemap_data.modalities import MODALITIES, pictures
from musclemap_data.modalities.modality import Numbers, Pictures, Row
from musclemap_data.shards import Shard

FRAME_HEIGHT = 150
_QUALITY = 82
_LOWEST_SCORE = 0.3


def clip_strips(
    clip: Clip, frames: int = 3, min_score: float = _LOWEST_SCORE
) -> tuple[dict[str, Picture | None], npt.NDArray[np.int64]]:
    """A strip of frames of each modality of a clip, evenly spread over it.

    Args:
        clip: with the address of its row.
        min_score: joints scored lower are not drawn.

    Returns:
        Key of each modality of pictures, and of the skeleton -> ``uint8 [150, W, 3]`` RGB, or None
        where it was not extracted; and the frames' numbers.

    Raises:
        UserError: the row cannot be read or its pictures cannot be decoded.
    """
    columns = [column.name for each in MODALITIES.values() for column in each.columns]
    with Shard(clip.shard) as shard:
        row = shard.row(clip.row, [*columns, "frames", "height", "width"])
    last = max(0, clip.frames - 2)  # the last frame has no flow
    numbers = np.unique(np.rint(np.linspace(0.1 * last, 0.9 * last, frames)).astype(np.int64))
    try:
        shown = {key: _shown(row, key, content, numbers) for key, content in pictures().items()}
        shown["skeleton"] = _shown_skeleton(row, shown["rgb"], numbers, min_score)
    except (ValueError, IndexError) as error:
        raise UserError(f"{clip.address}: a picture cannot be decoded: {error}") from error
    return {key: strip(found) if found else None for key, found in shown.items()}, numbers


def _shown(row: Row, key: str, content: Pictures, numbers: npt.NDArray[np.int64]) -> list[Picture]:
    """The pictures of these numbers for a person, or none where the modality is not there."""
    found = [content.decode(row[key][number]) for number in numbers] if row[key] else []
    if content.channels == 2:
        return [flow_picture(picture, row[f"{key}_bound_px"]) for picture in found]
    bright = [np.minimum(picture.astype(int) * content.gain, 255) for picture in found]
    return [np.broadcast_to(each, (*each.shape[:2], 3)).astype(np.uint8) for each in bright]


def _shown_skeleton(
    row: Row, rgb: Sequence[Picture], numbers: npt.NDArray[np.int64], min_score: float
) -> list[Picture]:
    """Skeletons over darkened frames, or over nothing where there are none."""
    content = MODALITIES["skeleton"].content
    if row["skeleton"] is None or not isinstance(content, Numbers):
        return []
    skeleton = content.decode("skeleton", row)[numbers]
    blank = np.full((row["height"], row["width"], 3), 32, np.uint8)
    under = [frame // 3 for frame in rgb] if rgb else [blank] * len(numbers)
    return [
        draw_skeleton(picture, joints, min_score)
        for picture, joints in zip(under, skeleton, strict=True)
    ]


def strip(frames: Sequence[Picture], height_px: int = FRAME_HEIGHT) -> Picture:
    """Pictures side by side at one height, ``uint8 [height_px, W, 3]``."""
    resized = []
    for picture in frames:
        width_px = max(1, round(picture.shape[1] * height_px / picture.shape[0]))
        shrinks = height_px < picture.shape[0]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        resized.append(cv2.resize(picture, (width_px, height_px), interpolation=how))
    return np.concatenate(resized, axis=1)


def data_url(picture: Picture) -> str:
    """A picture ``uint8 [H, W, 3]`` RGB as a ``data:`` URL (JPEG)."""
    jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(picture), _QUALITY, colorspace="RGB")
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
