"""The example of docs/new-model.md, taken from the page and run."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest
import torch

from benchmark import models
from benchmark.losses import training_loss
from benchmark.settings import Settings
from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "new-model.md"


def test_the_example_takes_one_file_and_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, line = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    entry = re.fullmatch(r'"(\w+)": _lazy\("(\w+)", "(\w+)"\),', line.strip())
    assert entry is not None
    name, stem, constructor = entry.groups()

    path = tmp_path / f"{stem}.py"
    path.write_text(file)
    spec = importlib.util.spec_from_file_location(f"benchmark.models.{stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, spec.name, module)
    monkeypatch.setitem(models.MODELS, name, models._lazy(stem, constructor))

    model = models.MODELS["mean_pool"](Settings.from_preset("tiny"))
    batch = {"rgb": torch.randn(4, 3, 2, 8, 8)}
    logits = model(batch)
    assert logits.shape == (4, 20)
    training_loss(logits, torch.ones(4, 20)).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
