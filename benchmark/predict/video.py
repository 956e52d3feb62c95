"""A trained model on a video of your own: slide windows over it, score them, draw the result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmark.predict import STEP_S, WINDOW_S
from benchmark.predict.pictures import Steps, draw_all
from benchmark.predict.runs import TrainedRun, load_run, made_differently, score_windows
from benchmark.predict.summary import describe_prediction, format_prediction
from musclemap_data.errors import Failure
from musclemap_data.extract import windows
from musclemap_data.files import working_folder, write_text
from musclemap_data.modalities.settings import ExtractionSettings


@dataclass(frozen=True)
class PredictedVideo:
    """What a model says of a video. ``str()`` of it is the summary to print.

    Attributes:
        prediction: the content of ``prediction.json``: video, run, windows, regions, doubts.
        folder: where everything was written.
        failed: windows that could not be read and are left out: ``"1.50-4.50 s"`` -> failure.
        summary: for people.
        works: names of the regions that are called active, the most probable first; of a model
            that grades them, the prime movers.
        exercise: what was recognised, in a few words; empty for a model of regions only.
        skeleton: ``float32 [T, 17, 3]`` of the whole video, and its frames a second; without frames
            for a model of windows.
    """

    prediction: dict[str, Any]
    folder: Path
    failed: Mapping[str, Failure]
    summary: str
    works: tuple[str, ...]
    exercise: str = ""
    skeleton: tuple[npt.NDArray[np.float32], float] = field(
        default_factory=lambda: (np.zeros((0, 17, 3), np.float32), 1.0), repr=False
    )

    def __str__(self) -> str:
        return self.summary


def predict_video(
    video: Path | str,
    run: TrainedRun | Path | str,
    out: Path | str,
    *,
    window_s: float = WINDOW_S,
    step_s: float = STEP_S,
    workers: int | None = None,
    plain: bool = False,
    blur_faces: bool = False,
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
        plain: call the regions as in a gym.
        blur_faces: in the overlay; ``prediction.json`` says so.
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
        with Steps("window", "extract the windows", progress_bar, None) as steps:
            found = windows.extract_windows(
                source,
                work,
                run.modalities,
                window_s=window_s,
                step_s=step_s,
                workers=workers,
                settings=ExtractionSettings(blur_faces=run.blurred),
                on_total=steps.begin,
                on_window=steps.step,
            )
        scores = score_windows(run, work, windows.SPLIT, progress_bar=progress_bar)
        prediction = describe_prediction(
            run,
            scores,
            found.windows,
            found.person_shares,
            {**source.facts(found), "faces_blurred": blur_faces},
            fps=found.fps,
            failed=found.failed,
            differing=made_differently(run, work, windows.SPLIT),
            plain=plain,
        )
        draw_all(
            folder,
            source.path,
            found,
            scores,
            [window["counted"] for window in prediction["windows"]],
            run.threshold,
            note="model trained on synthetic videos only"
            if run.synthetic
            else "a guess, not a measurement",
            plain=plain,
            blur_faces=blur_faces,
            work=work,
            progress_bar=progress_bar,
        )
        write_text(folder / "prediction.json", json.dumps(prediction, indent=2) + "\n")
    regions = sorted(prediction["regions"].values(), key=lambda region: -region["mean"])
    works = tuple(region["name"] for region in regions if region["active"] == "yes")
    return PredictedVideo(prediction, folder, found.failed, format_prediction(prediction), works)
