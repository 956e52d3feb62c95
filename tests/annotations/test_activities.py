"""Static checks on the 135 activities and on the tables of other data sets."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from annotations.derive import OTHER_TABLES
from musclemap_data.catalog import (
    Activity,
    annotations_dir,
    load_activities,
    load_muscles,
    normalise_name,
    read_table,
)

HELD_OUT = [
    "hollow_hold",
    "v_ups",
    "calf_raise_hold",
    "modified_scissors",
    "scissors",
    "reverse_crunches",
    "march_twists",
    "hops_on_the_spot",
    "up_and_down_planks",
    "diamond_push_ups",
    "running",
    "plank_jacks",
    "archer_push_ups",
    "front_kicks",
    "triceps_dip_hold",
    "side_plank_rotation",
    "raised_leg_push_ups",
    "reverse_plank_kick",
    "circle_push_ups",
    "shoulder_taps",
]
CLASSES = {"ucf101": 101, "hmdb51": 51, "kinetics": 37, "penn_action": 15}
PENN_EXERCISES = [
    "bench_press",
    "clean_and_jerk",
    "jump_rope",
    "jumping_jacks",
    "pullup",
    "pushup",
    "situp",
    "squat",
]


@pytest.fixture(scope="module")
def activities() -> dict[str, Activity]:
    return load_activities()


def table(name: str) -> dict[str, Activity]:
    return load_activities(annotations_dir() / "other" / f"{name}.csv")


def test_there_are_135_and_the_20_of_the_fixed_list_are_new(
    activities: dict[str, Activity],
) -> None:
    assert len(activities) == 135
    assert {a.slug for a in activities.values() if a.new} == set(HELD_OUT)


def test_every_region_has_known_and_new_activities(activities: dict[str, Activity]) -> None:
    for muscle in load_muscles():
        hits = Counter(a.new for a in activities.values() if a.muscles[muscle.index])
        assert hits[False] >= 8, muscle.slug
        assert hits[True] >= 2, muscle.slug


def test_no_new_label_set_equals_a_known_one(activities: dict[str, Activity]) -> None:
    known = {a.muscles: a.slug for a in activities.values() if not a.new}
    for activity in activities.values():
        if activity.new:
            assert activity.muscles not in known, (activity.slug, known.get(activity.muscles))


def test_slugs_names_and_aliases_never_mean_two_activities(
    activities: dict[str, Activity],
) -> None:
    owners: dict[str, set[str]] = {}
    for a in activities.values():
        for name in (a.slug, a.name, *a.aliases):
            owners.setdefault(normalise_name(name), set()).add(a.slug)
    assert {name: slugs for name, slugs in owners.items() if len(slugs) > 1} == {}


def test_every_row_is_complete(activities: dict[str, Activity]) -> None:
    for a in activities.values():
        assert a.description.endswith("."), a.slug
        assert a.sources and a.family and a.name, a.slug


def test_penn_action_exercises_are_activities(activities: dict[str, Activity]) -> None:
    names = {
        normalise_name(name) for a in activities.values() for name in (a.slug, a.name, *a.aliases)
    }
    assert names.issuperset(PENN_EXERCISES)


@pytest.mark.parametrize("name", OTHER_TABLES)
def test_other_table_covers_or_excuses_every_class(name: str) -> None:
    columns = ("dataset", "class", "reason")
    excused = {
        row["class"]
        for _, row in read_table(annotations_dir() / "other" / "not_covered.csv", columns)
        if row["dataset"] == name and row["reason"]
    }
    covered = {a.name for a in table(name).values()}
    assert not covered & excused
    assert len(covered | excused) == CLASSES[name]


@pytest.mark.parametrize("name", OTHER_TABLES)
def test_other_table_can_train_and_score_every_new_class(name: str) -> None:
    rows = table(name).values()
    known = [a for a in rows if not a.new]
    assert all(any(a.muscles[m.index] for a in known) for m in load_muscles()), "untrained region"
    assert not {a.muscles for a in rows if a.new} & {a.muscles for a in known}


@pytest.mark.parametrize("name", OTHER_TABLES)
def test_other_table_takes_over_the_labels_of_our_activities(
    name: str, activities: dict[str, Activity]
) -> None:
    taken_over = 0
    for row in table(name).values():
        for source in row.sources:
            if match := re.fullmatch(r"activity:(\w+)", source):
                ours = activities[match[1]]
                assert all(b or not a for a, b in zip(ours.muscles, row.muscles, strict=True))
                taken_over += 1
    assert taken_over >= 8
