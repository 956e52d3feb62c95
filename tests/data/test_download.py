"""Downloading with the real yt-dlp from a real (loopback) server."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from musclemap_data.download import _Messages, _yt_dlp_options, classify, download_videos
from musclemap_data.errors import UserError
from musclemap_data.ledger import FailureClass, Ledger, lock_data_dir
from musclemap_data.manifest import Clip


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
        videos = {video["video_id"]: video for video in ledger.videos()}
    assert videos["good_mp4"]["sha256"] == hashlib.sha256(good.read_bytes()).hexdigest()
    assert (tmp_path / "data" / videos["good_mp4"]["file"]).read_bytes() == good.read_bytes()
    assert videos["missing_mp4"]["failure_class"] == "gone"
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
        assert [row["clip_id"] for row in ledger.clips()] == ["a_0", "b_0", "c_0"]


@pytest.mark.parametrize(
    ("status", "expected"),
    [(403, "blocked"), (404, "gone"), (410, "gone"), (429, "rate-limited"), (500, "network")],
)
def test_http_errors_have_their_class(tmp_path, status, expected):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(status)

        do_HEAD = do_GET

        def log_message(self, *_): ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/v.mp4"
        report = download_videos([clip("v", url)], tmp_path, tmp_path / "data")
    finally:
        server.shutdown()
        server.server_close()
    assert str(report.failed["v"].failure_class) == expected


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
        assert [row["clip_id"] for row in ledger.clips()] == ["a_0"]
    assert (data / "videos/a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_yt_dlp_finds_the_javascript_runtime_that_youtube_needs(tmp_path):
    import yt_dlp

    session = yt_dlp.YoutubeDL(_yt_dlp_options("v", tmp_path, _Messages()))
    assert any(runtime.info and runtime.info.supported for runtime in session._js_runtimes.values())
