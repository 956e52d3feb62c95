"""The verb `status`: what became of every video and clip."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from musclemap_data.commands.shared import (
    BUILD,
    DEFAULT_DATA,
    EXIT_SOME_FAILED,
    AsJson,
    Data,
    examples,
)

if TYPE_CHECKING:
    from musclemap_data.ledger import Rest, Summary

app = typer.Typer()


@app.command(
    rich_help_panel=BUILD,
    epilog=examples(
        "`musclemap status`",
        "`musclemap status --data data/mine --json` (for a script)",
    ),
)
def status(data: Data = DEFAULT_DATA, as_json: AsJson = False) -> None:
    """Show what happened to every video and clip, and what to do next.

    Exit code 0: every clip is in the shards. 1: something failed or is still to be done.
    """
    from musclemap_data.download.videos import resting_hosts
    from musclemap_data.ledger import Ledger

    with Ledger(data, read_only=True) as ledger:
        summary, resting = ledger.summary(), resting_hosts(ledger)
    if as_json:
        typer.echo(json.dumps(_status_json(summary, resting), indent=2))
    else:
        _print_status(summary, resting)
    if set(summary.clips) != {"built"}:
        raise typer.Exit(EXIT_SOME_FAILED)


def _status_json(summary: Summary, resting: list[tuple[Rest, int]]) -> dict[str, object]:
    from musclemap_data.errors import NEXT_STEP

    failures = [
        {
            "class": group.failure.failure_class,
            "clips": group.clips,
            "next_step": NEXT_STEP[group.failure.failure_class],
            "example": {
                "id": group.example,
                "stage": group.failure.stage,
                "reason": group.failure.reason,
            },
        }
        for group in summary.failures
    ]
    return {
        "videos": summary.videos,
        "clips": summary.clips,
        "failed_clips": {g.failure.failure_class: g.clips for g in summary.failures},
        "failures": failures,
        "resting_hosts": [
            {
                "host": rest.host,
                "until": rest.until.isoformat(),
                "reason": rest.reason,
                "videos_left": left,
            }
            for rest, left in resting
        ],
    }


def _print_status(summary: Summary, resting: list[tuple[Rest, int]]) -> None:
    from musclemap_data.errors import NEXT_STEP

    states = sorted({*summary.videos, *summary.clips})
    typer.echo(f"{'':<8}" + "".join(f"{state:>12}" for state in states))
    for what, counts in (("videos", summary.videos), ("clips", summary.clips)):
        row = "".join(f"{counts.get(state, 0):>12}" for state in states)
        typer.echo(f"{what:<8}{row}")
    if summary.failures:
        typer.echo(f"\n{'failure class':<14}{'clips':>6}  what to do")
    for group in summary.failures:
        failure = group.failure
        kind = failure.failure_class
        typer.echo(f"{kind:<14}{group.clips:>6}  {NEXT_STEP[kind]}")
        typer.echo(f"{'':<22}e.g. {group.example} ({failure.stage}): {failure.reason}")
    for rest, left in resting:
        typer.echo(
            f"\nPAUSE {rest.host} until {rest.until.isoformat()} ({left} videos left): "
            f"{rest.reason}"
        )
