"""Hundreds of hostile videos: each ends in frames or in a class of failure, and harms nothing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from musclemap_data.download.videos import download_videos
from musclemap_data.errors import FailureClass, StageError
from musclemap_data.extract.cut import cut_clip
from musclemap_data.extract.decode import Limits, iterate_frames
from musclemap_data.extract.source import probe
from musclemap_data.ledger import Ledger
from musclemap_data.manifest import Clip, write_manifest
from musclemap_data.modalities.settings import CutSettings
from tests.conftest import REPOSITORY, read_frames
from tests.fuzz.media import corner_video, lavfi, run_ffmpeg, write_corpus
from tests.test_cli import musclemap

FILES = 520
FILES_A_PROCESS = 52
SLOWEST_PROCESS_S = 200
"""On a busy machine; ten times what it takes on a quiet one."""
KNOWN_CLASSES = {str(kind) for kind in FailureClass} - {"bug", "disk", "network"}


@contextmanager
def no_visitor(port_of: socket.socket) -> Iterator[None]:
    """Fails if anybody connected to a listening socket in the meantime."""
    port_of.setblocking(False)
    yield
    with pytest.raises(BlockingIOError):
        port_of.accept()


@contextmanager
def watched(folder: Path) -> Iterator[list[int]]:
    """A list that holds, after the block, an entry for each time that a file was opened.

    Linux tells by inotify. Elsewhere the list stays empty.
    """
    import ctypes

    opened: list[int] = []
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "inotify_init1"):
        yield opened
        return
    descriptor = libc.inotify_init1(os.O_NONBLOCK)
    try:
        in_open = 0x20
        assert libc.inotify_add_watch(descriptor, os.fsencode(folder), in_open) >= 0
        yield opened
        try:
            opened += list(os.read(descriptor, 4096)[4:5])
        except BlockingIOError:
            return
    finally:
        os.close(descriptor)


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
    }


@pytest.fixture(scope="module")
def canary(tmp_path_factory) -> Path:
    """A good video that nothing may open but a playlist asks for."""
    folder = tmp_path_factory.mktemp("canary")
    return lavfi(folder / "canary.mp4", "color=magenta:s=64x48:r=10:d=0.5", "-c:v", "libx264")


def test_the_watch_notices_what_is_opened(canary):
    if not sys.platform.startswith("linux"):
        pytest.skip("inotify is Linux's")
    with watched(canary.parent) as opened:
        pass
    assert not opened
    with watched(canary.parent) as opened:
        canary.read_bytes()
    assert opened


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory, canary) -> dict[str, dict]:
    """What became of every file of the corpus, by name."""
    work = tmp_path_factory.mktemp("work")
    found: dict[str, dict] = {}
    with socket.create_server(("127.0.0.1", 0)) as server:
        files = write_corpus(work / "corpus", canary, server.getsockname()[1], count=FILES)
        (work / "out").mkdir()
        before = snapshot(work)
        with no_visitor(server), watched(canary.parent) as opened:
            for start in range(0, len(files), FILES_A_PROCESS):
                found |= run_worker(work, files[start : start + FILES_A_PROCESS])
    assert not opened, "a playlist made ffmpeg open a file that it was not given"
    assert {name for name in snapshot(work) if name != "out"} == {n for n in before if n != "out"}
    assert {k: v for k, v in snapshot(work / "corpus").items()} == {
        k.removeprefix("corpus/"): v for k, v in before.items() if k.startswith("corpus/")
    }
    assert len(found) == len(files) >= 500
    return found


def run_worker(work: Path, files: list[Path]) -> dict[str, dict]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.media_worker", str(work / "out"), *map(str, files)],
        cwd=work,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=SLOWEST_PROCESS_S,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"died at {lines[-1:]}: {done.stderr[-2000:]}"
    return {line["name"]: line for line in lines}


@pytest.mark.slow
def test_every_file_ends_in_frames_or_in_a_class(outcomes):
    for name, found in outcomes.items():
        assert "traceback" not in found, f"{name}: {found.get('traceback')}"
        if "class" in found:
            assert found["class"] in KNOWN_CLASSES, (name, found)
            assert found["reason"], name
        else:
            assert found["frames"] > 0, name
            assert min(found["height"], found["width"]) <= 256, name
    counts = Counter("class" in found for found in outcomes.values())
    assert min(counts.values()) > 50  # the damage is neither always fatal nor never


EXPECTED = {
    **dict.fromkeys(["empty.mp4", "page.mp4", "page_with_spaces.webm", "text.avi"], "not-a-video"),
    **dict.fromkeys(["archive.zip", "bomb.gz.mp4", "manifest.pdf"], "not-a-video"),
    **dict.fromkeys(["sound.mp4", "sound.wav", "song_with_cover.m4a"], "not-a-video"),
    **dict.fromkeys(
        ["picture.png", "picture.jpg", "picture.bmp", "picture.webp", "animated.gif"], "not-a-video"
    ),
    "good.h264": "not-a-video",
    **dict.fromkeys(["header_only.mp4", "no_frames.mp4", "zeros.mp4", "noise.mkv"], "decode"),
    "day_long_gap.mkv": "too-short",
    **dict.fromkeys(["one_frame.mp4", "wrong_ending.avi", "-i.mp4", "a:b|c.mp4"], "frames"),
    **dict.fromkeys(["8k.mp4", "a_line.mkv", "one_pixel.mkv", "title.mkv"], "frames"),
    **dict.fromkeys(["slow.mkv", "fast.mkv", "variable_rate.mp4", "size_changes.ts"], "frames"),
    **dict.fromkeys(["huge_duration.mp4", "no_timescale.mp4", "huge_rate.avi"], "frames"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_a_file_of_a_known_kind_ends_as_it_should(outcomes, name):
    assert outcomes[name].get("class", "frames") == EXPECTED[name], outcomes[name]


@pytest.mark.slow
def test_no_playlist_is_played(outcomes):
    names = [name for name in outcomes if name.startswith(("hls", "ffconcat", "dash", "sdp"))]
    assert len(names) >= 20
    for name in names:
        assert outcomes[name].get("class") == "not-a-video", outcomes[name]


@pytest.mark.slow
def test_a_good_video_of_each_container_has_its_frames(outcomes):
    for ending in ("mp4", "mov", "mkv", "webm", "avi", "ts", "flv", "nut"):
        found = outcomes[f"good.{ending}"]
        assert (found["frames"], found["height"], found["width"]) == (6, 48, 64), found


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_phone_video_comes_out_upright(tmp_path, degrees):
    """A phone stores the picture as its sensor lies and says in the metadata how to turn it."""
    turned = tmp_path / "turned.mp4"
    stored = corner_video(turned, "-display_rotation", str(degrees))
    cut_clip(turned, tmp_path / "cut.mp4", 0, None, CutSettings())
    frames = read_frames(tmp_path / "cut.mp4")
    upright = np.rot90(stored, degrees // 90)  # both count against the clock
    assert frames.shape == (3, *upright.shape)
    assert np.abs(frames.astype(int) - upright).mean() < 10


def test_a_song_with_a_film_and_a_cover_gives_the_film(tmp_path):
    film = lavfi(tmp_path / "film.mp4", "testsrc2=s=64x48:r=10:d=0.5", "-c:v", "libx264")
    run_ffmpeg("-f", "lavfi", "-i", "color=red:s=32x32:d=0.04", "-i", film, "-map", "0", "-map",
               "1", "-c:v:0", "mjpeg", "-c:v:1", "copy", "-disposition:v:0", "attached_pic",
               tmp_path / "both.mp4")  # fmt: skip
    assert probe(tmp_path / "both.mp4", stage="cut").width == 64
    cut_clip(tmp_path / "both.mp4", tmp_path / "cut.mp4", 0, None, CutSettings())
    assert read_frames(tmp_path / "cut.mp4").shape == (5, 48, 64, 3)


def test_limits_are_kept(tmp_path):
    video = lavfi(tmp_path / "v.mp4", "testsrc2=s=128x96:r=10:d=3", "-c:v", "libx264")
    cut = tmp_path / "cut.mp4"
    settings = CutSettings()
    for limits, end_s, kind in (
        (Limits(most_pixels=10_000), None, "too-large"),
        (Limits(most_frames=20), None, "too-long"),
        (Limits(most_frames=20), 2.5, "too-long"),
        (Limits(most_cut_s=0.001), None, "decode"),
    ):
        with pytest.raises(StageError) as caught:
            cut_clip(video, cut, 0, end_s, settings, limits)
        assert str(caught.value.failure.failure_class) == kind
        assert list(tmp_path.iterdir()) == [video]
    cut_clip(video, cut, 0, None, settings, Limits(most_pixels=128 * 96, most_frames=30))
    assert sum(1 for _ in iterate_frames(cut)) == 30


def test_frames_larger_than_their_header_says_are_not_decoded(tmp_path):
    """The size in the container is small; that of the later frames is over the limit."""
    small = lavfi(tmp_path / "v.ts", "testsrc2=s=64x48:r=10:d=0.5", "-c:v", "mpeg2video")
    large = lavfi(tmp_path / "w.ts", "testsrc2=s=640x480:r=10:d=0.5", "-c:v", "mpeg2video")
    small.write_bytes(small.read_bytes() + large.read_bytes())
    limits = Limits(most_pixels=100 * 100)
    cut_clip(small, tmp_path / "cut.mp4", 0, None, CutSettings(), limits)
    assert sum(1 for _ in iterate_frames(tmp_path / "cut.mp4")) <= 6


@pytest.mark.slow
def test_hostile_files_through_the_command_line(tmp_path, canary, outcomes, serve):
    """Served by a site: each is refused with its class, or built; the good one is built."""
    site = tmp_path / "site"
    with socket.create_server(("127.0.0.1", 0)) as server:
        write_corpus(site, canary, server.getsockname()[1], count=0)
        names = ["good_too.mp4", "title.mkv", "one_pixel.mkv", "hls_local.mp4", "hls_local.m3u8",
                 "ffconcat_local.mp4", "song_with_cover.m4a", "page.mp4", "slow.mkv"]  # fmt: skip
        base = serve(site)
        clips = [
            Clip(f"c{n}", f"v{n}", f"{base}/{name}", 0, None, "squat", "train")
            for n, name in enumerate(names)
        ]
        write_manifest(tmp_path / "m.csv", clips)
        with no_visitor(server), watched(canary.parent) as opened:
            done = musclemap("download", "-m", tmp_path / "m.csv", "-d", tmp_path / "data")
            assert done.returncode == 1
            assert "Traceback" not in done.stderr
            done = musclemap("extract-modalities", "-d", tmp_path / "data")
            assert "Traceback" not in done.stderr
    assert not opened
    with Ledger(tmp_path / "data", read_only=True) as ledger:
        states = {
            names[int(clip.clip_id[1:])]: failure.failure_class if failure else clip.state
            for clip in ledger.clips()
            for failure in [clip.failure or clip.video.failure]
        }
    assert states["good_too.mp4"] == states["title.mkv"] == "built"
    assert set(states.values()) <= KNOWN_CLASSES | {"built"}, states
    checked = musclemap("validate", "-d", tmp_path / "data", "--json")
    found = json.loads(checked.stdout)
    assert (found["rows"], found["problems"]) == (4, []), checked.stderr
    assert "Traceback" not in checked.stderr
    # A black pixel is stored as it is, and said.
    clips = {kind: told["clips"] for kind, told in found["classes"].items() if told["clips"]}
    assert {kind for kind in clips if kind != "poor-skeleton"} == {"frozen", "blank"}
    assert musclemap("validate", "-d", tmp_path / "data", "--no-look").returncode == 0


def test_local_hostile_files_are_copied_only_from_the_manifests_folder(tmp_path, canary):
    (tmp_path / "list.mp4").write_text(f"ffconcat version 1.0\nfile '{canary}'\n")
    clips = [Clip("c", "v", "list.mp4", 0, None, "squat", "train")]
    with watched(canary.parent) as opened:
        report = download_videos(clips, tmp_path, tmp_path / "data")
    assert not opened
    assert report.failed["v"].failure_class is FailureClass.NOT_A_VIDEO
