"""The verbs `report` and `figures`: all about one finished run, as a page or for a paper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.shared import BENCHMARK
from musclemap_data.commands.shared import DEFAULT_DATA, AsJson, Data, Names, NamesOption, examples

app = typer.Typer()

RunName = Annotated[
    Path | None,
    typer.Argument(
        metavar="[RUN]",
        help="A finished run: its name in DATA/runs, or its folder. Default: the one with the "
        "highest validation mAP.",
    ),
]
Region = Annotated[
    str | None,
    typer.Option(help="Muscle region that Grad-CAM explains. Default: one active in about half."),
]


@app.command(
    rich_help_panel=BENCHMARK,
    epilog=examples(
        "`musclemap report --open` (the best run of DATA)",
        "`musclemap report transm3e-base-seed0 --out transm3e.html --region glutes`",
        "`musclemap report data/quickstart/data/runs/stgcn-tiny-seed0 --data data/quickstart/data`",
    ),
)
def report(
    run: RunName = None,
    data: Data = DEFAULT_DATA,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="HTML file. Default: RUN/report.html.")
    ] = None,
    region: Region = None,
    names: NamesOption = Names.CANONICAL,
    open_page: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """Write all about one finished run into one HTML file that needs no network.

    Scores with intervals, every muscle region, confusions, calibration, training, best and worst
    clips with their modalities, Grad-CAM, coverage, settings. Prints the file's path.
    """
    from benchmark.finished import choose_run
    from benchmark.report.page import write_report

    folder, why = choose_run(data, run)
    typer.echo(f"run {folder.name}: {why}", err=True)
    plain = names is Names.PLAIN
    path = write_report(folder, data, out or folder / "report.html", region=region, plain=plain)
    typer.echo(path)
    if open_page:
        typer.launch(str(path))


@app.command(
    rich_help_panel=BENCHMARK,
    epilog=examples(
        "`musclemap figures` (of the best run of DATA, into figures/)",
        "`musclemap figures transm3e-base-seed0 --out paper/figures --region quads`",
    ),
)
def figures(
    run: RunName = None,
    data: Data = DEFAULT_DATA,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the files.")] = Path(
        "figures"
    ),
    region: Region = None,
    as_json: AsJson = False,
) -> None:
    """Write a run's figures as PDF for a paper (fonts embedded), and its table as LaTeX.

    3.5 inches wide, one column; gradcam.pdf and a large confusion.pdf are 7, the page.
    """
    from benchmark.finished import choose_run
    from benchmark.report.figures import write_figures

    folder, why = choose_run(data, run)
    typer.echo(f"run {folder.name}: {why}", err=True)
    written, left_out = write_figures(folder, data, out, region=region)
    if as_json:
        paths = [str(path) for path in written]
        typer.echo(json.dumps({"written": paths, "left_out": left_out}, indent=2))
        return
    for path in written:
        typer.echo(path)
    for name, reason in left_out.items():
        typer.echo(f"SKIPPED {name}: {reason}", err=True)
