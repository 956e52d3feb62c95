"""What the predictions of a run say beyond its score: numbers for the report and the figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmark import metrics
from benchmark.predictions import Predictions
from benchmark.record import SplitScores
from musclemap_data.catalog import load_activities, load_muscles, normalise_name
from musclemap_data.errors import UserError

MOST_ACTIVITIES = 40
"""With more, a confusion matrix is of families of activities."""


def scored_half(predictions: Predictions) -> str:
    """``test``, or ``val`` where no test clip was scored."""
    return "test" if any(c.split.startswith("test") for c in predictions.clips) else "val"


def of_half(predictions: Predictions, half: str) -> Predictions:
    """The clips of ``half_known`` and ``half_new`` together."""
    rows = [n for n, clip in enumerate(predictions.clips) if clip.split.startswith(f"{half}_")]
    clips = [predictions.clips[row] for row in rows]
    return Predictions(clips, predictions.scores[rows], predictions.views[rows])


def find_region(name: str) -> int:
    """The index of a muscle region by its slug, its name or another name for it.

    Raises:
        UserError: no region, or several, are called so.
    """
    wanted = normalise_name(name)
    muscles = load_muscles()
    for kind in ("slug", "name", "plain", "aliases"):
        found = []
        for muscle in muscles:
            value = getattr(muscle, kind)
            names = value if kind == "aliases" else (value,)
            if wanted in map(normalise_name, names):
                found.append(muscle)
        if len(found) == 1:
            return found[0].index
        if found:
            raise UserError(f"{name!r} may be {' or '.join(m.name for m in found)}; say which")
    known = ", ".join(muscle.slug for muscle in muscles)
    raise UserError(f"there is no muscle region {name!r}; the regions are {known}")


@dataclass(frozen=True)
class RegionScores:
    """The regions of one split; arrays ``[20]``, NaN where a region has no positive.

    Attributes:
        average_precision: in 0..1.
        chance: what a scorer that knows nothing gets (:mod:`benchmark.chance`).
        p: of the average precision above it.
        positives: clips in which the region is active.
        clips: clips of the split.
    """

    average_precision: npt.NDArray[np.float64]
    chance: npt.NDArray[np.float64]
    p: npt.NDArray[np.float64]
    positives: npt.NDArray[np.int64]
    clips: int


def region_scores(predictions: Predictions, scores: SplitScores) -> RegionScores:
    """Average precision of every region, with what is needed to judge it."""
    labels = predictions.labels
    levels = [scores.per_region_chance[muscle.slug] for muscle in load_muscles()]
    return RegionScores(
        metrics.average_precision(predictions.scores, labels),
        np.array([level.mean if level else np.nan for level in levels]),
        np.array([level.p if level else np.nan for level in levels]),
        labels.sum(axis=0),
        len(labels),
    )


@dataclass(frozen=True)
class Confusion:
    """Which activity's label set the predicted scores are nearest to.

    Attributes:
        names: of rows and columns.
        new: whether each was never shown in training; of a family, whether all of it.
        share: ``float64 [A, A]``: of a row's clips, the share that is nearest to each column.
        clips: of each row, ``int64 [A]``.
        activities: how many there were to choose from.
        correct: share of all clips that are nearest to their own activity (not only family).
        median_place: of a clip's own activity among all, 1 is the nearest.
    """

    names: Sequence[str]
    new: Sequence[bool]
    share: npt.NDArray[np.float64]
    clips: npt.NDArray[np.int64]
    activities: int
    correct: float
    median_place: float

    @property
    def families(self) -> bool:
        """Whether rows and columns are families of activities."""
        return len(self.names) != self.activities


def activity_confusion(predictions: Predictions) -> Confusion:
    """Assign each clip to the activity whose label set explains its scores best.

    That is the activity with the largest likelihood of its labels y under the scores p, taken as
    independent: sum over regions of y log p + (1 - y) log(1 - p). Activities with the same label
    set share a clip equally: nothing can tell them apart. Activities of the given clips are
    assigned, no others.

    Args:
        predictions: one clip or more.
    """
    known = {clip.activity: clip.muscles for clip in predictions.clips}
    is_new = {clip.activity: clip.split.endswith("_new") for clip in predictions.clips}
    names = sorted(known, key=lambda name: (is_new[name], name))
    labels = np.array([known[name] for name in names], dtype=np.float64)
    likelihood = _log_likelihood(predictions.scores[:, None], labels[None])
    best = np.isclose(likelihood, likelihood.max(axis=1, keepdims=True), rtol=0, atol=1e-9)
    credit = best / best.sum(axis=1, keepdims=True)
    own = np.array([names.index(clip.activity) for clip in predictions.clips])
    own_likelihood = np.take_along_axis(likelihood, own[:, None], axis=1)
    equal = np.isclose(likelihood, own_likelihood, rtol=0, atol=1e-9)
    better = (likelihood > own_likelihood) & ~equal
    places = better.sum(axis=1) + (equal.sum(axis=1) + 1) / 2  # ties: their mean place

    groups = _groups(names)
    titles = list(dict.fromkeys(groups))
    column = np.array([titles.index(group) for group in groups])
    counted = np.zeros((len(titles), len(titles)))
    for row, shares in zip(column[own], credit, strict=True):
        np.add.at(counted[row], column, shares)
    clips = np.bincount(column[own], minlength=len(titles))
    some_known = {group for group, name in zip(groups, names, strict=True) if not is_new[name]}
    return Confusion(
        titles,
        [title not in some_known for title in titles],
        counted / clips[:, None],
        clips,
        len(names),
        float(credit[np.arange(len(own)), own].mean()),
        float(np.median(places)),
    )


def _log_likelihood(
    scores: npt.NDArray[np.float32], labels: metrics.Labels | metrics.Floats
) -> npt.NDArray[np.float64]:
    """Of labels under scores, summed over the regions (the last axis)."""
    p = np.clip(scores.astype(np.float64), 1e-6, 1 - 1e-6)
    return np.asarray(np.log(np.where(labels > 0.5, p, 1 - p)).sum(axis=-1))


def _groups(names: Sequence[str]) -> list[str]:
    """The row of each activity: itself, or its family where there are too many."""
    if len(names) <= MOST_ACTIVITIES:
        return list(names)
    families = {slug: activity.family for slug, activity in load_activities().items()}
    return [families.get(name, "other") for name in names]


@dataclass(frozen=True)
class Reliability:
    """Equal-width bins of probability over all pairs of clip and region; arrays ``[bins]``.

    Attributes:
        predicted: mean probability in the bin, NaN where it is empty.
        observed: share of the pairs that are active, likewise.
        count: pairs in the bin.
        error: the expected calibration error, ``benchmark.metrics.calibration_error``.
    """

    predicted: npt.NDArray[np.float64]
    observed: npt.NDArray[np.float64]
    count: npt.NDArray[np.int64]
    error: float


def reliability(predictions: Predictions, bins: int = metrics.CALIBRATION_BINS) -> Reliability:
    """Are clips that score 0.7 active in 70 of 100 cases? (Guo et al., arXiv 1706.04599)"""
    scores = predictions.scores.astype(np.float64).ravel()
    truth = predictions.labels.astype(np.float64).ravel()
    which = np.minimum((scores * bins).astype(int), bins - 1)
    count = np.bincount(which, minlength=bins)
    with np.errstate(invalid="ignore"):
        predicted = np.bincount(which, scores, minlength=bins) / count
        observed = np.bincount(which, truth, minlength=bins) / count
    error = metrics.calibration_error(predictions.scores, predictions.labels, bins)
    return Reliability(predicted, observed, count, error)


def read_log(run_dir: Path) -> dict[str, npt.NDArray[np.float64]]:
    """A run's ``log.jsonl`` as one array a column, ``[steps]``; empty where nothing was trained.

    Raises:
        UserError: the log cannot be read.
    """
    path = Path(run_dir) / "log.jsonl"
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if not lines:
            return {}
        names = ("step", "epoch", "loss", "learning_rate", "gradient_norm")
        return {name: np.array([line[name] for line in lines], dtype=float) for name in names}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} cannot be read as a training log: {error}") from error


def read_validation(run_dir: Path) -> dict[str, npt.NDArray[np.float64]]:
    """A run's ``validation.jsonl``: ``step``, ``val_known``, ``val_new``, each ``[validations]``.

    What a validation has not is NaN; empty where there was none.

    Raises:
        UserError: the file cannot be read.
    """
    path = Path(run_dir) / "validation.jsonl"
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        names = ("step", "val_known", "val_new")
        found = {
            name: np.array([line.get(name, np.nan) for line in lines], dtype=float)
            for name in names
        }
        return found if lines else {}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UserError(f"{path} cannot be read as a validation log: {error}") from error


def clip_order(
    predictions: Predictions,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Clips from the best ranked to the worst, and the ranking score of each clip.

    The score is the label ranking average precision; between equal ones the clip with the higher
    likelihood of its labels is the better.

    Returns:
        ``int64 [N]``, places in ``predictions.clips``, without clips that have no active region;
        and ``float64 [clips]``.
    """
    ranking = metrics.label_ranking_average_precision(predictions.scores, predictions.labels)
    likelihood = _log_likelihood(predictions.scores, predictions.labels)
    order = np.lexsort((-likelihood, -ranking))
    return order[np.isfinite(ranking[order])], ranking


