"""Plots: SVG text for pages without scripts or outside resources, PDF for papers.

Each is drawn once with matplotlib; :func:`to_svg` and :func:`save_pdf` make both of it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from benchmark.record import SplitScores
from benchmark.report.analysis import Confusion, RegionScores, Reliability
from musclemap_data.files import replacing

COLUMN_IN, PAGE_IN = 3.5, 7.0
"""Width of one and of two columns of a paper, in inches."""
KNOWN, NEW = "#1f6fb4", "#c8501e"
"""Colours of known and of new activities."""
_INK, _GRID, _PAPER = "#1c1f23", "#d5d8dc", "#fefefe"
_PAGE_COLOURS = {
    KNOWN: "var(--known)", NEW: "var(--new)",
    _INK: "var(--ink)", _GRID: "var(--grid)", _PAPER: "var(--page)",
}  # fmt: skip
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so every machine draws the same
    "font.size": 7.5,
    "axes.edgecolor": _INK, "axes.labelcolor": _INK, "text.color": _INK,
    "xtick.color": _INK, "ytick.color": _INK,
    "axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "grid.color": _GRID, "grid.linewidth": 0.6, "lines.linewidth": 1.2,
    "legend.frameon": False, "axes.titlesize": 8, "axes.titleweight": "bold",
    "text.parse_math": False,  # the $ in the name of a data set is no formula
    "svg.fonttype": "none",  # text stays text, that can be read, found and copied
    "pdf.fonttype": 42,  # whole TrueType fonts: what publishers ask for
}  # fmt: skip


def _figure(width_in: float, height_in: float, **layout: Any) -> tuple[Figure, Any]:
    """An empty figure, and its axes (as ``Figure.subplots``)."""
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    return figure, figure.subplots(**layout)


def to_svg(figure: Figure, label: str) -> str:
    """The figure as one ``<svg>`` element for a page that defines the colours as CSS variables.

    Args:
        label: said by screen readers.
    """
    text = StringIO()
    with rc_context({**_STYLE, "svg.hashsalt": label}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    # Several figures share a page: no id stays that the figure itself does not use.
    used = set(re.findall(r"#([\w.-]+)", svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", svg)
    for colour, variable in _PAGE_COLOURS.items():
        svg = svg.replace(colour, variable)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(label)}" ', 1)


def save_pdf(figure: Figure, path: Path) -> None:
    """Write the figure as PDF with its fonts inside (atomically, the same bytes every time)."""
    with replacing(path) as temporary, rc_context(_STYLE):
        figure.savefig(temporary, format="pdf", dpi=300, metadata={"CreationDate": None})


@rc_context(_STYLE)
def interval_plot(
    labels: Sequence[str], series: Mapping[str, tuple[str, Sequence[SplitScores]]]
) -> Figure:
    """mAP of runs: a dot, its interval as a bar, and a tick at its chance level.

    Args:
        labels: one a row.
        series: name -> (colour, for each row the scores of a split); what is None is left out.
    """
    figure, axes = _figure(PAGE_IN, 0.75 + 0.3 * len(labels))
    for number, (name, (colour, scores)) in enumerate(series.items()):
        axes.plot([], [], "o", color=colour, markersize=4, label=name)
        for row, each in enumerate(scores):
            y = row + (number - (len(series) - 1) / 2) * 0.36
            if each.chance is not None:
                axes.vlines(100 * each.chance.mean, y - 0.16, y + 0.16, color=_INK, linewidth=1)
            if each.map_interval is not None:
                low, high = each.map_interval
                axes.hlines(y, 100 * low, 100 * high, color=colour, linewidth=2.5, alpha=0.5)
            if each.map is not None:
                axes.plot(100 * each.map, y, "o", color=colour, markersize=4, clip_on=False)
    axes.plot([], [], "|", color=_INK, label="chance level")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.set_xlabel("mAP in %")
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper right", ncols=len(series) + 1)
    return figure


@rc_context(_STYLE)
def region_bars(regions: Sequence[str], series: Mapping[str, tuple[str, RegionScores]]) -> Figure:
    """Average precision of every region: one bar a split, a tick at its chance level.

    Behind each bar stands the number of clips in which the region is active.

    Args:
        regions: the 20 names.
        series: name -> (colour, scores).
    """
    figure, axes = _figure(COLUMN_IN, 5.6)
    thickness = 0.8 / max(1, len(series))
    rows = np.arange(len(regions))
    for number, (name, (colour, scores)) in enumerate(series.items()):
        y = rows + (number - (len(series) - 1) / 2) * thickness
        defined = np.isfinite(scores.average_precision)
        values = np.where(defined, 100 * scores.average_precision, 0)
        label = f"{name} ({scores.clips} clips)"
        axes.barh(y, values, height=0.88 * thickness, color=colour, label=label)
        for row in rows:
            text = str(scores.positives[row])
            axes.text(101.5, y[row], text, va="center", fontsize=5.5, color=colour)
        chance = 100 * scores.chance[defined]
        axes.vlines(chance, y[defined] - 0.44 * thickness, y[defined] + 0.44 * thickness,
                    color=_INK, linewidth=1.0,
                    label="chance level" if number == len(series) - 1 else None)  # fmt: skip
    axes.set_yticks(rows, regions)
    axes.set_ylim(len(regions) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.text(101.5, -0.75, "clips", fontsize=5.5)
    axes.set_xlabel("average precision in %")
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    figure.legend(
        loc="outside upper center", ncols=3, fontsize=6.5, handlelength=1, columnspacing=1
    )
    return figure


@rc_context(_STYLE)
def reliability_plot(series: Mapping[str, tuple[str, Reliability]]) -> Figure:
    """Observed against predicted share; the dot's area grows with the pairs in the bin."""
    figure, axes = _figure(COLUMN_IN, 3.3)
    axes.plot([0, 100], [0, 100], color=_INK, linewidth=0.8, linestyle="--", label="perfect")
    for name, (colour, each) in series.items():
        filled = each.count > 0
        x, y = 100 * each.predicted[filled], 100 * each.observed[filled]
        size = 60 * each.count[filled] / max(1, each.count.max())
        axes.plot(x, y, color=colour, linewidth=0.9, clip_on=False)
        label = f"{name}, error {100 * each.error:.1f} points"
        axes.scatter(x, y, np.maximum(size, 3), colour, label=label, linewidths=0, clip_on=False)
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_aspect("equal")
    axes.set_xlabel("predicted probability in %")
    axes.set_ylabel("share that is active in %")
    axes.grid()
    legend = axes.legend(loc="upper left", fontsize=6.5)
    for handle in legend.legend_handles[1:]:
        handle.set_sizes([14])
    return figure


