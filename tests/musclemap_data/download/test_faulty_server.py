"""Downloading from sites that fail, refuse, hang and lie, with the real yt-dlp."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from musclemap_data.download.settings import DownloadSettings
from musclemap_data.download.videos import download_videos, estimate_downloads
from musclemap_data.errors import UserError
from musclemap_data.ledger import Ledger
from musclemap_data.ledger.rows import Rest
from musclemap_data.manifest import Clip, write_manifest
from tests.conftest import REPOSITORY
from tests.musclemap_data.download.faulty_server import FaultyServer

pytestmark = pytest.mark.slow

FAST = DownloadSettings(
    workers=6, per_host=6, backoff_s=0.05, network_tries=2, video_timeout_s=6, socket_timeout_s=1.5
)
CLASSES = {
    "status-403": "blocked",
    "status-404": "gone",
    "status-410": "gone",
    "status-429": "rate-limited",
    "status-500": "network",
    "status-503": "network",
    "media-403": "blocked",
    "media-503": "network",
    "reset": "network",
    "short": "decode",
    "long": "network",
    "stall": "network",
    "silent": "network",
    "drip": "network",
    "redirect": "not-a-video",
    "html": "not-a-video",
    "empty": "not-a-video",
    "playlist": "not-a-video",
}


def clip(name: str, url: str) -> Clip:
    return Clip(f"{name}_0", name, url, 0.0, None, "squat", "train")


@pytest.fixture
def video(tmp_path, make_video) -> bytes:
    return make_video(tmp_path / "made" / "video.mp4").read_bytes()


def musclemap(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "cli.py"), *map(str, words)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )


def states(data: Path) -> dict[str, str]:
    with Ledger(data, read_only=True) as ledger:
        return {
            video.video_id: video.failure.failure_class if video.failure else video.state
            for video in ledger.videos()
        }


def fingerprints(folder: Path) -> dict[str, tuple[int, int, str]]:
    """File -> inode, time of change, hash of the content."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_ino,
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
def test_every_fault_ends_in_its_class_and_retry_gets_the_rest(tmp_path, video):
    data = tmp_path / "data"
    with FaultyServer({"video.mp4": video}) as server:
        names = {"good": "none", **{fault: fault for fault in CLASSES}}
        clips = [clip(name, server.url(fault)) for name, fault in names.items()]
        began = time.monotonic()
        report = download_videos(clips, tmp_path, data, settings=FAST)
        assert time.monotonic() - began < 60
        assert states(data) == {"good": "downloaded", **CLASSES}
        assert all(failure.reason for failure in report.failed.values())
        assert len(server.asked("status-503")) == FAST.network_tries
        assert len(server.asked("status-429")) == FAST.rate_limited_tries
        assert {len(server.asked(f)) for f in ("status-403", "status-404", "playlist")} == {1}
        extracted = musclemap("extract-modalities", "--data", data, "--modalities", "rgb")
        assert "1 clips extracted" in extracted.stdout, extracted.stderr
        status = json.loads(musclemap("status", "--data", data, "--json").stdout)
        assert sum(group["clips"] for group in status["failures"]) == len(CLASSES)
        assert {g["class"] for g in status["failures"]} == set(CLASSES.values())
        assert all(group["next_step"] and group["example"]["id"] for group in status["failures"])
        earlier = {
            **fingerprints(data / "videos"),
            **{f"shards/{k}": v for k, v in fingerprints(data / "shards").items()},
        }
        earlier = {name: value for name, value in earlier.items() if ".partial" not in name}
        assert set(earlier) == {"good.mp4", "shards/train-00000.parquet"}

        server.lifted = True
        server.requests.clear()
        done = musclemap("retry", "--class", "network,rate-limited", "--data", data)
        chosen = [f for f, kind in CLASSES.items() if kind in ("network", "rate-limited")]
        assert f"{len(chosen)} videos downloaded" in done.stdout, done.stderr
        assert f"{len(chosen)} clips extracted, 1 already there" in done.stdout, done.stderr
        now = states(data)
        assert {name for name, state in now.items() if state == "downloaded"} == {"good", *chosen}
        assert {r.path.split("/")[1] for r in server.requests} == set(chosen)
        # What the reset and the stall had left was gone on with, not fetched again.
        for fault in ("reset", "stall"):
            assert [r.byte_range for r in server.asked(fault)][-1] not in (None, "bytes=0-")
        others = ",".join(sorted(set(CLASSES.values()) - {"network", "rate-limited"}))
        done = musclemap("retry", "--class", others, "--data", data)
        assert done.returncode == 0, done.stderr
        assert musclemap("status", "--data", data).returncode == 0
        assert set(states(data).values()) == {"downloaded"}
        assert server.asked("none") == []  # the good one, there from the start
    after = {**fingerprints(data / "videos"), **{
        f"shards/{k}": v for k, v in fingerprints(data / "shards").items()
    }}  # fmt: skip
    assert {name: after[name] for name in earlier} == earlier
    assert {after[f"{name}.mp4"][2] for name in names} == {hashlib.sha256(video).hexdigest()}
    assert list((data / "videos/.partial").iterdir()) == []


