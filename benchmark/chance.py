"""What a scorer gets that knows nothing: the chance level of a split.

Labels belong to activities. A scorer that gives all clips of an activity much the same scores, but
knows nothing of muscles, does not score like a constant: with few activities it is right or wrong
about whole activities at a time, and lies above the constant on average. So a score is held
against permutations: the label sets of the split are dealt anew to its activities, and the same
scores are scored against these labels. A scorer that knows nothing cannot tell the true labels
from such a deal, so its score is one more draw of the same distribution (a permutation test,
Fisher 1935; the +1 in ``p`` after Phipson and Smyth 2010, so that p is never 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PERMUTATIONS = 1999
SIGNIFICANT = 0.01
"""A score gets a star where its p is below. Not 0.05: a table has dozens of cells, and one in
twenty of a scorer without any skill would get a star."""


@dataclass(frozen=True)
class ChanceLevel:
    """The chance level of one number: of a split's mAP, or of one region's AP.

    Attributes:
        mean: what the permuted labels give on average; 0 to 1.
        high: the 95th percentile of that.
        p: the share of permutations that score at least as high as the true labels.
    """

    mean: float
    high: float
    p: float

    @property
    def significant(self) -> bool:
        """Whether the score may be called better than chance."""
        return self.p < SIGNIFICANT


def permuted_average_precision(
    scores: npt.NDArray[np.floating],
    labels: npt.NDArray[np.bool_],
    activities: Sequence[str],
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """AP of each region against labels that are dealt anew to the activities.

    The deals depend on the activities, their number and the seed alone, so two runs over the same
    clips meet the same ones.

    Args:
        scores: ``float [N, regions]``.
        labels: ``bool [N, regions]``, the same for all clips of an activity.
        activities: the activity of each clip.
        permutations: deals of the label sets.
        seed: of the deals.

    Returns:
        ``float64 [1 + permutations, regions]``, the true labels first; NaN without a positive.

    Raises:
        ValueError: clips of one activity have different labels.
    """
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels, bool)
    names, first, member = np.unique(
        np.asarray(activities, dtype=object), return_index=True, return_inverse=True
    )
    sets = labels[first]  # [activities, regions]
    if not np.array_equal(sets[member], labels):
        raise ValueError("clips of one activity have different labels")
    rng = np.random.default_rng(seed)
    deals = np.stack(
        [np.arange(len(names)), *(rng.permutation(len(names)) for _ in range(permutations))]
    )
    result = np.full((len(deals), scores.shape[1]), np.nan)
    if not len(scores):
        return result
    counted = np.arange(1, len(scores) + 1)
    # In parts: a whole [permutations, clips] array of a large split would not fit the cache.
    part = max(1, int(1e6) // max(1, len(scores)))
    for region in range(scores.shape[1]):
        order = np.argsort(-scores[:, region], kind="stable")
        ranked = scores[order, region]
        # Equal scores share one threshold: count at the last clip of each tie.
        ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
        who = member[order]
        for start in range(0, len(deals), part):
            rows = slice(start, start + part)
            active = sets[deals[rows], region][:, who]
            true = np.cumsum(active, axis=1)[:, ends].astype(np.float64)
            gained = np.diff(true, axis=1, prepend=0.0)
            with np.errstate(invalid="ignore", divide="ignore"):
                precision = true / counted[ends]
                result[rows, region] = (gained * precision).sum(axis=1) / true[:, -1]
    return result


def chance_level(values: npt.NDArray[np.float64]) -> ChanceLevel | None:
    """The chance level of numbers whose first is the true one, the others permuted.

    Returns:
        None where the true value is undefined, or there is nothing to permute.
    """
    true, permuted = values[0], values[1:][np.isfinite(values[1:])]
    if not np.isfinite(true) or not len(permuted):
        return None
    # A deal that repeats the true labels is a draw like any other; rounding must not hide that.
    reached = int((permuted >= true - 1e-12).sum())
    return ChanceLevel(
        float(permuted.mean()),
        float(np.quantile(permuted, 0.95)),
        (1 + reached) / (1 + len(permuted)),
    )
