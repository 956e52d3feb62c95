"""The notebooks of ``docs/`` run from top to bottom, on a small data set of the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

from tests.conftest import REPOSITORY

NOTEBOOKS = sorted((REPOSITORY / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, dataset_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("data/quickstart").mkdir(parents=True)
    Path("data/quickstart/data").symlink_to(dataset_dir)
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.gcf()) or plt.close())
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    variables: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert not cell["outputs"], "a notebook is kept without its outputs"
            exec(compile("".join(cell["source"]), path.name, "exec"), variables)  # noqa: S102
    assert len(shown) == sum("plt.show()" in "".join(cell["source"]) for cell in cells)
    printed = capsys.readouterr().out
    if path.stem == "train_a_probe":
        assert "test_new     mAP" in printed
        assert variables["record"].model == "probe"
    else:
        assert "test_new" in printed
        assert variables["skeleton"].shape[1:] == (1, 17, 3)