@pytest.mark.slow
def test_a_host_that_refuses_is_left_alone_and_the_others_go_on(tmp_path, video):
    data = tmp_path / "data"
    settings = DownloadSettings(per_host=1, rate_limited_tries=1, rest_s=1800)
    with FaultyServer({"video.mp4": video}) as refusing, FaultyServer({"video.mp4": video}) as good:
        clips = [clip(f"a{n}", refusing.url("status-429")) for n in range(6)]
        clips = [clip(c.video_id, f"{c.url}?{c.video_id}") for c in clips]
        clips += [clip(f"b{n}", f"{good.url('none')}?{n}") for n in range(5)]
        report = download_videos(clips, tmp_path, data, settings=settings)
        assert (report.downloaded, len(report.failed)) == (5, 3)
        assert report.not_tried == {refusing.address: 3}
        assert len(refusing.requests) == 3
        [rest] = report.resting
        assert rest.host == refusing.address
        assert 1700 < (rest.until - datetime.now(UTC)).total_seconds() <= 1800
        found = states(data)
        assert [found[f"a{n}"] for n in range(6)] == ["rate-limited"] * 3 + ["planned"] * 3

        refusing.lifted = True
        write_manifest(tmp_path / "m.csv", clips)
        words = ["download", "--manifest", tmp_path / "m.csv", "--data", data]
        done = musclemap(*words)
        assert done.returncode == 1
        assert f"PAUSE {refusing.address} is left alone until {rest.until:%Y-%m-%d %H:%M}" in (
            done.stderr
        )
        assert "6 of its videos were not tried and stay planned" in done.stderr
        assert len(refusing.requests) == 3
        done = musclemap("status", "--data", data)
        assert f"PAUSE {refusing.address} until" in done.stdout
        assert "(6 videos left)" in done.stdout

        done = musclemap(*words, "--now")
        assert done.returncode == 0, done.stderr
        assert "6 videos downloaded, 5 already there, 0 failed" in done.stdout
        assert "PAUSE" not in musclemap("status", "--data", data).stdout


def test_a_host_that_asks_for_a_long_pause_is_not_asked_again(tmp_path, video):
    settings = DownloadSettings(per_host=1)
    with FaultyServer({"video.mp4": video}) as server:
        clips = [clip(n, f"{server.url('status-429-7200')}?{n}") for n in "abc"]
        report = download_videos(clips, tmp_path, tmp_path / "data", settings=settings)
        assert len(server.requests) == 1
        assert 7100 < (report.resting[0].until - datetime.now(UTC)).total_seconds() <= 7200


def test_a_pause_is_at_most_a_day_wherever_the_clock_is_set(tmp_path):
    with Ledger(tmp_path) as ledger:
        now = datetime.now(UTC)
        rests = [
            Rest("far", now + timedelta(days=400), "clock set back"),
            Rest("near", now + timedelta(hours=1), "as asked"),
            Rest("over", now - timedelta(seconds=1), "over"),
        ]
        ledger.set_resting_hosts(rests)
        found = ledger.resting_hosts()
    assert set(found) == {"far", "near"}
    assert found["far"].until - now < timedelta(days=1, minutes=1)
    assert found["near"] == rests[1]


def kill_while_fetching(words: list[str], data: Path, *, more_than: int, within_s: float) -> Path:
    """Run a download of one video, kill it when so many bytes are there; the unfinished file."""
    process = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "cli.py"), *words], stderr=subprocess.DEVNULL
    )
    partial: list[Path] = []
    give_up = time.monotonic() + within_s
    while not any(path.stat().st_size > more_than for path in partial):
        assert process.poll() is None
        assert time.monotonic() < give_up
        time.sleep(0.1)
        partial = list(data.glob("videos/.partial/*.part"))
    process.kill()
    process.wait()
    return partial[0]


def test_a_killed_download_goes_on_where_it_was(tmp_path, make_video):
    body = make_video(tmp_path / "v.mp4", seconds=4, width=640, height=480).read_bytes()
    body += b"\0" * 400_000  # so that it takes long at 20 kB/s
    data = tmp_path / "data"
    with FaultyServer({"video.mp4": body}) as server:
        write_manifest(tmp_path / "m.csv", [clip("v", server.url("slow"))])
        words = ["download", "--manifest", str(tmp_path / "m.csv"), "--data", str(data)]
        partial = kill_while_fetching(words, data, more_than=20_000, within_s=30)
        time.sleep(0.5)
        size = partial.stat().st_size
        time.sleep(0.5)
        assert partial.stat().st_size == size  # nobody writes on behind the killed run
        server.lifted = True
        server.requests.clear()
        server.bytes_sent = 0
        assert musclemap(*words).returncode == 0
        assert server.requests[-1].byte_range == f"bytes={size}-"
    assert (data / "videos/v.mp4").read_bytes() == body


