"""What a page shows is run as it is printed. Snippets of docs/format.md: ``test_readers.py``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import simplejpeg

from musclemap_data.catalog import load_activities
from tests.conftest import REPOSITORY, write_video
from tests.musclemap_data.tiny_dataset import PLAN, clip_row, write_dataset

ELSEWHERE = {"docs/format.md", "docs/new-model.md", "docs/new-modality.md"}
"""Pages whose Python is run by a test of its own."""


def blocks(page: str, language: str) -> list[str]:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def run(code: str, page: str) -> dict[str, Any]:
    variables: dict[str, Any] = {}
    exec(compile(code, page, "exec"), variables)  # noqa: S102
    return variables


def test_no_python_of_a_page_is_left_out():
    pages = [path.relative_to(REPOSITORY).as_posix() for path in REPOSITORY.glob("docs/**/*.md")]
    assert {page for page in pages if blocks(page, "python")} == ELSEWHERE | {"docs/own-data.md"}


def test_the_readme_reads_a_frame(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "data" / "musclemap", plan=PLAN[:1])
    (code,) = blocks("README.md", "python")
    expected = simplejpeg.decode_jpeg(clip_row(*PLAN[0], seed=0)["rgb"][0])
    assert (run(code, "README.md")["frame"] == expected).all()


@pytest.mark.slow
def test_a_data_set_of_ones_own_as_the_guide_makes_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (manifest,) = blocks("docs/own-data.md", "csv")
    Path("my_videos.csv").write_text(manifest, encoding="utf-8")
    write_video(tmp_path / "videos" / "session_1.mp4", seconds=37, fps=5)
    (code,) = blocks("docs/own-data.md", "python")
    run(code, "docs/own-data.md")
    rows = [line for line in capsys.readouterr().out.splitlines() if "regions" in line]
    table = load_activities()
    assert sorted(line.split(maxsplit=2)[2] for line in rows) == [
        f"mine_01 {len(table['squat'].regions())} regions",
        f"mine_02 {len(table['push_up'].regions())} regions",
    ]
