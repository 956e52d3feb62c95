"""The verb `predict`: which exercise your own video shows, and which muscle regions it works."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.predict import STEP_S, WINDOW_S
from musclemap_data.commands.shared import (
    DEFAULT_DATA,
    EXIT_SOME_FAILED,
    EXIT_USER_ERROR,
    START,
    AsJson,
    BlurFaces,
    Names,
    NamesOption,
    Processes,
    data_folder,
    examples,
)

if TYPE_CHECKING:
    from benchmark.predict.video import PredictedVideo

app = typer.Typer()
EMBEDDED = "embedded"


@app.command(
    rich_help_panel=START,
    epilog=examples(
        "`musclemap predict my_squats.mp4`",
        "`musclemap predict monday/ tuesday.mov --out week` (a whole folder, and one more)",
        "`musclemap predict my_squats.mp4 --data data/quickstart/data` (the best run there)",
    ),
)
def predict(
    videos: Annotated[
        list[Path],
        typer.Argument(metavar="VIDEO...", help="Videos of one person each, or folders of them."),
    ],
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint",
            "--model",
            help="`embedded`, or a trained run: its name in DATA/runs, its folder, or its "
            "model.safetensors. Default: embedded; with --data, the finished run with the highest "
            "validation mAP.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder to write to. Default: predictions; NAME of a video in it."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            "-d",
            parser=data_folder,
            metavar="FOLDER|URL",
            help="The data set whose trained run is to be used.",
        ),
    ] = None,
    window_s: Annotated[
        float, typer.Option(help="Seconds that a trained run judges at a time.")
    ] = WINDOW_S,
    step_s: Annotated[
        float, typer.Option(help="Seconds from one window of a trained run to the next.")
    ] = STEP_S,
    names: NamesOption = Names.CANONICAL,
    blur_faces: BlurFaces = False,
    workers: Processes = None,
    as_json: AsJson = False,
) -> None:
    """Say which exercise a person does in your own video, which muscle regions it works, and when.

    Uses the embedded model: no data set, no training. Writes `prediction.json`, `body_map.svg` and
    `.png`, `timeline.png` and `overlay.mp4` (the video with skeleton and probabilities).
    **Not a medical device**: see docs/predict.md.

    Exit code 0: everything was judged. 1: some videos, or parts of one, could not be read.
    """
    from benchmark.predict.several import find_videos, format_table, places
    from musclemap_data.errors import UserError

    plain = names is Names.PLAIN
    judge = _judge(checkpoint, data, window_s, step_s, workers, plain, blur_faces, not as_json)
    files = find_videos(videos)
    done: list[PredictedVideo] = []
    failed = 0
    for file, place in zip(files, places(files, out), strict=True):
        try:
            each = judge(file, place)
        except UserError as error:
            if len(files) == 1:
                raise
            failed += 1
            typer.secho(f"{file}: {error}", fg="red", err=True)
            continue
        done.append(each)
        failed += bool(each.failed)
        if not as_json:
            typer.echo(each)
        typer.echo(
            f"written to {place}: prediction.json, body_map, timeline, overlay.mp4", err=True
        )
    if as_json:
        said = [each.prediction for each in done]
        typer.echo(json.dumps(said[0] if len(files) == 1 else said, indent=2))
    elif len(files) > 1:
        typer.echo("\n" + format_table(done))
    if failed:
        raise typer.Exit(EXIT_SOME_FAILED if done else EXIT_USER_ERROR)


def _judge(
    checkpoint: str | None,
    data: Path | None,
    window_s: float,
    step_s: float,
    workers: int | None,
    plain: bool,
    blur_faces: bool,
    progress_bar: bool,
) -> Callable[[Path, Path], PredictedVideo]:
    """What judges one video and writes to one folder, its model loaded."""
    if data is None and checkpoint in (None, EMBEDDED):
        typer.echo("model: the embedded one, of skeletons; it is loaded", err=True)
        from benchmark.embedded.model import EmbeddedModel
        from benchmark.predict.recognise import recognise_video

        model = EmbeddedModel.load()
        return lambda video, place: recognise_video(
            video,
            place,
            model=model,
            workers=workers,
            plain=plain,
            blur_faces=blur_faces,
            progress_bar=progress_bar,
        )
    where = data or DEFAULT_DATA
    typer.echo(f"model: a run of {where}; it is chosen and loaded", err=True)
    from benchmark.finished import choose_run
    from benchmark.predict.runs import load_run
    from benchmark.predict.video import predict_video

    folder, why = choose_run(where, Path(checkpoint) if checkpoint else None)
    typer.echo(f"run {folder.name}: {why}", err=True)
    run = load_run(folder, why)
    return lambda video, place: predict_video(
        video,
        run,
        place,
        window_s=window_s,
        step_s=step_s,
        workers=workers,
        plain=plain,
        blur_faces=blur_faces,
        progress_bar=progress_bar,
    )
