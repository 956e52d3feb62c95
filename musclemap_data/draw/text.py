"""Words in pictures."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from musclemap_data.draw.colours import TEXT, Picture


def draw_text(
    picture: Picture,
    x: float,
    y: float,
    text: str,
    size_px: float,
    *,
    colour: str = TEXT,
    anchor: str = "l",
    bold: bool = False,
) -> None:
    """Write a line of text into a picture; what lies outside of it is left out.

    Args:
        picture: uint8 [H, W, 3], written into.
        x, y: pixels; y is the baseline.
        size_px: size of the font.
        anchor: ``l``, ``m`` or ``r``: whether x is the text's left end, middle or right end.
    """
    image = Image.fromarray(picture)
    font = _font(round(size_px, 1), bold)
    ImageDraw.Draw(image).text((x, y), text, fill=colour, font=font, anchor=f"{anchor}s")
    picture[:] = np.asarray(image)


@lru_cache(maxsize=64)
def _font(size_px: float, bold: bool) -> ImageFont.FreeTypeFont:
    """The font of the other pictures; it comes with matplotlib."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), size_px)
