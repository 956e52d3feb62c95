"""Scores that know more of a label than active or not, and opinions on the labels as yardsticks.

Labels are a reading of rules, and independent sources confirm them to a different degree. So a
run is scored in three more ways (:data:`GRADED`), and whatever else has an opinion on the labels is
scored on the same clips as if it were a model (:data:`OPINIONS`). An opinion is no model: it is
told the activity of each clip and never sees the video. A model that scores higher than the pooled
sources has learned our rules rather than what everybody agrees on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from benchmark.chance import (
    PERMUTATIONS,
    chance_level,
    permuted_average_precision,
    permuted_ndcg,
)
from benchmark.clips import Clip
from benchmark.metrics import mean_over_regions, none_if_nan
from benchmark.record import Measured
from musclemap_data.catalog import STRICT_FROM, load_activities, load_muscles
from musclemap_data.labels import GradedCell, load_cells

Numbers = npt.NDArray[np.float64]

GRADED = {
    "strict_map": "strict labels",
    "sure_map": "surer cells",
    "ndcg": "grades (NDCG)",
}
"""Scores beside the mAP -> how a table calls them.

``strict_map``: the mAP where synergists and prime movers alone count as active. ``sure_map``: the
mAP without the cells (activity and region) of low confidence. ``ndcg``: whether each clip's regions
are in the order of their grades (:func:`benchmark.metrics.ndcg`), the mean over the clips.
"""

OPINIONS: dict[str, Callable[[GradedCell], tuple[float, float]]] = {
    "free-exercise-db": lambda cell: _one_voice(cell.fed),
    "Glowupp": lambda cell: _one_voice(cell.glowupp),
    "eight sources pooled": lambda cell: (cell.naming, cell.speaking),
    "rules alone": lambda cell: (cell.rules, 1),
    "second reading": lambda cell: (cell.second_reading, 1),
}
"""Name of an opinion -> what it says of a cell: the sum of its voices, and how many speak."""


def _one_voice(value: float | None) -> tuple[float, float]:
    return (0.0, 0) if value is None else (value, 1)


@cache
def opinion(name: str) -> Mapping[str, Numbers]:
    """What an opinion scores our activities with: slug -> ``float64 [20]``, 0 to 1.

    That is the mean of its voices and one more: its own mean for the region over all activities.
    So one voice of one weighs less than seven of eight, and where nobody speaks the score is in the
    middle, neither for nor against.
    """
    slugs = list(_our_grades())
    said = np.array(
        [
            [OPINIONS[name](load_cells()[slug, muscle.slug]) for muscle in load_muscles()]
            for slug in slugs
        ],
        dtype=np.float64,
    )
    total, voices = said[..., 0], said[..., 1]
    usual = total.sum(axis=0) / np.maximum(voices.sum(axis=0), 1)
    scores = (total + usual) / (voices + 1)
    return dict(zip(slugs, scores, strict=True))


def opinion_scores(name: str, clips: Sequence[Clip]) -> Numbers | None:
    """An opinion's scores of clips, ``float64 [N, 20]``; None if one has no activity of ours."""
    known = opinion(name)
    if any(clip.activity not in known for clip in clips):
        return None
    return np.array([known[clip.activity] for clip in clips]).reshape(-1, len(load_muscles()))


def dealt_average_precision(
    scores: npt.NDArray[np.floating],
    labels: npt.NDArray[np.bool_],
    clips: Sequence[Clip],
    seed: int,
) -> Numbers:
    """AP of each region against the true labels, then against permuted ones.

    Returns:
        ``float64 [1 + permutations, 20]``; NaN where clips of one activity have different labels.
    """
    sets = {(clip.activity, clip.muscles) for clip in clips}
    if len(sets) > len({activity for activity, _ in sets}):
        return np.full((1 + PERMUTATIONS, labels.shape[1]), np.nan)
    activities = [clip.activity for clip in clips]
    return permuted_average_precision(scores, labels, activities, seed=seed)


def graded_values(
    scores: npt.NDArray[np.floating], clips: Sequence[Clip], seed: int
) -> dict[str, Numbers]:
    """The scores of :data:`GRADED`, each against the true labels and against permuted ones.

    Args:
        scores: ``float [N, 20]``, of the clips of one split.
        seed: of the deals, see :mod:`benchmark.chance`.

    Returns:
        Name -> ``float64 [1 + permutations]``, the true one first. Without the names that the
        clips cannot have: the first and the last need grades, the second our own labels.
    """
    activities = [clip.activity for clip in clips]
    if any(clip.grades is None for clip in clips):
        return {}
    grades = np.array([clip.grades for clip in clips], np.float64).reshape(-1, len(load_muscles()))
    strict = permuted_average_precision(scores, grades >= STRICT_FROM, activities, seed=seed)
    found = {"strict_map": mean_over_regions(strict)}
    ours = _our_grades()
    if all(clip.grades == ours.get(clip.activity) for clip in clips):
        sure = permuted_average_precision(
            scores, grades > 0, activities, counted=_sure_cells(activities), seed=seed
        )
        found["sure_map"] = mean_over_regions(sure)
    found["ndcg"] = permuted_ndcg(scores, grades, activities, seed=seed)
    return found


@cache
def _our_grades() -> Mapping[str, tuple[float, ...]]:
    return {slug: activity.grades for slug, activity in load_activities().items()}


def _sure_cells(activities: Sequence[str]) -> npt.NDArray[np.bool_]:
    """``bool [N, 20]``: whether a cell's confidence is high or medium."""
    cells, regions = load_cells(), [muscle.slug for muscle in load_muscles()]
    sure = {
        name: [cells[name, region].confidence != "low" for region in regions]
        for name in set(activities)
    }
    return np.array([sure[name] for name in activities], bool).reshape(-1, len(regions))


def measured(values: Numbers) -> Measured:
    """A number whose first value is the true one, the others permuted."""
    return Measured(none_if_nan(values[0]), chance_level(values))


def mean_measured(known: Mapping[str, Numbers], new: Mapping[str, Numbers]) -> dict[str, Measured]:
    """The mean of a split of known activities and one of new ones, of what both have."""
    return {name: measured((known[name] + new[name]) / 2) for name in known if name in new}


def score_opinions(
    clips: Mapping[str, Sequence[Clip]],
) -> dict[str, dict[str, dict[str, Measured]]]:
    """All opinions, scored on the clips of each split as a model is.

    Args:
        clips: split -> its clips.

    Returns:
        As :attr:`benchmark.record.Scores.references` holds them; empty if a clip is of no activity
        of ours.
    """
    found: dict[str, dict[str, dict[str, Measured]]] = {}
    for name in OPINIONS:
        values: dict[str, dict[str, Numbers]] = {}
        for number, (split, members) in enumerate(clips.items()):
            scores = opinion_scores(name, members)
            if scores is None:
                return {}
            labels = np.array([clip.muscles for clip in members], bool).reshape(scores.shape)
            dealt = mean_over_regions(dealt_average_precision(scores, labels, members, number))
            values[split] = {"map": dealt, **graded_values(scores, members, number)}
        found[name] = {
            split: {metric: measured(each) for metric, each in values[split].items()}
            for split in clips
        }
        for half in ("val", "test"):
            found[name][half] = mean_measured(values[f"{half}_known"], values[f"{half}_new"])
    return found
