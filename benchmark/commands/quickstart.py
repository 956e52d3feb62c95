"""The verb `quickstart`: everything once, on synthetic videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from musclemap_data.commands.shared import START, examples, listed, progress

app = typer.Typer()


@app.command(
    rich_help_panel=START,
    epilog=examples(
        "`musclemap quickstart` (4 minutes on 2 cores)",
        "`musclemap quickstart --size tiny --models random,stgcn --epochs 2 --out data/try`",
    ),
)
def quickstart(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the sample and its data set.")
    ] = Path("data/quickstart"),
    size: Annotated[str, typer.Option(help="Size of the sample: tiny or default.")] = "default",
    models: Annotated[
        str, typer.Option(help="Models to compare, with commas between.")
    ] = "random,label-prior,stgcn,transm3e",
    epochs: Annotated[int | None, typer.Option(min=0, help="Passes over the train split.")] = None,
) -> None:
    """Render synthetic workout videos and run the whole path on them, from download to report.

    The report is about the best model that reads the videos; `random` and `label-prior` do not.
    At the end the embedded model says what one more person does. The videos are rendered and
    served on this machine. They are **synthetic**: the scores show that everything works, not how
    good a model is.
    """
    from benchmark.commands.benchmark import benchmark
    from benchmark.commands.predict import predict
    from benchmark.commands.report import report
    from benchmark.finished import trained_runs
    from benchmark.models import need_model
    from musclemap_data.commands.download import download
    from musclemap_data.commands.extract import extract_modalities
    from musclemap_data.errors import UserError
    from musclemap_data.sample.plan import SAMPLE_SIZES
    from musclemap_data.sample.serve import serve_manifest
    from musclemap_data.sample.write import render_exercise, render_sample

    if size not in SAMPLE_SIZES:
        raise UserError(f"size is {size!r}; choose from {', '.join(SAMPLE_SIZES)}")
    for name in listed(models):
        need_model(name)  # before minutes of rendering
    served, data, page = out / "manifest.csv", out / "data", out / "report.html"
    with progress("video", "render") as bar:

        def on_video(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        manifest = render_sample(out / "sample", size=size, progress=on_video)
    with serve_manifest(manifest, served):
        _say(f"musclemap download --manifest {served} --data {data}")
        download(manifest=served, data=data)
    _say(f"musclemap extract-modalities --data {data}")
    extract_modalities(data=data)
    more = "" if epochs is None else f" --epochs {epochs}"
    _say(f"musclemap benchmark --model {models} --preset tiny{more} --data {data}")
    benchmark(model=models, data=data, preset="tiny", epochs=epochs)
    if trained_runs(data / "runs"):
        _say(f"musclemap report --data {data} --out {page}")
        report(data=data, out=page)
    else:
        typer.echo(
            f"\nNo report: it is about a model that reads the videos, and {models} has none. "
            "Add one, such as --models random,stgcn",
            err=True,
        )
    video = render_exercise("squat", out / "sample")
    _say(f"musclemap predict {video} --out {out / 'prediction'}")
    predict(videos=[video], out=out / "prediction")
    typer.echo(
        "\nThese videos were synthetic. Next, a video of yourself: musclemap predict MY_VIDEO.mp4",
        err=True,
    )


def _say(command: str) -> None:
    typer.secho(f"\n$ {command}", bold=True, err=True)
