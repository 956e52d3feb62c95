"""The verbs `download`, `retry` and `status`: from a manifest to videos, and what became of all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from musclemap_data.commands.extract import run_extraction
from musclemap_data.commands.shared import (
    DEFAULT_DATA,
    EXIT_SOME_FAILED,
    AsJson,
    Data,
    listed,
    report_failures,
)

if TYPE_CHECKING:
    from musclemap_data.download.hosts import DownloadSettings
    from musclemap_data.download.videos import DownloadReport, Estimate
    from musclemap_data.errors import Failure

app = typer.Typer()

_PACE = "How the sites are asked"
_ACCESS = "Access"
Workers = Annotated[
    int, typer.Option(min=1, max=32, help="Videos fetched at once.", rich_help_panel=_PACE)
]
PerHost = Annotated[
    int, typer.Option(min=1, max=32, help="Of these, from one host.", rich_help_panel=_PACE)
]
Pause = Annotated[
    float,
    typer.Option(
        min=0,
        help="Mean seconds between two videos of a host, varied by chance; 0: none.",
        rich_help_panel=_PACE,
    ),
]
VideoTimeout = Annotated[
    float,
    typer.Option(min=0.01, help="Most minutes for one video, retries too.", rich_help_panel=_PACE),
]
MaxBytes = Annotated[
    int, typer.Option(min=1, help="Most bytes of one video.", rich_help_panel=_PACE)
]
Now = Annotated[
    bool,
    typer.Option("--now", help="Also ask hosts that asked for a pause.", rich_help_panel=_PACE),
]
Cookies = Annotated[
    Path | None,
    typer.Option(
        help="Netscape cookies file; read only, kept nowhere.",
        dir_okay=False,
        rich_help_panel=_ACCESS,
    ),
]
CookiesFromBrowser = Annotated[
    str | None,
    typer.Option(help="Use the cookies of firefox, chrome, ...", rich_help_panel=_ACCESS),
]
Proxy = Annotated[
    str | None,
    typer.Option(metavar="URL", help="http, https, socks4 or socks5.", rich_help_panel=_ACCESS),
]


@app.command(
    rich_help_panel="Build a data set",
    epilog="Examples:\n\n"
    "`musclemap download` (the bundled list of YouTube segments)\n\n"
    "`musclemap download --sample 200 --workers 4` (200 clips of it, the same ones each time)\n\n"
    "`musclemap download --sample 200 --dry-run` (how much would that be?)\n\n"
    "`musclemap download --cookies-from-browser firefox --pause 10` (where the site is strict)\n\n"
    "`musclemap download --manifest my_videos.csv --data data/mine`",
)
def download(
    manifest: Annotated[
        Path | None,
        typer.Option(
            "--manifest", "-m", help="CSV or Parquet of clips; default: the bundled list."
        ),
    ] = None,
    data: Data = DEFAULT_DATA,
    activity: Annotated[
        list[str] | None, typer.Option(help="Only clips of this activity; can be repeated.")
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="Only clips of this split; can be repeated.")
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Only N clips, the same ones each time.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N clips.")] = None,
    activities: Annotated[
        str, typer.Option(help="Label table: musclemap, kinetics, ucf101, hmdb51 or a CSV.")
    ] = "musclemap",
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Also try what failed for good before.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Only list what would be fetched, with sizes; write nothing."
        ),
    ] = False,
    workers: Workers = 2,
    per_host: PerHost = 2,
    pause: Pause = 2.0,
    video_timeout: VideoTimeout = 30.0,
    max_bytes: MaxBytes = 8 * 2**30,
    now: Now = False,
    cookies: Cookies = None,
    cookies_from_browser: CookiesFromBrowser = None,
    proxy: Proxy = None,
) -> None:
    """Fetch the source videos of a manifest (yt-dlp), once each.

    A host that refuses three times in a row is not asked again until the time it gave; its videos
    stay planned. Exit code 0: every video asked for is there. 1: some failed or were not tried,
    with the reason in the ledger. 2: the manifest or an option is wrong, and nothing was touched.
    """
    from musclemap_data.catalog import load_table
    from musclemap_data.download.videos import download_videos, estimate_downloads, needs_javascript
    from musclemap_data.manifest import read_manifest, select_clips
    from musclemap_data.remote import writing

    settings = _download_settings(
        workers, per_host, pause, video_timeout, max_bytes, cookies, cookies_from_browser, proxy
    )
    path = manifest or _bundled_manifest()
    clips = read_manifest(path, load_table(activities))
    chosen = select_clips(
        clips, activities=activity or (), splits=split or (), sample=sample, limit=limit
    )
    if len(chosen) < len(clips):
        typer.echo(f"{len(chosen)} of the {len(clips)} clips of the manifest")
    missing = needs_javascript(chosen)
    if missing:
        typer.secho(f"WARNING: {missing}", fg="yellow", err=True)
    if dry_run:
        with _video_bar("look") as progress:
            estimate = estimate_downloads(
                chosen,
                path.parent,
                data,
                settings=settings,
                retry_failed=retry_failed,
                now=now,
                **progress,
            )
        _print_estimate(estimate)
        return
    with writing(data), _video_bar("download") as progress:
        report = download_videos(
            chosen,
            path.parent,
            data,
            settings=settings,
            keep=[clip.clip_id for clip in clips],
            activity_table=activities,
            retry_failed=retry_failed,
            now=now,
            **progress,
        )
    _report_download(report, data)
    if report.failed or report.not_tried:
        raise typer.Exit(EXIT_SOME_FAILED)


def _download_settings(
    workers: int,
    per_host: int,
    pause: float,
    video_timeout: float,
    max_bytes: int,
    cookies: Path | None,
    cookies_from_browser: str | None,
    proxy: str | None,
) -> DownloadSettings:
    from musclemap_data.download.hosts import DownloadSettings

    return DownloadSettings(
        workers=workers,
        per_host=per_host,
        pause_s=pause,
        video_timeout_s=60 * video_timeout,
        max_bytes=max_bytes,
        cookies=cookies,
        cookies_from_browser=cookies_from_browser,
        proxy=proxy,
    )


def _bundled_manifest() -> Path:
    from musclemap_data.catalog import annotations_dir

    return annotations_dir() / "videos" / "default.csv"


@contextmanager
def _video_bar(description: str) -> Iterator[dict[str, Any]]:
    """A progress bar over videos; gives the arguments that move it."""
    from tqdm import tqdm

    with tqdm(total=0, unit="video", desc=description, dynamic_ncols=True) as bar:
        failures = 0

        def on_video(video_id: str, failure: Failure | None) -> None:
            nonlocal failures
            failures += failure is not None
            bar.set_postfix(failed=failures, refresh=False)
            bar.update()

        yield {"on_total": bar.reset, "on_video": on_video}


def _report_download(report: DownloadReport, data: Path) -> None:
    report_failures(report.failed, "videos")
    for rest in report.resting:
        left = report.not_tried.get(rest.host, 0)
        typer.secho(
            f"PAUSE {rest}\n  {left} of its videos were not tried and stay planned: run the same "
            "command after that time (or now, with --now)",
            fg="yellow",
            err=True,
        )
    not_tried = sum(report.not_tried.values())
    typer.echo(
        f"{report.downloaded} videos downloaded, {report.present} were there, "
        f"{len(report.failed)} failed{f', {not_tried} not tried' if not_tried else ''}; "
        f"{report.total_bytes / 1e6:.1f} MB in {data / 'videos'}"
    )


def _print_estimate(estimate: Estimate) -> None:
    for video_id, size in sorted(estimate.sizes.items()):
        typer.echo(f"{video_id}  {'size unknown' if size is None else f'{size / 1e6:.1f} MB'}")
    for video_id, failure in sorted(estimate.failed.items()):
        typer.echo(f"{video_id}  {failure.failure_class}: {failure.reason}")
    for rest in estimate.resting:
        typer.echo(f"PAUSE {rest}; {estimate.not_tried.get(rest.host, 0)} videos not looked at")
    known = [size for size in estimate.sizes.values() if size is not None]
    unknown = len(estimate.sizes) - len(known)
    typer.echo(
        f"{len(estimate.sizes)} videos to fetch, {sum(known) / 1e6:.1f} MB"
        f"{f' and {unknown} of unknown size' if unknown else ''}; {estimate.present} are there, "
        f"{len(estimate.failed)} cannot be had. Nothing was written."
    )


@app.command(
    rich_help_panel="Build a data set",
    epilog="Examples:\n\n"
    "`musclemap retry` (what failed with a class that may pass)\n\n"
    "`musclemap retry --class blocked --cookies-from-browser firefox`",
)
def retry(
    failure_class: Annotated[
        str, typer.Option("--class", help="Failure classes with commas between; see `status`.")
    ] = "network,rate-limited",
    data: Data = DEFAULT_DATA,
    workers: Workers = 2,
    per_host: PerHost = 2,
    pause: Pause = 2.0,
    video_timeout: VideoTimeout = 30.0,
    max_bytes: MaxBytes = 8 * 2**30,
    now: Now = False,
    cookies: Cookies = None,
    cookies_from_browser: CookiesFromBrowser = None,
    proxy: Proxy = None,
) -> None:
    """Fetch the videos and extract the clips again that failed with one of these classes.

    The ledger knows them; no manifest is needed. What is there is not touched. Exit code 0: all of
    them are there now. 1: some failed again or were not tried.
    """
    from musclemap_data.download.videos import retry_videos
    from musclemap_data.errors import FailureClass, UserError
    from musclemap_data.modalities import describe
    from musclemap_data.modalities.settings import ExtractionSettings
    from musclemap_data.remote import writing
    from musclemap_data.shards import read_dataset_info

    names = listed(failure_class)
    unknown = [name for name in names if name not in list(FailureClass)]
    if unknown or not names:
        raise UserError(
            f"failure class {', '.join(unknown) or '(none)'}: choose from {', '.join(FailureClass)}"
        )
    settings = _download_settings(
        workers, per_host, pause, video_timeout, max_bytes, cookies, cookies_from_browser, proxy
    )
    with writing(data), _video_bar("download") as progress:
        report, clip_ids = retry_videos(
            data, [FailureClass(name) for name in names], settings=settings, now=now, **progress
        )
    _report_download(report, data)
    incomplete = bool(report.failed or report.not_tried)
    made = read_dataset_info(data)["modalities"] if (data / "dataset.json").exists() else {}
    # With other settings than the ones there, every row would be made anew.
    same = all(made[name] == describe(name, ExtractionSettings()) for name in made)
    if (report.downloaded or clip_ids) and made and same:
        run_extraction(data, list(made), workers=None, only=clip_ids)
    elif report.downloaded or clip_ids:
        typer.echo(f"next: musclemap extract-modalities --data {data}, with the options of before")
    if incomplete:
        raise typer.Exit(EXIT_SOME_FAILED)


@app.command(rich_help_panel="Build a data set")
def status(data: Data = DEFAULT_DATA, as_json: AsJson = False) -> None:
    """Show what happened to every video and clip, from the ledger, with the next step.

    Exit code 0: everything is in the shards. 1: something failed or is still to be done.
    """
    from musclemap_data.download.videos import resting_hosts
    from musclemap_data.ledger import Ledger

    with Ledger(data, read_only=True) as ledger:
        counts: dict[str, Any] = ledger.summary()
        counts |= {"failures": ledger.failures(), "resting_hosts": resting_hosts(ledger)}
    if as_json:
        typer.echo(json.dumps(counts, indent=2))
    else:
        _print_status(counts)
    if set(counts["clips"]) != {"built"}:
        raise typer.Exit(EXIT_SOME_FAILED)


def _print_status(counts: dict[str, Any]) -> None:
    states = sorted({*counts["videos"], *counts["clips"]})
    typer.echo(f"{'':<8}" + "".join(f"{state:>12}" for state in states))
    for what in ("videos", "clips"):
        row = "".join(f"{counts[what].get(state, 0):>12}" for state in states)
        typer.echo(f"{what:<8}{row}")
    if counts["failures"]:
        typer.echo(f"\n{'failure class':<14}{'clips':>6}  what to do")
    for group in counts["failures"]:
        example = group["example"]
        typer.echo(f"{group['class']:<14}{group['clips']:>6}  {group['next_step']}")
        typer.echo(f"{'':<22}e.g. {example['id']} ({example['stage']}): {example['reason']}")
    for host in counts["resting_hosts"]:
        typer.echo(
            f"\nPAUSE {host['host']} until {host['until']} ({host['videos_left']} videos left): "
            f"{host['reason']}"
        )
