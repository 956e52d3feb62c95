"""The lines of the table that compares runs, as text cells: models, reference lines, facts."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from benchmark.cells import NOT_THERE, interval, p_value, percent
from benchmark.chance import ChanceLevel
from benchmark.metrics import SHARE, Spread
from benchmark.record import MeanScores, Measured, RunRecord, SplitScores
from benchmark.reference import GRADED

COLUMNS = {
    "val_known": "val known",
    "val_new": "val new",
    "val": "val mean",
    "test_known": "test known",
    "test_new": "test new",
    "test": "test mean",
}
"""The part of a run's scores that a column shows -> its heading."""

FIXED_COLUMNS = ("model", "param.", "GMACs", "clips/s")
SURE = "*"
"""Behind points above chance that are significant."""


def model_rows(label: str, runs: Sequence[RunRecord]) -> list[list[str]]:
    """The lines of a model: mAP; its interval or spread; chance; the excess over it; p."""
    cells = [[run.scores.of(part) for run in runs] for part in COLUMNS]
    reasons = [_reason(runs[0], part) for part in COLUMNS]
    blank = [""] * (len(FIXED_COLUMNS) - 1)
    speed = statistics.median(run.cost.clips_per_s for run in runs)
    first = [
        label + _repeats(runs),
        _short_count(runs[0].parameters),
        _giga(runs[0].cost.multiply_adds_per_view),
        f"{speed:.{1 if speed < 100 else 0}f}",
        *(_mean([s.map for s in each], why) for each, why in zip(cells, reasons, strict=True)),
    ]
    kind = "95% interval"
    if len(runs) > 1:
        kind = "95% over folds" if runs[0].data.folds else "± over seeds"
    second = [f"  {kind}", *blank, *(_range(runs, part) for part in COLUMNS)]
    chance = ["  chance (95th perc.)", *blank, *map(_chance, cells)]
    above = ["  above chance", *blank, *map(_excess, cells)]
    p = ["  p", *blank, *map(_p, cells)]
    graded = [
        [f"  {title}", *blank, *([_measured([s.graded.get(name) for s in each]) for each in cells])]
        for name, title in GRADED.items()
        if any(name in score.graded for each in cells for score in each)
    ]
    return [first, second, chance, above, p, *graded]


def reference_rows(runs: Sequence[RunRecord]) -> list[list[str]]:
    """The lines of each opinion: mAP, and what else a model is scored by."""
    known = {run.data.fold: run.scores.references for run in runs if run.scores.references}
    blank = [""] * (len(FIXED_COLUMNS) - 1)
    rows = []
    for name in next(iter(known.values()), {}):
        of_parts = [[each[name].get(part, {}) for each in known.values()] for part in COLUMNS]
        for metric, title in {"map": f"[{name}]", **GRADED}.items():
            if any(metric in found for each in of_parts for found in each):
                cells = [_measured([found.get(metric) for found in each]) for each in of_parts]
                rows.append([title if metric == "map" else f"  {title}", *blank, *cells])
    return rows


def _measured(values: Sequence[Measured | None]) -> str:
    """Their mean, and the points above chance: ``61.2 +20.1*``."""
    defined = [each for each in values if each is not None and each.value is not None]
    if not defined or len(defined) < len(values):
        return NOT_THERE
    mean = percent(statistics.fmean(each.value or 0.0 for each in defined))
    above = [each.excess for each in defined if each.excess is not None]
    if len(above) < len(defined):
        return mean
    sure = all(each.chance is not None and each.chance.significant for each in defined)
    return f"{mean} {percent(statistics.fmean(above), sign='+')}{SURE if sure else ' '}"


def _repeats(runs: Sequence[RunRecord]) -> str:
    """``, 3 seeds`` or ``, 2 of 5 folds``, where a row is more than one run."""
    folds = runs[0].data.folds
    done = {run.data.fold for run in runs}
    seeds = {run.seed for run in runs}
    text = f", {len(seeds)} seeds" if len(seeds) > 1 else ""
    return text + (f", {len(done)} of {folds} folds" if folds and len(done) < folds else "")


