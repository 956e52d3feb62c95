"""Shards: atomic, checked, readable by any Parquet tool."""

from __future__ import annotations

import gc
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from datasets.arrow_writer import get_arrow_writer_batch_size_from_features
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from musclemap_data import shards
from musclemap_data.errors import UserError
from musclemap_data.rows import FRAMES_PER_ROW, file_schema, schema
from musclemap_data.shards import (
    Shard,
    list_shards,
    note_shard,
    read_dataset_info,
    shard_path,
    write_dataset_info,
    write_shard,
)
from tests.conftest import REPOSITORY


def row(clip_id: str = "a", frames: int = 3, **changes):
    values = {
        "clip_id": clip_id,
        "video_id": "v",
        "url": "https://example.org/v",
        "activity": "squat",
        "split": "train",
        "start_s": 0.5,
        "end_s": 0.8,
        "frames": frames,
        "height": 4,
        "width": 6,
        "fps": 10.0,
        "muscles": [index % 3 == 0 for index in range(20)],
        "rgb": [bytes([index % 251]) * 50 for index in range(frames)],
        "skeleton": np.full(frames * 17 * 3, np.nan, np.float32),
        "skeleton_people": 1,
        "source_sha256": "0" * 64,
        "provenance": json.dumps({"rgb": {}}),
    }
    return values | changes


def write_version_1(path: Path, rows: list[dict[str, Any]], version: str = "1") -> Path:
    """A shard as the MuscleMap of format version 1 wrote it."""
    kinds = {
        **dict.fromkeys(("clip_id", "video_id", "url", "activity", "split"), pa.string()),
        **dict.fromkeys(("start_s", "end_s"), pa.float64()),
        **dict.fromkeys(("frames", "height", "width"), pa.int32()),
        "fps": pa.float64(),
        "muscles": pa.list_(pa.bool_(), 20),
        **dict.fromkeys(("rgb", "rgb_diff", "flow"), pa.list_(pa.binary())),
        **dict.fromkeys(("flow_bound_px", "flow_clipped_share"), pa.float32()),
        "skeleton": pa.list_(pa.float32()),
        "skeleton_people": pa.int32(),
        **dict.fromkeys(("source_sha256", "provenance"), pa.string()),
    }
    old = pa.schema(kinds, {"musclemap.format_version": version, "musclemap.muscles": "[]"})
    options = {"compression": "none", "use_dictionary": False, "write_page_checksum": True}
    with pq.ParquetWriter(path, old, write_statistics=False, **options) as writer:
        for values in rows:
            writer.write_table(pa.Table.from_pylist([values], schema=old), row_group_size=1)
    return path


def test_rows_come_back_as_written(tmp_path):
    path = tmp_path / "s.parquet"
    sha256 = write_shard(path, [row("a"), row("b", frames=5)])
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    with Shard(path, verify=True) as shard:
        assert len(shard) == 2
        second = shard.row(1)
        assert shard.schema_problems() == []
    expected = row("b", frames=5)
    assert second["rgb"] == expected["rgb"]
    assert second["muscles"] == expected["muscles"]
    assert second["flow"] is None
    assert np.isnan(second["skeleton"]).all()
    assert [path.name for path in tmp_path.iterdir()] == ["s.parquet"]


def test_one_clip_a_row_group_and_uncompressed(tmp_path):
    path = tmp_path / "s.parquet"
    write_shard(path, [row(name) for name in "abc"])
    metadata = pq.ParquetFile(path).metadata
    assert metadata.num_row_groups == 3
    column = metadata.row_group(0).column(0)
    assert column.compression == "UNCOMPRESSED"


def long_row(frames: int, **changes: Any) -> dict[str, Any]:
    """A clip with other numbers in every frame, and one picture fewer of flow."""
    pictures = [index.to_bytes(2, "big") * 20 for index in range(frames)]
    return row(
        "long",
        frames,
        start_s=0.1,
        end_s=round(0.1 + frames / 10, 6),
        rgb=pictures,
        flow=[b"flow" + picture for picture in pictures[1:]],
        flow_bound_px=20.0,
        skeleton=np.arange(frames * 2 * 17 * 3, dtype=np.float32),
        skeleton_people=2,
        **changes,
    )


