"""A human body from the front and from behind, with the 20 muscle regions coloured by a value.

SVG text; :mod:`musclemap_data.draw.body_picture` draws the same shapes as pixels.
``python -m annotations.derive`` makes one small SVG for each activity.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt

from musclemap_data.catalog import GRADE_NAMES, GRADES, Activity, load_muscles
from musclemap_data.draw.body_shapes import (
    CENTRES,
    HEIGHT,
    MIRROR,
    VIEWS,
    WIDTH,
    Curve,
    bezier,
    detail_lines,
    half_shapes,
    outline,
    polygon,
    shapes,
)
from musclemap_data.draw.colours import (
    ACTIVE_EDGE,
    BODY_COLOUR,
    BODY_EDGE,
    EDGE,
    INACTIVE_COLOUR,
    TEXT,
    region_colour,
)

LABEL_MARGIN = 156.0
LEGEND_HEIGHT = 60.0
TITLE_HEIGHT = 30.0
LABEL_SPACING = 17.0
LABEL_FROM = 0.5
"""Regions of at least this value get a text label and a dark edge; of grades, all above none."""

Values = Mapping[str, float] | Sequence[float] | npt.NDArray[Any]


def region_values(values: Values) -> dict[str, float]:
    """A value for each of the 20 region slugs, in canonical order.

    Args:
        values: slug -> value (missing regions are 0), or 20 values in canonical order; in [0, 1].

    Raises:
        ValueError: an unknown slug, another number of values, or a value outside [0, 1].
    """
    slugs = [muscle.slug for muscle in load_muscles()]
    if isinstance(values, Mapping):
        unknown = sorted(set(values) - set(slugs))
        if unknown:
            raise ValueError(f"no muscle region {', '.join(unknown)}; known: {', '.join(slugs)}")
        found = {slug: float(values.get(slug, 0.0)) for slug in slugs}
    else:
        if len(values) != len(slugs):
            raise ValueError(f"got {len(values)} values; one for each of {len(slugs)} regions")
        found = {slug: float(value) for slug, value in zip(slugs, values, strict=True)}
    for slug, value in found.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{slug} is {value}; values lie in [0, 1]")
    return found


def label_limit(found: Mapping[str, float], label_from: float | None) -> float:
    """From which value on a region counts as active, where nobody said so."""
    if label_from is not None:
        return label_from
    return GRADES[1] if set(found.values()) <= set(GRADES) else LABEL_FROM


# -- SVG ----------------------------------------------------------------------------------------


def body_map_svg(
    values: Values,
    *,
    title: str = "",
    labels: bool = True,
    legend: bool = True,
    id_prefix: str = "",
    label_from: float | None = None,
    plain: bool = False,
) -> str:
    """The body map as SVG text, complete in itself.

    A region is one path, mirrored by a ``<use>``; with labels it has a ``<title>`` too. Its id
    is the region's slug, with ``-back`` after it for a region seen from behind that has a path in
    the front view too; ``data-region`` is the slug in both.

    Args:
        values: see ``region_values``: 0 is inactive (grey), 1 fully active. Where all are grades
            (``catalog.GRADES``) the legend names them.
        title: shown above the figure and told by screen readers.
        labels: name the regions of value ``label_from`` and more, in the margins.
        legend: show the colour scale below.
        id_prefix: put before every id; needed where one HTML page holds several maps.
        label_from: a model's threshold: from this value on a region has a dark edge and a label.
            If not given: every grade above none, or ``LABEL_FROM`` of other values.
        plain: call the regions as in a gym.

    Raises:
        ValueError: see ``region_values``.
    """
    found = region_values(values)
    label_from = label_limit(found, label_from)
    names = {muscle.slug: muscle.called(plain) for muscle in load_muscles()}
    binary = set(found.values()) <= {0.0, 1.0}
    margin = LABEL_MARGIN if labels else 0.0
    top = TITLE_HEIGHT if title else 0.0
    width, height = WIDTH + 2 * margin, top + HEIGHT + (LEGEND_HEIGHT if legend else 0.0)
    active = [names[slug] for slug, value in found.items() if value >= label_from]
    spoken = f"{title + ': ' if title else ''}muscle regions {', '.join(active) or 'none'}"
    box = f"{0 - margin:g} {0 - top:g} {width:g} {height:g}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" role="img" '
        f'aria-labelledby="{id_prefix}map-title" font-family="Helvetica, Arial, sans-serif">',
        f'<title id="{id_prefix}map-title">{escape(spoken)}</title>',
    ]
    if title:
        parts.append(
            f'<text x="{WIDTH / 2:g}" y="-10" font-size="19" font-weight="bold" fill="{TEXT}" '
            f'text-anchor="middle">{escape(title)}</text>'
        )
    states = {slug: "active" if value else "not active" for slug, value in found.items()}
    if not binary:
        states = {slug: _worded(value, found) for slug, value in found.items()}
    told = {slug: f"{names[slug]}: {state}" for slug, state in states.items()}
    # Coordinates are whole quarters of a unit: shorter than decimals.
    outlines = f'fill="{BODY_COLOUR}" stroke="{BODY_EDGE}" stroke-width="4"'
    body = f'<path id="{id_prefix}body" {outlines} d="{_path_data([outline()])}"/>'
    for view in VIEWS:
        lines = [curve * side for curve in detail_lines()[view] for side in (1.0, MIRROR)]
        parts += [
            f'<g transform="matrix(.25 0 0 .25 {CENTRES[view]:g} 0)" stroke-width="3">',
            body if view == "front" else f'<use href="#{id_prefix}body"/>',
            f'<g id="{id_prefix}{view}" stroke="{EDGE}" fill="{INACTIVE_COLOUR}">',
            *_region_paths(view, found, told if labels else {}, id_prefix, label_from),
            f'</g><use href="#{id_prefix}{view}" transform="scale(-1 1)"/>',
            f'<path fill="none" stroke="{BODY_EDGE}" d="{_path_data(lines, closed=False)}"/></g>',
        ]
    if labels:
        parts += _labels(found, label_from, plain)
    if legend:
        parts += _legend(found, id_prefix, label_from)
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _region_paths(
    view: str,
    found: Mapping[str, float],
    told: Mapping[str, str],
    id_prefix: str,
    label_from: float,
) -> list[str]:
    """The regions of one view, right half. Those with a dark edge come last, on top."""
    parts = []
    for slug, value in sorted(found.items(), key=lambda item: item[1] >= label_from):
        curves = half_shapes()[view].get(slug, [])
        if not curves:
            continue
        paint = f' fill="{region_colour(value)}"' if value > 0 else ""
        paint += f' stroke="{ACTIVE_EDGE}"' if value >= label_from else ""
        suffix = "-back" if view == "back" and slug in shapes()["front"] else ""
        parts.append(
            f'<path id="{id_prefix}{slug}{suffix}" data-region="{slug}"{paint} '
            f'd="{_path_data(curves)}">'
            + (f"<title>{escape(told[slug])}</title></path>" if slug in told else "</path>")
        )
    return parts


def _path_data(curves: Iterable[Curve], *, closed: bool = True) -> str:
    """Relative smooth Bezier commands; ``s`` mirrors the control point before, as our curves do.

    Coordinates are whole quarters of a unit, carried along exactly, so that errors do not add up.
    """
    commands = []
    for points in curves:
        pieces = np.rint(bezier(points, closed=closed) * 4).astype(int)
        here = pieces[0, 0]
        commands.append("M" + _numbers(here))
        for number, (_, first, second, end) in enumerate(pieces):
            if number == 0:
                commands.append("c" + _numbers(first - here, second - here, end - here))
            else:
                joint = "s" if number == 1 else " "
                commands.append(joint + _numbers(second - here, end - here))
            here = end
        commands.append("z" if closed else "")
    return "".join(commands).replace(" -", "-")


def _numbers(*points: npt.NDArray[np.int64]) -> str:
    return " ".join(str(value) for value in np.concatenate(points))


@dataclass(frozen=True)
class Label:
    """A name beside the figure, and the line from it to its region; drawing units.

    Attributes:
        text: the region's name, with its value where values are not grades.
        left: whether it stands in the left margin, and ends at ``line[0]``.
        line: from the text, over a bend, to a point in the region: three (x, y).
    """

    text: str
    left: bool
    line: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]


def place_labels(
    values: Values, label_from: float | None = None, *, plain: bool = False
) -> list[Label]:
    """Labels of the regions of value ``label_from`` and more, none over another.

    Regions of the front view stand on the left, the others on the right.

    Raises:
        ValueError: see ``region_values``.
    """
    found = region_values(values)
    label_from = label_limit(found, label_from)
    names = {muscle.slug: muscle.called(plain) for muscle in load_muscles()}
    graded = set(found.values()) <= set(GRADES)  # the shade says it, the legend names it
    labels = []
    for view, sign in (("front", -1.0), ("back", 1.0)):
        anchors = []
        for slug, value in found.items():
            seen = shapes()[view].get(slug)
            if value < label_from or seen is None or (view == "back" and slug in shapes()["front"]):
                continue
            outer = max((polygon(c) for c in seen), key=lambda p: (p[:, 0] * sign).max())
            y = outer[:, 1].mean()
            x = outer[abs(outer[:, 1] - y) < 4, 0].mean()
            text = names[slug] if graded else f"{names[slug]} {value:.0%}"
            anchors.append((float(y), float(x) + CENTRES[view], text))
        anchors.sort()
        near, far = (-4.0, 8.0) if sign < 0 else (WIDTH + 4, WIDTH - 8)
        for text_y, (y, x, text) in zip(_spread([a[0] for a in anchors]), anchors, strict=True):
            labels.append(Label(text, sign < 0, ((near, text_y), (far, text_y), (x, y))))
    return labels


def _labels(found: Mapping[str, float], label_from: float, plain: bool) -> list[str]:
    """The views' names, and the labels of :func:`place_labels`."""
    parts = [
        f'<text x="{CENTRES[view]:g}" y="{HEIGHT + 8:g}" font-size="13" fill="{BODY_EDGE}" '
        f'text-anchor="middle">{view}</text>'
        for view in VIEWS
    ]
    for label in place_labels(found, label_from, plain=plain):
        (near, text_y), (far, _), (x, y) = label.line
        parts.append(
            f'<path d="M{near:g} {text_y:.1f}L{far:g} {text_y:.1f}L{x:.1f} {y:.1f}" '
            f'fill="none" stroke="{TEXT}" stroke-width=".7"/>'
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.6" fill="{TEXT}"/>'
            f'<text x="{near + (-4 if label.left else 4):g}" y="{text_y + 4.5:.1f}" '
            f'font-size="12.5" fill="{TEXT}" text-anchor="{"end" if label.left else "start"}">'
            f"{escape(label.text)}</text>"
        )
    return parts


