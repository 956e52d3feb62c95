"""Rebuild every derived table of ``annotations/`` from its short source tables.

    python -m annotations.derive            rewrite activities.csv, other/*.csv, docs/activities.md
                                            and docs/activities/*.svg
    python -m annotations.derive --check    write nothing; print agreement; exit 1 on a difference
    python -m annotations.derive --extract FREE_EXERCISE_DB_JSON
                                            refresh free_exercise_db_extract.csv first

Label set of a row = regions of its rules + regions of its reference figures + primary muscles of
its free-exercise-db exercises + their secondary muscles unless the exercise is a stretch
+ ``add`` - ``remove``. The last two are exceptions; each has its reason in ``decisions.md``.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from musclemap_data.catalog import (
    ACTIVITY_COLUMNS_AFTER,
    ACTIVITY_COLUMNS_BEFORE,
    Activity,
    annotations_dir,
    load_activities,
    load_muscles,
    read_table,
    split_list,
)
from musclemap_data.draw.body_map import activity_pictures
from musclemap_data.errors import UserError

SOURCE_COLUMNS = (
    "slug",
    "name",
    "aliases",
    "description",
    "family",
    "new",
    "rules",
    "fed",
    "figures",
    "activities",
    "add",
    "remove",
    "confidence",
)
EXTRACT_COLUMNS = ("id", "name", "category", "primary", "secondary")
OTHER_TABLES = ("ucf101", "hmdb51", "kinetics", "penn_action")
# Note in the mapping of the task: the source has no obliques, the exercise name tells.
OBLIQUE_NAMES = re.compile(r"twist|oblique|side|bicycle|russian", re.IGNORECASE)

Regions = frozenset[str]


@dataclass(frozen=True)
class Exercise:
    """What one free-exercise-db entry says, in our 20 regions.

    ``optional`` holds regions that the database cannot express (feet, wrists, neck): they are
    neither demanded of our labels nor counted against them.
    """

    id: str
    primary: Regions
    secondary: Regions
    optional: Regions
    stretch: bool

    def labels(self) -> Regions:
        """Regions that enter a label set: a stretch only lends its primary muscles."""
        return self.primary if self.stretch else self.primary | self.secondary


@dataclass(frozen=True)
class Sources:
    """Everything that label sets are derived from."""

    regions: tuple[str, ...]
    rules: Mapping[str, Regions]
    figures: Mapping[str, Regions]
    exercises: Mapping[str, Exercise]
    activities: Mapping[str, Regions]


def load_sources(directory: Path, activities: Mapping[str, Regions] | None = None) -> Sources:
    """Read rules, figures and the database extract from ``directory``.

    Raises:
        UserError: If a table is malformed or names a region that does not exist.
    """
    regions = tuple(m.slug for m in load_muscles())
    rule_columns = ("rule", "regions", "active_when", "justification")
    rules = _region_table(directory / "movement_rules.csv", rule_columns, regions)
    figures = _region_table(
        directory / "reference_figures.csv", ("figure", "shown", "regions"), regions
    )
    vocabulary = load_vocabulary(directory)
    exercises = {
        row["id"]: exercise_of(row, vocabulary)
        for _, row in read_table(directory / "free_exercise_db_extract.csv", EXTRACT_COLUMNS)
    }
    return Sources(regions, rules, figures, exercises, activities or {})


def load_vocabulary(directory: Path) -> dict[str, tuple[Regions, Regions]]:
    """Map each free-exercise-db muscle to (regions, regions it may also mean)."""
    columns = ("muscle", "regions", "optional_regions", "note")
    return {
        row["muscle"]: (
            frozenset(split_list(row["regions"])),
            frozenset(split_list(row["optional_regions"])),
        )
        for _, row in read_table(directory / "free_exercise_db_regions.csv", columns)
    }


def exercise_of(
    row: Mapping[str, str], vocabulary: Mapping[str, tuple[Regions, Regions]]
) -> Exercise:
    """Translate one row of the extract into regions."""

    def translate(cell: str) -> Regions:
        found = frozenset[str]().union(*(vocabulary[m][0] for m in split_list(cell)))
        if "abdominals" in split_list(cell) and OBLIQUE_NAMES.search(row["name"]):
            found |= {"obliques"}
        return found

    muscles = split_list(row["primary"]) + split_list(row["secondary"])
    return Exercise(
        id=row["id"],
        primary=translate(row["primary"]),
        secondary=translate(row["secondary"]),
        optional=frozenset[str]().union(*(vocabulary[m][1] for m in muscles)),
        stretch=row["category"] == "stretching",
    )


def extract_rows(database: Iterable[Mapping[str, object]], ids: Iterable[str]) -> list[list[str]]:
    """The rows of ``free_exercise_db_extract.csv`` for ``ids``, sorted by id.

    Args:
        database: The parsed ``exercises.json`` of free-exercise-db.
        ids: The exercise ids that the source tables name.

    Raises:
        UserError: If an id does not exist in the database.
    """
    by_id = {str(entry["id"]): entry for entry in database}
    missing = sorted(set(ids) - set(by_id))
    if missing:
        raise UserError(f"not in free-exercise-db: {', '.join(missing)}")
    rows = []
    for exercise_id in sorted(set(ids)):
        entry = by_id[exercise_id]
        muscles = [entry[key] for key in ("primaryMuscles", "secondaryMuscles")]
        lists = ["|".join(m) for m in muscles if isinstance(m, list)]
        rows.append([exercise_id, str(entry["name"]), str(entry["category"]), *lists])
    return rows


def derive_row(row: Mapping[str, str], sources: Sources) -> tuple[Regions, tuple[str, ...]]:
    """Label set and source list of one row of a source table.

    Raises:
        UserError: If the row names a rule, figure, exercise, activity or region that does not
            exist, adds a region it already has, or removes one it does not have.
    """
    tables: tuple[tuple[str, str, Mapping[str, Regions]], ...] = (
        ("activities", "activity", sources.activities),
        ("fed", "fed", {i: e.labels() for i, e in sources.exercises.items()}),
        ("figures", "figure", sources.figures),
        ("rules", "rule", sources.rules),
    )
    labels: Regions = frozenset()
    names: list[str] = []
    for column, kind, table in tables:
        for name in split_list(row[column]):
            if name not in table:
                raise UserError(f"{row['slug']}: no {kind} {name!r}; known: {', '.join(table)}")
            labels |= table[name]
            names.append(f"{kind}:{name}")
    added, removed = frozenset(split_list(row["add"])), frozenset(split_list(row["remove"]))
    unknown = (added | removed) - set(sources.regions)
    if unknown:
        raise UserError(f"{row['slug']}: no muscle region {', '.join(sorted(unknown))}")
    if added & labels or removed - labels:
        useless = ", ".join(sorted((added & labels) | (removed - labels)))
        raise UserError(f"{row['slug']}: add or remove changes nothing for {useless}")
    if added or removed:
        names.append(f"decision:{row['slug']}")
    return (labels | added) - removed, tuple(names)


def derive_table(path: Path, sources: Sources) -> str:
    """The text of the derived CSV for one source table."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(ACTIVITY_COLUMNS_BEFORE + sources.regions + ACTIVITY_COLUMNS_AFTER)
    for _, row in read_table(path, SOURCE_COLUMNS):
        labels, names = derive_row(row, sources)
        writer.writerow(
            [row[column] for column in ACTIVITY_COLUMNS_BEFORE]
            + [str(int(region in labels)) for region in sources.regions]
            + ["|".join(names), row["confidence"]]
        )
    return out.getvalue()


