"""The verbs of the benchmark: `benchmark`, `results`, `report`, `figures`."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Annotated

import typer

from musclemap_data.commands.shared import DEFAULT_DATA, AsJson, Data

app = typer.Typer()


@app.command(
    rich_help_panel="Benchmark",
    epilog="Examples:\n\n"
    "`musclemap benchmark --model transm3e`\n\n"
    "`musclemap benchmark --model random,stgcn,transm3e --preset tiny --epochs 4 --seed 0 --seed 1`"
    "\n\n`musclemap benchmark --ablation --seed 0 --seed 1 --seed 2`"
    "\n\n`musclemap benchmark --model mvit_v2_s --set modality=flow --set batch_size=8`"
    "\n\n`musclemap benchmark --model all --preset tiny` (every model; goes on where it stopped)"
    "\n\n`musclemap benchmark --model stgcn --protocol activity-folds --folds 5`",
)
def benchmark(
    model: Annotated[
        str, typer.Option(help="Model names with commas between, or all; `--list` shows them.")
    ] = "transm3e",
    data: Data = DEFAULT_DATA,
    preset: Annotated[
        str | None,
        typer.Option(help="tiny, small or base; default: base on a GPU, tiny on a CPU."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=0, help="Passes over the train split.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Can be repeated.")] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Another setting, FIELD=VALUE; can be repeated."),
    ] = None,
    subset: Annotated[
        Path | None, typer.Option(help="Only the clips named in this file, one id a line.")
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            help="fixed: the data set's own known and new activities; activity-folds: every "
            "activity is new once, in one of --folds experiments."
        ),
    ] = "fixed",
    folds: Annotated[int, typer.Option(min=2, help="Folds of activity-folds.")] = 5,
    runs: Annotated[
        Path | None, typer.Option(help="Where run folders go; default: DATA/runs.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Forget earlier runs of the name.")
    ] = False,
    pretrain_teacher: Annotated[
        bool,
        typer.Option(
            "--pretrain-teacher",
            help="transm3e: first train its second stream alone; kept in RUNS/teachers.",
        ),
    ] = False,
    drop: Annotated[
        str | None,
        typer.Option(help="skeleton: also score transm3e with the skeleton missing."),
    ] = None,
    ablation: Annotated[
        bool,
        typer.Option("--ablation", help="transm3e against itself with one part less at a time."),
    ] = False,
    as_json: AsJson = False,
    list_models: Annotated[
        bool, typer.Option("--list", help="List models and settings, then stop.")
    ] = False,
) -> None:
    """Train models on the shards, score known and new activities, print one table.

    A finished run is read, not repeated; an interrupted one goes on from its last checkpoint.
    `--model all` leaves out models whose modality the data set lacks, with a line each.
    """
    from benchmark.clips import MissingModality
    from benchmark.machine import join_processes
    from benchmark.models import MODELS
    from benchmark.protocols.ablation import format_ablation, run_ablation
    from benchmark.protocols.dropped import check_drop, score_without, with_dropped
    from benchmark.protocols.folds import folds_to_run
    from benchmark.protocols.teacher import complete_run
    from benchmark.report.tables import format_table
    from benchmark.run import Run, read_subset
    from benchmark.settings import Settings, describe_settings
    from musclemap_data.errors import UserError

    if list_models:
        typer.echo("models: " + ", ".join(MODELS) + "\n")
        typer.echo(describe_settings(preset or "base"))
        return
    if preset is None:
        import torch

        preset = "base" if torch.cuda.is_available() else "tiny"
        typer.echo(f"preset {preset} (choose another with --preset)", err=True)
    names = list(MODELS) if model == "all" else [name.strip() for name in model.split(",")]
    settings = Settings.from_preset(preset).with_overrides(change or [])
    if epochs is not None:
        settings = settings.with_overrides([f"epochs={epochs}"])
    if (pretrain_teacher or drop) and "transm3e" not in names:
        raise UserError("--pretrain-teacher and --drop are for --model transm3e")
    teacher = ["pretrain_teacher=true"] if pretrain_teacher else []
    experiments = folds_to_run(protocol, folds)
    if experiments != [None] and (drop or ablation):
        raise UserError("--drop and --ablation are of the protocol fixed")
    if drop:
        check_drop("transm3e", settings, drop)
    if ablation:
        if names != ["transm3e"] or drop:
            raise UserError("--ablation is of transm3e alone, without --drop")
        if not seed:
            typer.echo("one seed; for three: --seed 0 --seed 1 --seed 2", err=True)
        with join_processes(settings.device) as processes:
            parts = run_ablation(
                data,
                settings.with_overrides(teacher),
                seed or [settings.seed],
                runs_dir=runs,
                fresh=fresh,
                subset=read_subset(subset) if subset else None,
                progress_bar=not as_json,
            )
        if processes.first:
            typer.echo(json.dumps(parts.to_dict(), indent=2) if as_json else format_ablation(parts))
        return
    results = []
    with join_processes(settings.device) as processes:  # once: a second time can fail
        for name in filter(None, names):
            for one_seed, fold in product(seed or [settings.seed], experiments):
                try:
                    run = Run(
                        data,
                        name,
                        settings.with_overrides(
                            [f"seed={one_seed}", *(teacher if name == "transm3e" else [])]
                        ),
                        read_subset(subset) if subset else None,
                        fold,
                        runs_dir=runs,
                    )
                    result = complete_run(run, fresh=fresh, progress_bar=not as_json)
                except MissingModality as error:
                    if model != "all":
                        raise
                    if processes.first:
                        typer.echo(f"SKIPPED {name}: {error}", err=True)
                    break
                if drop and name == "transm3e":
                    result = score_without(
                        data,
                        run.folder,
                        drop,
                        device_name=settings.device,
                        progress_bar=not as_json,
                    )
                results.append(result)
    if not processes.first:
        return
    if as_json:
        typer.echo(json.dumps([each.to_dict() for each in results], indent=2))
    else:
        typer.echo(format_table(with_dropped(results)))
    typer.echo(f"runs in {runs or data / 'runs'}", err=True)


@app.command(
    rich_help_panel="Benchmark",
    epilog="Examples:\n\n"
    "`musclemap results` (the table of all finished runs in DATA/runs)\n\n"
    "`musclemap results --out table.tex` (also .csv, .md, .html with plots, .txt)\n\n"
    "`musclemap results --compare transm3e-base-seed0 mvit_v2_s-base-seed0`",
)
def results(
    data: Data = DEFAULT_DATA,
    runs: Annotated[
        Path | None, typer.Option(help="The folder of run folders; default: DATA/runs.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the table; its ending says how. CSV has it all."),
    ] = None,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="RUN RUN", help="Is the first better? Paired: on the same resampled clips."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print or write the table of finished runs, or compare two of them."""
    from benchmark.compare import compare_runs
    from benchmark.protocols.dropped import with_dropped
    from benchmark.record import find_run, read_runs
    from benchmark.report import tables
    from musclemap_data.errors import UserError

    folder = runs or data / "runs"
    if compare:
        if out:
            raise UserError(
                "--compare prints; give --out without it to write the table of all runs"
            )
        differences = compare_runs(*(find_run(folder, name) for name in compare))
        if as_json:
            parts = {name: asdict(each) for name, each in differences.items()}
            typer.echo(json.dumps(parts, indent=2))
        else:
            typer.echo(tables.format_comparison(*compare, differences))
        return
    found = read_runs(folder)
    if not found:
        raise UserError(
            f"there is no finished run in {folder}; make one with `musclemap benchmark`"
        )
    if out is None:
        if as_json:
            typer.echo(json.dumps([each.to_dict() for each in found], indent=2))
        else:
            typer.echo(tables.format_table(with_dropped(found)))
        return
    tables.write_table(out, with_dropped(found))
    typer.echo(f"{len(found)} runs written to {out}")


