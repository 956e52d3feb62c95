"""Scores against scikit-learn, and the stated rules."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn import metrics as sklearn_metrics

from benchmark import metrics

# Few distinct values make many ties; small sizes make regions without positives.
SCORES = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    clips, regions = draw(st.integers(1, 12)), draw(st.integers(1, 6))
    values = draw(st.sampled_from([SCORES, st.floats(-5, 5, width=32)]))
    return (
        draw(arrays(np.float64, (clips, regions), elements=values)),
        draw(arrays(bool, (clips, regions))),
    )


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(cases())
def test_map_equals_scikit_learn_with_ties_and_empty_regions(case):
    scores, labels = case
    ours = metrics.average_precision(scores, labels)
    present = labels.any(axis=0)
    assert np.isnan(ours[~present]).all()
    for region in np.flatnonzero(present):
        theirs = sklearn_metrics.average_precision_score(labels[:, region], scores[:, region])
        assert ours[region] == pytest.approx(theirs, abs=1e-12)
    mean = metrics.mean_over_regions(ours)
    if present.any():
        theirs = sklearn_metrics.average_precision_score(
            labels[:, present], scores[:, present], average="macro"
        )
        assert mean == pytest.approx(theirs, abs=1e-12)
    else:
        assert np.isnan(mean)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(cases(), st.integers(0, 2**32 - 1))
def test_weighted_ap_equals_scikit_learn_and_repeated_clips(case, seed):
    scores, labels = case
    weights = np.random.default_rng(seed).integers(0, 4, size=(3, len(scores)))
    ours = metrics.weighted_average_precision(scores, labels, weights)
    constant = metrics.constant_average_precision(labels, weights)
    for replicate, weight in enumerate(weights):
        repeated = np.repeat(np.arange(len(scores)), weight)
        expected = metrics.average_precision(scores[repeated], labels[repeated])
        np.testing.assert_allclose(ours[replicate], expected, atol=1e-12)
        for region in np.flatnonzero(labels[repeated].any(axis=0)):
            theirs = sklearn_metrics.average_precision_score(
                labels[:, region], scores[:, region], sample_weight=weight
            )
            assert ours[replicate, region] == pytest.approx(theirs, abs=1e-12)
            assert constant[replicate, region] == pytest.approx(labels[repeated, region].mean())


@st.composite
def graded_cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    shape = draw(st.integers(1, 6)), draw(st.integers(2, 6))
    grades = st.sampled_from([0.0, 0.34, 0.67, 1.0])
    return (
        draw(arrays(np.float64, shape, elements=SCORES)),
        draw(arrays(np.float64, shape, elements=grades)),
    )


@settings(max_examples=100, deadline=None)
@given(graded_cases())
def test_ndcg_equals_scikit_learn_with_ties(case):
    scores, grades = case
    ours = metrics.ndcg(scores, grades)
    graded = grades.any(axis=1)
    assert np.isnan(ours[~graded]).all()
    for row in np.flatnonzero(graded):
        theirs = sklearn_metrics.ndcg_score(grades[[row]], scores[[row]])
        assert ours[row] == pytest.approx(theirs, abs=1e-12)
    if graded.all():
        against = metrics.ndcg_against(scores, grades)
        np.testing.assert_allclose(np.diagonal(against), ours)


def test_ndcg_of_the_right_order_is_1_and_falls_with_the_places_a_prime_mover_is_too_low():
    grades = np.array([[1.0, 0.67, 0.34, 0.0, 0.0]])
    orders = [[5, 4, 3, 2, 1], [4, 5, 3, 2, 1], [3, 5, 4, 2, 1], [1, 5, 4, 3, 2]]
    values = [metrics.ndcg(np.array([each]), grades)[0] for each in orders]
    assert values[0] == pytest.approx(1.0)
    assert values == sorted(values, reverse=True) and len(set(values)) == 4


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(cases())
def test_label_ranking_equals_scikit_learn(case):
    scores, labels = case
    ours = metrics.label_ranking_average_precision(scores, labels)
    kept = labels.any(axis=1)
    assert np.isnan(ours[~kept]).all()
    if kept.any() and labels.shape[1] > 1:
        theirs = sklearn_metrics.label_ranking_average_precision_score(labels[kept], scores[kept])
        assert ours[kept].mean() == pytest.approx(theirs, abs=1e-12)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(cases(), SCORES)
def test_f1_equals_scikit_learn_and_the_threshold_is_the_best(case, threshold):
    scores, labels = case
    if not labels.any():
        assert metrics.best_f1_threshold(scores, labels) is None
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        micro, macro = metrics.f1_scores(scores, labels, threshold)
        called = scores >= threshold
        assert micro == pytest.approx(
            sklearn_metrics.f1_score(labels.ravel(), called.ravel(), zero_division=0)
        )
        present = labels.any(axis=0)
        assert macro == pytest.approx(
            sklearn_metrics.f1_score(
                labels[:, present].astype(int),
                called[:, present].astype(int),
                average="macro" if present.sum() > 1 else "binary",
                zero_division=0,
            )
        )
    best = metrics.best_f1_threshold(scores, labels)
    best_micro, _ = metrics.f1_scores(scores, labels, best)
    for other in np.unique(scores):
        assert best_micro >= metrics.f1_scores(scores, labels, other)[0] - 1e-12


def test_calibration_error():
    labels = np.array([[True], [False], [True], [False]])
    assert metrics.calibration_error(np.full((4, 1), 0.5), labels) == pytest.approx(0.0)
    assert metrics.calibration_error(np.full((4, 1), 0.9), labels) == pytest.approx(0.4)
    assert metrics.calibration_error(labels.astype(float), labels) == pytest.approx(0.0)
    assert metrics.calibration_error(1.0 - labels, labels) == pytest.approx(1.0)
    assert np.isnan(metrics.calibration_error(np.empty((0, 20)), np.empty((0, 20), bool)))


def test_a_constant_score_gets_the_share_of_positives_and_trivial_regions_score_one():
    rng = np.random.default_rng(0)
    labels = rng.random((50, 20)) < 0.4
    labels[:, 3] = True
    labels[:, 7] = False
    constant = metrics.average_precision(np.ones((50, 20)), labels)
    np.testing.assert_allclose(constant, metrics.constant_average_precision(labels))
    assert constant[3] == 1.0
    assert np.isnan(constant[7])
    groups = np.arange(50) % 10
    left_out = metrics.leave_groups_out(np.ones((50, 20)), labels, groups)
    for group, value in enumerate(left_out):
        share = metrics.constant_average_precision(labels[groups != group])
        assert value == pytest.approx(metrics.mean_over_regions(share), abs=1e-12)
    assert metrics.average_precision(rng.random((50, 20)), labels)[3] == 1.0


def case_of(groups: int, clips: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores that know a little, labels, and a group for each of ``groups * clips`` clips."""
    rng = np.random.default_rng(seed)
    labels = rng.random((groups * clips, 20)) < 0.5
    return rng.random(labels.shape) + 0.5 * labels, labels, np.repeat(np.arange(groups), clips)


