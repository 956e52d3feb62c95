"""The embedded model on videos of one's own: what it says, in which order, of how many files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmark.embedded.model import ACTIVE_FROM, EmbeddedModel, Recognition
from benchmark.predict.recognition import UNKNOWN, describe_recognition, format_recognition
from benchmark.predict.several import find_videos, format_table, places
from benchmark.predict.video import PredictedVideo
from cli import app
from musclemap_data.catalog import GRADES, load_activities
from musclemap_data.draw.colours import region_colour
from musclemap_data.errors import UserError
from tests.conftest import read_frames, write_video
from tests.person_video import render_person

ACTIVITIES = ("squat", "push_up", "plank")
FACTS = {"file": "me.mp4", "seconds": 9.0, "person_share": 1.0}


def recognition(*rows: tuple[float, ...], present: float = 1.0) -> Recognition:
    probabilities = np.array(rows, float)
    return Recognition(
        activities=ACTIVITIES,
        windows=[(float(n), n + 4.0) for n in range(len(rows))],
        probabilities=probabilities,
        present=np.full(len(rows), present),
    )


@pytest.fixture(scope="module")
def model() -> EmbeddedModel:
    return EmbeddedModel.load()


def described(model: EmbeddedModel, said: Recognition, **changes):
    video = {**FACTS, **changes.pop("video", {})}
    return describe_recognition(model, said, video, **{"fps": 30.0, **changes})


def test_the_exercise_comes_first_then_how_sure_then_the_caution(model):
    said = described(model, recognition((0.9, 0.06, 0.04), (0.8, 0.1, 0.1)))
    assert said["exercises"] == ["squat"]
    assert [each["slug"] for each in said["candidates"]] == list(ACTIVITIES)
    assert said["candidates"][0]["probability"] == pytest.approx(0.85)
    text = format_recognition(said)
    assert text.startswith("me.mp4 (9.0 s): squat (85%)\n  prime mover: ")
    order = [text.index(words) for words in ("muscle region", "How sure", "Not a medical device")]
    assert order == sorted(order)


def test_regions_are_graded_and_the_prime_movers_lead(model):
    said = described(model, recognition((1.0, 0.0, 0.0)))
    squat = load_activities()["squat"]
    for region, grade in zip(said["regions"].values(), squat.grades, strict=True):
        assert region["expected_grade"] == pytest.approx(grade)
        assert (region["active"] == "yes") == (grade > 0)
        assert sum(region["grades"].values()) == pytest.approx(1.0)
    listed = [line.split("  ")[0] for line in format_recognition(said).splitlines()]
    table = listed[listed.index("muscle region") + 1 :]
    best = {said["regions"][slug]["name"] for slug in squat.regions()
            if said["regions"][slug]["grade"] == "prime mover"}  # fmt: skip
    assert set(table[: len(best)]) == best


def test_without_a_clear_first_it_does_not_know_the_exercise(model):
    flat = described(model, recognition((0.34, 0.33, 0.33)))
    assert flat["exercises"] == []
    assert format_recognition(flat).startswith(f"me.mp4 (9.0 s): {UNKNOWN} (nearest: squat, 34%)")


def test_a_workout_is_told_in_parts(model):
    said = described(
        model, recognition(*[(0.9, 0.05, 0.05)] * 6, *[(0.05, 0.9, 0.05)] * 6)
    )  # fmt: skip
    parts = said["parts"]
    assert [part["slug"] for part in parts] == ["squat", "push_up"]
    assert parts[0]["start_s"] == 0.0
    assert parts[1]["end_s"] == said["windows"][-1]["end_s"]
    assert parts[0]["end_s"] == pytest.approx(7.0)
    first, *others = format_recognition(said).splitlines()
    assert first == "me.mp4 (9.0 s): 2 exercises: squat, push-up"
    told = [line.split() for line in others if " to " in line and line.endswith("%)")]
    assert [line[-2] for line in told] == ["squat", "push-up"]


def test_it_says_what_makes_it_unsure(model):
    several = {"several_people": True, "skeleton_doubts": ["The skeleton is bad."]}
    said = described(
        model, recognition((0.5, 0.4, 0.1)), fps=8.0, video=several, failed=["4.0-8.0 s"]
    )  # fmt: skip
    doubts = " ".join(said["unsure"])
    for words in (
        "It could also be push-up",
        "More than one person is in view",
        "The skeleton is bad.",
        "4.0-8.0 s",
        "only 8 frames/s",
    ):
        assert words in doubts
    alone = described(model, recognition((0.9, 0.05, 0.05), (0.9, 0.05, 0.05)))
    assert not any("person" in doubt for doubt in alone["unsure"])
    nobody = described(model, recognition((0.9, 0.05, 0.05), present=0.2))
    assert any("none can be trusted" in doubt for doubt in nobody["unsure"])


def test_of_a_long_video_it_says_that_fewer_frames_were_looked_at(model):
    long = {"seconds": 600.0, "fps": 29.97}
    told = described(model, recognition((1.0, 0.0, 0.0)), video=long, fps=14.99)["unsure"]
    assert any("10 min long: 15 of its 30 frames/s" in doubt for doubt in told)
    slow = described(model, recognition((1.0, 0.0, 0.0)), video={**long, "fps": 15.0}, fps=15.0)
    assert not any("min long" in doubt for doubt in slow["unsure"])


def test_windows_without_a_person_do_not_count(model):
    said = recognition((0.9, 0.05, 0.05), (0.0, 1.0, 0.0))
    said.present[1] = 0.1
    told = described(model, said)
    assert told["exercises"] == ["squat"]
    assert [window["counted"] for window in told["windows"]] == [True, False]
    assert told["regions"]["quadriceps"]["mean"] >= ACTIVE_FROM


# -- several videos -----------------------------------------------------------------------------


def test_folders_are_opened_and_each_file_is_taken_once(tmp_path):
    for name in ("b.mp4", "a.MOV", "notes.txt", ".hidden.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "inside").mkdir()
    found = find_videos([tmp_path, tmp_path / "b.mp4", tmp_path / "notes.txt"])
    assert [path.name for path in found] == ["a.MOV", "b.mp4", "notes.txt"]
    with pytest.raises(UserError, match="holds no video"):
        find_videos([tmp_path / "inside"])


def test_each_video_has_a_place_of_its_own():
    one, two = Path("monday/squat.mp4"), Path("tuesday/squat.mov")
    assert places([one], Path("out")) == [Path("out")]
    assert places([one], None) == [Path("predictions/squat")]
    assert places([one, two], Path("out")) == [Path("out/squat"), Path("out/squat-2")]


def test_the_table_has_a_line_a_video():
    def done(name: str, exercise: str, *works: str) -> PredictedVideo:
        return PredictedVideo(
            {"video": {"file": name, "seconds": 3.25}}, Path(name), {}, "", works, exercise
        )

    lines = format_table([done("a.mp4", "squat (80%)", "quadriceps"), done("b.mp4", "")])
    first, second, third = lines.split("\n")
    assert first.split() == ["video", "seconds", "exercise", "works"]
    assert second.split() == ["a.mp4", "3.2", "squat", "(80%)", "quadriceps"]
    assert third.split() == ["b.mp4", "3.2", "-"]


# -- the verb -------------------------------------------------------------------------------------


def musclemap(*words: str | Path):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.slow
def test_predict_needs_nothing_but_a_video(tmp_path, monkeypatch):
    person = render_person(tmp_path / "films")
    write_video(tmp_path / "films" / "sky.mp4", seconds=0.5)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    done = musclemap("predict", person, tmp_path / "films", "--workers", "1")
    assert done.exit_code == 1, done.output
    assert "a person was found in 0% of the frames" in " ".join(done.stderr.split())
    written = Path("predictions") / person.stem
    assert sorted(path.name for path in written.iterdir()) == [
        "body_map.png", "body_map.svg", "overlay.mp4", "prediction.json", "timeline.png",
    ]  # fmt: skip
    said = json.loads((written / "prediction.json").read_text())
    assert said["model"]["name"] == "embedded"
    assert said["windows"][-1]["end_s"] == pytest.approx(said["video"]["seconds"], abs=0.15)
    assert sum(each["probability"] for each in said["candidates"]) <= 1.0001
    assert done.stdout.index("muscle region") < done.stdout.index("How sure is this?")

    shades = set(re.findall(r'fill="(#\w+)"', (written / "body_map.svg").read_text()))
    assert shades >= {region_colour(grade) for grade in GRADES[1:]}  # the legend's, at least

    plain = ("--names", "plain", "--json", "--out", "one", "--workers", "1", "--blur-faces")
    again = musclemap("predict", person, *plain)
    assert again.exit_code == 0, again.output
    told = json.loads(again.stdout)
    assert told["windows"] == said["windows"] and told["candidates"] == said["candidates"]
    assert told["regions"]["neck_and_head"]["name"] == "neck"
    assert said["regions"]["neck_and_head"]["name"] == "neck and head"

    assert (said["video"]["faces_blurred"], told["video"]["faces_blurred"]) == (False, True)
    shown, blurred = (read_frames(each / "overlay.mp4") for each in (written, Path("one")))
    change = np.abs(shown[10].astype(int) - blurred[10]).max(axis=-1) > 60
    rows, columns = np.nonzero(change)
    assert rows.size and np.ptp(rows) < 120 and np.ptp(columns) < 120, "the head, and no more"


def test_a_name_that_is_neither_a_run_nor_embedded_is_a_message(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "sky.mp4", seconds=0.5)
    done = musclemap("predict", "sky.mp4", "--model", "embeded")
    assert done.exit_code == 2
    assert "embeded" in done.stderr or "musclemap quickstart" in done.stderr
