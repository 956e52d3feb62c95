"""Scores of a multi-label benchmark with known and new activities.

Everything here takes plain NumPy arrays: ``scores`` ``float [N, 20]``, ``labels`` ``bool [N, 20]``
(both one row a clip), ``groups`` ``[N]`` (what the bootstrap resamples). Rules:

* The average precision (AP) of a region without a positive is undefined: NaN. It is left out of
  the mean, and the number of regions in the mean stands beside it.
* A region that is active in every clip has AP 1 whatever the scores ("trivial"). It stays in the
  mean; that is why the mAP of a constant score is reported, and the lift over it, in points of mAP.
* An interval is the middle 95% of bootstrap replicates over whole groups: source videos for known
  activities, activities for new ones, because clips of one group are not independent. It is the
  Bayesian bootstrap (Rubin 1981): a replicate gives every group a random weight, and none the
  weight 0. Drawing groups with replacement would lose whole regions from many replicates where
  groups are few; what stays then scores high with any model, and the interval can lie above the
  score itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.bool_]

REPLICATES = 1000
CALIBRATION_BINS = 15


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
    """Mean of the defined values along the last axis; NaN where none is defined."""
    defined = np.isfinite(values)
    count = defined.sum(axis=-1)
    total = np.where(defined, values, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


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
class Bootstrap:
    """Replicates of a split's mAP and of its lift over a constant score, each ``float64 [R]``.

    Replicates are NaN where fewer than two groups exist, or no region had a positive.
    """

    mean_ap: npt.NDArray[np.float64]
    lift: npt.NDArray[np.float64]


def bootstrap(
    scores: Floats,
    labels: Labels,
    groups: npt.NDArray[Any],
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Bootstrap:
    """Weigh whole groups at random (Bayesian bootstrap) and score each replicate.

    The draws depend on the groups and the seed alone, so two runs over the same clips get the
    same replicates and can be compared pair by pair.
    """
    names, members = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        nothing = np.full(replicates, np.nan)
        return Bootstrap(nothing, nothing)
    rng = np.random.default_rng(seed)
    # Exponential weights are Dirichlet(1, ..., 1) but for their sum, which AP does not see.
    draws = rng.exponential(size=(replicates, len(names)))
    mean_ap, constant = np.empty(replicates), np.empty(replicates)
    # In parts: a whole [replicates, clips] array of a large split would not fit the cache.
    part = max(1, int(2e6) // max(1, len(members)))
    for first in range(0, replicates, part):
        weights = draws[first : first + part][:, members]
        rows = slice(first, first + part)
        mean_ap[rows] = mean_over_regions(weighted_average_precision(scores, labels, weights))
        constant[rows] = mean_over_regions(constant_average_precision(labels, weights))
    return Bootstrap(mean_ap, mean_ap - constant)


def interval(replicates: Floats, share: float = 0.95) -> tuple[float, float] | None:
    """The middle ``share`` of the replicates, or None where it is undefined."""
    finite = replicates[np.isfinite(replicates)]
    if len(finite) < 2:
        return None
    low, high = np.quantile(finite, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


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
