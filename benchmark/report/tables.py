"""The table that compares finished runs, as text, CSV, Markdown, LaTeX and HTML.

A row is a model; its columns are known activities, new ones and their mean, on validation and on
test. Beside each mAP stand its 95% interval, its chance level and its p. Runs that differ
in the seed alone share a row (mean, and spread over seeds); so do the folds of a protocol of folds
(mean, and its interval over the folds: their clips are never pooled).
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from benchmark.cells import NOT_THERE, aligned, interval, p_value, percent
from benchmark.chance import SIGNIFICANT, ChanceLevel
from benchmark.metrics import SHARE, Spread
from benchmark.record import Difference, MeanScores, RunRecord, SplitScores
from benchmark.report import plots
from benchmark.report.templates import render
from benchmark.settings import SettingValue
from musclemap_data.errors import UserError
from musclemap_data.files import write_text

COLUMNS = {
    "val_known": "val known",
    "val_new": "val new",
    "val": "val mean",
    "test_known": "test known",
    "test_new": "test new",
    "test": "test mean",
}
"""The part of a run's scores that a column shows -> its heading."""

_FIXED_COLUMNS = ("model", "param.", "GMACs", "clips/s")
_LONGEST_LABEL = 44
_SURE = "*"


@dataclass(frozen=True)
class Table:
    """One table as text cells: ``rows`` of the models, ``facts`` of the splits, ``notes`` below."""

    title: str
    settings: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    facts: Sequence[Sequence[str]]
    notes: Sequence[str]
    runs: Sequence[RunRecord]


def make_tables(runs: Sequence[RunRecord]) -> list[Table]:
    """The comparison: mAP in percent, its 95% interval, its chance level, its p.

    Runs on different clips are not comparable and get tables of their own.
    """
    by_data: dict[tuple[str, int | None, str | None], list[RunRecord]] = {}
    for run in runs:
        experiment = (run.data.clips_id, run.data.folds, run.data.protocol)
        by_data.setdefault(experiment, []).append(run)
    return [_one_table(group) for group in by_data.values()]


def _one_table(runs: Sequence[RunRecord]) -> Table:
    shared, labels = _labels(runs)
    groups: dict[str, list[RunRecord]] = {}
    for run, label in zip(runs, labels, strict=True):
        groups.setdefault(label, []).append(run)
    rows: list[list[str]] = []
    for label, same in groups.items():
        rows += _model_rows(label, same)
    data = runs[0].data
    title = f"mAP in % on {data.name}{' (subset)' if data.subset else ''}"
    title += f", clips {data.clips_id[:8]}"
    if data.folds:
        what = "families" if data.protocol == "family-folds" else "activities"
        title += f", {data.folds} folds of whole {what}"
    else:
        title += f", {runs[0].train_clips} for training"
    facts = _fold_facts(runs) if data.folds else _split_facts(runs[0])
    header = [*_FIXED_COLUMNS, *COLUMNS.values()]
    return Table(title, shared, header, rows, facts, _notes(runs), runs)


def _labels(runs: Sequence[RunRecord]) -> tuple[str, list[str]]:
    """What all runs share, for the head of the table; and for each run the rest."""
    settings = [{"preset": run.preset, **run.changes} for run in runs]
    same = {
        name: value
        for name, value in settings[0].items()
        if all(name in each and each[name] == value for each in settings)
    }
    labels = []
    for run, each in zip(runs, settings, strict=True):
        rest = ", ".join(_setting(*item) for item in each.items() if item[0] not in same)
        if len(run.model) + len(rest) > _LONGEST_LABEL:
            digest = hashlib.sha256(rest.encode()).hexdigest()[:6]
            rest = f"{len(each) - len(same)} settings, {digest}"
        labels.append(f"{run.model} ({rest})" if rest else run.model)
    return ", ".join(_setting(*item) for item in same.items()), labels


def _setting(name: str, value: SettingValue) -> str:
    return f"preset {value}" if name == "preset" else f"{name}={value}"


def _model_rows(label: str, runs: Sequence[RunRecord]) -> list[list[str]]:
    """The lines of a model: mAP; its interval or spread; chance; the excess over it; p."""
    cells = [[run.scores.of(part) for run in runs] for part in COLUMNS]
    reasons = [_reason(runs[0], part) for part in COLUMNS]
    blank = [""] * (len(_FIXED_COLUMNS) - 1)
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
    return [first, second, chance, above, p]


def _repeats(runs: Sequence[RunRecord]) -> str:
    """``, 3 seeds`` or ``, 2 of 5 folds``, where a row is more than one run."""
    folds = runs[0].data.folds
    done = {run.data.fold for run in runs}
    seeds = {run.seed for run in runs}
    text = f", {len(seeds)} seeds" if len(seeds) > 1 else ""
    return text + (f", {len(done)} of {folds} folds" if folds and len(done) < folds else "")


def _split_facts(run: RunRecord) -> list[list[str]]:
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


def _fold_facts(runs: Sequence[RunRecord]) -> list[list[str]]:
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


def _notes(runs: Sequence[RunRecord]) -> list[str]:
    devices = sorted({run.machine.device for run in runs})
    notes = [
        "Chance: what the same scores get when the label sets are dealt anew to the activities; "
        "mean and 95th percentile. With few activities it is high, and so is any mAP.",
        f"{_SURE} p < {SIGNIFICANT} in every run of the row; p: share of the deals that score at "
        "least as high (the largest of the runs).",
        f"GMACs: 10^9 multiply-adds of one view. clips/s: scoring, all views, on "
        f"{', '.join(devices)}.",
    ]
    if runs[0].data.folds:
        notes.append(
            "Every activity is new in one fold. 95%: the interval of the mean over the folds (each "
            "the mean of its seeds; Student's t). Clips of different folds are never pooled. Folds "
            "share training clips, so it may be too narrow."
        )
        notes.append(_TWINS)
        return notes
    notes.append(
        "Coverage: clips built of clips planned. Regions: those with a positive clip; the others "
        "have no average precision."
    )
    notes.append(_TWINS)
    if any(each.trivial_regions for each in runs[0].scores.splits.values()):
        notes.append(
            "Regions always on: active in every clip, so any score has average precision 1."
        )
    return notes


