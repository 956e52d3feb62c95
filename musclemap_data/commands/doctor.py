"""The verb `doctor`: what is installed, what is missing, and for which command."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from musclemap_data.commands.shared import (
    DEFAULT_DATA,
    EXIT_SOME_FAILED,
    START,
    AsJson,
    Data,
    examples,
)

if TYPE_CHECKING:
    from musclemap_data.check.doctor import Finding

app = typer.Typer()


@app.command(
    rich_help_panel=START,
    epilog=examples(
        "`musclemap doctor`",
        "`musclemap doctor --data data/mine --json` (the disk there, for a script)",
    ),
)
def doctor(data: Data = DEFAULT_DATA, as_json: AsJson = False) -> None:
    """Say what is installed, how old yt-dlp is, what is missing and for which command.

    Nothing is installed, fetched or changed.

    Exit code 0: download, extract-modalities and benchmark can run. 1: one of them cannot.
    """
    from musclemap_data.check.doctor import cannot_run, examine

    findings = []
    for finding in examine(data):
        findings.append(finding)
        if not as_json:
            _print(finding)
    stopped = cannot_run(findings)
    if as_json:
        commands = {
            command: {"can_run": not names, "because_of": names}
            for command, names in stopped.items()
        }
        listed = [asdict(finding) for finding in findings]
        typer.echo(json.dumps({"findings": listed, "commands": commands}, indent=2))
    else:
        typer.echo()
        for command, names in stopped.items():
            answer = f"cannot run: {', '.join(names)}" if names else "can run"
            typer.secho(f"{command}: {answer}", fg="red" if names else None)
    if any(stopped.values()):
        raise typer.Exit(EXIT_SOME_FAILED)


def _print(finding: Finding) -> None:
    optional = finding.name.endswith("(optional)")
    mark = "STOPS" if finding.stops else "note" if finding.advice and not optional else "ok"
    if optional and finding.advice:
        mark = "-"
    colour = {"STOPS": "red", "note": "yellow"}.get(mark)
    typer.secho(f"{mark:<6}{finding.name}: {finding.found}", fg=colour)
    if finding.advice:
        typer.echo(f"      {finding.advice}")
