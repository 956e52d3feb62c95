"""The command line as a user meets it: help, exit codes, messages, the three commands in a row."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.main import get_group
from typer.testing import CliRunner

from cli import app
from musclemap_data.manifest import COLUMNS, Clip, write_manifest
from tests.conftest import REPOSITORY

VERBS = get_group(app).commands
WORDS = {
    f"{verb} {word}".strip(): command
    for verb, group in VERBS.items()
    for word, command in getattr(group, "commands", {"": group}).items()
}
"""Every verb and every word below a group of verbs (``labels show``)."""


def musclemap(*words: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None):
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "cli.py"), *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd or REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **(env or {})},
    )


def test_help_is_instant_and_names_every_verb():
    # Processor time, not the clock: other tests may be running beside this one.
    times = []
    for _ in range(3):
        began = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = musclemap("--help")
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime)
    assert done.returncode == 0
    for verb in VERBS:
        assert verb in done.stdout
    assert min(times) < 0.5


@pytest.mark.parametrize("verb", WORDS)
def test_the_examples_in_the_help_of_a_verb_are_commands_that_it_accepts(verb):
    help_text = CliRunner().invoke(app, [*verb.split(), "--help"]).stdout
    assert "Examples" in help_text
    examples = re.findall(r"`[^`]*?\bmusclemap ([^`>]+)[^`]*`", WORDS[verb].epilog)
    assert examples
    for example in examples:
        words = shlex.split(example)
        names = verb.split()
        assert words[: len(names)] == names
        WORDS[verb].make_context(verb, words[len(names) :])


def test_the_version_is_that_of_the_package():
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.stdout) == (0, f"musclemap {version('musclemap')}\n")


def test_a_full_disk_is_a_message_that_says_how_to_go_on(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "rows"))

    monkeypatch.setattr("musclemap_data.check.stats.annotation_stats", full)
    done = CliRunner().invoke(app, ["stats", "--annotations"])
    assert done.exit_code == 2
    assert f"No space left on device ({tmp_path / 'rows'}). Finished work is kept." in done.stderr
    assert "run the same command again" in done.stderr


TEN_MISTAKES = f"""{",".join(COLUMNS)}
ok,ok,https://example.org/ok.mp4,0,2,squat,train
bad_url,u1,gopher://example.org/a,0,2,squat,train
backwards,u2,https://example.org/b,5,2,squat,train
unknown,u3,https://example.org/c,0,2,sqats,train
ok,u4,https://example.org/d,0,2,squat,train
../../x,u5,https://example.org/e,0,2,squat,train
empty,u6,empty.mp4,0,2,squat,train
split,u7,https://example.org/g,0,2,squat,dev
number,u8,https://example.org/h,zero,2,squat,train
held_out,u9,https://example.org/i,0,2,hollow_hold,train
leak,ok,https://example.org/ok.mp4,2,4,squat,test_known
"""


def test_ten_mistakes_give_ten_errors_and_touch_nothing(tmp_path):
    (tmp_path / "manifest.csv").write_text(TEN_MISTAKES)
    (tmp_path / "empty.mp4").touch()
    before = sorted(tmp_path.rglob("*"))
    done = musclemap("download", "--manifest", tmp_path / "manifest.csv", "--data", tmp_path / "d")
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.strip().startswith("line ")]
    assert [line.split(":")[0].strip() for line in lines] == [f"line {n}" for n in range(3, 13)]
    assert "10 mistakes, nothing was changed" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["extract-modalities"], "Run `musclemap download` first"),
        (["validate"], "There is no data set"),
        (["stats"], "There is no data set"),
        (["status"], "There is no ledger"),
        (["benchmark", "--model", "random", "--preset", "tiny"], "There is no data set"),
        (["download", "--manifest", "none.csv"], "there is no such file"),
        (["download", "--sample", "5", "--activity", "squad"], "did you mean 'squat'"),
        (["quickstart", "--size", "huge"], "choose from"),
    ],
)
def test_a_users_mistake_is_a_message_and_exit_code_2(tmp_path, words, message):
    done = musclemap(*words, env={"MUSCLEMAP_DATA": str(tmp_path / "data")}, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_one_bad_video_does_not_stop_the_others(tmp_path, make_video, serve):
    site = tmp_path / "site"
    good = make_video(site / "good.mp4")
    (site / "corrupt.mp4").write_bytes(good.read_bytes()[:400])
    (site / "page.mp4").write_text("<html><body>gone</body></html>")
    base = serve(site)
    names = ("good", "corrupt", "page", "missing")
    clips = [Clip(n, n, f"{base}/{n}.mp4", 0, None, "squat", "train") for n in names]
    write_manifest(tmp_path / "m.csv", clips)
    data = tmp_path / "data"
    done = musclemap("download", "--manifest", tmp_path / "m.csv", "--data", data)
    assert done.returncode == 1
    for name, reason in (("corrupt", "decode"), ("page", "not-a-video"), ("missing", "gone")):
        assert f"FAILED {name}: download failed ({reason})" in done.stderr
    done = musclemap("extract-modalities", "--data", data, "--modalities", "rgb")
    assert done.returncode == 1
    assert done.stdout == f"1 clips extracted, 0 already there, 3 failed; shards in {data}/shards\n"
    counts = json.loads(musclemap("stats", "--data", data, "--json").stdout)
    assert counts["splits"]["train"]["clips"] == 1
    assert counts["splits"]["train"]["coverage"] == 0.25
    assert musclemap("validate", "--data", data).returncode == 0
    done = musclemap("status", "--data", data, "--json")
    assert done.returncode == 1
    status = json.loads(done.stdout)
    assert status["videos"] == {"failed": 3, "downloaded": 1}
    assert status["clips"] == {"failed": 3, "built": 1}
    assert status["failed_clips"] == {"decode": 1, "gone": 1, "not-a-video": 1}


@pytest.mark.slow
def test_quickstart_runs_the_whole_path_on_synthetic_videos(tmp_path):
    models = "random,all-ones,label-prior,stgcn,mvit_v2_s,transm3e"
    done = musclemap("quickstart", "--size", "tiny", "--out", tmp_path, "--models", models,
                     "--epochs", "1")  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name in models.split(","):
        assert name in done.stdout
        run = tmp_path / "data/runs" / f"{name}-tiny-epochs1-seed0"
        metrics = json.loads((run / "metrics.json").read_text())
        assert metrics["splits"]["test_new"]["clips"] > 0
        assert (run / "settings.json").exists()
    assert (tmp_path / "data/runs/transm3e-tiny-epochs1-seed0/model.safetensors").exists()
    assert musclemap("validate", "--data", tmp_path / "data").returncode == 0
    counts = json.loads(musclemap("stats", "--data", tmp_path / "data", "--json").stdout)
    assert all(split["coverage"] == 1.0 for split in counts["splits"].values())
