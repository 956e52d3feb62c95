"""Fetch the source videos: real yt-dlp for http(s), a copy for local files."""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from musclemap_data.catalog import DEFAULT_TABLE
from musclemap_data.decode import probe
from musclemap_data.errors import UserError
from musclemap_data.ledger import (
    RETRIED_BY_DEFAULT,
    Failure,
    FailureClass,
    Ledger,
    StageError,
    lock_data_dir,
)
from musclemap_data.manifest import Clip, is_remote
from musclemap_data.shards import file_sha256

# The smallest picture whose shorter side is still 256 or more; sound is not wanted. `?` lets
# formats through that do not tell their size, such as a plain file on a server.
FORMAT = "bv*[height>=?256][width>=?256][vcodec!=none]/b[height>=?256][width>=?256]/bv*/b/best"
FORMAT_SORT = ["+res", "+fps", "+size", "+br"]

_BY_STATUS = {
    401: FailureClass.BLOCKED,
    403: FailureClass.BLOCKED,
    404: FailureClass.GONE,
    410: FailureClass.GONE,
    429: FailureClass.RATE_LIMITED,
    451: FailureClass.BLOCKED,
}
# First match wins: a private video also asks to sign in, a blocked one is also "unavailable".
_BY_TEXT = (
    (r"private video|removed|deleted|terminated|no longer|does not exist", FailureClass.GONE),
    (
        r"not a bot|sign in|log ?in|age.restrict|in your country|geo.?restrict|cookies",
        FailureClass.BLOCKED,
    ),
    (r"too many requests|rate.?limit|session has been", FailureClass.RATE_LIMITED),
    (r"unavailable", FailureClass.GONE),
    (
        r"unsupported url|no video|not a valid url|no formats|playlist|empty|did not get any data",
        FailureClass.NOT_A_VIDEO,
    ),
    (r"no space left|read-only file system|permission denied", FailureClass.DISK),
)


@dataclass
class DownloadReport:
    """What one run of ``download_videos`` did.

    Attributes:
        downloaded: videos fetched by this run.
        present: videos that were there already.
        failed: video id -> failure, of this run and of earlier ones that were not tried again.
        total_bytes: bytes of all videos present.
    """

    downloaded: int = 0
    present: int = 0
    failed: dict[str, Failure] = field(default_factory=dict)
    total_bytes: int = 0


def download_videos(
    clips: Sequence[Clip],
    manifest_dir: Path,
    data_dir: Path,
    *,
    workers: int = 2,
    keep: Collection[str] = (),
    activity_table: str = DEFAULT_TABLE,
    retry_failed: bool = False,
    on_video: Callable[[str, Failure | None], None] | None = None,
    on_total: Callable[[int], None] | None = None,
) -> DownloadReport:
    """Fetch the video of every clip that is not there yet, and record each in the ledger.

    The clips become the plan of the data directory; clips of an earlier plan are withdrawn. A
    video that failed for good (gone, blocked, ...) is tried again only with ``retry_failed``.

    Args:
        clips: a checked manifest, or a part of one.
        manifest_dir: local urls are relative to it.
        data_dir: the data set's folder; created if need be.
        workers: videos fetched at the same time.
        keep: ids of clips that are not withdrawn: the rest of the manifest.
        activity_table: where the labels come from, see ``catalog.load_table``.
        retry_failed: try again whatever failed before.
        on_video: called with (video id, failure or None) as each attempt ends.
        on_total: called once with the number of videos about to be tried.

    Returns:
        A report; every video of ``clips`` is in exactly one of its counts.

    Raises:
        UserError: the data directory is in use or cannot be written.
    """
    if workers < 1:
        raise UserError(f"workers is {workers}; it must be 1 or more")
    with lock_data_dir(data_dir), Ledger(data_dir) as ledger:
        ledger.sync(clips, manifest_dir, keep=keep, activity_table=activity_table)
        videos_dir = data_dir / "videos"
        (videos_dir / ".partial").mkdir(parents=True, exist_ok=True)
        chosen = {clip.video_id for clip in clips}
        report = DownloadReport()
        tasks = []
        for video in ledger.videos():
            video_id = video["video_id"]
            if video_id not in chosen:
                continue
            if video["state"] == "downloaded" and (data_dir / video["file"]).is_file():
                report.present += 1
                report.total_bytes += video["bytes"] or 0
                continue
            if video["state"] == "downloaded":
                ledger.video_missing(video_id)
            elif video["state"] == "failed" and not retry_failed:
                failure = Failure(
                    video["failure_stage"],
                    FailureClass(video["failure_class"]),
                    video["failure_reason"],
                )
                if failure.failure_class not in RETRIED_BY_DEFAULT:
                    report.failed[video_id] = failure
                    continue
            tasks.append((video_id, video["url"], video["local_path"]))
        if on_total:
            on_total(len(tasks))
        _run(tasks, videos_dir, workers, ledger, report, on_video)
    return report


