"""What the verbs share: options, exit codes, progress bars, how failures are shown."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from musclemap_data.errors import Failure
    from musclemap_data.ledger.rows import Summary

DEFAULT_DATA = Path("data/musclemap")
EXIT_SOME_FAILED = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
RESUMED = (
    "collect", "download", "retry", "segment", "review", "extract-modalities", "benchmark",
    "quickstart",
)  # fmt: skip
"""Verbs that go on where they were stopped; the others take seconds or minutes and start over."""
MOST_LINES = 10
"""Of a list that may have thousands of lines, so many are printed; then how many more there are."""
START, BUILD, LOOK = "Start here", "Build a data set", "Look at it, share it"
"""Groups of verbs in ``musclemap --help``."""


def data_folder(data: str | Path) -> Path:
    """The folder that ``--data`` names; for a remote data set, an up-to-date local copy."""
    if "://" in str(data):
        from musclemap_data.remote import local_copy

        return local_copy(str(data))
    if Path(data).is_file():
        raise typer.BadParameter(f"{data} is a file; it must be a folder.")
    return Path(data)


Data = Annotated[
    Path,
    typer.Option(
        "--data",
        "-d",
        envvar="MUSCLEMAP_DATA",
        parser=data_folder,
        metavar="FOLDER|URL",
        help="The data set's folder, s3://bucket/name, or hf://OWNER/NAME (read only).",
    ),
]
BlurFaces = Annotated[
    bool,
    typer.Option(
        "--blur-faces",
        help="Blur every face that is found, in all that is written. Small faces may be missed: "
        "look before you share.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]
Host = Annotated[
    str, typer.Option(help="Address to listen on. Any other than this machine's lets others in.")
]
Port = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        help="Port; 0 for any free one. Default: 8000, or any free one if that is taken.",
    ),
]
OpenPage = Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")]
Processes = Annotated[int | None, typer.Option(min=1, help="Processes. Default: one per core.")]
Engine = Annotated[str, typer.Option(help="local (this machine) or ray (a cluster).")]
Address = Annotated[
    str | None,
    typer.Option(
        help="Where Ray is: auto (default), ray://HOST:PORT, or local (started for this run)."
    ),
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Also try again what failed for good before.")
]


class Names(StrEnum):
    """Which names of the regions are printed."""

    CANONICAL = "canonical"
    PLAIN = "plain"


NamesOption = Annotated[
    Names, typer.Option("--names", help="Canonical names of the regions, or those used in a gym.")
]


def what_is_kept(verb: str | None) -> str:
    """What remains of a verb that was stopped, in a sentence."""
    if verb in RESUMED:
        return "Finished work is kept: the same command continues."
    return "Nothing half-done is kept: the same command starts over."


def listed(text: str) -> list[str]:
    """The names in an option's value, which has commas between them."""
    return [name.strip() for name in text.split(",") if name.strip()]


def examples(*lines: str) -> str:
    """The end of a verb's help: one example a line, a command in backticks and what it is for."""
    return "\n\n".join(["Examples:", *lines])


def progress(unit: str, description: str, *, quiet: bool = False, **options: Any) -> Any:
    """A progress bar (``tqdm``) on stderr; ``quiet`` shows none."""
    from tqdm import tqdm

    return tqdm(unit=unit, desc=description, dynamic_ncols=True, disable=quiet, **options)


def warn(message: str) -> None:
    """Print a warning to stderr, in yellow on a terminal."""
    typer.secho(f"WARNING: {message}", fg="yellow", err=True)


def report_failures(failed: dict[str, Failure], what: str) -> None:
    """Print each class with its count, its next step and its first failures."""
    from musclemap_data.errors import NEXT_STEP

    for kind in sorted({failure.failure_class for failure in failed.values()}):
        of_kind = sorted(name for name in failed if failed[name].failure_class == kind)
        for name in of_kind[:MOST_LINES]:
            typer.echo(f"FAILED {name}: {failed[name]}", err=True)
        if len(of_kind) > MOST_LINES:
            more = len(of_kind) - MOST_LINES
            typer.echo(f"  ... and {more} more: musclemap status --class {kind}", err=True)
        typer.echo(f"  {len(of_kind)} {what} {kind}: {NEXT_STEP[kind]}", err=True)


def data_option(data: Path) -> str:
    """`` --data FOLDER`` for a command that is named, fit to be pasted; nothing by default."""
    return "" if data == DEFAULT_DATA else f" --data {shlex.quote(str(data))}"


def activity_table(data: Path) -> str:
    """The name or path of a data set's activity table; ours before there is one."""
    from musclemap_data.catalog import DEFAULT_TABLE
    from musclemap_data.ledger import Ledger

    if not (data / "ledger.sqlite").exists():
        return DEFAULT_TABLE
    with Ledger(data, read_only=True) as ledger:
        return ledger.activity_table()


def download_command(manifest: Path, data: Path) -> str:
    """``download`` of a manifest into a data set, with its activity table, fit to be pasted."""
    from musclemap_data.catalog import DEFAULT_TABLE

    table = activity_table(data)
    activities = "" if table == DEFAULT_TABLE else f" --activities {shlex.quote(table)}"
    return f"download --manifest {shlex.quote(str(manifest))}{activities}{data_option(data)}"


def say_next(data: Path, summary: Summary) -> None:
    """Print the command that comes next for a data set; retries are named with their failures."""
    option = data_option(data)
    if summary.ready:
        command = f"musclemap extract-modalities{option} ({summary.ready} clips are ready)"
    elif summary.videos.get("planned"):
        count = summary.videos["planned"]
        command = f"musclemap download{option}, with the manifest of before ({count} videos left)"
    elif summary.whole:
        command = f"musclemap segment{option} ({summary.whole} whole videos are there)"
    elif summary.clips.get("built"):
        command = f"musclemap benchmark{option} (or musclemap browse{option})"
    else:
        return
    typer.echo(f"Next: {command}", err=True)
