"""Muscle regions, activities and split names: the typed, validated rows of ``annotations/``.

Labels belong to the activity, not to the single clip: a clip of ``push_up`` carries the 20
booleans that ``activities.csv`` gives for ``push_up``, and grades of how much each region works.
The rules that decide both are in ``annotations/README.md``.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from musclemap_data.errors import UserError

SPLITS = ("train", "val_known", "val_new", "test_known", "test_new")
NEW_SPLITS = ("val_new", "test_new")

GRADES = (0.0, 0.34, 0.67, 1.0)
"""None, working stabiliser, synergist, prime mover. A region is active from the second on."""
_GRADE_OF_CELL = {f"{grade:g}": grade for grade in GRADES}
GRADE_NAMES = dict(zip(GRADES, ("none", "stabiliser", "synergist", "prime mover"), strict=True))
STRICT_FROM = 0.67
"""The strict labels are the regions of at least this grade: synergists and prime movers."""

SIDES = ("front", "back", "both")
CONFIDENCES = ("high", "medium", "low")
# Where a label set may come from; see annotations/README.md.
SOURCE_KINDS = ("fed", "rule", "figure", "activity", "decision")

MUSCLE_COLUMNS = ("index", "slug", "name", "plain", "description", "anatomy", "side", "aliases")
ACTIVITY_COLUMNS_BEFORE = ("slug", "name", "aliases", "description", "family", "new")
ACTIVITY_COLUMNS_AFTER = ("sources", "confidence")
CELL_COLUMNS = (
    "activity",
    "region",
    "grade",
    "rules",
    "given_by",
    "speaking",
    "naming",
    "fed",
    "glowupp",
    "second_reading",
    "emg",
    "confidence",
)
"""Of ``grades.csv``, which lies beside ``activities.csv``: a row a cell, with its evidence."""

SYNTHETIC_PREFIX = "synthetic_"
"""The video ids of the embedded sample begin so."""

_SLUG = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


@dataclass(frozen=True)
class Muscle:
    """One of the 20 muscle regions, in the canonical order of the original benchmark.

    Attributes:
        index: Position 0-19 in every label vector of the project.
        slug: lower_snake_case name, the column name in ``activities.csv``.
        name: Name for people, as the original figures print it.
        plain: Name as it is said in a gym.
        description: One plain line on where it is and what it does.
        anatomy: The anatomical muscles that the region covers.
        side: ``front``, ``back`` or ``both``: from where it is seen on a standing body.
        aliases: Names that other vocabularies use for (a part of) the region.
    """

    index: int
    slug: str
    name: str
    plain: str
    description: str
    anatomy: tuple[str, ...]
    side: str
    aliases: tuple[str, ...]

    def called(self, plain: bool) -> str:
        """Its name for people: as the original figures print it, or as in a gym."""
        return self.plain if plain else self.name


@dataclass(frozen=True)
class Activity:
    """One activity type and its 20 labels.

    Attributes:
        slug: lower_snake_case identity, the value of the ``activity`` column of a manifest.
        name: Name for people.
        aliases: Other spellings and names of the same activity; unique over the table.
        description: One line: what the body does.
        family: Coarse group (``push``, ``squat``, ``core``, ...).
        new: True if the activity is held out from training (our fixed list of 20).
        muscles: 20 booleans in the order of :func:`load_muscles`; True means active.
        grades: 20 numbers of :data:`GRADES`; a table that knows no grades gives 1 where active.
        sources: ``fed:ID``, ``rule:NAME``, ``figure:FILE#ROW``, ``activity:SLUG`` or
            ``decision:SLUG``.
        confidence: ``high``, ``medium`` or ``low``.
    """

    slug: str
    name: str
    aliases: tuple[str, ...]
    description: str
    family: str
    new: bool
    muscles: tuple[bool, ...]
    grades: tuple[float, ...]
    sources: tuple[str, ...]
    confidence: str

    @property
    def strict(self) -> tuple[bool, ...]:
        """20 booleans: synergists and prime movers only."""
        return tuple(grade >= STRICT_FROM for grade in self.grades)

    def regions(self) -> tuple[str, ...]:
        """Slugs of the active regions, in canonical order."""
        muscles = load_muscles()
        return tuple(m.slug for m, active in zip(muscles, self.muscles, strict=True) if active)


DEFAULT_TABLE = "musclemap"


def load_table(name: str = DEFAULT_TABLE) -> dict[str, Activity]:
    """The activity table of a data set.

    Args:
        name: ``musclemap`` (our 135 activities), ``open-1`` (these as they were labelled and split
            before), the name of a table in ``annotations/other`` (``kinetics``, ``penn_action``,
            ...), or the path of a CSV in the same format.

    Raises:
        UserError: there is no such table, or it is malformed.
    """
    if name == DEFAULT_TABLE:
        return load_activities()
    others, earlier = annotations_dir() / "other", annotations_dir() / "earlier"
    for bundled in (others / f"{name}.csv", earlier / f"{name}.csv"):
        if re.fullmatch(r"[a-z0-9_-]+", name) and bundled.is_file():
            return load_activities(bundled)
    if not Path(name).is_file():
        names = sorted(
            p.stem for p in others.glob("*.csv") if (others / f"{p.stem}_sources.csv").exists()
        ) + sorted(p.stem for p in earlier.glob("*.csv"))
        raise UserError(
            f"there is no activity table {name!r}; choose {DEFAULT_TABLE}, {', '.join(names)}, "
            "or the path of a CSV like annotations/activities.csv"
        )
    return load_activities(Path(name))


def annotations_dir() -> Path:
    """The folder ``annotations/`` that lies beside the package."""
    return Path(__file__).parents[1] / "annotations"


@cache
def load_muscles() -> tuple[Muscle, ...]:
    """Read ``annotations/muscles.csv``: the 20 regions in canonical order.

    Raises:
        UserError: If the table is missing or malformed; every fault has its line number.
    """
    path = annotations_dir() / "muscles.csv"
    problems: list[str] = []
    muscles: list[Muscle] = []
    for line, row in read_table(path, MUSCLE_COLUMNS):
        if row["index"] != str(len(muscles)):
            problems.append(f"line {line}: index is {row['index']!r}, expected {len(muscles)}")
        if not _SLUG.fullmatch(row["slug"]):
            problems.append(f"line {line}: slug {row['slug']!r} is not lower_snake_case")
        if row["side"] not in SIDES:
            problems.append(f"line {line}: side is {row['side']!r}, allowed: {', '.join(SIDES)}")
        muscles.append(
            Muscle(
                index=len(muscles),
                slug=row["slug"],
                name=row["name"],
                plain=row["plain"],
                description=row["description"],
                anatomy=split_list(row["anatomy"]),
                side=row["side"],
                aliases=split_list(row["aliases"]),
            )
        )
    if len(muscles) != 20 or len({m.slug for m in muscles}) != 20:
        problems.append(f"{len(muscles)} rows, expected 20 with different slugs")
    _raise_problems(path, problems)
    return tuple(muscles)


def find_muscle(name: str) -> Muscle | None:
    """The region with this slug, name or alias ("lower abs"); case and hyphens do not matter.

    A name that several regions share ("abdominals") is the name of none.
    """
    wanted = normalise_name(name)
    for muscle in load_muscles():
        if wanted in {normalise_name(n) for n in (muscle.slug, muscle.name, muscle.plain)}:
            return muscle
    found = [m for m in load_muscles() if wanted in {normalise_name(a) for a in m.aliases}]
    return found[0] if len(found) == 1 else None


def grade_of(cell: str) -> float | None:
    """The grade that a table's cell means, or None if it is none of :data:`GRADES`."""
    return _GRADE_OF_CELL.get(cell)


