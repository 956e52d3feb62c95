"""From many videos to proposals, filters and a manifest, and what becomes of the plan."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cli import app
from musclemap_data.catalog import annotations_dir, load_activities
from musclemap_data.download.videos import download_videos
from musclemap_data.errors import UserError
from musclemap_data.ledger import Ledger
from musclemap_data.manifest import DEMONSTRATION, Clip, read_manifest, write_manifest
from musclemap_data.review import material as review_material
from musclemap_data.review.decisions import DecisionFile, Kind
from musclemap_data.review.queue import Queue
from musclemap_data.segment import run
from musclemap_data.segment.proposals import PROPOSALS_FILE, Proposal, proposal_id, read_proposals
from musclemap_data.segment.video import Source, read_course, write_course
from musclemap_data.skeleton import MIRRORED
from tests.musclemap_data.segment.courses import FPS, push_ups, squats


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
    def segment_video(source: Source, recognise: object, **_: object) -> list[Proposal]:
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


def test_the_next_command_repeats_the_data_sets_own_table_and_can_be_pasted(
    tmp_path, make_video, monkeypatch
):
    table, data = tmp_path / "my labels.csv", tmp_path / "my data"
    lines = (annotations_dir() / "activities.csv").read_text(encoding="utf-8")
    table.write_text(lines.replace("\nsquat,", "\nmy_squat,", 1), encoding="utf-8")
    assert "my_squat" in load_activities(table)
    make_video(tmp_path / "a.mp4")
    clips = [Clip("a_squat", "a", "a.mp4", 0.0, None, "my_squat", "train", DEMONSTRATION)]
    download_videos(clips, tmp_path, data, activity_table=str(table))
    fake(monkeypatch, [])
    manifest = tmp_path / "proposed.csv"
    words = ["segment", "--data", str(data), "--manifest", str(manifest), "--no-model"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    segmented = done.stderr.partition("Next: musclemap ")[2].strip()

    (proposal,) = read_proposals(data / PROPOSALS_FILE)
    queue = Queue(review_material.proposed(data), DecisionFile(data / "review/decisions.csv"),
                  "ab", load_activities(table))  # fmt: skip
    queue.decide(Kind.ACCEPT, proposal.proposal, start_s=0.2, end_s=0.9, activity="my_squat")
    words = ["review", "manifest", "--data", str(data), "--out", str(tmp_path / "reviewed.csv")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    reviewed = done.stderr.partition("Next: musclemap ")[2].strip()

    for command in (segmented, reviewed):
        told = CliRunner().invoke(app, [*shlex.split(command), "--pause", "0"])
        assert told.exit_code == 0, told.output


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


def test_a_course_is_kept_whole_or_not_at_all(tmp_path):
    course, times = squats(1, 2), np.arange(25) / FPS
    path = run.course_of(tmp_path, "v_squat")
    assert read_course(path) is None
    write_course(path, course, times)
    kept = read_course(path)
    assert kept is not None
    assert np.array_equal(kept[0], course) and np.array_equal(kept[1], times)
    path.write_bytes(path.read_bytes()[:100])
    assert read_course(path) is None


@pytest.mark.slow
def test_clips_of_two_videos_that_move_alike_are_named_and_others_are_not(data, monkeypatch):
    """``b`` shows the squats of ``a`` from the mirror, with other noise; push-ups are no squats."""
    times = np.arange(50) / FPS
    mirrored = squats(2, 4)[:, MIRRORED] * np.float32([-1, 1, 1]) + np.float32([320, 0, 0])
    moves = {"a_squat": squats(2, 4), "b_squat": mirrored}

    def segment_video(source: Source, *_: object, course: Path, **__: object) -> list[Proposal]:
        write_course(course, moves[source.name], times)
        clip = Proposal(source.shown, source.video_id, f"s_{source.name}", 0.0, 4.0,
                        source.activity, confidence=0.8)  # fmt: skip
        return [clip]

    monkeypatch.setattr(run, "segment_video", segment_video)
    words = ["segment", "--data", str(data), "--no-model", "--filter", "alike", "--again"]
    told = CliRunner().invoke(app, [*words, "--dry-run"])
    assert told.exit_code == 0, told.output
    assert "alike: 1 of 2 clips" in told.output
    assert "s_b_squat: moves just as s_a_squat" in told.output
    assert not any(p.reasons for p in read_proposals(data / PROPOSALS_FILE))
    assert (data / "segment" / "filter_alike.png").exists()
    CliRunner().invoke(app, words)
    after = read_proposals(data / PROPOSALS_FILE)
    assert [p.reasons for p in after] == [(), ("moves just as s_a_squat: the same recording?",)]
    assert not any(p.left_out for p in after)
    moves["b_squat"] = push_ups(2, 4)
    assert "alike: 0 of 2 clips" in CliRunner().invoke(app, words).output


def test_a_video_of_the_same_name_in_another_folder_is_not_taken_for_done(tmp_path, monkeypatch):
    asked: list[str] = []
    fake(monkeypatch, asked)
    for folder in ("monday", "tuesday", "tuesday"):
        video = tmp_path / folder / "squats.mp4"
        video.parent.mkdir(exist_ok=True)
        video.write_bytes(b"x")
        os.utime(video, (1, 1))  # older than what is made of it
        report = run.segment_sources(run.sources_of_files([video]), tmp_path / "data")
        assert {p.video for p in report.proposals} == {str(video.resolve())}
    assert asked == ["squats", "squats"]


def test_proposals_of_own_videos_of_an_earlier_run_stay(data, tmp_path, monkeypatch):
    fake(monkeypatch, [])
    for name in ("monday", "tuesday"):
        (tmp_path / f"{name}.mp4").write_bytes(b"x")
        run.segment_sources(run.sources_of_files([tmp_path / f"{name}.mp4"]), data)

    def there() -> list[str]:
        return [p.video_id for p in read_proposals(data / PROPOSALS_FILE)]

    assert there() == ["monday", "tuesday"]
    run.segment_sources(run.sources_of_files([tmp_path / "monday.mp4"]), data)
    assert there() == ["tuesday", "monday"]
    run.segment_sources(run.sources_of_data(data), data)
    assert there() == ["tuesday", "monday", "a", "b"]
    run.segment_sources(run.sources_of_data(data)[:1], data)  # b is no longer in the plan
    assert there() == ["tuesday", "monday", "a"]
