"""Rebuild every derived table of ``annotations/`` from its short source tables.

    python -m annotations.derive            rewrite activities.csv, grades.csv, other/*.csv,
                                            docs/activities.md and docs/activities/*.svg
    python -m annotations.derive --check    write nothing; print agreement; exit 1 on a difference
    python -m annotations.derive --extract FREE_EXERCISE_DB_JSON
                                            refresh free_exercise_db_extract.csv first

How a cell gets its grade is in :mod:`annotations.grading`, what is known of it in
:mod:`annotations.evidence`.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from annotations.agreement import agreement_report
from annotations.document import activities_markdown
from annotations.evidence import Evidence, cell_rows, load_evidence
from annotations.free_exercise_db import (
    EXTRACT_COLUMNS,
    extract_rows,
    load_exercises,
)
from annotations.grading import SOURCE_COLUMNS, GradedRow, grade_row, load_sources, region_slugs
from musclemap_data.catalog import (
    ACTIVITY_COLUMNS_AFTER,
    ACTIVITY_COLUMNS_BEFORE,
    CELL_COLUMNS,
    annotations_dir,
    load_activities,
    read_table,
    split_list,
)
from musclemap_data.draw.body_map import activity_pictures
from musclemap_data.splits import held_out

OTHER_TABLES = ("ucf101", "hmdb51", "kinetics", "penn_action")
OTHER_COLUMNS = (*SOURCE_COLUMNS[:5], "new", *SOURCE_COLUMNS[5:])

Row = Mapping[str, str]


def main_rows(directory: Path) -> list[Row]:
    """The rows of ``activity_sources.csv``, with ``new`` as the current split says."""
    new = held_out()
    return [
        {**row, "new": str(int(row["slug"] in new))}
        for _, row in read_table(directory / "activity_sources.csv", SOURCE_COLUMNS)
    ]


def other_rows(directory: Path, name: str) -> list[Row]:
    """The rows of the source table of another data set."""
    path = directory / "other" / f"{name}_sources.csv"
    return [row for _, row in read_table(path, OTHER_COLUMNS)]


def grade_activities(directory: Path) -> dict[str, GradedRow]:
    """The grades of our activities, by slug."""
    sources = load_sources(directory, frozenset(load_exercises(directory)))
    return {row["slug"]: grade_row(row, sources) for row in main_rows(directory)}


def gather_evidence(directory: Path) -> Evidence:
    """What is known of every cell of our activities."""
    matched = {row["slug"]: row["fed"] for row in main_rows(directory)}
    return load_evidence(directory, load_exercises(directory), matched)


def derive_all(directory: Path) -> dict[Path, str]:
    """Path and expected text of every derived table."""
    graded = grade_activities(directory)
    files = {
        directory / "activities.csv": table_text(main_rows(directory), graded, binary=True),
        directory / "grades.csv": csv_text(
            CELL_COLUMNS, cell_rows(graded, gather_evidence(directory))
        ),
    }
    exercises = frozenset(load_exercises(directory))
    sources = load_sources(directory, exercises, {s: row.grades for s, row in graded.items()})
    for name in OTHER_TABLES:
        rows = other_rows(directory, name)
        by_class = {row["slug"]: grade_row(row, sources) for row in rows}
        files[directory / "other" / f"{name}.csv"] = table_text(rows, by_class, binary=False)
    return files


def table_text(rows: Iterable[Row], graded: Mapping[str, GradedRow], *, binary: bool) -> str:
    """The text of an activity table: 0 and 1, or the grades."""
    regions = region_slugs()
    return csv_text(
        ACTIVITY_COLUMNS_BEFORE + regions + ACTIVITY_COLUMNS_AFTER,
        (
            [row[column] for column in ACTIVITY_COLUMNS_BEFORE]
            + [f"{1 if binary and g else g:g}" for g in graded[row["slug"]].grades.values()]
            + ["|".join(graded[row["slug"]].sources), row["confidence"]]
            for row in rows
        ),
    )


def csv_text(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A CSV with Unix line ends."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()


def used_exercises(directory: Path) -> set[str]:
    """Every free-exercise-db id that a source table names."""
    tables = [main_rows(directory), *(other_rows(directory, name) for name in OTHER_TABLES)]
    return {exercise for rows in tables for row in rows for exercise in split_list(row["fed"])}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line described at the top of this file; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m annotations.derive")
    parser.add_argument("--check", action="store_true", help="compare, print agreement")
    parser.add_argument("--extract", type=Path, help="free-exercise-db exercises.json")
    options = parser.parse_args(arguments)
    directory = annotations_dir()
    if options.extract:
        database = json.loads(options.extract.read_text(encoding="utf-8"))
        text = csv_text(EXTRACT_COLUMNS, extract_rows(database, used_exercises(directory)))
        (directory / "free_exercise_db_extract.csv").write_text(text, encoding="utf-8")
    stale = 0
    for path, text in derive_all(directory).items():
        stale += _update(path, text, options.check)
    activities, docs = load_activities(), directory.parent / "docs"
    cells = gather_evidence(directory)
    stale += _update(docs / "activities.md", activities_markdown(activities, cells), options.check)
    (docs / "activities").mkdir(exist_ok=True)
    for name, text in activity_pictures(activities).items():
        stale += _update(docs / "activities" / name, text, options.check)
    print(agreement_report(directory, activities, cells))
    return 1 if options.check and stale else 0


def _update(path: Path, text: str, check: bool) -> bool:
    """Write ``text`` to ``path`` unless it is there; with ``check`` only say that it differs."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    if not check:
        path.write_text(text, encoding="utf-8")
    print(f"{path.name}: {'differs from what its sources give' if check else 'written'}")
    return True


if __name__ == "__main__":
    sys.exit(main())