def derive_all(directory: Path) -> dict[Path, str]:
    """Path and expected text of every derived file."""
    sources = load_sources(directory)
    path = directory / "activities.csv"
    files = {path: derive_table(directory / "activity_sources.csv", sources)}
    labels = _labels_of(files[path])
    for name in OTHER_TABLES:
        source = directory / "other" / f"{name}_sources.csv"
        files[directory / "other" / f"{name}.csv"] = derive_table(
            source, load_sources(directory, labels)
        )
    return files


def used_exercises(directory: Path) -> set[str]:
    """Every free-exercise-db id that a source table names."""
    paths = [directory / "activity_sources.csv", *sorted(directory.glob("other/*_sources.csv"))]
    return {
        exercise
        for path in paths
        for _, row in read_table(path, SOURCE_COLUMNS)
        for exercise in split_list(row["fed"])
    }


@dataclass(frozen=True)
class Agreement:
    """Counts of labels, summed over activities, and the two rates made of them."""

    activities: int
    both: int
    only_ours: int
    only_theirs: int

    @property
    def precision(self) -> float:
        """Share of our labels that the other source has as well."""
        return self.both / max(1, self.both + self.only_ours)

    @property
    def recall(self) -> float:
        """Share of the other source's labels that we have as well."""
        return self.both / max(1, self.both + self.only_theirs)

    def __str__(self) -> str:
        return (
            f"{self.activities:3d} activities, {self.both} labels in both, {self.only_ours} only "
            f"ours, {self.only_theirs} only theirs: precision {self.precision:.3f}, "
            f"recall {self.recall:.3f}"
        )


def agreement(pairs: Iterable[tuple[Regions, Regions, Regions]]) -> Agreement:
    """Compare (ours, theirs, regions not to count) over activities."""
    rows = [(ours - skip, theirs - skip) for ours, theirs, skip in pairs]
    return Agreement(
        activities=len(rows),
        both=sum(len(ours & theirs) for ours, theirs in rows),
        only_ours=sum(len(ours - theirs) for ours, theirs in rows),
        only_theirs=sum(len(theirs - ours) for ours, theirs in rows),
    )


