"""Failure classes, with the messages of the installed yt-dlp and through its whole machinery."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from pathlib import Path

import pytest
import yt_dlp

from musclemap_data.download import ytdlp
from musclemap_data.download.failures import classify
from musclemap_data.download.settings import DownloadSettings, parse_extractor_args
from musclemap_data.download.videos import download_videos
from musclemap_data.errors import NEXT_STEP, RETRIED_BY_DEFAULT, FailureClass, UserError
from tests.musclemap_data.download.faulty_server import FaultyServer
from tests.musclemap_data.download.test_faulty_server import FAST, clip

# What YouTube, Vimeo, Twitch and others say, as yt-dlp hands it on.
MESSAGES = {
    "members-only": [
        "Join this channel to get access to members-only content like this video, and other "
        "exclusive perks.",
        "This video is available to this channel's members on level: Gold (or any higher level). "
        "Join this channel to get access to members-only content and other exclusive perks.",
        "This video is only available to Music Premium members",
        "You do not have access to this subscriber-only content. Subscription required",
    ],
    "payment": [
        "This video requires payment to watch.",
        "This video is paid, subscribe to download it",
        "Ticket purchase is required for this stream",
        "This video can only be rented. Rent it for $3.99",
    ],
    "drm": ["This video is DRM protected", "Unsupported DRM"],
    "live": [
        "Premieres in 5 hours",
        "Premiere will begin shortly",
        "This live event will begin in 3 days.",
        "This live event has ended.",
        "The channel is not currently live",
        "This video is not available yet. Release date: tomorrow",
    ],
    "no-format": [
        "Requested format is not available. Use --list-formats for a list of available formats",
        "No video formats found!",
        "Unable to extract player version; please report this issue on  https://github.com/yt-dlp",
    ],
    "gone": [
        "Video unavailable. This video is private",
        "Private video. Sign in if you've been granted access to this video. Use --cookies",
        "Video unavailable. This video has been removed by the uploader",
        "Video unavailable. This video is no longer available because the YouTube account "
        "associated with this video has been terminated.",
        "Video unavailable. This video contains content from SME, who has blocked it on copyright "
        "grounds",
        "This live stream recording is not available.",
        "Video does not exist",
    ],
    "blocked": [
        "Sign in to confirm you’re not a bot. Use --cookies-from-browser or --cookies",
        "Sign in to confirm your age. This video may be inappropriate for some users.",
        "The uploader has not made this video available in your country",
        "This video is only available in Sweden",
        "This video is protected by a password, use the --video-password option",
        "Got HTTP Error 403 caused by Cloudflare anti-bot challenge; try again with "
        ' --extractor-args "generic:impersonate"',
    ],
    "rate-limited": [
        "This content isn't available, try again later. The current session has been rate-limited "
        "by YouTube for up to an hour.",
        "HTTP Error 429: Too Many Requests",
    ],
    "range": ["unable to download video data: HTTP Error 416: Requested range not satisfiable"],
    "refused": [
        "Unable to download webpage: HTTP Error 400: Bad Request",
        "Unable to download JSON metadata: HTTP Error 418: I'm a teapot",
    ],
    "network": [
        "Unable to download webpage: HTTP Error 503: Service Unavailable",
        "Read timed out.",
        "<urlopen error [Errno -2] Name or service not known>",
        "('Connection aborted.', ConnectionResetError(104, 'Connection reset by peer'))",
        "content too short (expected 900 bytes and served 100)",
    ],
    "not-a-video": ["Unsupported URL: https://example.org/premium/members/live", "No video found"],
    "disk": ["[Errno 28] No space left on device", "unable to open for writing: [Errno 13]"],
    "unknown": [
        "Postprocessing: Conversion failed!",
        "The page needs to be reloaded.",
        "Das Video ist kaputt",
    ],
}


@pytest.mark.parametrize(
    ("expected", "message"),
    [(kind, message) for kind, messages in MESSAGES.items() for message in messages],
)
def test_messages_of_sites_have_their_class(expected, message):
    assert str(classify(Exception(message), message)) == expected


def test_every_class_has_a_next_step_and_a_name_that_fits_the_table():
    assert set(NEXT_STEP) == set(FailureClass)
    assert all(len(kind) < 14 for kind in FailureClass)
    for kind in FailureClass:
        if f"--class {kind}" in NEXT_STEP[kind]:
            assert kind not in (FailureClass.GONE, FailureClass.DRM)
    assert FailureClass.DRM not in RETRIED_BY_DEFAULT


def messages_of_yt_dlp() -> dict[str, list[str]]:
    """Name of what raises it -> the literal messages in all extractors of the installed yt-dlp."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((Path(yt_dlp.__file__).parent / "extractor").rglob("*.py")):
        if path.name == "lazy_extractors.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.args
                and isinstance(node.args[0], ast.Constant)
                and isinstance(node.args[0].value, str)
            ):
                found[node.func.attr].append(node.args[0].value)
    return found


