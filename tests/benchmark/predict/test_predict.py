"""Prediction on a video of one's own: which run, what it scores, what it says it does not know."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from benchmark.finished import choose_run
from benchmark.models import MODELS
from benchmark.predict import runs
from benchmark.predict.runs import TrainedRun, load_run
from benchmark.predict.summary import describe_prediction, format_prediction, is_undecided
from benchmark.predict.video import predict_video
from benchmark.predictions import read_predictions
from benchmark.record import RunRecord, read_record
from benchmark.run import Run
from benchmark.settings import Settings
from cli import app
from musclemap_data.catalog import load_muscles
from musclemap_data.errors import UserError
from musclemap_data.extract import windows
from tests.benchmark.conftest import (
    activity_muscles,
    make_record,
    make_rows,
    make_split,
    write_dataset,
)
from tests.conftest import write_video
from tests.person_video import render_person

SLUGS = [muscle.slug for muscle in load_muscles()]
SMALL = {
    "frames": 4, "rate": 3, "crop_size": 32, "jitter_min": 36, "jitter_max": 44,
    "test_short_side": 36, "joint_channels": 4, "epochs": 1, "workers": 0, "threads": 1,
    "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A data set of "synthetic" videos with a trained ST-GCN and a model that reads nothing."""
    rows = make_rows(2)
    for clips in rows.values():
        for row in clips:
            row |= {"video_id": f"synthetic_{row['video_id']}", "rgb_diff": None, "flow": None}
    folder = write_dataset(tmp_path_factory.mktemp("trained") / "data", rows)
    for name in ("random", "stgcn"):
        Run(folder, name, Settings.from_preset("tiny", **SMALL), name=name).complete()
    return folder


@pytest.fixture(scope="module")
def person(tmp_path_factory) -> Path:
    return render_person(tmp_path_factory.mktemp("person"))


def musclemap(*words: str | Path):
    return CliRunner().invoke(app, [str(word) for word in words])


# -- which run ----------------------------------------------------------------------------------


def set_validation(data: Path, name: str, value: float | None) -> None:
    folder = data / "runs" / name
    record = read_record(folder)
    val = replace(record.scores.means["val"], map=value)
    scores = replace(record.scores, means={**record.scores.means, "val": val})
    replace(record, run=name, scores=scores).write(folder)


def test_the_run_with_the_best_validation_is_chosen_of_those_that_see(data, tmp_path):
    copied = shutil.copytree(data, tmp_path / "data")
    set_validation(copied, "random", 0.99)  # it looks at nothing
    folder, why = choose_run(copied)
    assert folder.name == "stgcn"
    assert "only trained run" in why
    shutil.copytree(copied / "runs/stgcn", copied / "runs/better")
    set_validation(copied, "stgcn", 0.5)
    set_validation(copied, "better", 0.6)
    folder, why = choose_run(copied)
    assert folder.name == "better"
    assert "60.0%" in why
    assert "2 finished runs" in why
    for given in ("stgcn", copied / "runs/stgcn", copied / "runs/stgcn/model.safetensors"):
        assert choose_run(copied, Path(given))[0].resolve() == (copied / "runs/stgcn").resolve()