def test_each_group_is_left_out_whole():
    scores, labels, groups = case_of(7, 3, seed=1)
    names = np.array([f"video {group}" for group in groups], dtype=object)
    for group, value in enumerate(metrics.leave_groups_out(scores, labels, names)):
        kept = groups != group
        expected = metrics.average_precision(scores[kept], labels[kept])
        assert value == pytest.approx(metrics.mean_over_regions(expected), abs=1e-12)


def test_copies_within_a_group_do_not_narrow_the_interval():
    scores, labels, groups = case_of(12, 1, seed=1)
    once = metrics.leave_groups_out(scores, labels, groups)
    copied = metrics.leave_groups_out(
        *(np.repeat(each, 30, axis=0) for each in (scores, labels, groups))
    )
    np.testing.assert_allclose(once, copied, atol=1e-12)
    point = metrics.mean_over_regions(metrics.average_precision(scores, labels))
    low, high = metrics.spread(point, once).interval()
    assert low < point < high


def test_leaving_out_does_not_depend_on_the_order_of_the_clips():
    """Also where there are so many groups that they are joined."""
    for groups in (9, metrics.MAX_GROUPS + 50):
        scores, labels, members = case_of(groups, 2, seed=2)
        names = np.array([f"{member:04}" for member in members], dtype=object)
        order = np.random.default_rng(3).permutation(len(scores))
        straight = metrics.leave_groups_out(scores, labels, names)
        mixed = metrics.leave_groups_out(scores[order], labels[order], names[order])
        assert len(straight) == min(groups, metrics.MAX_GROUPS)
        np.testing.assert_allclose(mixed, straight, atol=1e-12)


