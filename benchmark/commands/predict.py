"""The verb `predict`: a trained model on a video of your own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from benchmark.predict import STEP_S, WINDOW_S
from musclemap_data.commands.shared import (
    DEFAULT_DATA,
    EXIT_SOME_FAILED,
    START,
    AsJson,
    Data,
    Processes,
    examples,
)

app = typer.Typer()


@app.command(
    rich_help_panel=START,
    epilog=examples(
        "`musclemap predict my_squats.mp4 --data data/quickstart/data`",
        "`musclemap predict my_squats.mp4 --checkpoint transm3e-base-seed0 --out squats`",
        "`musclemap predict workout.mov --window-s 4 --step-s 4 --json` (a long video in half the "
        "time)",
    ),
)
def predict(
    video: Annotated[Path, typer.Argument(help="A video of one person, of any kind and length.")],
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="The run to use: its name in DATA/runs, its folder, or its model.safetensors. "
            "Default: the finished run with the highest validation mAP."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder to write to. Default: predictions/NAME."),
    ] = None,
    data: Data = DEFAULT_DATA,
    window_s: Annotated[float, typer.Option(help="Seconds judged at a time.")] = WINDOW_S,
    step_s: Annotated[float, typer.Option(help="Seconds from one window to the next.")] = STEP_S,
    workers: Processes = None,
    as_json: AsJson = False,
) -> None:
    """Say which muscle regions a person in your own video works, and when.

    Writes `prediction.json`, `body_map.svg` and `.png`, `timeline.png` and `overlay.mp4` (the
    video with skeleton and probabilities). **Not a medical device**: see docs/predict.md.

    Exit code 0: the whole video was judged. 1: parts of it could not be read and are left out.
    """
    from benchmark.predict.runs import load_run
    from benchmark.predict.video import predict_video
    from benchmark.record import choose_run

    done = predict_video(
        video,
        load_run(*choose_run(data, checkpoint)),
        out or Path("predictions") / video.stem,
        window_s=window_s,
        step_s=step_s,
        workers=workers,
        progress_bar=not as_json,
    )
    typer.echo(json.dumps(done.prediction, indent=2) if as_json else done)
    typer.echo(
        f"written to {done.folder}: prediction.json, body_map, timeline, overlay.mp4", err=True
    )
    if done.failed:
        raise typer.Exit(EXIT_SOME_FAILED)
