"""Static checks on the 135 activities and on the tables of other data sets."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from annotations.derive import OTHER_TABLES
from annotations.derive_videos import MANIFEST_COLUMNS
from musclemap_data.catalog import (
    GRADES,
    Activity,
    annotations_dir,
    load_activities,
    load_muscles,
    load_table,
    normalise_name,
    read_table,
)
from musclemap_data.splits import held_out

SIDES = ("val", "test")

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


def test_there_are_135_and_20_are_new(activities: dict[str, Activity]) -> None:
    assert len(activities) == 135
    assert {a.slug for a in activities.values() if a.new} == set(held_out())
    assert len(held_out()) == 20


def test_most_recalled_names_stay_new() -> None:
    recalled = set(held_out("open-1"))
    assert len(recalled) == 20
    assert len(recalled & set(held_out())) == 14


def test_validation_and_test_have_different_new_activities_with_all_regions(
    activities: dict[str, Activity],
) -> None:
    sides = {side: [activities[s] for s, at in held_out().items() if at == side] for side in SIDES}
    assert len(sides["val"]) == 7 and len(sides["test"]) == 13
    assert not {a.muscles for a in sides["val"]} & {a.muscles for a in sides["test"]}
    for side, members in sides.items():
        for muscle in load_muscles():
            assert any(a.muscles[muscle.index] for a in members), (side, muscle.slug)


def test_every_region_has_known_and_new_activities(activities: dict[str, Activity]) -> None:
    for muscle in load_muscles():
        hits = Counter(a.new for a in activities.values() if a.muscles[muscle.index])
        assert hits[False] >= (6 if muscle.slug == "neck_and_head" else 8), muscle.slug
        assert hits[True] >= 2, muscle.slug


@pytest.mark.parametrize("videos", [False, True])
def test_no_new_label_set_equals_a_known_one(activities: dict[str, Activity], videos: bool) -> None:
    held = held_out(videos=videos)
    listed = set(activities)
    if videos:  # among the activities that the video manifests hold
        table = read_table(annotations_dir() / "videos" / "default.csv", MANIFEST_COLUMNS)
        listed = {row["activity"] for _, row in table}
    known = {activities[slug].muscles: slug for slug in listed - set(held)}
    for slug in listed & set(held):
        assert activities[slug].muscles not in known, (slug, known[activities[slug].muscles])


def test_grades_are_of_the_four_steps_and_strict_is_within_binary(
    activities: dict[str, Activity],
) -> None:
    for a in activities.values():
        assert set(a.grades) <= set(GRADES), a.slug
        assert a.muscles == tuple(grade > 0 for grade in a.grades), a.slug
        assert all(active or not strict for active, strict in zip(a.muscles, a.strict, strict=True))
        assert 1.0 in a.grades, f"{a.slug} has no prime mover"


def test_earlier_labels_stay_readable(activities: dict[str, Activity]) -> None:
    earlier = load_table("open-1")
    assert set(earlier) == set(activities)
    assert {a.slug for a in earlier.values() if a.new} == set(held_out("open-1"))
    assert earlier["push_up"].muscles != activities["push_up"].muscles


def test_slugs_names_and_aliases_never_mean_two_activities(
    activities: dict[str, Activity],
) -> None:
    owners: dict[str, set[str]] = {}
    for a in activities.values():
        for name in (a.slug, a.name, *a.aliases):
            owners.setdefault(normalise_name(name), set()).add(a.slug)
    assert {name: slugs for name, slugs in owners.items() if len(slugs) > 1} == {}


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
    for muscle in load_muscles():
        scored = any(a.muscles[muscle.index] for a in rows if a.new)
        assert not scored or any(a.muscles[muscle.index] for a in known), muscle.slug
    assert not {a.muscles for a in rows if a.new} & {a.muscles for a in known}


@pytest.mark.parametrize("name", OTHER_TABLES)
def test_other_table_takes_over_the_grades_of_our_activities(
    name: str, activities: dict[str, Activity]
) -> None:
    taken_over = 0
    for row in table(name).values():
        for source in row.sources:
            if match := re.fullmatch(r"activity:(\w+)", source):
                ours = activities[match[1]]
                assert all(a <= b for a, b in zip(ours.grades, row.grades, strict=True))
                taken_over += 1
    assert taken_over >= 8