@pytest.mark.parametrize("frames", [319, 320, 321, 640, 641, 1500])
def test_a_long_clip_is_divided_in_the_file_and_one_row_for_its_reader(tmp_path, frames):
    """No frame is lost, doubled or moved where a clip goes on in another row."""
    path = tmp_path / "s.parquet"
    values = long_row(frames)
    write_shard(path, [row("a"), values, row("z")])
    with Shard(path, verify=True) as shard:
        assert len(shard) == 3
        found = shard.row(1)
        for name in ("rgb", "flow", "frames", "start_s", "end_s", "skeleton_people"):
            assert found[name] == values[name], name
        np.testing.assert_array_equal(found["skeleton"], values["skeleton"])
        assert shard.row(2, ["clip_id", "frames"]) == {"clip_id": "z", "frames": 3}
        light = shard.table(["clip_id", "frames", "end_s"]).to_pylist()
        assert [(each["clip_id"], each["frames"]) for each in light] == [
            ("a", 3),
            ("long", frames),
            ("z", 3),
        ]
        assert light[1]["end_s"] == values["end_s"]
        assert shard.row_table(1).schema.equals(schema())
    write_shard(tmp_path / "again.parquet", _row_tables(path))
    assert (tmp_path / "again.parquet").read_bytes() == path.read_bytes()


def _row_tables(path: Path) -> Iterator[pa.Table]:
    with Shard(path) as shard:
        for index in range(len(shard)):
            yield shard.row_table(index)


def test_every_row_of_the_file_makes_sense_alone(tmp_path):
    """To a tool that knows nothing of us, a row of a long clip is a clip."""
    path = tmp_path / "s.parquet"
    values = long_row(700)
    write_shard(path, [values])
    rows = pd.read_parquet(path)
    assert rows["part"].tolist() == [0, 1, 2]
    assert rows["frames"].tolist() == rows["rgb"].map(len).tolist() == [320, 320, 60]
    assert rows["flow"].map(len).tolist() == [320, 320, 59]
    assert rows["start_s"].tolist() == [0.1, 32.1, 64.1]
    assert rows["end_s"].tolist() == [32.1, 64.1, 70.1]
    assert set(rows["clip_id"]) == {"long"} and set(rows["flow_bound_px"]) == {20.0}
    joints = np.concatenate(
        [
            each.reshape(n, 2, 17, 3)
            for each, n in zip(rows["skeleton"], rows["frames"], strict=True)
        ]
    )
    np.testing.assert_array_equal(joints.ravel(), values["skeleton"])
    assert [still for still in rows["still"]] == [values["rgb"][n] for n in (160, 480, 670)]


def test_numbers_that_fit_no_frame_are_no_long_clip(tmp_path):
    values = long_row(700) | {"skeleton": np.zeros(701, np.float32)}
    with pytest.raises(ValueError, match="skeleton has 701 values"):
        write_shard(tmp_path / "s.parquet", [values])
    assert list(tmp_path.iterdir()) == []


def test_no_row_is_large_and_what_joins_rows_has_64_bits(tmp_path):
    """What `datasets` and pyarrow need where a split holds more than 2 GiB of pictures.

    `make bench-large` reads such a split with each tool.
    """
    path = tmp_path / "s.parquet"
    write_shard(path, [long_row(1000)])
    file = pq.ParquetFile(path)
    for name in ("rgb", "rgb_diff", "flow"):
        assert file.schema_arrow.field(name).type.value_type == pa.large_binary()
    groups = [file.metadata.row_group(group) for group in range(file.metadata.num_row_groups)]
    assert [group.num_rows for group in groups] == [1] * 4
    of_rgb = next(n for n in range(30) if groups[0].column(n).path_in_schema.startswith("rgb."))
    assert max(group.column(of_rgb).num_values for group in groups) == FRAMES_PER_ROW
    features = datasets.Features.from_arrow_schema(file.schema_arrow)
    assert get_arrow_writer_batch_size_from_features(features) == 100  # with none, 1,000


def test_what_is_filtered_away_is_not_read(tmp_path):
    path = tmp_path / "s.parquet"
    write_shard(path, [row(name, activity=slug) for name, slug in (("a", "squat"), ("b", "dip"))])
    fragment = next(pyarrow.dataset.dataset(path).get_fragments())
    wanted = pyarrow.dataset.field("activity") == "dip"
    kept = [group.row_groups[0].id for group in fragment.split_by_row_group(wanted)]
    assert kept == [1]


@pytest.mark.parametrize("without", ["part", "statistics"])
def test_a_shard_that_another_program_wrote_anew_is_refused(without, tmp_path):
    path = tmp_path / "s.parquet"
    write_shard(path, [row("a")])
    table = pq.read_table(path)
    if without == "part":
        pq.write_table(table.drop_columns(["part"]), path)
    else:
        pq.write_table(table, path, write_statistics=False)
    with pytest.raises(UserError, match="does not tell where its clips begin"):
        Shard(path)


