"""The body map as pixels: the two figures alone, or with title, names and a colour scale."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path as Outline

from musclemap_data.draw.body_map import (
    LABEL_MARGIN,
    TITLE_HEIGHT,
    Values,
    label_limit,
    legend_boxes,
    place_labels,
    region_values,
)
from musclemap_data.draw.body_shapes import (
    CENTRES,
    HEIGHT,
    MIRROR,
    VIEWS,
    WIDTH,
    Curve,
    bezier,
    detail_lines,
    outline,
    shapes,
)
from musclemap_data.draw.canvas import STYLE, add_axes, draw_scale, new_figure, to_picture
from musclemap_data.draw.colours import (
    ACTIVE_EDGE,
    BODY_COLOUR,
    BODY_EDGE,
    EDGE,
    TEXT,
    Picture,
    region_colour,
)

_LEGEND_HEIGHT = 66.0


@rc_context(STYLE)
def body_map_png(
    values: Values,
    height_px: int = 480,
    *,
    background: str = "#ffffff",
    label_from: float | None = None,
) -> Picture:
    """The two figures as a picture, ``uint8 [height_px, W, 3]`` RGB, without text.

    Args:
        values: see ``region_values``.
        height_px: 16 or more.
        background: ``#rrggbb``.
        label_from: regions of at least this value get a dark edge; see ``body_map_svg``.

    Raises:
        ValueError: see ``region_values``, or a height under 16.
    """
    found = region_values(values)
    if height_px < 16:
        raise ValueError(f"height_px is {height_px}; it must be 16 or more")
    width_px = round(height_px * WIDTH / HEIGHT)
    figure = new_figure(width_px, height_px, background)
    axes = add_axes(figure, 0, 0, width_px, height_px, xlim=(0, WIDTH), ylim=(HEIGHT, 0))
    axes.set_axis_off()
    _draw_bodies(axes, found, label_limit(found, label_from), height_px / HEIGHT)
    return to_picture(figure)


@rc_context(STYLE)
def body_map_figure(
    values: Values,
    *,
    title: str = "",
    label_from: float | None = None,
    plain: bool = False,
    height_px: int = 900,
) -> Picture:
    """The body map with title, names and a colour scale: what ``body_map_svg`` draws, as a picture.

    Args:
        values: see ``region_values``.
        title: above the figures.
        label_from: regions of at least this value have a name, their value, and a dark edge.
        plain: call the regions as in a gym.
        height_px: of the two figures; title and scale come on top.

    Returns:
        ``uint8 [H, W, 3]`` RGB.

    Raises:
        ValueError: see ``region_values``.
    """
    found = region_values(values)
    label_from = label_limit(found, label_from)
    scale, width = height_px / HEIGHT, WIDTH + 2 * LABEL_MARGIN
    height = TITLE_HEIGHT + HEIGHT + _LEGEND_HEIGHT
    figure = new_figure(round(width * scale), round(height * scale))
    axes = add_axes(
        figure, 0, 0, width * scale, height * scale,
        xlim=(-LABEL_MARGIN, WIDTH + LABEL_MARGIN), ylim=(HEIGHT + _LEGEND_HEIGHT, -TITLE_HEIGHT),
    )  # fmt: skip
    axes.set_axis_off()
    _draw_bodies(axes, found, label_from, scale)
    axes.text(WIDTH / 2, -10, title, size=17 * scale, weight="bold", ha="center")
    for view in VIEWS:
        axes.text(CENTRES[view], HEIGHT + 8, view, size=12 * scale, color=BODY_EDGE, ha="center")
    for label in place_labels(values, label_from, plain=plain):
        axes.plot(*zip(*label.line, strict=True), color=TEXT, linewidth=0.7 * scale)
        axes.plot(*label.line[-1], "o", color=TEXT, markersize=3.6 * scale, markeredgewidth=0)
        x, y = label.line[0]
        place, side = (x - 4, "right") if label.left else (x + 4, "left")
        axes.text(place, y, label.text, size=12.5 * scale, ha=side, va="center_baseline")
    boxes = legend_boxes(found)
    for x, value, word in boxes:
        edge = ACTIVE_EDGE if value else BODY_EDGE
        box = Rectangle(
            (x, HEIGHT + 22), 18, 12, facecolor=region_colour(value), edgecolor=edge,
            linewidth=0.7 * scale,
        )  # fmt: skip
        axes.add_artist(box)
        axes.text(x + 24, HEIGHT + 28, word, size=12 * scale, va="center_baseline")
    if not boxes:
        left, top = LABEL_MARGIN + WIDTH / 2 - 100, TITLE_HEIGHT + HEIGHT + 24
        draw_scale(figure, left * scale, top * scale, 200 * scale, label_from, 12 * scale)
    return to_picture(figure)


def _draw_bodies(
    axes: Axes, found: Mapping[str, float], label_from: float, px_a_unit: float
) -> None:
    """Front and back. Regions with a dark edge come last, on top."""

    def draw(curve: Curve, view: str, edge: str, width: float, fill: str | None) -> None:
        pieces = bezier(curve, closed=fill is not None) + [CENTRES[view], 0]
        points = np.concatenate([pieces[0, :1], pieces[:, 1:].reshape(-1, 2)])
        codes = [Outline.MOVETO, *[Outline.CURVE4] * (len(points) - 1)]
        axes.add_artist(
            PathPatch(
                Outline(points, codes), facecolor=fill or "none", edgecolor=edge,
                linewidth=max(0.4, width * px_a_unit), capstyle="round", joinstyle="round",
            )
        )  # fmt: skip

    for view in VIEWS:
        draw(outline(), view, BODY_EDGE, 1.0, BODY_COLOUR)
        for slug, value in sorted(found.items(), key=lambda item: item[1] >= label_from):
            for curve in shapes()[view].get(slug, []):
                edge = ACTIVE_EDGE if value >= label_from else EDGE
                draw(curve, view, edge, 0.7, region_colour(value))
        for line in detail_lines()[view]:
            for side in (1.0, MIRROR):
                draw(line * side, view, BODY_EDGE, 0.8, None)
