"""TransM3E with one part left out or replaced at a time, each against the full model.

The differences are paired: both models score the same clips, and the intervals leave out the same
groups in turn (videos where activities are known, whole activities where they are new). A
difference whose 95% interval holds 0 is called *not separated*.

With k > 1 seeds the interval covers the choice of seeds, too: the variance of the mean over seeds,
with k - 1 degrees of freedom, is added to that over the groups. One seed says nothing of what
training itself varies; its interval is about these two sets of weights.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmark import metrics
from benchmark.cells import aligned, interval, percent
from benchmark.clips import check_modalities, read_clips
from benchmark.predictions import Predictions, map_and_left_out, read_predictions
from benchmark.protocols.teacher import MODEL, check_teacher, complete_run
from benchmark.record import DataRecord, Interval, RunRecord
from benchmark.run import Run
from benchmark.settings import Settings
from musclemap_data.catalog import SPLITS
from musclemap_data.errors import UserError

FULL = "full model"
ABLATIONS: dict[str, Mapping[str, Any]] = {
    FULL: {},
    "without MCT (one token)": {"multi_token": False},
    "without MCTKD": {"distillation": "none"},
    "without MCTF": {"fusion": False},
    "sparse MCTKD": {"distillation": "sparse"},
    "RGB difference for skeleton": {"variant": "rgb-diff", "pretrain_teacher": True},
}
"""Row of the table -> the settings that differ from the full model's."""

COLUMNS = ("test_known", "test_new", "test")


@dataclass(frozen=True)
class Cell:
    """One row of the ablation on one part of the test clips; what is undefined is None.

    Attributes:
        difference: to the full model; this and what follows is None for the full model itself.
        separated: whether the interval of the difference leaves out 0.
    """

    map: float | None
    interval: Interval | None
    difference: float | None = None
    difference_interval: Interval | None = None
    separated: bool | None = None


@dataclass(frozen=True)
class Ablation:
    """What :func:`run_ablation` found. ``str()`` of it is the table.

    Attributes:
        rows: row -> its cells on ``test_known``, ``test_new`` and ``test`` (their mean).
        runs: row -> its runs, one a seed.
    """

    preset: str
    data: DataRecord
    seeds: Sequence[int]
    rows: Mapping[str, Mapping[str, Cell]]
    runs: Mapping[str, Sequence[RunRecord]]

    def __str__(self) -> str:
        return format_ablation(self)

    def to_dict(self) -> dict[str, object]:
        """All of it, ready for JSON."""
        return {
            "model": MODEL,
            "preset": self.preset,
            "data": self.data.to_dict(),
            "seeds": self.seeds,
            "rows": {
                row: {column: asdict(cell) for column, cell in cells.items()}
                for row, cells in self.rows.items()
            },
            "runs": {row: [run.to_dict() for run in same] for row, same in self.runs.items()},
        }


def ablation_settings(settings: Settings) -> dict[str, Settings]:
    """The settings of every row, from those of the full model.

    Raises:
        UserError: a setting is changed that the ablation itself varies, or a row cannot be run.
    """
    if settings.teacher_weights is not None:
        raise UserError(
            "the ablation needs two kinds of second stream, and teacher_weights is of one: leave "
            "it out, or use pretrain_teacher"
        )
    usual = Settings()
    for changes in ABLATIONS.values():
        for name in changes:
            if name != "pretrain_teacher" and getattr(settings, name) != getattr(usual, name):
                raise UserError(
                    f"setting {name} is {getattr(settings, name)}, but the ablation varies it from "
                    f"{getattr(usual, name)}: leave it out"
                )
    chosen = {row: replace(settings, **changes) for row, changes in ABLATIONS.items()}
    for each in chosen.values():
        check_teacher(each)
    return chosen


def run_ablation(
    data_dir: Path,
    settings: Settings,
    seeds: Sequence[int],
    *,
    runs_dir: Path | None = None,
    fresh: bool = False,
    subset: Collection[str] | None = None,
    progress_bar: bool = False,
) -> Ablation:
    """Train and score every row with every seed, and compare each with the full model.

    Every row and seed is a run of its own in ``runs_dir``: finished ones are read, stopped ones go
    on.

    Args:
        settings: of the full model; their seed is not used.
        seeds: one or more, each once.

    Raises:
        UserError: as :func:`ablation_settings` and :meth:`benchmark.run.Run.complete`.
    """
    seeds = list(dict.fromkeys(seeds))
    data_dir = Path(data_dir)
    chosen = ablation_settings(settings)
    # Rather now than after the first hours.
    check_modalities(read_clips(data_dir, SPLITS, subset), ("rgb", "skeleton", "rgb_diff"))
    folder = Path(runs_dir or data_dir / "runs")
    runs: dict[str, list[RunRecord]] = {}
    for row, row_settings in chosen.items():
        runs[row] = [
            complete_run(
                Run(data_dir, MODEL, replace(row_settings, seed=seed), subset, runs_dir=folder),
                fresh=fresh,
                progress_bar=progress_bar,
            )
            for seed in seeds
        ]
    predictions = {
        row: [read_predictions(folder / run.run / "predictions.parquet") for run in same]
        for row, same in runs.items()
    }
    rows = {
        row: compare_with_full(scored, None if row == FULL else predictions[FULL])
        for row, scored in predictions.items()
    }
    return Ablation(settings.preset, runs[FULL][0].data, seeds, rows, runs)


