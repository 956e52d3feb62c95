"""How near the label sets of new activities are to those seen in training.

Labels belong to activities. A new activity whose label set equals that of a training activity (a
*label twin*) can be scored well by naming the old one, and most other new activities differ from
some training activity in a region or two. So the scores of a split of new activities are also given
by the Hamming distance of the label set to the nearest one of training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmark import metrics
from benchmark.chance import ChanceLevel, chance_level, permuted_average_precision

FARTHEST = 3
"""Distances from here on share one row."""


@dataclass(frozen=True)
class NearnessScores:
    """The clips of a split at one distance from the label sets of training.

    Attributes:
        map: over these clips alone; None where it is undefined.
        chance: its chance level; None where clips of one activity have different labels.
    """

    activities: int
    clips: int
    map: float | None
    chance: ChanceLevel | None


def distance_to_training(
    labels: npt.NDArray[np.bool_], trained: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Regions in which each label set differs from the nearest one of training, ``int64 [N]``.

    Args:
        labels: ``bool [N, 20]``.
        trained: ``bool [M, 20]``, M at least 1.
    """
    seen = np.unique(trained, axis=0).astype(np.int64)
    sets, member = np.unique(labels, axis=0, return_inverse=True)
    own = sets.astype(np.int64)
    different = own @ (1 - seen).T + (1 - own) @ seen.T
    nearest: npt.NDArray[np.int64] = different.min(axis=1)[member.reshape(-1)]
    return nearest


def scores_by_distance(
    scores: npt.NDArray[np.floating],
    labels: npt.NDArray[np.bool_],
    activities: Sequence[str],
    trained: npt.NDArray[np.bool_],
) -> dict[str, NearnessScores]:
    """``"0"``, ``"1"``, ``"2"``, ``"3+"`` -> the scores of the clips at that distance.

    Args:
        scores: ``float [N, 20]``.
        labels: ``bool [N, 20]``.
        activities: the activity of each clip.
        trained: ``bool [M, 20]``, the label sets of the training clips.

    Returns:
        Only distances that have a clip; nothing without a training clip.
    """
    if not len(trained) or not len(labels):
        return {}
    distances = np.minimum(distance_to_training(labels, trained), FARTHEST)
    found = {}
    for distance in np.unique(distances).tolist():
        rows = np.flatnonzero(distances == distance)
        names = [activities[row] for row in rows.tolist()]
        try:
            dealt = permuted_average_precision(scores[rows], labels[rows], names)
            chance = chance_level(metrics.mean_over_regions(dealt))
        except ValueError:  # clips of one activity have different labels
            chance = None
        mean = metrics.mean_over_regions(metrics.average_precision(scores[rows], labels[rows]))
        found[f"{distance}{'+' * (distance == FARTHEST)}"] = NearnessScores(
            len(set(names)), len(rows), metrics.none_if_nan(float(mean)), chance
        )
    return found
