"""The snippets of docs/format.md read a shard: each is run as it is printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import simplejpeg

from musclemap_data.rows import file_schema
from musclemap_data.shards import shard_path
from tests.conftest import REPOSITORY
from tests.musclemap_data.tiny_dataset import FRAMES, HEIGHT, PLAN, WIDTH, clip_row, write_dataset

TEXT = (REPOSITORY / "docs" / "format.md").read_text(encoding="utf-8")
SNIPPETS = {
    next(name for name in ("pandas", "pyarrow", "duckdb", "polars", "datasets") if name in code): (
        code
    )
    for code in re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
}


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = write_dataset(tmp_path_factory.mktemp("readers"), plan=PLAN[:2])
    return shard_path(data, "train", 0)


def run(name: str, shard: Path) -> dict[str, Any]:
    """The variables that a snippet leaves behind."""
    variables: dict[str, Any] = {"SHARD": str(shard)}
    exec(compile(SNIPPETS[name], f"docs/format.md ({name})", "exec"), variables)  # noqa: S102
    return variables


@pytest.mark.parametrize("name", ["pandas", "pyarrow", "duckdb", "polars", "datasets"])
def test_each_tool_decodes_the_first_frame(name, shard, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    frame = run(name, shard)["frame"]
    expected = simplejpeg.decode_jpeg(clip_row(*PLAN[0], seed=0)["rgb"][0])
    assert (frame.dtype, frame.shape) == (np.uint8, (HEIGHT, WIDTH, 3))
    np.testing.assert_array_equal(frame, expected)


def test_flow_and_skeleton_come_out_in_pixels(shard):
    found = run("pyarrow", shard)
    assert found["u"].shape == found["v"].shape == (HEIGHT, WIDTH)
    np.testing.assert_allclose(found["u"][20:28, 12:20], 2.0, atol=0.25)
    np.testing.assert_allclose(found["v"], 0.0, atol=0.4)
    expected = np.asarray(clip_row(*PLAN[0], seed=0)["skeleton"]).reshape(FRAMES, 1, 17, 3)
    np.testing.assert_array_equal(found["skeleton"], expected)


def test_the_document_names_every_column():
    table = TEXT.split("## A shard")[1].split("## Reading it")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert [name for row in rows for name in re.findall(r"`(\w+)`", row)] == file_schema().names
