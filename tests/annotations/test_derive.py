"""The committed tables are what rules, database and figures yield."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from annotations import derive
from annotations.derive import (
    EXTRACT_COLUMNS,
    SOURCE_COLUMNS,
    Sources,
    agreement,
    derive_row,
    extract_rows,
    load_sources,
    used_exercises,
)
from musclemap_data.catalog import (
    annotations_dir,
    load_activities,
    load_muscles,
    normalise_name,
    read_table,
    split_list,
)
from musclemap_data.errors import UserError

SOURCE_ROWS = [
    row for _, row in read_table(annotations_dir() / "activity_sources.csv", SOURCE_COLUMNS)
]
FED_WORDS = {
    "abdominals": "upper_abdominis|lower_abdominis",
    "abductors": "outer_thigh",
    "adductors": "inner_thigh",
    "glutes": "gluteus",
    "hamstrings": "hamstring",
    "lats": "latissimus",
    "lower back": "lower_back",
    "middle back": "upper_back",
    "neck": "neck_and_head",
    "shoulders": "shoulder",
    "traps": "upper_back",
}


@pytest.fixture(scope="module")
def sources() -> Sources:
    return load_sources(annotations_dir())


@pytest.fixture(scope="module")
def decisions() -> str:
    return (annotations_dir() / "decisions.md").read_text(encoding="utf-8")


def test_committed_tables_are_what_the_sources_yield() -> None:
    for path, text in derive.derive_all(annotations_dir()).items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run annotations.derive"


def test_committed_document_is_what_the_table_yields() -> None:
    path = annotations_dir().parent / "docs" / "activities.md"
    assert path.read_text(encoding="utf-8") == derive.activities_markdown(load_activities())


def test_check_succeeds_and_prints_agreement(capsys: pytest.CaptureFixture[str]) -> None:
    assert derive.main(["--check"]) == 0
    printed = capsys.readouterr().out
    rates = re.findall(r"precision (\d\.\d+), recall (\d\.\d+)", printed)
    assert len(rates) == 4
    # The rules, not shown the database, must find nine in ten of its labels.
    assert float(rates[2][1]) > 0.9
    readme = (annotations_dir() / "README.md").read_text(encoding="utf-8")
    assert printed.strip() in readme, "the figures in annotations/README.md are stale"


def test_every_source_resolves(sources: Sources, decisions: str) -> None:
    known = {
        "fed": set(sources.exercises),
        "rule": set(sources.rules),
        "figure": set(sources.figures),
        "decision": set(re.findall(r"^\| `(\w+)` \| [+−] ", decisions, re.MULTILINE)),
    }
    for activity in load_activities().values():
        for source in activity.sources:
            kind, _, name = source.partition(":")
            assert name in known[kind], (activity.slug, source)


def test_every_rule_figure_and_exercise_is_used(sources: Sources) -> None:
    paths = [
        annotations_dir() / "activity_sources.csv",
        *(annotations_dir() / "other").glob("*_sources.csv"),
    ]
    rows = [row for path in paths for _, row in read_table(path, SOURCE_COLUMNS)]
    for column, table in (
        ("rules", sources.rules),
        ("figures", sources.figures),
        ("fed", sources.exercises),
    ):
        assert {name for row in rows for name in split_list(row[column])} == set(table)


def test_database_labels_that_no_rule_gives_are_in_decisions(
    sources: Sources, decisions: str
) -> None:
    section = decisions.split("## Database against rules")[1].split("\n## ")[0]
    listed = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    empty = {"fed": "", "figures": "", "add": "", "remove": ""}
    database_only = set()
    for row in SOURCE_ROWS:
        by_rule, _ = derive_row({**row, **empty}, sources)
        by_database = [sources.exercises[i].labels() for i in split_list(row["fed"])]
        if not frozenset[str]().union(*by_database) <= by_rule:
            database_only.add(row["slug"])
    assert listed == database_only


def test_unknown_names_and_useless_exceptions_are_refused(sources: Sources) -> None:
    row = next(r for r in SOURCE_ROWS if r["slug"] == "push_up")
    for change, message in (
        ({"rules": "levitation"}, "no rule 'levitation'"),
        ({"fed": "Nonsense"}, "no fed 'Nonsense'"),
        ({"add": "tail"}, "no muscle region tail"),
        ({"add": "chest"}, "changes nothing for chest"),
        ({"remove": "calves"}, "changes nothing for calves"),
    ):
        with pytest.raises(UserError, match=message):
            derive_row({**row, **change}, sources)


def test_a_stretch_lends_only_its_primary_muscle(sources: Sources) -> None:
    superman = sources.exercises["Superman"]
    assert superman.stretch and "gluteus" in superman.secondary
    assert superman.labels() == {"lower_back"}


def test_agreement_counts() -> None:
    a, b, c = "chest", "biceps", "wrists"
    result = agreement(
        [
            (frozenset({a, c}), frozenset({a, b}), frozenset({c})),
            (frozenset({b}), frozenset({a, b}), frozenset()),
        ]
    )
    assert (result.both, result.only_ours, result.only_theirs) == (2, 0, 2)
    assert (result.precision, result.recall) == (1.0, 0.5)


def test_extract_is_what_the_whole_database_says(shared_dir: Path) -> None:
    database = json.loads((shared_dir / "labels" / "free_exercise_db.json").read_text())
    table = read_table(annotations_dir() / "free_exercise_db_extract.csv", EXTRACT_COLUMNS)
    committed = [[row[c] for c in EXTRACT_COLUMNS] for _, row in table]
    assert committed == extract_rows(database, used_exercises(annotations_dir()))


def test_activities_contain_the_primary_muscles_of_the_whole_database(shared_dir: Path) -> None:
    database = json.loads((shared_dir / "labels" / "free_exercise_db.json").read_text())
    primary = {entry["id"]: entry["primaryMuscles"] for entry in database}
    checked = 0
    for activity in load_activities().values():
        for source in activity.sources:
            kind, _, name = source.partition(":")
            for word in primary[name] if kind == "fed" else ():
                regions = set(FED_WORDS.get(word, word).split("|"))
                assert regions <= set(activity.regions()), (activity.slug, name, word)
                checked += 1
    assert checked > 80


def test_vocabulary_agrees_with_the_mapping_of_the_task(shared_dir: Path) -> None:
    columns = ("source", "source_muscle", "musclemap_region(s)", "note")
    slugs = {m.slug for m in load_muscles()}
    ours = derive.load_vocabulary(annotations_dir())
    for _, row in read_table(shared_dir / "labels" / "mapping_to_20_regions.csv", columns):
        if row["source"] == "free-exercise-db":
            plain = re.sub(r"\([^)]*\)", "", row["musclemap_region(s)"])
            regions = {normalise_name(name) for name in split_list(plain)}
            assert regions <= slugs
            assert ours[row["source_muscle"]][0] == regions


def test_figures_are_those_of_the_task(shared_dir: Path, sources: Sources) -> None:
    columns = ("figure", "row", "what_is_shown", "gt_regions")
    path = shared_dir / "labels" / "reference_figure_examples.csv"
    expected = {
        f"{row['figure']}#{row['row']}": {normalise_name(n) for n in split_list(row["gt_regions"])}
        for _, row in read_table(path, columns)
    }
    assert sources.figures == expected
