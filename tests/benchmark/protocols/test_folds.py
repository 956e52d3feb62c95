"""Folds of activities: nothing that is scored as new, and no scored video, is ever trained on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.protocols.folds import activity_folds, family_folds, fold_splits, folds_to_run
from musclemap_data.catalog import load_activities
from musclemap_data.errors import UserError
from musclemap_data.shards import write_dataset_info
from musclemap_data.splits import split_of


@dataclass(frozen=True)
class Clip:
    clip_id: str
    video_id: str
    activity: str
    split: str


ACTIVITIES = tuple("abcdefghij")
NEW = set("hij")


@st.composite
def data_sets(draw: st.DrawFn) -> list[Clip]:
    """Clips of videos that show one or several activities, in splits as the data set makes them."""
    shown = draw(
        st.lists(
            st.lists(st.sampled_from(ACTIVITIES), min_size=1, max_size=4), min_size=1, max_size=40
        )
    )
    clips = []
    for video, activities in enumerate(shown):
        for number, activity in enumerate(activities):
            split = split_of(f"video{video}", new=activity in NEW)
            if split is not None:
                clips.append(Clip(f"{video}-{number}", f"video{video}", activity, split))
    return clips


FAMILIES = {name: "abc"[place % 3] for place, name in enumerate(ACTIVITIES)}


@given(data_sets(), st.integers(2, 5), st.booleans(), st.randoms())
def test_no_leak(clips, folds, by_family, random):
    activities = {clip.activity for clip in clips}
    families = FAMILIES if by_family else None
    if len({FAMILIES[name] for name in activities} if by_family else activities) < folds:
        with pytest.raises(UserError, match="too few"):
            fold_splits(clips, 1, folds, families)
        return
    fold_of = family_folds(activities, folds, FAMILIES) if by_family else None
    fold_of = fold_of or activity_folds(activities, folds)
    by_id = {clip.clip_id: clip for clip in clips}
    new_in = Counter()
    for fold in range(1, folds + 1):
        splits = fold_splits(clips, fold, folds, families)
        parts = {
            part: [by_id[name] for name, split in splits.items() if split == part]
            for part in ("train", "val_known", "val_new", "test_known", "test_new")
        }
        assert sum(map(len, parts.values())) == len(splits)
        trained = parts.pop("train")
        trained_videos = {clip.video_id for clip in trained}
        trained_activities = {clip.activity for clip in trained}
        videos = {}
        for part, scored in parts.items():
            assert not trained_videos & {clip.video_id for clip in scored}
            found = {clip.activity for clip in scored}
            if part.endswith("_new"):
                assert not found & trained_activities
            else:
                assert found <= trained_activities
            half = part.split("_")[0]
            videos[half] = videos.get(half, set()) | {clip.video_id for clip in scored}
        assert not videos["val"] & videos["test"]
        seen_in = {
            clip.video_id: part for part, scored in parts.items() for clip in scored
        } | dict.fromkeys(trained_videos, "train")  # fmt: skip
        fold_activities = {name for name, number in fold_of.items() if number == fold}
        new_in.update(fold_activities)
        # What a model is chosen on is not what it is tested on.
        chosen_on = {clip.activity for clip in parts["val_new"]}
        assert not chosen_on & {clip.activity for clip in parts["test_new"]}
        assert len(chosen_on) <= len(fold_activities) // 3
        for clip in clips:
            if clip.activity in fold_activities:
                # Left out only where its video is seen elsewhere.
                assert clip.clip_id in splits or clip.video_id in seen_in
        # Known clips keep the side that the data set gave them.
        for clip in clips:
            if clip.split == "train":
                assert splits.get(clip.clip_id) in ("train", "val_new", "test_new", None)
            elif clip.split.endswith("_known") and clip.activity not in fold_activities:
                assert splits.get(clip.clip_id) in (clip.split, None)
        shuffled = list(clips)
        random.shuffle(shuffled)
        assert fold_splits(shuffled, fold, folds, families) == splits
    assert new_in == dict.fromkeys(activities, 1)


def test_one_activity_a_video_is_scored_whole():
    """No clip of a new activity is lost where no video shows two."""
    clips = []
    for number in range(400):
        activity = ACTIVITIES[number % 10]
        split = split_of(f"v{number}", new=activity in NEW) or "test_new"  # as Penn Action's
        clips.append(Clip(str(number), f"v{number}", activity, split))
    for fold in (1, 2, 3, 4, 5):
        splits = fold_splits(clips, fold, 5)
        fold_of = activity_folds(ACTIVITIES, 5)
        assert len(splits) == 400
        for clip in clips:
            assert (fold_of[clip.activity] == fold) == splits[clip.clip_id].endswith("_new")
        # Activities that the data set holds out are trained on where they are not new.
        trained = {clip.activity for clip in clips if splits[clip.clip_id] == "train"}
        assert trained == {name for name in ACTIVITIES if fold_of[name] != fold}


def test_a_clip_in_a_trained_video_is_not_new():
    fold_of = activity_folds(["a", "b"], 2)
    clips = [
        Clip("1", "v1", "a", "train"),
        Clip("2", "v1", "b", "train"),
        Clip("3", "v2", "b", "train"),
        Clip("4", "v3", "a", "test_known"),
        Clip("5", "v3", "b", "test_known"),
    ]
    assert fold_splits(clips, fold_of["b"], 2) == {
        "1": "train", "3": "test_new", "4": "test_known", "5": "test_new"
    }  # fmt: skip


def test_an_activity_without_training_clips_is_not_known():
    clips = [
        Clip("1", "v1", "a", "train"),
        Clip("2", "v2", "b", "train"),
        Clip("3", "v3", "c", "val_known"),
    ]
    for fold in (1, 2, 3):
        splits = fold_splits(clips, fold, 3)
        assert splits.get("3") in (None, "test_new")


def test_folds_are_even_and_fixed():
    folds = activity_folds(ACTIVITIES, 4)
    assert sorted(Counter(folds.values()).values()) == [2, 2, 3, 3]
    assert activity_folds(reversed(ACTIVITIES), 4) == folds
    # Written down: another assignment would be another protocol.
    assert "".join(sorted(ACTIVITIES, key=folds.__getitem__)) == "cgjabfdehi"
    with pytest.raises(UserError, match="at least 2"):
        activity_folds(ACTIVITIES, 1)
    with pytest.raises(ValueError, match="from 1 to 4"):
        fold_splits([], 5, 4)


def test_families_stay_together_and_folds_are_as_even_as_they_allow():
    activities = load_activities()
    families = {slug: each.family for slug, each in activities.items()}
    folds = family_folds(activities, 5, families)
    assert folds == family_folds(reversed(list(activities)), 5, families)
    together = {family: {folds[s] for s in activities if families[s] == family}
                for family in set(families.values())}  # fmt: skip
    assert all(len(numbers) == 1 for numbers in together.values())
    assert sorted(Counter(folds.values()).values()) == [25, 27, 27, 27, 29]
    with pytest.raises(UserError, match=r"3 families.*too few for 4 folds"):
        family_folds(ACTIVITIES, 4, FAMILIES)
    with pytest.raises(UserError, match=r"1 of 11 .*the first is juggle.*activity-folds"):
        family_folds([*ACTIVITIES, "juggle"], 3, FAMILIES)


def test_families_come_from_the_table_that_the_data_set_was_built_with(tmp_path):
    write_dataset_info(tmp_path, {"name": "d", "activities": "penn_action"})
    first, *_ = folds_to_run("family-folds", 2, tmp_path)
    clips = [
        Clip(str(number), f"v{number}", activity, "train")
        for number, activity in enumerate(["tennis_serve", "golf_swing", "squat", "bench_press"])
    ]
    splits = first.assign(clips)
    assert splits["0"] == splits["1"]  # sport, both
    assert first.protocol == "family-folds"
    write_dataset_info(tmp_path, {"name": "d", "activities": "no-such-table"})
    with pytest.raises(UserError, match="no activity table"):
        folds_to_run("family-folds", 2, tmp_path)


def test_a_third_of_the_new_activities_is_for_validation_whatever_side_their_videos_lie_on():
    clips = [
        Clip(f"{name}{number}", f"{name}{number}", name, split)
        for name in ACTIVITIES[:6]
        for number, split in enumerate(["train", "val_known", "test_known"])
    ]
    for fold in (1, 2):
        splits = fold_splits(clips, fold, 2)
        new = {split: [name for name, each in splits.items() if each == split]
               for split in ("val_new", "test_new")}  # fmt: skip
        assert (len(new["val_new"]), len(new["test_new"])) == (3, 6)


def test_a_video_with_new_activities_of_both_sides_is_tested_on():
    fold_of = activity_folds(ACTIVITIES[:6], 2)
    clips = [Clip(name, "one", name, "test_known") for name in ACTIVITIES[:6]]
    clips += [Clip(f"{name}-t", f"{name}-t", name, "train") for name in ACTIVITIES[:6]]
    for fold in (1, 2):
        splits = fold_splits([c for c in clips if fold_of[c.activity] == fold], 1, 1 + 1)
        assert splits
        both = fold_splits(clips, fold, 2)
        assert "val_new" not in {both.get(name) for name in ACTIVITIES[:6]}