_TWINS = (
    "Label twins: new activities whose label set a training activity has, too. `musclemap results "
    "--by-distance` has the scores by the distance to the nearest label set of training."
)


def format_table(runs: Sequence[RunRecord]) -> str:
    """:func:`make_tables` as plain text for a terminal."""
    return "\n\n".join(map(_as_text, make_tables(runs)))


def _as_text(table: Table) -> str:
    lines = aligned([table.header, *table.rows, *table.facts])
    rule = "-" * max(map(len, lines))
    end = 1 + len(table.rows)
    head = [table.title, table.settings, "", lines[0], rule]
    return "\n".join([*head, *lines[1:end], rule, *lines[end:], *table.notes])


def format_markdown(runs: Sequence[RunRecord]) -> str:
    """:func:`make_tables` as Markdown."""

    def row(line: Sequence[str]) -> str:
        return f"| {' | '.join(cell.strip().replace('|', '/') for cell in line)} |"

    return render("results.md", tables=make_tables(runs), row=row)


def format_latex(runs: Sequence[RunRecord]) -> str:
    """:func:`make_tables` as LaTeX tabulars (package booktabs)."""

    def row(line: Sequence[str]) -> str:
        return " & ".join(_LATEX_ESCAPES.sub(r"\\\g<0>", cell.strip()) for cell in line) + r" \\"

    return render("results.tex", tables=make_tables(runs), row=row)


_LATEX_ESCAPES = re.compile(r"[&%$#_{}]")


def format_html(runs: Sequence[RunRecord]) -> str:
    """:func:`make_tables` with plots as one HTML page without scripts or outside resources."""
    tables = [(table, _plot(table)) for table in make_tables(runs)]
    return render("results.html", tables=tables)


def _plot(table: Table) -> str:
    """mAP on test of each run, with its interval and the constant score, as SVG."""
    labels = [
        name
        + (f", fold {run.data.fold}" if run.data.fold else "")
        + (f", seed {run.seed}" if len({run.seed for run in table.runs}) > 1 else "")
        for name, run in zip(_labels(table.runs)[1], table.runs, strict=True)
    ]
    series = {
        f"test {kind}": (colour, [run.scores.splits[f"test_{kind}"] for run in table.runs])
        for kind, colour in (("known", plots.KNOWN), ("new", plots.NEW))
    }
    figure = plots.interval_plot(labels, series)
    return plots.to_svg(figure, f"mAP of each run with its 95% interval: {table.title}")


def format_csv(runs: Sequence[RunRecord]) -> str:
    """One line a run and split, all numbers as shares (not percent), empty where undefined."""
    numbers = (
        "clips", "planned", "coverage", "videos", "activities", "regions", "trivial_regions", "map",
        "constant_map", "excess", "f1_micro", "f1_macro", "label_ranking_ap", "calibration_error",
    )  # fmt: skip
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ends = ["map_interval_low", "map_interval_high", "chance", "chance_95th", "p"]
    who = ["run", "model", "preset", "seed", "data", "fold", "folds", "parameters"]
    cost = ["multiply_adds_per_view", "clips_per_s"]
    writer.writerow([*who, *cost, "split", *numbers, *ends])
    for run in runs:
        first = [run.run, run.model, run.preset, run.seed, run.data.clips_id[:8]]
        first += [run.data.fold, run.data.folds, run.parameters]
        first += [run.cost.multiply_adds_per_view, run.cost.clips_per_s]
        for part in COLUMNS:
            values = run.scores.of(part)
            pairs = [*(values.map_interval or ("", ""))]
            pairs += astuple(values.chance) if values.chance else ("", "", "")
            rest = [getattr(values, name, None) for name in numbers]  # a mean has but a few
            writer.writerow([*first, part, *rest, *pairs])
    return text.getvalue()


FORMATS: dict[str, Callable[[Sequence[RunRecord]], str]] = {
    "txt": format_table,
    "csv": format_csv,
    "md": format_markdown,
    "tex": format_latex,
    "html": format_html,
}
"""File ending -> how to write the results of runs."""


def write_table(path: Path, runs: Sequence[RunRecord]) -> None:
    """Write the results of runs in the format that the file's ending names.

    Raises:
        UserError: the ending is not one of ``FORMATS``, or the file cannot be written.
    """
    kind = path.suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        endings = ", ".join(f".{name}" for name in FORMATS)
        raise UserError(f"{path} ends in {path.suffix or 'nothing'}; it must end in {endings}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, FORMATS[kind](runs))
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error}") from error


def format_comparison(first: str, second: str, differences: Mapping[str, Difference]) -> str:
    """What :func:`benchmark.run.compare_runs` found, as plain text."""
    rows = [["mAP in %", "difference", "95% interval", "p"]]
    for part, heading in COLUMNS.items():
        if part in differences:
            each = differences[part]
            numbers = [percent(each.difference, sign="+"), interval(each.interval, sign="+")]
            rows.append([heading, *numbers, p_value(each.p)])
    return "\n".join(
        [
            f"{first} minus {second}, on the same clips",
            *aligned(rows),
            "p: one-sided, that the first is better by chance alone.",
        ]
    )


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
    return percent(statistics.fmean(values), sign="+") + (_SURE if sure else " ")


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
