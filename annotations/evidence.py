"""What independent sources say of each cell, and how sure the cell is.

``sources/counts.csv`` counts eight public sources, matched by hand to our activities: how many have
the exercise and a word for the region, and how many of these name it. Two of them, free-exercise-db
and Glowupp open-exercisedb, may be shipped with their values. ``sources/emg.csv`` are measurements
read in abstracts. ``sources/second_reading.csv`` is a second grading from anatomy, by one reader
who had seen the labels: a witness, not the truth.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from annotations.free_exercise_db import Exercise, load_vocabulary, opinion, speakable
from annotations.grading import STABILISER, GradedRow, region_slugs
from musclemap_data.catalog import grade_of, read_table, split_list
from musclemap_data.errors import UserError
from musclemap_data.labels import ENOUGH_NAMING

EMG_COLUMNS = ("activity", "region", "muscle", "finding", "verdict", "source")
VERDICTS = ("0", "1", "?")
ENOUGH_SILENT = 3
"""So many sources that could name a region, and none does, speak against it."""

Cell = tuple[str, str]


@dataclass(frozen=True)
class Evidence:
    """All witnesses, by (activity, region).

    Attributes:
        counts: (how many name it, how many speak); (0, 0) where nobody speaks.
        fed, glowupp: 1 primary, 0.5 secondary, 0 not named; a cell is missing where it is silent.
        second: a grade of the second reading.
        emg: verdicts, ``0``, ``1`` or ``?``; a cell may have several.
    """

    counts: Mapping[Cell, tuple[int, int]]
    fed: Mapping[Cell, float]
    glowupp: Mapping[Cell, float]
    second: Mapping[Cell, float]
    emg: Mapping[Cell, tuple[str, ...]]


def load_evidence(
    directory: Path, exercises: Mapping[str, Exercise], matched: Mapping[str, str]
) -> Evidence:
    """Read the tables of ``sources/``.

    Args:
        directory: ``annotations/``.
        exercises: The database extract.
        matched: activity -> ``|``-separated ids of its entries in the database.

    Raises:
        UserError: a table is malformed.
    """
    words = speakable(load_vocabulary(directory))
    fed = {
        (activity, region): value
        for activity, ids in matched.items()
        for region, value in opinion((exercises[i] for i in split_list(ids)), words).items()
    }
    folder = directory / "sources"
    counts: dict[Cell, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for cell, text in _wide(folder / "counts.csv").items():
        naming, _, speaking = text.partition("/")
        counts[cell] = (int(naming), int(speaking))
    second = {}
    for cell, text in _wide(folder / "second_reading.csv").items():
        grade = grade_of(text.removesuffix("?"))
        if grade is None:
            raise UserError(f"{folder / 'second_reading.csv'}: {cell}: {text!r} is no grade")
        second[cell] = grade
    emg: dict[Cell, tuple[str, ...]] = defaultdict(tuple)
    for line, row in read_table(folder / "emg.csv", EMG_COLUMNS):
        if row["verdict"] not in VERDICTS or not row["source"]:
            raise UserError(f"{folder / 'emg.csv'}: line {line}: no verdict or no source")
        emg[row["activity"], row["region"]] += (row["verdict"],)
    glowupp = {cell: float(text) for cell, text in _wide(folder / "glowupp.csv").items()}
    return Evidence(counts, fed, glowupp, second, emg)


def confidence_of(cell: Cell, grade: float, evidence: Evidence) -> str:
    """``high``, ``medium`` or ``low``: do the witnesses agree that the region is active, or not?

    Three witnesses may each say yes, no or nothing: EMG; the sources together, which say yes if two
    name the region, and no if three speak and none does; the second reading. Lists of two to four
    muscles leave stabilisers out, so the sources' silence says nothing against a stabiliser.

    ``high``: nobody disagrees, and two witnesses or EMG agree. ``low``: as many or more disagree
    than agree, EMG among them, or more disagree than agree. ``medium``: all else.
    """
    naming, speaking = evidence.counts[cell]
    said: list[bool] = []
    if naming >= ENOUGH_NAMING:
        said.append(True)
    elif naming == 0 and speaking >= ENOUGH_SILENT and grade != STABILISER:
        said.append(False)
    said.append(evidence.second[cell] > 0)
    measured = {verdict == "1" for verdict in evidence.emg[cell] if verdict != "?"}
    agree = sum(word == (grade > 0) for word in [*said, *measured])
    disagree = len(said) + len(measured) - agree
    if disagree == 0 and (agree >= 2 or measured):
        return "high"
    if disagree > agree or (disagree == agree and (not grade > 0) in measured):
        return "low"
    return "medium"


def cell_rows(graded: Mapping[str, GradedRow], evidence: Evidence) -> list[list[str]]:
    """The rows of ``grades.csv``: all cells of all activities, in order.

    Raises:
        UserError: a region is active though no rule, source or decision says so.
    """
    rows = []
    for activity, row in graded.items():
        for region, grade in row.grades.items():
            cell = (activity, region)
            if grade and not row.given_by[region]:
                raise UserError(f"{activity}: {region} has no rule, source or decision behind it")
            naming, speaking = evidence.counts[cell]
            rows.append(
                [
                    activity,
                    region,
                    f"{grade:g}",
                    f"{row.by_rules[region]:g}",
                    "|".join(row.given_by[region]),
                    str(speaking),
                    str(naming),
                    _said(evidence.fed.get(cell)),
                    _said(evidence.glowupp.get(cell)),
                    f"{evidence.second[cell]:g}",
                    "|".join(sorted(set(evidence.emg[cell]))),
                    confidence_of(cell, grade, evidence),
                ]
            )
    return rows


def _said(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _wide(path: Path) -> dict[Cell, str]:
    """The filled cells of a table with one row an activity and one column a region."""
    return {
        (row["activity"], region): row[region]
        for _, row in read_table(path, ("activity", *region_slugs()))
        for region in region_slugs()
        if row[region]
    }