def compare_with_full(
    runs: Sequence[Predictions], full: Sequence[Predictions] | None
) -> dict[str, Cell]:
    """One row of the result: its scores, and the differences to the full model's."""
    own = [_scores(each) for each in runs]
    base = None if full is None else [_scores(each) for each in full]
    row = {}
    for column in COLUMNS:
        spread = over_seeds(own, column)
        cell = Cell(metrics.none_if_nan(spread.value), spread.interval(within=metrics.SHARE))
        if base is not None:
            differences = [
                {split: (a[split][0] - b[split][0], a[split][1] - b[split][1]) for split in a}
                for a, b in zip(own, base, strict=True)
            ]
            spread = over_seeds(differences, column)
            ends = spread.interval()
            # No interval, no claim; and an end that is 0 is no distance from 0.
            separated = ends is not None and (ends[0] > 0 or ends[1] < 0)
            cell = replace(
                cell,
                difference=metrics.none_if_nan(spread.value),
                difference_interval=ends,
                separated=separated,
            )
        row[column] = cell
    return row


_SplitValues = Mapping[str, tuple[float, npt.NDArray[np.float64]]]
"""Split -> a value, and it without each group in turn."""


def _scores(predictions: Predictions) -> _SplitValues:
    return {
        split: map_and_left_out(predictions.of_split(split), split)
        for split in ("test_known", "test_new")
    }


def over_seeds(seeds: Sequence[_SplitValues], column: str) -> metrics.Spread:
    """The mean over seeds in one column; see the top of this file for the term of the seeds."""
    splits = ("test_known", "test_new") if column == "test" else (column,)
    parts = [
        metrics.spread(
            float(np.mean([each[split][0] for each in seeds])),
            np.mean([each[split][1] for each in seeds], axis=0),
        )
        for split in splits
    ]
    whole = parts[0] if len(parts) == 1 else metrics.mean_spread(*parts)
    if len(seeds) == 1:
        return whole
    values = [float(np.mean([each[split][0] for split in splits])) for each in seeds]
    error = float(np.std(values, ddof=1) / np.sqrt(len(values)))
    return metrics.with_error(whole, error, len(values) - 1)


def format_ablation(result: Ablation) -> str:
    """The ablation as a plain text table, with what can and cannot be said of it."""
    seeds = result.seeds
    header = ["", *(column.replace("_", " ") for column in COLUMNS[:2]), "test mean"]
    lines = [header]
    for row, cells in result.rows.items():
        entries = [cells[column] for column in COLUMNS]
        lines.append([row, *(percent(each.map) for each in entries)])
        lines.append(["  95% interval", *(interval(each.interval) for each in entries)])
        if row == FULL:
            continue
        differences = [percent(each.difference, sign="+") for each in entries]
        intervals = [interval(each.difference_interval, sign="+") for each in entries]
        lines.append(["  minus full model", *differences])
        lines.append(["  95% interval, paired", *intervals])
        lines.append(["", *("separated" if each.separated else _UNSURE for each in entries)])
    texts = aligned(lines)
    title = (
        f"Ablation of {MODEL}, preset {result.preset}: mAP in % on {result.data.name}"
        f"{' (subset)' if result.data.subset else ''}, "
        f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''} ({', '.join(map(str, seeds))})"
    )
    rule = "-" * max(map(len, texts))
    return "\n".join([title, "", texts[0], rule, *texts[1:], rule, *_notes(result)])


_UNSURE = "not separated"


def _notes(result: Ablation) -> list[str]:
    notes = [
        f"{_UNSURE}: the interval of the difference holds 0, or there is none; nothing is "
        "claimed. The intervals are not widened for making several comparisons.",
    ]
    full = result.runs[FULL][0]
    counts = [
        f"{full.scores.splits[name].groups} {full.scores.splits[name].left_out}"
        for name in COLUMNS[:2]
    ]
    notes.append(f"Intervals over {counts[0]} of known activities and {counts[1]} of the new.")
    if len(result.seeds) == 1:
        notes.append(
            "One seed: the intervals cover the choice of clips, not the chance in training, so a "
            "separated difference is one between these two trainings. For the parts themselves "
            "give several: --seed 0 --seed 1 --seed 2."
        )
    else:
        notes.append("The intervals cover the choice of clips and of seeds.")
    notes.append(
        "RGB difference: the second stream is trained first and frozen, and only teaches; the "
        "skeleton stream "
        + (
            "is trained first, then learns on alongside, and is used in scoring."
            if full.changes.get("pretrain_teacher")
            else "learns alongside and is used in scoring."
        )
    )
    return notes
