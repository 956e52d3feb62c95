"""A contact sheet of findings: one strip of pictures for each, the worst first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from musclemap_data.check.findings import Finding, Kind
from musclemap_data.draw.colours import Picture
from musclemap_data.draw.flow import flow_picture
from musclemap_data.draw.skeleton import draw_skeleton
from musclemap_data.draw.text import draw_text
from musclemap_data.modalities.modality import Row
from musclemap_data.modalities.rgb_diff import GAIN
from musclemap_data.shards import Shard, find_shard

MOST_STRIPS = 12
TILE_PX = 160
CAPTION_PX = 24
WIDTH_PX = 1280


def contact_sheet(data_dir: Path, findings: Sequence[Finding]) -> Picture:
    """The pictures of the worst findings, ``uint8 [H, W, 3]`` RGB.

    Args:
        data_dir: the data set that they were found in.
        findings: at least one, in the order to show; those after ``MOST_STRIPS`` are left out.
    """
    strips = [_strip(data_dir, finding) for finding in findings[:MOST_STRIPS]]
    return np.concatenate(strips)


def _strip(data_dir: Path, finding: Finding) -> Picture:
    with Shard(find_shard(data_dir, finding.shard)) as shard:
        row = shard.row(finding.row)
    strip = np.full((CAPTION_PX + TILE_PX, WIDTH_PX, 3), 255, np.uint8)
    x = 0
    for tile in _tiles(row, finding):
        height, width = tile.shape[:2]
        size = (max(1, round(width * TILE_PX / height)), TILE_PX)
        shown = cv2.resize(tile, size, interpolation=cv2.INTER_AREA)[:, : WIDTH_PX - x]
        strip[CAPTION_PX:, x : x + shown.shape[1]] = shown
        x = min(WIDTH_PX, x + shown.shape[1] + 4)
    text = f"{finding.clip_id}: {finding.what}"
    draw_text(strip, 4, CAPTION_PX - 7, text, 14)
    return strip


def _tiles(row: Row, finding: Finding) -> Iterator[Picture]:
    """What shows the finding best: for a pair, both pictures and what was made of them."""
    if row["rgb"] is None:
        frames = [np.full((row["height"], row["width"], 3), 60, np.uint8) for _ in finding.frames]
    else:
        frames = [_decoded(row["rgb"][number]) for number in finding.frames]
    if finding.kind in (Kind.SKELETON, Kind.POOR_SKELETON):
        skeleton = np.asarray(row["skeleton"], np.float32).reshape(row["frames"], -1, 17, 3)
        for number, frame in zip(finding.frames, frames, strict=True):
            yield draw_skeleton(frame, np.nan_to_num(skeleton[number], posinf=0, neginf=0))
        return
    yield from frames
    if finding.kind is Kind.RGB_DIFF:
        change = cv2.absdiff(frames[1], frames[0])
        for picture in (_decoded(row["rgb_diff"][finding.frames[1]]), change):
            yield np.clip(picture.astype(np.int16) * GAIN, 0, 255).astype(np.uint8)
    if finding.kind is Kind.FLOW:
        image = simplejpeg.decode_jpeg(row["flow"][finding.frames[0]], colorspace="GRAY")
        yield flow_picture(image, row["flow_bound_px"])


def _decoded(jpeg: bytes) -> Picture:
    return np.asarray(simplejpeg.decode_jpeg(jpeg, colorspace="RGB"))
