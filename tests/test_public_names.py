"""What the two packages offer to a notebook, and that importing them is fast."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import benchmark
import musclemap_data
from tests.conftest import REPOSITORY

NAMES = {
    musclemap_data: {
        "DownloadSettings", "ExtractionSettings", "Shard", "UserError", "dataset_stats",
        "download_videos", "export_dataset", "extract_modalities", "iterate_rows",
        "load_activities", "load_muscles", "read_manifest", "validate_dataset",
    },
    benchmark: {
        "ClipDataset", "RunRecord", "Settings", "choose_run", "compare_models", "load_run",
        "predict_video", "quickstart", "read_runs", "write_figures", "write_report",
    },
}  # fmt: skip


@pytest.mark.parametrize("package", NAMES, ids=lambda package: package.__name__)
def test_the_public_names_resolve_have_a_docstring_and_are_listed(package: ModuleType):
    assert set(package.__all__) == NAMES[package]
    for name in package.__all__:
        value = getattr(package, name)
        assert value.__name__ == name
        assert len(inspect.getdoc(value) or "") > 30, name
        assert name in dir(package)
    with pytest.raises(AttributeError, match="no_such_name"):
        package.no_such_name  # noqa: B018


@pytest.mark.parametrize("package", NAMES, ids=lambda package: package.__name__)
def test_a_type_checker_sees_the_names_where_they_are_at_run_time(package: ModuleType):
    source = ast.parse(Path(str(package.__file__)).read_text())
    seen = {
        alias.asname: f"{node.module}.{alias.name}"
        for block in source.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    found = {name: getattr(package, name) for name in package.__all__}
    assert seen == {name: f"{value.__module__}.{name}" for name, value in found.items()}
    assert (Path(str(package.__file__)).parent / "py.typed").is_file()


def test_importing_the_packages_loads_nothing_heavy():
    heavy = ("numpy", "pyarrow", "cv2", "torch", "typer")
    loaded = f"[name for name in {heavy} if name in sys.modules]"
    code = f"import sys, musclemap_data, benchmark; print({loaded})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True
    )
    assert done.stdout.strip() == "[]"


def test_folders_of_pythonpath_come_behind_what_is_installed(tmp_path):
    for name in ("cli.py", "benchmark/__init__.py", "annotations/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("raise SystemExit('somebody else')\n")
    code = (
        f"import sys; sys.path.insert(2, {str(REPOSITORY)!r})\n"
        "sys.argv = ['musclemap', 'weights']\n"
        "from musclemap_data.launch import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "slowfast" in done.stdout
