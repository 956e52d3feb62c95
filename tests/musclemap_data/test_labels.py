"""Label tables: reading them in any spelling, agreement, blank sheets, and the verbs on them."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cli import app
from musclemap_data.catalog import load_activities, load_muscles
from musclemap_data.errors import UserError
from musclemap_data.labels import (
    agreement,
    blank_sheet,
    changes,
    cohen_kappa,
    doubts,
    krippendorff_alpha,
    load_cells,
    read_labels,
)

NAN = float("nan")


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["labels", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


# -- agreement, against values worked out by hand -------------------------------------------------


def test_kappa_of_a_worked_example() -> None:
    # 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: observed .7, expected .5 * .6 + .5 * .4 = .5.
    a = np.array([1] * 25 + [0] * 25, bool)
    b = np.array([1] * 20 + [0] * 5 + [1] * 10 + [0] * 15, bool)
    assert cohen_kappa(a, b) == pytest.approx(0.4)
    assert cohen_kappa(a, a) == 1
    assert cohen_kappa(a, ~a) == pytest.approx(-1)
    assert cohen_kappa(a | True, b | True) is None


def test_alpha_of_krippendorffs_own_example() -> None:
    """Krippendorff 2011, section E: four observers, twelve units: nominal .743, interval .849."""
    data = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
            [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
        ]
    )
    assert krippendorff_alpha(data, nominal=True) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(data) == pytest.approx(0.849, abs=5e-4)


def test_alpha_by_hand_and_where_it_is_undefined() -> None:
    # Units (0, 0), (0, 1), (1, 1): 2 of 6 ordered pairs within units differ, observed 1/3; of the
    # values 3 zeros and 3 ones 18 of 30 ordered pairs differ, expected 3/5; alpha 1 - 5/9.
    assert krippendorff_alpha(np.array([[0.0, 0, 1], [0, 1, 1]])) == pytest.approx(4 / 9)
    assert krippendorff_alpha(np.array([[1.0, 1], [1, 1]])) is None
    assert krippendorff_alpha(np.array([[1.0, NAN], [NAN, 0]])) is None


def test_agreement_counts_only_what_both_judge() -> None:
    a = {("squat", "chest"): 0.0, ("squat", "calves"): 0.34, ("squat", "gluteus"): 1.0}
    b = {("squat", "chest"): 0.0, ("squat", "calves"): 0.0, ("lunge", "gluteus"): 0.67}
    found = agreement(a, b)
    assert (found.cells, found.same) == (2, 0.5)
    assert agreement(a, a).alpha == 1
    with pytest.raises(UserError, match="no cell that both tables judge"):
        agreement(a, {("lunge", "chest"): 1.0})


def test_a_table_without_grades_is_compared_by_active_or_not() -> None:
    graded = {("squat", "chest"): 0.0, ("squat", "calves"): 0.34, ("squat", "gluteus"): 1.0}
    plain = {("squat", "chest"): 0.0, ("squat", "calves"): 1.0, ("squat", "gluteus"): 1.0}
    found = agreement(graded, plain)
    assert (found.kappa, found.strict_kappa, found.alpha) == (1, None, 1)
    assert changes(graded, plain) == []
    regraded = {**graded, ("squat", "calves"): 0.67}
    assert changes(graded, regraded) == [(("squat", "calves"), 0.34, 0.67)]


# -- reading ---------------------------------------------------------------------------------------


def test_plain_names_of_activities_and_regions_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "activity,lower abs,Ankles and feet,notes", "Push ups,0.34,,x")
    assert read_labels(path) == {("push_up", "lower_abdominis"): 0.34}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("name,chest", "squat,1"), "line 1: a column slug or activity must name"),
        (("activity,tail", "squat,1"), "line 1: no column names a"),
        (("activity,glutes,gluteus", "squat,1,1"), "line 1: two columns for gluteus"),
        (("activity,chest", "juggling,1"), "line 2: 'juggling' is not one of our activities"),
        (("activity,chest", "squat,1", "squats,0"), "line 3: 'squats' is there twice"),
        (("activity,chest", "squat,0.5"), "line 2: chest is '0.5', allowed: 0, 0.34, 0.67, 1, em"),
        (("activity,chest", "squat,yes"), "line 2: chest is 'yes'"),
        (("activity,chest", "squat,"), "no cell is filled in"),
    ],
)
def test_faults_of_a_table_are_named(tmp_path: Path, lines: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        read_labels(write(tmp_path / "t.csv", *lines))


def test_the_bundled_table_by_name_and_by_path_is_the_same() -> None:
    ours = read_labels("musclemap")
    assert len(ours) == 2700
    assert ours["squat", "calves"] == 0.34
    assert {grade for grade in read_labels("open-1").values()} == {0.0, 1.0}
    assert len(changes(read_labels("open-1"), ours)) == 149


def test_doubts_are_cells_that_sources_or_emg_contradict() -> None:
    found = doubts({("lunge", "outer_thigh"): 0.0, ("squat", "quadriceps"): 0.0})
    assert found == [
        "lunge: outer_thigh is 0, but EMG says the opposite",
        "squat: quadriceps is not active, though 7 of 7 sources name it",
    ]
    assert not [line for line in doubts(read_labels("musclemap")) if "EMG" in line]


# -- the sheet -------------------------------------------------------------------------------------


def test_a_sheet_is_blank_repeatable_and_of_all_families() -> None:
    rows = blank_sheet()
    assert rows == blank_sheet() != blank_sheet(seed=1)
    assert len(rows) == 46
    assert all(set(row[3:]) == {""} for row in rows[1:])
    activities = load_activities()
    everywhere = Counter(a.family for a in activities.values())
    on_sheet = Counter(activities[row[0]].family for row in rows[1:])
    for family, count in everywhere.items():
        assert abs(on_sheet[family] - count / 3) <= 1, family
    with pytest.raises(UserError, match="136 activities; choose 1 to 135"):
        blank_sheet(136)


# -- the verbs -------------------------------------------------------------------------------------


def test_show_gives_grades_sources_and_a_picture_in_three_shades(tmp_path: Path) -> None:
    picture = tmp_path / "squat.svg"
    text = run("show", "Air squats", "--svg", picture, code=2)
    assert "did you mean 'squat'" in text
    text = run("show", "air squat", "--svg", picture)
    line = next(line for line in text.splitlines() if line.startswith("quadriceps"))
    assert line.split()[1:6] == ["prime", "mover", "7", "of", "7"]
    assert "rule:squat" in line
    assert not any(line.startswith("biceps") for line in text.splitlines())
    drawn = picture.read_text(encoding="utf-8")
    assert "quadriceps: prime mover" in drawn and "calves: stabiliser" in drawn


def test_show_by_plain_names_and_as_json() -> None:
    assert "quads" in run("show", "squat", "--names", "plain")
    cells = json.loads(run("show", "squat", "--json"))["regions"]
    assert set(cells) == {muscle.slug for muscle in load_muscles()}
    assert cells["calves"]["grade"] == load_cells()["squat", "calves"].grade == 0.34


def test_diff_lists_changed_cells() -> None:
    text = run("diff", "open-1", "musclemap")
    assert "149 of 2700 cells that both tables judge differ" in text
    found = json.loads(run("diff", "open-1", "musclemap", "--json", "--names", "plain"))
    assert {"activity": "push_up", "region": "lats", "old": 1.0, "new": 0.0} in found


def test_check_tells_doubts_by_its_exit_code(tmp_path: Path) -> None:
    good = write(tmp_path / "good.csv", "activity,quads,chest", "squat,1,0")
    assert "2 cells of 1 activities" in run("check", good)
    bad = write(tmp_path / "bad.csv", "activity,quads,chest", "squat,0,0")
    assert "7 of 7 sources name it" in run("check", bad, code=1)
    run("check", write(tmp_path / "no.csv", "activity,tail", "squat,0"), code=2)


def test_a_filled_in_sheet_goes_through_agreement(tmp_path: Path) -> None:
    blank = tmp_path / "sheet.csv"
    run("sheet", "--out", blank, "--activities", 5)
    run("sheet", "--out", blank, code=2)  # a sheet is never overwritten
    ours = read_labels("musclemap")
    with blank.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row |= {m.slug: f"{ours[row['activity'], m.slug]:g}" for m in load_muscles()[1:]}
    filled = tmp_path / "filled.csv"
    with filled.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    table = run("agreement", filled, "musclemap", "--names", "plain")
    assert table.splitlines()[1].split() == ["all", "95", "100.0%", "1.00", "1.00", "1.00"]
    assert not any(line.startswith("neck") for line in table.splitlines())  # nobody judged it