def agreement_report(directory: Path) -> str:
    """Agreement of the rules alone, and of the final labels, with the database and figures."""
    sources = load_sources(directory)
    blind = Sources(sources.regions, sources.rules, sources.figures, sources.exercises, {})
    unspeakable = frozenset(sources.regions) - frozenset[str]().union(
        *(regions for regions, _ in load_vocabulary(directory).values())
    )
    final, rules_only, speakable, figures = [], [], [], []
    for _, row in read_table(directory / "activity_sources.csv", SOURCE_COLUMNS):
        labels, _ = derive_row(row, sources)
        by_rule, _ = derive_row({**row, "fed": "", "figures": "", "add": "", "remove": ""}, blind)
        exercises = [sources.exercises[i] for i in split_list(row["fed"])]
        if exercises:
            theirs = frozenset[str]().union(*(e.primary | e.secondary for e in exercises))
            optional = frozenset[str]().union(*(e.optional for e in exercises)) - theirs
            final.append((labels, theirs, frozenset[str]()))
            speakable.append((labels, theirs, optional | (unspeakable - theirs)))
            rules_only.append((by_rule, theirs, optional | (unspeakable - theirs)))
        for figure in split_list(row["figures"]):
            figures.append((by_rule, sources.figures[figure], frozenset[str]()))
    return "\n".join(
        (
            f"labels against free-exercise-db, all 20 regions:           {agreement(final)}",
            f"labels, regions the database has a word for:               {agreement(speakable)}",
            f"rules alone (not shown the database), same regions:        {agreement(rules_only)}",
            f"rules alone against the reference figures, all 20 regions: {agreement(figures)}",
        )
    )


def activities_markdown(activities: Mapping[str, Activity]) -> str:
    """The text of ``docs/activities.md``."""
    muscles = load_muscles()
    names = {m.slug: m.name for m in muscles}
    lines = [
        "# The 135 activities and their active muscle regions",
        "",
        "Generated by `python -m annotations.derive` from `annotations/activities.csv`; do not "
        'edit by hand. The rule that decides "active", and how to propose a correction, is in '
        "[annotations/README.md](../annotations/README.md). *new* marks the 20 activities that "
        "are held out from training. The pictures show the active regions from the front and from "
        "behind; the drawing is our own (`annotations/body/shapes.json`).",
        "",
        "| activity | front and back | family | new | active regions | n | confidence |",
        "|---|---|---|---|---|---|---|",
    ]
    for a in activities.values():
        regions = ", ".join(names[slug] for slug in a.regions())
        lines.append(
            f"| **{a.name}** (`{a.slug}`)<br>{a.description} | "
            f'<img src="activities/{a.slug}.svg" width="180" alt="body map of {a.name}"> | '
            f"{a.family} | "
            f"{'new' if a.new else ''} | {regions} | {sum(a.muscles)} | {a.confidence} |"
        )
    lines += ["", "## Activities by region", "", "| region | known | new |", "|---|---|---|"]
    for m in muscles:
        hits = [a for a in activities.values() if a.muscles[m.index]]
        known, new = sum(not a.new for a in hits), sum(a.new for a in hits)
        lines.append(f"| {m.name} | {known} | {new} |")
    return "\n".join(lines) + "\n"


def _labels_of(table: str) -> dict[str, Regions]:
    regions = tuple(m.slug for m in load_muscles())
    return {
        row["slug"]: frozenset(r for r in regions if row[r] == "1")
        for row in csv.DictReader(io.StringIO(table))
    }


def _region_table(
    path: Path, columns: tuple[str, ...], regions: tuple[str, ...]
) -> dict[str, Regions]:
    table: dict[str, Regions] = {}
    for line, row in read_table(path, columns):
        key, found = row[columns[0]], frozenset(split_list(row["regions"]))
        if key in table or not found or found - set(regions):
            raise UserError(f"{path}: line {line}: {key!r} is double, empty or has no such region")
        table[key] = found
    return table


def main(arguments: list[str] | None = None) -> int:
    """Run the command line described at the top of this file; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m annotations.derive")
    parser.add_argument("--check", action="store_true", help="compare, print agreement")
    parser.add_argument("--extract", type=Path, help="free-exercise-db exercises.json")
    options = parser.parse_args(arguments)
    directory = annotations_dir()
    if options.extract:
        database = json.loads(options.extract.read_text(encoding="utf-8"))
        with (directory / "free_exercise_db_extract.csv").open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(EXTRACT_COLUMNS)
            writer.writerows(extract_rows(database, used_exercises(directory)))
    stale = 0
    for path, text in derive_all(directory).items():
        stale += _update(path, text, options.check)
    activities, docs = load_activities(), directory.parent / "docs"
    stale += _update(docs / "activities.md", activities_markdown(activities), options.check)
    (docs / "activities").mkdir(exist_ok=True)
    for name, text in activity_pictures(activities).items():
        stale += _update(docs / "activities" / name, text, options.check)
    print(agreement_report(directory))
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