def load_activities(path: Path | str | None = None) -> dict[str, Activity]:
    """Read and validate an activity table.

    A region's cell is a grade: 0, 0.34, 0.67 or 1. ``activities.csv`` holds 1 for every grade
    above 0, to be plain to read; its grades are in ``grades.csv`` beside it.

    Args:
        path: A CSV in the format of ``annotations/activities.csv``, which is the default. The
            class tables in ``annotations/other/`` have the same format.

    Returns:
        Activities by slug, in the order of the file.

    Raises:
        UserError: If the file is missing or any row is wrong; all faults are listed at once,
            each with its line number.
    """
    path = annotations_dir() / "activities.csv" if path is None else Path(path)
    regions = tuple(m.slug for m in load_muscles())
    columns = ACTIVITY_COLUMNS_BEFORE + regions + ACTIVITY_COLUMNS_AFTER
    activities: dict[str, Activity] = {}
    problems: list[str] = []
    names: dict[str, int] = {}
    for line, row in read_table(path, columns):
        activity, row_problems = _parse_activity(row, regions)
        for key in {normalise_name(n) for n in (activity.slug, *activity.aliases)}:
            if key in names:
                row_problems.append(f"name {key!r} is already used on line {names[key]}")
            names.setdefault(key, line)
        problems.extend(f"line {line}: {problem}" for problem in row_problems)
        activities.setdefault(activity.slug, activity)
    if not activities:
        problems.append("the table has no rows")
    _raise_problems(path, problems)
    cells = path.with_name("grades.csv")
    return _with_grades(activities, cells) if _has_grades_beside(path, cells) else activities


def _has_grades_beside(path: Path, cells: Path) -> bool:
    return path.name == "activities.csv" and cells.is_file()


