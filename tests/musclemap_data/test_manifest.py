"""The manifest: every mistake is found at once, and nothing unsafe gets through."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musclemap_data.catalog import SPLITS, load_activities
from musclemap_data.errors import UserError
from musclemap_data.manifest import (
    COLUMNS,
    DEMONSTRATION,
    SEGMENT,
    Clip,
    ManifestError,
    read_manifest,
    select_clips,
    write_manifest,
)

GOOD = {
    "clip_id": "a",
    "video_id": "v",
    "url": "https://example.org/v.mp4",
    "start_s": "0",
    "end_s": "2.5",
    "activity": "squat",
    "split": "train",
}


def write_rows(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def problems_of(path: Path) -> tuple[str, ...]:
    with pytest.raises(ManifestError) as caught:
        read_manifest(path, load_activities())
    return caught.value.problems


def test_good_rows_are_read_as_they_stand(tmp_path):
    path = write_rows(tmp_path / "m.csv", [GOOD, GOOD | {"clip_id": "b", "end_s": ""}])
    assert read_manifest(path, load_activities()) == [
        Clip("a", "v", "https://example.org/v.mp4", 0.0, 2.5, "squat", "train"),
        Clip("b", "v", "https://example.org/v.mp4", 0.0, None, "squat", "train"),
    ]


def test_a_whole_demonstration_is_another_tier(tmp_path):
    whole = Clip("w", "w", "https://example.org/w.mp4", 0.0, None, "lunge", "train", DEMONSTRATION)
    path, table = tmp_path / "m.csv", load_activities()
    write_manifest(path, [Clip(**GOOD | {"start_s": 0.0, "end_s": 2.5}), whole])
    clips = read_manifest(path, table)
    assert [clip.tier for clip in clips] == [SEGMENT, DEMONSTRATION] and clips[1] == whole
    path.write_text(path.read_text().replace(DEMONSTRATION, "film"), encoding="utf-8")
    assert problems_of(path) == (
        "line 3: tier 'film' must be one of segment, demonstration, or empty",
    )


def test_parquet_is_read_like_csv(tmp_path):
    csv_path = write_rows(tmp_path / "m.csv", [GOOD, GOOD | {"clip_id": "b", "end_s": ""}])
    table = pd.DataFrame([GOOD, GOOD | {"clip_id": "b"}]).astype({"start_s": float, "end_s": float})
    table.loc[1, "end_s"] = None
    table.astype({"end_s": "Float64"}).to_parquet(tmp_path / "m.parquet")
    activities = load_activities()
    assert read_manifest(tmp_path / "m.parquet", activities) == read_manifest(csv_path, activities)


MISTAKES = {
    "bad scheme": ({"url": "ftp://example.org/v.mp4"}, "only http://, https://, s3://"),
    "no host": ({"url": "https:///v.mp4"}, "no valid host"),
    "bad port": ({"url": "http://h:99999/v.mp4"}, "not valid"),
    "end before start": ({"start_s": "3", "end_s": "2"}, "must be after start_s"),
    "negative start": ({"start_s": "-1"}, "seconds, 0 or more"),
    "not a number": ({"start_s": "soon"}, "seconds, 0 or more"),
    "infinite": ({"end_s": "inf"}, "seconds, 0 or more"),
    "unknown activity": ({"activity": "sqat"}, "did you mean 'squat'"),
    "unknown split": ({"split": "dev"}, "must be one of train"),
    "id with a path": ({"clip_id": "../../x"}, "letters, digits"),
    "video id with a path": ({"video_id": "a/b"}, "letters, digits"),
    "hidden id": ({"clip_id": ".lock"}, "not begin with '.'"),
    "empty id": ({"clip_id": ""}, "letters, digits"),
    "absolute path": ({"url": "/etc/passwd"}, "inside the manifest's folder"),
    "path up": ({"url": "../secret.mp4"}, "inside the manifest's folder"),
    "file url": ({"url": "file:///etc/passwd"}, "only http://"),
    "option": ({"url": "concat:a.mp4|b.mp4"}, "only http://"),
    "empty file": ({"url": "empty.mp4"}, "empty file"),
    "folder": ({"url": "folder"}, "a folder"),
    "empty url": ({"url": ""}, "url is empty"),
    "new activity in train": ({"activity": "hollow_hold"}, "held out as new"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_with_its_line(tmp_path, name):
    change, expected = MISTAKES[name]
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder").mkdir()
    row = GOOD | {"clip_id": "b", "video_id": "w", "url": "http://h/w.mp4"} | change
    problems = problems_of(write_rows(tmp_path / "m.csv", [GOOD, row]))
    assert len(problems) == 1
    assert problems[0].startswith("line 3: ")
    assert expected in problems[0]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "clip_id 'a' is already on line 2"),
        (
            {"clip_id": "b", "url": "http://h/other.mp4"},
            "but 'https://example.org/v.mp4' on line 2",
        ),
        ({"clip_id": "b", "video_id": "w"}, "is video 'w' here but 'v' on line 2"),
        ({"clip_id": "b", "split": "test_known"}, "all clips of a video belong to one of train"),
        (
            {"clip_id": "b", "video_id": "w", "url": "http://h/w", "split": "test_new"},
            "is new here (test_new) but known on line 2",
        ),
    ],
)
def test_rows_must_agree_with_each_other(tmp_path, change, expected):
    problems = problems_of(write_rows(tmp_path / "m.csv", [GOOD, GOOD | change]))
    assert len(problems) == 1
    assert expected in problems[0]


def test_known_and_new_test_clips_may_share_a_video(tmp_path):
    rows = [
        GOOD | {"split": "test_known"},
        GOOD | {"clip_id": "b", "activity": "hollow_hold", "split": "test_new"},
    ]
    assert len(read_manifest(write_rows(tmp_path / "m.csv", rows), load_activities())) == 2


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "no rows"),
        (b"clip_id,video_id\n", "missing columns: url, start_s"),
        (",".join(COLUMNS).encode() + b",colour\n", "unknown column 'colour'"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (",".join(COLUMNS).encode() + b"\na,b,c\n", "3 cells where the header has 7"),
        (b"PAR1", "missing columns"),
    ],
)
def test_a_file_that_is_no_manifest(tmp_path, content, expected):
    path = tmp_path / "m.csv"
    path.write_bytes(content)
    assert expected in "\n".join(problems_of(path))


def test_a_missing_manifest(tmp_path):
    assert "no such file" in problems_of(tmp_path / "none.csv")[0]


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    outside = tmp_path / "secret.mp4"
    outside.write_bytes(b"x")
    inside = tmp_path / "manifests"
    inside.mkdir()
    (inside / "link.mp4").symlink_to(outside)
    path = write_rows(inside / "m.csv", [GOOD | {"url": "link.mp4"}])
    assert "leads out of the manifest's folder" in problems_of(path)[0]


text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(rows=st.lists(st.fixed_dictionaries({name: text for name in COLUMNS}), max_size=4))
def test_any_table_is_either_read_or_refused_with_reasons(tmp_path_factory, rows):
    path = write_rows(tmp_path_factory.mktemp("m") / "m.csv", rows)
    try:
        clips = read_manifest(path, load_activities())
    except ManifestError as error:
        assert error.problems
    else:
        assert all("/" not in clip.clip_id + clip.video_id for clip in clips)


clips_strategy = st.builds(
    Clip,
    clip_id=st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True),
    video_id=st.just("v"),
    url=st.just("https://example.org/v.mp4"),
    start_s=st.integers(0, 10**6).map(lambda ms: ms / 1000),
    end_s=st.none(),
    activity=st.just("squat"),
    split=st.sampled_from([split for split in SPLITS if not split.endswith("_new")]),
)


@given(clip=clips_strategy)
def test_what_is_written_is_read_back(tmp_path_factory, clip):
    path = tmp_path_factory.mktemp("m") / "m.csv"
    write_manifest(path, [clip])
    assert read_manifest(path, load_activities()) == [clip]


def many_clips(count: int) -> list[Clip]:
    return [
        Clip(
            f"c{n}",
            f"v{n}",
            f"v{n}.mp4",
            0,
            None,
            ("squat", "lunge")[n % 2],
            ("train", "test_known")[n % 3 == 0],
        )
        for n in range(count)
    ]


def test_a_part_can_be_selected():
    clips = many_clips(12)
    assert select_clips(clips) == clips
    assert [c.clip_id for c in select_clips(clips, activities=["lunge"], limit=2)] == ["c1", "c3"]
    assert {c.split for c in select_clips(clips, splits=["test_known"])} == {"test_known"}
    with pytest.raises(UserError, match="activity 'squad'; did you mean 'squat'"):
        select_clips(clips, activities=["squad"])


@given(count=st.integers(1, 60), sample=st.integers(1, 20), data=st.data())
def test_a_sample_does_not_depend_on_order_or_on_what_is_left_out(count, sample, data):
    clips = many_clips(count)
    chosen = set(select_clips(clips, sample=sample))
    assert len(chosen) == min(sample, count)
    assert set(select_clips(data.draw(st.permutations(clips)), sample=sample)) == chosen
    gone = data.draw(st.sampled_from(clips))
    fewer = set(select_clips([c for c in clips if c != gone], sample=sample))
    assert chosen - {gone} <= fewer
