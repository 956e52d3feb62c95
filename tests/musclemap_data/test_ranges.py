"""Shards in object storage are read by ranges: against a real server on loopback (moto)."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from benchmark.clips import Clip
from benchmark.data import ClipDataset
from benchmark.settings import Settings
from musclemap_data import ranges, remote
from musclemap_data.catalog import SPLITS
from musclemap_data.check.stats import dataset_stats
from musclemap_data.check.validate import validate_dataset
from musclemap_data.errors import UserError
from musclemap_data.modalities import MODALITIES
from musclemap_data.ranges import BLOCK_BYTES, Ranges, shard_sha256
from musclemap_data.shards import (
    Shard,
    find_shard,
    iterate_rows,
    list_shards,
    read_dataset_info,
    shard_path,
    write_dataset_info,
    write_shard,
)
from tests.benchmark.conftest import make_row
from tests.conftest import REPOSITORY
from tests.musclemap_data.hub_server import Hub
from tests.musclemap_data.test_remote import copied_bytes

URL = "s3://bucket/sets/mine"
ROOT = "bucket/sets/mine"
SETTINGS = Settings(frames=4, rate=2, crop_size=32)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """Six clips of a megabyte of pictures each, two of another split."""
    folder = tmp_path_factory.mktemp("built") / "data"
    (folder / "shards").mkdir(parents=True)
    listed = {}
    for split, count in (("train", 4), ("val_known", 2)):
        rows = [
            make_row(f"{split}-{n}", "hop", split, frames=40, height=96, width=96)
            for n in range(count)
        ]
        path = shard_path(folder, split, 0)
        listed[path.name] = {"rows": count, "sha256": write_shard(path, rows)}
    counts = {split: {"planned": 4, "built": 0} for split in SPLITS}
    write_dataset_info(folder, {"name": "mine", "splits": counts, "shards": listed})
    return folder


@pytest.fixture
def sent(files, counted, built):
    """The data set on the server; what the server sends from now on."""
    files.put(str(built), ROOT, recursive=True)
    counted[1].sent.clear()
    counted[1].requests.clear()
    return counted[1]


def size_of_columns(data: Path, split: str, columns: set[str]) -> int:
    total = 0
    for path in list_shards(data, split):
        with Shard(path) as shard:
            metadata = shard._file.metadata
            for row in range(metadata.num_row_groups):
                for place in range(metadata.num_columns):
                    chunk = metadata.row_group(row).column(place)
                    if chunk.path_in_schema.split(".")[0] in columns:
                        total += chunk.total_compressed_size
    return total


def size_of_footers(data: Path, split: str) -> int:
    ends = (path.read_bytes()[-8:] for path in list_shards(data, split))
    return sum(int.from_bytes(end[:4], "little") + 8 for end in ends)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("modalities", "workers"),
    [(["rgb"], 0), (["rgb"], 2), (["skeleton"], 0), (["skeleton", "flow"], 0)],
)
def test_training_reads_little_more_than_the_bytes_it_uses(sent, built, modalities, workers):
    data = remote.local_copy(URL)
    assert sent.sent_of("/shards/") == 0
    clips = ClipDataset(data, ["train"], modalities, SETTINGS, train=True)
    loader = torch.utils.data.DataLoader(clips, num_workers=workers, multiprocessing_context=None)
    first = modalities[0]
    of_copy = [item[first] for item in loader]
    read = {column.name for name in modalities for column in MODALITIES[name].columns}
    labels = {each.name for each in fields(Clip)}
    used = size_of_footers(built, "train") + size_of_columns(built, "train", read | labels)
    assert used <= sent.sent_of("/shards/") < 1.1 * used
    here = ClipDataset(built, ["train"], modalities, SETTINGS, train=True)
    assert all(torch.equal(item[0], here[n][first]) for n, item in enumerate(of_copy))
    # What was read stays, for the next epoch and for the next run.
    before = sent.sent_of("/shards/")
    list(loader)
    again = ClipDataset(remote.local_copy(URL), ["train"], modalities, SETTINGS, train=True)
    assert torch.equal(again[0][first], of_copy[0][0])
    assert sent.sent_of("/shards/") == before


def test_a_copy_of_a_version_with_other_blocks_is_begun_anew(sent, built):
    path = list_shards(remote.local_copy(URL), "train")[0]
    path.write_bytes(b"x" * path.stat().st_size)
    marks = path.with_name(f".{path.name}.blocks")
    marks.write_bytes(b"\1" * (path.stat().st_size // 1024))  # "all of it is here"
    with Shard(list_shards(remote.local_copy(URL), "train")[0]) as shard:
        assert shard.row(0) == Shard(shard_path(built, "train", 0)).row(0)


def test_looking_reads_no_pictures(sent, built):
    data = remote.local_copy(URL)
    assert dataset_stats(data)["splits"] == dataset_stats(built)["splits"]
    assert [row["clip_id"] for _, _, row in iterate_rows(data, ["clip_id"])] == [
        row["clip_id"] for _, _, row in iterate_rows(built, ["clip_id"])
    ]
    pictures = sum(
        size_of_columns(built, split, {"rgb", "rgb_diff", "flow"})
        for split in ("train", "val_known")
    )
    assert sent.sent_of("/shards/") < pictures / 10
    still = Shard(list_shards(data, "train")[0])
    assert still.still(1) == Shard(list_shards(built, "train")[0]).still(1)
    assert sent.sent_of("/shards/") < pictures / 10


def test_validation_reads_everything_once_and_finds_a_changed_byte(sent, files, built):
    data = remote.local_copy(URL)
    whole = sum(path.stat().st_size for path in (built / "shards").iterdir())
    known = validate_dataset(built)
    assert validate_dataset(data) == known and known[0] == 6
    assert sent.sent_of("/shards/") == whole
    # Another machine sends other bytes under the recorded hash: a mistake of the storage.
    key = f"{ROOT}/shards/train-00000.parquet"
    content = bytearray(files.cat_file(key))
    content[len(content) // 2] ^= 1
    files.pipe_file(key, bytes(content))
    ranges.place(find_shard(data, "train-00000.parquet"), len(content))
    rows, problems = validate_dataset(data)
    assert rows < 6 or len(problems) > len(known[1])
    assert any("sha256 differs" in problem for problem in problems)
    assert any("checksum" in problem or "CRC" in problem for problem in problems)


def test_a_full_cache_keeps_nothing_more_and_reads_on(sent, built, monkeypatch):
    monkeypatch.setenv("MUSCLEMAP_CACHE_GB", "0")
    monkeypatch.setattr(Ranges, "_until_look", 0)
    data = remote.local_copy(URL)
    assert shard_sha256(list_shards(data, "train")[0]) == shard_sha256(
        list_shards(built, "train")[0]
    )
    found = list(iterate_rows(data, None))
    assert [row for _, _, row in found] == [row for _, _, row in iterate_rows(built, None)]
    assert ranges.cached_bytes() < 400_000  # footers
    monkeypatch.setenv("MUSCLEMAP_CACHE_GB", "much")
    with pytest.raises(UserError, match="MUSCLEMAP_CACHE_GB is 'much'"):
        remote.local_copy(URL)


def test_room_is_made_of_what_was_read_longest_ago(sent, files, built, monkeypatch):
    files.put(str(built), "bucket/sets/other", recursive=True)
    first, other = remote.local_copy(URL), remote.local_copy("s3://bucket/sets/other")
    for data in (first, other):
        validate_dataset(data)
    size = (built / "shards/train-00000.parquet").stat().st_size
    monkeypatch.setenv("MUSCLEMAP_CACHE_GB", str((ranges.cached_bytes() - size // 2) / 1e9))
    with Shard(list_shards(first, "train")[0]) as open_before:
        for number, data in enumerate((first, other)):
            marks = data / "ranges" / ".train-00000.parquet.blocks"
            os.utime(marks, (number, number))
        remote.local_copy("s3://bucket/sets/other")
        assert list_shards(first, "train")[0].stat().st_blocks < 64
        assert list_shards(other, "train")[0].stat().st_blocks > 64
        # Who had it open keeps what it had.
        before = sent.sent_of("/shards/")
        assert open_before.row(0) == Shard(list_shards(built, "train")[0]).row(0)
        assert sent.sent_of("/shards/") == before
    assert validate_dataset(first)[0] == 6  # fetched again


READER = """
import sys
from pathlib import Path
from musclemap_data.modalities import MODALITIES
from musclemap_data.ranges import Ranges
part = Ranges(Path(sys.argv[1]))
print("reading", flush=True)
for begin in range(0, part.size, 4096):
    part.read(range(begin, min(begin + 4096, part.size)))
