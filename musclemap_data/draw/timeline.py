"""Pictures of a prediction: the body map with names, and regions over time.

Text is drawn with the font inside Pillow, which knows plain Latin letters only; so every machine
draws the same and none needs a font.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from musclemap_data.catalog import load_muscles
from musclemap_data.draw.body_map import (
    LABEL_MARGIN,
    TITLE_HEIGHT,
    Values,
    body_map_svg,
    place_labels,
)
from musclemap_data.draw.body_picture import body_map_png
from musclemap_data.draw.body_shapes import CENTRES, HEIGHT, VIEWS
from musclemap_data.draw.colours import ACTIVE_EDGE, BODY_EDGE, TEXT, Picture, region_colour, rgb
from musclemap_data.files import replacing, write_text

NO_PERSON_COLOUR = "#eceae7"
PERSON_COLOUR = "#5b7f95"
_LEGEND_HEIGHT = 66.0
_ROW, _LEFT, _RIGHT, _TOP, _BOTTOM = 27, 176, 74, 64, 128
_TICKS_S = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)


@lru_cache(maxsize=64)
def _font(size_px: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)


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
        x, y: pixels; y is the baseline.
        size_px: height of a line.
        anchor: ``l``, ``m`` or ``r``: whether x is the text's left end, middle or right end.
    """
    text = text.encode("ascii", "replace").decode()
    font, stroke = _font(round(size_px, 1)), size_px / 45 if bold else 0.0
    measure = ImageDraw.Draw(Image.new("L", (1, 1)))
    box = measure.textbbox((0, 0), text, font=font, anchor=f"{anchor}s", stroke_width=stroke)
    left, top = int(np.floor(box[0])) - 1, int(np.floor(box[1])) - 1
    size = (int(np.ceil(box[2])) + 2 - left, int(np.ceil(box[3])) + 2 - top)
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).text(
        (-left, -top), text, fill=255, font=font, anchor=f"{anchor}s", stroke_width=stroke
    )
    x0, y0 = round(x) + left, round(y) + top
    x1, y1 = min(x0 + size[0], picture.shape[1]), min(y0 + size[1], picture.shape[0])
    cut_x, cut_y = max(0, -x0), max(0, -y0)
    if x0 + cut_x >= x1 or y0 + cut_y >= y1:
        return
    cover = np.asarray(mask, np.float32)[cut_y : y1 - y0, cut_x : x1 - x0, None] / 255
    place = picture[y0 + cut_y : y1, x0 + cut_x : x1]
    place[:] = np.rint(place * (1 - cover) + np.array(rgb(colour)) * cover).astype(np.uint8)


def write_png(path: Path, picture: Picture) -> None:
    """Write a picture as PNG (atomically)."""
    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG", optimize=True)


def write_figures(
    folder: Path,
    windows: Sequence[tuple[float, float]],
    scores: npt.NDArray[np.floating],
    means: Sequence[float],
    keep: Sequence[bool],
    person_shares: Sequence[float],
    threshold: float,
    *,
    title: str,
) -> None:
    """Write ``body_map.svg``, ``body_map.png`` and ``timeline.png`` into a folder.

    The arguments are those of :func:`timeline_figure`.
    """
    svg = body_map_svg(means, title=title, label_from=threshold)
    write_text(folder / "body_map.svg", svg)
    body_map = body_map_figure(means, title=title, label_from=threshold)
    write_png(folder / "body_map.png", body_map)
    timeline = timeline_figure(windows, scores, means, keep, person_shares, threshold, title=title)
    write_png(folder / "timeline.png", timeline)


