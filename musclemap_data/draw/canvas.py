"""Figures of matplotlib that are measured in pixels, and their picture.

Nothing is shared (no ``pyplot``), and the font comes with matplotlib: every machine draws the
same.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from musclemap_data.draw.colours import ACTIVE_EDGE, TEXT, Picture, region_colour, rgb
from musclemap_data.files import replacing

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "text.color": TEXT, "xtick.color": TEXT, "ytick.color": TEXT,
    "xtick.major.width": 0.8, "hatch.linewidth": 1,
    "text.parse_math": False,  # the $ in the name of a file is no formula
}  # fmt: skip
"""For ``matplotlib.rc_context``, around all that draws."""
_DPI = 72  # so that a point, matplotlib's unit of text and lines, is a pixel


def new_figure(width_px: int, height_px: int, background: str = "#ffffff") -> Figure:
    """An empty figure of so many pixels."""
    return Figure(figsize=(width_px / _DPI, height_px / _DPI), dpi=_DPI, facecolor=background)


def add_axes(
    figure: Figure, left: float, top: float, width: float, height: float, **options: Any
) -> Axes:
    """Axes without a frame in a box of pixels, measured from the figure's upper left corner."""
    whole_width, whole_height = figure.bbox.size
    bottom = whole_height - top - height
    box = (left / whole_width, bottom / whole_height, width / whole_width, height / whole_height)
    axes = figure.add_axes(box, **options)
    axes.spines[:].set_visible(False)
    return axes


def draw_scale(
    figure: Figure, left: float, top: float, width: float, threshold: float, text_px: float
) -> None:
    """The colours of the values from 0 to 100 %, with a mark where a region counts as active.

    Args:
        left, top, width: where, in pixels; as high as the text, with the numbers below.
        threshold: where the mark is.
        text_px: size of the text.
    """
    axes = add_axes(figure, left, top, width, text_px)
    colours = [rgb(region_colour(max(0.001, value))) for value in np.linspace(0, 1, 256)]
    axes.imshow(np.array([colours], np.uint8), extent=(0, 1, 0, 1), aspect="auto")
    mark = text_px / 6
    axes.axvline(threshold, -0.3, 1.3, color=ACTIVE_EDGE, linewidth=mark, clip_on=False)
    axes.set_xticks([0, 0.5, 1], ["0%", "50%", "100%"], size=text_px)
    axes.tick_params(length=0, pad=text_px / 2)
    axes.set_yticks([])
    axes.annotate(
        f"active from {threshold:.0%}", (1, 0.5), (text_px, 0), xycoords="axes fraction",
        textcoords="offset points", size=text_px, va="center_baseline", annotation_clip=False,
    )  # fmt: skip


def to_picture(figure: Figure) -> Picture:
    """The figure's pixels, ``uint8 [H, W, 3]`` RGB."""
    canvas = FigureCanvasAgg(figure)
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # shown as an empty box
        canvas.draw()
    return np.array(np.asarray(canvas.buffer_rgba())[..., :3])


def write_png(path: Path, picture: Picture) -> None:
    """Write a picture, uint8 [H, W, 3], as PNG: whole, or not at all."""
    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG", optimize=True)