def test_a_dry_run_lists_sizes_and_failures_and_writes_nothing(tmp_path, video):
    data = tmp_path / "data"
    with FaultyServer({"video.mp4": video}) as server:
        clips = [clip(name, server.url(name)) for name in ("none", "status-404", "html", "reset")]
        clips += [clip("local", "made/video.mp4")]
        write_manifest(tmp_path / "m.csv", clips)
        words = ["download", "--manifest", tmp_path / "m.csv", "--data", data, "--dry-run"]
        done = musclemap(*words)
        assert done.returncode == 0, done.stderr
        assert not data.exists()
        assert "status-404  gone: " in done.stdout
        assert "html  not-a-video: " in done.stdout
        assert f"3 videos to fetch, {3 * len(video) / 1e6:.1f} MB; 0 already there" in done.stdout
        assert server.bytes_sent < 3 * len(video)

        download_videos(clips[:2], tmp_path, data, settings=FAST)
        before = fingerprints(data)
        estimate = estimate_downloads(clips, tmp_path, data, settings=FAST)
        assert estimate.sizes == {"reset": len(video), "local": len(video)}
        assert (estimate.present, set(estimate.failed)) == (1, {"status-404", "html"})
        assert fingerprints(data) == before


COOKIES = "# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tlogin\tsecret-of-mine\n"


@pytest.mark.slow
def test_cookies_are_sent_and_kept_nowhere(tmp_path, video):
    cookies = tmp_path / "cookies.txt"
    cookies.write_text(COOKIES)
    data = tmp_path / "data"
    with FaultyServer({"video.mp4": video}) as server:
        clips = [clip("v", server.url("cookie")), clip("w", server.url("status-403"))]
        write_manifest(tmp_path / "m.csv", clips)
        words = ["download", "--manifest", tmp_path / "m.csv", "--data", data]
        assert "v: download failed (blocked)" in musclemap(*words).stderr
        done = musclemap(*words, "--retry-failed", "--cookies", cookies)
        assert "1 videos downloaded" in done.stdout, done.stderr
        assert server.asked("cookie")[-1].cookie == "login=secret-of-mine"
    assert cookies.read_text() == COOKIES
    assert "secret-of-mine" not in done.stdout + done.stderr
    for path in data.rglob("*"):
        assert not path.is_file() or b"secret-of-mine" not in path.read_bytes()


@pytest.mark.parametrize("text", ["[{}]", COOKIES + "127.0.0.1 secret-of-mine\n"])
def test_a_damaged_cookies_file_is_refused_without_showing_it(tmp_path, text):
    cookies = tmp_path / "cookies.txt"
    cookies.write_text(text)
    settings = DownloadSettings(cookies=cookies)
    with pytest.raises(UserError, match="no cookie in Netscape's format") as caught:
        download_videos([clip("v", "v.mp4")], tmp_path, tmp_path / "data", settings=settings)
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_a_proxy_is_used_and_its_password_not_shown(tmp_path, video):
    with FaultyServer({"video.mp4": video}) as server:
        settings = DownloadSettings(pause_s=0, proxy=f"http://me:pass-word@{server.address}")
        clips = [clip("v", "http://videos.invalid/none/video.mp4")]
        report = download_videos(clips, tmp_path, tmp_path / "data", settings=settings)
        assert report.downloaded == 1
    settings = DownloadSettings(pause_s=0, network_tries=1, proxy="http://me:pass-word@127.0.0.1:1")
    clips = [clip("w", "http://videos.invalid/none/video.mp4")]
    report = download_videos(clips, tmp_path, tmp_path / "data", settings=settings)
    assert "pass-word" not in str(report.failed["w"]) + repr(settings)
    assert str(report.failed["w"].failure_class) == "network"


def test_a_video_larger_than_allowed_is_not_fetched(tmp_path, video):
    settings = DownloadSettings(max_bytes=len(video) - 1)
    with FaultyServer({"video.mp4": video}) as server:
        clips = [clip("v", server.url("none"))]
        report = download_videos(clips, tmp_path, tmp_path / "data", settings=settings)
        assert str(report.failed["v"].failure_class) == "too-large"
        assert list((tmp_path / "data/videos/.partial").iterdir()) == []


def test_another_url_does_not_go_on_with_the_partial_file_of_the_first(tmp_path, video, make_video):
    other = make_video(tmp_path / "other.mp4", seed=7, seconds=2).read_bytes()
    with FaultyServer({"video.mp4": video, "other.mp4": other}) as server:
        for url in (server.url("stall"), server.url("none", "other.mp4")):
            report = download_videos([clip("v", url)], tmp_path, tmp_path / "data", settings=FAST)
    assert report.downloaded == 1
    assert (tmp_path / "data/videos/v.mp4").read_bytes() == other


def test_status_is_a_table_with_what_to_do(tmp_path, video):
    with FaultyServer({"video.mp4": video}) as server:
        clips = [clip("good", server.url("none")), clip("lost", server.url("status-404"))]
        download_videos(clips, tmp_path, tmp_path / "data", settings=FAST)
    text = musclemap("status", "--data", tmp_path / "data").stdout
    assert re.search(r"videos +1 +1", text)
    assert re.search(r"gone +1  deleted or private", text)
    assert "e.g. lost (download): Unable to download webpage: HTTP Error 404" in text