def test_a_still_is_in_the_middle(tmp_path):
    path = tmp_path / "s.parquet"
    write_shard(path, [row("a", frames=5), long_row(700), row("c", rgb=None)])
    old = write_version_1(tmp_path / "old.parquet", [row("a", frames=5), row("c", rgb=None)])
    with Shard(path) as shard, Shard(old) as before:
        assert shard.still(0) == before.still(0) == row("a", frames=5)["rgb"][2]
        assert shard.still(1) == long_row(700)["rgb"][480]
        assert shard.still(2) is before.still(1) is None
        assert [shard.is_null(index, "rgb") for index in range(3)] == [False, False, True]
        assert [shard.is_null(index, "flow") for index in range(3)] == [True, False, True]
        assert [before.is_null(index, "rgb") for index in range(2)] == [False, True]
        assert before.is_null(0, "skeleton_quality")


def test_the_same_rows_are_the_same_bytes(tmp_path):
    for name in "ab":
        write_shard(tmp_path / f"{name}.parquet", [row("x"), row("y")])
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_pandas_reads_it(tmp_path):
    write_shard(tmp_path / "s.parquet", [row("a"), row("b")])
    table = pd.read_parquet(tmp_path / "s.parquet")
    assert list(table["clip_id"]) == ["a", "b"]
    assert list(table.columns) == file_schema().names


def test_a_failing_row_leaves_the_old_shard_and_nothing_else(tmp_path):
    path = tmp_path / "s.parquet"
    write_shard(path, [row("old")])
    before = path.read_bytes()
    with pytest.raises(ValueError, match="lacks the column 'fps'"):
        write_shard(path, [row("a"), row("b", fps=None)])
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["s.parquet"]


def test_a_shard_that_reads_back_otherwise_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "file_sha256", lambda path: "what the disk gave")
    with pytest.raises(ValueError, match="did not read back as it was written"):
        write_shard(tmp_path / "s.parquet", [row("a")])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_a_long_clip_is_staged_and_written_without_holding_it():
    """600 MB of pictures from spool to shard: no more memory than 40 MB, but for a few row parts.

    pyarrow 26 keeps pages for a while (33 to 88 MB more, for 200 MB as for 600 MB).
    """
    peaks = [peak_mb_of_writing(pictures) for pictures in (400, 6000)]
    assert peaks[1] - peaks[0] < 150