def test_without_a_trained_run_it_says_how_to_get_one(data, tmp_path):
    with pytest.raises(UserError, match="musclemap quickstart"):
        choose_run(tmp_path)
    only_random = shutil.copytree(data / "runs/random", tmp_path / "runs/random")
    with pytest.raises(UserError, match="musclemap quickstart"):
        choose_run(tmp_path)
    with pytest.raises(UserError, match="does not look at the video"):
        load_run(only_random)
    with pytest.raises(UserError, match="did you mean random"):
        choose_run(tmp_path, Path("randem"))
    (only_random / "metrics.json").unlink()
    with pytest.raises(UserError, match="not finished"):
        choose_run(tmp_path, only_random)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("settings.json", None),
        ("settings.json", b"{"),
        ("settings.json", b'{"model": "stgcn"}'),
        ("settings.json", b'{"model": "net", "data": {}, "settings": {}}'),
        ("settings.json", b'{"model": "stgcn", "data": {}, "settings": {"no_such": 1}}'),
        ("settings.json", b'{"model": "stgcn", "data": {}, "settings": {"joint_channels": 8}}'),
        ("metrics.json", b"\x00\x01"),
        ("metrics.json", b'{"version": 1}'),
        ("model.safetensors", None),
        ("model.safetensors", b"\x80\x04torn"),
    ],
)
def test_a_damaged_run_is_a_message(data, tmp_path, file, content):
    folder = shutil.copytree(data / "runs/stgcn", tmp_path / "run")
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_run(folder)
    assert str(folder) in str(caught.value) or "setting" in str(caught.value)


# -- what it scores -----------------------------------------------------------------------------


def test_scores_are_those_the_run_wrote_of_the_same_clips(data):
    run = load_run(data / "runs/stgcn")
    scores = runs.score_windows(run, data, "test_known")
    wrote = read_predictions(data / "runs/stgcn/predictions.parquet").of_split("test_known")
    assert scores == pytest.approx(wrote.scores, abs=1e-6)
    assert run.synthetic
    rows = make_rows(2)["train"]
    wanted = np.sum([activity_muscles(row["activity"]) for row in rows], axis=0)
    assert run.training_clips.tolist() == wanted.tolist()


def test_a_run_away_from_its_data_set_does_not_know_what_it_saw(data, tmp_path):
    run = load_run(shutil.copytree(data / "runs/stgcn", tmp_path / "copy"))
    assert run.training_clips is None
    said = describe(run, np.full((1, 20), 0.9))
    assert any("not known which regions" in doubt for doubt in said["unsure"])


# -- what it says -------------------------------------------------------------------------------


def made_up_run(**changes: Any) -> TrainedRun:
    """A run that was never trained, with a threshold of 50%."""
    values: dict[str, Any] = {
        "folder": Path("runs/made-up"),
        "chosen": "as asked for",
        "model": nn.Identity(),
        "settings": Settings.from_preset("tiny", frames=8, rate=4),  # 29 frames
        "device": torch.device("cpu"),
        "record": made_up_record(),
        "synthetic": False,
        "training_clips": np.full(20, 7),
        "made": {},
    }
    return TrainedRun(**{**values, **changes})


def made_up_record(threshold: float | None = 0.5, **of_split: Any) -> RunRecord:
    """A record of 48 training clips and 12 test clips of each kind."""
    scores = {"clips": 12, "map": 0.6, "constant_map": 0.4, "calibration_error": 0.1, **of_split}
    splits = {name: make_split(name, **scores) for name in ("test_known", "test_new")}
    return make_record(
        model="made-up", modalities=("rgb_diff",), train_clips=48, splits=splits,
        threshold=threshold,
    )  # fmt: skip


def describe(run: TrainedRun, scores: np.ndarray, **changes: Any) -> dict[str, Any]:
    count = len(scores)
    arguments: dict[str, Any] = {
        "windows": [(1.5 * n, 1.5 * n + 3) for n in range(count)],
        "person_shares": [1.0] * count,
        "video": {"file": "me.mp4", "seconds": 4.5, "person_share": 1.0},
        "fps": 25.0,
    }
    return describe_prediction(run, scores, **{**arguments, **changes})


def course(**of: list[float]) -> np.ndarray:
    """``[3, 20]``: 1%, but for the named regions."""
    values = np.full((3, 20), 0.01)
    for slug, numbers in of.items():
        values[:, SLUGS.index(slug)] = numbers
    return values


