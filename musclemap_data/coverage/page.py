"""The coverage as one HTML page that needs nothing else, not even a network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from musclemap_data.catalog import SPLITS
from musclemap_data.coverage.count import MEANING, NEXT_COMMANDS, STAGES, Coverage
from musclemap_data.files import write_text
from musclemap_data.templates import templates

_FULL = 64
"""So many clips of an activity have the darkest cell; the shades between are logarithmic."""
_SIDES = ("train", "val", "test")


def write_page(coverage: Coverage, out: Path, title: str) -> None:
    """Write the page, whole or not at all.

    Args:
        coverage: what is counted.
        out: the HTML file; its folder is made if need be.
        title: what was counted, in words.
    """
    environment = templates(Path(__file__).parent)
    environment.globals.update(shade=shade, by_side=by_side, code=_parts)
    page = environment.get_template("page.html").render(
        title=title,
        coverage=coverage,
        stages=STAGES,
        meaning=MEANING,
        splits=SPLITS,
        sides=_SIDES,
        next_commands=NEXT_COMMANDS,
        by_split={stage: coverage.by_split(stage) for stage in STAGES},
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, page)


def shade(count: int) -> int:
    """0 for none, else 1 to 5: the class of a cell's colour."""
    return 0 if count == 0 else min(5, 1 + int(4 * math.log(count) / math.log(_FULL)))


def by_side(counts: Mapping[str, int]) -> dict[str, int]:
    """Split -> count as train, val, test -> count: an activity is known or new, never both."""
    return {
        side: sum(count for split, count in counts.items() if split.startswith(side))
        for side in _SIDES
    }


def _parts(text: str) -> list[tuple[bool, str]]:
    """(is code, text) of a text with code between back quotes."""
    return [(bool(number % 2), part) for number, part in enumerate(text.split("`")) if part]
