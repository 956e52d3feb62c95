"""The embedded model on a video of your own: which exercise, which regions, and when."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmark.embedded.model import EmbeddedModel, Recognition
from benchmark.predict.pictures import Steps, draw_all
from benchmark.predict.recognition import (
    describe_recognition,
    format_recognition,
    headline,
    works,
)
from benchmark.predict.video import PredictedVideo
from musclemap_data.catalog import GRADE_NAMES, GRADES
from musclemap_data.extract import windows
from musclemap_data.extract.person import FollowedVideo, follow
from musclemap_data.files import working_folder, write_text
from musclemap_data.skeleton import person_share


def recognise_video(
    video: Path | str,
    out: Path | str,
    *,
    model: EmbeddedModel | None = None,
    workers: int | None = None,
    plain: bool = False,
    blur_faces: bool = False,
    progress_bar: bool = False,
    tell: Callable[[str, int, int], None] | None = None,
) -> PredictedVideo:
    """Say which exercise a person in a video does, which muscle regions it works, and when.

    Needs no data set and no training. Writes what ``predict_video`` writes.

    Args:
        video: a video of one person, of any kind and length.
        out: the folder to write to; created if need be.
        model: the embedded model, where it is loaded already.
        workers: processes that follow the person; one a core if not given.
        plain: call the regions as in a gym.
        blur_faces: in the overlay; ``prediction.json`` says so.
        progress_bar: show bars on stderr.
        tell: called with the stage, the steps done and the steps in all; for a page.

    Raises:
        UserError: the video cannot be used or shows hardly anybody, or ``out`` cannot be a folder.
    """
    source = windows.read_video(Path(video))
    model, folder = model or EmbeddedModel.load(), Path(out)
    with working_folder(folder) as work:
        with Steps("piece", "follow the person", progress_bar, tell) as steps:
            followed = follow(
                source, work, workers=workers, on_total=steps.begin, on_piece=steps.step
            )
        said = model.recognise(followed.skeleton, followed.times_s)
        prediction = describe_recognition(
            model,
            said,
            {**source.facts(followed.pieces), "faces_blurred": blur_faces},
            fps=followed.pieces.fps,
            failed=followed.pieces.failed,
            plain=plain,
        )
        grades = {name: grade for grade, name in GRADE_NAMES.items()}
        draw_all(
            folder,
            source.path,
            _windows_of(followed, said),
            said.regions(),
            said.counted.tolist(),
            prediction["threshold"],
            note="a guess, not a measurement",
            grades=[grades[region["grade"]] for region in prediction["regions"].values()],
            plain=plain,
            blur_faces=blur_faces,
            work=work,
            progress_bar=progress_bar,
            tell=tell,
        )
        write_text(folder / "prediction.json", json.dumps(prediction, indent=2) + "\n")
    return PredictedVideo(
        prediction,
        folder,
        followed.pieces.failed,
        format_recognition(prediction),
        tuple(works(prediction, GRADE_NAMES[GRADES[-1]])),
        headline(prediction),
        (followed.skeleton, followed.pieces.fps),
    )


def _windows_of(followed: FollowedVideo, said: Recognition) -> windows.WindowedVideo:
    """The video as the windows that the model judged, for drawing."""
    skeletons = []
    for start, end in said.windows:
        first, last = np.searchsorted(followed.times_s, [start - 1e-6, end - 1e-6])
        skeletons.append(followed.skeleton[first:last, None])
    return replace(
        followed.pieces,
        windows=said.windows,
        skeletons=skeletons,
        person_shares=[person_share(skeleton) for skeleton in skeletons],
    )