def split_facts(run: RunRecord) -> list[list[str]]:
    """Clips, coverage and the like of one run: a row a fact, a cell a column."""
    columns = [run.scores.of(part) for part in COLUMNS]

    def of_splits(fact: Callable[[SplitScores], str]) -> list[str]:
        return [fact(each) if isinstance(each, SplitScores) else "" for each in columns]

    facts = {
        "constant score": [percent(each.constant_map) for each in columns],
        "clips": of_splits(lambda split: str(split.clips)),
        "coverage": of_splits(_coverage),
        "regions in the mean": of_splits(lambda s: f"{s.regions} of {len(s.per_region_ap)}"),
        "regions always on": of_splits(lambda split: str(split.trivial_regions)),
        "intervals over": of_splits(lambda split: f"{split.groups} {split.left_out}"),
        "label twins": of_splits(_twins),
    }
    return [[name, "", "", "", *cells] for name, cells in facts.items()]


def fold_facts(runs: Sequence[RunRecord]) -> list[list[str]]:
    """The same facts over folds, each as the span from the smallest to the largest."""
    one_of_each = list({run.data.fold: run for run in runs}.values())
    columns = [[run.scores.of(part) for run in one_of_each] for part in COLUMNS]

    def span(number: Callable[[SplitScores], int]) -> list[str]:
        return [
            _span([number(each) for each in column if isinstance(each, SplitScores)])
            for column in columns
        ]

    facts = {
        "constant score": [_mean([s.constant_map for s in c], "no positives") for c in columns],
        "clips a fold": span(lambda split: split.clips),
        "activities a fold": span(lambda split: split.activities),
        "regions in the mean": span(lambda split: split.regions),
        "label twins a fold": [
            _span([s.twins for s in column if isinstance(s, SplitScores) and s.twins is not None])
            for column in columns
        ],
    }
    return [[name, "", "", "", *cells] for name, cells in facts.items()]


def _twins(split: SplitScores) -> str:
    return "" if split.twins is None else f"{split.twins} of {split.activities}"


def _span(values: Sequence[int]) -> str:
    if not values:
        return ""
    return str(min(values)) if min(values) == max(values) else f"{min(values)} to {max(values)}"


def _reason(run: RunRecord, part: str) -> str:
    """Why a column has no mAP."""
    splits = [each for name, each in run.scores.splits.items() if name.startswith(part)]
    return "no positives" if all(each.clips for each in splits) else "0 clips"


def _mean(values: Sequence[float | None], reason: str) -> str:
    defined = [value for value in values if value is not None]
    return percent(statistics.fmean(defined)) if defined else f"{NOT_THERE} ({reason})"


def _range(runs: Sequence[RunRecord], part: str) -> str:
    """The interval of one run, that over folds, or the standard deviation over seeds."""
    if len(runs) == 1:
        return interval(runs[0].scores.of(part).map_interval)
    groups: dict[int, list[float]] = {}
    for number, run in enumerate(runs):
        value = run.scores.of(part).map
        if value is not None:
            groups.setdefault(run.data.fold or -1 - number, []).append(value)
    means = [statistics.fmean(values) for values in groups.values()]
    if len(means) < 2:
        return NOT_THERE
    deviation = statistics.stdev(means)
    if not runs[0].data.folds:
        return f"± {percent(deviation)}"
    mean, error = statistics.fmean(means), deviation / len(means) ** 0.5
    return interval(Spread(mean, error, len(means) - 1).interval(within=SHARE))


def _levels(cells: Sequence[SplitScores | MeanScores]) -> list[ChanceLevel]:
    """The chance levels of a cell's runs; none where one of them has none."""
    levels = [each.chance for each in cells if each.chance is not None]
    return levels if len(levels) == len(cells) else []


def _chance(cells: Sequence[SplitScores | MeanScores]) -> str:
    levels = _levels(cells)
    if not levels:
        return NOT_THERE
    mean, high = (
        statistics.fmean(each) for each in zip(*((c.mean, c.high) for c in levels), strict=True)
    )
    return f"{percent(mean)} ({percent(high)})"


def _excess(cells: Sequence[SplitScores | MeanScores]) -> str:
    levels = _levels(cells)
    values = [each.excess for each in cells if each.excess is not None]
    if not levels or not values:
        return NOT_THERE
    sure = all(level.significant for level in levels)
    return percent(statistics.fmean(values), sign="+") + (SURE if sure else " ")


def _p(cells: Sequence[SplitScores | MeanScores]) -> str:
    return p_value(max((level.p for level in _levels(cells)), default=None))


def _coverage(split: SplitScores) -> str:
    if split.coverage is None:
        return NOT_THERE
    return f"{percent(split.coverage)}% of {split.planned}"


def _short_count(count: int) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f} {letter}"
    return str(count)


def _giga(count: int | None) -> str:
    if not count:
        return "0" if count == 0 else NOT_THERE
    return f"{count / 1e9:.1f}" if count >= 1e9 else f"{count / 1e9:.2g}"
