"""What lists look like to the installed yt-dlp: its own extractors, on answers of YouTube's form.

Only the network is stood in for. When yt-dlp changes what an entry of a list is, these fail.
"""

from __future__ import annotations

from typing import Any

import pytest
import yt_dlp
from yt_dlp.extractor.youtube import YoutubeTabIE
from yt_dlp.extractor.youtube._tab import YoutubeTabBaseInfoExtractor

from musclemap_data.collect.gather import SEARCH
from musclemap_data.download import listing
from musclemap_data.download.settings import DownloadSettings

FAST = DownloadSettings(network_tries=1, backoff_s=0.01, pause_s=0)
CHANNEL = "UC" + "c" * 22


def lockup(name: str, kind: str = "VIDEO") -> dict[str, Any]:
    """An entry of a list as YouTube sends it now."""
    row = {
        "metadataParts": [
            {
                "text": {
                    "content": "A Channel",
                    "commandRuns": [
                        {
                            "onTap": {
                                "innertubeCommand": {
                                    "browseEndpoint": {
                                        "browseId": CHANNEL,
                                        "canonicalBaseUrl": "/@achannel",
                                    }
                                }
                            }
                        }
                    ],
                }
            }
        ]
    }
    return {
        "lockupViewModel": {
            "contentId": name,
            "contentType": f"LOCKUP_CONTENT_TYPE_{kind}",
            "metadata": {
                "lockupMetadataViewModel": {
                    "title": {"content": f"title of {name}"},
                    "metadata": {"contentMetadataViewModel": {"metadataRows": [row]}},
                }
            },
        }
    }


def video(name: str) -> dict[str, Any]:
    """An entry as YouTube sent it for years, and still does on some pages."""
    return {"videoRenderer": {"videoId": name, "title": {"runs": [{"text": f"title of {name}"}]}}}


def channel(name: str) -> dict[str, Any]:
    return {"channelRenderer": {"channelId": name, "title": {"simpleText": "A Channel"}}}


VIDEOS = ["a" * 11, "b" * 11]
LISTED = [
    channel(CHANNEL),
    lockup(VIDEOS[0]),
    lockup("PL" + "p" * 32, "PLAYLIST"),
    video(VIDEOS[1]),
    lockup(VIDEOS[0]),
]


@pytest.fixture
def asked(monkeypatch) -> list[dict[str, Any]]:
    """What YouTube's interface was asked; it always answers with ``LISTED``."""
    asked: list[dict[str, Any]] = []

    def answer(self: object, *_: object, query: dict[str, Any], **__: object) -> dict[str, Any]:
        asked.append(dict(query))
        section = {"itemSectionRenderer": {"contents": LISTED}}
        return {"contents": {"twoColumnSearchResultsRenderer": {"primaryContents": {
            "sectionListRenderer": {"contents": [section]}}}}}  # fmt: skip

    def no_page(self: object, *_: object, **__: object) -> dict[str, Any]:
        return {}

    def no_more(self: object, url: str) -> None:
        raise AssertionError(f"{url} was looked into")

    monkeypatch.setattr(YoutubeTabBaseInfoExtractor, "_extract_response", answer)
    monkeypatch.setattr(YoutubeTabBaseInfoExtractor, "_download_ytcfg", no_page)
    monkeypatch.setattr(YoutubeTabIE, "_real_extract", no_more)
    return asked


@pytest.mark.parametrize(
    "page", [f"{SEARCH}hollow+hold", "https://www.youtube.com/results?search_query=hollow+hold"]
)
def test_a_search_lists_videos_and_looks_into_no_channel_that_it_finds(asked, page):
    found = listing._list_videos(page, None, FAST, None)
    assert found == [f"https://www.youtube.com/watch?v={name}" for name in VIDEOS]
    assert asked[0]["query"] == "hollow hold"


def test_a_search_asks_for_videos_only_as_yt_dlp_itself_does(asked):
    listing._list_videos(f"{SEARCH}hollow+hold", None, FAST, None)
    with yt_dlp.YoutubeDL({"quiet": True, "extract_flat": "in_playlist"}) as session:
        list(session.extract_info("ytsearch5:hollow hold", download=False)["entries"])
    assert asked[0]["params"] == asked[1]["params"]


def test_an_entry_of_a_list_never_has_a_licence_so_each_video_is_asked_for():
    with yt_dlp.YoutubeDL({"quiet": True}) as session:
        extractor = YoutubeTabIE(session)
        new = extractor._extract_lockup_view_model(lockup(VIDEOS[0])["lockupViewModel"])
        old = extractor._video_entry(video(VIDEOS[1])["videoRenderer"])
        lists = extractor._extract_lockup_view_model(LISTED[2]["lockupViewModel"])
    assert new["uploader"] == "A Channel" and not old.get("uploader")
    assert not new.get("license") and not old.get("license")
    assert [listing._is_list(entry) for entry in (new, old, lists)] == [False, False, True]


def test_the_lists_of_a_channel_are_looked_into_once(monkeypatch):
    pages = {
        "https://www.youtube.com/@me": ["/@me/videos", "/@me/shorts"],
        "https://www.youtube.com/@me/videos": [f"/watch?v={VIDEOS[0]}"],
        "https://www.youtube.com/@me/shorts": [f"/shorts/{VIDEOS[1]}", "/@other/videos"],
    }

    def listed(self: YoutubeTabIE, url: str) -> dict[str, Any]:
        entries = [
            self.url_result(f"https://www.youtube.com{path}",
                            "YoutubeTab" if "@" in path else "Youtube")
            for path in pages[url]
        ]  # fmt: skip
        return self.playlist_result(entries, url, "A Channel")

    monkeypatch.setattr(YoutubeTabIE, "_real_extract", listed)
    found = listing._list_videos("https://www.youtube.com/@me", None, FAST, None)
    assert found == [
        f"https://www.youtube.com/watch?v={VIDEOS[0]}",
        f"https://www.youtube.com/shorts/{VIDEOS[1]}",
    ]
    assert listing._list_videos("https://www.youtube.com/@me", 1, FAST, None) == found[:1]
