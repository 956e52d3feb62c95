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
from musclemap_data.errors import Failure, FailureClass
from musclemap_data.extract.report import BuildReport
from musclemap_data.manifest import COLUMNS, DEMONSTRATION, SEGMENT, Clip, write_manifest
from tests.conftest import REPOSITORY
from tests.musclemap_data.tiny_dataset import write_ledger

VERBS = get_group(app).commands
WORDS = {
    f"{verb} {word}".strip(): command
    for verb, group in VERBS.items()
    for word, command in {
        **({} if group.no_args_is_help else {"": group}),
        **getattr(group, "commands", {}),
    }.items()
}
"""Every verb that does something, and every word below a group of verbs (``labels show``)."""


def musclemap(*words: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None):
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "cli.py"), *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd or REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **(env or {})},
    )


def processor_s(*words: str) -> float:
    """Of the best of three runs: other tests may be running beside this one."""
    times = []
    for _ in range(3):
        began = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], capture_output=True, cwd=REPOSITORY, check=True)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime)
    return min(times)


def test_help_is_instant_and_names_every_verb():
    done = musclemap("--help")
    assert done.returncode == 0
    for verb in VERBS:
        assert verb in done.stdout
    # Against what cannot be done without, which takes .11 to .36 s by the build of Python.
    assert processor_s("cli.py", "--help") < 3 * processor_s("-c", "import typer.rich_utils")


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
    assert f"No space left on device ({tmp_path / 'rows'}). Free some space" in done.stderr
    assert "run the same command again" in done.stderr
    assert "starts over" in done.stderr


@pytest.mark.parametrize(
    ("words", "target", "kept"),
    [
        (["stats", "--annotations"], "musclemap_data.check.stats.annotation_stats", False),
        (["extract-modalities"], "musclemap_data.extract.build.extract_modalities", True),
    ],
)
def test_what_is_interrupted_does_not_promise_what_it_does_not_keep(
    monkeypatch, words, target, kept
):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(target, interrupt)
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 130
    assert ("Finished work is kept: the same command continues" in done.stderr) is kept
    assert ("the same command starts over" in done.stderr) is not kept


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
        (["quickstart", "--models", "random,stgcm"], "did you mean stgcn"),
    ],
)
def test_a_users_mistake_is_a_message_and_exit_code_2(tmp_path, words, message):
    done = musclemap(*words, env={"MUSCLEMAP_DATA": str(tmp_path / "data")}, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_thousand_failures_and_warnings_are_a_few_lines(tmp_path, monkeypatch):
    write_ledger(tmp_path)
    failed = {
        f"c{n:04}": Failure("cut", FailureClass.DECODE if n % 2 else FailureClass.TOO_SHORT, "why")
        for n in range(1000)
    }
    report = BuildReport(
        built=1, failed=failed, clipped={f"d{n}": 0.01 * n for n in range(1, 1000)}
    )
    monkeypatch.setattr("musclemap_data.extract.build.extract_modalities", lambda *_, **__: report)
    done = CliRunner().invoke(app, ["extract-modalities", "--data", str(tmp_path)])
    assert done.exit_code == 1
    assert len(done.stderr.splitlines()) < 40
    assert "FAILED c0001: cut failed (decode): why" in done.stderr
    assert "and 490 more: musclemap status --class decode" in done.stderr
    assert "500 clips too-short: " in done.stderr
    assert "999 clips move faster than ±20 px a frame" in done.stderr
    assert "(d999)" in done.stderr


def test_status_names_the_next_command_and_lists_a_class(tmp_path):
    write_ledger(tmp_path)
    done = CliRunner().invoke(app, ["status", "--data", str(tmp_path)])
    assert f"Next: musclemap download --data {tmp_path}, with the manifest" in done.stderr
    done = CliRunner().invoke(app, ["status", "--data", str(tmp_path), "--class", "gone"])
    assert done.stdout == "plank_gone  v8  Video unavailable <b>removed</b>\n"
    done = CliRunner().invoke(app, ["status", "--data", str(tmp_path), "--class", "gone", "--json"])
    assert [entry["clip"] for entry in json.loads(done.stdout)] == ["plank_gone"]
    done = CliRunner().invoke(app, ["status", "--data", str(tmp_path), "--class", "lost"])
    assert "choose from gone, blocked" in done.stderr


@pytest.mark.slow
def test_whole_videos_are_fetched_by_tier_and_segment_comes_next(tmp_path, make_video):
    for name in ("cut", "whole"):
        make_video(tmp_path / f"{name}.mp4", seed=len(name))
    clips = [
        Clip(name, name, f"{name}.mp4", 0.0, None, "squat", "train", tier)
        for name, tier in (("cut", SEGMENT), ("whole", DEMONSTRATION))
    ]
    write_manifest(tmp_path / "m.csv", clips)
    arguments = ("download", "--manifest", tmp_path / "m.csv", "--data", tmp_path / "d")
    done = musclemap(*arguments, "--tier", "demonstration")
    assert "1 of the 2 rows" in done.stderr and "1 videos downloaded" in done.stdout
    assert f"Next: musclemap segment --data {tmp_path / 'd'} (1 whole videos" in done.stderr
    done = musclemap(*arguments)
    assert "1 videos downloaded, 1 already there" in done.stdout
    assert "Next: musclemap extract-modalities" in done.stderr
    status = musclemap("status", "--data", tmp_path / "d").stdout
    assert "1 whole videos, in which `musclemap segment` finds clips" in status


@pytest.mark.slow
def test_each_of_the_three_commands_names_the_next(tmp_path, make_video):
    make_video(tmp_path / "v.mp4")
    write_manifest(tmp_path / "m.csv", [Clip("c", "v", "v.mp4", 0, None, "squat", "train")])
    data = tmp_path / "my data"
    done = musclemap("download", "--manifest", tmp_path / "m.csv", "--data", data)
    assert f"Next: musclemap extract-modalities --data '{data}' (1 clips are ready)" in done.stderr
    done = musclemap("status", "--data", data)
    assert f"Next: musclemap extract-modalities --data '{data}'" in done.stderr
    done = musclemap("extract-modalities", "--data", data, "--modalities", "rgb")
    assert f"Next: musclemap benchmark --data '{data}'" in done.stderr


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