def _run(
    tasks: Sequence[tuple[str, str, str | None]],
    videos_dir: Path,
    workers: int,
    ledger: Ledger,
    report: DownloadReport,
    on_video: Callable[[str, Failure | None], None] | None,
) -> None:
    stop = threading.Event()
    waiting = iter(tasks)
    with ThreadPoolExecutor(workers, thread_name_prefix="download") as pool:
        running: dict[Future[tuple[dict[str, Any] | Failure, float]], str] = {}
        try:
            while True:
                while len(running) < workers and (task := next(waiting, None)) is not None:
                    running[pool.submit(_attempt, *task, videos_dir, stop)] = task[0]
                if not running:
                    break
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    video_id = running.pop(future)
                    outcome, seconds = future.result()
                    if isinstance(outcome, Failure):
                        ledger.video_failed(video_id, outcome, seconds)
                        report.failed[video_id] = outcome
                    else:
                        ledger.video_downloaded(video_id, outcome, seconds)
                        report.downloaded += 1
                        report.total_bytes += outcome["bytes"]
                    if on_video:
                        on_video(video_id, outcome if isinstance(outcome, Failure) else None)
        finally:
            stop.set()


def _attempt(
    video_id: str, url: str, local_path: str | None, videos_dir: Path, stop: threading.Event
) -> tuple[dict[str, Any] | Failure, float]:
    """Fetch one video; every way it can go wrong becomes a ``Failure``."""
    began = time.monotonic()
    try:
        if is_remote(url):
            facts, fetched = _fetch_remote(video_id, url, videos_dir / ".partial", stop)
        else:
            facts, fetched = _copy_local(video_id, Path(str(local_path)), videos_dir / ".partial")
        try:
            video = probe(fetched, stage="download")
        except StageError:
            fetched.unlink(missing_ok=True)
            raise
        final = videos_dir / f"{video_id}{fetched.suffix}"
        facts |= {
            "bytes": fetched.stat().st_size,
            "sha256": file_sha256(fetched),
            "duration_s": video.duration_s,
            "file": f"videos/{final.name}",
        }
        fetched.replace(final)
        return facts, time.monotonic() - began
    except StageError as error:
        outcome = error.failure
    except OSError as error:
        outcome = Failure("download", FailureClass.DISK, error.strerror or str(error))
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        outcome = Failure("download", FailureClass.BUG, reason)
    return outcome, time.monotonic() - began


def _copy_local(video_id: str, source: Path, folder: Path) -> tuple[dict[str, Any], Path]:
    if not source.is_file():
        raise StageError("download", FailureClass.GONE, f"there is no file {source.name!r}")
    target = folder / f"{video_id}{_safe_suffix(source.suffix)}"
    shutil.copyfile(source, target)
    return {"tool": "copy"}, target


def _safe_suffix(suffix: str) -> str:
    return suffix.lower() if re.fullmatch(r"\.[A-Za-z0-9]{1,5}", suffix) else ".video"