@settings(max_examples=200, deadline=None)
@given(arrays(np.float64, st.integers(2, 30), elements=st.floats(-100, 100)))
def test_the_error_of_a_mean_is_its_standard_error(values):
    """Of a mean, the jackknife is ``s / sqrt(n)`` exactly, and the interval is Student's."""
    count, mean = len(values), values.mean()
    found = metrics.spread(mean, (values.sum() - values) / (count - 1))
    error = values.std(ddof=1) / np.sqrt(count)
    assert found.error == pytest.approx(error, abs=1e-9)
    assert found.degrees == count - 1
    if error > 1e-3:
        low, high = stats.t.interval(0.95, count - 1, mean, error)
        assert found.interval() == pytest.approx((low, high))
        theirs = stats.ttest_1samp(values, 1.5, alternative="greater").pvalue
        assert found.p_above(1.5) == pytest.approx(theirs, abs=1e-6)


def test_a_difference_that_is_always_nothing_is_never_better():
    nothing = metrics.spread(0.0, np.zeros(8))
    assert nothing.interval() == (0.0, 0.0)
    assert nothing.p_above(0.0) == 1.0
    assert metrics.spread(0.1, np.full(8, 0.1)).p_above(0.0) == 0.0


def test_errors_add_up_with_the_degrees_of_welch():
    first, second = metrics.Spread(0.4, 0.03, 5), metrics.Spread(0.6, 0.04, 11)
    mean = metrics.mean_spread(first, second)
    assert (mean.value, mean.error) == (pytest.approx(0.5), pytest.approx(0.025))
    assert mean.degrees == pytest.approx(0.05**4 / (0.03**4 / 5 + 0.04**4 / 11))
    assert metrics.with_error(first, 0.0, 2) == metrics.Spread(0.4, 0.03, pytest.approx(5))
    undefined = metrics.mean_spread(first, metrics.Spread(0.6, float("nan"), 0))
    assert undefined.interval() is None and undefined.p_above(0.0) is None


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    """The score of a known population lies in 95% of the intervals from 80 clips of it."""
    rng = np.random.default_rng(2)
    big_labels = rng.random((20000, 3)) < 0.4
    big_scores = rng.normal(size=(20000, 3)) + big_labels
    truth = metrics.mean_over_regions(metrics.average_precision(big_scores, big_labels))
    hits = 0
    for _ in range(200):
        chosen = rng.choice(20000, 80, replace=False)
        scores, labels = big_scores[chosen], big_labels[chosen]
        point = metrics.mean_over_regions(metrics.average_precision(scores, labels))
        left_out = metrics.leave_groups_out(scores, labels, np.arange(80))
        low, high = metrics.spread(point, left_out).interval()
        hits += low <= truth <= high
    assert 180 <= hits <= 199


def test_with_few_groups_the_interval_still_holds_the_score():
    """Four activities, each with its own regions: resampling with replacement would fail here."""
    rng = np.random.default_rng(3)
    labels = np.repeat(rng.random((4, 20)) < 0.35, 5, axis=0)
    for seed in range(20):
        scores = np.random.default_rng(seed).random(labels.shape) + 0.3 * labels
        point = metrics.mean_over_regions(metrics.average_precision(scores, labels))
        left_out = metrics.leave_groups_out(scores, labels, np.repeat(np.arange(4), 5))
        low, high = metrics.spread(point, left_out).interval()
        assert low < point < high


def test_too_few_groups_or_clips_give_no_interval():
    labels = np.ones((5, 20), bool)
    one = metrics.leave_groups_out(labels * 0.5, labels, np.zeros(5))
    assert metrics.spread(1.0, one).interval() is None
    empty = metrics.leave_groups_out(np.empty((0, 20)), np.empty((0, 20), bool), np.empty(0))
    assert metrics.spread(float("nan"), empty).interval() is None
    assert metrics.spread(1.0, empty).p_above(0.0) is None
    assert np.isnan(metrics.average_precision(np.empty((0, 20)), np.empty((0, 20), bool))).all()


def test_bad_scores_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        metrics.average_precision(np.full((2, 20), np.nan), np.ones((2, 20), bool))
    with pytest.raises(ValueError, match=r"\(2, 19\)"):
        metrics.average_precision(np.zeros((2, 19)), np.ones((2, 20), bool))
