"""Scores of a multi-label benchmark with known and new activities.

Everything here takes plain NumPy arrays: ``scores`` ``float [N, 20]``, ``labels`` ``bool [N, 20]``
(both one row a clip), ``groups`` ``[N]`` (what the intervals leave out in turn). Rules:

* The average precision (AP) of a region without a positive is undefined: NaN. It is left out of
  the mean, and the number of regions in the mean stands beside it.
* A region that is active in every clip has AP 1 whatever the scores ("trivial"). It stays in the
  mean; the mAP of a constant score and the chance level contain it likewise.
* An interval leaves out whole groups in turn: source videos for known activities, activities for
  new ones, because clips of one group are not independent. ``make bench-intervals`` measures how
  often such intervals hold what they promise, also with six activities; resampling does not.
* With few activities the mAP rises by itself, of any scorer: a score over new activities says what
  *as many* other new activities would give, and belongs beside its chance level
  (:mod:`benchmark.chance`), which rises with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student_t

Floats = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.bool_]

MAX_GROUPS = 200
CALIBRATION_BINS = 15
SHARE = (0.0, 1.0)
"""What an mAP can be."""


def average_precision(scores: Floats, labels: Labels) -> npt.NDArray[np.float64]:
    """AP of each region, ``float64 [regions]``; NaN for a region without a positive.

    AP is scikit-learn's: the sum over distinct scores of (recall gained) x precision.
    """
    once = np.ones((1, len(scores)))
    values: npt.NDArray[np.float64] = weighted_average_precision(scores, labels, once)[0]
    return values


def weighted_average_precision(
    scores: Floats, labels: Labels, weights: Floats
) -> npt.NDArray[np.float64]:
    """AP of each region under several weightings of the clips at once.

    Args:
        weights: ``[R, N]``, not negative: how often each clip counts in each of R replicates.

    Returns:
        ``float64 [R, regions]``; NaN where the positives of a region have no weight. Equal to
        ``sklearn.metrics.average_precision_score(..., sample_weight=weights[r])``.
    """
    scores, labels = _checked(scores, labels)
    weights = np.asarray(weights, dtype=np.float64)
    result = np.full((len(weights), scores.shape[1]), np.nan)
    if len(scores) == 0:
        return result
    for region in range(scores.shape[1]):
        order = np.argsort(-scores[:, region], kind="stable")
        ranked = scores[order, region]
        # Equal scores share one threshold: count at the last clip of each tie.
        ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
        ranked_weights = weights[:, order]
        true = np.cumsum(ranked_weights * labels[order, region], axis=1)[:, ends]
        counted = np.cumsum(ranked_weights, axis=1)[:, ends]
        gained = np.diff(true, axis=1, prepend=0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            # Where nothing is gained the precision may be 0 / 0, and does not count.
            terms = np.where(gained > 0, gained * true / counted, 0.0)
            result[:, region] = terms.sum(axis=1) / true[:, -1]
    return result


def mean_over_regions(values: Floats) -> npt.NDArray[np.float64]:
    """Mean of the defined values along the last axis [..., 20]; NaN where none is defined."""
    defined = np.isfinite(values)
    count = defined.sum(axis=-1)
    total = np.where(defined, values, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def none_if_nan(value: float) -> float | None:
    """A score as a record keeps it: None where it is undefined."""
    return float(value) if np.isfinite(value) else None


def constant_average_precision(
    labels: Labels, weights: Floats | None = None
) -> npt.NDArray[np.float64]:
    """AP of a constant score: the share of positives; NaN for a region without one.

    Args:
        weights: ``[R, N]`` as in :func:`weighted_average_precision`; all ones if not given.

    Returns:
        ``float64 [R, regions]``, or ``[regions]`` without weights.
    """
    labels = np.asarray(labels, dtype=bool)
    counts = np.ones((1, len(labels))) if weights is None else np.asarray(weights, np.float64)
    with np.errstate(invalid="ignore"):
        share = (counts @ labels) / counts.sum(axis=1, keepdims=True)
    share = np.where(share > 0, share, np.nan)
    return share[0] if weights is None else share


@dataclass(frozen=True)
class Spread:
    """A score with what it would vary by: the delete-one-group jackknife with Student's t.

    Attributes:
        value: the score itself.
        error: its standard error; NaN where there are fewer than two groups.
        degrees: degrees of freedom of the t distribution: groups - 1.
    """

    value: float
    error: float
    degrees: float

    def interval(
        self, share: float = 0.95, *, within: tuple[float, float] = (-np.inf, np.inf)
    ) -> tuple[float, float] | None:
        """The confidence interval, or None where it is undefined.

        Args:
            share: how often it is to hold the truth.
            within: what the score can be: ``SHARE`` for an mAP.
        """
        if not np.isfinite(self.value) or not np.isfinite(self.error):
            return None
        reach = float(student_t.ppf((1 + share) / 2, self.degrees)) * self.error
        return max(within[0], self.value - reach), min(within[1], self.value + reach)

    def p_above(self, value: float = 0.0) -> float | None:
        """One-sided p value that the score is above ``value`` by chance alone."""
        if not np.isfinite(self.value) or not np.isfinite(self.error):
            return None
        if self.error == 0:
            return 0.0 if self.value > value else 1.0
        return float(student_t.sf((self.value - value) / self.error, self.degrees))


def spread(value: float, left_out: npt.NDArray[np.float64]) -> Spread:
    """The spread of a score from its values with one group left out at a time.

    The variance is ``(G - 1) / G`` times the sum of squared deviations from their mean (Tukey's
    jackknife; Efron and Stein 1981).

    Args:
        value: the score over all groups.
        left_out: ``float64 [G]``, see :func:`leave_groups_out`.
    """
    count = len(left_out)
    if count < 2 or not np.isfinite(left_out).all():
        return Spread(value, float("nan"), 0)
    error = np.sqrt((count - 1) / count * np.square(left_out - left_out.mean()).sum())
    return Spread(value, float(error), count - 1)


def mean_spread(first: Spread, second: Spread) -> Spread:
    """Of the mean of two independent scores."""
    value = (first.value + second.value) / 2
    half = Spread(value, first.error / 2, first.degrees)
    return with_error(half, second.error / 2, second.degrees)


def with_error(score: Spread, error: float, degrees: float) -> Spread:
    """A score with one more, independent source of error (degrees after Welch, Satterthwaite)."""
    squares = np.array([score.error, error]) ** 2
    joined = float(np.sqrt(squares.sum()))
    if not np.isfinite(joined) or joined == 0:
        return Spread(score.value, joined, min(score.degrees, degrees))
    parts = squares**2 / np.array([score.degrees, degrees])
    return Spread(score.value, joined, float(squares.sum() ** 2 / parts.sum()))


def leave_groups_out(
    scores: npt.NDArray[np.floating], labels: npt.NDArray[np.bool_], groups: npt.NDArray[np.object_]
) -> npt.NDArray[np.float64]:
    """The mAP without each group in turn, ``float64 [G]``; empty for fewer than two groups.

    More than ``MAX_GROUPS`` groups are first joined at random, the same way for the same groups:
    the jackknife needs no more, and its time grows with the square of them.
    """
    names, members = np.unique(np.asarray(groups), return_inverse=True)
    count = len(names)
    if count < 2:
        return np.empty(0)
    if count > MAX_GROUPS:
        members = (np.random.default_rng(0).permutation(count) % MAX_GROUPS)[members]
        count = MAX_GROUPS
    weights = (members[None, :] != np.arange(count)[:, None]).astype(np.float64)
    return mean_over_regions(weighted_average_precision(scores, labels, weights))


def best_f1_threshold(probabilities: Floats, labels: Labels) -> float | None:
    """The probability at and above which to call a region active, for the highest micro F1.

    To be chosen on validation clips and then applied to others. None without a positive.
    """
    flat_scores = np.asarray(probabilities, dtype=np.float64).ravel()
    flat_labels = np.asarray(labels, dtype=bool).ravel()
    if not flat_labels.any():
        return None
    order = np.argsort(-flat_scores, kind="stable")
    ranked = flat_scores[order]
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    true = np.cumsum(flat_labels[order])[ends]
    f1 = 2 * true / (ends + 1 + flat_labels.sum())
    return float(ranked[ends[np.argmax(f1)]])


def f1_scores(probabilities: Floats, labels: Labels, threshold: float) -> tuple[float, float]:
    """Micro F1 (over all decisions) and macro F1 (mean over regions with a positive)."""
    called = np.asarray(probabilities) >= threshold
    labels = np.asarray(labels, dtype=bool)
    true = (called & labels).sum(axis=0)
    pairs = called.sum(axis=0) + labels.sum(axis=0)
    if labels.sum() == 0:
        return float("nan"), float("nan")
    micro = 2 * true.sum() / pairs.sum()
    macro = (2 * true / np.maximum(pairs, 1))[labels.any(axis=0)].mean()
    return float(micro), float(macro)


def label_ranking_average_precision(scores: Floats, labels: Labels) -> npt.NDArray[np.float64]:
    """How well each clip's own regions rank, ``float64 [N]``; NaN for a clip without a region.

    Scikit-learn's ``label_ranking_average_precision_score`` is the mean of these: for each active
    region, the share of active ones among the regions scored at least as high; then the mean.
    """
    scores, labels = _checked(scores, labels)
    result = np.full(len(scores), np.nan)
    for index, (row, active) in enumerate(zip(scores, labels, strict=True)):
        if active.any():
            higher = row[None, :] >= row[active][:, None]  # [active, regions]
            result[index] = (higher[:, active].sum(axis=1) / higher.sum(axis=1)).mean()
    return result


def ndcg(scores: Floats, grades: Floats) -> npt.NDArray[np.float64]:
    """Normalised discounted cumulative gain of each clip, ``float64 [N]``: are its regions in
    the order of their grades?

    The regions are ranked by score. One at rank k adds its grade / log2(k + 1), and the sum is
    divided by that of the best order (Jarvelin and Kekalainen 2002, the grade itself as gain).
    Equal scores share the mean of their places (McSherry and Najork 2008). Scikit-learn's
    ``ndcg_score`` is the mean of these. NaN for a clip without a graded region.

    Args:
        scores, grades: ``float [N, regions]``; grades are not negative.
    """
    gained = (_rank_discounts(scores) * grades).sum(axis=1)
    best = _best_gain(grades)
    return np.where(best > 0, gained / np.where(best > 0, best, 1.0), np.nan)


def ndcg_against(scores: Floats, grades: Floats) -> npt.NDArray[np.float64]:
    """:func:`ndcg` of every clip against every one of several rows of grades.

    Args:
        scores: ``float [N, regions]``.
        grades: ``float [A, regions]``.

    Returns:
        ``float64 [N, A]``.
    """
    with np.errstate(invalid="ignore"):
        found: npt.NDArray[np.float64] = _rank_discounts(scores) @ grades.T / _best_gain(grades)
    return found


def _rank_discounts(scores: Floats) -> npt.NDArray[np.float64]:
    """1 / log2(rank + 1) of each region of a clip, ``float64 [N, regions]``; the mean in a tie."""
    higher = (scores[:, None, :] > scores[:, :, None]).sum(axis=2)
    equal = (scores[:, None, :] == scores[:, :, None]).sum(axis=2)
    total = np.append(0.0, np.cumsum(_discounts(scores.shape[1])))
    shared: npt.NDArray[np.float64] = (total[higher + equal] - total[higher]) / equal
    return shared


def _best_gain(grades: Floats) -> npt.NDArray[np.float64]:
    """The gain of the best order, ``float64 [N]``."""
    best: npt.NDArray[np.float64] = -np.sort(-grades, axis=1) @ _discounts(grades.shape[1])
    return best


def _discounts(count: int) -> npt.NDArray[np.float64]:
    return np.asarray(1.0 / np.log2(np.arange(count) + 2.0), np.float64)


def calibration_error(probabilities: Floats, labels: Labels, bins: int = CALIBRATION_BINS) -> float:
    """Expected calibration error over all (clip, region) pairs, in equal-width bins.

    The mean over bins of |mean probability - share of positives|, weighted by the pairs in the
    bin (arXiv 1706.04599, eq. 3, with the probability of the positive class). NaN without clips.
    """
    flat = np.asarray(probabilities, dtype=np.float64).ravel()
    truth = np.asarray(labels, dtype=np.float64).ravel()
    if flat.size == 0:
        return float("nan")
    which = np.minimum((flat * bins).astype(int), bins - 1)
    gap = np.bincount(which, flat - truth, minlength=bins)
    return float(np.abs(gap).sum() / flat.size)


def _checked(scores: Floats, labels: Labels) -> tuple[Floats, Labels]:
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=bool)
    if scores.ndim != 2 or scores.shape != labels.shape:
        raise ValueError(
            f"scores are {scores.shape} and labels {labels.shape}; both must be [clips, regions]"
        )
    if not np.isfinite(scores).all():
        raise ValueError(f"{(~np.isfinite(scores)).sum()} scores are not finite")
    return scores, labels
