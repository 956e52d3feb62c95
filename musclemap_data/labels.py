"""Label tables to look at and compare: evidence of a cell, changes, a blank sheet, agreement.

A *label table* is a CSV with a column ``slug`` or ``activity`` and a column for each region it
speaks of, under any of the region's names ("lower abs" is ``lower_abdominis``). A cell is a grade
(0, 0.34, 0.67, 1) or empty: not judged.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from musclemap_data.catalog import (
    CELL_COLUMNS,
    DEFAULT_TABLE,
    GRADE_NAMES,
    STRICT_FROM,
    Activity,
    Muscle,
    activity_names,
    annotations_dir,
    find_muscle,
    grade_of,
    load_activities,
    load_muscles,
    load_table,
    normalise_name,
    read_table,
    split_list,
)
from musclemap_data.errors import UserError

Cell = tuple[str, str]
"""(activity slug, region slug)."""
Labels = Mapping[Cell, float]
"""The grade of every cell that a table judges."""
Numbers = npt.NDArray[np.float64]

SHEET_SIZE = 45
"""Activities on a blank sheet: about 30 minutes of work."""


@dataclass(frozen=True)
class GradedCell:
    """One row of ``annotations/grades.csv``: a cell, its grade and what is known of it.

    Attributes:
        rules: the grade that the rules alone give, without figures and decisions.
        given_by: the rules, figures and decisions that name the region.
        speaking, naming: of eight public sources, how many could name it and how many do.
        fed, glowupp: 1 primary, 0.5 secondary, 0 not named, None silent.
        second_reading: a second grading from anatomy, by one reader who had seen the labels.
        emg: verdicts of measurements: ``0``, ``1`` or ``?``.
        confidence: ``high``, ``medium`` or ``low``.
    """

    grade: float
    rules: float
    given_by: tuple[str, ...]
    speaking: int
    naming: int
    fed: float | None
    glowupp: float | None
    second_reading: float
    emg: tuple[str, ...]
    confidence: str


@cache
def load_cells() -> Mapping[Cell, GradedCell]:
    """Read ``annotations/grades.csv``: all 2,700 cells.

    Raises:
        UserError: the table is missing or has other columns.
    """

    def said(text: str) -> float | None:
        return float(text) if text else None

    return {
        (row["activity"], row["region"]): GradedCell(
            grade=float(row["grade"]),
            rules=float(row["rules"]),
            given_by=split_list(row["given_by"]),
            speaking=int(row["speaking"]),
            naming=int(row["naming"]),
            fed=said(row["fed"]),
            glowupp=said(row["glowupp"]),
            second_reading=float(row["second_reading"]),
            emg=split_list(row["emg"]),
            confidence=row["confidence"],
        )
        for _, row in read_table(annotations_dir() / "grades.csv", CELL_COLUMNS)
    }


ENOUGH_NAMING = 2
"""So many sources that name a region speak for it."""
WEAK_BELOW = 0.4
"""Kappa under which the sources hardly confirm our labels: "fair" or less (Landis, Koch 1977)."""


def pooled_vote(naming: int, speaking: int) -> bool | None:
    """What the eight public sources say together: active, not active, or None for too few voices.

    Active where two or more name the region, not active where two or more could and fewer do.
    """
    return naming >= ENOUGH_NAMING if speaking >= ENOUGH_NAMING else None


@cache
def source_agreement() -> Mapping[str, float | None]:
    """Cohen's kappa of our labels and the pooled vote of the sources, by region slug.

    None where no two sources name the region for any activity: then nobody can confirm us.
    """
    found: dict[str, float | None] = {}
    for muscle in load_muscles():
        pairs = [
            (cell.grade > 0, vote)
            for (_, region), cell in load_cells().items()
            if region == muscle.slug
            and (vote := pooled_vote(cell.naming, cell.speaking)) is not None
        ]
        ours, theirs = np.array(pairs, bool).reshape(-1, 2).T
        found[muscle.slug] = cohen_kappa(ours, theirs) if theirs.any() else None
    return found


def weak_regions() -> tuple[Muscle, ...]:
    """The regions whose labels the sources hardly confirm: kappa under ``WEAK_BELOW``, or none."""
    kappas = source_agreement()
    return tuple(m for m in load_muscles() if (kappas[m.slug] or 0.0) < WEAK_BELOW)


def format_activity(activity: Activity, *, plain: bool = False) -> str:
    """What ``labels show`` prints: one line a region that is active or that a source names."""
    cells = load_cells()
    lines = [f"{activity.name} ({activity.slug}): {activity.description}"]
    lines.append(
        f"{'region':<18}{'grade':<13}{'sources':>8}  {'fed':>4} {'glow':>4} {'2nd':>4} {'EMG':>3}  "
        f"{'confidence':<11}given by"
    )
    for muscle in load_muscles():
        cell = cells[activity.slug, muscle.slug]
        if not cell.grade and not cell.naming:
            continue
        values = [cell.fed, cell.glowupp, cell.second_reading]
        shown = " ".join(f"{'-' if value is None else f'{value:g}':>4}" for value in values)
        sources = f"{cell.naming} of {cell.speaking}"
        lines.append(
            f"{muscle.called(plain):<18}{GRADE_NAMES[cell.grade]:<13}"
            f"{sources:>8}  {shown} {'/'.join(cell.emg) or '-':>3}  {cell.confidence:<11}"
            f"{', '.join(cell.given_by)}"
        )
    lines.append(
        "sources: how many of the eight that could name the region do; fed, glow: 1 primary, 0.5 "
        "secondary, 0 not named; 2nd: a second reading"
    )
    return "\n".join(lines)


def read_labels(table: str | Path) -> dict[Cell, float]:
    """The judged cells of a label table.

    Args:
        table: a path, or the name of a bundled table: ``musclemap``, ``open-1``, ``kinetics``, ...

    Raises:
        UserError: the file is missing or any cell is wrong; all faults are listed at once.
    """
    path = Path(table)
    if not path.is_file():
        activities = load_table(str(table))
        return {
            (slug, muscle.slug): activity.grades[muscle.index]
            for slug, activity in activities.items()
            for muscle in load_muscles()
        }
    if path.resolve() == (annotations_dir() / "activities.csv").resolve():
        return read_labels(DEFAULT_TABLE)
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        header = reader.fieldnames or []
        key = next((column for column in ("slug", "activity") if column in header), None)
        if key is None:
            raise UserError(f"{path}: line 1: a column slug or activity must name the activity")
        columns = _region_columns(path, header)
        labels: dict[Cell, float] = {}
        problems: list[str] = []
        names = activity_names(load_activities())
        for row in reader:
            slug = names.get(normalise_name(row[key] or ""))
            if slug is None or any((slug, region) in labels for region in columns.values()):
                what = "is there twice" if slug else "is not one of our activities"
                problems.append(f"line {reader.line_num}: {row[key]!r} {what}")
                continue
            for column, region in columns.items():
                text = (row[column] or "").strip()
                grade = grade_of(f"{float(text):g}" if _is_number(text) else text)
                if text and grade is None:
                    allowed = ", ".join(f"{value:g}" for value in GRADE_NAMES)
                    problems.append(
                        f"line {reader.line_num}: {column} is {text!r}, allowed: {allowed}, empty"
                    )
                elif grade is not None:
                    labels[slug, region] = grade
    if not labels and not problems:
        problems.append("no cell is filled in")
    if problems:
        raise UserError(f"{path}: {len(problems)} problem(s)\n  " + "\n  ".join(problems))
    return labels


def _region_columns(path: Path, header: Sequence[str]) -> dict[str, str]:
    """Column -> slug of the region it names, of those columns that name one."""
    named = {column: muscle.slug for column in header if (muscle := find_muscle(column))}
    twice = [slug for slug, count in Counter(named.values()).items() if count > 1]
    if not named or twice:
        fault = (
            f"two columns for {', '.join(twice)}" if twice else "no column names a muscle region"
        )
        raise UserError(f"{path}: line 1: {fault}")
    return named


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def changes(old: Labels, new: Labels) -> list[tuple[Cell, float, float]]:
    """The cells that both judge and answer differently: (cell, old grade, new grade).

    If one of them knows no grades, only 0 and 1, active or not is what counts.
    """
    binary = _knows_no_grades(old) or _knows_no_grades(new)
    found = [(cell, old[cell], new[cell]) for cell in old if cell in new]
    return [
        (cell, was, now)
        for cell, was, now in found
        if (bool(was) != bool(now) if binary else was != now)
    ]


def _knows_no_grades(labels: Labels) -> bool:
    return set(labels.values()) <= {0.0, 1.0}


def doubts(labels: Labels) -> list[str]:
    """What speaks against a label table: one line each cell that our evidence contradicts.

    A cell is doubtful where at least two sources name a region that is not active, and where EMG
    says the opposite.
    """
    lines = []
    for (activity, region), grade in labels.items():
        cell = load_cells()[activity, region]
        measured = {verdict == "1" for verdict in cell.emg if verdict != "?"}
        if grade == 0 and cell.naming >= 2:
            lines.append(
                f"{activity}: {region} is not active, though {cell.naming} of {cell.speaking} "
                "sources name it"
            )
        if (grade == 0) in measured:
            lines.append(f"{activity}: {region} is {grade:g}, but EMG says the opposite")
    return lines


def blank_sheet(count: int = SHEET_SIZE, seed: int = 0) -> list[list[str]]:
    """Rows of a sheet to be filled in by somebody who has not seen our labels.

    Every family is there in proportion; the order and the choice are those of a hash, so the same
    seed gives two annotators the same sheet.

    Args:
        count: Activities, 1 to 135.
        seed: Another number gives another choice.

    Raises:
        UserError: ``count`` is out of range.
    """
    activities = load_activities()
    if not 1 <= count <= len(activities):
        raise UserError(f"{count} activities; choose 1 to {len(activities)}")

    def draw(slug: str) -> bytes:
        return hashlib.blake2b(f"{seed}:{slug}".encode(), digest_size=8).digest()

    families: dict[str, list[str]] = {}
    for slug in sorted(activities, key=draw):
        families.setdefault(activities[slug].family, []).append(slug)
    place = {
        slug: (rank + 0.5) / len(members)
        for members in families.values()
        for rank, slug in enumerate(members)
    }
    chosen = sorted(sorted(place, key=lambda slug: (place[slug], draw(slug)))[:count], key=draw)
    header = ["activity", "name", "description", *(m.slug for m in load_muscles())]
    blank = [""] * len(load_muscles())
    return [header] + [
        [slug, activities[slug].name, activities[slug].description, *blank] for slug in chosen
    ]


@dataclass(frozen=True)
class Agreement:
    """How far two raters agree on the cells that both judged.

    Attributes:
        cells: how many.
        same: share with the same answer to "active or not".
        kappa: Cohen's kappa of active or not; None where both gave everything the same answer.
        strict_kappa: the same of synergist or more; None also if one of them knows no grades.
        alpha: Krippendorff's alpha of the grades, interval distances, or of active or not if one
            of them knows no grades; None as for kappa.
    """

    cells: int
    same: float
    kappa: float | None
    strict_kappa: float | None
    alpha: float | None


def agreement(a: Labels, b: Labels, regions: Sequence[Muscle] | None = None) -> Agreement:
    """Compare two tables, over all regions or some.

    Raises:
        UserError: there is no cell that both judged.
    """
    wanted = {muscle.slug for muscle in regions or load_muscles()}
    cells = [cell for cell in a if cell in b and cell[1] in wanted]
    if not cells:
        raise UserError("there is no cell that both tables judge")
    grades = np.array([[table[cell] for cell in cells] for table in (a, b)])
    active, strict = grades > 0, grades >= STRICT_FROM
    graded = not (_knows_no_grades(a) or _knows_no_grades(b))
    return Agreement(
        cells=len(cells),
        same=float((active[0] == active[1]).mean()),
        kappa=cohen_kappa(active[0], active[1]),
        strict_kappa=cohen_kappa(strict[0], strict[1]) if graded else None,
        alpha=krippendorff_alpha(grades if graded else active.astype(float)),
    )


def cohen_kappa(
    a: npt.NDArray[np.bool_ | np.str_], b: npt.NDArray[np.bool_ | np.str_]
) -> float | None:
    """Cohen's kappa of two raters who say yes or no, or choose one of several names (Cohen 1960).

    Args:
        a, b: bool or text ``[items]``, at least one.

    Returns:
        At most 1; None if both gave everything one and the same answer, so that none is by chance.
    """
    answers = np.unique(np.concatenate([a, b]))
    expected = sum((a == answer).mean() * (b == answer).mean() for answer in answers)
    if len(answers) == 1:
        return None
    return float(((a == b).mean() - expected) / (1 - expected))


def krippendorff_alpha(ratings: Numbers, *, nominal: bool = False) -> float | None:
    """Krippendorff's alpha (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability").

    Args:
        ratings: float ``[raters, items]``; NaN where a rater did not judge.
        nominal: answers are the same or not; else their squared difference counts (interval).

    Returns:
        At most 1; None if no item has two answers, or all answers are the same.
    """
    items = [column[~np.isnan(column)] for column in ratings.T]
    items = [item for item in items if len(item) >= 2]
    if not items:
        return None

    def distance(x: float, y: float) -> float:
        return float(x != y) if nominal else (x - y) ** 2

    count = sum(len(item) for item in items)
    observed = sum(
        2 * sum(distance(x, y) for x, y in combinations(item, 2)) / (len(item) - 1)
        for item in items
    )
    values = Counter(float(value) for item in items for value in item)
    expected = 2 * sum(
        values[x] * values[y] * distance(x, y) for x, y in combinations(sorted(values), 2)
    )
    if expected == 0:
        return None
    return 1 - (count - 1) * observed / expected
