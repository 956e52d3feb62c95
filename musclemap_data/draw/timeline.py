"""Regions over time: what a model says about each moment of a video, as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from musclemap_data.catalog import load_muscles
from musclemap_data.draw.canvas import STYLE, add_axes, draw_scale, new_figure, to_picture
from musclemap_data.draw.colours import ACTIVE_EDGE, BODY_EDGE, Picture, region_colour, rgb

NO_PERSON_COLOUR, HATCH_COLOUR = "#f7f5f3", "#cdc6be"
PERSON_COLOUR = "#5b7f95"
_ROW, _LEFT, _RIGHT, _TOP, _BOTTOM = 27, 176, 74, 64, 128
_TICKS_S = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)


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


@rc_context(STYLE)
def timeline_figure(
    windows: Sequence[tuple[float, float]],
    scores: npt.NDArray[np.floating],
    means: Sequence[float] | npt.NDArray[np.floating],
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
        keep: windows that count; time that only others cover is hatched.
        person_shares: of each window, the share of frames with a person.
        threshold: from where on a region is called active.
    """
    names = [muscle.name for muscle in load_muscles()]
    order = np.argsort(-np.array(means), kind="stable")
    edges, course = over_time(windows, scores, keep)
    _, seen = over_time(windows, np.array(person_shares)[:, None], [True] * len(windows))
    width, bottom = width_px - _LEFT - _RIGHT, _TOP + _ROW * len(order)
    figure = new_figure(width_px, bottom + _BOTTOM)
    figure.text(_LEFT / width_px, 1 - 26 / (bottom + _BOTTOM), title, size=17, weight="bold")

    rows = add_axes(figure, _LEFT, _TOP, width, bottom - _TOP, xticks=[], yticks=[])
    rows.set(xlim=(edges[0], edges[-1]), ylim=(len(order), 0))
    _draw_cells(rows, edges, course[:, order], threshold)
    for row, region in enumerate(order):
        weight = "bold" if means[region] >= threshold else "normal"
        _write(rows, -12, row + 0.5, names[region], weight=weight)
        _write(rows, width + _RIGHT - 12, row + 0.5, f"{means[region]:.0%}", weight=weight)
    _write(rows, width + _RIGHT - 12, -0.5, "mean")

    people = add_axes(figure, _LEFT, bottom + 8, width, 20, yticks=[], facecolor=NO_PERSON_COLOUR)
    people.stairs(seen[:, 0], edges, fill=True, color=PERSON_COLOUR)
    people.set(xlim=(edges[0], edges[-1]), ylim=(0, 1.1))
    _write(people, -12, 0.5, "person in view", color=BODY_EDGE)
    _draw_time_axis(people, width)
    draw_scale(figure, _LEFT, bottom + 84, 220, threshold, 13)
    if np.isnan(course).any():
        box = (width_px - _RIGHT - 200, bottom + 84, 24, 13)
        key = add_axes(figure, *box, xticks=[], yticks=[], xlim=(0, 1))
        _hatch(key, 0, 1)
        _write(key, 32, 0.5, "no person: not judged", size=13, ha="left")
    return to_picture(figure)


def _write(axes: Axes, x_px: float, y: float, text: str, **style: Any) -> None:
    """A line of text at a height in the axes' own units, ``x_px`` pixels from their left end."""
    style = {"size": 14, "ha": "right", "va": "center_baseline", **style}
    place = axes.get_yaxis_transform()
    axes.text(x_px / axes.bbox.width, y, text, transform=place, **style)


def _draw_cells(
    axes: Axes, edges: npt.NDArray[np.float64], course: npt.NDArray[np.float64], threshold: float
) -> None:
    """A colour for each row and moment; a frame around what is active."""
    colours = [[rgb(region_colour(np.nan_to_num(value))) for value in row] for row in course.T]
    axes.pcolormesh(edges, np.arange(course.shape[1] + 1), np.array(colours, np.uint8))
    for start, end in _runs(np.isnan(course[:, 0])):
        _hatch(axes, edges[start], edges[end])
    axes.hlines(range(course.shape[1] + 1), edges[0], edges[-1], color="white", linewidth=4)
    for row, values in enumerate(course.T):
        for start, end in _runs(values >= threshold):
            corner, length = (edges[start], row + 4 / _ROW), edges[end] - edges[start]
            frame = Rectangle(
                corner, length, 1 - 8 / _ROW, fill=False, edgecolor=ACTIVE_EDGE, linewidth=2,
                clip_on=False,
            )  # fmt: skip
            axes.add_patch(frame)


def _hatch(axes: Axes, start: float, end: float) -> None:
    """The mark of time in which nobody could be judged."""
    axes.axvspan(
        start, end, facecolor=NO_PERSON_COLOUR, edgecolor=HATCH_COLOUR, hatch="//", linewidth=0
    )


def _draw_time_axis(axes: Axes, width_px: float) -> None:
    first, last = axes.get_xlim()
    step = next((s for s in _TICKS_S if (last - first) / s * 80 <= width_px), _TICKS_S[-1])
    ticks = np.arange(np.ceil(first / step) * step, last + 1e-6, step)
    axes.set_xticks(ticks, [clock(float(tick), step < 1) for tick in ticks])
    axes.spines["bottom"].set(visible=True, color=BODY_EDGE, position=("outward", 4))
    axes.tick_params(color=BODY_EDGE, length=5, labelsize=13)
    axes.annotate(
        "min:s", (1, 0), (26, -21), xycoords="axes fraction", textcoords="offset points", size=13,
        color=BODY_EDGE, annotation_clip=False,
    )  # fmt: skip


def _runs(flags: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Half-open ranges in which flags are true."""
    steps = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return list(zip(steps[::2].tolist(), steps[1::2].tolist(), strict=True))


def clock(seconds: float, tenths: bool = False) -> str:
    """``1:05`` or ``1:05.5``."""
    minutes, rest = divmod(seconds + 1e-9, 60)
    return f"{int(minutes)}:{rest:04.1f}" if tenths else f"{int(minutes)}:{int(rest):02d}"
