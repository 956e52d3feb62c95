"""A ledger that was lost: shards and videos know enough for another one."""

from __future__ import annotations

import pytest

from musclemap_data.catalog import SPLITS
from musclemap_data.download.videos import download_videos
from musclemap_data.extract.build import extract_modalities
from musclemap_data.ledger import Ledger
from musclemap_data.manifest import Clip
from tests.musclemap_data.download.faulty_server import FaultyServer
from tests.musclemap_data.extract.test_build import shard_bytes

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path, make_video):
    videos = {f"v{n}.mp4": make_video(tmp_path / f"v{n}.mp4", seed=n) for n in range(6)}
    with FaultyServer({name: path.read_bytes() for name, path in videos.items()}) as server:
        yield server


@pytest.fixture
def clips(server) -> list[Clip]:
    """Of six videos; the third is a local file."""
    urls = [server.url("none", f"v{n}.mp4") for n in range(6)]
    urls[2] = "v2.mp4"
    return [
        Clip(f"c{n}{part}", f"v{n}", urls[n], start_s, start_s + 0.4, "squat", SPLITS[n % 2])
        for n in range(6)
        for part, start_s in (("a", 0.0), ("b", 0.5))
    ]


def build(folder, clips) -> tuple[int, int]:
    """(clips extracted, clips that were there)."""
    download = download_videos(clips, folder, folder / "data")
    assert download.failed == {}
    report = extract_modalities(folder / "data", modalities=("rgb",), workers=1, clips_per_shard=2)
    assert report.failed == {}
    return report.built, report.present


def lose_ledger(data) -> None:
    for path in data.glob("ledger.sqlite*"):
        path.unlink()


def placed(data) -> dict[str, tuple[str, int | None, int | None, str]]:
    with Ledger(data, read_only=True) as ledger:
        return {clip.clip_id: (clip.split, clip.shard_number, clip.shard_row, clip.state)
                for clip in ledger.clips()}  # fmt: skip


def test_without_its_ledger_nothing_is_fetched_or_extracted_twice(tmp_path, server, clips):
    data = tmp_path / "data"
    # In two steps, so that places are not in the order of all clips.
    assert build(tmp_path, clips[6:]) == (6, 0)
    assert build(tmp_path, clips) == (6, 6)
    before, places = shard_bytes(data), placed(data)
    lose_ledger(data)
    server.requests.clear()
    assert build(tmp_path, clips) == (0, 12)
    assert not server.requests
    assert shard_bytes(data) == before
    assert placed(data) == places


def test_what_is_no_longer_that_video_is_fetched_again(tmp_path, server, clips):
    data = tmp_path / "data"
    build(tmp_path, clips)
    before = shard_bytes(data)
    lose_ledger(data)
    (data / "videos/v0.mp4").write_bytes(server.videos["v1.mp4"])
    (data / "videos/v1.mp4").unlink()
    (data / "shards/train-00001.parquet").write_bytes(b"damaged")
    server.requests.clear()
    assert build(tmp_path, clips) == (2, 10)
    assert {asked.path.rpartition("/")[2] for asked in server.requests} == {"v0.mp4", "v1.mp4"}
    assert sorted(placed(data)) == sorted(clip.clip_id for clip in clips)
    # The clips of the damaged shard have another place, as their old one is not known.
    after = shard_bytes(data)
    assert len(after) == len(before)
    assert len(before.keys() & after.keys()) == len(before) - 1
