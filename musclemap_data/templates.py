"""How our jinja2 templates are filled in: an unknown name is an error, HTML is escaped."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape


def templates(folder: Path, *, keep_trailing_newline: bool = False) -> Environment:
    """The templates of a folder. In ``*.html`` what is put in is escaped, elsewhere it is not."""
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=select_autoescape(["html"], default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=keep_trailing_newline,
    )
