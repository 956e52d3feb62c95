"""yt-dlp, each url in a process of its own: whatever hangs there ends with its time limit.

Sections of videos (yt-dlp's ``download_ranges``) are not used, because cuts must be exact: measured
without new keyframes, an MP4 section began up to a frame late, a WebM one up to the keyframe before
(3.2 s early with one each 10 s), and neither file tells where in the video it begins.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from musclemap_data.download.failures import classify, retry_after_s, tidy
from musclemap_data.download.process import OwnProcesses
from musclemap_data.download.settings import DownloadSettings, parse_extractor_args
from musclemap_data.errors import FailureClass, StageError, UserError

# The smallest picture whose shorter side is still 256 or more; sound is not wanted. ``?`` lets
# formats through that do not tell their size, such as a plain file on a server.
FORMAT = "bv*[height>=?256][width>=?256][vcodec!=none]/b[height>=?256][width>=?256]/bv*/b/best"
FORMAT_SORT = ["+res", "+fps", "+size", "+br"]
PAUSE_BETWEEN_PAGES_S = 0.75
"""At most so long between the pages that yt-dlp reads for one video: its own advice."""
LONG_VALUE = 16
"""Values of extractor arguments from so many characters on may be tokens and are never shown."""
PRELOAD = (__name__, "yt_dlp", "yt_dlp.extractor.generic", "yt_dlp.networking._requests")
"""Modules that every process for ``fetch`` needs."""
_LIVE = {
    "is_live": "is live now",
    "is_upcoming": "has not begun yet",
    "post_live": "was live a moment ago and its recording is not ready",
}
"""yt-dlp's ``live_status`` -> what it means, for what cannot be fetched whole."""


@dataclass(frozen=True)
class Fetched:
    """A fetched file: where it is, what fetched it, and what its site says of it."""

    path: Path
    tool: str
    title: str | None = None
    uploader: str | None = None
    licence: str | None = None


def fetch(
    processes: OwnProcesses,
    video_id: str,
    url: str,
    folder: Path,
    settings: DownloadSettings,
    cookies: str | None,
    time_limit_s: float,
    stop: threading.Event,
) -> Fetched:
    """Fetch the video of a url; what an earlier try left in ``folder`` is continued.

    Args:
        processes: where yt-dlp runs.
        video_id: begins the names of the files in ``folder``.
        url: http(s).
        folder: for the file and what is not finished of it.
        settings: limits and proxy.
        cookies: what ``prepare`` gave.
        time_limit_s: seconds after which the attempt is ended.
        stop: ends the attempt when set.

    Raises:
        StageError: stage ``download``, with the class of the failure.
    """
    arguments = (video_id, url, folder, settings, cookies)
    return processes.call(_fetch, arguments, time_limit_s, stop)


def estimate_bytes(
    processes: OwnProcesses,
    url: str,
    settings: DownloadSettings,
    cookies: str | None,
    time_limit_s: float,
    stop: threading.Event,
) -> int | None:
    """Bytes that ``fetch`` would get, from the site's own words; None where it does not say.

    Raises:
        StageError: as ``fetch``.
    """
    arguments = (url, settings, cookies)
    return processes.call(_estimate, arguments, time_limit_s, stop)


def partial_name(video_id: str, url: str) -> str:
    """How the names of the unfinished files of a video begin; another url is another file."""
    return f"{video_id}.{hashlib.sha256(url.encode()).hexdigest()[:12]}."


def read_cookies(settings: DownloadSettings) -> str | None:
    """The cookies of a run, as text in Netscape's format: read once, held in memory only.

    Raises:
        UserError: they cannot be read. The message holds nothing of them.
    """
    if settings.cookies:
        try:
            text = settings.cookies.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"the cookies file {settings.cookies} cannot be read") from error
        for number, line in enumerate(text.splitlines(), start=1):
            cells = line.removeprefix("#HttpOnly_").split("\t")
            if (
                not cells[0].startswith("#")
                and line.strip()
                and (len(cells) != 7 or not re.fullmatch(r"(\d+(\.\d+)?)?", cells[4]))
            ):
                raise UserError(
                    f"{settings.cookies} line {number} is no cookie in Netscape's format "
                    "(seven cells with tabs between); export the file anew"
                )
        return text
    if settings.cookies_from_browser:
        from yt_dlp.cookies import SUPPORTED_BROWSERS, extract_cookies_from_browser

        name = settings.cookies_from_browser.lower()
        if name not in SUPPORTED_BROWSERS:
            raise UserError(
                f"browser is {name!r}; choose from {', '.join(sorted(SUPPORTED_BROWSERS))}"
            )
        saved = io.StringIO()
        try:
            extract_cookies_from_browser(name, None, _Messages()).save(saved)
        except Exception as error:
            raise UserError(
                f"the cookies of {name} cannot be read ({type(error).__name__}): is it installed "
                "and closed? Else export them to a file for --cookies."
            ) from error
        return saved.getvalue()
    return None