@rc_context(_STYLE)
def confusion_plot(confusion: Confusion) -> Figure:
    """A matrix whose cells are the darker the more of a row's clips they hold, in percent."""
    count = len(confusion.names)
    side = min(PAGE_IN, max(COLUMN_IN, 1.6 + 0.21 * count))
    figure, axes = _figure(side, side)
    size = min(6.0, 36 * (side - 1.6) / max(1, count))
    for row, column in zip(*np.nonzero(confusion.share), strict=True):
        share = confusion.share[row, column]
        colour = NEW if confusion.new[row] else KNOWN
        place, alpha = (column - 0.5, row - 0.5), 0.08 + 0.92 * share
        axes.add_patch(Rectangle(place, 1, 1, facecolor=colour, alpha=alpha, linewidth=0))
        if round(100 * share):
            axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=size,
                      color=_INK if share < 0.5 else _PAPER)  # fmt: skip
    axes.plot([-0.5, count - 0.5], [-0.5, count - 0.5], color=_GRID, linewidth=0.6, zorder=0)
    names = [name.replace("_", " ") for name in confusion.names]
    axes.set_yticks(
        range(count), [f"{n} ({c})" for n, c in zip(names, confusion.clips, strict=True)]
    )
    axes.set_xticks(range(count), names, rotation=90)
    for labels in (axes.get_yticklabels(), axes.get_xticklabels()):
        for label, new in zip(labels, confusion.new, strict=True):
            label.set_color(NEW if new else KNOWN)
            label.set_fontsize(max(size, 4.5))
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
    axes.grid(which="minor", linewidth=0.4)
    axes.tick_params(which="both", length=0)
    axes.set_aspect("equal")
    what = "family" if confusion.families else "activity"
    axes.set_xlabel(f"{what} with the nearest label set")
    axes.set_ylabel(f"{what} of the clip (clips)")
    return figure


