"""How near new label sets are to those of training, and the scores by that."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.nearness import distance_to_training, scores_by_distance
from benchmark.record import NearnessScores
from benchmark.report.distance import format_by_distance
from benchmark.report.tables import format_table
from benchmark.run import Run
from tests.benchmark.conftest import activity_muscles, make_record, make_split


def sets(*active: tuple[int, ...]) -> np.ndarray:
    labels = np.zeros((len(active), 20), bool)
    for row, regions in enumerate(active):
        labels[row, list(regions)] = True
    return labels


TRAINED = sets((0, 1), (0, 1), (4, 5, 6))


def test_the_distance_is_that_to_the_nearest_label_set():
    labels = sets((0, 1), (0,), (0, 1, 2), (4, 5), (4,), (10, 11, 12), ())
    assert distance_to_training(labels, TRAINED).tolist() == [0, 1, 1, 1, 2, 5, 2]


def test_scores_stand_by_distance_with_their_own_chance():
    labels = sets((0, 1), (0, 1), (0, 1, 2), (0,), (10, 11, 12))
    activities = ["twin", "twin", "near", "nearer", "far"]
    scores = labels.astype(float)
    scores[2:4] = scores[3:1:-1]  # the two near ones are taken for each other
    found = scores_by_distance(scores, labels, activities, TRAINED)
    assert {key: (each.activities, each.clips) for key, each in found.items()} == {
        "0": (1, 2), "1": (2, 2), "3+": (1, 1)
    }  # fmt: skip
    assert found["0"].map == 1.0 and found["0"].chance.p == 1.0  # one activity: nothing to deal
    assert found["1"].map == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert found["1"].map < found["1"].chance.mean
    assert scores_by_distance(scores, labels, activities, TRAINED[:0]) == {}
    mixed = scores_by_distance(scores, labels, ["a"] * 5, TRAINED)
    assert mixed["1"].chance is None and mixed["1"].map == found["1"].map


@pytest.mark.usefixtures("toy_model")
def test_a_run_knows_its_label_twins(dataset_dir, tiny, tmp_path):
    record = Run(dataset_dir, "random", tiny(epochs=0), runs_dir=tmp_path).complete()
    trained = np.array([activity_muscles(name) for name in ("hop", "bend", "press", "row")])
    own = np.array([activity_muscles(name) for name in ("lunge", "reach", "crawl")])
    expected = distance_to_training(own, trained)
    split = record.scores.splits["test_new"]
    assert sum(each.activities for each in split.per_distance.values()) == 3
    assert split.twins == (expected == 0).sum()
    assert record.scores.splits["test_known"].per_distance == {}


def test_twins_stand_in_the_table_and_distances_in_one_of_their_own():
    near = {"0": NearnessScores(2, 20, 0.8, None), "1": NearnessScores(3, 30, 0.5, None)}
    record = make_record(splits={"test_new": make_split("test_new", per_distance=near)})
    facts = next(line for line in format_table([record]).splitlines() if "label twins" in line)
    assert facts.split() == ["label", "twins", "2", "of", "5"]
    lines = format_by_distance([record]).splitlines()
    assert lines[2].split() == ["toy-tiny-seed0", "test", "new", "0", "2", "20", "80.0",
                                "n/a", "n/a", "n/a"]  # fmt: skip
    assert len([line for line in lines if "toy-tiny" in line]) == 2
    assert "--fresh" in format_by_distance([make_record()])
