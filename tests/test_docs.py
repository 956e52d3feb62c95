"""What the documents name exists: links, files, functions, verbs, options, settings, targets."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

import benchmark
import musclemap_data
from benchmark.settings import Settings
from cli import app
from musclemap_data.sample.motions import EXERCISES
from tests.conftest import REPOSITORY
from tests.imports import source_files

DOCUMENTS = [
    path.relative_to(REPOSITORY)
    for folder in (".", "docs", "docs/reference", "annotations")
    for path in sorted((REPOSITORY / folder).glob("*.md"))
]
# Options of other programs that documents show, and of our scripts.
OTHER_OPTIONS = {
    "ray": {"--head", "--address"},
    "torchrun": {"--nproc-per-node", "--nnodes", "--rdzv-backend", "--rdzv-endpoint"},
    "annotations": {"--check", "--extract", "--add", "--by", "--licence"},
    "mypy": {"--strict"},
    "uv": {"--index"},
    "docker": {"--build-arg", "--gpus", "--rm"},
    "ffmpeg": {"--enable-gpl", "--enable-version3"},
    "tests.bench": {"--seconds", "--long-s", "--clips", "--cores"},
    "tests.bench.bench_extract": {"--ours"},
    "tests.bench.real_clips": {"--models"},
    "tests.bench.project_scale": {"--ms-a-frame"},
    "tests.bench.bench_scale": {"--light", "--sizes", "--full-sizes", "--tries"},
}

# Files that a guide tells its reader to write.
EXAMPLES = ("benchmark/models/mean_pool.py", "musclemap_data/modalities/edges.py")

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=str)


@cache
def text_of(document: Path) -> str:
    return (REPOSITORY / document).read_text(encoding="utf-8")


@cache
def code_in(document: Path) -> str:
    """Everything in backticks or in a block of code; one command a line."""
    text = text_of(document)
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    blocks += re.findall(r"^    \S.*$", text, re.M)
    prose = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.M | re.S)
    spans = [re.sub(r"\s+", " ", span) for span in re.findall(r"`([^`]+)`", prose)]
    return re.sub(r"\s*\\\n\s*", " ", "\n".join(blocks + spans))


@cache
def options() -> dict[str, set[str]]:
    """The options of every verb, with those of the words below a group of verbs."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    return {
        verb: {
            name
            for word in (command, *getattr(command, "commands", {}).values())
            for each in word.params
            for name in (*each.opts, *each.secondary_opts)
        }
        | {"--help"}
        for verb, command in group.commands.items()
    }


@each_document
def test_links_lead_somewhere(document):
    links = re.findall(r"\]\(([^)#\s]+)", text_of(document)) + re.findall(
        r'src="([^"]+)"', text_of(document)
    )
    dead = [
        link
        for link in links
        if "://" not in link and not (REPOSITORY / document.parent / link).exists()
    ]
    assert not dead


@each_document
def test_commands_are_verbs_with_their_options(document):
    for line in code_in(document).splitlines():
        for verb, rest in re.findall(r"(?:\bmusclemap|-m cli) ([a-z][a-z-]*)\b([^#|]*)", line):
            assert verb in options(), line
            assert not set(re.findall(r"--[a-z0-9-]+", rest)) - options()[verb], line


@each_document
def test_options_alone_are_those_of_some_verb(document):
    known = {"--version"}.union(*options().values(), *OTHER_OPTIONS.values())
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", code_in(document)))
    assert not named - known


@each_document
def test_settings_are_settings(document):
    known = {field.name for field in fields(Settings)}
    assert not set(re.findall(r"--set (\w+)=", code_in(document))) - known


@each_document
def test_make_targets_are_in_the_makefile(document):
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.M))
    assert not set(re.findall(r"\bmake ([a-z][a-z-]*)", code_in(document))) - targets


@each_document
def test_files_and_functions_are_where_they_are_said_to_be(document):
    """``folder/file.py``, ``file.py`` and ``file.py::name``."""
    if document.name in {"CHANGELOG.md", "decisions.md"}:
        pytest.skip("it names what was")
    for path, name in re.findall(r"\b([\w/]+\.py)\b(?:::([\w.]+))?", code_in(document)):
        found = [
            module for module, file in source_files().items() if f"/{file}".endswith(f"/{path}")
        ]
        if not name:
            assert found or (REPOSITORY / path).exists() or path in EXAMPLES, path
        else:
            assert any(_has(module, name) for module in found), f"{path}::{name}"


