"""Plots as SVG text, for a page without scripts or outside resources."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

_LABEL_PX, _PLOT_PX, _ROW_PX, _TOP_PX = 330, 520, 34, 44


def interval_plot(
    labels: Sequence[str], series: Mapping[str, tuple[str, Sequence[Mapping[str, Any]]]]
) -> str:
    """mAP from 0 to 100 %: a dot, its interval as a bar, and a tick at the constant score.

    Args:
        labels: one a row.
        series: name -> (colour, for each row the metrics of a split: ``map``, ``map_interval``
            and ``constant_map``, where None is left out).
    """
    height = _TOP_PX + _ROW_PX * len(labels) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LABEL_PX + _PLOT_PX + 20}" '
        f'height="{height}" font-family="sans-serif" font-size="13" role="img" '
        'aria-label="mAP of each run with its 95% interval">'
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = _x(share)
        parts.append(f'<line x1="{x}" y1="{_TOP_PX - 8}" x2="{x}" y2="{height}" stroke="#ddd"/>')
        parts.append(f'<text x="{x}" y="{_TOP_PX - 12}" text-anchor="middle">{share:.0%}</text>')
    for number, (name, (color, _)) in enumerate(series.items()):
        x = 10 + 110 * number
        parts.append(f'<circle cx="{x}" cy="12" r="5" fill="{color}"/>')
        parts.append(f'<text x="{x + 10}" y="16">{html.escape(name)}</text>')
    parts.append(f'<text x="{10 + 110 * len(series)}" y="16">| constant score</text>')
    for row, label in enumerate(labels):
        y = _TOP_PX + _ROW_PX * row + _ROW_PX // 2
        parts.append(f'<text x="0" y="{y + 4}">{html.escape(label)}</text>')
        for number, (color, values) in enumerate(series.values()):
            parts += _mark(y - 6 + 12 * number, color, values[row])
    return "\n".join([*parts, "</svg>"])


def _x(share: float) -> float:
    return round(_LABEL_PX + _PLOT_PX * share, 1)


def _mark(y: int, color: str, values: Mapping[str, Any]) -> list[str]:
    parts = []
    constant, interval, score = (values[n] for n in ("constant_map", "map_interval", "map"))
    if constant is not None:
        x = _x(constant)
        parts.append(
            f'<line x1="{x}" y1="{y - 6}" x2="{x}" y2="{y + 6}" stroke="{color}" '
            'stroke-dasharray="2"/>'
        )
    if interval is not None:
        low, high = map(_x, interval)
        parts.append(
            f'<line x1="{low}" y1="{y}" x2="{high}" y2="{y}" stroke="{color}" stroke-width="3" '
            'opacity=".5"/>'
        )
    if score is not None:
        parts.append(f'<circle cx="{_x(score)}" cy="{y}" r="4" fill="{color}"/>')
    return parts
