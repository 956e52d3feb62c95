"""The pictures of a prediction: overlay video, body map, timeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

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
    grades: Sequence[float] | None = None,
    plain: bool = False,
    blur_faces: bool = False,
    work: Path,
    progress_bar: bool,
    tell: Callable[[str, int, int], None] | None = None,
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
        grades: of the 20 regions (``catalog.GRADES``): the body map shows them, in three shades,
            and not the probabilities.
        plain: call the regions on the body map as in a gym.
        blur_faces: in the overlay.
        work: an existing folder for temporary files.
        progress_bar: show one on stderr.
        tell: see ``Steps``.
    """
    with Steps("frame", "draw the overlay", progress_bar, tell) as steps:
        write_overlay(
            folder / "overlay.mp4",
            video,
            found,
            scores,
            keep,
            threshold,
            note=note,
            blur_faces=blur_faces,
            work_dir=work,
            on_total=steps.begin,
            on_frame=steps.step,
        )
    means = [float(mean) for mean in scores[np.array(keep, bool)].mean(axis=0)]
    name = video.name
    if len(name) > _LONGEST_TITLE:
        name = f"{name[: _LONGEST_TITLE - 3]}..."
    title = f"{name}: muscle regions ({note})"
    values, limit = (means, threshold) if grades is None else (list(grades), None)
    svg = body_map_svg(values, title=title, label_from=limit, plain=plain)
    write_text(folder / "body_map.svg", svg)
    picture = body_map_figure(values, title=title, label_from=limit, plain=plain)
    write_png(folder / "body_map.png", picture)
    timeline = timeline_figure(
        found.windows, scores, means, keep, found.person_shares, threshold, title=title
    )
    write_png(folder / "timeline.png", timeline)


class Steps:
    """Tells of the steps of one stage: a bar on stderr, a page, or nobody.

    Args:
        unit: of a step, for the bar.
        stage: what is done.
        shown: show the bar.
        tell: called with the stage, the steps done and the steps in all.
    """

    def __init__(
        self, unit: str, stage: str, shown: bool, tell: Callable[[str, int, int], None] | None
    ) -> None:
        self._bar = tqdm(unit=unit, desc=stage, dynamic_ncols=True, disable=not shown)
        self._stage, self._tell, self._done, self._total = stage, tell, 0, 0

    def __enter__(self) -> Steps:
        self._say()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def begin(self, total: int) -> None:
        """There are so many steps."""
        self._bar.reset(total)
        self._done, self._total = 0, total
        self._say()

    def step(self) -> None:
        """One more is done."""
        self._bar.update()
        self._done += 1
        self._say()

    def _say(self) -> None:
        if self._tell:
            self._tell(self._stage, self._done, self._total)
