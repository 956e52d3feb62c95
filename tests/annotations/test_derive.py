"""The committed tables are what rules, figures and decisions yield; what is disputed is argued."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from annotations import derive
from annotations.derive import gather_evidence, grade_activities, main_rows, used_exercises
from annotations.evidence import Evidence, cell_rows, confidence_of
from annotations.free_exercise_db import (
    EXTRACT_COLUMNS,
    extract_rows,
    load_exercises,
    load_vocabulary,
    opinion,
)
from annotations.grading import (
    STABILISER,
    Decision,
    GradedRow,
    Sources,
    grade_row,
    load_rules,
    load_sources,
    region_slugs,
)
from musclemap_data.catalog import (
    GRADES,
    annotations_dir,
    load_activities,
    load_muscles,
    normalise_name,
    read_table,
    split_list,
)
from musclemap_data.errors import UserError

ROWS = {row["slug"]: row for row in main_rows(annotations_dir())}
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
    return load_sources(annotations_dir(), frozenset(load_exercises(annotations_dir())))


@pytest.fixture(scope="module")
def graded() -> dict[str, GradedRow]:
    return grade_activities(annotations_dir())


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return gather_evidence(annotations_dir())


@pytest.fixture(scope="module")
def decisions() -> str:
    return (annotations_dir() / "decisions.md").read_text(encoding="utf-8")


def test_committed_tables_are_what_the_sources_yield() -> None:
    for path, text in derive.derive_all(annotations_dir()).items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run annotations.derive"


def test_committed_document_is_what_the_tables_yield(evidence: Evidence) -> None:
    path = annotations_dir().parent / "docs" / "activities.md"
    text = derive.activities_markdown(load_activities(), evidence)
    assert path.read_text(encoding="utf-8") == text


def test_check_succeeds_and_prints_the_agreement_of_the_readme(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert derive.main(["--check"]) == 0
    printed = capsys.readouterr().out
    assert all(f"| {muscle.name} |" in printed for muscle in load_muscles())
    readme = (annotations_dir() / "README.md").read_text(encoding="utf-8")
    assert printed.strip() in readme, "the figures in annotations/README.md are stale"


def test_every_source_resolves_and_is_used(sources: Sources) -> None:
    other = [
        row for name in derive.OTHER_TABLES for row in derive.other_rows(annotations_dir(), name)
    ]
    for column, table in (
        ("rules", sources.rules),
        ("figures", sources.figures),
        ("fed", sources.exercises),
    ):
        named = {name for row in [*ROWS.values(), *other] for name in split_list(row[column])}
        assert named == set(table)
    assert {activity for activity, _ in sources.decisions} <= set(ROWS)


# -- grades -------------------------------------------------------------------------------------


def test_every_active_cell_has_a_rule_a_source_or_a_decision(
    graded: dict[str, GradedRow], evidence: Evidence
) -> None:
    for slug, row in graded.items():
        for region, grade in row.grades.items():
            assert bool(grade) <= bool(row.given_by[region]), (slug, region)
    orphan = {**graded["squat"].given_by, "gluteus": ()}
    with pytest.raises(UserError, match="squat: gluteus has no rule, source or decision"):
        cell_rows({"squat": replace(graded["squat"], given_by=orphan)}, evidence)


def test_the_highest_rule_wins_and_a_decision_overrules(sources: Sources) -> None:
    push_up = grade_row(ROWS["push_up"], sources)
    assert push_up.grades["chest"] == 1.0  # a stabiliser by one rule, a prime mover by another
    assert push_up.given_by["chest"] == ("rule:front_support_hands", "rule:horizontal_push")
    decided = replace(sources, decisions={("push_up", "chest"): Decision(0.34, "why not")})
    row = grade_row(ROWS["push_up"], decided)
    assert row.grades["chest"] == 0.34
    assert row.given_by["chest"][-1] == row.sources[-1] == "decision:push_up"


def test_a_figure_alone_makes_a_stabiliser(graded: dict[str, GradedRow]) -> None:
    row = graded["side_leg_raise"]
    assert row.given_by["latissimus"] == ("figure:demo/gradcam.pdf#5",)
    assert row.grades["latissimus"] == STABILISER


def test_the_database_gives_no_grade(sources: Sources) -> None:
    without = grade_row({**ROWS["box_jump"], "fed": ""}, sources)
    assert without.grades == grade_row(ROWS["box_jump"], sources).grades


def test_unknown_names_and_useless_decisions_are_refused(sources: Sources) -> None:
    row = ROWS["push_up"]
    for change, message in (
        ({"rules": "levitation"}, "no rule 'levitation'"),
        ({"fed": "Nonsense"}, "no fed 'Nonsense'"),
        ({"rules": "", "figures": ""}, "no rule, source or decision makes a region active"),
    ):
        with pytest.raises(UserError, match=message):
            grade_row({**row, **change}, sources)
    useless = replace(sources, decisions={("push_up", "chest"): Decision(1.0, "as it is")})
    with pytest.raises(UserError, match="the decision on chest changes nothing"):
        grade_row(row, useless)


def test_a_rule_with_a_region_twice_or_none_is_refused(tmp_path: Path) -> None:
    header = "rule,prime_mover,synergist,stabiliser,active_when,justification\n"
    path = tmp_path / "rules.csv"
    for line in ("a,chest,chest,,x,y", "a,tail,,,x,y", "a,,,,x,y", "a,chest,,,x,y\na,chest,,,x,y"):
        path.write_text(header + line + "\n")
        with pytest.raises(UserError, match=r"rules\.csv: line \d: "):
            load_rules(path)


def test_siblings_differ_only_where_a_rule_a_figure_or_a_decision_says_so(
    sources: Sources, graded: dict[str, GradedRow]
) -> None:
    """Two activities of a family differ in a cell only by what one of them names and not both."""
    tables = {"rules": sources.rules, "figures": sources.figures}
    for a, b in combinations(ROWS, 2):
        if ROWS[a]["family"] != ROWS[b]["family"]:
            continue
        apart = {
            (region, grade)
            for column, table in tables.items()
            for name in set(split_list(ROWS[a][column])) ^ set(split_list(ROWS[b][column]))
            for region, grade in table[name].items()
        }
        explained = {region for region, _ in apart}
        explained |= {region for slug, region in sources.decisions if slug in (a, b)}
        for region in region_slugs():
            if graded[a].grades[region] != graded[b].grades[region]:
                assert region in explained, (a, b, region)


def test_wrists_stand_without_forearms_only_where_a_rule_gives_the_reason(
    graded: dict[str, GradedRow], decisions: str
) -> None:
    section = decisions.split("### wrists-and-forearms\n")[1].split("\n###")[0]
    reasoned = {"rule:hands_bear_weight", "rule:press_grip"}
    assert all(f"`{name.removeprefix('rule:')}`" in section for name in reasoned)
    justified = {
        row["rule"]: row["justification"]
        for _, row in read_table(
            annotations_dir() / "movement_rules.csv",
            ("rule", "prime_mover", "synergist", "stabiliser", "active_when", "justification"),
        )
    }
    assert all("no forearms" in justified[name.removeprefix("rule:")] for name in reasoned)
    for slug, row in graded.items():
        if row.grades["wrists"] and not row.grades["forearms"]:
            assert set(row.given_by["wrists"]) <= reasoned, slug


def test_measurements_are_followed(graded: dict[str, GradedRow], evidence: Evidence) -> None:
    for (slug, region), verdicts in evidence.emg.items():
        active = graded[slug].grades[region] > 0
        assert not ("1" in verdicts and not active), (slug, region)
        assert not ("0" in verdicts and active), (slug, region)


# -- evidence and confidence --------------------------------------------------------------------


def evidence_of(counts: tuple[int, int], second: float, emg: tuple[str, ...] = ()) -> Evidence:
    cell = ("squat", "calves")
    return Evidence({cell: counts}, {}, {}, {cell: second}, {cell: emg})


@pytest.mark.parametrize(
    ("grade", "counts", "second", "emg", "expected"),
    [
        (1.0, (5, 8), 1.0, (), "high"),
        (0.0, (0, 8), 0.0, (), "high"),
        (0.34, (0, 8), 0.34, (), "medium"),  # silence says nothing against a stabiliser
        (0.34, (0, 8), 0.0, (), "low"),
        (0.67, (0, 8), 0.67, (), "medium"),  # but it does against a synergist
        (0.67, (0, 8), 0.0, (), "low"),
        (0.0, (3, 7), 0.34, (), "low"),
        (0.0, (3, 7), 0.0, (), "medium"),
        (0.67, (1, 8), 0.67, ("1",), "high"),
        (0.67, (1, 8), 0.0, ("1",), "medium"),
        (0.67, (1, 8), 0.67, ("0",), "low"),
        (0.34, (1, 2), 0.34, ("?",), "medium"),
    ],
)
def test_confidence(
    grade: float, counts: tuple[int, int], second: float, emg: tuple[str, ...], expected: str
) -> None:
    known = evidence_of(counts, second, emg)
    assert confidence_of(("squat", "calves"), grade, known) == expected


def test_the_database_is_silent_where_it_has_no_word() -> None:
    directory = annotations_dir()
    words = frozenset(["chest", "calves", "shoulder", "neck_and_head"])
    said = opinion([load_exercises(directory)["Standing_Dumbbell_Calf_Raise"]], words)
    assert said["calves"] == 1.0
    assert said["chest"] == 0.0
    assert "feet_ankles" not in said and "wrists" not in said
    assert opinion([], words) == {}


def test_evidence_is_that_of_the_task(shared_dir: Path, evidence: Evidence) -> None:
    with (shared_dir / "labels" / "evidence.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            cell = (row["activity"], row["region"])
            counts = (int(row["n_naming"]), int(row["n_sources_speaking"]))
            assert evidence.counts[cell] == counts
            for ours, theirs in ((evidence.fed, row["FED"]), (evidence.glowupp, row["GLOW"])):
                assert ours.get(cell) == (float(theirs) if theirs else None), cell
            assert evidence.second[cell] == float(row["second_grade"])
            assert "|".join(evidence.emg[cell]) == row["emg_verdict"]


def test_every_region_that_sources_name_against_us_is_argued(
    graded: dict[str, GradedRow], evidence: Evidence, decisions: str
) -> None:
    """A region that two sources name, or that a shipped one calls primary, is set or argued."""
    for slug, row in graded.items():
        for region, grade in row.grades.items():
            cell = (slug, region)
            primary = 1.0 in (evidence.fed.get(cell), evidence.glowupp.get(cell))
            if not grade and (primary or evidence.counts[cell][0] >= 2):
                section = decisions.split("### named-by-sources-against-anatomy\n")[1]
                section = section.split("\n### ")[0] + decisions.split("## Database labels")[1]
                assert f"`{slug}`" in section, cell


# -- what was disputed --------------------------------------------------------------------------


def disputed() -> list[dict[str, str]]:
    columns = ("class", "activity", "region", "proposed", "outcome", "decision")
    return [row for _, row in read_table(annotations_dir() / "disputed.csv", columns)]


def test_every_disputed_cell_is_taken_or_argued(
    graded: dict[str, GradedRow], decisions: str
) -> None:
    headings = set(re.findall(r"^### (\S+)$", decisions, re.MULTILINE))
    for row in disputed():
        active = graded[row["activity"]].grades[row["region"]] > 0
        taken = active == (row["proposed"] == "1")
        assert row["outcome"] == ("taken" if taken else "declined"), row
        assert row["decision"] in headings, row
        assert row["class"] != "A" or taken, row
    assert {row["decision"] for row in disputed()} <= headings


def test_the_disputed_cells_are_those_of_the_task(shared_dir: Path) -> None:
    with (shared_dir / "labels" / "label_errors.csv").open(newline="") as file:
        asked = {
            (r["class"], r["activity"], r["region"], r["should_be"]) for r in csv.DictReader(file)
        }
    ours = {(r["class"], r["activity"], r["region"], r["proposed"]) for r in disputed()}
    assert ours == asked


# -- the sources themselves ---------------------------------------------------------------------


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
        for name in split_list(ROWS[activity.slug]["fed"]):
            for word in primary[name]:
                regions = set(FED_WORDS.get(word, word).split("|"))
                assert regions <= set(activity.regions()), (activity.slug, name, word)
                checked += 1
    assert checked > 80


def test_vocabulary_agrees_with_the_mapping_of_the_task(shared_dir: Path) -> None:
    columns = ("source", "source_muscle", "musclemap_region(s)", "note")
    slugs = {m.slug for m in load_muscles()}
    ours = load_vocabulary(annotations_dir())
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
    assert {name: set(grades) for name, grades in sources.figures.items()} == expected
    assert {g for grades in sources.figures.values() for g in grades.values()} == {GRADES[1]}
