"""Text from the templates in this folder.

What is put into HTML is escaped, but for our own SVG; into Markdown and LaTeX it is put as it is.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from benchmark.cells import p_value, percent
from benchmark.report.pictures import data_url


def render(template: str, **values: object) -> str:
    """A template of this folder, filled in."""
    return _environment().get_template(template).render(**values)


def words(slug: str) -> str:
    """A slug as people read it: ``jumping_jack`` is jumping jack."""
    return slug.replace("_", " ")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(percent=percent, p_value=p_value, data_url=data_url, words=words)
    return environment
