"""The verb `movement`: repetitions, tempo and joint angles of a person in a video."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from musclemap_data.commands.shared import START, AsJson, Processes, examples, progress

app = typer.Typer()


@app.command(
    rich_help_panel=START,
    epilog=examples(
        "`musclemap movement squats.mp4`",
        "`musclemap movement today.mp4 --compare movements/last_week` (what has changed?)",
        "`musclemap movement squats.mp4 --height-m 1.72 --json` (`joints.trc` in metres)",
    ),
)
def movement(
    video: Annotated[Path, typer.Argument(help="A video of one person, best from the side.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder to write to. Default: movements/NAME."),
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(help="Folder of an earlier session to compare with.")
    ] = None,
    height_m: Annotated[
        float | None,
        typer.Option(min=0.5, max=2.5, help="The person's height, for lengths in metres."),
    ] = None,
    workers: Processes = None,
    as_json: AsJson = False,
) -> None:
    """Count repetitions in a video, and measure tempo, holds and the range of the main joints.

    Writes one printable page (`movement.pdf`), `movement.json`, and the joints over time as
    `joints.csv`, `angles.csv`, `joints.trc` and `angles.mot` (OpenSim, OpenCap, Sports2D). What the
    view cannot carry is left out. **Not a medical device.**
    """
    from musclemap_data.movement.page import summary_lines
    from musclemap_data.movement.video import measure_video

    folder = out or Path("movements") / video.stem
    with progress("piece", "look for the person", quiet=as_json) as bar:
        session = measure_video(
            video, folder, earlier=compare, height_m=height_m, workers=workers,
            on_total=bar.reset, on_piece=bar.update,
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(session.facts(), indent=2))
    else:
        typer.echo("\n".join(summary_lines(session)))
    typer.echo(f"written to {folder}: movement.pdf, movement.json, joints and angles", err=True)
