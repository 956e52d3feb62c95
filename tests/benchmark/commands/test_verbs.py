"""The verbs `benchmark` and `results` on toy models: all models, folds, files, comparisons."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from benchmark import models
from cli import app
from tests.benchmark.conftest import make_rows, write_dataset
from tests.conftest import REPOSITORY

QUICK = [
    *("--preset", "tiny", "--set", "frames=2", "--set", "crop_size=32", "--set", "batch_size=4"),
    *("--set", "workers=0", "--set", "threads=1", "--set", "device=cpu", "--epochs", "1"),
]


class Mean(nn.Module):
    """The mean over one modality to logits."""

    def __init__(self, modality: str) -> None:
        super().__init__()
        self.modalities = (modality,)
        self.layer = nn.Linear(1, 20)

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.layer(batch[self.modalities[0]].flatten(1).mean(dim=1, keepdim=True))


@pytest.fixture(autouse=True)
def few_models(monkeypatch):
    """Three models in the list: one that reads nothing, one skeletons, one pictures."""
    some = {
        "random": models.MODELS["random"],
        "reads-rgb": lambda settings: Mean("rgb"),
        "reads-skeleton": lambda settings: Mean("skeleton"),
    }
    for name in list(models.MODELS):
        monkeypatch.delitem(models.MODELS, name)
    for name, build in some.items():
        monkeypatch.setitem(models.MODELS, name, build)


@pytest.fixture(scope="module")
def skeletons_only(tmp_path_factory) -> Path:
    rows = make_rows(2)
    for clips in rows.values():
        for row in clips:
            row |= {"rgb": None, "rgb_diff": None, "flow": None}
    return write_dataset(tmp_path_factory.mktemp("skeletons") / "data", rows)


def musclemap(*words: str | Path):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_all_models_are_run_resumed_and_left_out_where_a_modality_is_missing(
    skeletons_only, tmp_path, monkeypatch
):
    words = ["benchmark", "--model", "all", "--data", skeletons_only, "--runs", tmp_path, *QUICK]
    done = musclemap(*words)
    assert done.exit_code == 0, done.output
    assert "SKIPPED reads-rgb: 28 of 28 clips have no rgb" in done.stderr
    assert "--modalities rgb" in done.stderr
    assert "reads-skeleton" in done.stdout
    assert "reads-rgb" not in done.stdout
    assert len(list(tmp_path.iterdir())) == 2

    from benchmark import run

    def never(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(run, "train", never)
    assert musclemap(*words).stdout == done.stdout
    alone = musclemap(*(word if word != "all" else "reads-rgb" for word in words))
    assert alone.exit_code == 2
    assert "have no rgb" in alone.stderr


def test_a_data_set_without_new_activities_has_a_best_run_a_report_and_figures(tmp_path):
    rows = {split: found for split, found in make_rows(2).items() if not split.endswith("_new")}
    data = write_dataset(tmp_path / "data", rows)
    for seed in (0, 1):
        words = ["benchmark", "--model", "reads-rgb", "--data", data, "--seed", seed, *QUICK]
        done = musclemap(*words)
        assert done.exit_code == 0, done.output
    done = musclemap("report", "--data", data, "--out", tmp_path / "report.html")
    assert done.exit_code == 0, done.output
    assert "the highest validation mAP" in done.stderr
    assert "of 2 finished runs" in done.stderr
    assert "reads-rgb" in (tmp_path / "report.html").read_text()
    done = musclemap("figures", "--data", data, "--out", tmp_path / "figures")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "figures/regions.pdf").stat().st_size > 0


@pytest.mark.parametrize("names", ["random", "random,reads-skeleton"])
def test_quickstart_writes_a_report_where_a_model_reads_the_videos(
    names, skeletons_only, tmp_path, monkeypatch
):
    shutil.copytree(skeletons_only, tmp_path / "data", ignore=shutil.ignore_patterns("runs"))
    predicted = []
    for step in (
        "musclemap_data.sample.write.render_sample",
        "musclemap_data.sample.write.render_exercise",
        "musclemap_data.commands.download.download",
        "musclemap_data.commands.extract.extract_modalities",
    ):
        monkeypatch.setattr(step, lambda *given, **more: tmp_path)
    monkeypatch.setattr(
        "musclemap_data.sample.serve.serve_manifest", lambda *given: contextlib.nullcontext()
    )
    monkeypatch.setattr(
        "benchmark.commands.predict.predict", lambda **given: predicted.append(given)
    )
    done = musclemap("quickstart", "--out", tmp_path, "--models", names, "--epochs", "1")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "report.html").exists() == ("reads-skeleton" in names)
    assert ("No report" in done.stderr) == (names == "random")
    assert len(predicted) == 1


def test_folds_from_the_command_line(skeletons_only, tmp_path):
    words = ["benchmark", "--model", "all", "--data", skeletons_only, "--runs", tmp_path, *QUICK]
    done = musclemap(*words, "--protocol", "activity-folds", "--folds", "3")
    assert done.exit_code == 0, done.output
    assert "3 folds of whole activities" in done.stdout
    assert done.stderr.count("SKIPPED") == 1
    assert len(list(tmp_path.glob("reads-skeleton-*-fold?of3/metrics.json"))) == 3
    shown = musclemap("results", "--runs", tmp_path)
    assert "95% over folds" in shown.stdout
    wrong = musclemap(*words, "--protocol", "folds")
    assert wrong.exit_code == 2
    assert "fixed, activity-folds" in wrong.stderr


def test_results_are_printed_written_and_compared(dataset_dir, tmp_path):
    runs = tmp_path / "runs"
    nothing = musclemap("results", "--runs", runs)
    assert nothing.exit_code == 2
    assert "no finished run" in nothing.stderr
    done = musclemap("benchmark", "--model", "all", "--data", dataset_dir, "--runs", runs, *QUICK)
    assert done.exit_code == 0, done.output
    assert (
        musclemap("results", "--runs", runs).stdout.splitlines()[0] == done.stdout.splitlines()[0]
    )
    assert len(json.loads(musclemap("results", "--runs", runs, "--json").stdout)) == 3
    for ending in ("csv", "md", "tex", "html", "txt"):
        out = tmp_path / "new folder" / f"table.{ending}"
        assert musclemap("results", "--runs", runs, "--out", out).exit_code == 0
        assert "reads-skeleton" in out.read_text()
    wrong = musclemap("results", "--runs", runs, "--out", tmp_path / "table.xls")
    assert wrong.exit_code == 2
    assert ".csv" in wrong.stderr
    assert not (tmp_path / "table.xls").exists()
    names = sorted(path.name for path in runs.iterdir())
    compared = musclemap("results", "--runs", runs, "--compare", names[1], runs / names[0])
    assert compared.exit_code == 0, compared.output
    assert "test new" in compared.stdout
    differences = musclemap("results", "--runs", runs, "--compare", *names[:2], "--json")
    assert set(json.loads(differences.stdout)["test_new"]) == {
        "difference", "interval", "p"
    }  # fmt: skip
    unknown = musclemap("results", "--runs", runs, "--compare", names[0][:-1] + "7", names[1])
    assert unknown.exit_code == 2
    assert f"did you mean {names[0]}" in unknown.stderr


@pytest.mark.slow
def test_only_one_of_two_processes_prints(dataset_dir, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        + [str(REPOSITORY / "cli.py"), "benchmark", "--model", "random,label-prior"]
        + ["--data", str(dataset_dir), "--runs", str(tmp_path), "--set", "test_views=1", *QUICK],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("mAP in %") == 1
    assert done.stdout.count("\nlabel-prior") == 1
