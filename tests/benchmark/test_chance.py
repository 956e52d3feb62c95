"""The chance level: what a scorer that knows nothing gets, and how seldom it gets a star."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, ndcg_score

from benchmark import metrics
from benchmark.chance import chance_level, permuted_average_precision, permuted_ndcg
from musclemap_data.catalog import load_activities

LABELS = np.array([activity.muscles for activity in load_activities().values()], dtype=bool)


def simulated(
    rng: np.random.Generator, activities: int, skill: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores that are consistent within an activity, true labels, the activity of each clip."""
    labels = LABELS[rng.choice(len(LABELS), activities, replace=False)]
    opinion = skill * (2 * labels - 1) + rng.normal(size=labels.shape)
    activity = np.repeat(np.arange(activities), rng.integers(3, 15, activities))
    scores = opinion[activity] + 0.3 * rng.normal(size=(len(activity), labels.shape[1]))
    return scores, labels[activity], activity.astype(str)


def level_of(scores, labels, activity, permutations=499):
    values = permuted_average_precision(scores, labels, activity, permutations=permutations)
    return chance_level(metrics.mean_over_regions(values))


@pytest.mark.parametrize("activities", [6, 12, 20])
def test_a_scorer_that_knows_nothing_seldom_gets_a_star(activities):
    """At most 5% of 200; the lift over a constant, starred before, was above 0 in two of three."""
    rng = np.random.default_rng(activities)
    stars, above_constant = 0, 0
    for _ in range(200):
        scores, labels, activity = simulated(rng, activities)
        level = level_of(scores, labels, activity, permutations=199)
        stars += level.significant
        constant = metrics.mean_over_regions(metrics.constant_average_precision(labels))
        above_constant += level.mean > constant
    assert stars <= 10
    assert above_constant >= 190


def test_a_scorer_that_knows_a_lot_gets_one():
    rng = np.random.default_rng(1)
    level = level_of(*simulated(rng, 12, skill=2.0))
    assert level.significant
    assert level.p == pytest.approx(1 / 500)


def test_the_first_row_is_the_true_score_and_the_others_are_sound():
    rng = np.random.default_rng(2)
    scores, labels, activity = simulated(rng, 8)
    scores = np.round(scores, 1)  # with ties
    values = permuted_average_precision(scores, labels, activity, permutations=20, seed=5)
    np.testing.assert_allclose(values[0], metrics.average_precision(scores, labels))
    names, first, member = np.unique(activity, return_index=True, return_inverse=True)
    deals = np.random.default_rng(5)
    for row in values[1:]:
        dealt = labels[first][deals.permutation(len(names))][member]
        np.testing.assert_allclose(row, metrics.average_precision(scores, dealt))


def test_p_is_uniform_where_nothing_is_known():
    rng = np.random.default_rng(3)
    ps = [level_of(*simulated(rng, 10), permutations=99).p for _ in range(200)]
    assert np.mean(ps) == pytest.approx(0.5, abs=0.07)
    assert 0.15 < np.mean(np.array(ps) <= 0.25) < 0.36


def test_a_constant_score_is_at_its_chance_level():
    rng = np.random.default_rng(4)
    _, labels, activity = simulated(rng, 9)
    level = level_of(np.zeros_like(labels, dtype=float), labels, activity)
    assert level.p > 0.05
    assert not level.significant


def test_what_cannot_be_permuted_is_refused_or_none():
    labels = np.array([[True], [False]])
    with pytest.raises(ValueError, match="different labels"):
        permuted_average_precision(np.zeros((2, 1)), labels, ["squat", "squat"])
    nothing = permuted_average_precision(np.zeros((0, 1)), np.zeros((0, 1), bool), [])
    assert chance_level(metrics.mean_over_regions(nothing)) is None
    no_positive = permuted_average_precision(np.zeros((2, 1)), labels & False, ["a", "b"])
    assert chance_level(no_positive[:, 0]) is None


def test_cells_that_are_not_judged_leave_with_their_labels():
    rng = np.random.default_rng(3)
    scores, labels, activity = simulated(rng, 8)
    scores = np.round(scores, 1)  # with ties
    names, first, member = np.unique(activity, return_index=True, return_inverse=True)
    judged = rng.random((len(names), labels.shape[1])) < 0.7
    values = permuted_average_precision(
        scores, labels, activity, counted=judged[member], permutations=5, seed=5
    )
    deals = np.random.default_rng(5)
    order = np.arange(len(names))
    for row in values:
        for region in range(labels.shape[1]):
            kept = judged[order][member, region]
            dealt = labels[first][order][member, region][kept]
            if dealt.any():
                expected = average_precision_score(dealt, scores[kept, region])
                assert row[region] == pytest.approx(expected)
            else:
                assert np.isnan(row[region])
        order = deals.permutation(len(names))


def test_permuted_ndcg_is_scikit_learns_on_the_same_deals():
    rng = np.random.default_rng(4)
    grades = np.array([activity.grades for activity in load_activities().values()])[:7]
    member = np.repeat(np.arange(7), [3, 1, 2, 5, 1, 4, 2])
    scores = np.round(rng.random((len(member), 20)), 1)  # with ties
    activity = member.astype(str)
    values = permuted_ndcg(scores, grades[member], activity, permutations=6, seed=9)
    deals, order = np.random.default_rng(9), np.arange(7)
    for value in values:
        assert value == pytest.approx(ndcg_score(grades[order][member], scores))
        order = deals.permutation(7)
    assert np.isnan(permuted_ndcg(np.zeros((0, 20)), np.zeros((0, 20)), [])).all()
    with pytest.raises(ValueError, match="different labels"):
        permuted_ndcg(scores[:2], np.eye(20)[:2], ["squat", "squat"])
