"""Opinions on the labels scored as if they were models, and the scores that know grades."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, ndcg_score

from benchmark import score
from benchmark.clips import Clip
from benchmark.predictions import EVALUATION_SPLITS, Predictions
from benchmark.record import Measured
from benchmark.reference import GRADED, OPINIONS, opinion
from benchmark.report import tables
from musclemap_data.catalog import load_activities, load_muscles
from musclemap_data.labels import load_cells
from tests.benchmark.conftest import make_record

SLUGS = {
    "val_known": ["squat", "push_up", "plank"],
    "val_new": ["hollow_hold", "battle_ropes"],
    "test_known": ["squat", "crunch", "pull_up", "lunge"],
    "test_new": ["inchworm", "running", "scissors", "hindu_push_up"],
}


def clips_of(slugs: dict[str, list[str]], each: int = 2) -> list[Clip]:
    activities = load_activities()
    return [
        Clip(f"{slug}-{n}", f"{slug}-{n}", slug, split, 24, 48, 64, activities[slug].muscles,
             Path("none"), 0, activities[slug].grades)
        for split in EVALUATION_SPLITS for slug in slugs[split] for n in range(each)
    ]  # fmt: skip


def predictions_of(clips: list[Clip], scores: np.ndarray) -> Predictions:
    return Predictions(clips, scores.astype(np.float32), np.ones(len(clips), np.int64))


@pytest.fixture(scope="module")
def perfect() -> tuple[Predictions, score.Scores]:
    """A model that gives each region its grade."""
    clips = clips_of(SLUGS)
    predictions = predictions_of(clips, np.array([clip.grades for clip in clips]))
    return predictions, score.score_predictions(predictions)


def test_a_model_that_knows_the_grades_has_every_score_in_full(perfect):
    scores = perfect[1]
    for part in ("val_known", "val_new", "test_known", "test_new", "val", "test"):
        found = scores.of(part)
        assert found.map == pytest.approx(1.0)
        assert list(found.graded) == list(GRADED)
        assert [each.value for each in found.graded.values()] == pytest.approx([1.0] * 3)
        assert all(each.chance.mean < 1 and each.excess > 0 for each in found.graded.values())


def test_graded_scores_are_scikit_learns_of_strict_labels_surer_cells_and_grades():
    clips = clips_of(SLUGS, each=3)
    predictions = predictions_of(clips, np.random.default_rng(0).random((len(clips), 20)))
    found = score.score_predictions(predictions).splits["test_new"].graded
    part = predictions.of_split("test_new")
    grades = np.array([clip.grades for clip in part.clips])
    sure = np.array(
        [
            [load_cells()[clip.activity, m.slug].confidence != "low" for m in load_muscles()]
            for clip in part.clips
        ]
    )
    assert not sure.all()  # or the test shows nothing

    def mean_ap(labels: np.ndarray, kept: np.ndarray) -> float:
        values = [
            average_precision_score(labels[rows, region], part.scores[rows, region])
            for region, rows in enumerate(kept.T)
            if labels[rows, region].any()
        ]
        return float(np.mean(values))

    everything = np.ones_like(sure)
    assert found["strict_map"].value == pytest.approx(mean_ap(grades > 0.5, everything))
    assert found["sure_map"].value == pytest.approx(mean_ap(grades > 0, sure))
    assert found["ndcg"].value == pytest.approx(ndcg_score(grades, part.scores), abs=1e-6)


def test_every_opinion_is_scored_like_a_model_on_the_same_clips(perfect):
    predictions, scores = perfect
    assert list(scores.references) == list(OPINIONS)
    for name, parts in scores.references.items():
        told = np.array([opinion(name)[clip.activity] for clip in predictions.clips])
        alone = score.score_predictions(predictions_of(list(predictions.clips), told))
        for part, found in parts.items():
            as_a_model = alone.of(part)
            assert found["map"].value == pytest.approx(as_a_model.map)
            assert found["map"].chance == as_a_model.chance
            assert {metric: found[metric] for metric in GRADED} == as_a_model.graded
    test = {name: parts["test"]["map"].value for name, parts in scores.references.items()}
    assert test["rules alone"] == pytest.approx(1.0)  # no figure or decision in these activities
    assert test["Glowupp"] < test["eight sources pooled"] < test["rules alone"]


def test_an_opinion_is_the_mean_of_its_voices_and_one_usual_one():
    chest, squat = 1, opinion("eight sources pooled")["squat"]
    cells = [load_cells()[slug, "chest"] for slug in load_activities()]
    usual = sum(cell.naming for cell in cells) / sum(cell.speaking for cell in cells)
    cell = load_cells()["squat", "chest"]
    assert squat[chest] == pytest.approx((cell.naming + usual) / (cell.speaking + 1))
    silent = next(s for s in load_activities() if load_cells()[s, "chest"].fed is None)
    said = [cell.fed for cell in cells if cell.fed is not None]
    assert opinion("free-exercise-db")[silent][chest] == pytest.approx(np.mean(said))
    for name in OPINIONS:
        values = np.array(list(opinion(name).values()))
        assert values.shape == (135, 20) and values.min() >= 0 and values.max() <= 1


def test_what_we_do_not_know_is_left_out_and_not_guessed():
    clips = clips_of(SLUGS)
    scores = np.random.default_rng(1).random((len(clips), 20))
    strangers = [replace(clip, activity=f"our {clip.activity}") for clip in clips]
    found = score.score_predictions(predictions_of(strangers, scores))
    assert found.references == {}  # of other activities nobody of us has an opinion
    assert list(found.of("test").graded) == ["strict_map", "ndcg"]  # their own grades
    other = [replace(clip, grades=None) for clip in clips]  # other labels for our activities
    found = score.score_predictions(predictions_of(other, scores))
    assert found.of("test").graded == {} and list(found.references) == list(OPINIONS)
    assert set(found.references["Glowupp"]["test_new"]) == {"map"}


def table_of(scores: score.Scores, **changes: object) -> str:
    return tables.format_table([replace(make_record(**changes), scores=scores)])


def cells_of(table: str, start: str) -> list[str]:
    (line,) = [each for each in table.splitlines() if each.startswith(start)]
    return re.split(r"\s{2,}", line.strip())[-6:]


def test_the_table_shows_three_maps_a_rank_score_and_every_reference_line(perfect):
    scores = perfect[1]
    table = table_of(scores)
    models, references, _facts = re.split(r"\n-+\n", table)[1:]
    assert cells_of(models, "toy")[-1] == "100.0"
    for name, title in GRADED.items():
        excess = 100 * scores.of("test").graded[name].excess
        assert cells_of(models, f"  {title}")[-1].rstrip("*") == f"100.0 {excess:+.1f}"
    for name in OPINIONS:
        found = scores.references[name]["test"]["map"]
        shown = cells_of(references, f"[{name}]")[-1].rstrip("*")
        assert shown == f"{100 * found.value:.1f} {100 * found.excess:+.1f}"
    assert references.count("  strict labels") == len(OPINIONS)
    assert "not a model but an opinion" in table
    assert "Weak labels: neck and head, upper back, obliques" in table
    plain = tables.format_table([replace(make_record(), scores=scores)], plain=True)
    assert "inner thighs, outer thighs, ankles and feet, wrists" in plain
    older = replace(scores, references={})
    assert "opinion" not in table_of(older)


def test_folds_show_the_mean_of_their_reference_lines(perfect):
    scores = perfect[1]
    part = scores.references["Glowupp"]["test_new"]
    half = {"map": Measured(part["map"].value / 2, part["map"].chance)}
    other = replace(
        scores,
        references={name: {**parts, "test_new": half} for name, parts in scores.references.items()},
    )
    data = make_record().data
    runs = [
        replace(
            make_record(run=f"fold{fold}", data=replace(data, all_clips="a", fold=fold, folds=2)),
            scores=each,
        )
        for fold, each in ((1, scores), (2, other))
    ]
    table = tables.format_table(runs)
    assert cells_of(table, "[Glowupp]")[-2].startswith(f"{75 * part['map'].value:.1f} ")


def test_the_csv_holds_reference_lines_once_for_all_runs_of_the_same_clips(perfect):
    runs = [replace(make_record(run=name), scores=perfect[1]) for name in ("a", "b")]
    lines = list(csv.DictReader(io.StringIO(tables.format_csv(runs))))
    mine = [line for line in lines if line["run"] == "[second reading]"]
    assert [line["split"] for line in mine] == [*EVALUATION_SPLITS, "val", "test"]
    found = perfect[1].references["second reading"]["test_new"]
    (line,) = [line for line in mine if line["split"] == "test_new"]
    assert float(line["map"]) == found["map"].value
    assert float(line["p"]) == found["map"].chance.p
    assert float(line["ndcg_excess"]) == found["ndcg"].excess
    (line,) = [each for each in lines if each["run"] == "a" and each["split"] == "test"]
    assert float(line["strict_map"]) == pytest.approx(1.0)


def test_no_opinion_can_be_told_apart_by_the_words_of_another():
    """Two of them that say the same of all cells would be one line twice."""
    values = {name: np.array(list(opinion(name).values())) for name in OPINIONS}
    names = list(values)
    for number, name in enumerate(names):
        for other in names[number + 1 :]:
            assert not np.allclose(values[name], values[other]), (name, other)
