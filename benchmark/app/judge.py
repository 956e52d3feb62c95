"""What the page shows of a video: the exercise, the regions, the movement."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmark.app.jobs import Judge, Tell
from benchmark.embedded.model import EmbeddedModel
from benchmark.predict.recognise import recognise_video
from musclemap_data.movement.page import summary_lines
from musclemap_data.movement.video import write_session


def make_judge(model: EmbeddedModel, workers: int | None = None, blur_faces: bool = False) -> Judge:
    """What judges a video with the embedded model.

    Args:
        model: loaded.
        workers: processes that follow the person; one a core if not given.
        blur_faces: in the overlay.
    """

    def judge(video: Path, folder: Path, tell: Tell) -> dict[str, object]:
        done = recognise_video(
            video, folder, model=model, workers=workers, blur_faces=blur_faces, tell=tell
        )
        session = write_session(folder, video.name, *done.skeleton)
        return {
            "prediction": done.prediction,
            "headline": done.exercise,
            "movement": {**session.facts(), "sentences": summary_lines(session)},
            # NaN is no JSON.
            "course": [
                None if np.isnan(value) else round(float(value), 4)
                for value in session.repetitions.course
            ],
            "files": sorted(path.name for path in folder.iterdir()),
        }

    return judge
