"""The body map as pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from musclemap_data.draw.body_map import LABEL_FROM, Values, region_values
from musclemap_data.draw.body_shapes import (
    CENTRES,
    HEIGHT,
    MIRROR,
    VIEWS,
    WIDTH,
    Curve,
    detail_lines,
    outline,
    polygon,
    shapes,
)
from musclemap_data.draw.colours import (
    ACTIVE_EDGE,
    BODY_COLOUR,
    BODY_EDGE,
    EDGE,
    Picture,
    region_colour,
    rgb,
)


def body_map_png(
    values: Values,
    height_px: int = 480,
    *,
    background: tuple[int, int, int] = (255, 255, 255),
    label_from: float = LABEL_FROM,
) -> Picture:
    """The two figures as a picture, ``uint8 [height_px, W, 3]`` RGB, without text.

    Args:
        values: see ``region_values``.
        height_px: 16 or more.
        background: RGB.
        label_from: regions of at least this value get a dark edge.

    Raises:
        ValueError: see ``region_values``, or a height under 16.
    """
    import cv2

    found = region_values(values)
    if height_px < 16:
        raise ValueError(f"height_px is {height_px}; it must be 16 or more")
    over = 3 if height_px <= 1000 else 2
    width_px = round(height_px * WIDTH / HEIGHT)
    scale = height_px * over / HEIGHT
    image = np.empty((height_px * over, width_px * over, 3), np.uint8)
    image[:] = background
    fraction = 4  # cv2 takes coordinates in 1/16 pixels

    def pixels(curve: Curve, view: str, *, closed: bool = True) -> npt.NDArray[np.int32]:
        placed = (polygon(curve, closed=closed) + [CENTRES[view], 0]) * scale
        return np.rint(placed * 2**fraction).astype(np.int32)

    def draw(points: npt.NDArray[np.int32], fill: str, edge: str, edge_width: float) -> None:
        thickness = max(1, round(edge_width * scale))
        cv2.fillPoly(image, [points], rgb(fill), cv2.LINE_AA, fraction)
        cv2.polylines(image, [points], True, rgb(edge), thickness, cv2.LINE_AA, fraction)

    for view in VIEWS:
        draw(pixels(outline(), view), BODY_COLOUR, BODY_EDGE, 1.0)
        for slug, value in sorted(found.items(), key=lambda item: item[1] >= label_from):
            for curve in shapes()[view].get(slug, []):
                edge = ACTIVE_EDGE if value >= label_from else EDGE
                draw(pixels(curve, view), region_colour(value), edge, 0.7)
        for line in [c * side for c in detail_lines()[view] for side in (1.0, MIRROR)]:
            points = pixels(line, view, closed=False)
            thickness = max(1, round(0.8 * scale))
            cv2.polylines(image, [points], False, rgb(BODY_EDGE), thickness, cv2.LINE_AA, fraction)
    small = cv2.resize(image, (width_px, height_px), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)
