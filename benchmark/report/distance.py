"""Scores on new activities by how near their label sets are to those of training, as text."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.cells import aligned, p_value, percent
from benchmark.record import RunRecord, SplitScores, excess


def format_by_distance(runs: Sequence[RunRecord]) -> str:
    """A line for each run, split of new activities and distance; folds and seeds stay apart."""
    header = ["mAP in %", "split", "distance", "activities", "clips", "mAP", "chance", "above", "p"]
    lines = [header]
    for run in runs:
        for name, split in run.scores.splits.items():
            lines += _rows(run.run, name, split)
    if len(lines) == 1:
        return "No run knows the label sets that it was trained on: run the benchmark with --fresh."
    texts = aligned(lines)
    rule = "-" * max(map(len, texts))
    note = (
        "Distance: in how many regions the label set differs from the nearest one of training; "
        "0 are label twins."
    )
    return "\n".join([texts[0], rule, *texts[1:], rule, note])


def _rows(run: str, name: str, split: SplitScores) -> list[list[str]]:
    rows = []
    for distance, each in split.per_distance.items():
        chance = each.chance
        rows.append(
            [
                run,
                name.replace("_", " "),
                distance,
                str(each.activities),
                str(each.clips),
                percent(each.map),
                percent(None if chance is None else chance.mean),
                percent(excess(each.map, chance), sign="+"),
                p_value(None if chance is None else chance.p),
            ]
        )
    return rows
