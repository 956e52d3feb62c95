"""From rules, figures and decisions to a grade for each of the 20 regions of an activity.

The grade of a cell is that of its decision if it has one, else the highest of

- the grades of the activity's **rules** (``movement_rules.csv``),
- the grades of an **activity** of ours that it takes its labels from (tables in ``other/``),
- the lowest grade if a **reference figure** names the region.

Data bases, EMG and the second reading give no grade. They are what a rule or decision is judged by:
see :mod:`annotations.evidence`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from musclemap_data.catalog import GRADES, grade_of, load_muscles, read_table, split_list
from musclemap_data.errors import UserError

SOURCE_COLUMNS = (
    "slug",
    "name",
    "aliases",
    "description",
    "family",
    "rules",
    "fed",
    "figures",
    "activities",
    "confidence",
)
"""Of ``activity_sources.csv``; the tables in ``other/`` have ``new`` after ``family``."""

STABILISER, SYNERGIST, PRIME_MOVER = GRADES[1:]
RULE_COLUMNS = ("rule", "prime_mover", "synergist", "stabiliser", "active_when", "justification")
DECISION_COLUMNS = ("activity", "region", "grade", "reason")

Grades = Mapping[str, float]
"""Region slug -> grade above 0."""


@dataclass(frozen=True)
class Decision:
    """A grade set by hand for one cell, against or beside the rules."""

    grade: float
    reason: str


@dataclass(frozen=True)
class Sources:
    """Everything that grades are derived from.

    Attributes:
        rules, figures, activities: name -> the grades it gives.
        decisions: (activity, region) -> what was decided.
        exercises: ids of the free-exercise-db entries that may be named.
    """

    rules: Mapping[str, Grades]
    figures: Mapping[str, Grades]
    activities: Mapping[str, Grades]
    decisions: Mapping[tuple[str, str], Decision]
    exercises: frozenset[str]


@dataclass(frozen=True)
class GradedRow:
    """The grades of one row of a source table, and where each comes from.

    Attributes:
        grades: region slug -> grade, for all 20 regions.
        by_rules: the same from the rules alone, without figures and decisions.
        given_by: region slug -> ``rule:NAME``, ``figure:NAME``, ``activity:SLUG`` or
            ``decision:SLUG``; those that name the region, whatever their grade.
        sources: all that the row names, of every kind.
    """

    grades: dict[str, float]
    by_rules: dict[str, float]
    given_by: dict[str, tuple[str, ...]]
    sources: tuple[str, ...]


def region_slugs() -> tuple[str, ...]:
    """The 20 slugs in canonical order."""
    return tuple(m.slug for m in load_muscles())


def load_rules(path: Path) -> dict[str, Grades]:
    """Read ``movement_rules.csv``.

    Raises:
        UserError: a rule is there twice, gives nothing, or a region is unknown or has two grades.
    """
    rules: dict[str, Grades] = {}
    for line, row in read_table(path, RULE_COLUMNS):
        grades: dict[str, float] = {}
        for column, grade in zip(RULE_COLUMNS[1:4], GRADES[:0:-1], strict=True):
            for region in split_list(row[column]):
                if region not in region_slugs() or region in grades:
                    raise UserError(f"{path}: line {line}: {region!r} is no region, or there twice")
                grades[region] = grade
        if row["rule"] in rules or not grades:
            raise UserError(f"{path}: line {line}: rule {row['rule']!r} is there twice or empty")
        rules[row["rule"]] = grades
    return rules


def load_figures(path: Path) -> dict[str, Grades]:
    """Read ``reference_figures.csv``: a figure says that a region is active, not how much.

    Raises:
        UserError: a figure comes twice, has no region, or one that is not known.
    """
    figures: dict[str, Grades] = {}
    for line, row in read_table(path, ("figure", "shown", "regions")):
        found = split_list(row["regions"])
        if row["figure"] in figures or not found or set(found) - set(region_slugs()):
            raise UserError(
                f"{path}: line {line}: {row['figure']!r} is double, empty or has no such region"
            )
        figures[row["figure"]] = dict.fromkeys(found, STABILISER)
    return figures


def load_decisions(path: Path) -> dict[tuple[str, str], Decision]:
    """Read ``decisions.csv``.

    Raises:
        UserError: a cell is there twice, has no reason, or a grade is none of the four.
    """
    decisions: dict[tuple[str, str], Decision] = {}
    for line, row in read_table(path, DECISION_COLUMNS):
        cell, grade = (row["activity"], row["region"]), grade_of(row["grade"])
        if grade is None or cell in decisions or not row["reason"].strip():
            raise UserError(
                f"{path}: line {line}: {cell} is there twice, or has no grade or reason"
            )
        if row["region"] not in region_slugs():
            raise UserError(f"{path}: line {line}: no muscle region {row['region']}")
        decisions[cell] = Decision(grade, row["reason"])
    return decisions


def load_sources(
    directory: Path, exercises: frozenset[str], activities: Mapping[str, Grades] | None = None
) -> Sources:
    """Read rules, figures and decisions from ``directory``.

    Args:
        exercises: ids of the database extract.
        activities: grades that other rows may take over. Without them the rows are those of
            ``activity_sources.csv``, which alone have decisions.
    """
    return Sources(
        rules=load_rules(directory / "movement_rules.csv"),
        figures=load_figures(directory / "reference_figures.csv"),
        activities=activities or {},
        decisions={} if activities else load_decisions(directory / "decisions.csv"),
        exercises=exercises,
    )


def grade_row(row: Mapping[str, str], sources: Sources) -> GradedRow:
    """Grade one row of a source table.

    Raises:
        UserError: the row names a rule, figure, exercise or activity that does not exist, no region
            is active, no region is a prime mover, or a decision changes nothing.
    """
    slug = row["slug"]
    tables: tuple[tuple[str, str, Mapping[str, Grades]], ...] = (
        ("activities", "activity", sources.activities),
        ("fed", "fed", {name: {} for name in sources.exercises}),
        ("figures", "figure", sources.figures),
        ("rules", "rule", sources.rules),
    )
    grades, by_rules = (dict.fromkeys(region_slugs(), 0.0) for _ in range(2))
    given_by: dict[str, list[str]] = {region: [] for region in grades}
    names: list[str] = []
    for column, kind, table in tables:
        for name in split_list(row[column]):
            if name not in table:
                raise UserError(f"{slug}: no {kind} {name!r}; known: {', '.join(table)}")
            names.append(f"{kind}:{name}")
            for region, grade in table[name].items():
                grades[region] = max(grades[region], grade)
                if kind == "rule":
                    by_rules[region] = max(by_rules[region], grade)
                given_by[region].append(names[-1])
    decided = {region: d for (activity, region), d in sources.decisions.items() if activity == slug}
    for region, decision in decided.items():
        if decision.grade == grades[region]:
            raise UserError(f"{slug}: the decision on {region} changes nothing; remove it")
        grades[region] = decision.grade
        given_by[region].append(f"decision:{slug}")
    if decided:
        names.append(f"decision:{slug}")
    if not any(grades.values()):
        raise UserError(f"{slug}: no rule, source or decision makes a region active")
    named = {region: tuple(by) for region, by in given_by.items()}
    return GradedRow(grades, by_rules, named, tuple(names))
