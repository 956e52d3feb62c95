"""Downloading with the real yt-dlp from a real (loopback) server."""

from __future__ import annotations

import hashlib
import io
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from yt_dlp.networking.common import Response
from yt_dlp.networking.exceptions import HTTPError
from yt_dlp.utils import DownloadError

from musclemap_data.catalog import load_activities
from musclemap_data.download.failures import classify, retry_after_s
from musclemap_data.download.hosts import Hosts, VideoTask, host_of, run_tasks
from musclemap_data.download.settings import DownloadSettings
from musclemap_data.download.videos import download_videos, needs_javascript
from musclemap_data.download.ytdlp import javascript_runtime
from musclemap_data.errors import FailureClass, StageError, UserError
from musclemap_data.files import lock_data_dir
from musclemap_data.ledger import Ledger
from musclemap_data.manifest import Clip, ManifestError, read_manifest


def clip(name: str, url: str, **changes) -> Clip:
    values = dict(start_s=0.0, end_s=None, activity="squat", split="train") | changes
    return Clip(clip_id=f"{name}_0", video_id=name, url=url, **values)


def test_good_and_bad_urls_each_end_where_they_belong(tmp_path, make_video, serve):
    site = tmp_path / "site"
    good = make_video(site / "good.mp4")
    (site / "corrupt.mp4").write_bytes(good.read_bytes()[:300] + b"\0" * 3000)
    (site / "page.html").write_text("<!DOCTYPE html><html><body>No video here</body></html>")
    (site / "page.mp4").write_text("<!DOCTYPE html><html><body>No video here</body></html>")
    (site / "empty.mp4").touch()
    base = serve(site)
    names = ["good.mp4", "corrupt.mp4", "page.html", "page.mp4", "empty.mp4", "missing.mp4"]
    clips = [clip(name.replace(".", "_"), f"{base}/{name}") for name in names]

    report = download_videos(clips, tmp_path, tmp_path / "data")

    assert report.downloaded == 1
    classes = {name: str(failure.failure_class) for name, failure in report.failed.items()}
    assert classes == {
        "corrupt_mp4": "decode",
        "page_html": "not-a-video",
        "page_mp4": "not-a-video",
        "empty_mp4": "not-a-video",
        "missing_mp4": "gone",
    }
    assert all(failure.reason for failure in report.failed.values())
    with Ledger(tmp_path / "data", read_only=True) as ledger:
        videos = {video.video_id: video for video in ledger.videos()}
    assert videos["good_mp4"].sha256 == hashlib.sha256(good.read_bytes()).hexdigest()
    assert (tmp_path / "data" / videos["good_mp4"].file).read_bytes() == good.read_bytes()
    assert videos["missing_mp4"].failure.failure_class == "gone"
    assert sorted(path.name for path in (tmp_path / "data/videos").glob("*.*")) == [
        ".partial",
        "good_mp4.mp4",
    ]


def test_a_second_run_fetches_nothing_again(tmp_path, make_video, serve):
    site = tmp_path / "site"
    make_video(site / "a.mp4")
    make_video(site / "b.mp4", seed=1)
    base = serve(site)
    clips = [clip("a", f"{base}/a.mp4"), clip("b", f"{base}/b.mp4"), clip("c", f"{base}/c.mp4")]
    first = download_videos(clips, tmp_path, tmp_path / "data")
    assert (first.downloaded, first.present, len(first.failed)) == (2, 0, 1)
    (site / "a.mp4").unlink()
    tried = []
    second = download_videos(
        clips, tmp_path, tmp_path / "data", on_video=lambda name, _: tried.append(name)
    )
    assert (second.downloaded, second.present, len(second.failed)) == (0, 2, 1)
    assert tried == []
    # What is gone for good is tried again only when asked for, and then found.
    make_video(site / "c.mp4", seed=2)
    third = download_videos(clips, tmp_path, tmp_path / "data", retry_failed=True)
    assert (third.downloaded, third.present, third.failed) == (1, 2, {})


