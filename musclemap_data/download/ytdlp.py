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
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from musclemap_data.download.process import OwnProcesses
from musclemap_data.download.settings import DownloadSettings
from musclemap_data.errors import FailureClass, StageError, UserError

# The smallest picture whose shorter side is still 256 or more; sound is not wanted. ``?`` lets
# formats through that do not tell their size, such as a plain file on a server.
FORMAT = "bv*[height>=?256][width>=?256][vcodec!=none]/b[height>=?256][width>=?256]/bv*/b/best"
FORMAT_SORT = ["+res", "+fps", "+size", "+br"]
PAUSE_BETWEEN_PAGES_S = 0.75
"""At most so long between the pages that yt-dlp reads for one video: its own advice."""
PRELOAD = (__name__, "yt_dlp", "yt_dlp.extractor.generic", "yt_dlp.networking._requests")
"""Modules that every process for ``fetch`` needs."""

_BY_STATUS = {
    401: FailureClass.BLOCKED,
    403: FailureClass.BLOCKED,
    404: FailureClass.GONE,
    408: FailureClass.NETWORK,
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
        cookies: what ``read_cookies`` gave.
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

    options = _options(settings, cookies)
    options["progress_hooks"] = [check_size]
    # The format is in the name: another one must not continue the same file.
    template = str(folder / partial_name(video_id, url)).replace("%", "%%")
    options["outtmpl"] = {"default": template + "%(format_id).40s.%(ext)s"}
    info = _extract(url, options, download=True)
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

    _extract(url, _options(settings, cookies), download=False, then=note_size)
    known = [size for size in sizes if size is not None]
    return int(sum(known)) if known and len(known) == len(sizes) else None


def _extract(
    url: str,
    options: dict[str, Any],
    *,
    download: bool,
    then: Callable[[Any, Mapping[str, Any]], None] = lambda session, info: None,
) -> dict[str, Any]:
    """yt-dlp's facts of one video; its errors become ``StageError``."""
    import yt_dlp

    messages: _Messages = options["logger"]
    try:
        with yt_dlp.YoutubeDL(options) as session:
            info = session.extract_info(url, download=False)
            if info is None or info.get("_type") == "playlist" or "entries" in info:
                raise StageError(
                    "download", FailureClass.NOT_A_VIDEO, "the url is a playlist or a page of links"
                )
            if download:
                info = session.process_ie_result(info, download=True)
            then(session, info)
            return dict(info)
    except yt_dlp.utils.YoutubeDLError as error:
        reason = messages.errors[-1] if messages.errors else str(error)
        failure_class, wait_s = classify(error, reason), retry_after_s(error)
        reason = _without_secrets(_tidy(reason), options.get("proxy"))
        raise StageError("download", failure_class, reason, wait_s) from None


class _Messages:
    """Keeps yt-dlp's own words for the failure; prints nothing."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def debug(self, message: str) -> None: ...

    def info(self, message: str) -> None: ...

    def warning(self, message: str, only_once: bool = False) -> None: ...

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


def _options(settings: DownloadSettings, cookies: str | None) -> dict[str, Any]:
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
    }


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and the errors behind it, in yt-dlp's own chain and in Python's."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        inner = getattr(cause, "exc_info", None)
        if inner and inner[1] is not None and inner[1] is not cause:
            cause = inner[1]
        else:
            cause = cause.__cause__


def classify(error: BaseException, reason: str) -> FailureClass:
    """The failure class of an error of yt-dlp: by HTTP status if it has one, else by its words."""
    found = [getattr(cause, "status", None) for cause in _causes(error)]
    if named := re.search(r"HTTP Error (\d{3})", reason):
        found.append(int(named[1]))
    for status in found:
        if not isinstance(status, int):
            continue
        if status >= 500:
            return FailureClass.NETWORK
        if status < 400:  # a circle of redirections
            return FailureClass.NOT_A_VIDEO
        return _BY_STATUS.get(status, FailureClass.BLOCKED)
    lowered = reason.lower()
    matches = (kind for pattern, kind in _BY_TEXT if re.search(pattern, lowered))
    return next(matches, FailureClass.NETWORK)


def retry_after_s(error: BaseException) -> float | None:
    """The pause in seconds that the server asked for with an error, None if it did not."""
    for cause in _causes(error):
        response = getattr(cause, "response", None)
        text = response.get_header("Retry-After") if response is not None else None
        if not text:
            continue
        if re.fullmatch(r"\d{1,9}", text.strip()):
            return float(text)
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        return max(0.0, (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds())
    return None


def _tidy(reason: str) -> str:
    """yt-dlp's message without its prefix, the site's id and its request to report a bug."""
    reason = re.sub(r"^ERROR:\s*(\[[^\]]+\]\s*(\S+:\s)?)?", "", reason.strip())
    return re.split(r";? ?please report this issue|\. Set --|;? ?\(caused by", reason)[0].strip()


def _without_secrets(reason: str, proxy: str | None) -> str:
    if not proxy or "@" not in proxy:
        return reason
    login = urlsplit(proxy).netloc.rpartition("@")[0]
    for secret in (login, *login.split(":", 1)):
        reason = reason.replace(secret, "***") if secret else reason
    return reason
