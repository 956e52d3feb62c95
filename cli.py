"""The command line: one thin function a verb, its options beside it.

Those that concern the data are in ``musclemap_data.commands``, those of the benchmark in
``benchmark.commands.verbs``, those that need both here. Imports stay inside the functions so that
``musclemap --help`` answers at once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from benchmark.commands import verbs as benchmark_commands
from musclemap_data.commands import download as download_commands
from musclemap_data.commands import extract as extract_commands
from musclemap_data.commands import look as look_commands
from musclemap_data.commands.shared import (
    DEFAULT_DATA,
    EXIT_INTERRUPTED,
    EXIT_SOME_FAILED,
    EXIT_USER_ERROR,
    AsJson,
    Data,
)
from musclemap_data.errors import DISK_ERRORS, UserError


class Verbs(TyperGroup):
    """Turns a user's mistake into a message and exit code 2, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            typer.secho(f"Error: {error}", fg="red", err=True)
            raise typer.Exit(EXIT_USER_ERROR) from error
        except OSError as error:
            if error.errno not in DISK_ERRORS:
                raise
            where = f" ({error.filename})" if error.filename else ""
            typer.secho(
                f"Error: {error.strerror}{where}. What is finished is kept: make room or give "
                "permission, then run the same command to go on.",
                fg="red",
                err=True,
            )
            raise typer.Exit(EXIT_USER_ERROR) from error
        except KeyboardInterrupt as error:
            typer.secho(
                "\nInterrupted. What is finished is kept: run the same command to go on.", err=True
            )
            raise typer.Exit(EXIT_INTERRUPTED) from error


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Which of 20 muscle regions does an exercise video activate?\n\n"
    "Three commands, one after the other, in one data directory: **download** the videos, "
    "**extract-modalities** into Parquet shards, **benchmark** a model on known and new "
    "activities. Each goes on where it was interrupted. `musclemap quickstart` shows all three "
    "on a synthetic sample.",
)


@app.command(rich_help_panel="Start here")
def quickstart(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the sample and its data set.")
    ] = Path("data/quickstart"),
    size: Annotated[str, typer.Option(help="tiny or default.")] = "default",
    models: Annotated[
        str, typer.Option(help="Models to compare.")
    ] = "random,label-prior,stgcn,transm3e",
    epochs: Annotated[int | None, typer.Option(min=0)] = None,
) -> None:
    """Render synthetic workout videos, serve them on this machine, run the three commands on them.

    The videos are **synthetic**: the scores show that everything works, not how good a model is.
    """
    from dataclasses import replace

    from tqdm import tqdm

    from musclemap_data.catalog import load_activities
    from musclemap_data.manifest import read_manifest, write_manifest
    from musclemap_data.sample import SAMPLE_SIZES, render_sample
    from musclemap_data.sample.serve import serve_folder

    if size not in SAMPLE_SIZES:
        raise UserError(f"size is {size!r}; choose from {', '.join(SAMPLE_SIZES)}")
    source, data = out / "sample", out / "data"
    with tqdm(unit="video", desc="render", dynamic_ncols=True) as bar:

        def on_video(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        manifest = render_sample(source, size=size, progress=on_video)
    with serve_folder(source) as base_url:
        clips = read_manifest(manifest, load_activities())
        served = out / "manifest.csv"
        write_manifest(served, [replace(clip, url=f"{base_url}/{clip.url}") for clip in clips])
        _say(f"musclemap download --manifest {served} --data {data}")
        download_commands.download(manifest=served, data=data)
    _say(f"musclemap extract-modalities --data {data}")
    extract_commands.extract_modalities(data=data)
    _say(f"musclemap benchmark --model {models} --preset tiny --data {data}")
    benchmark_commands.benchmark(model=models, data=data, preset="tiny", epochs=epochs)
    _say(f"musclemap report --data {data} --out {out / 'report.html'}")
    benchmark_commands.report(data=data, out=out / "report.html")
    typer.echo("\nThe videos are synthetic. Now your own: musclemap download --help")


def _say(command: str) -> None:
    typer.secho(f"\n$ {command}", bold=True, err=True)


@app.command(
    rich_help_panel="Start here",
    epilog="Examples:\n\n"
    "`musclemap predict my_squats.mp4 --data data/quickstart/data`\n\n"
    "`musclemap predict my_squats.mp4 --checkpoint data/musclemap/runs/transm3e-base-seed0 "
    "--out squats`\n\n"
    "`musclemap predict workout.mov --window-s 4 --step-s 4 --json` (a long video, half the work)",
)
def predict(
    video: Annotated[Path, typer.Argument(help="A video of one person, of any kind and length.")],
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="A finished run: its folder, its name, or its model.safetensors; default: the "
            "run in DATA/runs with the highest validation mAP.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder to write to; default: predictions/NAME."),
    ] = None,
    data: Data = DEFAULT_DATA,
    window_s: Annotated[float, typer.Option(help="Seconds judged at a time.")] = 3.0,
    step_s: Annotated[float, typer.Option(help="Seconds from one window to the next.")] = 1.5,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; default: one a core.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say which muscle regions a person in your own video works, and when.

    Writes `prediction.json`, `body_map.svg` and `.png`, `timeline.png` and `overlay.mp4` (the
    video with skeleton and probabilities). **Not a medical device**: see docs/predict.md.

    Exit code 0: the whole video was judged. 1: parts of it could not be read and are left out.
    """
    from tqdm import tqdm

    from benchmark.predict import runs
    from benchmark.predict.summary import describe_prediction, format_prediction
    from musclemap_data.draw.overlay import write_overlay
    from musclemap_data.draw.timeline import write_figures
    from musclemap_data.extract import windows
    from musclemap_data.files import working_folder, write_text

    source = windows.read_video(video)
    windows.plan_windows(source.seconds, window_s, step_s)  # mistakes before the slow part
    run = runs.load_run(*runs.choose_run(data, checkpoint))
    folder = out or Path("predictions") / video.stem
    with working_folder(folder) as work:
        with tqdm(unit="window", desc="extract", dynamic_ncols=True, disable=as_json) as bar:
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
        scores = runs.score_windows(run, work, windows.SPLIT, progress_bar=not as_json)
        prediction = describe_prediction(
            run,
            scores,
            found.windows,
            found.person_shares,
            source.facts(found),
            fps=found.fps,
            failed=found.failed,
            differing=runs.made_differently(run, work, windows.SPLIT),
        )
        keep = [window["counted"] for window in prediction["windows"]]
        means = [region["mean"] for region in prediction["regions"].values()]
        note = "a guess, not a measurement"
        if run.synthetic:
            note = "model trained on synthetic videos only"
        with tqdm(unit="frame", desc="overlay", dynamic_ncols=True, disable=as_json) as bar:
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
        name = video.name if len(video.name) <= 40 else f"{video.name[:37]}..."
        write_figures(
            folder,
            found.windows,
            scores,
            means,
            keep,
            found.person_shares,
            run.threshold,
            title=f"{name}: muscle regions ({note})",
        )
        text = json.dumps(prediction, indent=2)
        write_text(folder / "prediction.json", text + "\n")
    typer.echo(text if as_json else format_prediction(prediction))
    typer.echo(f"written to {folder}: prediction.json, body_map, timeline, overlay.mp4", err=True)
    if found.failed:
        raise typer.Exit(EXIT_SOME_FAILED)


for commands in (download_commands, extract_commands, look_commands, benchmark_commands):
    app.add_typer(commands.app)


if __name__ == "__main__":
    app()