def test_a_file_that_vanished_is_fetched_again(tmp_path, make_video, serve):
    site = tmp_path / "site"
    make_video(site / "a.mp4")
    clips = [clip("a", f"{serve(site)}/a.mp4")]
    download_videos(clips, tmp_path, tmp_path / "data")
    (tmp_path / "data/videos/a.mp4").unlink()
    assert download_videos(clips, tmp_path, tmp_path / "data").downloaded == 1


def test_local_files_are_copied(tmp_path, make_video):
    make_video(tmp_path / "mine" / "a.mp4")
    (tmp_path / "mine/picture.png").write_bytes(_png())
    clips = [clip("a", "a.mp4"), clip("b", "nothing.mp4"), clip("c", "picture.png")]
    report = download_videos(clips, tmp_path / "mine", tmp_path / "data")
    assert report.downloaded == 1
    assert report.failed["b"].failure_class is FailureClass.GONE
    assert report.failed["c"].failure_class is FailureClass.NOT_A_VIDEO


def _png() -> bytes:
    import cv2
    import numpy as np

    return cv2.imencode(".png", np.zeros((32, 32, 3), np.uint8))[1].tobytes()


def test_the_rest_of_the_manifest_is_not_withdrawn(tmp_path, make_video):
    for name in "abc":
        make_video(tmp_path / f"{name}.mp4", seed=ord(name))
    clips = [clip(name, f"{name}.mp4") for name in "abc"]
    data = tmp_path / "data"
    download_videos(clips[:2], tmp_path, data)
    report = download_videos(clips[2:], tmp_path, data, keep=[c.clip_id for c in clips])
    assert (report.downloaded, report.present) == (1, 0)
    with Ledger(data, read_only=True) as ledger:
        assert [row.clip_id for row in ledger.clips()] == ["a_0", "b_0", "c_0"]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Sign in to confirm you're not a bot", "blocked"),
        ("Private video. Sign in if you've been granted access", "gone"),
        ("Video unavailable. This video has been removed by the uploader", "gone"),
        ("The uploader has not made this video available in your country", "blocked"),
        ("Unsupported URL: http://h/", "not-a-video"),
        ("[Errno 28] No space left on device", "disk"),
        ("Read timed out.", "network"),
    ],
)
def test_yt_dlp_messages_have_their_class(message, expected):
    assert str(classify(Exception(message), message)) == expected


def test_one_run_at_a_time(tmp_path):
    with lock_data_dir(tmp_path), pytest.raises(UserError, match="in use by another"):
        download_videos([clip("a", "a.mp4")], tmp_path, tmp_path)


def test_a_changed_url_is_fetched_anew_and_a_removed_clip_withdrawn(tmp_path, make_video):
    make_video(tmp_path / "a.mp4")
    make_video(tmp_path / "b.mp4", seed=1)
    data = tmp_path / "data"
    download_videos([clip("a", "a.mp4"), clip("b", "b.mp4")], tmp_path, data)
    report = download_videos([clip("a", "b.mp4")], tmp_path, data)
    assert report.downloaded == 1
    with Ledger(data, read_only=True) as ledger:
        assert [row.clip_id for row in ledger.clips()] == ["a_0"]
    assert (data / "videos/a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_yt_dlp_finds_the_javascript_runtime_that_youtube_needs():
    assert javascript_runtime()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("clip_id", "-o/tmp/x"),
        ("video_id", "--exec=touch x"),
        ("video_id", "-o x"),
        ("url", "ytsearch:squat"),
        ("url", "file:///etc/passwd"),
        ("url", "-o/../../x.mp4"),
    ],
)
def test_what_looks_like_an_option_is_refused(tmp_path, column, value):
    row = dict(clip_id="c", video_id="v", url="https://example.org/v", start_s="0", end_s="1")
    row |= dict(activity="squat", split="train") | {column: value}
    path = tmp_path / "m.csv"
    path.write_text(",".join(row) + "\n" + ",".join(row.values()) + "\n")
    with pytest.raises(ManifestError, match=column):
        read_manifest(path, load_activities())


