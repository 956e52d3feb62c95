"""The second tier of the list of videos: whole demonstrations."""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest

from annotations.demonstrations import (
    DEMONSTRATION_COLUMNS,
    LIST_LICENCES,
    NOT_STATED,
    PAIR_COLUMNS,
    RESERVED,
    attribution,
    derive_demonstrations,
    load_decisions,
    select_pairs,
)
from musclemap_data.catalog import annotations_dir, load_activities, read_table
from musclemap_data.errors import UserError
from musclemap_data.manifest import DEMONSTRATION, Clip, bundled_manifests, partition, read_manifest
from musclemap_data.splits import held_out, split_of

VIDEOS = annotations_dir() / "videos"


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    return [row for _, row in read_table(VIDEOS / "demonstrations.csv", DEMONSTRATION_COLUMNS)]


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    """Of both tiers, each read as `download` reads it."""
    return [c for path in bundled_manifests() for c in read_manifest(path, load_activities())]


def test_ids_are_well_formed_and_none_looks_invented(rows: list[dict[str, str]]) -> None:
    ids = {row["video_id"] for row in rows}
    # An id has 64 bits: its last character carries four of them.
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{10}[AEIMQUYcgkosw048]", video) for video in ids)
    # An id that a language model made up begins or ends as a well-known one does.
    assert len({video[:5] for video in ids}) == len({video[-6:] for video in ids}) == len(ids)


def test_no_row_is_of_little_trust_and_unconfirmed(rows: list[dict[str, str]]) -> None:
    assert {row["tier"] for row in rows} == {DEMONSTRATION}
    assert {row["trust"] for row in rows} == {"A", "B", "C"}
    for row in rows:
        assert row["trust"] != "C" or int(row["independent_lists"]) > 1, row["clip_id"]


def test_every_licence_that_asks_for_it_is_attributed(rows: list[dict[str, str]]) -> None:
    named = {name for _, name in LIST_LICENCES} - {RESERVED} | {NOT_STATED}
    assert {name for row in rows for name in row["attribution"].split("; ")} <= named
    readme = " ".join((annotations_dir() / "README.md").read_text(encoding="utf-8").split())
    for name in named:
        assert (
            "author not known" in name or "Copyright" in name or name in ("Unlicense", NOT_STATED)
        )
        assert name in readme, f"{name} has no line in annotations/README.md"


def test_with_both_tiers_at_least_120_activities_have_a_video(clips: list[Clip]) -> None:
    assert len({clip.activity for clip in clips}) >= 120
    assert len({clip.activity for clip in clips if clip.tier != DEMONSTRATION}) < 40


def test_no_video_of_either_tier_is_on_two_sides(clips: list[Clip]) -> None:
    sides, tiers = defaultdict(set), defaultdict(set)
    for clip in clips:
        sides[clip.video_id].add(partition(clip.split))
        tiers[clip.video_id].add(clip.tier)
    assert not [video for video, found in sides.items() if len(found) > 1]
    assert not [video for video, found in tiers.items() if len(found) > 1]


def test_splits_are_those_of_the_ids_and_new_activities_are_never_trained_on(
    clips: list[Clip],
) -> None:
    new = held_out(videos=True)
    for clip in clips:
        is_new = clip.activity in new
        assert clip.split == split_of(clip.video_id, new=is_new, side=new.get(clip.activity))
        assert clip.split.endswith("_new") == is_new


def test_demonstrations_of_one_video_follow_one_another(clips: list[Clip]) -> None:
    by_video = defaultdict(list)
    for clip in clips:
        if clip.tier == DEMONSTRATION:
            by_video[clip.video_id].append(clip)
    several = [sorted(each, key=lambda c: c.start_s) for each in by_video.values() if len(each) > 1]
    assert several
    for first, then in (pair for each in several for pair in pairwise(each)):
        assert first.end_s is not None and first.end_s <= then.start_s


def pair(video: str, activity: str = "squat", **changes: str) -> dict[str, str]:
    values = dict.fromkeys(PAIR_COLUMNS, "")
    facts = {"independent_lists": "1", "confirmed": "0", "trust": "A", "licences": "MIT"}
    return values | {"video_id": video, "activity": activity} | facts | changes


def test_what_becomes_of_a_pair() -> None:
    def video(letter: str) -> str:
        return letter * 11

    kept, fate = select_pairs(
        [
            pair(video("a")),
            pair(video("b"), trust="C"),
            pair(video("c"), trust="C", confirmed="1"),
            pair(video("d"), licences="README: Private. All Rights Reserved | personal use"),
            pair(video("e"), licences="all rights reserved | none seen"),
            pair(video("f")),
            pair(video("g")),
            pair(video("h"), "lunge"),
            pair(video("h"), "squat"),
            pair(video("i"), "lunge", start_s="60"),
            pair(video("i"), "squat", start_s="10"),
        ],
        {(video("f"), "squat"): False},
        {video("g")},
    )
    assert [(p.video_id[0], p.activity, p.start_s, p.end_s) for p in kept] == [
        ("a", "squat", 0, None),
        ("c", "squat", 0, None),
        ("e", "squat", 0, None),
        ("i", "squat", 10, 60),
        ("i", "lunge", 60, None),
    ]
    assert fate == {
        "little trust and not confirmed": 1,
        "every list of it reserves its rights": 1,
        "decided against (demonstration_decisions.csv)": 1,
        "its seconds are in the first tier": 1,
        "several activities for one video, and no times": 2,
        "demonstrations kept": 5,
    }


def test_ids_that_are_none_and_unknown_activities_are_refused() -> None:
    with pytest.raises(UserError, match="not a YouTube id"):
        select_pairs([pair("../../etc/x")], {}, ())
    with pytest.raises(UserError, match="not an activity"):
        select_pairs([pair("v" * 11, "juggling")], {}, ())


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("MIT (Copyright 2026 Simeon Rinkenberger; videos belong ...) | none seen",
         "MIT, Copyright 2026 Simeon Rinkenberger"),
        ("package.json: MIT | Unlicense", "MIT, author not known; Unlicense"),
        ("AGPL-3.0 | GPL-3.0", "AGPL-3.0, author not known; GPL-3.0, author not known"),
        ("README: a badge", "none stated"),
        ("README: for personal use", "reserved"),
        ("README: for personal use | none stated", "none stated"),
    ],
)  # fmt: skip
def test_what_is_attributed(found: str, said: str) -> None:
    assert attribution(found) == said


def test_decisions_are_of_known_activities_and_have_reasons(tmp_path: Path) -> None:
    decisions = load_decisions(VIDEOS)
    assert set(decisions.values()) == {True, False}
    assert {activity for _, activity in decisions} <= set(load_activities())
    table = tmp_path / "demonstration_decisions.csv"
    for wrong in ("v,squat,maybe,why", "v,squat,keep,"):
        table.write_text(f"video_id,activity,decision,reason\n{wrong}\n", encoding="utf-8")
        with pytest.raises(UserError, match="line 2"):
            load_decisions(tmp_path)


def test_the_list_is_what_the_pairs_yield(shared_dir: Path) -> None:
    text, _ = derive_demonstrations(VIDEOS, shared_dir / "youtube" / "demonstrations.csv")
    assert (VIDEOS / "demonstrations.csv").read_text(encoding="utf-8") == text, (
        "run python -m annotations.demonstrations"
    )