def body_map_figure(
    values: Values, *, title: str = "", label_from: float = 0.5, height_px: int = 900
) -> Picture:
    """The body map with title, names and a colour scale: what ``body_map_svg`` draws, as a picture.

    Args:
        values: as for ``body_map_png``.
        label_from: regions of at least this value have a name, their value, and a dark edge.
        height_px: of the two figures; title and scale come on top.
    """
    import cv2

    scale = height_px / HEIGHT
    top, margin = TITLE_HEIGHT * scale, LABEL_MARGIN * scale
    figures = body_map_png(values, height_px, label_from=label_from)
    left, height = round(margin), round((TITLE_HEIGHT + HEIGHT + _LEGEND_HEIGHT) * scale)
    picture = np.full((height, 2 * left + figures.shape[1], 3), 255, np.uint8)
    picture[round(top) : round(top) + height_px, left : left + figures.shape[1]] = figures
    middle = picture.shape[1] / 2
    draw_text(picture, middle, 21 * scale, title, 19 * scale, anchor="m", bold=True)
    for view in VIEWS:
        x, y = CENTRES[view] * scale + margin, top + (HEIGHT + 8) * scale
        draw_text(picture, x, y, view, 13 * scale, colour=BODY_EDGE, anchor="m")
    for label in place_labels(values, label_from):
        points = (np.array(label.line) * scale + [margin, top]) * 16
        cv2.polylines(
            picture, [np.rint(points).astype(np.int32)], False, rgb(TEXT), 1, cv2.LINE_AA, 4
        )
        end = (round(points[-1, 0]), round(points[-1, 1]))
        cv2.circle(picture, end, round(2 * scale * 16), rgb(TEXT), -1, cv2.LINE_AA, 4)
        x, y = points[0] / 16
        x += (-4 if label.left else 4) * scale
        anchor = "r" if label.left else "l"
        draw_text(picture, x, y + 4.5 * scale, label.text, 13 * scale, anchor=anchor)
    legend_y = top + (HEIGHT + 24) * scale
    _draw_scale(picture, middle - 100 * scale, legend_y, 200 * scale, label_from, 13 * scale)
    return picture


def _draw_scale(
    picture: Picture, x: float, y: float, width: float, threshold: float, text_px: float
) -> None:
    """The colour scale with its threshold; ``text_px`` high, figures below it."""
    height, x0, y0 = round(text_px), round(x), round(y)
    colours = [rgb(region_colour(max(0.001, v))) for v in np.linspace(0, 1, round(width))]
    picture[y0 : y0 + height, x0 : x0 + len(colours)] = np.array(colours, np.uint8)
    for share in (0.0, 0.5, 1.0):
        at = x + width * share
        draw_text(picture, at, y + 2.2 * text_px, f"{share:.0%}", text_px, anchor="m")
    mark, half = round(x + width * threshold), max(1, round(text_px / 10))
    picture[y0 - 4 : y0 + height + 4, mark - half : mark + half] = rgb(ACTIVE_EDGE)
    draw_text(
        picture, x + width + text_px, y + 0.85 * text_px, f"active from {threshold:.0%}", text_px
    )


