"""Reading and validating the tables of annotations/."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from musclemap_data.catalog import (
    annotations_dir,
    find_muscle,
    load_activities,
    load_muscles,
    normalise_name,
)
from musclemap_data.errors import UserError

CANONICAL = [
    "neck_and_head",
    "chest",
    "shoulder",
    "biceps",
    "triceps",
    "forearms",
    "upper_back",
    "latissimus",
    "obliques",
    "upper_abdominis",
    "lower_abdominis",
    "lower_back",
    "hamstring",
    "quadriceps",
    "calves",
    "inner_thigh",
    "outer_thigh",
    "gluteus",
    "feet_ankles",
    "wrists",
]

Edit = Callable[[list[dict[str, str]]], None]


def edited_table(tmp_path: Path, edit: Edit) -> Path:
    """The first three activities with one change made to them."""
    with (annotations_dir() / "activities.csv").open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows, columns = [row for row, _ in zip(reader, range(3), strict=False)], reader.fieldnames
    edit(rows)
    path = tmp_path / "activities.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns or [])
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_muscles_are_the_twenty_in_canonical_order() -> None:
    muscles = load_muscles()
    assert [m.slug for m in muscles] == CANONICAL
    assert [m.index for m in muscles] == list(range(20))
    for muscle in muscles:
        assert muscle.description and muscle.anatomy and muscle.aliases


@pytest.mark.parametrize("name", ["push_up", "Push-Up", "  press up ", "pushups", "PUSH UPS"])
def test_names_and_aliases_are_the_same_in_any_spelling(name: str) -> None:
    push_up = load_activities()["push_up"]
    names = (push_up.slug, push_up.name, *push_up.aliases)
    assert normalise_name(name) in {normalise_name(each) for each in names}


def test_regions_are_the_active_columns() -> None:
    squat = load_activities()["squat"]
    assert squat.regions() == ("hamstring", "quadriceps", "calves", "inner_thigh", "gluteus")
    strict = [m.slug for m, on in zip(load_muscles(), squat.strict, strict=True) if on]
    assert strict == ["quadriceps", "gluteus"]
    assert squat.grades[12:15] == (0.34, 1.0, 0.34)


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("lower abs", "lower_abdominis"),
        ("ankles and feet", "feet_ankles"),
        ("Feet-ankles", "feet_ankles"),
        ("glutes", "gluteus"),
        ("LATS", "latissimus"),
    ],
)
def test_regions_are_found_by_the_names_people_use(name: str, slug: str) -> None:
    found = find_muscle(name)
    assert found is not None and found.slug == slug


def test_a_name_of_several_regions_or_of_none_is_not_found() -> None:
    assert find_muscle("abdominals") is None
    assert find_muscle("tail") is None


def test_plain_names_are_unique_and_lead_back() -> None:
    for muscle in load_muscles():
        assert find_muscle(muscle.plain) == muscle


def test_a_table_may_carry_grades_in_its_cells(tmp_path: Path) -> None:
    def edit(rows: list[dict[str, str]]) -> None:
        rows[0].update({"chest": "0.34", "biceps": "0.67"})

    activity = next(iter(load_activities(edited_table(tmp_path, edit)).values()))
    assert activity.grades[1:4] == (0.34, 1.0, 0.67)
    assert activity.muscles[1:4] == (True, True, True)
    assert activity.strict[1:4] == (False, True, True)


def test_grades_that_contradict_the_labels_beside_them_are_refused(tmp_path: Path) -> None:
    path = edited_table(tmp_path, _set(0, "chest", "1"))
    cells = (annotations_dir() / "grades.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "grades.csv").write_text("\n".join(cells[:61]) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="arm_circle: its grades are not those of the labels"):
        load_activities(path)


def test_the_unedited_rows_are_accepted(tmp_path: Path) -> None:
    assert len(load_activities(edited_table(tmp_path, lambda rows: None))) == 3


def _set(index: int, column: str, value: str) -> Edit:
    def edit(rows: list[dict[str, str]]) -> None:
        rows[index][column] = value

    return edit


def _no_region(rows: list[dict[str, str]]) -> None:
    rows[0].update(dict.fromkeys(CANONICAL, "0"))


def _same_slug(rows: list[dict[str, str]]) -> None:
    rows[2]["slug"] = rows[0]["slug"]


def _alias_is_a_slug(rows: list[dict[str, str]]) -> None:
    rows[2]["aliases"] = rows[0]["slug"].replace("_", "-")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_set(0, "slug", "Push Up"), "line 2: slug 'Push Up'"),
        (_set(1, "chest", "yes"), "line 3: chest is 'yes', allowed: 0, 0.34, 0.67, 1"),
        (_set(1, "new", ""), "line 3: new is ''"),
        (_set(2, "confidence", "sure"), "line 4: confidence is 'sure'"),
        (_set(2, "sources", ""), "line 4: sources is empty"),
        (_set(2, "sources", "hearsay:bob"), "'hearsay:bob' has no known kind"),
        (_set(0, "family", " "), "line 2: family is empty"),
        (_no_region, "line 2: no region is active"),
        (_same_slug, "line 4: name 'arm_circle' is already used on line 2"),
        (_alias_is_a_slug, "line 4: name 'arm_circle' is already used on line 2"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path: Path, edit: Edit, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_activities(edited_table(tmp_path, edit))
    assert message in str(caught.value)


def test_all_faults_are_shown_at_once(tmp_path: Path) -> None:
    def edit(rows: list[dict[str, str]]) -> None:
        rows[0]["new"], rows[2]["confidence"] = "2", "none"

    with pytest.raises(UserError, match=r"2 problem\(s\)\n  line 2: .*\n  line 4: "):
        load_activities(edited_table(tmp_path, edit))


def test_a_missing_file_and_wrong_columns_are_user_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_activities(tmp_path / "absent.csv")
    (tmp_path / "short.csv").write_text("slug,name\na,b\n")
    with pytest.raises(UserError, match=r"line 1: wrong columns; missing: aliases"):
        load_activities(tmp_path / "short.csv")


def test_real_clip_activities_resolve(shared_dir: Path) -> None:
    not_exercises = {"corpse_pose", "lotus_pose", "childs_pose", "calf_stretch"}
    names = {
        normalise_name(name)
        for a in load_activities().values()
        for name in (a.slug, a.name, *a.aliases)
    }
    with (shared_dir / "real_clips" / "clips.csv").open(newline="") as file:
        found = {row["activity"] for row in csv.DictReader(file)}
    assert {name for name in found if name not in names} == not_exercises
