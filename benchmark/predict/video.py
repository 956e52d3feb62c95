"""A trained model on a video of your own: slide windows over it, score them, draw the result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from benchmark.predict import STEP_S, WINDOW_S
from benchmark.predict.runs import TrainedRun, load_run, made_differently, score_windows
from benchmark.predict.summary import describe_prediction, format_prediction
from musclemap_data.draw.body_map import body_map_svg
from musclemap_data.draw.body_picture import body_map_figure
from musclemap_data.draw.canvas import write_png
from musclemap_data.draw.overlay import write_overlay
from musclemap_data.draw.timeline import timeline_figure
from musclemap_data.errors import Failure
from musclemap_data.extract import windows
from musclemap_data.files import working_folder, write_text

_LONGEST_TITLE = 40
"""Longer names of videos are cut in the titles of figures."""


@dataclass(frozen=True)
class PredictedVideo:
    """What :func:`predict_video` found. ``str()`` of it is a summary to print.

    Attributes:
        prediction: the content of ``prediction.json``: video, run, windows, regions, doubts.
        folder: where everything was written.
        failed: windows that could not be read and are left out: ``"1.50-4.50 s"`` -> failure.
    """

    prediction: dict[str, Any]
    folder: Path
    failed: Mapping[str, Failure]

    def __str__(self) -> str:
        return format_prediction(self.prediction)


def predict_video(
    video: Path | str,
    run: TrainedRun | Path | str,
    out: Path | str,
    *,
    window_s: float = WINDOW_S,
    step_s: float = STEP_S,
    workers: int | None = None,
    progress_bar: bool = False,
) -> PredictedVideo:
    """Say which muscle regions a person in a video works, and when.

    Writes ``prediction.json``, ``body_map.svg``, ``body_map.png``, ``timeline.png`` and
    ``overlay.mp4``. A mistake leaves nothing behind.

    Args:
        video: a video of one person, of any kind and length.
        run: a finished run, loaded or as its folder. ``choose_run`` finds the best of a data set.
        out: the folder to write to; created if need be.
        window_s: seconds that the model judges at a time.
        step_s: seconds from the start of one window to the start of the next.
        workers: processes that extract windows; one a core if not given.
        progress_bar: show bars on stderr.

    Raises:
        UserError: the video cannot be used or shows hardly anybody, the lengths do not fit
            together, the run is damaged, or ``out`` cannot be a folder.
    """
    source = windows.read_video(Path(video))
    windows.plan_windows(source.seconds, window_s, step_s)  # mistakes before the slow part
    if not isinstance(run, TrainedRun):
        run = load_run(Path(run))
    folder = Path(out)
    with working_folder(folder) as work:
        with _bar("window", "extract", progress_bar) as bar:
            found = windows.extract_windows(
                source,
                work,
                run.modalities,
                window_s=window_s,
                step_s=step_s,
                workers=workers,
                on_total=bar.reset,
                on_window=bar.update,
            )
        scores = score_windows(run, work, windows.SPLIT, progress_bar=progress_bar)
        prediction = describe_prediction(
            run,
            scores,
            found.windows,
            found.person_shares,
            source.facts(found),
            fps=found.fps,
            failed=found.failed,
            differing=made_differently(run, work, windows.SPLIT),
        )
        _draw(source.path, run, found, scores, prediction, folder, work, progress_bar)
        write_text(folder / "prediction.json", json.dumps(prediction, indent=2) + "\n")
    return PredictedVideo(prediction, folder, found.failed)


def _draw(
    video: Path,
    run: TrainedRun,
    found: windows.WindowedVideo,
    scores: npt.NDArray[np.float32],
    prediction: Mapping[str, Any],
    folder: Path,
    work: Path,
    progress_bar: bool,
) -> None:
    """Write the overlay video, the body map and the timeline."""
    keep = [window["counted"] for window in prediction["windows"]]
    means = [region["mean"] for region in prediction["regions"].values()]
    note = (
        "model trained on synthetic videos only" if run.synthetic else "a guess, not a measurement"
    )
    with _bar("frame", "overlay", progress_bar) as bar:
        write_overlay(
            folder / "overlay.mp4",
            video,
            found,
            scores,
            keep,
            run.threshold,
            note=note,
            work_dir=work,
            on_total=bar.reset,
            on_frame=bar.update,
        )
    name = video.name
    if len(name) > _LONGEST_TITLE:
        name = f"{name[: _LONGEST_TITLE - 3]}..."
    title, threshold = f"{name}: muscle regions ({note})", run.threshold
    svg = body_map_svg(means, title=title, label_from=threshold)
    write_text(folder / "body_map.svg", svg)
    body_map = body_map_figure(means, title=title, label_from=threshold)
    write_png(folder / "body_map.png", body_map)
    timeline = timeline_figure(
        found.windows, scores, means, keep, found.person_shares, threshold, title=title
    )
    write_png(folder / "timeline.png", timeline)


def _bar(unit: str, description: str, shown: bool) -> Any:
    return tqdm(unit=unit, desc=description, dynamic_ncols=True, disable=not shown)