def _spread(heights: Sequence[float]) -> list[float]:
    """Heights moved as little as needed to be ``LABEL_SPACING`` apart and inside the figure."""
    placed = list(heights)
    for _ in range(200):
        for i in range(len(placed) - 1):
            overlap = LABEL_SPACING - (placed[i + 1] - placed[i])
            if overlap > 0:
                placed[i] -= overlap / 2
                placed[i + 1] += overlap / 2
        placed = [min(max(y, 8.0), HEIGHT - 8.0) for y in placed]
    return placed


def _worded(value: float, found: Mapping[str, float]) -> str:
    """A grade's name where all values are grades, else a percentage."""
    return GRADE_NAMES[value] if set(found.values()) <= set(GRADE_NAMES) else f"{value:.0%}"


def legend_boxes(found: Mapping[str, float]) -> list[tuple[float, float, str]]:
    """The legend of grades, (x, value, word) of each box; none where values are not grades."""
    if set(found.values()) <= {0.0, 1.0}:
        return [(157.0, 0.0, "not active"), (269.0, 1.0, "active")]
    if not set(found.values()) <= set(GRADES):
        return []
    return [(20.0 + 120 * place, *grade) for place, grade in enumerate(GRADE_NAMES.items())]


def _legend(found: Mapping[str, float], id_prefix: str, label_from: float) -> list[str]:
    y, parts = HEIGHT + 22, []
    text = f'font-size="13" fill="{TEXT}"'
    boxes = legend_boxes(found)
    for x, value, word in boxes:
        parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="18" height="12" fill="{region_colour(value)}" '
            f'stroke="{ACTIVE_EDGE if value else BODY_EDGE}" stroke-width=".7"/>'
            f'<text x="{x + 24:g}" y="{y + 11:g}" {text}>{word}</text>'
        )
    if boxes:
        return parts
    stops = "".join(
        f'<stop offset="{i / 10:g}" stop-color="{region_colour(max(i / 10, 0.001))}"/>'
        for i in range(11)
    )
    left, width = WIDTH / 2 - 100, 200.0
    parts.append(
        f'<linearGradient id="{id_prefix}scale">{stops}</linearGradient>'
        f'<rect x="{left:g}" y="{y:g}" width="{width:g}" height="12" '
        f'fill="url(#{id_prefix}scale)" stroke="{BODY_EDGE}" stroke-width=".7"/>'
    )
    parts += [
        f'<text x="{left + width * share:g}" y="{y + 26:g}" {text} text-anchor="middle">'
        f"{share:.0%}</text>"
        for share in (0.0, 0.5, 1.0)
    ]
    if label_from != LABEL_FROM:
        x = left + width * label_from
        parts.append(
            f'<path d="M{x:.1f} {y - 3:g}v18" stroke="{ACTIVE_EDGE}" stroke-width="2.5"/>'
            f'<text x="{left + width + 14:g}" y="{y + 11:g}" {text}>active from '
            f"{label_from:.0%}</text>"
        )
    return parts


# -- the pictures of docs/activities.md ---------------------------------------------------------


def activity_pictures(activities: Mapping[str, Activity]) -> dict[str, str]:
    """File name -> SVG text of the small picture of each activity."""
    return {
        f"{slug}.svg": body_map_svg(activity.grades, labels=False, legend=False)
        for slug, activity in activities.items()
    }