def peak_mb_of_writing(pictures: int) -> float:
    script = """
import sys, tempfile
from pathlib import Path
from musclemap_data.shards import write_shard
from musclemap_data.extract.staging import JpegSpool, read_staged, write_staged
from tests.musclemap_data.test_shards import row

with tempfile.TemporaryDirectory() as name, JpegSpool(Path(name)) as spool:
    for index in range(int(sys.argv[1])):
        spool.append(bytes([index % 251]) * 100_000)
    with spool.to_arrow() as column:
        write_staged(Path(name) / "a.arrow", row("a", int(sys.argv[1])) | {"rgb": column})
    with read_staged(Path(name) / "a.arrow") as table:
        write_shard(Path(name) / "s.parquet", [table])
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
print(int(status["VmHWM"].split()[0]) / 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(pictures)],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )
    return float(done.stdout)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(where=st.floats(0, 1), data=st.data())
def test_a_flipped_byte_in_a_picture_is_an_error_with_its_address(tmp_path, where, data):
    path = tmp_path / "s.parquet"
    picture = bytes(range(256)) * 40
    write_shard(path, [row("a"), row("b", rgb=[picture] * 3)])
    content = bytearray(path.read_bytes())
    # Anywhere in the pictures of the second row; the last one found is its still.
    first, still = content.find(picture), content.rfind(picture)
    last = content.rfind(picture, 0, still) + len(picture) - 1
    content[int(first + where * (last - first))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with Shard(path, verify=True) as shard:
        assert shard.row(0)["clip_id"] == "a"
        with pytest.raises(UserError, match=r"s\.parquet row 1 cannot be read"):
            shard.row(1)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "s.parquet"
    path.write_bytes(b"no parquet")
    with pytest.raises(UserError, match="cannot be read as a shard"):
        Shard(path)
    pd.DataFrame({"a": [1]}).to_parquet(path)
    with pytest.raises(UserError, match="format version none"):
        Shard(path)


def test_a_shard_of_version_1_is_read_with_null_where_it_has_no_column(tmp_path):
    path = write_version_1(tmp_path / "s.parquet", [row("a"), row("b", frames=5)])
    with Shard(path, verify=True) as shard:
        assert (shard.version, len(shard), shard.schema_problems()) == (1, 2, [])
        second = shard.row(1)
        assert set(second) == set(schema().names)
        assert second["skeleton_quality"] is None
        assert second["rgb"] == row("b", frames=5)["rgb"]
        assert shard.row(0, ["skeleton_quality", "clip_id"]) == {
            "clip_id": "a",
            "skeleton_quality": None,
        }
        assert shard.table(["clip_id", "skeleton_quality"]).to_pylist()[1] == {
            "clip_id": "b",
            "skeleton_quality": None,
        }


def test_a_newer_shard_is_refused(tmp_path):
    path = write_version_1(tmp_path / "s.parquet", [row("a")], version="3")
    with pytest.raises(UserError, match=r"format version 3.*up to 2\. Install a newer MuscleMap"):
        Shard(path)


def test_shards_are_listed_in_order_without_temporary_ones(tmp_path):
    (tmp_path / "shards").mkdir()
    for number in (2, 0, 1):
        write_shard(shard_path(tmp_path, "val_new", number), [row()])
    (tmp_path / "shards" / ".val_new-00003.parquet.1.tmp").touch()
    names = [path.name for path in list_shards(tmp_path, "val_new")]
    assert names == [f"val_new-0000{number}.parquet" for number in range(3)]
    assert list_shards(tmp_path, "train") == []
    with pytest.raises(ValueError, match="split is 'dev'"):
        list_shards(tmp_path, "dev")


def test_shards_past_99999_are_listed_after_those_before(tmp_path):
    (tmp_path / "shards").mkdir()
    for number in (100_000, 99_999, 7):
        shard_path(tmp_path, "train", number).touch()
    (tmp_path / "shards" / "train-00001-copy.parquet").touch()
    names = [path.stem for path in list_shards(tmp_path, "train")]
    assert names == ["train-00007", "train-99999", "train-100000"]


def test_a_closed_shard_leaves_nothing_in_memory(tmp_path):
    """Not even until Python's next full collection: a build opens thousands."""
    path = shard_path(tmp_path, "train", 0)
    path.parent.mkdir()
    write_shard(path, [row()])

    def alive():
        return sum(isinstance(each, pq.FileMetaData) for each in gc.get_objects())

    gc.collect()
    before = alive()
    gc.disable()
    try:
        for _ in range(5):
            with Shard(path) as shard:
                assert not shard.is_null(0, "rgb")
                shard.parse()
            del shard
        assert alive() == before
    finally:
        gc.enable()


def test_a_change_of_one_shard_is_noted_without_writing_the_others(tmp_path):
    old, new = {"rows": 1, "sha256": "0" * 64}, {"rows": 2, "sha256": "1" * 64}
    write_dataset_info(tmp_path, {"name": "x", "shards": {"a": old, "b": old}})
    before = (tmp_path / "dataset.json").read_bytes()
    note_shard(tmp_path, "b", None)
    assert read_dataset_info(tmp_path)["shards"] == {"a": old}
    note_shard(tmp_path, "b", new)
    note_shard(tmp_path, "c", new)
    note_shard(tmp_path, "a", None)
    assert read_dataset_info(tmp_path)["shards"] == {"b": new, "c": new}
    assert (tmp_path / "dataset.json").read_bytes() == before
    with (tmp_path / "dataset.changes.jsonl").open("a") as file:
        file.write('{"c": nu')  # killed while it wrote
    assert set(read_dataset_info(tmp_path)["shards"]) == {"b", "c"}
    write_dataset_info(tmp_path, read_dataset_info(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["dataset.json"]
    assert read_dataset_info(tmp_path)["shards"] == {"b": new, "c": new}


def test_dataset_info(tmp_path):
    with pytest.raises(UserError, match="There is no data set"):
        read_dataset_info(tmp_path)
    write_dataset_info(tmp_path, {"name": "x"})
    assert read_dataset_info(tmp_path)["name"] == "x"
    (tmp_path / "dataset.json").write_text('{"format_version": 1, "name": "old"}')
    assert read_dataset_info(tmp_path)["name"] == "old"
    for found in ("{}", "[]", '{"format_version": "2"}', '{"format_version": true}'):
        (tmp_path / "dataset.json").write_text(found)
        with pytest.raises(UserError, match="MuscleMap did not write it"):
            read_dataset_info(tmp_path)
    (tmp_path / "dataset.json").write_text('{"format_version": 99}')
    with pytest.raises(UserError, match=r"format version 99.*Install a newer MuscleMap"):
        read_dataset_info(tmp_path)
