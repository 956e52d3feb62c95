"""The documentation site: ``make docs`` builds it with Sphinx from the pages as they lie here.

The pages stay plain Markdown that reads well in any viewer. Three pages of the reference end with
what the code itself says: the verbs, the public names, the settings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

import benchmark
import musclemap_data
from benchmark.settings import Settings
from cli import app

project = "MuscleMap"
author = copyright = "MuscleMap maintainers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "MuscleMap"
html_show_sphinx = False
html_copy_source = html_show_sourcelink = False
templates_path: list[str] = []

# The source folder is the repository, so that links out of docs/ lead to pages, too.
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/reference/*.md",
    "annotations/README.md",
    "benchmark/embedded/card.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "CODE_OF_CONDUCT.md",
    "SECURITY.md",
    "annotations/decisions.md",
]
exclude_patterns = [".*", "data", "runs", "tests", "site", "docs/activities", "docs/images"]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

autodoc_typehints = "description"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def verb_page(name: str, command: Any, level: int = 2) -> Iterator[str]:
    """What ``NAME --help`` says, as Markdown, and then each verb below it.

    Args:
        command: a command or group of click, which newer Typers carry inside.
    """
    context = command.make_context(name, [], resilient_parsing=True)
    yield f"{'#' * level} `{name}`\n"
    yield f"{command.help or ''}\n"
    records = [each.get_help_record(context) for each in command.params]
    if rows := [f"| `{_cell(names)}` | {_cell(text)} |" for names, text in filter(None, records)]:
        yield "\n".join(["| | |", "|---|---|", *rows, ""])
    if command.epilog:
        yield f"{command.epilog}\n"
    for verb, below in getattr(command, "commands", {}).items():
        yield from verb_page(f"{name} {verb}", below, level + 1)


def python_page() -> Iterator[str]:
    """Every name that the two packages offer, from their docstrings."""
    for package in (musclemap_data, benchmark):
        yield f"## `{package.__name__}`\n\n```{{eval-rst}}\n.. automodule:: {package.__name__}\n"
        for name in sorted(package.__all__, key=str.lower):
            is_class = isinstance(getattr(package, name), type)
            kind = "autoclass" if is_class else "autofunction"
            yield f".. {kind}:: {package.__name__}.{name}" + (
                "\n   :members:\n" if is_class else "\n"
            )
        yield "```\n"


def settings_page() -> Iterator[str]:
    """Every setting of a run, its default, and what it is."""
    yield "| setting | default | what it is |\n|---|---|---|"
    for each in dataclasses.fields(Settings):
        yield f"| `{each.name}` | `{each.default!r}` | {_cell(each.metadata['doc'])} |"


def rest_of_the_navigation() -> Iterator[str]:
    """The pages of ``docs/`` that no list of the first page names, as a list of their own."""
    here = Path(__file__).parent
    named = set((here / "index.md").read_text(encoding="utf-8").split()) | {"index"}
    if rest := sorted({path.stem for path in here.glob("*.md")} - named):
        yield "\n".join(["```{toctree}", ":hidden:", ":caption: More", "", *rest, "```"])


def generated(page: str) -> str:
    """What the code adds to the end of a page; nothing to most."""
    group = typer.main.get_command(app)
    makers = {
        "docs/index": rest_of_the_navigation,
        "docs/reference/command-line": lambda: verb_page("musclemap", group),
        "docs/reference/python": python_page,
        "docs/reference/settings": settings_page,
    }
    return "\n".join(makers[page]()) if page in makers else ""


def _add_generated(_: Sphinx, page: str, source: list[str]) -> None:
    source[0] += "\n" + generated(page)


def _lead_to_the_first_page(sphinx: Sphinx, error: Exception | None) -> None:
    if error is None and sphinx.builder.name == "html":
        text = '<meta http-equiv="refresh" content="0; url=docs/index.html">\n'
        Path(sphinx.outdir, "index.html").write_text(text, encoding="utf-8")


def setup(sphinx: Sphinx) -> None:
    """Called by Sphinx."""
    sphinx.add_lexer("csv", TextLexer)
    sphinx.connect("source-read", _add_generated)
    sphinx.connect("build-finished", _lead_to_the_first_page)
