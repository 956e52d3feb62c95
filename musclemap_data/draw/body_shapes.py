"""The drawing of the body: closed curves of the outline and of the 20 regions, front and back.

It is our own: hand-set control points in ``annotations/body/shapes.json``, joined by Catmull-Rom
curves.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from musclemap_data.catalog import annotations_dir

Curve = npt.NDArray[np.float64]
"""Control points ``[N, 2]`` of one closed curve, in drawing units."""

VIEWS = ("front", "back")
CENTRES = {"front": 122.0, "back": 376.0}
WIDTH, HEIGHT = 498.0, 470.0
MIRROR = np.array([-1.0, 1.0])


@cache
def _drawing() -> dict[str, Any]:
    text = (annotations_dir() / "body" / "shapes.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


@cache
def half_shapes() -> dict[str, dict[str, list[Curve]]]:
    """View -> region slug -> closed curves of the right half of the picture, midline at x = 0.

    A shape that crosses the midline is there whole.
    """
    return {
        view: {
            slug: [_whole(np.array(half, np.float64)) for half in halves]
            for slug, halves in _drawing()[view].items()
        }
        for view in VIEWS
    }


@cache
def shapes() -> dict[str, dict[str, list[Curve]]]:
    """As ``half_shapes``, for both halves."""
    return {
        view: {
            slug: [*curves, *(c * MIRROR for c in curves if c[:, 0].min() > 0)]
            for slug, curves in regions.items()
        }
        for view, regions in half_shapes().items()
    }


@cache
def outline() -> Curve:
    """The outline of the body, the same in both views; midline at x = 0."""
    return _whole(np.array(_drawing()["outline"], np.float64))


@cache
def detail_lines() -> dict[str, list[Curve]]:
    """View -> open curves of the right half that only make the figure easier to read."""
    return {
        view: [np.array(points, np.float64) for points in _drawing()[f"{view}_lines"]]
        for view in VIEWS
    }


def _whole(half: Curve) -> Curve:
    """A curve that starts and ends on the midline is one half of a symmetric shape."""
    if half[0, 0] == 0 and half[-1, 0] == 0:
        return np.concatenate([half, (half * MIRROR)[-2:0:-1]])
    return half


def bezier(points: Curve, *, closed: bool = True) -> npt.NDArray[np.float64]:
    """The uniform Catmull-Rom curve through points as cubic Bezier pieces ``[pieces, 4, 2]``.

    A piece from P1 to P2 has the inner control points P1 + (P2 - P0)/6 and P2 - (P3 - P1)/6
    (Catmull and Rom 1974, in Bezier form).
    """
    if closed:
        before, after = np.roll(points, 1, axis=0), np.roll(points, -1, axis=0)
    else:
        before = np.concatenate([points[:1], points[:-1]])
        after = np.concatenate([points[1:], points[-1:]])
    tangent = (after - before) / 6
    pieces = np.stack(
        [points, points + tangent, np.roll(points - tangent, -1, 0), np.roll(points, -1, 0)], axis=1
    )
    return pieces if closed else pieces[:-1]


def polygon(points: Curve) -> npt.NDArray[np.float64]:
    """Points on the closed curve, ``[N, 2]``, eight to a piece."""
    t = np.linspace(0, 1, 8, endpoint=False)[:, None]
    weights = np.concatenate([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], axis=1)
    curve: npt.NDArray[np.float64] = np.einsum("sk,pkd->psd", weights, bezier(points))
    return curve.reshape(-1, 2)