@pytest.mark.slow
def test_what_the_extractors_of_yt_dlp_raise_ends_where_a_login_or_a_place_can_help():
    found = messages_of_yt_dlp()
    logins = found["raise_login_required"]
    assert len(logins) > 40
    # yt-dlp adds how to log in, which the literal lacks.
    kinds = Counter(classify(Exception(text), f"{text}. Use --cookies") for text in logins)
    helped = {FailureClass.BLOCKED, FailureClass.MEMBERS_ONLY, FailureClass.PAYMENT}
    assert sum(kinds[kind] for kind in helped) / len(logins) > 0.9, kinds
    assert kinds[FailureClass.NETWORK] == kinds[FailureClass.UNKNOWN] == 0
    places = found["raise_geo_restricted"]
    assert {classify(Exception(text), text) for text in places} == {FailureClass.BLOCKED}
    without_format = found["raise_no_formats"]
    kinds = Counter(classify(Exception(text), text) for text in without_format)
    assert kinds[FailureClass.NETWORK] == 0
    assert kinds[FailureClass.LIVE] > 5
    assert kinds[FailureClass.DRM] >= 1 or "DRM" not in " ".join(without_format)


PLUGIN = """
from yt_dlp.extractor.common import InfoExtractor
from yt_dlp.utils import ExtractorError, UserNotLive


class RaisingPluginIE(InfoExtractor):
    _VALID_URL = r"http://127\\.0\\.0\\.1:\\d+/plugin/(?P<id>[\\w-]+)"

    def _real_extract(self, url):
        name = self._match_id(url)
        site = url.split("/plugin/")[0]
        video = {"id": name, "title": name, "url": f"{site}/none/video.mp4", "ext": "mp4"}
        if name == "members":
            self.raise_login_required("This video is for members only")
        if name == "place":
            self.raise_geo_restricted("Nur in wenigen Orten zu sehen", countries=["SE"])
        if name == "drm":
            self.report_drm(name)
        if name == "drm-formats":
            return {**video, "url": None, "formats": [{**video, "format_id": "a", "has_drm": True}]}
        if name == "no-formats":
            self.report_warning("no PO token was given")
            self.raise_no_formats("No video formats found!", expected=True, video_id=name)
        if name == "not-live":
            raise UserNotLive(video_id=name)
        if name == "live":
            return {**video, "live_status": "is_live"}
        if name == "upcoming":
            self.raise_no_formats("Premieres in 5 hours", expected=True)
        if name == "regex":
            self._search_regex(r"player=(.+)", "nothing", "player")
        if name == "webpage":
            self._download_webpage(f"{site}/status-400/video.mp4", name)
        if name == "paid":
            self._download_webpage(f"{site}/status-402/video.mp4", name)
        if name == "lost":
            self._download_webpage("http://127.0.0.1:1/", name)
        if name == "strange":
            raise ExtractorError("Das Video ist kaputt", expected=True)
        if name == "crash":
            return {}["title"]
        if name == "token":
            [word] = self._configuration_arg("word", ie_key="musclemaptest", default=["none"])
            if word != "a-token-of-24-characters":
                raise ExtractorError(f"the word {word} is wrong", expected=True)
        return video
"""
ENDS = {
    "members": "members-only",
    "place": "blocked",
    "drm": "drm",
    "drm-formats": "drm",
    "no-formats": "no-format",
    "not-live": "live",
    "live": "live",
    "upcoming": "live",
    "regex": "no-format",
    "webpage": "refused",
    "paid": "payment",
    "lost": "network",
    "strange": "unknown",
    "crash": "unknown",
    "token": "unknown",
}


@pytest.fixture
def plugin(tmp_path, monkeypatch) -> None:
    """An extractor that a user's own package brings, as PO-token providers are brought."""
    folder = tmp_path / "site-packages" / "yt_dlp_plugins" / "extractor"
    folder.mkdir(parents=True)
    (folder / "raising.py").write_text(PLUGIN)
    monkeypatch.setenv("PYTHONPATH", str(folder.parents[1]))
    monkeypatch.syspath_prepend(str(folder.parents[1]))