def test_regions_are_active_undecided_or_not():
    scores = course(chest=[0.9, 0.8, 0.7], triceps=[0.1, 0.1, 0.7], calves=[0.45, 0.5, 0.46])
    said = describe(made_up_run(), scores)
    regions = said["regions"]
    assert regions["chest"]["active"] == "yes"
    assert regions["chest"]["mean"] == pytest.approx(0.8)
    assert regions["chest"]["highest"] == pytest.approx(0.9)
    assert regions["triceps"]["active"] == "at times"
    assert regions["triceps"]["highest_from_s"] == 3.0
    assert regions["triceps"]["share_of_windows"] == pytest.approx(1 / 3, abs=1e-4)
    assert regions["calves"]["undecided"]
    assert not regions["chest"]["undecided"]
    assert regions["neck_and_head"]["active"] == "no"
    assert said["windows"][2]["probabilities"]["triceps"] == pytest.approx(0.7)
    assert any("could be either: calves." in doubt for doubt in said["unsure"])
    assert "Not a medical device" in said["note"]
    assert "SYNTHETIC" not in said["note"]
    printed = format_prediction(said)
    assert printed.index("chest") < printed.index("triceps") < printed.index("neck and head")
    assert "at times from 3.0 s" in printed
    json.dumps(said, allow_nan=False)


def test_windows_without_a_person_do_not_count():
    scores = course(chest=[0.9, 0.8, 0.0])
    said = describe(made_up_run(), scores, person_shares=[1.0, 0.5, 0.49])
    assert [window["counted"] for window in said["windows"]] == [True, True, False]
    assert said["regions"]["chest"]["mean"] == pytest.approx(0.85)
    assert any("1 of 3 windows" in doubt for doubt in said["unsure"])
    said = describe(made_up_run(), scores, person_shares=[0.3, 0.2, 0.2])
    assert all(window["counted"] for window in said["windows"])
    assert any("none can be trusted" in doubt for doubt in said["unsure"])


def test_it_says_what_it_is_unsure_of():
    def doubts(run: TrainedRun | None = None, **changes: Any) -> str:
        return " ".join(describe(run or made_up_run(), course(), **changes)["unsure"])

    plain = doubts()
    assert "12 test clips of new activities its mAP is 60% (chance: 35%, p .004)" in plain
    assert "learned from 48 clips" in plain
    for words in ("slowed down", "frames/s", "Never active", "other settings", "left out"):
        assert words not in plain
    short = doubts(windows=[(0.0, 1.0)] * 3)
    assert "The shortest window has 1.0 s, but the model looks at 1.2 s" in short
    assert "only 10 frames/s" in doubts(fps=10.0)
    assert "rgb-diff of this video was made with other settings" in doubts(differing=["rgb-diff"])
    assert "left out: 3.00-6.00 s" in doubts(failed=["3.00-6.00 s"])
    seen = np.full(20, 7)
    seen[SLUGS.index("wrists")] = 0
    assert "the model cannot know: wrists." in doubts(made_up_run(training_clips=seen))
    no_level = made_up_run(record=made_up_record(chance=None))
    assert "its mAP is 60% (no chance level is known)" in doubts(no_level)
    nothing = {"clips": 0, "map": None, "calibration_error": None}
    untested = made_up_run(record=made_up_record(threshold=None, **nothing))
    assert "never tested" in doubts(untested)
    assert "no threshold from validation; 50%" in doubts(untested)
    assert "SYNTHETIC" in describe(made_up_run(synthetic=True), course())["note"]


def test_undecided_is_a_matter_of_odds():
    assert is_undecided(0.45, 0.5)
    assert not is_undecided(0.38, 0.5)
    assert not is_undecided(0.62, 0.5)
    assert is_undecided(0.13, 0.15)
    assert not is_undecided(0.25, 0.15)
    assert not is_undecided(1.0, 0.5)