@each_document
def test_modules_and_their_names_exist(document):
    for dotted in re.findall(r"\b(?:musclemap_data|benchmark)(?:\.\w+)+", code_in(document)):
        if dotted.endswith(".py") or f"{dotted.replace('.', '/')}.py" in EXAMPLES:
            continue
        module = dotted
        while module not in source_files():
            module = module.rpartition(".")[0]
            assert module, dotted
        rest = dotted[len(module) + 1 :]
        assert not rest or _has(module, rest), dotted


def _has(module: str, name: str) -> bool:
    value: object = importlib.import_module(module)
    for part in name.split("."):
        if not hasattr(value, part):
            # What every instance gets: ``self.part = ...`` in ``__init__``.
            made = value.__init__.__code__.co_names if isinstance(value, type) else ()
            return part in made
        value = getattr(value, part)
    return True


def _undocumented(module: str, body: list[ast.stmt], inside: str = "") -> Iterator[str]:
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if node.name.startswith("_"):
            continue
        promise = isinstance(node.body[0], ast.Expr) and ast.unparse(node.body[0]) == "..."
        if not promise and ast.get_docstring(node) is None:
            yield f"{module}.{inside}{node.name}"
        if isinstance(node, ast.ClassDef):
            yield from _undocumented(module, node.body, f"{inside}{node.name}.")


def test_every_public_name_says_what_it_is():
    """All but the sample's motions: their names are activities, which ``annotations`` describes."""
    missing = []
    for module, file in source_files().items():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        missing += [] if ast.get_docstring(tree) else [module]
        missing += _undocumented(module, tree.body)
    assert not [name for name in missing if name.rpartition(".")[2] not in EXERCISES]


def _functions(body: list[ast.stmt], inside: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield inside + node.name, node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _functions(node.body, f"{inside}{node.name}.")


def test_arrays_have_a_shape_and_errors_are_named():
    """Of every public function that takes or gives an array, or raises an error of its own.

    Verbs are left out: their docstring is their ``--help``, which gives exit codes. So are answers
    of a web page (``HTTPException``).
    """
    shapeless, silent = [], []
    for module, file in source_files().items():
        for name, node in _functions(ast.parse(file.read_text(encoding="utf-8")).body):
            said = ast.get_docstring(node) or ""
            every = [each.annotation for each in (*node.args.args, *node.args.kwonlyargs)]
            types = " ".join(ast.unparse(each) for each in (*every, node.returns) if each)
            if re.search(r"NDArray|Tensor|\bPicture\b|\bArray\b", types) and not re.search(
                r"\[[^\]]*\w[^\]]*\]|shape|scalar", said
            ):
                shapeless.append(f"{module}.{name}")
            raised = {
                ast.unparse(each.exc).partition("(")[0]
                for each in ast.walk(node)
                if isinstance(each, ast.Raise) and each.exc is not None
            }
            own = {each for each in raised if each.endswith(("Error", "Row", "Modality"))}
            own -= {"AssertionError", "NotImplementedError"}
            named = "Raises:" in said or any(each in said for each in own)
            if own and not named and ".commands." not in module:
                silent.append(f"{module}.{name}")
    assert not shapeless
    assert not silent


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_shows_the_code_as_it_is(tmp_path):
    """What ``make docs`` runs; a link within the site that leads nowhere is a warning."""
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs", ".", tmp_path],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr

    def page(name: str) -> str:
        return (tmp_path / "docs/reference" / f"{name}.html").read_text(encoding="utf-8")

    verbs = re.sub("<[^>]+>", "", page("command-line"))
    assert not [verb for verb in options() if f"\nmusclemap {verb}" not in verbs]
    assert "Folder to write to; new or empty." in verbs
    names = page("python")
    for package in (musclemap_data, benchmark):
        offered = [f"{package.__name__}.{name}" for name in package.__all__]
        assert not [name for name in offered if f'id="{name}"' not in names]
    settings = page("settings")
    assert not [field.name for field in fields(Settings) if f">{field.name}<" not in settings]
