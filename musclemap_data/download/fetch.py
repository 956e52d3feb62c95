"""One video from its site, storage or file to ``videos/``: what a process or a node does."""

from __future__ import annotations

import re
import shutil
import threading
from pathlib import Path, PurePath, PurePosixPath

from musclemap_data import storage
from musclemap_data.download import ytdlp
from musclemap_data.download.hosts import VideoTask
from musclemap_data.download.process import OwnProcesses
from musclemap_data.download.settings import DownloadSettings
from musclemap_data.errors import FailureClass, StageError
from musclemap_data.extract.source import probe
from musclemap_data.files import file_sha256
from musclemap_data.ledger.rows import VideoFacts

_KEEPS_PARTIAL = (FailureClass.NETWORK, FailureClass.RATE_LIMITED, FailureClass.DISK)
"""Failures after which the next run continues the file where it stopped."""


def fetch_video(
    task: VideoTask,
    videos_dir: Path,
    settings: DownloadSettings,
    cookies: str | None,
    processes: OwnProcesses,
    time_limit_s: float,
    stop: threading.Event,
) -> VideoFacts:
    """Fetch one video into ``videos_dir``; what is not finished is in ``.partial`` there.

    Args:
        task: the video.
        videos_dir: where it will be, named after its id.
        settings: limits, proxy and so on.
        cookies: what ``ytdlp.prepare`` gave.
        processes: where yt-dlp runs.
        time_limit_s: seconds after which the attempt is ended.
        stop: ends the attempt when set.

    Raises:
        StageError: for every way it can go wrong.
    """
    folder = videos_dir / ".partial"
    try:
        fetched = _fetch(task, folder, settings, cookies, processes, time_limit_s, stop)
        video = probe(fetched.path, stage="download")
        final = videos_dir / f"{task.video_id}{_safe_suffix(fetched.path.suffix)}"
        facts = VideoFacts(
            file=f"videos/{final.name}",
            bytes=fetched.path.stat().st_size,
            sha256=file_sha256(fetched.path),
            tool=fetched.tool,
            duration_s=video.duration_s,
            title=fetched.title,
            uploader=fetched.uploader,
            licence=fetched.licence,
        )
        fetched.path.replace(final)
    except StageError as error:
        if error.failure.failure_class not in _KEEPS_PARTIAL:
            _drop_partial(task, folder)
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise StageError("download", FailureClass.DISK, reason) from error
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise StageError("download", FailureClass.BUG, reason) from error
    _drop_partial(task, folder)
    return facts


def _fetch(
    task: VideoTask,
    folder: Path,
    settings: DownloadSettings,
    cookies: str | None,
    processes: OwnProcesses,
    time_limit_s: float,
    stop: threading.Event,
) -> ytdlp.Fetched:
    if task.local_path is not None:
        return _copy_local(task, folder)
    if storage.is_object_url(task.url):
        return _copy_object(task, folder, settings.max_bytes)
    where = (task.video_id, task.url, folder)
    return ytdlp.fetch(processes, *where, settings, cookies, time_limit_s, stop)


def _drop_partial(task: VideoTask, folder: Path) -> None:
    start = ytdlp.partial_name(task.video_id, task.url)
    for path in folder.iterdir():
        if path.name.startswith(start):
            path.unlink(missing_ok=True)


def local_source(task: VideoTask) -> Path:
    """The file of a local url.

    Raises:
        StageError: class ``gone``: it is not there.
    """
    source = Path(str(task.local_path))
    if not source.is_file():
        raise StageError("download", FailureClass.GONE, f"there is no file {source.name!r}")
    return source


def _copy_local(task: VideoTask, folder: Path) -> ytdlp.Fetched:
    source = local_source(task)
    target = _partial_file(task, folder, source)
    shutil.copyfile(source, target)
    return ytdlp.Fetched(target, tool="copy")


def _copy_object(task: VideoTask, folder: Path, most_bytes: int) -> ytdlp.Fetched:
    target = _partial_file(task, folder, PurePosixPath(task.url))
    storage.fetch(task.url, target, most_bytes)
    return ytdlp.Fetched(target, tool="fsspec")


def _partial_file(task: VideoTask, folder: Path, source: PurePath) -> Path:
    return folder / f"{ytdlp.partial_name(task.video_id, task.url)}{source.suffix.lstrip('.')}"


def _safe_suffix(suffix: str) -> str:
    return suffix.lower() if re.fullmatch(r"\.[A-Za-z0-9]{1,5}", suffix) else ".video"
