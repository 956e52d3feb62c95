"""From decisions to a manifest, and from the manifest to shards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import app
from musclemap_data.catalog import SPLITS, load_activities
from musclemap_data.manifest import Clip, read_manifest, write_manifest
from musclemap_data.review.decisions import DecisionFile, Kind
from musclemap_data.review.material import DECISIONS, FLAGS, built, proposed
from musclemap_data.review.outcome import accepted_clips
from musclemap_data.review.queue import Queue
from musclemap_data.segment.planned import planned
from musclemap_data.shards import Shard, list_shards
from musclemap_data.splits import partition_of
from tests.conftest import write_video
from tests.musclemap_data.review.proposed import write_proposed


def musclemap(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done.stdout


def queue_of(data: Path, by: str = "ab", *, blind: bool = False, flags: bool = False) -> Queue:
    material = built(data) if flags else proposed(data)
    file = DecisionFile(data / (FLAGS if flags else DECISIONS))
    return Queue(material, file, by, load_activities(), blind=blind)


def rows_of(data: Path) -> dict[str, tuple[str, str, float, float]]:
    """clip id -> (activity, split, start, end) of every row of the shards."""
    columns = ["clip_id", "activity", "split", "start_s", "end_s"]
    found = {}
    for path in [path for split in SPLITS for path in list_shards(data, split)]:
        with Shard(path) as shard:
            for row in shard.table(columns).to_pylist():
                name, *rest = row.values()
                found[name] = tuple(rest)
    return found


@pytest.mark.slow
def test_what_was_accepted_builds_and_a_second_review_changes_only_what_it_changed(tmp_path):
    data = tmp_path / "data"
    write_proposed(data, 2)
    queue = queue_of(data)
    queue.decide(Kind.ACCEPT, "v0000_0")
    queue.decide(Kind.MOVE, "v0000_1", start_s=2.6, end_s=3.6)
    queue.decide(Kind.ACCEPT, "v0000_1")
    queue.decide(Kind.RELABEL, "v0001_0", activity="sumo_squat")
    queue.decide(Kind.ACCEPT, "v0001_0")
    queue.decide(Kind.SPLIT, "v0001_1", split_at_s=3.3)
    queue.decide(Kind.ACCEPT, "v0001_1.1")
    queue.decide(Kind.REJECT, "v0001_1.2", reason="not an exercise")
    manifest = data / "reviewed.csv"
    told = json.loads(musclemap("review", "manifest", "-d", data, "-o", manifest, "--json"))
    assert (told["clips"], told["changed"], told["undecided"]) == (4, 4, 4)
    musclemap("download", "--manifest", manifest, "--data", data)
    musclemap("extract-modalities", "--data", data, "--modalities", "rgb", "--workers", 1)
    sides = {name: partition_of(name) for name in ("v0000", "v0001")}
    split = {name: side if side == "train" else f"{side}_known" for name, side in sides.items()}
    assert rows_of(data) == {
        "v0000_0": ("squat", split["v0000"], 0.5, 2.0),
        "v0000_1": ("push_up", split["v0000"], 2.6, 3.6),
        "v0001_0": ("sumo_squat", split["v0001"], 0.5, 2.0),
        "v0001_1.1": ("lunge", split["v0001"], 2.5, 3.3),
    }
    musclemap("validate", "--data", data, "--no-look")

    # Looked at again: two labels are wrong and one clip is too long.
    flags = queue_of(data, flags=True)
    assert flags.counts()["open"] == 4
    flags.decide(Kind.RELABEL, "v0000_0", activity="lunge")
    flags.decide(Kind.ACCEPT, "v0000_0")
    flags.decide(Kind.MOVE, "v0000_1", end_s=3.4)
    flags.decide(Kind.ACCEPT, "v0000_1")
    flags.decide(Kind.REJECT, "v0001_0", reason="another exercise")
    corrected = data / "corrected.csv"
    told = json.loads(
        musclemap("review", "manifest", "-d", data, "--built", "-o", corrected, "--json")
    )
    assert (told["changed"], told["left_out"], told["undecided"]) == (2, {"rejected": 1}, 1)
    musclemap("download", "--manifest", corrected, "--data", data)
    done = musclemap("extract-modalities", "--data", data, "--modalities", "rgb", "--workers", 1)
    assert "1 clips extracted, 2 already there, 0 failed" in done
    assert rows_of(data) == {
        "v0000_0": ("lunge", split["v0000"], 0.5, 2.0),
        "v0000_1": ("push_up", split["v0000"], 2.6, 3.4),
        "v0001_1.1": ("lunge", split["v0001"], 2.5, 3.3),
    }


def test_the_plan_of_before_stays_and_an_earlier_answer_is_replaced(tmp_path, monkeypatch):
    data = tmp_path / "data"
    write_proposed(data, 1)
    write_video(tmp_path / "own.mp4")
    plan = [
        Clip("own_0", "own", "own.mp4", 0, 0.5, "squat", "val_known"),
        Clip("v0000_0", "v0000", "data/videos/v0000.mp4", 0.5, 2.0, "plank", "train"),
        Clip("v0000_1", "v0000", "data/videos/v0000.mp4", 2.5, 4.0, "plank", "train"),
        Clip("all", "v0000", "data/videos/v0000.mp4", 0, None, "squat", "train", "demonstration"),
    ]
    write_manifest(tmp_path / "plan.csv", plan)
    musclemap("download", "--manifest", tmp_path / "plan.csv", "--data", data)
    queue = queue_of(data)
    queue.decide(Kind.ACCEPT, "v0000_0")  # as a squat, by the proposal
    queue.decide(Kind.REJECT, "v0000_1", reason="seen before")
    musclemap("review", "manifest", "--data", data, "--out", tmp_path / "next.csv")
    clips = read_manifest(tmp_path / "next.csv", load_activities())
    assert sorted((clip.clip_id, clip.activity, clip.tier, clip.split) for clip in clips) == [
        ("all", "squat", "demonstration", "train"),
        ("own_0", "squat", "segment", "val_known"),
        ("v0000_0", "squat", "segment", "train"),
    ]


def test_what_two_reviewers_differ_on_is_left_out_until_one_is_trusted(tmp_path):
    data = tmp_path / "data"
    write_proposed(data, 1)
    for clip in ("v0000_0", "v0000_1"):
        queue_of(data, "ab").decide(Kind.ACCEPT, clip)
    other = queue_of(data, "cd", blind=True)
    other.decide(Kind.ACCEPT, "v0000_0")
    other.decide(Kind.REJECT, "v0000_1", reason="person cut off")
    out = data / "m.csv"
    told = json.loads(musclemap("review", "manifest", "-d", data, "-o", out, "--json", code=1))
    assert [each["what"] for each in told["conflicts"]] == ["accepted and rejected"]
    assert [clip.clip_id for clip in read_manifest(out, load_activities())] == ["v0000_0"]
    musclemap("review", "manifest", "-d", data, "-o", out, "--trust", "ab")
    assert len(read_manifest(out, load_activities())) == 2
    musclemap("review", "manifest", "-d", data, "-o", out, "--trust", "cd")
    assert len(read_manifest(out, load_activities())) == 1
    done = CliRunner().invoke(
        app, ["review", "manifest", "-d", str(data), "-o", str(out), "--trust", "xy"]
    )
    assert done.exit_code == 2 and "choose from ab, cd" in done.output


def test_a_new_activity_gets_no_place_in_a_video_of_the_train_side(tmp_path):
    data = tmp_path / "data"
    write_proposed(data, 30, files=False)
    queue = queue_of(data)
    for number in range(30):
        queue.decide(Kind.RELABEL, f"v{number:04}_0", activity="hollow_hold")
        queue.decide(Kind.ACCEPT, f"v{number:04}_0")
    outcome = accepted_clips(
        proposed(data), queue._file.decisions(), load_activities(), data, plan=planned(data)
    )
    train = sum(partition_of(f"v{number:04}") == "train" for number in range(30))
    assert outcome.left_out == {"a new activity in a video of the train side": train}
    assert {clip.split for clip in outcome.clips} <= {"val_new", "test_new"}
    assert len(outcome.clips) == 30 - train


def test_a_manifest_that_could_not_name_its_videos_is_refused_with_a_place_that_can(tmp_path):
    data = tmp_path / "data"
    write_proposed(data, 1)
    queue_of(data).decide(Kind.ACCEPT, "v0000_0")
    (tmp_path / "elsewhere").mkdir()
    done = CliRunner().invoke(
        app, ["review", "manifest", "-d", str(data), "-o", str(tmp_path / "elsewhere" / "m.csv")]
    )
    assert done.exit_code == 2
    assert f"such as {tmp_path}/" in done.output.replace("\n", "")


def test_merge_and_agreement_tell_what_two_people_said(tmp_path):
    for who, accepts in (("ab", 3), ("cd", 2)):
        data = tmp_path / who
        write_proposed(data, 1, files=False)
        queue = queue_of(data, who)
        for place in range(4):
            clip = f"v0000_{place}"
            if place < accepts:
                queue.decide(Kind.ACCEPT, clip)
            else:
                queue.decide(Kind.REJECT, clip, reason="not an exercise")
    files = [tmp_path / who / DECISIONS for who in ("ab", "cd")]
    out = tmp_path / "both.csv"
    told = json.loads(musclemap("review", "merge", *files, "-o", out, "--json", code=1))
    assert told["decisions"] == 8
    assert [each["proposal"] for each in told["conflicts"]] == ["v0000_2"]
    (found,) = json.loads(musclemap("review", "agreement", out, "--json"))
    assert found["both"] == 4 and found["verdict_same"] == 0.75
    assert found["verdict_kappa"] == pytest.approx(0.5)
    text = musclemap("review", "agreement", out)
    assert "kappa 0.50" in text
    done = CliRunner().invoke(app, ["review", "agreement", str(files[0])])
    assert done.exit_code == 2 and "decisions of ab only" in done.output


def test_a_review_without_a_name_or_proposals_says_what_to_do(tmp_path, monkeypatch):
    done = CliRunner().invoke(app, ["review", "--data", str(tmp_path), "--by", "a b"])
    assert done.exit_code == 2 and "say who decides: --by" in done.output
    done = CliRunner().invoke(app, ["review", "--data", str(tmp_path), "--by", "ab"])
    assert done.exit_code == 2 and "musclemap segment" in done.output


def test_who_is_logged_in_decides_unless_told_otherwise(tmp_path, monkeypatch):
    write_proposed(tmp_path, 1, files=False)
    seen = []
    monkeypatch.setattr("getpass.getuser", lambda: "Ann.Other@home")
    monkeypatch.setattr(
        "musclemap_data.local_web.serve",
        lambda make_app, *_, on_ready, **__: (on_ready("http://x/"), seen.append(make_app(()))),
    )
    done = CliRunner().invoke(app, ["review", "--data", str(tmp_path), "--no-open"])
    assert done.exit_code == 0 and len(seen) == 1
    assert "4 clips to look at, at http://x/" in done.stdout
    assert "as those of AnnOtherhome (--by)" in done.stderr
    assert f"Next: musclemap review manifest --data {tmp_path} --out reviewed.csv" in done.stderr
