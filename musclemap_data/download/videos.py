"""Fetch the source videos: real yt-dlp for http(s), a copy for local files."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from musclemap_data import storage
from musclemap_data.catalog import DEFAULT_TABLE
from musclemap_data.download import ytdlp
from musclemap_data.download.fetch import fetch_video, local_source
from musclemap_data.download.hosts import Hosts, VideoTask, host_of, is_youtube, run_tasks
from musclemap_data.download.process import OwnProcesses
from musclemap_data.download.ray import on_nodes
from musclemap_data.download.recover import recover
from musclemap_data.download.settings import DownloadSettings
from musclemap_data.errors import RETRIED_BY_DEFAULT, Failure, FailureClass, StageError, UserError
from musclemap_data.extract.engines import check_engine
from musclemap_data.files import lock_data_dir
from musclemap_data.ledger import Ledger
from musclemap_data.ledger.rows import Rest, VideoFacts, VideoRow
from musclemap_data.manifest import Clip


@dataclass
class DownloadReport:
    """What one run did. Every video asked for is in exactly one of the first four counts.

    Attributes:
        downloaded: videos fetched by this run.
        present: videos that were there already.
        failed: video id -> failure, of this run and of earlier ones that were not tried again.
        not_tried: host -> videos that were left out because the host asked for a pause.
        resting: hosts that asked for a pause, in this run or before.
        total_bytes: bytes of all videos present.
    """

    downloaded: int = 0
    present: int = 0
    failed: dict[str, Failure] = field(default_factory=dict)
    not_tried: dict[str, int] = field(default_factory=dict)
    resting: list[Rest] = field(default_factory=list)
    total_bytes: int = 0


@dataclass
class Estimate:
    """What a download would do.

    Attributes:
        sizes: video id -> bytes to fetch, None where the site does not say.
        failed: video id -> failure, where a video cannot be had, or failed before for good.
        present: videos that are there already.
        not_tried: host -> videos not looked at because the host asked for a pause.
        resting: hosts that asked for a pause.
    """

    sizes: dict[str, int | None] = field(default_factory=dict)
    failed: dict[str, Failure] = field(default_factory=dict)
    present: int = 0
    not_tried: dict[str, int] = field(default_factory=dict)
    resting: list[Rest] = field(default_factory=list)


OnVideo = Callable[[str, Failure | None], None]
OnTotal = Callable[[int], None]


def download_videos(
    clips: Sequence[Clip],
    manifest_dir: Path | str,
    data_dir: Path | str,
    *,
    settings: DownloadSettings | None = None,
    keep: Collection[str] = (),
    activity_table: str = DEFAULT_TABLE,
    retry_failed: bool = False,
    now: bool = False,
    engine: str = "local",
    address: str | None = None,
    on_video: OnVideo | None = None,
    on_total: OnTotal | None = None,
) -> DownloadReport:
    """Fetch the video of every clip that is not there yet, and record each in the ledger.

    The clips become the plan of the data directory; clips of an earlier plan are withdrawn. A
    video that failed for good (gone, blocked, ...) is tried again only with ``retry_failed``. A
    host that refuses several times in a row is left alone for the time it asked for, also by later
    runs; its videos stay planned. A ledger that was lost is made anew from shards and videos.

    Args:
        clips: a checked manifest, or a part of one.
        manifest_dir: local urls are relative to it.
        data_dir: the data set's folder; created if need be.
        settings: how many at once, which pauses, limits, cookies and proxy.
        keep: ids of clips that are not withdrawn: the rest of the manifest.
        activity_table: where the labels come from, see ``catalog.load_table``.
        retry_failed: try again whatever failed before.
        now: ask also hosts that asked for a pause that is not over.
        engine: ``local``, or ``ray``: nodes of a cluster fetch what is not a local file. Pauses
            and refusals are kept for all of them together.
        address: of the engine ``ray``, see ``extract.engines.run_jobs``.
        on_video: called with (video id, failure or None) as each attempt ends.
        on_total: called once with the number of videos about to be tried.

    Returns:
        A report.

    Raises:
        UserError: the data directory is in use or cannot be written, cookies cannot be read, or
            the engine cannot be used.
    """
    manifest_dir, data_dir = Path(manifest_dir), Path(data_dir)
    settings = settings or DownloadSettings()
    check_engine(engine, settings.workers, address)
    cookies = ytdlp.prepare(settings)
    with lock_data_dir(data_dir), Ledger(data_dir) as ledger:
        ledger.sync(clips, manifest_dir, keep=keep, activity_table=activity_table)
        if not ledger.has_places():
            recover(ledger, data_dir)
        chosen = {clip.video_id for clip in clips}
        plan = _plan(ledger.videos(), chosen, data_dir, retry_failed)
        return _fetch_all(
            plan, ledger, data_dir, settings, cookies, now, on_video, on_total,
            engine=engine, address=address,
        )  # fmt: skip


def retry_videos(
    data_dir: Path | str,
    classes: Collection[FailureClass],
    *,
    settings: DownloadSettings | None = None,
    now: bool = False,
    engine: str = "local",
    address: str | None = None,
    on_video: OnVideo | None = None,
    on_total: OnTotal | None = None,
) -> tuple[DownloadReport, list[str]]:
    """Plan again what failed with one of these classes, and fetch those videos; no others.

    Args:
        data_dir: an earlier data set; its ledger knows the videos and where they are.
        classes: failure classes.
        settings: as for ``download_videos``, like all that follow.

    Returns:
        (report on those videos, ids of the clips that are to be extracted now)

    Raises:
        UserError: as ``download_videos``; or nothing was downloaded here.
    """
    data_dir = Path(data_dir)
    if not (data_dir / "ledger.sqlite").exists():
        raise UserError(f"There is no ledger in {data_dir}. Run `musclemap download` first.")
    settings = settings or DownloadSettings()
    check_engine(engine, settings.workers, address)
    cookies = ytdlp.prepare(settings)
    with lock_data_dir(data_dir), Ledger(data_dir) as ledger:
        video_ids, clip_ids = ledger.plan_again(classes)
        plan = _plan(ledger.videos(), set(video_ids), data_dir, True)
        report = _fetch_all(
            plan, ledger, data_dir, settings, cookies, now, on_video, on_total,
            engine=engine, address=address,
        )  # fmt: skip
    return report, clip_ids


def estimate_downloads(
    clips: Sequence[Clip],
    manifest_dir: Path | str,
    data_dir: Path | str,
    *,
    settings: DownloadSettings | None = None,
    retry_failed: bool = False,
    now: bool = False,
    on_video: OnVideo | None = None,
    on_total: OnTotal | None = None,
) -> Estimate:
    """What ``download_videos`` would fetch, and how much; nothing is written to ``data_dir``.

    Remote sites are asked for each video's size, with the same pauses as in a download.

    Args:
        clips: as for ``download_videos``, like all others.
    """
    manifest_dir, data_dir = Path(manifest_dir), Path(data_dir)
    settings = settings or DownloadSettings()
    cookies = ytdlp.prepare(settings)

    def look(task: VideoTask, time_limit_s: float, stop: threading.Event) -> int | None:
        if task.local_path is not None:
            return local_source(task).stat().st_size
        if storage.is_object_url(task.url):
            return storage.size_of(task.url)
        return ytdlp.estimate_bytes(processes, task.url, settings, cookies, time_limit_s, stop)

    with TemporaryDirectory() as scratch:
        if (data_dir / "ledger.sqlite").exists():
            with Ledger(data_dir, read_only=True) as ledger:
                ledger.copy_to(Path(scratch))
        with Ledger(Path(scratch)) as ledger:
            ledger.sync(clips, manifest_dir)
            chosen = {clip.video_id for clip in clips}
            plan = _plan(ledger.videos(), chosen, data_dir, retry_failed)
            hosts = Hosts(settings, {} if now else ledger.resting_hosts())
    estimate = Estimate(failed=dict(plan.failed), present=plan.present)
    if on_total:
        on_total(len(plan.tasks))
    with (
        OwnProcesses(ytdlp.PRELOAD) as processes,
        closing(run_tasks(plan.tasks, look, settings, hosts)) as outcomes,
    ):
        for task, outcome, _ in outcomes:
            failure = None
            if isinstance(outcome, StageError):
                estimate.failed[task.video_id] = failure = outcome.failure
            else:
                estimate.sizes[task.video_id] = outcome
            if on_video:
                on_video(task.video_id, failure)
    tried = {*estimate.sizes, *estimate.failed}
    estimate.not_tried = _count_hosts(task for task in plan.tasks if task.video_id not in tried)
    estimate.resting = list(hosts.resting.values())
    return estimate


def needs_javascript(clips: Sequence[Clip]) -> str | None:
    """What to install if these clips are of YouTube and yt-dlp's JavaScript runtime is missing."""
    if not any(is_youtube(clip.url) for clip in clips) or ytdlp.javascript_runtime():
        return None
    return (
        "YouTube needs a JavaScript runtime and none was found: most of its videos will fail. "
        "Install one with `pip install deno`, or Node.js 22 or later."
    )


