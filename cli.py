"""The command line: puts the verbs together and turns errors into exit codes.

Each verb is a function in ``musclemap_data.commands`` or ``benchmark.commands``. Those import what
does the work only when they are called, so that ``musclemap --help`` answers at once.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from benchmark.commands import app as page
from benchmark.commands import benchmark, models, predict, quickstart, report, results, segment
from benchmark.commands import share as share_verb
from musclemap_data.commands import collect as collect_verb
from musclemap_data.commands import coverage as coverage_verb
from musclemap_data.commands import doctor, download, extract, labels, look, movement, status
from musclemap_data.commands import review as review_verb
from musclemap_data.commands import upgrade as upgrade_verb
from musclemap_data.commands.shared import EXIT_INTERRUPTED, EXIT_USER_ERROR, what_is_kept
from musclemap_data.errors import DISK_ERRORS, UserError


class Verbs(TyperGroup):
    """Turns a user's mistake into a message and exit code 2, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run a verb; its errors become a message and an exit code."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            raise _exit(f"Error: {error}", EXIT_USER_ERROR) from error
        except OSError as error:
            if error.errno not in DISK_ERRORS:
                raise
            where = f" ({error.filename})" if error.filename else ""
            raise _exit(
                f"Error: {error.strerror}{where}. Free some space or give permission, then run the "
                f"same command again. {what_is_kept(ctx.invoked_subcommand)}",
                EXIT_USER_ERROR,
            ) from error
        except KeyboardInterrupt as error:
            raise _exit(
                f"\nInterrupted. {what_is_kept(ctx.invoked_subcommand)}",
                EXIT_INTERRUPTED,
            ) from error


def _exit(message: str, code: int) -> typer.Exit:
    typer.secho(message, fg="red" if code == EXIT_USER_ERROR else None, err=True)
    return typer.Exit(code)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"musclemap {version('musclemap')}")
        raise typer.Exit


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def musclemap(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Which of 20 muscle regions does an exercise video activate?

    Three commands build and use a data directory: **download** the videos, **extract-modalities**
    into Parquet shards, **benchmark** a model on known and new activities. Each continues where it
    was interrupted. `musclemap quickstart` shows all three on a synthetic sample.
    """


for verbs in (
    quickstart, predict, movement, page, doctor, collect_verb, download, segment, review_verb,
    extract, upgrade_verb, status, coverage_verb, look, share_verb, labels, benchmark, results,
    report, models,
):  # fmt: skip
    app.add_typer(verbs.app)


if __name__ == "__main__":
    app()
