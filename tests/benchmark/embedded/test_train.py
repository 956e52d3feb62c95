"""Training on synthetic motion, the file of weights, and what the model says."""

import csv
from pathlib import Path

import numpy as np
import pytest

from benchmark.embedded.evaluate import Judged, KnownClip, Score, read_clips, report
from benchmark.embedded.model import DEMONSTRATIONS, WEIGHTS, EmbeddedModel, log_prior
from benchmark.embedded.train import Recipe, train
from musclemap_data.catalog import load_activities
from musclemap_data.errors import UserError
from musclemap_data.extract.person import join
from musclemap_data.files import file_sha256
from musclemap_data.sample.motions import EXERCISES
from musclemap_data.sample.sequences import draw_sequences
from tests.bench.bench_embedded import excess

ACTIVITIES = ("squat", "jumping_jack", "push_up")


@pytest.fixture(scope="module")
def trained() -> EmbeddedModel:
    recipe = Recipe(motions=16, epochs=14, batch=16, width=24, dropout=0.0)
    return train(recipe, ACTIVITIES, lambda line: None)


def exact(activity: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    sequence = next(draw_sequences([activity], seed, frames=96, fps=24.0))
    return sequence.skeleton, np.arange(96) / 24


@pytest.mark.slow
def test_it_learns_exercises_that_it_was_shown_and_recognises_other_people_doing_them(trained):
    right = 0
    for activity in ACTIVITIES:
        for seed in range(6):
            said = trained.recognise(*exact(activity, 1000 + seed))
            assert np.allclose(said.probabilities.sum(axis=1), 1)
            right += said.activities[said.overall.argmax()] == activity
    assert right >= 14, right


@pytest.mark.slow
def test_regions_are_those_of_the_activities(trained):
    said = trained.recognise(*exact("squat", 7))
    table = load_activities()
    active = np.array([table[slug].muscles for slug in ACTIVITIES], float)
    np.testing.assert_allclose(said.regions(), said.probabilities @ active)
    grades = said.grades()
    np.testing.assert_allclose(grades.sum(axis=2), 1)
    np.testing.assert_allclose(grades[..., 1:].sum(axis=2), said.regions(), atol=1e-9)


@pytest.mark.slow
def test_left_and_right_do_not_matter(trained):
    skeleton, times = exact("squat", 3)
    from musclemap_data.skeleton import MIRRORED

    mirrored = skeleton[:, list(MIRRORED)] * np.array([-1, 1, 1], np.float32)
    one, two = trained.recognise(skeleton, times), trained.recognise(mirrored, times)
    np.testing.assert_allclose(one.probabilities, two.probabilities, atol=1e-5)


@pytest.mark.slow
def test_the_same_recipe_makes_the_same_bytes(tmp_path):
    recipe = Recipe(motions=4, epochs=1, batch=4, width=8)
    for name in ("one", "two"):
        train(recipe, ACTIVITIES[:2], lambda line: None).save(tmp_path / name)
    assert file_sha256(tmp_path / "one") == file_sha256(tmp_path / "two")
    again = EmbeddedModel.load(tmp_path / "one")
    assert again.activities == ACTIVITIES[:2]
    assert "synthetic" in again.facts["trained_on"]


def test_an_unknown_activity_and_a_damaged_file_are_messages(tmp_path):
    with pytest.raises(UserError, match="juggling"):
        train(Recipe(), ["juggling"], lambda line: None)
    (tmp_path / "weights.safetensors").write_text("no weights")
    with pytest.raises(UserError, match=r"python -m benchmark\.embedded\.train"):
        EmbeddedModel.load(tmp_path / "weights.safetensors")


def test_the_shipped_weights_know_exercises_of_the_generator_and_are_small():
    model = EmbeddedModel.load()
    assert set(model.activities) <= set(EXERCISES)
    assert set(model.activities) <= set(load_activities())
    assert WEIGHTS.stat().st_size < 3e6


def test_the_shipped_weights_recognise_synthetic_people():
    model = EmbeddedModel.load()
    wanted = ("squat", "jumping_jack", "push_up", "crunch")
    for activity in wanted:
        right = 0
        for seed in range(5):
            said = model.recognise(*exact(activity, 5000 + seed))
            right += activity in [said.activities[a] for a in np.argsort(-said.overall)[:3]]
        assert right >= 4, activity


def test_pieces_of_a_video_become_one_course_in_which_no_time_stands_twice():
    first = np.zeros((10, 1, 17, 3), np.float32)
    second = np.ones((10, 1, 17, 3), np.float32)
    skeleton, times = join([first, second], [0.0, 0.8], 10.0)
    assert skeleton[:, 0, 0].tolist() == [0.0] * 10 + [1.0] * 8
    np.testing.assert_allclose(times, np.arange(18) / 10)
    # A piece that could not be read leaves a gap of nobody, not a jump.
    skeleton, times = join([first, second], [3.0, 5.0], 10.0)
    assert np.isnan(skeleton[10:20, :, :2]).all() and not skeleton[10:20, :, 2].any()
    np.testing.assert_allclose(times, 3 + np.arange(30) / 10)


def test_a_common_exercise_is_likelier_than_a_rare_variant_of_it():
    push_up, circle, unheard = log_prior(["push_up", "circle_push_ups", "juggling"])
    assert push_up > circle == unheard
    with DEMONSTRATIONS.open(newline="") as file:
        counted = [row["activity"] for row in csv.DictReader(file)]
    assert counted == list(load_activities())


# -- scores on clips ------------------------------------------------------------------------------


def judged(names: list[str], probabilities: list[list[float]]) -> Judged:
    table, said = load_activities(), np.array(probabilities)
    active = np.array([table[slug].muscles for slug in ACTIVITIES], float)
    clips = tuple(KnownClip(Path(f"{i}.mp4"), name) for i, name in enumerate(names))
    return Judged(clips, ACTIVITIES, said, said @ active)


def test_a_perfect_answer_is_a_perfect_score_above_chance():
    perfect = judged(list(ACTIVITIES) * 2, np.eye(3).tolist() * 2)
    score = perfect.score()
    assert score.map == pytest.approx(1.0)
    assert score.chance is not None and score.chance.mean < 1.0
    assert perfect.places().tolist() == [0] * 6


def test_activities_of_training_and_others_are_scored_apart():
    names = ["squat", "push_up", "plank", "lunge", "juggling"]
    said = judged(names, [[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], *[[0.4, 0.3, 0.3]] * 3])
    lines = list(report(said))
    assert lines[0].startswith("trained on:     2 clips of 2 activities")
    assert "first place 50.0, within three 100.0 of 3 activities" in lines[1]
    assert lines[2].startswith("not trained on: 2 clips of 2 activities")
    assert lines[3] == "without labels: 1 clips, not scored"


def test_clips_are_read_by_name_or_alias_and_a_folder_without_a_list_is_a_message(tmp_path):
    (tmp_path / "clips.csv").write_text("file,activity\na.mp4,Push-Ups\nb.mp4,juggling\n")
    clips = read_clips([tmp_path])
    assert [clip.activity for clip in clips] == ["push_up", "juggling"]
    assert clips[0].path == tmp_path / "a.mp4"
    with pytest.raises(UserError, match=r"needs a clips\.csv"):
        read_clips([tmp_path / "nowhere"])


def test_the_excess_over_chance_is_the_mean_over_folds_with_an_interval_over_activities():
    table, rng = load_activities(), np.random.default_rng(0)
    folds = [
        ["squat", "lunge", "push_up", "bicep_curl", "crunch"] * 2,
        ["plank", "pull_up", "deadlift", "jumping_jack"] * 3,
    ]
    truth = [np.array([table[name].muscles for name in names], float) for names in folds]
    mean, ends = excess(truth, folds)
    scores = [Score.of(said, names) for said, names in zip(truth, folds, strict=True)]
    assert mean == pytest.approx(np.mean([1 - score.chance.mean for score in scores]))
    guesses = [rng.random(said.shape) for said in truth]
    guessed, ends = excess(guesses, folds)
    assert ends is not None and ends[0] < guessed < ends[1] and ends[0] < 0 < mean
