"""Numbers of a training run reach the trackers that are there, and none is needed."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from benchmark.trackers import Trackers


@pytest.fixture
def seen(monkeypatch) -> dict[str, list]:
    """What stand-ins for TensorBoard and Weights & Biases are told."""
    told: dict[str, list] = {"board": [], "wandb": [], "closed": []}

    class SummaryWriter:
        def __init__(self, folder: str, purge_step: int) -> None:
            told["board"].append((folder, purge_step))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            told["board"].append((name, value, step))

        def close(self) -> None:
            told["closed"].append("board")

    def init(**options: object) -> SimpleNamespace:
        told["wandb"].append(options)
        return SimpleNamespace(
            log=lambda values, step: told["wandb"].append((values, step)),
            finish=lambda: told["closed"].append("wandb"),
        )

    board, wandb = ModuleType("torch.utils.tensorboard"), ModuleType("wandb")
    board.SummaryWriter, wandb.init = SummaryWriter, init
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", board)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    return told


def test_values_reach_both_trackers(seen, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "muscles")
    trackers = Trackers(tmp_path / "run-1", 7, {"epochs": 3})
    trackers.add("validation", {"val_new": 0.25}, 8)
    trackers.close()
    assert seen["board"] == [
        (str(tmp_path / "run-1/tensorboard"), 8),
        ("validation/val_new", 0.25, 8),
    ]
    options, logged = seen["wandb"]
    assert (options["project"], options["name"]) == ("muscles", "run-1")
    assert options["config"] == {"epochs": 3}
    assert logged == ({"validation/val_new": 0.25}, 8)
    assert seen["closed"] == ["board", "wandb"]


def test_weights_and_biases_waits_for_its_environment(seen, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    Trackers(tmp_path, 0, {}).close()
    assert seen["wandb"] == [] and seen["closed"] == ["board"]


def test_no_tracker_is_needed(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "muscles")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.setitem(sys.modules, "wandb", None)
    trackers = Trackers(tmp_path, 0, {})
    trackers.add("train", {"loss": 1.0}, 1)
    trackers.close()
    assert list(tmp_path.iterdir()) == []