def prepare(settings: DownloadSettings) -> str | None:
    """Before anything is fetched: check what the settings need, and read the cookies.

    Returns:
        The cookies, see ``read_cookies``.

    Raises:
        UserError: they cannot be read, or yt-dlp cannot do what the settings ask for.
    """
    check_impersonation(settings)
    return read_cookies(settings)


def check_impersonation(settings: DownloadSettings) -> None:
    """See that yt-dlp can look like the browser that the settings name.

    Raises:
        UserError: it cannot; the message says what to install, or lists the browsers.
    """
    if settings.impersonate is None:
        return
    import yt_dlp

    with yt_dlp.YoutubeDL({"quiet": True, "logger": _Messages()}) as session:
        try:
            target = _target(settings.impersonate)
            known = [target for target, _ in session._get_available_impersonate_targets()]
        except ValueError:
            target, known = None, []
        if not known and target is not None:
            raise UserError(
                "--impersonate needs a version of curl-cffi that yt-dlp supports: "
                "`pip install 'musclemap[impersonate]'`"
            )
        if target is None or not any(target in each for each in known):
            some = sorted({each.client for each in known}) or ["chrome", "firefox", "safari"]
            raise UserError(
                f"--impersonate is {settings.impersonate!r}; choose from {', '.join(some)}, or a "
                "version such as chrome-131 or safari:ios"
            )


def javascript_runtime() -> str | None:
    """Name and version of the JavaScript runtime for YouTube; None if there is no fitting one."""
    from yt_dlp.globals import supported_js_runtimes

    for name, config in _js_runtimes().items():
        info = supported_js_runtimes.value[name](path=config.get("path")).info
        if info and info.supported:
            return f"{name} {info.version}"
    return None


# -- in a process of its own --------------------------------------------------------------------


def _fetch(
    video_id: str, url: str, folder: Path, settings: DownloadSettings, cookies: str | None
) -> Fetched:
    import yt_dlp

    def check_size(progress: Mapping[str, Any]) -> None:
        got = max(progress.get("total_bytes") or 0, progress.get("downloaded_bytes") or 0)
        if got > settings.max_bytes:
            raise StageError("download", FailureClass.TOO_LARGE, f"{got / 1e6:.1f} MB or more")

    options = session_options(settings, cookies)
    options["progress_hooks"] = [check_size]
    # The format is in the name: another one must not continue the same file.
    template = str(folder / partial_name(video_id, url)).replace("%", "%%")
    options["outtmpl"] = {"default": template + "%(format_id).40s.%(ext)s"}
    info = _extract(url, settings, options, download=True)
    requested = info.get("requested_downloads") or [{}]
    fetched = Path(requested[0].get("filepath") or "")
    if not fetched.is_file() or not fetched.resolve().is_relative_to(folder.resolve()):
        raise StageError("download", FailureClass.NOT_A_VIDEO, "yt-dlp left no file")
    if fetched.stat().st_size > settings.max_bytes:
        size = fetched.stat().st_size
        raise StageError("download", FailureClass.TOO_LARGE, f"{size / 1e6:.1f} MB")
    return Fetched(
        fetched,
        tool=f"yt-dlp {yt_dlp.version.__version__}",
        title=info.get("title"),
        uploader=info.get("uploader"),
        licence=info.get("license"),
    )


def _estimate(url: str, settings: DownloadSettings, cookies: str | None) -> int | None:
    from yt_dlp.networking import HEADRequest

    def ask(session: Any, info: Mapping[str, Any]) -> int | None:
        """The size of a plain file, which only its server knows."""
        if not str(info.get("protocol")).startswith("http"):
            return None
        answer = session.urlopen(HEADRequest(info["url"], headers=info.get("http_headers") or {}))
        length = answer.get_header("Content-Length")
        return int(length) if length and length.isdigit() else None

    sizes = []

    def note_size(session: Any, info: Mapping[str, Any]) -> None:
        for part in info.get("requested_formats") or [info]:
            size = part.get("filesize") or part.get("filesize_approx")
            sizes.append(size or ask(session, part))

    _extract(url, settings, session_options(settings, cookies), download=False, then=note_size)
    known = [size for size in sizes if size is not None]
    return int(sum(known)) if known and len(known) == len(sizes) else None


def describe_video(url: str, settings: DownloadSettings, cookies: str | None) -> Mapping[str, Any]:
    """What yt-dlp knows of one video; nothing is fetched.

    Raises:
        StageError: stage ``download``; also where the url leads to no single video.
    """
    return _extract(url, settings, session_options(settings, cookies), download=False)


