"""RGB difference: what changed since the frame before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from musclemap_data.modalities.jpeg import encode_jpeg
from musclemap_data.modalities.modality import (
    JPEGS,
    Column,
    Frames,
    Modality,
    Pictures,
)
from musclemap_data.modalities.rgb import STD
from musclemap_data.modalities.settings import ExtractionSettings

VERSION = 1
GAIN = 3
"""The difference is dark: people are shown it this many times as bright."""


class _Maker:
    """``|x(t) - x(t-1)|`` for every frame; the first has none before it and is zero."""

    def __init__(self, settings: ExtractionSettings) -> None:
        self._settings = settings
        self._before: Frames | None = None

    def add(self, frames: Frames) -> Iterator[bytes]:
        import cv2

        for frame in frames:
            change = np.zeros_like(frame)
            if self._before is not None:
                cv2.absdiff(frame, self._before, dst=change)
            yield encode_jpeg(change, self._settings.jpeg_quality)
            self._before = frame
        self._before = frames[-1].copy()

    def finish(self) -> Mapping[str, object]:
        return {}


def _describe(settings: ExtractionSettings) -> Mapping[str, object]:
    jpeg = {"jpeg_quality": settings.jpeg_quality}
    return {"extractor": "rgb_difference", "version": VERSION, "settings": jpeg}


RGB_DIFF = Modality(
    name="rgb-diff",
    title="RGB difference",
    legend=f"{GAIN} times as bright",
    columns=(
        Column(
            "rgb_diff",
            JPEGS,
            "T JPEGs: absolute difference to the frame before, the first is black",
        ),
    ),
    # Divided by RGB's spread, not shifted: no change stays 0.
    content=Pictures(scale=1.0 / (255.0 * STD), gain=GAIN),
    maker=_Maker,
    describe=_describe,
)
