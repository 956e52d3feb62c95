"""Scores against scikit-learn, and the stated rules."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
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


def test_a_constant_score_has_no_lift_and_trivial_regions_score_one():
    rng = np.random.default_rng(0)
    labels = rng.random((50, 20)) < 0.4
    labels[:, 3] = True
    labels[:, 7] = False
    constant = metrics.average_precision(np.ones((50, 20)), labels)
    np.testing.assert_allclose(constant, metrics.constant_average_precision(labels))
    assert constant[3] == 1.0
    assert np.isnan(constant[7])
    replicates = metrics.bootstrap(np.ones((50, 20)), labels, np.arange(50) % 10)
    np.testing.assert_allclose(replicates.lift, 0.0, atol=1e-12)
    assert metrics.average_precision(rng.random((50, 20)), labels)[3] == 1.0


def test_bootstrap_resamples_groups_not_clips():
    """Copies of a clip within its group add nothing, so the interval must not shrink."""
    rng = np.random.default_rng(1)
    labels = rng.random((12, 20)) < 0.5
    scores = rng.random((12, 20)) + 0.5 * labels
    once = metrics.bootstrap(scores, labels, np.arange(12))
    copied = metrics.bootstrap(
        np.repeat(scores, 30, axis=0), np.repeat(labels, 30, axis=0), np.repeat(np.arange(12), 30)
    )
    np.testing.assert_allclose(once.mean_ap, copied.mean_ap, atol=1e-12)
    low, high = metrics.interval(once.mean_ap)
    point = metrics.mean_over_regions(metrics.average_precision(scores, labels))
    assert low < point < high


def test_bootstrap_covers_the_truth_about_as_often_as_it_says():
    """The mean of a known population lies in most 95% intervals (a bootstrap of 30 is rough)."""
    rng = np.random.default_rng(2)
    big_labels = rng.random((20000, 3)) < 0.4
    big_scores = rng.normal(size=(20000, 3)) + big_labels
    truth = metrics.mean_over_regions(metrics.average_precision(big_scores, big_labels))
    hits = 0
    for trial in range(60):
        chosen = rng.choice(20000, 80, replace=False)
        replicates = metrics.bootstrap(
            big_scores[chosen], big_labels[chosen], np.arange(80), replicates=200, seed=trial
        )
        low, high = metrics.interval(replicates.mean_ap)
        hits += low <= truth <= high
    assert hits >= 48


def test_with_few_groups_the_interval_still_holds_the_score():
    """Four activities, each with its own regions: resampling with replacement would fail here."""
    rng = np.random.default_rng(3)
    labels = np.repeat(rng.random((4, 20)) < 0.35, 5, axis=0)
    for seed in range(20):
        scores = np.random.default_rng(seed).random(labels.shape) + 0.3 * labels
        replicates = metrics.bootstrap(scores, labels, np.repeat(np.arange(4), 5))
        low, high = metrics.interval(replicates.mean_ap)
        point = metrics.mean_over_regions(metrics.average_precision(scores, labels))
        assert low < point < high


def test_too_few_groups_or_clips_give_no_interval():
    labels = np.ones((5, 20), bool)
    assert metrics.interval(metrics.bootstrap(labels * 0.5, labels, np.zeros(5)).mean_ap) is None
    empty = metrics.bootstrap(np.empty((0, 20)), np.empty((0, 20), bool), np.empty(0))
    assert metrics.interval(empty.mean_ap) is None
    assert np.isnan(metrics.average_precision(np.empty((0, 20)), np.empty((0, 20), bool))).all()


def test_bad_scores_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        metrics.average_precision(np.full((2, 20), np.nan), np.ones((2, 20), bool))
    with pytest.raises(ValueError, match=r"\(2, 19\)"):
        metrics.average_precision(np.zeros((2, 19)), np.ones((2, 20), bool))