# -- the verb -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_predict_from_a_video_to_everything_it_writes(data, person, tmp_path):
    done = musclemap(
        "predict", person, "--data", data, "--out", tmp_path / "out", "--window-s", "2",
        "--step-s", "2", "--workers", "2",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "body_map.png", "body_map.svg", "overlay.mp4", "prediction.json", "timeline.png",
    ]  # fmt: skip
    said = json.loads((tmp_path / "out/prediction.json").read_text())
    assert said["video"]["file"] == person.name
    assert (said["video"]["width"], said["video"]["height"]) == (160, 120)
    assert [window["start_s"] for window in said["windows"]] == [0.0, 2.0]
    assert said["windows"][-1]["end_s"] == pytest.approx(said["video"]["seconds"], abs=0.1)
    assert all(window["person_share"] > 0.5 for window in said["windows"])
    probabilities = [list(window["probabilities"].values()) for window in said["windows"]]
    assert np.shape(probabilities) == (2, 20)
    assert 0 < np.min(probabilities) <= np.max(probabilities) < 1
    assert said["run"]["synthetic"]
    assert said["run"]["model"] == "stgcn"
    assert "SYNTHETIC" in done.stdout
    assert "Not a medical device" in done.stdout
    assert "only 15 frames/s" in done.stdout


@pytest.mark.slow
def test_parts_that_cannot_be_read_are_named_and_the_exit_code_is_1(
    data, person, tmp_path, monkeypatch
):
    real = windows.read_video(person)
    claimed = replace(real, seconds=real.seconds + 4)
    monkeypatch.setattr(windows, "read_video", lambda path: claimed)
    done = musclemap(
        "predict", person, "--data", data, "--out", tmp_path / "out", "--window-s", "2",
        "--step-s", "2", "--json",
    )  # fmt: skip
    assert done.exit_code == 1, done.output
    said = json.loads(done.stdout)
    assert said["failed_windows"] == ["4.00-6.00 s", "6.00-8.40 s"]
    assert len(said["windows"]) == 2
    assert f"written to {tmp_path / 'out'}" in done.stderr


@pytest.mark.slow
def test_predict_computes_what_a_video_model_reads(data, person, tmp_path, monkeypatch):
    class Mean(nn.Module):
        modalities = ("rgb_diff",)

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(1, 20)

        def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return self.layer(batch["rgb_diff"].flatten(1).mean(dim=1, keepdim=True))

    monkeypatch.setitem(MODELS, "reads-difference", lambda settings: Mean())
    rows = {split: clips[:4] for split, clips in make_rows(2).items()}
    differences = write_dataset(tmp_path / "data", rows)
    Run(differences, "reads-difference", Settings.from_preset("tiny", **SMALL)).complete()
    folder, _ = choose_run(differences)
    done = predict_video(str(person), str(folder), str(tmp_path / "out"))
    said = done.prediction
    assert said["run"]["modalities"] == ["rgb-diff"]
    assert not said["run"]["synthetic"]
    assert said == json.loads((tmp_path / "out/prediction.json").read_text())
    assert (done.folder, done.failed) == (tmp_path / "out", {})
    assert str(done) == format_prediction(said)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing.mp4"], "there is no file missing.mp4"),
        (["text.mp4"], "a text file, not a video"),
        (["empty.mp4"], "the file is empty"),
        (["clouds.mp4", "--step-s", "9"], "parts of the video would not be seen"),
        (["clouds.mp4", "--data", "nowhere"], "musclemap quickstart"),
        (["clouds.mp4", "--checkpoint", "stgcm"], "did you mean stgcn"),
        (["clouds.mp4", "--out", "text.mp4"], "a file is in its way"),
        (["clouds.mp4"], "a person was found in 0% of the frames"),
    ],
)
def test_a_mistake_is_a_message_and_leaves_nothing(data, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.mp4").write_text("my squats\n")
    (tmp_path / "empty.mp4").touch()
    write_video(tmp_path / "clouds.mp4", seconds=0.5)
    before = sorted(tmp_path.iterdir())
    done = musclemap("predict", "--data", data, "--out", "out", *words)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
    assert sorted(tmp_path.iterdir()) == before
