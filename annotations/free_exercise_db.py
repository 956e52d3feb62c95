"""What free-exercise-db (Unlicense) says of our activities, in our 20 regions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from annotations.grading import region_slugs
from musclemap_data.catalog import read_table, split_list
from musclemap_data.errors import UserError

EXTRACT_COLUMNS = ("id", "name", "category", "primary", "secondary")
# The database has no obliques; the exercise's name tells.
OBLIQUE_NAMES = re.compile(r"twist|oblique|side|bicycle|russian", re.IGNORECASE)

Regions = frozenset[str]


@dataclass(frozen=True)
class Exercise:
    """What one entry says, in our 20 regions.

    ``optional`` holds regions that one of its words may also mean (feet, wrists, neck).
    """

    id: str
    primary: Regions
    secondary: Regions
    optional: Regions


def load_vocabulary(directory: Path) -> dict[str, tuple[Regions, Regions]]:
    """Map each muscle of the database to (regions, regions it may also mean)."""
    columns = ("muscle", "regions", "optional_regions", "note")
    return {
        row["muscle"]: (
            frozenset(split_list(row["regions"])),
            frozenset(split_list(row["optional_regions"])),
        )
        for _, row in read_table(directory / "free_exercise_db_regions.csv", columns)
    }


def load_exercises(directory: Path) -> dict[str, Exercise]:
    """The entries of ``free_exercise_db_extract.csv`` by id."""
    vocabulary = load_vocabulary(directory)
    return {
        row["id"]: exercise_of(row, vocabulary)
        for _, row in read_table(directory / "free_exercise_db_extract.csv", EXTRACT_COLUMNS)
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
    )


def speakable(vocabulary: Mapping[str, tuple[Regions, Regions]]) -> Regions:
    """The regions that the database has a word for; the obliques by the exercise's name."""
    return frozenset[str](["obliques"]).union(*(regions for regions, _ in vocabulary.values()))


def opinion(exercises: Iterable[Exercise], words: Regions) -> dict[str, float]:
    """Region -> 1 primary, 0.5 secondary, 0 not named, over all entries of one activity.

    A region that the database has no word for (``words``), or that one of its words may also mean,
    is left out: the database is silent there.
    """
    entries = list(exercises)
    said: dict[str, float] = {}
    for region in region_slugs() if entries else ():
        value = max(
            1.0 if region in e.primary else 0.5 if region in e.secondary else 0.0 for e in entries
        )
        if value or (region in words and not any(region in e.optional for e in entries)):
            said[region] = value
    return said


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
