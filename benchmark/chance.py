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
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmark.metrics import ndcg_against

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
    counted: npt.NDArray[np.bool_] | None = None,
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
        counted: ``bool [N, regions]``, likewise: where it is False, the label is not judged. It
            is dealt together with the labels. All are judged if not given.
        permutations: deals of the label sets.
        seed: of the deals.

    Returns:
        ``float64 [1 + permutations, regions]``, the true labels first; NaN without a positive.

    Raises:
        ValueError: clips of one activity have different labels.
    """
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels, bool)
    kept = np.ones_like(labels) if counted is None else np.asarray(counted, bool)
    member, (sets, judged) = _of_activities(activities, labels & kept, kept)
    deals = _deals(len(sets), permutations, seed)
    result = np.full((len(deals), scores.shape[1]), np.nan)
    if not len(scores):
        return result
    # In parts: a whole [permutations, clips] array of a large split would not fit the cache.
    part = max(1, int(1e6) // max(1, len(scores)))
    for region in range(scores.shape[1]):
        order = np.lexsort((member, -scores[:, region]))
        ranked, who = scores[order, region], member[order]
        # Equal clips of one activity are one row that counts several times.
        first = np.append(0, np.flatnonzero(np.diff(ranked) != 0) + 1)
        first = np.union1d(first, np.flatnonzero(np.diff(who)) + 1)
        times = np.diff(np.append(first, len(order))).astype(np.int32)
        ranked, who = ranked[first], who[first]
        # Equal scores share one threshold: count at the last clip of each tie.
        ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
        for start in range(0, len(deals), part):
            rows = slice(start, start + part)
            active = sets[deals[rows], region][:, who] * times
            true = np.cumsum(active, axis=1)[:, ends].astype(np.float64)
            seen = np.cumsum(times)[ends]
            if counted is not None:
                seen = np.cumsum(judged[deals[rows], region][:, who] * times, axis=1)[:, ends]
            gained = np.diff(true, axis=1, prepend=0.0)
            with np.errstate(invalid="ignore", divide="ignore"):
                # Where nothing is gained the precision may be 0 / 0, and does not count.
                terms = np.where(gained > 0, gained * true / seen, 0.0)
                result[rows, region] = terms.sum(axis=1) / true[:, -1]
    return result


def permuted_ndcg(
    scores: npt.NDArray[np.floating],
    grades: npt.NDArray[np.floating],
    activities: Sequence[str],
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """Mean NDCG (:func:`benchmark.metrics.ndcg`) against grades that are dealt anew.

    Args:
        scores: ``float [N, regions]``.
        grades: ``float [N, regions]``, the same for all clips of an activity.
        activities: the activity of each clip.
        permutations, seed: as for :func:`permuted_average_precision`: the same deals.

    Returns:
        ``float64 [1 + permutations]``, the true grades first; NaN without clips.

    Raises:
        ValueError: clips of one activity have different grades.
    """
    if not len(scores):
        return np.full(1 + permutations, np.nan)
    member, (sets,) = _of_activities(activities, np.asarray(grades, np.float64))
    # A clip's gain is linear in the grades: each deal only picks from a table of sums.
    table = np.zeros((len(sets), len(sets)))
    np.add.at(table, member, ndcg_against(scores, sets))
    deals = _deals(len(sets), permutations, seed)
    values: npt.NDArray[np.float64] = table[np.arange(len(sets)), deals].sum(axis=1) / len(scores)
    return values


def _of_activities(
    activities: Sequence[str], *arrays: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.intp], list[npt.NDArray[Any]]]:
    """The activity of each clip as a number, and one row an activity of each array."""
    _, first, member = np.unique(
        np.asarray(activities, dtype=object), return_index=True, return_inverse=True
    )
    sets = [array[first] for array in arrays]
    if not all(np.array_equal(s[member], array) for s, array in zip(sets, arrays, strict=True)):
        raise ValueError("clips of one activity have different labels")
    return member, sets


@lru_cache(maxsize=32)
def _deals(activities: int, permutations: int, seed: int) -> npt.NDArray[np.int64]:
    """``int64 [1 + permutations, activities]``: whose labels each activity gets; first its own."""
    rng = np.random.default_rng(seed)
    return np.stack(
        [np.arange(activities), *(rng.permutation(activities) for _ in range(permutations))]
    )


def chance_level(values: npt.NDArray[np.float64]) -> ChanceLevel | None:
    """The chance level of numbers [1 + draws] whose first is the true one, the others permuted.

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
