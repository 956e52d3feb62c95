"""The shipped manifests of real videos."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import pytest

from annotations.derive_videos import (
    MANIFEST_COLUMNS,
    MAX_CLIP_S,
    MIN_CLIP_S,
    PUBLIC_SETS,
    SEGMENT_COLUMNS,
    Segment,
    derive_manifests,
    load_class_map,
    manifest_rows,
    select_segments,
)
from musclemap_data.catalog import (
    NEW_SPLITS,
    SPLITS,
    annotations_dir,
    load_activities,
    load_muscles,
    read_table,
)
from musclemap_data.errors import UserError
from musclemap_data.splits import held_out, partition_of, split_of

VIDEOS = annotations_dir() / "videos"


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    return [row for _, row in read_table(VIDEOS / "default.csv", MANIFEST_COLUMNS)]


def test_thousands_of_clips_in_all_splits(rows: list[dict[str, str]]) -> None:
    sizes = Counter(row["split"] for row in rows)
    assert set(sizes) == set(SPLITS)
    assert len(rows) > 3000 and min(sizes.values()) > 100


def test_rows_are_well_formed(rows: list[dict[str, str]]) -> None:
    activities = load_activities()
    assert len({row["clip_id"] for row in rows}) == len(rows)
    licences = {p.name: p.licence for p in PUBLIC_SETS.values()}
    for row in rows:
        assert re.fullmatch(r"yt_[A-Za-z0-9_-]{11}_\d{7}_\d{7}", row["clip_id"])
        assert row["url"] == f"https://www.youtube.com/watch?v={row['video_id']}"
        seconds = float(row["end_s"]) - float(row["start_s"])
        assert MIN_CLIP_S - 0.02 <= seconds <= MAX_CLIP_S + 0.02
        assert row["activity"] in activities
        assert row["licence"] == licences[row["source"]]


def test_no_video_is_on_two_sides(rows: list[dict[str, str]]) -> None:
    sides = defaultdict(set)
    for row in rows:
        sides[row["video_id"]].add(row["split"].split("_")[0])
    assert {video: s for video, s in sides.items() if len(s) > 1} == {}


def test_an_activity_is_known_or_new_and_splits_are_those_of_the_ids(
    rows: list[dict[str, str]],
) -> None:
    new = held_out(videos=True)
    assert {slug for slug, a in load_activities().items() if a.new} <= set(new)
    for row in rows:
        is_new = row["activity"] in new
        assert (row["split"] in NEW_SPLITS) == is_new
        side = new.get(row["activity"])
        assert row["split"] == split_of(row["video_id"], new=is_new, side=side)


def test_no_new_activity_is_validated_and_tested_on(rows: list[dict[str, str]]) -> None:
    shown = {split: {row["activity"] for row in rows if row["split"] == split} for split in SPLITS}
    assert not shown["val_new"] & shown["test_new"]
    assert len(shown["val_new"]) >= 3 and len(shown["test_new"]) >= 4
    assert not (shown["val_new"] | shown["test_new"]) & (shown["train"] | shown["test_known"])


def test_clips_of_one_video_do_not_overlap(rows: list[dict[str, str]]) -> None:
    by_video = defaultdict(list)
    for row in rows:
        by_video[row["video_id"]].append((float(row["start_s"]), float(row["end_s"])))
    for spans in by_video.values():
        spans.sort()
        assert all(a[1] <= b[0] for a, b in pairwise(spans))


def test_new_splits_score_every_region_with_unseen_label_sets(rows: list[dict[str, str]]) -> None:
    activities = load_activities()
    labels = defaultdict(set)
    for row in rows:
        labels[row["split"]].add(activities[row["activity"]].muscles)
    for split in SPLITS:
        # Only snatch and clean have a working neck, and one label set: both are trained on.
        for muscle in load_muscles()[1 if split in NEW_SPLITS else 0 :]:
            assert any(m[muscle.index] for m in labels[split]), (split, muscle.slug)
    assert not labels["train"] & (labels["test_new"] | labels["val_new"])


def test_class_map_names_activities_and_gives_reasons() -> None:
    activities = load_activities()
    table = read_table(VIDEOS / "class_map.csv", ("dataset", "class", "activity", "reason"))
    for line, row in table:
        assert row["activity"] in activities or row["activity"] == "", line
        assert row["reason"], line


def test_a_new_activity_is_left_out_of_a_video_that_lies_on_another_side() -> None:
    def cut(video: str, start: float, activity: str) -> Segment:
        return Segment("kinetics600", video, start, start + 5, activity)

    side = {partition_of(video): video for video in (f"video_{i:05d}" for i in range(50))}
    rows, left_out = manifest_rows(
        [
            cut(side["val"], 0, "squat"),
            cut(side["val"], 10, "running"),
            cut(side["test"], 0, "kickboxing"),
            cut(side["train"], 0, "running"),
        ],
        {"running": "test", "kickboxing": "val"},
    )
    column = MANIFEST_COLUMNS.index("split")
    assert [row[column] for row in rows] == ["val_known", "val_new"]
    assert left_out == {
        "new activity in a video of the train side": 1,
        "new activity in a video with clips of another side": 1,
    }


def segment(
    source: str, start: float, end: float, activity: str, video: str = "v" * 11
) -> dict[str, str]:
    values = (source, video, str(start), str(end), activity, "val", "", "core")
    return dict(zip(SEGMENT_COLUMNS, values, strict=True))


def test_duplicates_long_short_and_disputed_segments() -> None:
    classes = load_class_map(VIDEOS)
    kept, fate = select_segments(
        [
            segment("kinetics400", 10, 20, "push up"),
            segment("kinetics600", 10, 20, "push up"),
            segment("activitynet1.3", 30, 70, "Doing crunches"),
            segment("activitynet1.3", 80, 81, "Doing crunches"),
            segment("kinetics600", 90, 100, "squat"),
            segment("kinetics600", 95, 105, "lunge"),
            segment("kinetics600", 10, 20, "yoga", "y" * 11),
            segment("countix(kinetics700)", 10, 20, "push up", "c" * 11),
        ],
        classes,
    )
    assert [(s.source, s.start_s, s.end_s, s.activity) for s in kept] == [
        ("kinetics600", 10, 20, "push_up"),
        ("activitynet1.3", 45, 55, "crunch"),
    ]
    assert fate["two activities for the same seconds"] == 2
    assert fate["same seconds already kept"] == 1
    assert fate["shorter than 2 s"] == fate["no activity of ours"] == fate["licence unclear"] == 1


def test_unmapped_classes_and_bad_ids_are_refused() -> None:
    classes = load_class_map(VIDEOS)
    with pytest.raises(UserError, match=r"not in class_map\.csv"):
        select_segments([segment("kinetics600", 0, 9, "juggling knives")], classes)
    with pytest.raises(UserError, match="not a YouTube id"):
        select_segments([segment("kinetics600", 0, 9, "push up", "../../x")], classes)


def test_manifests_are_what_the_public_segments_yield(shared_dir: Path) -> None:
    files, _ = derive_manifests(VIDEOS, shared_dir / "youtube" / "exercise_segments.csv")
    assert len(files) == 4
    for path, text in files.items():
        assert path.read_text(encoding="utf-8") == text, (
            f"{path.name}: run annotations.derive_videos"
        )
