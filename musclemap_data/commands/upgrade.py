"""The verb `upgrade`: a data set of an older format version, written as it is written today."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musclemap_data.commands.shared import (
    BUILD,
    DEFAULT_DATA,
    EXIT_SOME_FAILED,
    AsJson,
    Data,
    data_folder,
    examples,
    progress,
)

if TYPE_CHECKING:
    from musclemap_data.upgrade import UpgradeReport

app = typer.Typer()


@app.command(
    rich_help_panel=BUILD,
    epilog=examples(
        "`musclemap upgrade data/mine --dry-run` (what it would do)",
        "`musclemap upgrade data/mine`",
        "`musclemap upgrade --data data/mine --json` (for a script)",
    ),
)
def upgrade(
    folder: Annotated[
        Path | None,
        typer.Argument(
            parser=data_folder, metavar="[FOLDER|URL]", help="The data set; the same as --data."
        ),
    ] = None,
    data: Data = DEFAULT_DATA,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be written; change nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring a data set of an older format version up, without its videos.

    Clips, labels and provenance stay what they are. Shards are replaced one by one: a run that is
    interrupted leaves a data set that can be used, and the next one goes on. Needs room for one
    shard. What each version is: docs/format.md.

    Exit code 0: every shard has the newest version. 1: some shard could not be read.
    """
    from musclemap_data.upgrade import plan_upgrade, upgrade_dataset

    target = data if folder is None else folder
    if dry_run:
        report = plan_upgrade(target)
    else:
        with progress("clip", "upgrade") as bar:
            report = upgrade_dataset(target, on_total=bar.reset, on_clip=bar.update)
    if as_json:
        typer.echo(json.dumps(_as_json(report, dry_run), indent=2))
    else:
        _print(report, target, dry_run)
    if report.failed:
        raise typer.Exit(EXIT_SOME_FAILED)


def _as_json(report: UpgradeReport, dry_run: bool) -> dict[str, object]:
    from musclemap_data.shards import FORMAT_VERSION

    return {
        "dry_run": dry_run,
        "format_version": FORMAT_VERSION,
        "old_shards": dict(Counter(str(old.version) for old in report.todo)),
        "clips": sum(old.clips for old in report.todo),
        "bytes": sum(old.bytes for old in report.todo),
        "upgraded": report.upgraded,
        "current": report.current,
        "failed": report.failed,
    }


def _print(report: UpgradeReport, data: Path, dry_run: bool) -> None:
    from musclemap_data.shards import FORMAT_VERSION

    for name, reason in report.failed.items():
        typer.echo(f"FAILED {name}: {reason}", err=True)
    if dry_run and report.todo:
        gigabytes = sum(old.bytes for old in report.todo) / 1e9
        largest = max(old.bytes for old in report.todo) / 1e9
        clips = sum(old.clips for old in report.todo)
        typer.echo(
            f"{len(report.todo)} of {len(report.todo) + report.current} shards would be written "
            f"anew as version {FORMAT_VERSION}: {clips} clips, {gigabytes:.2f} GB. "
            f"{largest:.2f} GB of room is needed meanwhile."
        )
        return
    typer.echo(
        f"{len(report.upgraded)} shards upgraded to version {FORMAT_VERSION}, "
        f"{report.current} had it already, {len(report.failed)} failed; shards in {data / 'shards'}"
    )
    if report.upgraded:
        typer.echo(
            f"Next: musclemap validate --data {data}. Exports that were made before keep their "
            "version: make them again with `musclemap export --overwrite`.",
            err=True,
        )