@rc_context(_STYLE)
def training_curves(
    log: Mapping[str, npt.NDArray[np.float64]],
    validation: Mapping[str, npt.NDArray[np.float64]],
) -> Figure:
    """Loss, learning rate and gradient norm over the optimiser steps of a run.

    Args:
        log: ``step``, ``epoch``, ``loss``, ``learning_rate``, ``gradient_norm``, each ``[steps]``.
        validation: ``step``, ``val_known``, ``val_new``, mAP from 0 to 1; empty without one.
    """
    heights = [2, 1, 1] + [1.4] * bool(validation)
    figure, rows = _figure(
        COLUMN_IN, 1.1 * sum(heights), nrows=len(heights), sharex=True, height_ratios=heights
    )
    step, loss = log["step"], log["loss"]
    window = max(1, len(loss) // 20)
    faint = {"alpha": 0.4, "linewidth": 0.7} if window > 1 else {}
    rows[0].plot(step, loss, color=KNOWN, label="every step", **faint)
    if window > 1:
        smooth = np.convolve(loss, np.ones(window) / window, mode="valid")
        rows[0].plot(step[window - 1 :], smooth, color=KNOWN, label=f"mean of {window} steps")
    rows[0].legend(loc="upper right", fontsize=6.5)
    rows[1].plot(step, log["learning_rate"], color=KNOWN)
    rows[2].plot(step, log["gradient_norm"], color=KNOWN, linewidth=0.7)
    labels = ["loss", "learning rate", "gradient norm"]
    if validation:
        labels.append("validation mAP, %")
        for name, colour in (("val_known", KNOWN), ("val_new", NEW)):
            shares = 100 * validation[name]
            kind = name.removeprefix("val_")
            rows[3].plot(validation["step"], shares, ".-", color=colour, label=kind, markersize=4)
        rows[3].legend(loc="lower right", fontsize=6.5)
    for axes, label in zip(rows, labels, strict=True):
        axes.set_ylabel(label)
        if axes is not rows[0]:  # a loss has no natural zero
            axes.set_ylim(bottom=0)
        axes.grid()
        for epoch_start in step[1:][np.diff(log["epoch"]) > 0]:
            axes.axvline(epoch_start - 0.5, color=_GRID, linewidth=0.6, linestyle=":")
    figure.align_ylabels()
    rows[-1].set_xlabel("optimiser step (dotted: a new epoch)")
    return figure


@rc_context(_STYLE)
def picture_rows(
    rows: Sequence[Sequence[npt.NDArray[np.uint8]]], captions: Sequence[str], notes: Sequence[str]
) -> Figure:
    """Rows of pictures over the whole page, each with a caption above and lines at its right.

    Args:
        rows: of each row its pictures, ``uint8 [H, W, 3]``, as many in each.
        captions: one a row.
        notes: one a row; lines are parted by newlines.
    """
    columns = len(rows[0])
    side = 5.0 / columns
    figure, axes = _figure(
        PAGE_IN, len(rows) * (side + 0.28), nrows=len(rows), ncols=columns + 1, squeeze=False,
        width_ratios=[side] * columns + [1.9],
    )  # fmt: skip
    for line, pictures, caption, note in zip(axes, rows, captions, notes, strict=True):
        for place, picture in zip(line, pictures, strict=False):
            place.imshow(picture)
            place.set_axis_off()
        line[0].set_title(caption, loc="left", fontsize=7)
        line[-1].set_axis_off()
        line[-1].text(0, 1, note, va="top", fontsize=6, linespacing=1.35)
    return figure
