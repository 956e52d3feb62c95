"""The verb `status`: what became of every video and clip."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from musclemap_data.commands.shared import (
    BUILD,
    DEFAULT_DATA,
    EXIT_SOME_FAILED,
    AsJson,
    Data,
    examples,
    say_next,
)

if TYPE_CHECKING:
    from musclemap_data.ledger import Ledger
    from musclemap_data.ledger.rows import Rest, Summary

app = typer.Typer()


@app.command(
    rich_help_panel=BUILD,
    epilog=examples(
        "`musclemap status`",
        "`musclemap status --class gone` (every clip of a failure class)",
        "`musclemap status --data data/mine --json` (for a script)",
    ),
)
def status(
    data: Data = DEFAULT_DATA,
    failure_class: Annotated[
        str | None,
        typer.Option("--class", help="List every clip of this failure class, with its reason."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what happened to every video and clip, and what to do next.

    Exit code 0: every clip is in the shards. 1: something failed or is still to be done.
    """
    from musclemap_data.download.videos import resting_hosts
    from musclemap_data.ledger import Ledger

    with Ledger(data, read_only=True) as ledger:
        if failure_class is not None:
            _list_class(ledger, failure_class, as_json)
            return
        summary, resting = ledger.summary(), resting_hosts(ledger)
    if as_json:
        typer.echo(json.dumps(_status_json(summary, resting), indent=2))
    else:
        _print_status(summary, resting)
        say_next(data, summary)
    if set(summary.clips) != {"built"} or summary.videos.get("planned"):
        raise typer.Exit(EXIT_SOME_FAILED)


def _list_class(ledger: Ledger, name: str, as_json: bool) -> None:
    """Print every clip of a failure class: one a line, or as JSON."""
    from musclemap_data.errors import FailureClass, UserError

    if name not in list(FailureClass):
        raise UserError(f"--class is {name!r}; choose from {', '.join(FailureClass)}")
    found = []
    for clip in ledger.iterate_clips():
        failure = clip.failure or (clip.video.failure if clip.shard_row is None else None)
        if failure is not None and failure.failure_class == name:
            video_id = clip.video.video_id
            found.append({"clip": clip.clip_id, "video": video_id, "reason": failure.reason})
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for entry in found:
        typer.echo(f"{entry['clip']}  {entry['video']}  {entry['reason']}")


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
        "whole_videos": summary.whole,
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
    if summary.whole:
        typer.echo(f"\n{summary.whole} whole videos, in which `musclemap segment` finds clips")
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