def typical_region(predictions: Predictions) -> int:
    """The region whose share of active clips is nearest to a half: the most there is to tell."""
    share = predictions.labels.mean(axis=0) if predictions.clips else np.zeros(20)
    return int(np.abs(share - 0.5).argmin())


def clips_to_explain(predictions: Predictions, region: int, count: int = 4) -> list[int]:
    """Places of clips in which a region is active, half of them of new activities.

    Of each half the clip where the region scores highest, then the one where it scores lowest,
    and so on inwards; never two of one activity while there are others.
    """
    chosen: list[int] = []
    for new in (False, True):
        places = [
            number
            for number, clip in enumerate(predictions.clips)
            if clip.muscles[region] and clip.split.endswith("_new") == new
        ]
        places.sort(key=lambda number: -predictions.scores[number, region])
        seen: set[str] = set()
        mine: list[int] = []
        while places and len(mine) < count // 2:
            ordered = places if len(mine) % 2 == 0 else places[::-1]
            fresh = [p for p in ordered if predictions.clips[p].activity not in seen]
            mine.append((fresh or ordered)[0])
            places.remove(mine[-1])
            seen.add(predictions.clips[mine[-1]].activity)
        chosen += mine
    return chosen


def region_lists(
    labels: Sequence[bool],
    scores: npt.NDArray[np.float32],
    threshold: float,
    *,
    plain: bool = False,
) -> Mapping[str, list[tuple[str, float]]]:
    """A clip's regions: ``right``, ``missed`` and ``extra``, each (name, score), highest first.

    Args:
        labels, scores: of the 20 regions, [20]; scores from 0 to 1.
        threshold: a score from which on a region is called active.
        plain: call the regions as in a gym.
    """
    lists: dict[str, list[tuple[str, float]]] = {"right": [], "missed": [], "extra": []}
    for muscle in sorted(load_muscles(), key=lambda muscle: -scores[muscle.index]):
        called, active = scores[muscle.index] >= threshold, labels[muscle.index]
        if called or active:
            kind = "right" if called and active else "missed" if active else "extra"
            lists[kind].append((muscle.called(plain), float(scores[muscle.index])))
    return lists
