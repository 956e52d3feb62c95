"""Two runs, pair by pair."""

from __future__ import annotations

from pathlib import Path

from benchmark.record import Difference
from benchmark.score import compare_predictions, read_predictions


def compare_runs(first: Path, second: Path) -> dict[str, Difference]:
    """Is the first run better? :func:`benchmark.score.compare_predictions` of two run folders."""
    return compare_predictions(
        *(read_predictions(Path(each) / "predictions.parquet") for each in (first, second))
    )
