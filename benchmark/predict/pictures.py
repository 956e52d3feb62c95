"""The pictures of a prediction: overlay video, body map, timeline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from musclemap_data.draw.body_map import body_map_svg
from musclemap_data.draw.body_picture import body_map_figure
from musclemap_data.draw.canvas import write_png
from musclemap_data.draw.overlay import write_overlay
from musclemap_data.draw.timeline import timeline_figure
from musclemap_data.extract.windows import WindowedVideo
from musclemap_data.files import write_text

_LONGEST_TITLE = 40
"""Longer names of videos are cut in the titles of figures."""


def draw_all(
    folder: Path,
    video: Path,
    found: WindowedVideo,
    scores: npt.NDArray[np.floating],
    keep: Sequence[bool],
    threshold: float,
    *,
    note: str,
    work: Path,
    progress_bar: bool,
) -> None:
    """Write the overlay video, the body map and the timeline.

    Args:
        folder: to write to.
        video: the source.
        found: its windows.
        scores: ``[windows, 20]`` probabilities.
        keep: windows that count.
        threshold: from where on a region is called active.
        note: what a reader should know, in a few words.
        work: an existing folder for temporary files.
        progress_bar: show one on stderr.
    """
    with bar("frame", "overlay", progress_bar) as shown:
        write_overlay(
            folder / "overlay.mp4",
            video,
            found,
            scores,
            keep,
            threshold,
            note=note,
            work_dir=work,
            on_total=shown.reset,
            on_frame=shown.update,
        )
    means = [float(mean) for mean in scores[np.array(keep, bool)].mean(axis=0)]
    name = video.name
    if len(name) > _LONGEST_TITLE:
        name = f"{name[: _LONGEST_TITLE - 3]}..."
    title = f"{name}: muscle regions ({note})"
    write_text(folder / "body_map.svg", body_map_svg(means, title=title, label_from=threshold))
    body_map = body_map_figure(means, title=title, label_from=threshold)
    write_png(folder / "body_map.png", body_map)
    timeline = timeline_figure(
        found.windows, scores, means, keep, found.person_shares, threshold, title=title
    )
    write_png(folder / "timeline.png", timeline)


def bar(unit: str, description: str, shown: bool) -> Any:
    """A progress bar on stderr."""
    return tqdm(unit=unit, desc=description, dynamic_ncols=True, disable=not shown)
