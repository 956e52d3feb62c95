"""The pictures of a prediction, as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from musclemap_data.draw.body_map import body_map_svg
from musclemap_data.draw.body_picture import body_map_figure
from musclemap_data.draw.canvas import write_png
from musclemap_data.draw.timeline import timeline_figure
from musclemap_data.files import write_text


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

    The arguments are those of :func:`musclemap_data.draw.timeline.timeline_figure`.
    """
    svg = body_map_svg(means, title=title, label_from=threshold)
    write_text(folder / "body_map.svg", svg)
    body_map = body_map_figure(means, title=title, label_from=threshold)
    write_png(folder / "body_map.png", body_map)
    timeline = timeline_figure(windows, scores, means, keep, person_shares, threshold, title=title)
    write_png(folder / "timeline.png", timeline)