def _extract(
    url: str,
    settings: DownloadSettings,
    options: dict[str, Any],
    *,
    download: bool,
    then: Callable[[Any, Mapping[str, Any]], None] = lambda session, info: None,
) -> dict[str, Any]:
    """yt-dlp's facts of one video; its errors become ``StageError``."""
    with asking(options, settings) as session:
        info = session.extract_info(url, download=False)
        if info is None or info.get("_type") == "playlist" or "entries" in info:
            raise StageError(
                "download", FailureClass.NOT_A_VIDEO, "the url is a playlist or a page of links"
            )
        status = str(info.get("live_status") or "")
        if status in _LIVE:  # it would be recorded until somebody ends it
            raise StageError("download", FailureClass.LIVE, f"the video {_LIVE[status]}")
        if download:
            info = session.process_ie_result(info, download=True)
        then(session, info)
        return dict(info)


@contextmanager
def asking(options: Mapping[str, Any], settings: DownloadSettings) -> Iterator[Any]:
    """A session of yt-dlp with these options, of ``session_options``.

    Raises:
        StageError: stage ``download``, for every error of yt-dlp.
    """
    import yt_dlp

    messages: _Messages = options["logger"]
    try:
        with yt_dlp.YoutubeDL(dict(options)) as session:
            yield session
    except yt_dlp.utils.YoutubeDLError as error:
        reason = messages.errors[-1] if messages.errors else str(error)
        failure_class, wait_s = classify(error, reason), retry_after_s(error)
        reason = tidy(reason)
        if failure_class is FailureClass.NO_FORMAT and messages.warnings:
            # Why it has none, yt-dlp says only in a warning: no JavaScript, no PO token, ...
            reason += f" ({tidy(messages.warnings[-1])})"
        raise StageError(
            "download", failure_class, _without_secrets(reason, settings), wait_s
        ) from None


class _Messages:
    """Keeps yt-dlp's own words for the failure; prints nothing."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def debug(self, message: str) -> None: ...

    def info(self, message: str) -> None: ...

    def warning(self, message: str, only_once: bool = False) -> None:
        self.warnings.append(message)

    def error(self, message: str) -> None:
        if message.strip():
            self.errors.append(message)

    def progress_bar(self) -> None: ...


def _deno() -> str | None:
    """The JavaScript runtime that YouTube needs: on the path, or beside this Python (its wheel)."""
    folders = os.pathsep.join(
        [os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)]
    )
    return shutil.which("deno", path=folders)


def _js_runtimes() -> dict[str, dict[str, Any]]:
    return {"deno": {"path": _deno()}, "node": {}}


def session_options(settings: DownloadSettings, cookies: str | None) -> dict[str, Any]:
    """yt-dlp's options for one video: what the settings ask for, and nothing on the disk."""
    from musclemap_data.ffmpeg import ffmpeg_binary

    return {
        "format": FORMAT,
        "format_sort": FORMAT_SORT,
        "noplaylist": True,
        "playlist_items": "1",
        "extract_flat": "in_playlist",
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        "logger": _Messages(),
        "continuedl": True,
        "overwrites": True,
        "retries": 0,  # run_tasks tries again, with its pauses
        "extractor_retries": 1,
        "fragment_retries": 3,
        "retry_sleep_functions": {"fragment": lambda n: 2**n, "extractor": lambda n: 2**n},
        "sleep_interval_requests": min(PAUSE_BETWEEN_PAGES_S, settings.pause_s),
        "socket_timeout": settings.socket_timeout_s,
        "cachedir": False,
        "ffmpeg_location": ffmpeg_binary(),
        "enable_file_urls": False,
        "js_runtimes": _js_runtimes(),
        "allow_unplayable_formats": False,
        "color": "never",
        # A stream, not the file: yt-dlp would write the file anew.
        "cookiefile": io.StringIO(cookies) if cookies else None,
        "proxy": settings.proxy,
        "extractor_args": parse_extractor_args(settings.extractor_args),
        "impersonate": _target(settings.impersonate),
    }


def _target(name: str | None) -> Any:
    from yt_dlp.networking.impersonate import ImpersonateTarget

    return None if name is None else ImpersonateTarget.from_str(name.lower())


def _without_secrets(reason: str, settings: DownloadSettings) -> str:
    """A message without the proxy's login and without tokens among the extractor's arguments."""
    secrets = []
    if settings.proxy and "@" in settings.proxy:
        login = urlsplit(settings.proxy).netloc.rpartition("@")[0]
        secrets += [login, *login.split(":", 1)]
    for arguments in parse_extractor_args(settings.extractor_args).values():
        secrets += [
            value for values in arguments.values() for value in values if len(value) >= LONG_VALUE
        ]
    for secret in secrets:
        reason = reason.replace(secret, "***") if secret else reason
    return reason
