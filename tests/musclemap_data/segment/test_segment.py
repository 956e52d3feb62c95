"""From a person's course through a video to proposals."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from musclemap_data.errors import UserError
from musclemap_data.ffmpeg import ffmpeg_binary
from musclemap_data.movement.repetitions import body_poses
from musclemap_data.segment.likeness import find_changes
from musclemap_data.segment.proposals import Proposal
from musclemap_data.segment.shots import find_cuts
from musclemap_data.segment.stretches import LONGEST_S, find_stretches
from musclemap_data.segment.video import Source, is_pose, propose
from musclemap_data.skeleton import MIRRORED
from tests.musclemap_data.segment.courses import (
    FPS,
    PLANK,
    STANDING,
    between,
    kept,
    nobody,
    push_ups,
    squats,
)


def shown(*parts: np.ndarray) -> list[tuple[float, float, str]]:
    """(start, end, what it is) of the stretches of shots that follow one another."""
    ends = np.cumsum([0, *(len(part) for part in parts)]).tolist()
    shots = list(pairwise(ends))
    return [
        (s.first / FPS, s.stop / FPS, s.left_out or ("hold" if s.hold else "repeats"))
        for s in find_stretches(np.concatenate(parts), FPS, shots)
    ]


def test_squats_are_found_between_a_title_card_and_somebody_who_stands():
    found = shown(nobody(3), kept(STANDING, 6), squats(4, 8), kept(STANDING, 3))
    proposed = [stretch for stretch in found if stretch[2] == "repeats"]
    assert len(proposed) == 1 and proposed[0][:2] == pytest.approx((9, 17), abs=1.0)
    assert found[0][2].startswith("nobody is seen") and found[1][2] == found[-1][2] == "stands"


def test_every_second_of_a_video_is_in_one_row():
    parts = (nobody(3), kept(STANDING, 6), squats(2.6, 5), kept(PLANK, 4), squats(0.2, 2))
    found = shown(*parts)
    assert found[0][0] == 0 and found[-1][1] == sum(len(part) for part in parts) / FPS
    assert [a[1] for a in found[:-1]] == [b[0] for b in found[1:]]


def test_squats_within_a_shot_begin_and_end_where_the_person_stands():
    together = np.concatenate([kept(STANDING, 5), squats(3, 9), kept(STANDING, 5)])
    (clip,) = [s for s in shown(together) if s[2] == "repeats"]
    assert clip[:2] == pytest.approx((5, 14), abs=1.5)


@pytest.mark.parametrize("way_s", [0.2, 1.0])
def test_two_exercises_in_one_shot_are_two_clips(way_s):
    one, other = squats(3, 6), push_ups(4, 8)
    found = shown(np.concatenate([one, between(one, other, way_s), other]))
    first, second = [s for s in found if not s[2].startswith("a part")]
    assert (first[2], second[2]) == ("repeats", "repeats")
    assert first[:2] == pytest.approx((0, 6), abs=0.5 + way_s)
    assert second[:2] == pytest.approx((6 + way_s, 14 + way_s), abs=0.5 + way_s)


def test_a_hold_after_an_exercise_is_a_clip_of_its_own():
    one, other = squats(3, 6), kept(PLANK, 4)
    found = shown(np.concatenate([one, between(one, other, 0.5), other]))
    assert [what for _, _, what in found if what in ("repeats", "hold")] == ["repeats", "hold"]


def test_one_exercise_is_not_divided_where_it_pauses_changes_side_or_turns_round():
    lunges = squats(2, 6)
    lunges[:, :, 0] += 0.5 * (lunges[:, :, 1] - lunges[:1, :, 1])  # down, and to one side
    away = lunges[:, MIRRORED] * np.float32([-1, 1, 1]) + np.float32([320, 0, 0])
    for course in (
        np.concatenate([lunges, kept(STANDING, 1.5), lunges]),
        np.concatenate([lunges, away]),
        np.concatenate([push_ups(2, 6), push_ups(2, 6)[:, MIRRORED]]),
    ):
        clips = [s for s in shown(course) if s[2] == "repeats"]
        seconds = sum(end - start for start, end, _ in clips)
        assert seconds > 0.85 * len(course) / FPS
        assert len(clips) <= -(-len(course) // round(LONGEST_S * FPS))


def test_half_a_repetition_is_no_change_and_another_posture_is_one():
    poses = body_poses(np.concatenate([squats(1, 3), push_ups(1, 3)]), FPS)
    (change,) = find_changes(poses, FPS)
    assert change == pytest.approx(3 * FPS, abs=2)
    for slow in (squats(1, 5), squats(0.5, 2), push_ups(2, 10)):
        assert find_changes(body_poses(slow, FPS), FPS) == []


def test_a_plank_is_a_hold_and_standing_is_none():
    assert shown(kept(PLANK, 5)) == [(0, 4.96, "hold")]
    assert shown(kept(STANDING, 5)) == [(0, 4.96, "stands")]


def test_a_long_set_is_cut_between_repetitions():
    found = find_stretches(squats(10, 30), FPS, [(0, round(30 * FPS))])
    clips = [s for s in found if not s.left_out]
    assert len(clips) >= 3 and all(s.stop - s.first <= LONGEST_S * FPS for s in clips)
    borders = {b for s in clips for b in s.borders}
    assert all(s.stop in borders for s in clips[:-1])
    assert sum(s.repetitions for s in clips) == pytest.approx(10, abs=1)


def test_a_repeat_in_slow_motion_is_left_out():
    found = shown(squats(3, 6), squats(3, 18))
    assert [what for _, _, what in found if what != "a part of a repetition"] == [
        "repeats", "the same movement in slow motion", "the same movement in slow motion",
    ] or {what for _, _, what in found[1:]} >= {"the same movement in slow motion"}  # fmt: skip


SOURCE = Source(Path("v.mp4"), "videos/v.mp4", "v", "yt_v_squat", "squat")


def proposed(said: dict[str, float], source: Source = SOURCE) -> Proposal:
    course = squats(4, 8)
    rows = propose(source, course, np.arange(len(course)) / FPS, [], lambda *_: said)
    return next(row for row in rows if not row.left_out)


def test_a_model_agrees_suggests_or_is_silent():
    silent = proposed({})
    agrees = proposed({"squat": 0.7, "lunge": 0.1})
    against = proposed({"squat": 0.01, "jump_squat": 0.9})
    unsure = proposed({"squat": 0.2, "jump_squat": 0.4})
    assert [p.suggested for p in (silent, agrees, against, unsure)] == ["", "", "jump_squat", ""]
    assert against.confidence < silent.confidence == agrees.confidence == unsure.confidence
    assert "the model agrees (70%)" in agrees.reasons
    own = proposed({"squat": 0.7}, replace(SOURCE, activity=""))
    assert (own.activity, own.suggested) == ("", "squat")


def test_a_proposal_says_where_the_person_is_in_the_picture():
    course = squats(4, 8)
    rows = propose(SOURCE, course, np.arange(len(course)) / FPS, [], None, (320, 240))
    (clip,) = [row for row in rows if not row.left_out]
    left, top, right, bottom = clip.box
    joints = course[..., :2] / np.float32([320, 240])
    assert joints[..., 0].min() <= left < right <= joints[..., 0].max()
    assert joints[..., 1].min() <= top < bottom <= joints[..., 1].max()
    assert (left + right) / 2 == pytest.approx(0.5, abs=0.05) and bottom - top > 0.3
    assert proposed({}).box == ()


def test_only_the_seconds_that_the_list_gives_are_looked_at():
    rows = propose(
        replace(SOURCE, start_s=4.0, end_s=10.0), squats(10, 20), np.arange(250) / FPS, []
    )
    assert rows[0].start >= 4.0 - 1e-6 and rows[-1].end <= 10.0 + 1e-6


def test_no_clip_reaches_over_a_cut_that_lies_between_two_frames():
    course = np.concatenate([squats(3, 6), squats(3, 6)])
    cut = 6.03
    rows = propose(SOURCE, course, np.arange(len(course)) / FPS, [cut])
    assert len([row for row in rows if not row.left_out]) == 2
    assert all(row.end <= cut or row.start >= cut for row in rows)
    assert cut in {row.start for row in rows}


def test_which_activities_are_poses():
    assert is_pose("plank") and is_pose("wall_sit") and not is_pose("squat") and not is_pose("")


def test_cuts_are_found_at_their_frame(tmp_path):
    made = tmp_path / "two.mp4"
    graph = "color=red:s=160x120:r=25:d=2[a];color=white:s=160x120:r=25:d=2[b];[a][b]concat"
    subprocess.run([ffmpeg_binary(), "-loglevel", "error", "-f", "lavfi", "-i", graph, str(made)],
                   check=True)  # fmt: skip
    assert find_cuts(made) == pytest.approx([2.0], abs=0.05)
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(UserError, match=r"text\.mp4 cannot be read"):
        find_cuts(tmp_path / "text.mp4")