def resting_hosts(ledger: Ledger) -> list[tuple[Rest, int]]:
    """Hosts that asked for a pause, each with the number of its videos not downloaded yet."""
    rests = ledger.resting_hosts()
    left = Counter(host_of(video.url) for video in ledger.videos() if _is_left(video))
    return [(rest, left[host]) for host, rest in rests.items()]


def _is_left(video: VideoRow) -> bool:
    if video.failure is not None:
        return video.failure.failure_class in RETRIED_BY_DEFAULT
    return video.state == "planned"


@dataclass(frozen=True)
class _Plan:
    """What becomes of the chosen videos.

    Attributes:
        tasks: to be fetched.
        missing: ids of those that were there once; they are among the tasks.
        failed: video id -> failure, where an earlier one is for good.
        present: how many are there, and their bytes.
    """

    tasks: list[VideoTask]
    missing: list[str]
    failed: dict[str, Failure]
    present: int
    present_bytes: int


def _plan(
    videos: Iterable[VideoRow], chosen: Collection[str], data_dir: Path, retry_failed: bool
) -> _Plan:
    tasks, missing, failed, sizes = [], [], {}, []
    for video in videos:
        if video.video_id not in chosen:
            continue
        if video.file is not None and (data_dir / video.file).is_file():
            sizes.append(video.bytes or 0)
            continue
        failure = video.failure
        if failure and not retry_failed and failure.failure_class not in RETRIED_BY_DEFAULT:
            failed[video.video_id] = failure
            continue
        if video.state == "downloaded":
            missing.append(video.video_id)
        tasks.append(VideoTask(video.video_id, video.url, video.local_path))
    return _Plan(tasks, missing, failed, len(sizes), sum(sizes))


