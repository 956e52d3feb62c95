"""Downloads by two Ray nodes from a server on loopback, one place keeping the pauses."""

from __future__ import annotations

import os
import threading
import time
from itertools import pairwise

import pytest

from musclemap_data.download import hosts
from musclemap_data.download import ray as ray_download
from musclemap_data.download.settings import DownloadSettings
from musclemap_data.download.videos import download_videos
from musclemap_data.errors import UserError
from musclemap_data.ledger import Ledger
from musclemap_data.manifest import write_manifest
from tests.musclemap_data.conftest import add_second_node
from tests.musclemap_data.download.faulty_server import FaultyServer
from tests.musclemap_data.download.test_faulty_server import (
    clip,
    kill_while_fetching,
    musclemap,
    states,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def video(tmp_path, make_video) -> bytes:
    body = make_video(tmp_path / "made.mp4", seconds=4, width=640, height=480).read_bytes()
    return body + b"\0" * 200_000  # takes ten seconds at 20 kB/s


class Noting(ray_download._Fetcher):
    """Says which node fetched a video."""

    def fetch(self, task, videos_dir, *others):
        node = "second" if os.environ.get("SECOND_NODE") else "first"
        (videos_dir / f".{task.video_id}.{node}").touch()
        return super().fetch(task, videos_dir, *others)


def fetched_by(data) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {"first": set(), "second": set()}
    for path in (data / "videos").glob(".v*"):
        _, video_id, node = path.name.split(".")
        found[node].add(video_id)
    return found


def test_two_nodes_ask_a_host_no_more_often_than_one(cluster, tmp_path, video, monkeypatch):
    monkeypatch.setattr(hosts, "is_loopback", lambda url: False)
    monkeypatch.setattr(ray_download, "_Fetcher", Noting)
    settings = DownloadSettings(workers=4, per_host=4, pause_s=2.0)
    with FaultyServer({f"{n}.mp4": video for n in range(5)}) as server:
        clips = [clip(f"v{n}", server.url("none", f"{n}.mp4")) for n in range(5)]
        report = download_videos(
            clips, tmp_path, tmp_path / "data", settings=settings, engine="ray",
            address=cluster[0].address,
        )  # fmt: skip
        first = sorted(
            min(asked.at_s for asked in server.requests if asked.path.endswith(f"/{n}.mp4"))
            for n in range(5)
        )
    assert (report.downloaded, report.failed) == (5, {})
    assert all((tmp_path / f"data/videos/v{n}.mp4").read_bytes() == video for n in range(5))
    assert all(fetched_by(tmp_path / "data").values())
    # Each pause is drawn from 1 s on; how long yt-dlp needs until its request varies a little.
    assert min(after - before for before, after in pairwise(first)) > 0.5
    assert first[-1] - first[0] > 4 * 1.0 - 0.5


def test_a_video_of_a_lost_node_is_continued_by_another(cluster, tmp_path, video, monkeypatch):
    monkeypatch.setattr(ray_download, "_Fetcher", Noting)
    data = tmp_path / "data"
    settings = DownloadSettings(workers=4, per_host=4, backoff_s=0.05, network_tries=3)
    second = cluster[1].pop() if cluster[1] else add_second_node(cluster[0])
    with FaultyServer({"video.mp4": video}) as server:
        clips = [clip(f"v{n}", server.url("slow")) for n in range(4)]

        def kill_in_the_middle():
            until = time.monotonic() + 60
            while time.monotonic() < until:
                halves = [path for path in data.glob("videos/.partial/*.part")
                          if path.stat().st_size > 40_000]  # fmt: skip
                if len(halves) == 4 and fetched_by(data)["second"]:
                    break
                time.sleep(0.05)
            cluster[0].remove_node(second, allow_graceful=False)
            server.lifted = True

        killer = threading.Thread(target=kill_in_the_middle)
        killer.start()
        report = download_videos(
            clips, tmp_path, data, settings=settings, engine="ray", address=cluster[0].address
        )
        killer.join()
        assert (report.downloaded, report.failed) == (4, {})
        again = [asked for asked in server.requests if asked.byte_range not in (None, "bytes=0-")]
    assert fetched_by(data)["second"]
    assert all((data / f"videos/v{n}.mp4").read_bytes() == video for n in range(4))
    assert len(again) >= len(fetched_by(data)["second"])  # from where the lost node was
    with Ledger(data, read_only=True) as ledger:
        assert [row.attempts for row in ledger.videos()] == [1] * 4


def test_behind_a_killed_command_no_node_writes_on_and_the_next_continues(cluster, tmp_path, video):
    data = tmp_path / "data"
    with FaultyServer({"video.mp4": video}) as server:
        write_manifest(tmp_path / "m.csv", [clip("v", server.url("slow"))])
        words = ["download", "--manifest", str(tmp_path / "m.csv"), "--data", str(data)]
        words += ["--engine", "ray", "--address", cluster[0].address]
        partial = kill_while_fetching(words, data, more_than=40_000, within_s=60)
        time.sleep(1)
        size = partial.stat().st_size
        time.sleep(1)
        assert partial.stat().st_size == size < len(video)
        server.lifted = True
        server.requests.clear()
        done = musclemap(*words)
        assert done.returncode == 0, done.stderr
        assert server.requests[-1].byte_range == f"bytes={size}-"
    assert (data / "videos/v.mp4").read_bytes() == video


class Blind(ray_download._Fetcher):
    def start(self, seen):
        return super().start("/nowhere/seen")


def test_a_node_that_does_not_see_the_folder_is_named(cluster, tmp_path, video, monkeypatch):
    monkeypatch.setattr(ray_download, "_Fetcher", Blind)
    with FaultyServer({"video.mp4": video}) as server:
        clips = [clip("v", server.url("none"))]
        with pytest.raises(UserError, match=r"does not see .*videos\. .*all nodes mount"):
            download_videos(
                clips, tmp_path, tmp_path / "data", engine="ray", address=cluster[0].address
            )
        assert not server.requests
    assert states(tmp_path / "data") == {"v": "planned"}
    assert not list((tmp_path / "data/videos").glob(".seen*"))