def test_a_name_that_begins_with_a_dash_is_only_a_name(tmp_path, make_video, serve):
    # Video ids of YouTube may begin so; a local path may too. Neither is ever an option.
    make_video(tmp_path / "site" / "-o.mp4")
    make_video(tmp_path / "--exec=x.mp4")
    url = f"{serve(tmp_path / 'site')}/-o.mp4"
    clips = [clip("-oHg5SJYRHA", url), clip("b", "--exec=x.mp4"), clip("c", "-o.mp4")]
    report = download_videos(clips, tmp_path, tmp_path / "data")
    assert (report.downloaded, set(report.failed)) == (2, {"c"})
    assert (tmp_path / "data/videos/-oHg5SJYRHA.mp4").is_file()


def test_youtube_without_a_javascript_runtime_is_warned_of(monkeypatch):
    clips = [clip("a", "https://youtu.be/-oHg5SJYRHA")]
    assert needs_javascript(clips) is None
    monkeypatch.setattr("musclemap_data.download.ytdlp.javascript_runtime", lambda: None)
    assert "pip install deno" in str(needs_javascript(clips))
    assert needs_javascript([clip("a", "https://example.org/v.mp4")]) is None


def test_requests_to_a_host_are_apart_and_those_to_this_machine_are_not():
    hosts = Hosts(DownloadSettings(pause_s=0.2), {})

    def seconds(url: str) -> float:
        began = time.monotonic()
        for _ in range(5):
            hosts.wait_turn(url, threading.Event())
        return time.monotonic() - began

    assert 0.4 < seconds("https://example.org/v") < 1.4  # four pauses of 0.1 to 0.3 s
    assert seconds("http://127.0.0.1:8000/v") < 0.1
    assert seconds("http://localhost/v") < 0.1
    hosts.hold("https://example.com/v", 0.3)
    began = time.monotonic()
    hosts.wait_turn("https://example.com/w", threading.Event())
    assert time.monotonic() - began > 0.25


def test_no_more_than_so_many_videos_of_a_host_at_once():
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()
    lock = threading.Lock()

    def work(task, time_limit_s, stop):
        for change in (1, -1):
            with lock:
                for name in (host_of(task.url), "all"):
                    running[name] += change
                    most[name] = max(most[name], running[name])
            time.sleep(0.03)

    urls = [f"https://www.youtube.com/{n}" for n in range(8)]
    urls += [f"https://youtu.be/{n}" for n in range(2)]
    urls += [f"https://example.org/{n}" for n in range(4)]
    tasks = [VideoTask(url, url, None) for url in urls]
    settings = DownloadSettings(workers=3, per_host=2, pause_s=0)
    done = [task.url for task, _, _ in run_tasks(tasks, work, settings, Hosts(settings, {}))]
    assert sorted(done) == sorted(urls)
    assert (most["youtube.com"], most["example.org"] <= 2, most["all"]) == (2, True, 3)


def test_bot_checks_in_a_row_let_a_host_rest():
    hosts = Hosts(DownloadSettings(refusals_to_stop=3), {})
    bot = StageError("download", FailureClass.BLOCKED, "Sign in to confirm you're not a bot")
    age = StageError("download", FailureClass.BLOCKED, "Sign in to confirm your age")
    lost = StageError("download", FailureClass.NETWORK, "timed out")
    url = "https://www.youtube.com/watch?v=x"
    for outcome in (bot, bot, age, bot, lost, bot):  # an answer to one video breaks the row
        hosts.note(url, outcome)
    assert hosts.resting == {}
    hosts.note(url, bot)
    assert set(hosts.resting) == {"youtube.com"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"workers": 0}, "workers is 0"),
        ({"pause_s": -1}, "pause_s is -1"),
        ({"proxy": "ftp://h"}, "proxy must begin with"),
        ({"cookies": Path("c"), "cookies_from_browser": "firefox"}, "not both"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        DownloadSettings(**changes)


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("120", 120, 120),
        (timedelta(hours=1), 3590, 3600),
        (timedelta(hours=-1), 0, 0),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_the_pause_that_a_server_asks_for_is_read(header, low, high):
    if isinstance(header, timedelta):
        header = format_datetime(datetime.now(UTC) + header, usegmt=True)
    headers = {"Retry-After": header} if header else {}
    answer = Response(io.BytesIO(), "http://h/", headers, status=429)
    error = DownloadError("failed", (HTTPError, HTTPError(answer), None))
    found = retry_after_s(error)
    assert found is None if low is None else low <= found <= high
