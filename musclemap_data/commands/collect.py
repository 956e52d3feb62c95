"""The verb `collect`: from channels, playlists, searches and folders to a list of candidates."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musclemap_data.catalog import DEFAULT_TABLE
from musclemap_data.commands.download import (
    PAUSE_S,
    Activities,
    Cookies,
    CookiesFromBrowser,
    ExtractorArgs,
    Impersonate,
    Pause,
    PerHost,
    Proxy,
    Workers,
)
from musclemap_data.commands.shared import (
    BUILD,
    EXIT_SOME_FAILED,
    MOST_LINES,
    AsJson,
    RetryFailed,
    examples,
    progress,
    report_failures,
)
from musclemap_data.download.settings import DownloadSettings

if TYPE_CHECKING:
    from musclemap_data.collect.gather import CollectReport

app = typer.Typer()

DATA = "data/candidates"
"""Where the next command puts the videos: beside a data set, whose plan stays as it is."""


@app.command(
    rich_help_panel=BUILD,
    epilog=examples(
        "`musclemap collect workouts/` (a folder of your own videos)",
        "`musclemap collect https://www.youtube.com/@NAME/videos --limit 50` (a channel)",
        '`musclemap collect --search "hollow hold" --search "goblet squat" --limit 20`',
        "`musclemap collect --from channels.txt --pause 10` (an address a line)",
        "`musclemap collect squats/ --activity squat --licence CC-BY-4.0 --out squats/list.csv`",
    ),
)
def collect(
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="Addresses of channels, playlists, videos; folders and files."),
    ] = None,
    search: Annotated[
        list[str] | None, typer.Option(metavar="WORDS", help="Look up on YouTube; can be repeated.")
    ] = None,
    from_file: Annotated[
        Path | None, typer.Option("--from", help="File with a source a line.", dir_okay=False)
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The list, a CSV; it is added to.", dir_okay=False)
    ] = Path("candidates.csv"),
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="At most N videos of each source.")
    ] = None,
    activity: Annotated[
        str, typer.Option(metavar="SLUG", help="What all of them show, if it is one exercise.")
    ] = "",
    licence: Annotated[str, typer.Option(help="Licence of your own videos, to be recorded.")] = "",
    activities: Activities = DEFAULT_TABLE,
    retry_failed: RetryFailed = False,
    workers: Workers = DownloadSettings.workers,
    per_host: PerHost = DownloadSettings.per_host,
    pause: Pause = PAUSE_S,
    cookies: Cookies = None,
    cookies_from_browser: CookiesFromBrowser = None,
    proxy: Proxy = None,
    extractor_args: ExtractorArgs = None,
    impersonate: Impersonate = None,
    as_json: AsJson = False,
) -> None:
    """List videos in which clips may be found, with title, length, uploader and licence.

    Nothing is downloaded. The list is a manifest of whole videos: `musclemap download` fetches
    them, `musclemap segment` finds the clips, `musclemap review` decides. The same command goes on
    where it was stopped, and later adds what is new. Respect the rights of those who filmed.

    Exit code 0: all were looked at. 1: some are left out, with the reason beside the list.
    """
    from musclemap_data.catalog import load_table
    from musclemap_data.collect.gather import collect as gather
    from musclemap_data.errors import UserError

    named = [*(sources or ()), *(_lines(from_file) if from_file else ())]
    if not named and not search:
        raise UserError("name an address, a folder, a file with --from, or words with --search")
    settings = DownloadSettings(
        workers=workers, per_host=per_host, pause_s=pause, cookies=cookies,
        cookies_from_browser=cookies_from_browser, proxy=proxy,
        extractor_args=tuple(extractor_args or ()), impersonate=impersonate,
    )  # fmt: skip
    with progress("video", "look", quiet=as_json) as bar:
        report = gather(
            named, out, load_table(activities), searches=search or (), activity=activity,
            licence=licence, limit=limit, settings=settings, retry_failed=retry_failed,
            on_total=bar.reset, on_video=lambda url, problem: bar.update(),
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(_facts(report, out), indent=2))
    else:
        _print_report(report, out)
    if report.left_out or report.failed or report.resting:
        raise typer.Exit(EXIT_SOME_FAILED)


def _lines(path: Path) -> list[str]:
    """The sources in a file: one a line, without empty lines and those that begin with #."""
    from musclemap_data.errors import UserError

    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]


def _facts(report: CollectReport, out: Path) -> dict[str, object]:
    return {
        "list": str(out),
        "added": report.added,
        "present": report.present,
        "left_out": [asdict(each) for each in report.left_out.values()],
        "failed": {source: str(failure) for source, failure in report.failed.items()},
        "not_tried": report.not_tried,
        "resting": [str(rest) for rest in report.resting],
    }


def _print_report(report: CollectReport, out: Path) -> None:
    for each in list(report.left_out.values())[:MOST_LINES]:
        kind = f" ({each.failure})" if each.failure else ""
        typer.echo(f"LEFT OUT {each.url}{kind}: {each.reason}", err=True)
    if len(report.left_out) > MOST_LINES:
        typer.echo(f"  ... all in {out.with_name(f'{out.stem}.left-out.csv')}", err=True)
    report_failures(report.failed, "sources")
    for rest in report.resting:
        left = report.not_tried.get(rest.host, 0)
        typer.secho(
            f"PAUSE {rest}\n  {left} of its videos were not looked at. Run the same command again "
            "after that time.",
            fg="yellow",
            err=True,
        )
    typer.echo(
        f"{report.added} candidates added to {out}, {report.present} already there, "
        f"{len(report.left_out)} left out"
    )
    if report.added or report.present:
        typer.echo(
            f"Next: musclemap download --manifest {shlex.quote(str(out))} --data {DATA}, "
            f"then musclemap segment --data {DATA}",
            err=True,
        )
