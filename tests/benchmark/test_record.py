"""``metrics.json`` and ``settings.json``: written, read back; what cannot be read is explained."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from benchmark.chance import ChanceLevel
from benchmark.finished import read_runs
from benchmark.identity import RunIdentity, read_identity
from benchmark.record import (
    ActivityScores,
    DataRecord,
    Difference,
    DroppedScores,
    Measured,
    RunRecord,
    TrainingRecord,
    need_record,
    read_record,
)
from benchmark.settings import Settings
from musclemap_data.errors import UserError
from tests.benchmark.conftest import make_record, make_split

SPLIT = {
    "clips": 1, "planned": 2, "coverage": 0.5, "videos": 1, "activities": 1,
    "skeletons": 0.5, "left_out": "activities", "regions": 2, "trivial_regions": 1, "map": 0.75,
    "map_interval": None, "constant_map": 0.5, "chance": {"mean": 0.55, "high": 0.7, "p": 0.02},
    "f1_micro": 0.5, "f1_macro": 0.25, "label_ranking_ap": 0.5, "calibration_error": 0.1,
    "per_region_ap": {"chest": 1.0, "biceps": None},
    "per_region_chance": {"chest": {"mean": 1.0, "high": 1.0, "p": 1.0}, "biceps": None},
    "per_activity": {"squat": {"clips": 1, "label_ranking_ap": 0.5}},
    "per_distance": {
        "0": {"activities": 1, "clips": 1, "map": 0.75, "chance": None},
        "3+": {"activities": 1, "clips": 2, "map": None,
               "chance": {"mean": 0.5, "high": 0.6, "p": 0.3}},
    },
    "graded": {"ndcg": {"value": 0.75, "chance": {"mean": 0.5, "high": 0.7, "p": 0.01}}},
}  # fmt: skip
MEAN = {
    "map": 0.75,
    "map_interval": [0.7, 0.8],
    "constant_map": 0.5,
    "chance": None,
    "graded": {"strict_map": {"value": 0.5, "chance": None}},
}
SCORES = {
    "multiply_adds_per_view": 240,
    "scoring": {"seconds": 0.5, "clips_per_s": 2.0, "latency_ms": 12.5},
    "splits": {"test_new": SPLIT},
    "means": {"val": MEAN, "test": MEAN},
    "threshold": 0.25,
    "references": {"rules alone": {"test": {"map": {"value": None, "chance": None}}}},
}
VERSION_2 = {
    "version": 2, "run": "stgcn-tiny-seed0-fold1of3", "model": "stgcn", "preset": "tiny",
    "seed": 0, "changes": {"epochs": 4, "pretrained": None}, "modalities": ["skeleton"],
    "data": {"name": "d", "fingerprint": "f1", "subset": False, "all_clips": "f0", "fold": 1,
             "folds": 3},
    "teacher": None, "train_clips": 48, "parameters": 7, "trained_parameters": 5,
    "training": {"steps": 3.0, "seconds": 1.5, "wait_share": 0.0, "clips_per_s": 9.0,
                 "final_loss": 0.4},
    "machine": {"device": "cpu", "processes": 1, "python": "3.11.7", "torch": "2.14.1"},
    **SCORES,
    "dropped": {
        "skeleton": {
            "modalities": ["rgb"],
            **SCORES,
            "difference": {"test": {"difference": -0.1, "interval": [-0.2, 0.1],
                                    "p": 0.8}},
        }
    },
}  # fmt: skip
"""A file of version 2, with every part that it may have."""
NEWER = ("graded", "references")
"""Parts that came later within version 2."""


def write(folder, values) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "metrics.json").write_text(values if isinstance(values, str) else json.dumps(values))


def test_a_file_is_read_and_written_again_letter_by_letter(tmp_path):
    write(tmp_path / "run", VERSION_2)
    record = read_record(tmp_path / "run")
    assert record.data == DataRecord("d", "f1", subset=False, all_clips="f0", fold=1, folds=3)
    assert record.data.clips_id == "f0"
    assert record.training.final_loss == 0.4
    assert record.modalities == ("skeleton",)
    split = record.scores.splits["test_new"]
    assert split.chance == ChanceLevel(0.55, 0.7, 0.02) and split.map_interval is None
    assert split.excess == pytest.approx(0.2) and not split.chance.significant
    assert split.per_region_chance == {"chest": ChanceLevel(1.0, 1.0, 1.0), "biceps": None}
    assert split.skeletons == 0.5
    assert split.per_activity == {"squat": ActivityScores(1, 0.5)}
    assert split.groups == 1
    assert split.twins == 1 and split.per_distance["3+"].chance == ChanceLevel(0.5, 0.6, 0.3)
    assert split.graded["ndcg"] == Measured(0.75, ChanceLevel(0.5, 0.7, 0.01))
    assert split.graded["ndcg"].excess == pytest.approx(0.25)
    assert record.scores.of("test").graded == {"strict_map": Measured(0.5, None)}
    assert record.scores.references == {"rules alone": {"test": {"map": Measured(None, None)}}}
    assert record.scores.of("test_new") is split
    assert record.scores.of("test").map_interval == (0.7, 0.8)
    assert record.scores.of("test").chance is None and record.scores.of("test").excess is None
    assert record.dropped["skeleton"].difference["test"] == Difference(-0.1, (-0.2, 0.1), 0.8)
    assert record.dropped["skeleton"].scores == record.scores
    record.write(tmp_path / "run")
    text = (tmp_path / "run" / "metrics.json").read_text()
    assert text == json.dumps(VERSION_2, indent=2) + "\n"


def test_a_file_without_distances_is_still_read(tmp_path):
    split = {name: value for name, value in SPLIT.items() if name != "per_distance"}
    write(tmp_path, {**VERSION_2, "splits": {"test_new": split}})
    read = read_record(tmp_path).scores.splits["test_new"]
    assert read.per_distance == {} and read.twins is None


def test_a_file_without_graded_scores_and_references_is_still_read(tmp_path):
    def older(values):
        if not isinstance(values, dict):
            return values
        kept = {name: each for name, each in values.items() if name not in NEWER}
        return {name: older(each) for name, each in kept.items()}

    write(tmp_path / "run", older(VERSION_2))
    scores = read_record(tmp_path / "run").scores
    assert scores.references == {}
    assert scores.of("test_new").graded == scores.of("test").graded == {}
    assert scores.of("test_new").map == 0.75


def test_no_training_is_an_empty_object_and_what_was_not_dropped_is_absent(tmp_path):
    values = {name: value for name, value in VERSION_2.items() if name != "dropped"}
    write(tmp_path, {**values, "training": {}})
    record = read_record(tmp_path)
    assert record.teacher is None and record.training is None and record.dropped == {}
    assert record.to_dict()["training"] == {}
    assert "dropped" not in record.to_dict()


@pytest.mark.parametrize("with_dropped", [False, True])
def test_what_is_written_is_read_back(tmp_path, with_dropped):
    record = make_record(
        changes={"dropout": 0.3, "pretrained": None, "fusion": False},
        training=TrainingRecord(3.0, 1.0, 0.1, 20.0, 0.5),
        teacher="a" * 64,
        threshold=None,
        splits={"val_new": make_split("val_new", clips=0, map=None, map_interval=None)},
    )
    if with_dropped:
        entry = DroppedScores(
            ("rgb",), record.cost, record.scores, {"test": Difference(0.1, None, None)}
        )
        record = replace(record, dropped={"skeleton": entry})
    record.write(tmp_path)
    assert read_record(tmp_path) == need_record(tmp_path) == record
    assert record.threshold == 0.5
    assert read_record(tmp_path / "nothing here") is None
    with pytest.raises(UserError, match="no complete run"):
        need_record(tmp_path / "nothing here")


def test_runs_are_read_in_the_order_of_their_names(tmp_path):
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        make_record(run=name).write(tmp_path / name)
    (tmp_path / "unfinished").mkdir()
    assert [record.run for record in read_runs(tmp_path)] == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "metrics.json cannot be read"),
        ("\x00\x01", "metrics.json cannot be read"),
        ({**VERSION_2, "version": 1}, r"run.metrics.json is not of version 2.*again with --fresh"),
        ('{"version": 99}', "is not of version 2: another MuscleMap.*Run the benchmark again"),
        ("[1]", "is not of version 2"),
        ('{"version": 2}', "damaged .KeyError.*--fresh"),
        ({**VERSION_2, "splits": 3}, "damaged .AttributeError"),
        ({**VERSION_2, "seed": "0"}, "damaged .TypeError: '0' is not of type int"),
        ({**VERSION_2, "changes": {"epochs": [1]}}, "damaged .TypeError"),
        ({**VERSION_2, "mood": "good"}, "damaged .KeyError: 'mood'"),
        ({**VERSION_2, "machine": {"device": "cpu"}}, "damaged .TypeError"),
        ({**VERSION_2, "means": {"val": {**MEAN, "map_interval": [1]}}}, "damaged .ValueError"),
    ],
)
def test_a_damaged_file_is_a_message_with_its_name(tmp_path, content, message):
    write(tmp_path / "run", content)
    with pytest.raises(UserError, match=message):
        read_runs(tmp_path)


def test_settings_and_clips_decide_what_a_run_is(tmp_path):
    data = DataRecord("d", "f" * 64, subset=True)
    identity = RunIdentity("stgcn", Settings.from_preset("tiny", epochs=3), data)
    identity.write(tmp_path)
    assert read_identity(tmp_path) == identity
    replace(identity, settings=replace(identity.settings, workers=7)).check_same(tmp_path)
    path = tmp_path / "settings.json"
    path.write_text(path.read_text().replace('"flip"', '"flips"'))  # of another MuscleMap
    with pytest.raises(UserError, match=r"flip was None, now 0.5; flips was 0.5, now None"):
        identity.check_same(tmp_path)
    with pytest.raises(UserError, match="no setting 'flips'; did you mean flip"):
        read_identity(tmp_path)
    path.write_text('{"model": "stgcn", "settings": {}}')
    for read in (lambda: read_identity(tmp_path), lambda: identity.check_same(tmp_path)):
        with pytest.raises(UserError, match=r"settings.json cannot be read.*data"):
            read()


def test_a_record_is_what_is_written(tmp_path):
    record = make_record()
    record.write(tmp_path)
    assert RunRecord.from_dict(json.loads((tmp_path / "metrics.json").read_text())) == record
