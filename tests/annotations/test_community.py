"""The community's list, and what is checked of an offered line without opening a video."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotations.community import (
    COMMUNITY_COLUMNS,
    COMMUNITY_LIST,
    add_clips,
    find_problems,
    main,
)
from musclemap_data.catalog import load_activities
from musclemap_data.errors import UserError
from musclemap_data.manifest import Clip, bundled_manifests, read_manifest, write_manifest
from musclemap_data.splits import partition_of

DEFAULT = bundled_manifests()[0]
OTHERS = [path for path in bundled_manifests() if path != COMMUNITY_LIST]
SQUAT = "AAAAAAAAAAA"
"""A well-formed id of nobody's, which no list has."""


def url(video: str) -> str:
    return f"https://www.youtube.com/watch?v={video}"


def split(video: str) -> str:
    side = partition_of(video)
    return side if side == "train" else f"{side}_known"


def line(**changes: str) -> dict[str, str]:
    values = [f"yt_{SQUAT}_1", SQUAT, url(SQUAT), "1.00", "4.00", "squat", split(SQUAT)]
    row = dict(zip(COMMUNITY_COLUMNS, [*values, "community:ab", "CC-BY-4.0"], strict=True))
    return row | changes


def write(path: Path, *rows: dict[str, str]) -> Path:
    lines = [COMMUNITY_COLUMNS, *(row.values() for row in rows)]
    path.write_text("".join(f"{','.join(cells)}\n" for cells in lines))
    return path


def test_the_committed_list_has_no_problem(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "community.csv: 0 problems" in capsys.readouterr().out


def test_a_good_line_is_taken(tmp_path: Path) -> None:
    assert find_problems(write(tmp_path / "c.csv", line()), OTHERS) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"licence": ""}, "licence must be given"),
        ({"source": " "}, "who looked at it"),
        ({"url": "https://youtu.be/AAAAAAAAAAA"}, "with the ID as video_id"),
        ({"video_id": "AAAAAAAAAAB", "split": split("AAAAAAAAAAB")}, "with the ID as video_id"),
        ({"url": "http://example.org/a.mp4"}, "must begin with https://"),
        ({"end_s": ""}, "with its end"),
        ({"end_s": "1.20"}, "0.5 to 60 s"),
        ({"end_s": "99"}, "0.5 to 60 s"),
        ({"split": "val_known" if split(SQUAT) != "val_known" else "train"}, "the split of this"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    problems = find_problems(write(tmp_path / "c.csv", line(**changes)), OTHERS)
    assert any(text.startswith("c.csv: line 2: ") and message in text for text in problems)


def test_an_unknown_activity_is_refused_as_in_every_manifest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'squat'"):
        find_problems(write(tmp_path / "c.csv", line(activity="squad")), OTHERS)


def test_lines_that_repeat_each_other_or_another_list_are_named(tmp_path: Path) -> None:
    ours = next(clip for clip in read_manifest(DEFAULT, load_activities()))
    again = line(
        clip_id="yt_again", video_id=ours.video_id, url=ours.url, activity=ours.activity,
        split=ours.split, start_s=f"{ours.start_s + 1:.2f}", end_s=f"{ours.start_s + 3:.2f}",
    )  # fmt: skip
    twice = line(clip_id=f"yt_{SQUAT}_0", start_s="3.50", end_s="6.00")
    problems = find_problems(write(tmp_path / "c.csv", line(), twice, again), OTHERS)
    assert any(f"in another list already ({ours.clip_id})" in text for text in problems)
    assert any(f"also those of yt_{SQUAT}_0" in text for text in problems)
    assert any("sort the lines" in text for text in problems)


def test_reviewed_clips_are_taken_over_in_order_and_only_once(tmp_path: Path) -> None:
    ours = next(clip for clip in read_manifest(DEFAULT, load_activities()))
    other = "BBBBBBBBBBA"
    clips = [
        Clip("s_b", other, url(other), 2, 4.5, "lunge", split(other)),
        ours,  # of the plan before
        Clip("s_a", SQUAT, url(SQUAT), 0, 3.25, "squat", split(SQUAT)),
        Clip("all", SQUAT, url(SQUAT), 0, None, "squat", split(SQUAT), "demonstration"),
    ]
    write_manifest(tmp_path / "reviewed.csv", clips)
    own = write(tmp_path / "c.csv")
    assert add_clips(own, tmp_path / "reviewed.csv", "ab", "unknown", OTHERS) == 2
    assert own.read_text().splitlines()[1:] == [
        f"s_a,{SQUAT},{url(SQUAT)},0.00,3.25,squat,{split(SQUAT)},community:ab,unknown",
        f"s_b,{other},{url(other)},2.00,4.50,lunge,{split(other)},community:ab,unknown",
    ]
    assert add_clips(own, tmp_path / "reviewed.csv", "cd", "unknown", OTHERS) == 0


def test_a_local_video_is_not_taken_over_and_the_list_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "own.mp4").write_bytes(b"x")
    write_manifest(tmp_path / "m.csv", [Clip("o", "own", "own.mp4", 0, 2, "squat", split("own"))])
    own = write(tmp_path / "c.csv", line())
    before = own.read_text()
    with pytest.raises(UserError, match="names no local file"):
        add_clips(own, tmp_path / "m.csv", "ab", "own", OTHERS)
    assert own.read_text() == before