"""


@pytest.mark.slow
def test_a_killed_reader_leaves_no_wrong_bytes(sent, built):
    path = list_shards(remote.local_copy(URL), "train")[0]
    for _ in range(3):
        reader = subprocess.Popen(
            [sys.executable, "-c", READER, str(path)], cwd=REPOSITORY, stdout=subprocess.PIPE
        )
        assert reader.stdout is not None and reader.stdout.readline()
        try:
            reader.wait(0.4)
        except subprocess.TimeoutExpired:
            reader.send_signal(signal.SIGKILL)
        reader.wait()
    assert shard_sha256(path) == shard_sha256(list_shards(built, "train")[0])


def test_parts_are_fetched_once_in_whole_blocks(sent, built):
    path = list_shards(remote.local_copy(URL), "train")[0]
    content = (built / "shards" / path.name).read_bytes()
    part = Ranges(path)
    assert part.read(range(10_000, 10_010)) == content[10_000:10_010]
    assert sent.sent_of("/shards/") == BLOCK_BYTES
    assert part.read(range(9984, 10240)) == content[9984:10240]
    assert sent.sent_of("/shards/") == BLOCK_BYTES
    # Two that nearly touch are one request; the block that is here is not asked for again.
    requests = sent.requests.total()
    assert part.fetch([range(0, 100), range(11_000, 11_100), range(300_000, 300_100)])
    assert sent.requests.total() == requests + 3
    assert part.read(range(len(content) - 5, len(content))) == content[-5:]
    assert hashlib.sha256(part.open().read(len(content))).hexdigest() == part.sha256()
    part.close()


def test_a_shard_that_changed_elsewhere_is_read_anew(sent, files, built, tmp_path):
    data = remote.local_copy(URL)
    old = copied_bytes(data)
    path = tmp_path / "train-00000.parquet"
    sha256 = write_shard(path, [make_row("train-9", "hop", "train", frames=12)])
    info = read_dataset_info(built)
    info["shards"] = {path.name: {"rows": 1, "sha256": sha256}}
    write_dataset_info(tmp_path, info)
    files.put_file(str(path), f"{ROOT}/shards/{path.name}")
    files.put_file(str(tmp_path / "dataset.json"), f"{ROOT}/dataset.json")
    assert copied_bytes(remote.local_copy(URL)) == {path.name: path.read_bytes()} != old


def put_on_hub(hub: Hub, data: Path, commit: str) -> None:
    """As ``push`` lays it out, at a new commit."""
    repository = {"dataset.json": (data / "dataset.json").read_bytes(), "README.md": b"# mine"}
    for split in SPLITS:
        shards = list_shards(data, split)
        for path in shards:
            name = f"data/{path.stem}-of-{len(shards):05d}.parquet"
            repository[name] = path.read_bytes()
    hub.files["datasets", "me/squats"] = repository
    hub.commit = commit


@pytest.mark.parametrize(("modalities", "workers"), [(["rgb"], 2), (["skeleton"], 0)])
def test_training_from_the_hub_reads_little_more_than_it_uses(hub, built, modalities, workers):
    put_on_hub(hub, built, "a" * 40)
    data = remote.local_copy("hf://me/squats")
    assert set(hub.sent) == {"dataset.json"}
    clips = ClipDataset(data, ["train"], modalities, SETTINGS, train=True)
    found = list(torch.utils.data.DataLoader(clips, num_workers=workers))
    read = {column.name for name in modalities for column in MODALITIES[name].columns}
    labels = {each.name for each in fields(Clip)}
    used = size_of_footers(built, "train") + size_of_columns(built, "train", read | labels)
    sent = hub.sent["data/train-00000-of-00001.parquet"]
    assert used <= sent < 1.1 * used
    here = ClipDataset(built, ["train"], modalities, SETTINGS, train=True)
    first = modalities[0]
    assert all(torch.equal(item[first][0], here[n][first]) for n, item in enumerate(found))
    again = ClipDataset(remote.local_copy("hf://me/squats"), ["train"], modalities, SETTINGS,
                        train=True)  # fmt: skip
    assert torch.equal(again[3][first], here[3][first])
    assert hub.sent["data/train-00000-of-00001.parquet"] == sent


def test_on_the_hub_a_new_commit_is_seen_and_an_old_one_can_be_named(hub, built, tmp_path):
    put_on_hub(hub, built, "a" * 40)
    data = remote.local_copy("hf://datasets/me/squats")
    assert validate_dataset(data) == validate_dataset(built)
    # One more shard: all others are called otherwise, and one of them has other clips.
    more = tmp_path / "more"
    shutil.copytree(built, more)
    info = read_dataset_info(more)
    for split, number in (("train", 1), ("val_known", 0)):
        path = shard_path(more, split, number)
        sha256 = write_shard(path, [make_row(f"new-{split}", "hop", split, frames=12)])
        info["shards"][path.name] = {"rows": 1, "sha256": sha256}
    write_dataset_info(more, info)
    put_on_hub(hub, more, "b" * 40)
    same = find_shard(data, "train-00000.parquet")
    ranges.place(same, same.stat().st_size)  # nothing of it is here
    assert copied_bytes(remote.local_copy("hf://datasets/me/squats")) == {
        path.name: path.read_bytes() for path in (more / "shards").iterdir()
    }
    with pytest.raises(UserError, match=r"can only be read.*musclemap push"), remote.writing(data):
        pass


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("hf://me/nothing", "is not there, or you may not see it.*HF_TOKEN"),
        ("hf://me/empty", "has no dataset.json: it is not from `musclemap push`"),
        ("hf://models/me/squats", "is the address of a model; what is wanted is a dataset"),
        ("hf://me/squats/data", "write hf://OWNER/NAME"),
    ],
)
def test_what_is_no_data_set_on_the_hub_is_said(hub, url, said):
    hub.files["datasets", "me/empty"] = {"README.md": b"# other"}
    with pytest.raises(UserError, match=said):
        remote.local_copy(url)


def test_a_shard_that_was_deleted_while_it_was_read_is_said(sent, files, built):
    data = remote.local_copy(URL)
    files.rm_file(f"{ROOT}/shards/train-00000.parquet")
    with pytest.raises(UserError, match=r"train-00000\.parquet cannot be read.*FileNotFound"):
        Shard(list_shards(data, "train")[0])