class _Messages:
    """Keeps yt-dlp's own words for the failure; prints nothing."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def debug(self, message: str) -> None: ...

    def info(self, message: str) -> None: ...

    def warning(self, message: str) -> None: ...

    def error(self, message: str) -> None:
        self.errors.append(message)


def _fetch_remote(
    video_id: str, url: str, folder: Path, stop: threading.Event
) -> tuple[dict[str, Any], Path]:
    import yt_dlp

    def give_way(_: Mapping[str, Any]) -> None:
        if stop.is_set():
            raise KeyboardInterrupt

    messages = _Messages()
    options = _yt_dlp_options(video_id, folder, messages) | {"progress_hooks": [give_way]}
    try:
        with yt_dlp.YoutubeDL(options) as session:
            info = session.extract_info(url, download=False)
            if info is None or info.get("_type") == "playlist" or "entries" in info:
                raise StageError(
                    "download", FailureClass.NOT_A_VIDEO, "the url is a playlist or a page of links"
                )
            info = session.process_ie_result(info, download=True)
            requested = info.get("requested_downloads") or [{}]
            fetched = Path(requested[0].get("filepath") or "")
    except yt_dlp.utils.YoutubeDLError as error:
        reason = messages.errors[-1] if messages.errors else str(error)
        raise StageError("download", classify(error, reason), _tidy(reason)) from error
    if not fetched.is_file() or not fetched.resolve().is_relative_to(folder.resolve()):
        raise StageError("download", FailureClass.NOT_A_VIDEO, "yt-dlp left no file")
    safe = fetched.with_name(f"{video_id}{_safe_suffix(fetched.suffix)}")
    fetched.replace(safe)
    facts = {
        "title": info.get("title"),
        "uploader": info.get("uploader"),
        "licence": info.get("license"),
        "tool": f"yt-dlp {yt_dlp.version.__version__}",
    }
    return facts, safe


def _deno() -> str | None:
    """The JavaScript runtime that YouTube needs: on the path, or beside this Python (its wheel)."""
    folders = os.pathsep.join(
        [os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)]
    )
    return shutil.which("deno", path=folders)


def _yt_dlp_options(video_id: str, folder: Path, messages: _Messages) -> dict[str, Any]:
    from musclemap_data.trim import ffmpeg_binary

    template = str(folder / video_id).replace("%", "%%") + ".%(ext)s"
    return {
        "outtmpl": {"default": template},
        "format": FORMAT,
        "format_sort": FORMAT_SORT,
        "noplaylist": True,
        "playlist_items": "1",
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        "logger": messages,
        "continuedl": True,
        "overwrites": True,
        "retries": 3,
        "fragment_retries": 3,
        "socket_timeout": 30,
        "cachedir": False,
        "ffmpeg_location": ffmpeg_binary(),
        "enable_file_urls": False,
        "js_runtimes": {"deno": {"path": _deno()}, "node": {}},
        "allow_unplayable_formats": False,
        "max_filesize": 8 * 2**30,
        "color": "never",
    }


def classify(error: BaseException, reason: str) -> FailureClass:
    """The failure class of an error of yt-dlp: by HTTP status if it has one, else by its words."""
    cause: BaseException | None = error
    while cause is not None:
        inner = getattr(cause, "exc_info", None)
        for candidate in (cause, inner[1] if inner else None):
            status = getattr(candidate, "status", None)
            if isinstance(status, int):
                default = FailureClass.NETWORK if status >= 500 else FailureClass.BLOCKED
                return _BY_STATUS.get(status, default)
        cause = inner[1] if inner and inner[1] is not cause else cause.__cause__
    lowered = reason.lower()
    matches = (kind for pattern, kind in _BY_TEXT if re.search(pattern, lowered))
    return next(matches, FailureClass.NETWORK)


def _tidy(reason: str) -> str:
    """yt-dlp's message without its prefix and its request to report a bug."""
    reason = re.sub(r"^ERROR:\s*(\[[^\]]+\]\s*)?", "", reason.strip())
    return re.split(r";? ?please report this issue|\. Set --|;? ?\(caused by", reason)[0].strip()
