"""The verb `results`: the table of finished runs, and two of them compared."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.shared import BENCHMARK, RunsFolder
from musclemap_data.commands.shared import DEFAULT_DATA, AsJson, Data, Names, NamesOption, examples

app = typer.Typer()


@app.command(
    rich_help_panel=BENCHMARK,
    epilog=examples(
        "`musclemap results` (the table of all finished runs in DATA/runs)",
        "`musclemap results --out table.tex` (also .csv, .md, .html with plots, .txt)",
        "`musclemap results --by-distance`",
        "`musclemap results --compare transm3e-base-seed0 mvit_v2_s-base-seed0`",
    ),
)
def results(
    data: Data = DEFAULT_DATA,
    runs: RunsFolder = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the table; its ending says how. CSV has it all."),
    ] = None,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="RUN RUN", help="Is the first better? Paired: on the same clips."),
    ] = None,
    by_distance: Annotated[
        bool,
        typer.Option(
            "--by-distance",
            help="New activities by how near their label sets are to those of training.",
        ),
    ] = False,
    names: NamesOption = Names.CANONICAL,
    as_json: AsJson = False,
) -> None:
    """Print or write the table of finished runs, or compare two of them."""
    from benchmark.compare import compare_runs
    from benchmark.finished import find_run, read_runs
    from benchmark.protocols.dropped import with_dropped
    from benchmark.report import tables
    from benchmark.report.distance import format_by_distance
    from musclemap_data.errors import UserError

    folder, plain = runs or data / "runs", names is Names.PLAIN
    if compare:
        if out:
            raise UserError(
                "--compare prints; give --out without it to write the table of all runs"
            )
        differences = compare_runs(*(find_run(folder, name) for name in compare))
        parts = {name: asdict(each) for name, each in differences.items()}
        as_text = tables.format_comparison(*compare, differences)
        typer.echo(json.dumps(parts, indent=2) if as_json else as_text)
        return
    found = read_runs(folder)
    if not found:
        raise UserError(
            f"there is no finished run in {folder}; make one with `musclemap benchmark`"
        )
    if by_distance and not as_json:  # the JSON has it all
        typer.echo(format_by_distance(found))
    elif out is not None:
        tables.write_table(out, with_dropped(found), plain=plain)
        typer.echo(f"{len(found)} runs written to {out}")
    elif as_json:
        typer.echo(json.dumps([record.to_dict() for record in found], indent=2))
    else:
        typer.echo(tables.format_table(with_dropped(found), plain=plain))
