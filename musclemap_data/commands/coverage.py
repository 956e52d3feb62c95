"""The verb `coverage`: how far each activity has come from a list to a shard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musclemap_data.catalog import DEFAULT_TABLE
from musclemap_data.commands.download import Activities
from musclemap_data.commands.shared import DEFAULT_DATA, LOOK, MOST_LINES, AsJson, Data, examples

if TYPE_CHECKING:
    from musclemap_data.coverage.count import Coverage

app = typer.Typer()


@app.command(
    rich_help_panel=LOOK,
    epilog=examples(
        "`musclemap coverage` (the bundled list, and what `data/musclemap` has of it)",
        "`musclemap coverage --html coverage.html` (a page)",
        "`musclemap coverage --manifest candidates.csv --data data/candidates --json`",
    ),
)
def coverage(
    data: Data = DEFAULT_DATA,
    manifest: Annotated[
        list[Path] | None,
        typer.Option(
            "--manifest", "-m", help="List to count; can be repeated. Default: the bundled one."
        ),
    ] = None,
    activities: Activities = DEFAULT_TABLE,
    html: Annotated[
        Path | None, typer.Option(help="Write the page to this file.", dir_okay=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count by activity and split what is listed, downloaded, proposed, accepted and built.

    Without a data set it counts the list alone.
    """
    from musclemap_data.catalog import load_table
    from musclemap_data.coverage.count import count_coverage
    from musclemap_data.coverage.page import write_page
    from musclemap_data.manifest import bundled_manifests, read_manifest

    table = load_table(activities)
    paths = manifest or bundled_manifests()
    found = count_coverage([clip for path in paths for clip in read_manifest(path, table)],
                           data, table)  # fmt: skip
    if html is not None:
        lists = " and ".join(path.name for path in manifest or ()) or "the bundled list"
        write_page(found, html, f"Of {lists}, and the data set {data.resolve().name!r}")
        typer.echo(f"written to {html}", err=True)
    if as_json:
        typer.echo(json.dumps(_facts(found), indent=2))
    else:
        _print(found)


def _facts(found: Coverage) -> dict[str, object]:
    from musclemap_data.coverage.count import STAGES

    return {
        "splits": {stage: found.by_split(stage) for stage in STAGES},
        "activities_with_any": {stage: found.with_any(stage) for stage in STAGES},
        "without_split": found.homeless,
        "activities": [
            {
                "activity": each.slug,
                "new": each.new,
                **{stage: dict(each.counts[stage]) for stage in STAGES},
                "empty_splits": each.empty_splits,
                "next": each.next_step,
            }
            for each in found.activities
        ],
    }


def _print(found: Coverage) -> None:
    from musclemap_data.coverage.count import NEXT_COMMANDS, STAGES

    typer.echo(f"{'':<26}" + "".join(f"{stage:>12}" for stage in STAGES))
    for split in found.by_split("listed"):
        typer.echo(
            f"{split:<26}" + "".join(f"{found.by_split(stage)[split]:>12}" for stage in STAGES)
        )
    total = len(found.activities)
    typer.echo(
        f"{f'activities of {total}':<26}"
        + "".join(f"{found.with_any(stage):>12}" for stage in STAGES)
    )
    typer.echo(f"\n{'what is missing most':<26}" + "".join(f"{stage:>12}" for stage in STAGES))
    for each in found.activities[:MOST_LINES]:
        counts = "".join(f"{each.total(stage):>12}" for stage in STAGES)
        typer.echo(f"{each.slug:<26}{counts}  {each.next_step}")
    typer.echo(f"... and {total - MOST_LINES} more: --html FILE has all\n")
    for step, how in NEXT_COMMANDS.items():
        if count := sum(each.next_step == step for each in found.activities):
            typer.echo(f"{count:>4} activities, {step}: {how}")
