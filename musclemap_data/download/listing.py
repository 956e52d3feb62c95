"""What a channel, a playlist or a search lists, and what the site says of each video.

An entry of a list has no licence with any site, and often no uploader: so each video is asked for,
with the pauses of a download.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from musclemap_data.download.process import OwnProcesses
from musclemap_data.download.settings import DownloadSettings
from musclemap_data.download.ytdlp import asking, describe_video, session_options

MOST_LISTS = 20
"""Lists in a list that are looked into: a channel has one of videos, of shorts, of streams."""


@dataclass(frozen=True)
class SiteFacts:
    """What a site says of a video.

    Attributes:
        name: its id there, None where it has none.
        site: yt-dlp's name of the site.
        url: its page.
        title, uploader, licence: as the site writes them, None where it does not.
        duration_s: seconds, None where the site does not say.
    """

    name: str | None
    site: str
    url: str
    title: str | None
    uploader: str | None
    licence: str | None
    duration_s: float | None


def list_videos(
    processes: OwnProcesses,
    url: str,
    limit: int | None,
    settings: DownloadSettings,
    cookies: str | None,
    time_limit_s: float,
    stop: threading.Event,
) -> list[str]:
    """Addresses of the videos that a page lists, in its order, each once.

    The lists of a channel, or of a page of playlists, are looked into; those that a search finds
    are not.

    Args:
        processes: where yt-dlp runs.
        url: of a channel, a playlist, a page of search results, or of one video.
        limit: most videos to list; None for all.
        settings, cookies, time_limit_s, stop: as for ``ytdlp.fetch``.

    Raises:
        StageError: stage ``download``, with the class of the failure.
    """
    return processes.call(_list_videos, (url, limit, settings, cookies), time_limit_s, stop)


def describe(
    processes: OwnProcesses,
    url: str,
    settings: DownloadSettings,
    cookies: str | None,
    time_limit_s: float,
    stop: threading.Event,
) -> SiteFacts:
    """What the site says of a video; nothing of it is fetched.

    Raises:
        StageError: as ``list_videos``; also where the url leads to no single video.
    """
    return processes.call(_describe, (url, settings, cookies), time_limit_s, stop)


# -- in a process of its own --------------------------------------------------------------------


def _list_videos(
    url: str, limit: int | None, settings: DownloadSettings, cookies: str | None
) -> list[str]:
    options = session_options(settings, cookies) | {
        "noplaylist": False,
        "playlist_items": f"1:{limit or ''}",
        "lazy_playlist": True,
    }
    with asking(options, settings) as session:
        found = dict.fromkeys(_addresses(session, url, 0))
        return list(islice(found, limit))


def _addresses(session: Any, url: str, depth: int) -> Iterator[str]:
    info = session.extract_info(url, download=False)
    if info is None:
        return
    if "entries" not in info:
        yield str(info.get("webpage_url") or url)
        return
    lists, searched = 0, "search" in str(info.get("extractor") or "").lower()
    for entry in info["entries"]:
        address = entry and (entry.get("url") or entry.get("webpage_url"))
        if not address:
            continue
        if _is_list(entry) and depth == 0 and not searched and lists < MOST_LISTS:
            lists += 1
            yield from _addresses(session, address, depth + 1)
        elif not _is_list(entry):
            yield str(address)


def _is_list(entry: Mapping[str, Any]) -> bool:
    kind = str(entry.get("ie_key") or "")
    return entry.get("_type") == "playlist" or kind.endswith(("Tab", "Playlist", "Channel", "User"))


def _describe(url: str, settings: DownloadSettings, cookies: str | None) -> SiteFacts:
    info = describe_video(url, settings, cookies)
    name, duration_s = info.get("id"), info.get("duration")
    return SiteFacts(
        name=str(name) if name else None,
        site=str(info.get("extractor_key") or ""),
        url=str(info.get("webpage_url") or url),
        title=info.get("title"),
        uploader=info.get("uploader") or info.get("channel"),
        licence=info.get("license"),
        duration_s=float(duration_s) if duration_s else None,
    )
