"""The table that compares finished runs, as text, CSV, Markdown, LaTeX and HTML.

A row is a model; its columns are known activities, new ones and their mean, on validation and on
test. Beside each mAP stand its 95% interval, its chance level and its p, and the scores that know
more of the labels. Runs that differ in the seed alone share a row (mean, and spread over seeds); so
do the folds of a protocol of folds (mean, and its interval over the folds: their clips are never
pooled). Below the models stand the reference lines: opinions on the labels, scored on the same
clips.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Protocol

from benchmark.cells import aligned, interval, p_value, percent
from benchmark.chance import SIGNIFICANT
from benchmark.record import Difference, Measured, RunRecord
from benchmark.reference import GRADED
from benchmark.report import plots
from benchmark.report.rows import (
    COLUMNS,
    FIXED_COLUMNS,
    SURE,
    fold_facts,
    model_rows,
    reference_rows,
    split_facts,
)
from benchmark.report.templates import render
from benchmark.settings import SettingValue
from musclemap_data.errors import UserError
from musclemap_data.files import write_text
from musclemap_data.labels import WEAK_BELOW, weak_regions

_LONGEST_LABEL = 44


@dataclass(frozen=True)
class Table:
    """One table as text cells.

    Attributes:
        rows: of the models.
        references: of the opinions on the labels; empty where they have none on these clips.
        facts: of the splits.
        notes: below.
    """

    title: str
    settings: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    references: Sequence[Sequence[str]]
    facts: Sequence[Sequence[str]]
    notes: Sequence[str]
    runs: Sequence[RunRecord]


def make_tables(runs: Sequence[RunRecord], *, plain: bool = False) -> list[Table]:
    """The comparison: mAP in percent, its 95% interval, its chance level, its p.

    Runs on different clips are not comparable and get tables of their own.

    Args:
        plain: call the regions as in a gym.
    """
    by_data: dict[tuple[str, int | None, str | None], list[RunRecord]] = {}
    for run in runs:
        experiment = (run.data.clips_id, run.data.folds, run.data.protocol)
        by_data.setdefault(experiment, []).append(run)
    return [_one_table(group, plain) for group in by_data.values()]


def _one_table(runs: Sequence[RunRecord], plain: bool) -> Table:
    shared, labels = _labels(runs)
    groups: dict[str, list[RunRecord]] = {}
    for run, label in zip(runs, labels, strict=True):
        groups.setdefault(label, []).append(run)
    rows: list[list[str]] = []
    for label, same in groups.items():
        rows += model_rows(label, same)
    data = runs[0].data
    title = f"mAP in % on {data.name}{' (subset)' if data.subset else ''}"
    title += f", clips {data.clips_id[:8]}"
    if data.folds:
        what = "families" if data.protocol == "family-folds" else "activities"
        title += f", {data.folds} folds of whole {what}"
    else:
        title += f", {runs[0].train_clips} for training"
    facts = fold_facts(runs) if data.folds else split_facts(runs[0])
    header = [*FIXED_COLUMNS, *COLUMNS.values()]
    references = reference_rows(runs)
    on_labels = _notes_on_labels(runs, plain) if references else []
    return Table(title, shared, header, rows, references, facts, _notes(runs, on_labels), runs)


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


def _notes(runs: Sequence[RunRecord], on_labels: Sequence[str]) -> list[str]:
    devices = sorted({run.machine.device for run in runs})
    notes = [
        "Chance: what the same scores get when the label sets are dealt anew to the activities; "
        "mean and 95th percentile. With few activities it is high, and so is any mAP.",
        f"{SURE} p < {SIGNIFICANT} in every run of the row; p: share of the deals that score at "
        "least as high (the largest of the runs).",
        *on_labels,
        f"GMACs: 10^9 multiply-adds of one view. clips/s: scoring, all views, on "
        f"{', '.join(devices)}.",
    ]
    starts = {run.model: run.start for run in runs if run.start}
    if starts:
        listed = "; ".join(f"{model}: {start}" for model, start in starts.items())
        notes.append(f"Started from public or given weights: {listed}. Others: random weights.")
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


def _notes_on_labels(runs: Sequence[RunRecord], plain: bool) -> list[str]:
    weak = ", ".join(muscle.called(plain) for muscle in weak_regions())
    notes = [
        "[...]: not a model but an opinion on the labels, told the activity and scored like a "
        "model. The rules made the labels: a model above the pooled sources has learned our rules, "
        "not what sources agree on. Where two numbers stand, the second is points above chance.",
        f"Weak labels: {weak}. Public sources hardly confirm them (kappa under {WEAK_BELOW:g}, or "
        "no two name them): their scores say how well our rules are met.",
    ]
    if any(part.graded for run in runs for part in run.scores.splits.values()):
        notes.append(
            "Strict labels: mAP of synergists and prime movers alone. Surer cells: mAP without "
            "labels of low confidence. NDCG: are a clip's regions in the order of their grades?"
        )
    return notes


def format_table(runs: Sequence[RunRecord], *, plain: bool = False) -> str:
    """:func:`make_tables` as plain text for a terminal."""
    return "\n\n".join(map(_as_text, make_tables(runs, plain=plain)))


def _as_text(table: Table) -> str:
    blocks = [table.rows, table.references, table.facts]
    lines = aligned([table.header, *(row for block in blocks for row in block)])
    rule = "-" * max(map(len, lines))
    text = [table.title, table.settings, "", lines[0]]
    start = 1
    for block in filter(None, blocks):
        text += [rule, *lines[start : start + len(block)]]
        start += len(block)
    return "\n".join([*text, *table.notes])


def format_markdown(runs: Sequence[RunRecord], *, plain: bool = False) -> str:
    """:func:`make_tables` as Markdown."""

    def row(line: Sequence[str]) -> str:
        return f"| {' | '.join(cell.strip().replace('|', '/') for cell in line)} |"

    return render("results.md", tables=make_tables(runs, plain=plain), row=row)


def format_latex(runs: Sequence[RunRecord], *, plain: bool = False) -> str:
    """:func:`make_tables` as LaTeX tabulars (package booktabs)."""

    def row(line: Sequence[str]) -> str:
        return " & ".join(_LATEX_ESCAPES.sub(r"\\\g<0>", cell.strip()) for cell in line) + r" \\"

    return render("results.tex", tables=make_tables(runs, plain=plain), row=row)


_LATEX_ESCAPES = re.compile(r"[&%$#_{}]")


def format_html(runs: Sequence[RunRecord], *, plain: bool = False) -> str:
    """:func:`make_tables` with plots as one HTML page without scripts or outside resources."""
    tables = [(table, _plot(table)) for table in make_tables(runs, plain=plain)]
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


def format_csv(runs: Sequence[RunRecord], *, plain: bool = False) -> str:
    """One line a run and split, all numbers as shares (not percent), empty where undefined."""
    numbers = (
        "clips", "planned", "coverage", "videos", "activities", "regions", "trivial_regions", "map",
        "constant_map", "excess", "f1_micro", "f1_macro", "label_ranking_ap", "calibration_error",
    )  # fmt: skip
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ends = ["map_interval_low", "map_interval_high", "chance", "chance_95th", "p"]
    graded = [f"{name}{ending}" for name in GRADED for ending in ("", "_excess", "_p")]
    who = ["run", "model", "preset", "seed", "data", "fold", "folds", "parameters"]
    cost = ["multiply_adds_per_view", "latency_ms", "clips_per_s"]
    writer.writerow([*who, *cost, "split", *numbers, *ends, *graded])
    for run in runs:
        first = [run.run, run.model, run.preset, run.seed, run.data.clips_id[:8]]
        first += [run.data.fold, run.data.folds, run.parameters]
        first += [getattr(run.cost, name) for name in cost]
        for part in COLUMNS:
            values = run.scores.of(part)
            pairs = [*(values.map_interval or ("", ""))]
            pairs += astuple(values.chance) if values.chance else ("", "", "")
            rest = [getattr(values, name, None) for name in numbers]  # a mean has but a few
            graded_cells = [x for name in GRADED for x in _flat(values.graded.get(name))]
            writer.writerow([*first, part, *rest, *pairs, *graded_cells])
    once = {run.data.fingerprint: run for run in runs if run.scores.references}
    for run in once.values():
        data = run.data
        for opinion, parts in run.scores.references.items():
            first = [f"[{opinion}]", "", "", "", data.clips_id[:8], data.fold, data.folds]
            first += [""] * (1 + len(cost))
            for part, found in parts.items():
                level = found["map"].chance
                known = {"map": found["map"].value, "excess": found["map"].excess}
                pairs = ["", "", *(astuple(level) if level else ("", "", ""))]
                graded_cells = [x for name in GRADED for x in _flat(found.get(name))]
                row = [*first, part, *(known.get(name) for name in numbers), *pairs]
                writer.writerow([*row, *graded_cells])
    return text.getvalue()


def _flat(measured: Measured | None) -> tuple[float | None, float | None, float | None]:
    """Value, excess, p."""
    if measured is None:
        return None, None, None
    return measured.value, measured.excess, measured.chance.p if measured.chance else None


class Format(Protocol):
    """Writes the results of runs; ``plain``: calls the regions as in a gym."""

    def __call__(self, runs: Sequence[RunRecord], *, plain: bool = False) -> str: ...


FORMATS: dict[str, Format] = {
    "txt": format_table,
    "csv": format_csv,
    "md": format_markdown,
    "tex": format_latex,
    "html": format_html,
}
"""File ending -> how to write the results of runs."""


def write_table(path: Path, runs: Sequence[RunRecord], *, plain: bool = False) -> None:
    """Write the results of runs in the format that the file's ending names.

    Args:
        plain: call the regions as in a gym.

    Raises:
        UserError: the ending is not one of ``FORMATS``, or the file cannot be written.
    """
    kind = path.suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        endings = ", ".join(f".{name}" for name in FORMATS)
        raise UserError(f"{path} ends in {path.suffix or 'nothing'}; it must end in {endings}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, FORMATS[kind](runs, plain=plain))
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
