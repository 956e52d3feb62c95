"""Pictures straight from the map are those that Arrow reads, or are left to Arrow."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from musclemap_data.shards import Shard, shard_path, write_shard
from musclemap_data.stored import StoredPictures
from tests.musclemap_data.tiny_dataset import PLAN, clip_row

COLUMNS = ("rgb", "rgb_diff", "flow")


@pytest.fixture
def rows():
    return [clip_row(*clip, seed=seed) for seed, clip in enumerate(PLAN[:3])]


def written(folder, rows):
    path = shard_path(folder, "train", 0)
    path.parent.mkdir(parents=True)
    write_shard(path, rows)
    return path


def test_pictures_lie_in_the_map_as_arrow_reads_them(tmp_path, rows):
    shard = Shard(written(tmp_path, rows))
    for index, row in enumerate(rows):
        for column in COLUMNS:
            read = StoredPictures.of_list(shard.row_table(index, [column])[column][0])
            mapped = shard.pictures(index, column)
            assert len(mapped) == len(read) == len(row[column])
            for number, picture in enumerate(row[column]):
                assert mapped[number].tobytes() == read[number].tobytes() == picture


def test_a_clip_of_several_rows_has_its_pictures_in_order(tmp_path, rows):
    many = rows[0]
    count = 700
    for column, missing in (("rgb", 0), ("rgb_diff", 0), ("flow", 1)):
        jpegs = many[column]
        many[column] = [jpegs[t % len(jpegs)] for t in range(count - missing)]
    people = many["skeleton_people"]
    many["skeleton"] = [0.0] * (count * people * 51)
    many |= {"frames": count, "end_s": many["start_s"] + count / many["fps"]}
    shard = Shard(written(tmp_path, [rows[1], many]))
    assert len(shard) == 2
    for column in COLUMNS:
        mapped = shard.pictures(1, column)
        assert [mapped[t].tobytes() for t in range(len(mapped))] == many[column]


def test_what_lies_otherwise_is_left_to_arrow(tmp_path, rows):
    rows[1]["flow"] = None
    path = written(tmp_path, rows)
    shard = Shard(path)
    assert shard.pictures(0, "flow") is not None
    assert shard.pictures(1, "flow") is None
    assert shard.pictures(1, "no_such_column") is None
    assert Shard(path, mapped=False).pictures(0, "rgb") is None
    table = pq.read_table(path)
    metadata = table.schema.metadata
    assert json.loads(metadata[b"musclemap.format_version"]) == 2
    for number, how in enumerate(
        (
            {"compression": "zstd"},
            {"use_dictionary": True},
            {"use_dictionary": False, "compression": "none", "data_page_version": "2.0"},
            {
                "use_dictionary": False,
                "compression": "none",
                "column_encoding": {"rgb.list.element": "DELTA_LENGTH_BYTE_ARRAY"},
            },
        )
    ):
        other = tmp_path / f"{number}.parquet"
        pq.write_table(table, other, row_group_size=1, **how)
        shard = Shard(other)
        for index, row in enumerate(rows):
            found = shard.pictures(index, "rgb")
            assert found is None or [found[t].tobytes() for t in range(len(found))] == row["rgb"]
            assert shard.row(index, ["rgb"])["rgb"] == row["rgb"]
    assert Shard(tmp_path / "0.parquet").pictures(0, "rgb") is None