def _with_grades(activities: dict[str, Activity], path: Path) -> dict[str, Activity]:
    """The activities with the grades of ``grades.csv``, which must agree with their labels."""
    regions = {m.slug: m.index for m in load_muscles()}
    found = {slug: [0.0] * len(regions) for slug in activities}
    problems: list[str] = []
    for line, row in read_table(path, CELL_COLUMNS):
        grade = grade_of(row["grade"])
        if row["activity"] not in found or row["region"] not in regions or grade is None:
            problems.append(f"line {line}: unknown activity or region, or no grade")
        else:
            found[row["activity"]][regions[row["region"]]] = grade
    problems.extend(
        f"{slug}: its grades are not those of the labels beside them"
        for slug, activity in activities.items()
        if tuple(grade > 0 for grade in found[slug]) != activity.muscles
    )
    _raise_problems(path, problems)
    return {slug: replace(a, grades=tuple(found[slug])) for slug, a in activities.items()}


def activity_names(activities: Mapping[str, Activity]) -> dict[str, str]:
    """Map every normalised slug, name and alias to its slug; slugs win over the rest."""
    index = {normalise_name(slug): slug for slug in activities}
    for activity in activities.values():
        for name in (activity.name, *activity.aliases):
            index.setdefault(normalise_name(name), activity.slug)
    return index


def normalise_name(name: str) -> str:
    """``"Push-Ups "`` becomes ``"push_ups"``: the form in which names are compared."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def split_list(cell: str) -> tuple[str, ...]:
    """Split a ``|``-separated cell; an empty cell is an empty tuple."""
    return tuple(part.strip() for part in cell.split("|") if part.strip())


def read_table(path: Path, columns: Iterable[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line number, row) of a CSV whose header must be exactly ``columns``.

    Raises:
        UserError: If the file is missing, is not UTF-8, or has another header or ragged rows.
    """
    columns = tuple(columns)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            header = tuple(reader.fieldnames or ())
            if header != columns:
                missing = [c for c in columns if c not in header]
                surplus = [c for c in header if c not in columns]
                raise UserError(
                    f"{path}: line 1: wrong columns; missing: {', '.join(missing) or 'none'}; "
                    f"not expected: {', '.join(surplus) or 'none'}. "
                    f"Expected, in this order: {','.join(columns)}"
                )
            for row in reader:
                if None in row or None in row.values():
                    raise UserError(
                        f"{path}: line {reader.line_num}: expected {len(columns)} cells; "
                        "put cells that hold a comma in double quotes"
                    )
                yield reader.line_num, row
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error})") from None


def _parse_activity(row: Mapping[str, str], regions: tuple[str, ...]) -> tuple[Activity, list[str]]:
    """Turn a CSV row into an activity and the list of what is wrong with it."""
    problems: list[str] = []
    if not _SLUG.fullmatch(row["slug"]):
        problems.append(f"slug {row['slug']!r} is not lower_snake_case")
    problems.extend(f"{c} is empty" for c in ("name", "family") if not row[c].strip())
    if row["new"] not in ("0", "1"):
        problems.append(f"new is {row['new']!r}, allowed: 0, 1")
    problems.extend(
        f"{region} is {row[region]!r}, allowed: {', '.join(f'{grade:g}' for grade in GRADES)}"
        for region in regions
        if grade_of(row[region]) is None
    )
    grades = tuple(grade_of(row[region]) or 0.0 for region in regions)
    muscles = tuple(grade > 0 for grade in grades)
    if not any(muscles):
        problems.append("no region is active; an activity needs at least one")
    sources = split_list(row["sources"])
    if not sources:
        problems.append("sources is empty; name at least one")
    problems.extend(
        f"source {source!r} has no known kind, allowed: {', '.join(SOURCE_KINDS)}, as KIND:NAME"
        for source in sources
        if source.partition(":")[0] not in SOURCE_KINDS or not source.partition(":")[2]
    )
    if row["confidence"] not in CONFIDENCES:
        problems.append(f"confidence is {row['confidence']!r}, allowed: {', '.join(CONFIDENCES)}")
    activity = Activity(
        slug=row["slug"],
        name=row["name"].strip(),
        aliases=split_list(row["aliases"]),
        description=row["description"].strip(),
        family=row["family"].strip(),
        new=row["new"] == "1",
        muscles=muscles,
        grades=grades,
        sources=sources,
        confidence=row["confidence"],
    )
    return activity, problems


def _raise_problems(path: Path, problems: list[str]) -> None:
    if problems:
        raise UserError(f"{path}: {len(problems)} problem(s)\n  " + "\n  ".join(problems))


def is_synthetic(video_ids: Iterable[str]) -> bool:
    """Whether all videos are of the embedded sample, which is rendered; False for no video."""
    ids = list(video_ids)
    return bool(ids) and all(name.startswith(SYNTHETIC_PREFIX) for name in ids)
