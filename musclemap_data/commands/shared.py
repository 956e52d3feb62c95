"""What the verbs share: options, exit codes, how failures are told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from musclemap_data.errors import Failure

DEFAULT_DATA = Path("data/musclemap")
EXIT_SOME_FAILED = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


def data_folder(data: str | Path) -> Path:
    """The folder of ``--data``; of a remote data set an up-to-date local copy."""
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
        help="The data set's folder, or s3://bucket/name.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]


def listed(text: str) -> list[str]:
    """The names in an option's value, commas between."""
    return [name.strip() for name in text.split(",") if name.strip()]


def report_failures(failed: dict[str, Failure], what: str) -> None:
    """One line a failure, then one line a class with the next step."""
    from musclemap_data.errors import NEXT_STEP

    for name, failure in sorted(failed.items()):
        typer.echo(f"FAILED {name}: {failure}", err=True)
    for kind in sorted({failure.failure_class for failure in failed.values()}):
        count = sum(failure.failure_class == kind for failure in failed.values())
        typer.echo(f"  {count} {what} {kind}: {NEXT_STEP[kind]}", err=True)