def _fetch_all(
    plan: _Plan,
    ledger: Ledger,
    data_dir: Path,
    settings: DownloadSettings,
    cookies: str | None,
    now: bool,
    on_video: OnVideo | None,
    on_total: OnTotal | None,
    *,
    engine: str,
    address: str | None,
) -> DownloadReport:
    """Fetch videos; each outcome goes into the ledger at once, and into the report."""
    report = DownloadReport(
        present=plan.present, failed=dict(plan.failed), total_bytes=plan.present_bytes
    )
    for video_id in plan.missing:
        ledger.video_missing(video_id)
    videos_dir = data_dir / "videos"
    (videos_dir / ".partial").mkdir(parents=True, exist_ok=True)
    hosts = Hosts(settings, {} if now else ledger.resting_hosts())
    ledger.set_resting_hosts(hosts.resting.values())
    known_rests = len(hosts.resting)
    left = {task.video_id: task for task in plan.tasks}
    if on_total:
        on_total(sum(host_of(task.url) not in hosts.resting for task in plan.tasks))

    with (
        _fetching(videos_dir, settings, cookies, engine, address) as work,
        closing(run_tasks(plan.tasks, work, settings, hosts)) as outcomes,
    ):
        for task, outcome, seconds in outcomes:
            failure = None
            if isinstance(outcome, StageError):
                report.failed[task.video_id] = failure = outcome.failure
                ledger.video_failed(task.video_id, failure, seconds)
            else:
                ledger.video_downloaded(task.video_id, outcome, seconds)
                report.downloaded += 1
                report.total_bytes += outcome.bytes
            del left[task.video_id]
            if len(hosts.resting) > known_rests:
                known_rests = len(hosts.resting)
                ledger.set_resting_hosts(hosts.resting.values())
            if on_video:
                on_video(task.video_id, failure)
    report.resting = list(hosts.resting.values())
    report.not_tried = _count_hosts(left.values())
    return report


@contextmanager
def _fetching(
    videos_dir: Path,
    settings: DownloadSettings,
    cookies: str | None,
    engine: str,
    address: str | None,
) -> Iterator[Callable[[VideoTask, float, threading.Event], VideoFacts]]:
    """What fetches one video: a process of this machine or, of ``ray``, one of a node."""
    with OwnProcesses(ytdlp.PRELOAD) as processes:

        def here(task: VideoTask, time_limit_s: float, stop: threading.Event) -> VideoFacts:
            return fetch_video(task, videos_dir, settings, cookies, processes, time_limit_s, stop)

        if engine == "local":
            yield here
            return
        with on_nodes(videos_dir, settings, cookies, address or "auto") as nodes:

            def there(task: VideoTask, time_limit_s: float, stop: threading.Event) -> VideoFacts:
                if task.local_path is not None:  # a file that may be on this machine alone
                    return here(task, time_limit_s, stop)
                return nodes.fetch(task, time_limit_s, stop)

            yield there


def _count_hosts(tasks: Iterable[VideoTask]) -> dict[str, int]:
    return dict(Counter(host_of(task.url) for task in tasks))
