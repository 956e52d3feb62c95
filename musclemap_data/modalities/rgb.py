"""The frames themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import version

from musclemap_data.modalities.jpeg import encode_jpeg
from musclemap_data.modalities.modality import (
    JPEGS,
    Column,
    Frames,
    Modality,
    Pictures,
)
from musclemap_data.modalities.settings import ExtractionSettings

MEAN, STD = 0.45, 0.225
"""Of the Kinetics models (PySlowFast, torchvision's MViT): the same for the three channels."""


class _Maker:
    def __init__(self, settings: ExtractionSettings) -> None:
        self._settings = settings

    def add(self, frames: Frames) -> Iterator[bytes]:
        for frame in frames:
            yield encode_jpeg(frame, self._settings.jpeg_quality)

    def finish(self) -> Mapping[str, object]:
        return {}


def _describe(settings: ExtractionSettings) -> Mapping[str, object]:
    jpeg = {"jpeg_quality": settings.jpeg_quality}
    opencv = version("opencv-contrib-python-headless")
    return {"extractor": "opencv", "version": opencv, "settings": jpeg}


RGB = Modality(
    name="rgb",
    title="RGB",
    columns=(Column("rgb", JPEGS, "T JPEGs"),),
    content=Pictures(scale=1.0 / (255.0 * STD), shift=-MEAN / STD),
    maker=_Maker,
    describe=_describe,
)
