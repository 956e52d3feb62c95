"""How far labels agree with the sources whose values are here, before and after the corrections."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from annotations.evidence import Cell, Evidence
from musclemap_data.catalog import Activity, load_activities, load_muscles
from musclemap_data.labels import cohen_kappa, pooled_vote

BEFORE = "open-1"


def agreement_report(
    directory: Path, activities: Mapping[str, Activity], evidence: Evidence
) -> str:
    """A Markdown table: Cohen's kappa by region, for the labels of ``open-1``, those of now, and
    the strict ones of now.

    The columns are free-exercise-db, Glowupp, and the cells where at least two of the eight sources
    speak, which then say yes if two name the region. A dash: no source names the region, or no
    label.
    """
    before = load_activities(directory / "earlier" / f"{BEFORE}.csv")
    pooled = {
        cell: float(vote)
        for cell, counts in evidence.counts.items()
        if (vote := pooled_vote(*counts)) is not None
    }
    witnesses = (evidence.fed, evidence.glowupp, pooled)
    lines = [
        "| region: before → now, strict | positive | free-exercise-db | Glowupp | two of eight |",
        "|---|---|---|---|---|",
    ]
    for name, slugs in (
        *((muscle.name, (muscle.slug,)) for muscle in load_muscles()),
        ("**all 20**", tuple(muscle.slug for muscle in load_muscles())),
    ):
        labels = (
            _labels({slug: a.muscles for slug, a in before.items()}, slugs),
            _labels({slug: a.muscles for slug, a in activities.items()}, slugs),
            _labels({slug: a.strict for slug, a in activities.items()}, slugs),
        )
        columns = [[str(sum(each.values())) for each in labels]]
        columns += [[_shown(_kappa(each, witness)) for each in labels] for witness in witnesses]
        shown = " | ".join(f"{old} → {now}, {strict}" for old, now, strict in columns)
        lines.append(f"| {name} | {shown} |")
    return "\n".join(lines)


def _labels(table: Mapping[str, tuple[bool, ...]], regions: tuple[str, ...]) -> dict[Cell, bool]:
    wanted = [muscle for muscle in load_muscles() if muscle.slug in regions]
    return {(slug, m.slug): labels[m.index] for slug, labels in table.items() for m in wanted}


def _kappa(labels: Mapping[Cell, bool], witness: Mapping[Cell, float]) -> float | None:
    cells = [cell for cell in labels if cell in witness]
    ours = np.array([labels[cell] for cell in cells], bool)
    theirs = np.array([witness[cell] > 0 for cell in cells], bool)
    return cohen_kappa(ours, theirs) if theirs.any() and ours.any() else None


def _shown(kappa: float | None) -> str:
    return "-" if kappa is None else f"{kappa:.2f}"