@pytest.mark.slow
def test_errors_of_extractors_end_in_their_class_through_all_of_yt_dlp(
    tmp_path, make_video, plugin
):
    video = make_video(tmp_path / "v.mp4").read_bytes()
    with FaultyServer({"video.mp4": video}) as server:
        clips = [clip(name, f"http://{server.address}/plugin/{name}") for name in ENDS]
        report = download_videos(clips, tmp_path, tmp_path / "data", settings=FAST)
        found = {name: str(failure.failure_class) for name, failure in report.failed.items()}
        assert found == ENDS, report.failed
        assert "no PO token was given" in report.failed["no-formats"].reason
        assert "live now" in report.failed["live"].reason
        assert server.asked("none") == []  # a live stream is not recorded

        # The plugin gets its argument, and a wrong one is not shown.
        for word, there in (("another-token-of-30-characters", 0), ("a-token-of-24-characters", 1)):
            settings = DownloadSettings(extractor_args=(f"musclemaptest:word={word}",))
            report = download_videos(
                [clip("token", f"http://{server.address}/plugin/token")],
                tmp_path,
                tmp_path / "data",
                settings=settings,
            )
            assert report.downloaded == there
            assert word not in f"{report.failed} {settings!r}"


@pytest.mark.slow
def test_a_range_that_does_not_fit_is_fetched_anew(tmp_path, make_video):
    video = make_video(tmp_path / "v.mp4").read_bytes()
    with FaultyServer({"video.mp4": video}) as server:
        partial = tmp_path / "data/videos/.partial"
        partial.mkdir(parents=True)
        report = download_videos(
            [clip("v", server.url("status-416"))], tmp_path, tmp_path / "data", settings=FAST
        )
        assert str(report.failed["v"].failure_class) == "range"
        assert list(partial.iterdir()) == []
        assert len(server.asked("status-416")) == 2  # what did not fit was dropped in between
        server.lifted = True
        again = download_videos(
            [clip("v", server.url("status-416"))], tmp_path, tmp_path / "data", settings=FAST
        )
    assert again.downloaded == 1


def test_extractor_arguments_are_read_as_yt_dlp_reads_them():
    texts = ["youtube:player_client=web,tv;po_token=web+a\\,b", "YouTube:lang=de", "a-b:c-d=e=f"]
    found = parse_extractor_args(texts)
    expected: dict[str, dict[str, list[str]]] = {}
    for text in texts:
        options = yt_dlp.parse_options(["--extractor-args", text]).ydl_opts["extractor_args"]
        for name, values in options.items():
            expected.setdefault(name, {}).update(values)
    assert found == expected


@pytest.mark.parametrize(
    "text",
    ["--exec=touch x", "youtube", "youtube:", ":a=b", "a b:c=d", "youtube:=x", "x:a=b\nc", "x:;;"],
)
def test_what_is_no_extractor_argument_is_refused(text):
    with pytest.raises(UserError, match="extractor argument"):
        DownloadSettings(extractor_args=(text,))


def test_extractor_arguments_reach_nothing_else_of_yt_dlp():
    texts = ("youtube:exec=touch /tmp/x;config_location=/tmp/x", "exec:before_dl=touch")
    plain = ytdlp.session_options(DownloadSettings(), None)
    given = ytdlp.session_options(DownloadSettings(extractor_args=texts), None)
    made_anew = {"logger", "retry_sleep_functions"}
    differ = {name for name in given if given[name] != plain.get(name)}
    assert given.keys() == plain.keys()
    assert differ - made_anew == {"extractor_args"}
    assert given["extractor_args"]["exec"] == {"before_dl": ["touch"]}


def test_a_browser_that_cannot_be_imitated_is_refused_before_anything_is_fetched(tmp_path):
    for name in ("netscape", ":::"):
        settings = DownloadSettings(impersonate=name)
        with pytest.raises(UserError, match=r"--impersonate (is '|needs)"):
            download_videos([clip("v", "v.mp4")], tmp_path, tmp_path / "data", settings=settings)
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_a_site_sees_the_browser_that_is_imitated(tmp_path, make_video):
    pytest.importorskip("curl_cffi")
    video = make_video(tmp_path / "v.mp4").read_bytes()
    with FaultyServer({"video.mp4": video}) as server:
        settings = DownloadSettings(impersonate="chrome")
        report = download_videos(
            [clip("v", server.url("none"))], tmp_path, tmp_path / "data", settings=settings
        )
        assert report.downloaded == 1
        assert all("Chrome/" in str(request.agent) for request in server.requests)
