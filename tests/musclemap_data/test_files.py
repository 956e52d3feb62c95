"""Which files of a folder are videos: one rule for everything that takes a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.predict.several import find_videos
from musclemap_data.collect import gather
from musclemap_data.files import VIDEO_ENDINGS, videos_in
from musclemap_data.importers import original
from musclemap_data.segment.run import sources_of_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A video of each ending, one that shouts, hidden ones as macOS leaves them, and a note."""
    names = [f"clip{ending}" for ending in VIDEO_ENDINGS] + ["LOUD.MP4"]
    for name in [*names, "._clip.mp4", "notes.txt", "inside/deep.mp4", ".trash/gone.mp4"]:
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / name).write_bytes(b"x")
    (tmp_path / "videos" / "a_folder.mp4").mkdir()
    return tmp_path / "videos"


def test_hidden_files_and_those_in_hidden_folders_are_no_videos(folder):
    top = {f"clip{ending}" for ending in VIDEO_ENDINGS} | {"LOUD.MP4"}
    assert {path.name for path in videos_in(folder, deep=False)} == top
    assert {path.name for path in videos_in(folder)} == top | {"deep.mp4"}


def test_a_hidden_folder_above_the_one_that_is_named_hides_nothing(tmp_path):
    home = tmp_path / ".cache" / "videos"
    home.mkdir(parents=True)
    (home / "a.mp4").touch()
    assert videos_in(home) == [home / "a.mp4"]


def test_everything_that_takes_a_folder_takes_the_same_videos(folder):
    every = {path.resolve() for path in videos_in(folder)}
    assert {source.path.resolve() for source in sources_of_files([folder])} == every
    _, local = gather._divide([str(folder)], folder, {}, "", None)
    assert {(folder / each.url).resolve() for each in local} == every
    by_name = original._videos_by_name(folder)
    assert {path.resolve() for paths in by_name.values() for path in paths} == every
    flat = {path.resolve() for path in videos_in(folder, deep=False)}
    assert {path.resolve() for path in find_videos([folder])} == flat