def over_time(
    windows: Sequence[tuple[float, float]], values: npt.NDArray[np.floating], keep: Sequence[bool]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Values of overlapping windows as one course over time: the mean of those that cover it.

    Args:
        windows: (start_s, end_s) of each.
        values: ``[windows, N]``.
        keep: of each, whether it counts.

    Returns:
        Times at which something changes, ``[pieces + 1]`` seconds, and the values between them,
        ``[pieces, N]``; NaN where no window counts.
    """
    edges = np.unique(np.round(np.array(windows), 6)).astype(np.float64)
    middles = (edges[:-1] + edges[1:]) / 2
    starts, ends = np.array(windows, np.float64).T
    covers = (starts <= middles[:, None]) & (middles[:, None] < ends) & np.array(keep, bool)
    count = covers.sum(axis=1, keepdims=True)
    course = np.where(count, covers @ values / np.maximum(count, 1), np.nan)
    return edges, np.asarray(course, np.float64)


def timeline_figure(
    windows: Sequence[tuple[float, float]],
    scores: npt.NDArray[np.floating],
    means: Sequence[float],
    keep: Sequence[bool],
    person_shares: Sequence[float],
    threshold: float,
    *,
    title: str = "",
    width_px: int = 1200,
) -> Picture:
    """Regions over time: a row each, darker where more probable, framed from the threshold on.

    Rows are in the order of their mean; those whose mean reaches the threshold are bold. Where
    windows overlap, the mean of those that cover a moment is shown.

    Args:
        windows: (start_s, end_s) of each.
        scores: ``[windows, 20]`` probabilities.
        means: ``[20]``, over the windows that count.
        keep: windows that count; time that only others cover is left empty.
        person_shares: of each window, the share of frames with a person.
        threshold: from where on a region is called active.
    """
    import cv2

    names = [muscle.name for muscle in load_muscles()]
    edges, course = over_time(windows, scores, keep)
    _, seen = over_time(windows, np.array(person_shares)[:, None], [True] * len(windows))
    plot_px = width_px - _LEFT - _RIGHT
    bottom = _TOP + _ROW * len(names)
    picture = np.full((bottom + _BOTTOM, width_px, 3), 255, np.uint8)
    places = np.rint(_LEFT + (edges - edges[0]) / (edges[-1] - edges[0]) * plot_px).astype(int)
    draw_text(picture, _LEFT, 26, title, 19, bold=True)
    draw_text(picture, width_px - 12, _TOP - 10, "mean", 14, anchor="r")
    for row, region in enumerate(np.argsort(-np.array(means), kind="stable")):
        y, active = _TOP + row * _ROW, means[region] >= threshold
        draw_text(picture, _LEFT - 12, y + 18, names[region], 15, anchor="r", bold=active)
        text = f"{means[region]:.0%}"
        draw_text(picture, width_px - 12, y + 18, text, 15, anchor="r", bold=active)
        for piece, value in enumerate(course[:, region]):
            cell = picture[y + 2 : y + _ROW - 2, places[piece] : places[piece + 1]]
            cell[:] = rgb(region_colour(float(value)) if np.isfinite(value) else NO_PERSON_COLOUR)
        for start, end in _runs(course[:, region] >= threshold):
            corner, opposite = (places[start], y + 3), (places[end] - 1, y + _ROW - 4)
            cv2.rectangle(picture, corner, opposite, rgb(ACTIVE_EDGE), 2)
    for piece, value in enumerate(seen[:, 0]):
        high = round(16 * float(value))
        cell = picture[bottom + 8 : bottom + 26, places[piece] : places[piece + 1]]
        cell[:] = rgb(NO_PERSON_COLOUR)
        cell[17 - high :] = rgb(PERSON_COLOUR)
    draw_text(picture, _LEFT - 12, bottom + 22, "person in view", 15, anchor="r", colour=BODY_EDGE)
    _draw_time_axis(picture, edges, plot_px, bottom + 32)
    _draw_scale(picture, _LEFT, bottom + 84, 220, threshold, 14)
    if np.isnan(course).any():
        x = width_px - _RIGHT - 200
        picture[bottom + 84 : bottom + 98, x : x + 24] = rgb(NO_PERSON_COLOUR)
        draw_text(picture, x + 32, bottom + 96, "no person: not judged", 14)
    return picture


def _runs(flags: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Half-open ranges in which flags are true."""
    steps = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return list(zip(steps[::2].tolist(), steps[1::2].tolist(), strict=True))


def _draw_time_axis(picture: Picture, edges: npt.NDArray[np.float64], plot_px: int, y: int) -> None:
    first, last = float(edges[0]), float(edges[-1])
    step = next((s for s in _TICKS_S if (last - first) / s * 80 <= plot_px), _TICKS_S[-1])
    picture[y : y + 1, _LEFT : _LEFT + plot_px] = rgb(BODY_EDGE)
    for tick in np.arange(np.ceil(first / step) * step, last + 1e-6, step):
        x = round(_LEFT + (tick - first) / (last - first) * plot_px)
        picture[y : y + 6, x : x + 1] = rgb(BODY_EDGE)
        draw_text(picture, x, y + 22, clock(float(tick), step < 1), 14, anchor="m")
    draw_text(picture, _LEFT + plot_px + 26, y + 22, "min:s", 14, colour=BODY_EDGE)


def clock(seconds: float, tenths: bool = False) -> str:
    """``1:05`` or ``1:05.5``."""
    minutes, rest = divmod(seconds + 1e-9, 60)
    return f"{int(minutes)}:{rest:04.1f}" if tenths else f"{int(minutes)}:{int(rest):02d}"