RunName = Annotated[
    Path | None,
    typer.Argument(
        metavar="[RUN]",
        help="A finished run: its name in DATA/runs, or its folder; default: the one with the "
        "highest validation mAP.",
    ),
]
Region = Annotated[
    str | None,
    typer.Option(help="Muscle region that Grad-CAM explains; default: one active in about half."),
]


@app.command(
    rich_help_panel="Benchmark",
    epilog="Examples:\n\n"
    "`musclemap report --open` (the best run of DATA)\n\n"
    "`musclemap report transm3e-base-seed0 --out transm3e.html --region glutes`\n\n"
    "`musclemap report data/quickstart/data/runs/stgcn-tiny-seed0 --data data/quickstart/data`",
)
def report(
    run: RunName = None,
    data: Data = DEFAULT_DATA,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="HTML file; default: RUN/report.html.")
    ] = None,
    region: Region = None,
    open_page: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """Write all about one finished run into one HTML file that needs no network.

    Scores with intervals, every muscle region, confusions, calibration, training, best and worst
    clips with their modalities, Grad-CAM, coverage, settings. Prints the file's path.
    """
    from benchmark.record import choose_run
    from benchmark.report.page import write_report

    folder, why = choose_run(data, run)
    typer.echo(f"run {folder.name}: {why}", err=True)
    path = write_report(folder, data, out or folder / "report.html", region=region)
    typer.echo(path)
    if open_page:
        typer.launch(str(path))


@app.command(
    rich_help_panel="Benchmark",
    epilog="Examples:\n\n"
    "`musclemap figures` (of the best run of DATA, into figures/)\n\n"
    "`musclemap figures transm3e-base-seed0 --out paper/figures --region quads`",
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
    from benchmark.record import choose_run
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
