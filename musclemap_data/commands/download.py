"""The verbs `download` and `retry`: from a manifest to videos."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musclemap_data.catalog import DEFAULT_TABLE
from musclemap_data.commands.extract import run_extraction
from musclemap_data.commands.shared import (
    BUILD,
    DEFAULT_DATA,
    EXIT_SOME_FAILED,
    Address,
    Data,
    Engine,
    RetryFailed,
    examples,
    listed,
    progress,
    report_failures,
    say_next,
    warn,
)
from musclemap_data.download.settings import DownloadSettings
from musclemap_data.manifest import DEMONSTRATION, SEGMENT

if TYPE_CHECKING:
    from musclemap_data.download.videos import DownloadReport, Estimate
    from musclemap_data.errors import Failure
    from musclemap_data.manifest import Clip

app = typer.Typer()


_clips = partial(typer.Option, rich_help_panel="Which clips")
_pace = partial(typer.Option, rich_help_panel="How to ask the sites")
_access = partial(typer.Option, rich_help_panel="Access")

Manifest = Annotated[
    Path | None,
    _clips("--manifest", "-m", help="CSV or Parquet file of clips. Default: the bundled list."),
]
Activity = Annotated[list[str] | None, _clips(help="Only clips of this activity; can be repeated.")]
Split = Annotated[list[str] | None, _clips(help="Only clips of this split; can be repeated.")]


class TierChoice(StrEnum):
    """Which tier of a list is fetched."""

    SEGMENT = SEGMENT
    DEMONSTRATION = DEMONSTRATION
    ALL = "all"


Tier = Annotated[
    TierChoice | None,
    _clips(
        help="segment: clips whose seconds are known. demonstration: whole videos, in which "
        "`musclemap segment` finds them. Default: segment of the bundled list, all of yours."
    ),
]
Sample = Annotated[
    int | None, _clips(min=1, metavar="N", help="Only N clips, always the same ones.")
]
Limit = Annotated[int | None, _clips(min=1, metavar="N", help="Only the first N clips.")]
Activities = Annotated[
    str, _clips(help="Label table: musclemap, kinetics, ucf101, hmdb51 or a CSV file.")
]
Workers = Annotated[int, _pace(min=1, max=32, help="Videos to fetch at the same time.")]
PerHost = Annotated[int, _pace(min=1, max=32, help="Of these, how many from one host.")]
Pause = Annotated[
    float,
    _pace(min=0, help="Seconds between two videos from one host, on average; 0 for no pause."),
]
VideoTimeout = Annotated[
    float, _pace(min=0.01, help="Minutes that one video may take, retries included.")
]
MaxBytes = Annotated[int, _pace(min=1, help="Bytes that one video may have.")]
Now = Annotated[bool, _pace("--now", help="Also ask hosts that asked for a pause.")]
Cookies = Annotated[
    Path | None,
    _access(dir_okay=False, help="Cookies file in Netscape format. It is read, never stored."),
]
CookiesFromBrowser = Annotated[
    str | None, _access(help="Use the cookies of this browser: firefox, chrome, ...")
]
Proxy = Annotated[
    str | None, _access(metavar="URL", help="An http, https, socks4 or socks5 proxy.")
]
ExtractorArgs = Annotated[
    list[str] | None,
    _access(
        metavar="NAME:KEY=VALUE",
        help="Arguments for yt-dlp's extractors and plugins, as yt-dlp takes them; can be "
        "repeated (docs/download.md).",
    ),
]
Impersonate = Annotated[
    str | None,
    _access(
        metavar="BROWSER",
        help="Ask as this browser does: chrome, firefox, safari, ... "
        "Needs `pip install 'musclemap[impersonate]'`.",
    ),
]
PAUSE_S = DownloadSettings.pause_s
VIDEO_TIMEOUT_MIN = DownloadSettings.video_timeout_s / 60


@app.command(
    rich_help_panel=BUILD,
    epilog=examples(
        "`musclemap download` (the bundled list of YouTube segments)",
        "`musclemap download --sample 200 --workers 4` (200 clips of it, always the same ones)",
        "`musclemap download --sample 200 --dry-run` (how much would that be?)",
        "`musclemap download --tier demonstration --activity wall_sit` (whole videos)",
        "`musclemap download --cookies-from-browser firefox --pause 10` (for a strict site)",
        '`musclemap download --extractor-args "youtube:player_client=web"` (docs/download.md)',
        "`musclemap download --manifest my_videos.csv --data data/mine`",
        "`musclemap download --engine ray --workers 16 --data /mnt/all/mine` (docs/cluster.md)",
    ),
)
def download(
    manifest: Manifest = None,
    data: Data = DEFAULT_DATA,
    activity: Activity = None,
    split: Split = None,
    tier: Tier = None,
    sample: Sample = None,
    limit: Limit = None,
    activities: Activities = DEFAULT_TABLE,
    retry_failed: RetryFailed = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only list what would be fetched, and its size."),
    ] = False,
    workers: Workers = DownloadSettings.workers,
    per_host: PerHost = DownloadSettings.per_host,
    pause: Pause = PAUSE_S,
    video_timeout: VideoTimeout = VIDEO_TIMEOUT_MIN,
    max_bytes: MaxBytes = DownloadSettings.max_bytes,
    now: Now = False,
    cookies: Cookies = None,
    cookies_from_browser: CookiesFromBrowser = None,
    proxy: Proxy = None,
    extractor_args: ExtractorArgs = None,
    impersonate: Impersonate = None,
    engine: Engine = "local",
    address: Address = None,
) -> None:
    """Fetch the source videos of a manifest with yt-dlp. A video is fetched only once.

    A host that refuses three times in a row is left alone until the time it names, and its videos
    stay planned.

    Exit code 0: every video is there. 1: some failed or were not tried; the ledger has the reason
    of each. 2: the manifest or an option is wrong, and nothing was changed.
    """
    from musclemap_data.download.videos import download_videos, estimate_downloads, needs_javascript
    from musclemap_data.ledger import Ledger
    from musclemap_data.manifest import select_clips
    from musclemap_data.remote import writing

    settings = _settings(
        workers, per_host, pause, video_timeout, max_bytes, cookies, cookies_from_browser, proxy,
        extractor_args, impersonate,
    )  # fmt: skip
    clips, folder = _listed_clips(manifest, activities)
    tier = tier or (TierChoice.ALL if manifest else TierChoice.SEGMENT)
    of_tier = [clip for clip in clips if tier in (TierChoice.ALL, clip.tier)]
    selection = {"activities": activity or (), "splits": split or ()}
    chosen = select_clips(of_tier, **selection, sample=sample, limit=limit)
    if len(chosen) < len(clips):
        typer.echo(f"{len(chosen)} of the {len(clips)} rows of the list", err=True)
    if missing := needs_javascript(chosen):
        warn(missing)
    if dry_run:
        with _video_bar("look") as (on_total, on_video):
            estimate = estimate_downloads(
                chosen,
                folder,
                data,
                settings=settings,
                retry_failed=retry_failed,
                now=now,
                on_total=on_total,
                on_video=on_video,
            )
        _print_estimate(estimate)
        return
    with writing(data), _video_bar("download") as (on_total, on_video):
        report = download_videos(
            chosen,
            folder,
            data,
            settings=settings,
            keep=[clip.clip_id for clip in clips],
            activity_table=activities,
            retry_failed=retry_failed,
            now=now,
            engine=engine,
            address=address,
            on_total=on_total,
            on_video=on_video,
        )
    complete = _report_download(report, data)
    with Ledger(data, read_only=True) as ledger:
        say_next(data, ledger.summary())
    if not complete:
        raise typer.Exit(EXIT_SOME_FAILED)


def _listed_clips(manifest: Path | None, activities: str) -> tuple[list[Clip], Path]:
    """The rows of a manifest or of the bundled lists, and the folder of its local urls."""
    from musclemap_data.catalog import load_table
    from musclemap_data.manifest import bundled_manifests, read_manifest

    paths, table = [manifest] if manifest else list(bundled_manifests()), load_table(activities)
    return [clip for path in paths for clip in read_manifest(path, table)], paths[0].parent


def _settings(
    workers: int,
    per_host: int,
    pause: float,
    video_timeout: float,
    max_bytes: int,
    cookies: Path | None,
    cookies_from_browser: str | None,
    proxy: str | None,
    extractor_args: list[str] | None,
    impersonate: str | None,
) -> DownloadSettings:
    return DownloadSettings(
        workers=workers,
        per_host=per_host,
        pause_s=pause,
        video_timeout_s=60 * video_timeout,
        max_bytes=max_bytes,
        cookies=cookies,
        cookies_from_browser=cookies_from_browser,
        proxy=proxy,
        extractor_args=tuple(extractor_args or ()),
        impersonate=impersonate,
    )


@contextmanager
def _video_bar(
    description: str,
) -> Iterator[tuple[Callable[[int], None], Callable[[str, Failure | None], None]]]:
    """A progress bar over videos: the two functions that set its total and move it."""
    with progress("video", description) as bar:
        failures = 0

        def on_video(video_id: str, failure: Failure | None) -> None:
            nonlocal failures
            failures += failure is not None
            bar.set_postfix(failed=failures, refresh=False)
            bar.update()

        yield bar.reset, on_video


def _report_download(report: DownloadReport, data: Path) -> bool:
    """Print what a download did.

    Returns:
        Whether every video is there.
    """
    report_failures(report.failed, "videos")
    for rest in report.resting:
        left = report.not_tried.get(rest.host, 0)
        typer.secho(
            f"PAUSE {rest}\n  {left} of its videos were not tried and stay planned. Run the same "
            "command again after that time, or now with --now.",
            fg="yellow",
            err=True,
        )
    not_tried = sum(report.not_tried.values())
    typer.echo(
        f"{report.downloaded} videos downloaded, {report.present} already there, "
        f"{len(report.failed)} failed{f', {not_tried} not tried' if not_tried else ''}; "
        f"{report.total_bytes / 1e6:.1f} MB in {data / 'videos'}"
    )
    return not report.failed and not not_tried


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
        f"{f' and {unknown} of unknown size' if unknown else ''}; {estimate.present} already "
        f"there, {len(estimate.failed)} not available. Nothing was written."
    )


@app.command(
    rich_help_panel=BUILD,
    epilog=examples(
        "`musclemap retry` (network errors and pauses, which may have passed)",
        "`musclemap retry --class blocked --cookies-from-browser firefox`",
    ),
)
def retry(
    failure_class: Annotated[
        str,
        typer.Option(
            "--class", help="Failure classes with commas between; `musclemap status` lists them."
        ),
    ] = "network,rate-limited",
    data: Data = DEFAULT_DATA,
    workers: Workers = DownloadSettings.workers,
    per_host: PerHost = DownloadSettings.per_host,
    pause: Pause = PAUSE_S,
    video_timeout: VideoTimeout = VIDEO_TIMEOUT_MIN,
    max_bytes: MaxBytes = DownloadSettings.max_bytes,
    now: Now = False,
    cookies: Cookies = None,
    cookies_from_browser: CookiesFromBrowser = None,
    proxy: Proxy = None,
    extractor_args: ExtractorArgs = None,
    impersonate: Impersonate = None,
    engine: Engine = "local",
    address: Address = None,
) -> None:
    """Try again what failed: fetch the videos and extract the clips of some failure classes.

    The ledger knows them, so no manifest is needed. Everything else stays as it is.

    Exit code 0: all of them are there now. 1: some failed again or were not tried.
    """
    from musclemap_data.download.videos import retry_videos
    from musclemap_data.errors import FailureClass, UserError
    from musclemap_data.remote import writing

    names = listed(failure_class)
    unknown = [name for name in names if name not in list(FailureClass)]
    if unknown or not names:
        raise UserError(
            f"failure class {', '.join(unknown) or '(none)'}: choose from {', '.join(FailureClass)}"
        )
    settings = _settings(
        workers, per_host, pause, video_timeout, max_bytes, cookies, cookies_from_browser, proxy,
        extractor_args, impersonate,
    )  # fmt: skip
    with writing(data), _video_bar("download") as (on_total, on_video):
        report, clip_ids = retry_videos(
            data,
            [FailureClass(name) for name in names],
            settings=settings,
            now=now,
            engine=engine,
            address=address,
            on_total=on_total,
            on_video=on_video,
        )
    complete = _report_download(report, data)
    if report.downloaded or clip_ids:
        if made := _made_by_default(data):
            complete &= run_extraction(data, made, only=clip_ids, engine=engine, address=address)
        else:
            typer.echo(
                f"Next: musclemap extract-modalities --data {data}, with the options you used "
                "before",
                err=True,
            )
    if not complete:
        raise typer.Exit(EXIT_SOME_FAILED)


def _made_by_default(data: Path) -> list[str]:
    """The modalities of a data set if all were made with the default settings, else none.

    With other settings than its own, every row would be made anew.
    """
    from musclemap_data.modalities import MODALITIES
    from musclemap_data.modalities.settings import ExtractionSettings
    from musclemap_data.shards import read_dataset_info

    if not (data / "dataset.json").exists():
        return []
    made = read_dataset_info(data)["modalities"]
    settings = ExtractionSettings()
    same = all(
        name in MODALITIES and made[name] == MODALITIES[name].describe(settings) for name in made
    )
    return list(made) if same else []
