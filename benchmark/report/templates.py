"""Text from the templates in this folder.

What is put into HTML is escaped, but for our own SVG; into Markdown and LaTeX it is put as it is.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment

from benchmark.cells import p_value, percent
from benchmark.report.pictures import data_url
from musclemap_data.templates import templates


def render(template: str, **values: object) -> str:
    """A template of this folder, filled in."""
    return _environment().get_template(template).render(**values)


def words(slug: str) -> str:
    """A slug as people read it: ``jumping_jack`` is jumping jack."""
    return slug.replace("_", " ")


@cache
def _environment() -> Environment:
    environment = templates(Path(__file__).parent)
    environment.globals.update(percent=percent, p_value=p_value, data_url=data_url, words=words)
    return environment
