"""From a person's course through a video to proposals, and from many videos to a manifest."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cli import app
from musclemap_data.catalog import load_activities
from musclemap_data.download.videos import download_videos
from musclemap_data.errors import UserError
from musclemap_data.ffmpeg import ffmpeg_binary
from musclemap_data.ledger import Ledger
from musclemap_data.manifest import DEMONSTRATION, Clip, read_manifest, write_manifest
from musclemap_data.movement.repetitions import body_poses
from musclemap_data.review import material as review_material
from musclemap_data.review.decisions import DecisionFile, Kind
from musclemap_data.review.queue import Queue
from musclemap_data.segment import run
from musclemap_data.segment.likeness import find_changes
from musclemap_data.segment.proposals import PROPOSALS_FILE, Proposal, proposal_id, read_proposals
from musclemap_data.segment.shots import find_cuts
from musclemap_data.segment.stretches import LONGEST_S, find_stretches
from musclemap_data.segment.video import Source, is_pose, propose
from musclemap_data.skeleton import JOINTS, MIRRORED

FPS = 12.5
STANDING = {
    "nose": (0, -1.8), "shoulder": (0.2, -1.5), "elbow": (0.3, -1.0), "wrist": (0.3, -0.5),
    "hip": (0.15, -0.5), "knee": (0.15, 0.3), "ankle": (0.15, 1.1),
}  # fmt: skip
"""Of the right half, in trunks; the left one is its mirror image."""
PLANK = {
    "nose": (1.8, -0.5), "shoulder": (1.4, -0.5), "elbow": (1.5, 0.0), "wrist": (1.9, 0.0),
    "hip": (0.4, -0.4), "knee": (-0.4, -0.2), "ankle": (-1.2, 0.0),
}  # fmt: skip


def pose(places: dict[str, tuple[float, float]], one_side: bool = False) -> np.ndarray:
    """``[17, 3]`` in pixels; ears and eyes are where the nose is."""
    points = np.zeros((len(JOINTS), 3), np.float32)
    for index, name in enumerate(JOINTS):
        side, _, joint = name.partition("_")
        x, y = places.get(joint) or places["nose"]
        left = side == "left" and places is not PLANK and not one_side
        points[index] = (160 + 40 * (-x if left else x), 120 + 40 * y, 0.9)
    return points


def squats(count: float, seconds: float) -> np.ndarray:
    """So many squats in so many seconds, begun standing."""
    times = np.arange(round(seconds * FPS)) / (seconds * FPS)
    depth = (1 - np.cos(2 * np.pi * count * times)) / 2
    frames = []
    for down in depth:
        lower = {name: (x + 0.0, y) for name, (x, y) in STANDING.items()}
        for name in ("nose", "shoulder", "elbow", "wrist", "hip"):
            lower[name] = (lower[name][0], lower[name][1] + 0.7 * down)
        lower["knee"] = (0.15 + 0.5 * down, 0.3 + 0.2 * down)
        frames.append(pose(lower))
    return shaken(np.stack(frames))


def push_ups(count: float, seconds: float) -> np.ndarray:
    """So many push-ups in so many seconds, begun with straight arms, seen from the side."""
    times = np.arange(round(seconds * FPS)) / (seconds * FPS)
    frames = []
    for down in (1 - np.cos(2 * np.pi * count * times)) / 2:
        places = dict(PLANK)
        for name, share in (("nose", 0.9), ("shoulder", 0.8), ("hip", 0.4), ("elbow", 0.3)):
            x, y = PLANK[name]
            places[name] = (x - 0.2 * down * (name == "elbow"), y + 0.7 * share * down)
        frames.append(pose(places, one_side=True))
    return shaken(np.stack(frames))


def between(one: np.ndarray, other: np.ndarray, seconds: float) -> np.ndarray:
    """The way from the last pose of a course to the first one of another."""
    share = np.linspace(0, 1, round(seconds * FPS) + 2)[1:-1, None, None]
    return shaken((one[-1] * (1 - share) + other[0] * share).astype(np.float32))


def kept(places: dict[str, tuple[float, float]], seconds: float) -> np.ndarray:
    return shaken(np.repeat(pose(places)[None], round(seconds * FPS), 0))


def shaken(course: np.ndarray) -> np.ndarray:
    draw = np.random.default_rng(0)
    course[..., :2] += draw.normal(0, 0.4, course[..., :2].shape)
    return course


def nobody(seconds: float) -> np.ndarray:
    return np.full((round(seconds * FPS), 17, 3), [np.nan, np.nan, 0], np.float32)


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


@pytest.fixture
def data(tmp_path, make_video):
    """A data set of two downloaded demonstrations, of which each has a proposal."""
    for name in ("a", "b"):
        make_video(tmp_path / f"{name}.mp4", seed=ord(name))
    clips = [
        Clip(f"{n}_squat", n, f"{n}.mp4", 0.0, None, "squat", "train", DEMONSTRATION) for n in "ab"
    ]
    download_videos(clips, tmp_path, tmp_path / "d")
    return tmp_path / "d"


def fake(monkeypatch, asked: list[str], fail_at: str = "") -> None:
    def segment_video(source: Source, recognise: object, *, workers: object) -> list[Proposal]:
        if source.name == fail_at:
            raise KeyboardInterrupt
        asked.append(source.name)
        name = proposal_id(source.video_id, 0.2, 0.9)
        return [Proposal(source.shown, source.video_id, name, 0.2, 0.9, source.activity,
                         repetitions=2, confidence=0.8)]  # fmt: skip

    monkeypatch.setattr(run, "segment_video", segment_video)


def test_a_stopped_run_goes_on_with_the_next_video(data, monkeypatch):
    asked: list[str] = []
    sources = run.sources_of_data(data)
    fake(monkeypatch, asked, fail_at="b_squat")
    with pytest.raises(KeyboardInterrupt):
        run.segment_sources(sources, data)
    assert [p.video_id for p in read_proposals(data / PROPOSALS_FILE)] == ["a"]
    fake(monkeypatch, asked)
    report = run.segment_sources(sources, data)
    assert asked == ["a_squat", "b_squat"] and (report.made, report.present) == (1, 1)
    assert [p.video_id for p in read_proposals(data / PROPOSALS_FILE)] == ["a", "b"]
    run.segment_sources(sources, data, again=True)
    assert asked == ["a_squat", "b_squat"] * 2


def test_sure_proposals_are_added_to_the_plan_and_download_nothing(data, monkeypatch):
    fake(monkeypatch, [])
    report = run.segment_sources(run.sources_of_data(data), data)
    doubt = replace(report.proposals[0], proposal="doubt", confidence=0.3)
    against = replace(report.proposals[0], proposal="against", suggested="lunge")
    rest = replace(report.proposals[0], proposal="rest", left_out="stands")
    manifest = data.parent / "proposed.csv"
    proposals = [*report.proposals, doubt, against, rest]
    made = run.write_proposed_manifest(manifest, proposals, data)
    assert (made.new, made.kept, made.there) == (2, 2, 0)
    clips = read_manifest(manifest, load_activities())
    assert [(c.clip_id, c.start_s, c.end_s, c.activity, c.tier) for c in clips] == [
        ("a_squat", 0, None, "squat", DEMONSTRATION),
        ("b_squat", 0, None, "squat", DEMONSTRATION),
        ("s_a_0000200_0000900", 0.2, 0.9, "squat", "segment"),
        ("s_b_0000200_0000900", 0.2, 0.9, "squat", "segment"),
    ]  # fmt: skip
    report_2 = download_videos(clips, manifest.parent, data)
    assert (report_2.downloaded, report_2.present) == (0, 2)
    with pytest.raises(UserError, match="is not written"):
        run.write_proposed_manifest(data.parent / "none.csv", [doubt, against, rest], data)


@pytest.mark.slow
def test_nothing_of_the_plan_is_lost_from_segment_to_review_to_the_build(
    tmp_path, make_video, serve, monkeypatch
):
    """Two whole videos and a clip whose seconds are known, from a server on this machine."""
    for seed, name in enumerate("abc"):
        make_video(tmp_path / f"site/{name}.mp4", seed=seed)
    base, data = serve(tmp_path / "site"), tmp_path / "data"
    clips = [Clip("known", "c", f"{base}/c.mp4", 0.0, 0.8, "lunge", "val_known")]
    clips += [Clip(f"{n}_squat", n, f"{base}/{n}.mp4", 0.0, None, "squat", "train", DEMONSTRATION)
              for n in "ab"]  # fmt: skip
    manifest = tmp_path / "list.csv"
    write_manifest(manifest, clips)

    def musclemap(*words: object) -> str:
        done = CliRunner().invoke(app, [str(word) for word in (*words, "--data", data)])
        assert done.exit_code == 0, done.output
        return done.output

    def build(manifest: Path) -> tuple[set[str], set[str]]:
        assert "0 videos downloaded" in musclemap("download", "--manifest", manifest, "--pause", 0)
        musclemap("extract-modalities", "--modalities", "rgb", "--workers", 1)
        with Ledger(data, read_only=True) as ledger:
            assert all(clip.state == "built" for clip in ledger.clips())
            whole = {row.clip_id for row in ledger.demonstrations()}
            return {clip.clip_id for clip in ledger.clips()}, whole

    assert "3 videos downloaded" in musclemap("download", "--manifest", manifest, "--pause", 0)
    fake(monkeypatch, [])
    proposed, whole = tmp_path / "proposed.csv", {"a_squat", "b_squat"}
    a, b = "s_a_0000200_0000900", "s_b_0000200_0000900"
    said = musclemap("segment", "--no-model", "--manifest", proposed)
    assert "2 new clips and the 3 lines of the plan before" in said
    assert build(proposed) == ({"known", a, b}, whole)
    again = musclemap("segment", "--no-model", "--manifest", proposed)
    assert "0 new clips and the 5 lines of the plan before" in again and "2 more are in" in again
    assert build(proposed) == ({"known", a, b}, whole)

    # One is rejected; on the other nobody has decided, so it stays.
    queue = Queue(
        review_material.proposed(data), DecisionFile(data / review_material.DECISIONS), "ab",
        load_activities(),
    )  # fmt: skip
    queue.decide(Kind.MOVE, a, end_s=0.8)
    queue.decide(Kind.ACCEPT, a)
    reviewed = tmp_path / "reviewed.csv"
    musclemap("review", "manifest", "--out", reviewed)
    assert build(reviewed) == ({"known", a, b}, whole)
    queue.decide(Kind.REJECT, b, reason="not an exercise")
    musclemap("review", "manifest", "--out", reviewed)
    assert build(reviewed) == ({"known", a}, whole)
    with Ledger(data, read_only=True) as ledger:
        assert {clip.clip_id: clip.end_s for clip in ledger.clips()} == {"known": 0.8, a: 0.8}


def test_videos_of_ones_own_get_safe_and_different_names(tmp_path):
    for name in ("x/My video.mp4", "y/My video.MP4", "y/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [source.name for source in run.sources_of_files([tmp_path])]
    assert names == ["My_video", "My_video_2"]
    with pytest.raises(UserError, match="no file or folder"):
        run.sources_of_files([tmp_path / "gone.mp4"])
