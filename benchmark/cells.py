"""How numbers stand in tables, pages and terminals, and how tables of text are aligned."""

from __future__ import annotations

import math
from collections.abc import Sequence

NOT_THERE = "n/a"


def percent(share: float | None, *, digits: int = 1, sign: str = "") -> str:
    """A share from 0 to 1 in percent, without the sign %; ``n/a`` for None and NaN.

    Args:
        digits: after the point.
        sign: ``+`` shows the sign of what is above 0 too.
    """
    if share is None or not math.isfinite(share):
        return NOT_THERE
    return f"{round(100 * share, digits) + 0.0:{sign}.{digits}f}"  # + 0.0: never "-0.0"


def interval(ends: Sequence[float] | None, *, sign: str = "") -> str:
    """``[12.3, 45.6]``, in percent; ``n/a`` for None. ``sign`` is that of :func:`percent`."""
    if ends is None:
        return NOT_THERE
    return f"[{percent(ends[0], sign=sign)}, {percent(ends[1], sign=sign)}]"


def p_value(p: float | None) -> str:
    """``.012``; ``< .001`` for less; ``n/a`` for None."""
    if p is None or not math.isfinite(p):
        return NOT_THERE
    return "< .001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Lines of cells as text: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
