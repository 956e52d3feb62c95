"""Every command that the README and the tutorial print is run, in a folder of its own.

A command is typed as it stands there. Three get more words, so that a test needs no network and few
minutes (``MORE``); the two that set up the repository are what the tests run in.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from musclemap_data.manifest import Clip, write_manifest
from tests.conftest import REPOSITORY
from tests.person_video import render_person

pytestmark = pytest.mark.slow

SET_UP = ["make install", ". .venv/bin/activate"]
MORE = {
    "musclemap download": "--manifest list.csv",
    "musclemap benchmark --model transm3e": "--preset tiny --epochs 1",
    "musclemap quickstart": "--size tiny --models label-prior,stgcn --epochs 1",
}
PAGES = ("musclemap browse", "musclemap app")
ACTIVITIES = {"train": "squat", "val_known": "squat", "val_new": "hollow_hold"} | {
    "test_known": "squat", "test_new": "hollow_hold",
}  # fmt: skip


def printed(page: str) -> list[str]:
    """The commands of a page, from its blocks and from the first cell of its tables."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.M | re.S)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    for cell in re.findall(r"^\| (`musclemap.*?) \|", text, re.M):
        lines += re.findall(r"`(musclemap [a-z]+ \S+\.mp4)`", cell)
    return [line for line in lines if line]


def test_what_is_printed_is_found():
    assert [line for line in printed("README.md") if not line.startswith("musclemap")] == SET_UP
    assert "musclemap benchmark --model transm3e" in printed("README.md")
    assert "musclemap predict squats.mp4" in printed("README.md")
    assert "musclemap movement my_squats.mp4" in printed("docs/tutorial.md")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the reader's own video; ``musclemap`` is in ``bin`` beside it."""
    folder = tmp_path_factory.mktemp("reader") / "videos"
    folder.mkdir()
    video = render_person(tmp_path_factory.mktemp("person"))
    for name in ("my_squats.mp4", "squats.mp4"):
        shutil.copy(video, folder / name)
    commands = folder.parent / "bin"
    commands.mkdir()
    (commands / "musclemap").write_text(
        f'#!/bin/sh\nexec "{sys.executable}" "{REPOSITORY / "cli.py"}" "$@"\n'
    )
    (commands / "musclemap").chmod(0o755)
    return folder


def environment(folder: Path) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MUSCLEMAP_DATA")}
    path = f"{folder.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**clean, "PATH": path, "PYTHONPATH": str(REPOSITORY), "BROWSER": "true"}


def type_in(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", "-c", command],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=900,
    )


def look_at_the_page(folder: Path, command: str) -> None:
    process = subprocess.Popen(
        ["/bin/bash", "-c", f"exec {command}"],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"http://(?:127\.0\.0\.1|localhost):\d+\S*", line):
                with urllib.request.urlopen(found[0], timeout=60) as answer:
                    assert b"<html" in answer.read().lower()
                return
        pytest.fail(f"{command} ended without an address")
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_every_command_of_the_page(page: str, folder: Path, serve: Callable[[Path], str]):
    base = serve(folder)
    clips = [
        Clip(f"clip_{split}", f"video_{split}", f"{base}/squats.mp4?{split}", 0, 2, activity, split)
        for split, activity in ACTIVITIES.items()
    ]
    write_manifest(folder / "list.csv", clips)
    for command in printed(page):
        if command in SET_UP:
            continue
        if command.startswith(PAGES):
            look_at_the_page(folder, command)
            continue
        done = type_in(folder, f"{command} {MORE.get(command, '')}")
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    if page == "README.md":
        assert (folder / "predictions" / "my_squats" / "prediction.json").is_file()
        assert len(list((folder / "data" / "musclemap" / "shards").glob("*.parquet"))) == 5
        assert list((folder / "data" / "musclemap" / "runs").glob("transm3e-tiny*/metrics.json"))
    else:
        assert (folder / "movements" / "my_squats" / "movement.pdf").is_file()
