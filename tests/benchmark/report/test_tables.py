"""The table: rows, what runs share, every format, two runs compared."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from benchmark.chance import ChanceLevel
from benchmark.compare import compare_runs
from benchmark.protocols.folds import activity_fold
from benchmark.record import Cost, Difference
from benchmark.report import tables
from benchmark.report.tables import format_table
from benchmark.run import Run, default_run_name
from tests.benchmark.conftest import make_rows, write_dataset

pytestmark = pytest.mark.usefixtures("toy_model")


@pytest.fixture
def run(dataset_dir, tiny, tmp_path):
    """A function that makes a run: ``run("toy", seed=1)``."""

    def make(model, data=dataset_dir, fold=None, **changes):
        settings, runs_dir = tiny(**changes), tmp_path / data.name
        fold = activity_fold(*fold) if fold else None
        return Run(data, model, settings, fold=fold, runs_dir=runs_dir).complete()

    return make


def row_of(table: str, start: str) -> str:
    (found,) = [line for line in table.splitlines() if line.startswith(start)]
    return found


def test_the_table_joins_seeds_and_parts_data_sets(run, tmp_path):
    runs = [run("toy", seed=seed) for seed in (0, 1)] + [run("random")]
    table = format_table(runs)
    mean = sum(each.scores.means["test"].map for each in runs[:2]) / 2
    assert row_of(table, "toy, 2 seeds").split()[-1] == f"{100 * mean:.1f}"
    assert "± over seeds" in table
    assert "95% interval" in table
    constant = row_of(table, "constant score").split()
    assert constant[2] == f"{100 * runs[0].scores.splits['val_known'].constant_map:.1f}"
    other = run("random", data=write_dataset(tmp_path / "other", make_rows(1)))
    assert format_table([*runs, other]).count("mAP in %") == 2
    assert format_table([]) == ""


def test_what_all_runs_share_stands_above_the_table(run):
    runs = [run("toy"), run("random")]
    title, shared, *lines = format_table(runs).splitlines()
    assert title.startswith("mAP in % on test, clips ")
    assert shared.startswith("preset tiny, frames=4, rate=3")
    assert "preset" not in "\n".join(lines)
    assert row_of("\n".join(lines), "toy ").split()[0] == "toy"
    runs.append(run("toy", epochs=2, modality="flow"))
    title, shared, *lines = format_table(runs).splitlines()
    assert "epochs" not in shared
    assert row_of("\n".join(lines), "toy (e").startswith("toy (epochs=1) ")
    assert "\ntoy (modality=flow, epochs=2) " in "\n".join(lines)
    many = {"preset": "small", **dict.fromkeys(["dropout", "drop_path", "temperature"], 0.123)}
    runs.append(replace(runs[0], preset="small", changes=many))
    labels = [line.split("  ")[0] for line in format_table(runs).splitlines() if "toy" in line]
    assert len(set(labels)) == 3
    assert max(map(len, labels)) < 60


def test_a_table_of_one_model_holds_its_costs_and_fits_a_wide_terminal(run):
    toy = replace(run("toy"), cost=Cost(65_400_000_000, seconds=1.0, clips_per_s=12.34))
    table = format_table([toy, run("all-ones")])
    rows = table.split("\nChance: what")[0].splitlines()[2:]
    assert max(map(len, rows)) <= 132
    assert row_of(table, "toy").split()[:4] == ["toy", "80", "65.4", "12.3"]
    assert row_of(table, "all-ones").split()[1:3] == ["0", "0"]


def with_test_new(record, **changes):
    """The record with other scores on new activities."""
    split = replace(record.scores.splits["test_new"], **changes)
    return replace(
        record, scores=replace(record.scores, splits={**record.scores.splits, "test_new": split})
    )


def test_a_score_is_marked_only_where_its_p_is_small(run):
    toy = run("toy")
    for excess, p, shown, marked in ((0.2, 0.0004, "< .001", True), (0.2, 0.0099, ".010", True),
                                     (0.2, 0.01, ".010", False), (0.2, 0.04, ".040", False),
                                     (-0.1, 0.9, ".900", False),
                                     (-1e-9, 1.0, "1.000", False)):  # fmt: skip
        level = ChanceLevel(mean=0.5 - excess, high=0.75, p=p)
        table = format_table([with_test_new(toy, map=0.5, chance=level)])
        assert row_of(table, "  above chance").split()[-2] == (
            f"{100 * excess + 1e-6:+.1f}{'*' * marked}"
        )
        cells = re.split(r"\s{2,}", row_of(table, "  chance (95th perc.)"))
        assert cells[-2] == f"{100 * (0.5 - excess):.1f} (75.0)"
        assert re.split(r"\s{2,}", row_of(table, "  p  "))[-2] == shown
    undefined = format_table([with_test_new(toy, chance=None)])
    for start in ("  above chance", "  chance (", "  p  "):
        assert re.split(r"\s{2,}", row_of(undefined, start).rstrip())[-2] == "n/a"


def test_one_seed_without_a_small_p_takes_the_star_from_the_row(run):
    low, high = (ChanceLevel(mean=0.3, high=0.4, p=p) for p in (0.002, 0.2))
    runs = [with_test_new(run("toy", seed=seed), map=0.5, chance=low) for seed in (0, 1)]
    assert row_of(format_table(runs), "  above chance").split()[-2] == "+20.0*"
    runs[1] = with_test_new(runs[1], map=0.5, chance=high)
    table = format_table(runs)
    assert row_of(table, "  above chance").split()[-2] == "+20.0"
    assert row_of(table, "  p  ").split()[-2] == ".200"  # the largest


@pytest.mark.slow
def test_folds_share_a_row(run):
    runs = [run("toy", fold=(fold, 2), seed=seed) for fold in (1, 2) for seed in (0, 1)]
    runs.append(run("random", fold=(1, 2)))
    table = format_table([*runs, run("toy")])
    folds, fixed = table.split("\n\nmAP")
    assert "2 folds of whole activities" in folds
    values = [each.scores.splits["test_new"].map for each in runs[:4]]
    row = row_of(folds, "toy, 2 seeds")
    assert row.split()[-2] == f"{100 * sum(values) / 4:.1f}"
    means = [(values[0] + values[1]) / 2, (values[2] + values[3]) / 2]
    # Student's t with one degree of freedom: 12.7 times the standard error of the two means.
    reach = 12.706 * abs(means[0] - means[1]) / 2
    ends = [max(0, sum(means) / 2 - reach), min(1, sum(means) / 2 + reach)]
    line = next(line for line in folds.splitlines() if "95% over folds" in line)
    assert re.split(r"\s{2,}", line.strip())[-2] == f"[{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]"
    assert "label twins a fold" in folds and "never pooled" in folds
    assert "random, 1 of 2 folds" in folds
    assert "for training" in fixed
    assert {line["fold"] for line in csv.DictReader(io.StringIO(tables.format_csv(runs)))} == {
        "1",
        "2",
    }


def test_every_format_holds_every_number(run):
    runs = [run("toy"), run("all-ones")]
    shown = [f"{100 * each.scores.splits['test_new'].map:.1f}" for each in runs]
    for ending in ("txt", "md", "tex", "html"):
        text = tables.FORMATS[ending](runs)
        assert all(each in text for each in [*shown, "toy", "all-ones"]), ending
    assert r"90.0\%" in tables.format_latex(runs)
    lines = list(csv.DictReader(io.StringIO(tables.format_csv(runs))))
    assert len(lines) == 12
    known = next(line for line in lines if line["split"] == "test_known")
    known_scores = runs[0].scores.splits["test_known"]
    assert float(known["map"]) == known_scores.map
    assert float(known["map_interval_low"]) == known_scores.map_interval[0]
    level = known_scores.chance
    found = [float(known[name]) for name in ("chance", "chance_95th", "p", "excess")]
    assert found == [level.mean, level.high, level.p, known_scores.excess]
    rows = tables.format_markdown(runs).splitlines()
    assert {line.count("|") for line in rows if line.startswith("|")} == {11}


def test_the_page_plots_each_run_without_outside_resources(run, tmp_path):
    runs = [run("toy"), run("all-ones"), run("toy", data=write_dataset(tmp_path / "e", {
        **make_rows(1), "test_new": []}))]  # fmt: skip
    page = tables.format_html(runs)
    assert "<script" not in page
    assert all(target.startswith("#") for target in re.findall(r'href="([^"]*)"', page))
    svgs = [part.split("</svg>")[0] + "</svg>" for part in page.split("<svg")[1:]]
    assert len(svgs) == 2
    plot = ElementTree.fromstring("<svg" + svgs[0])  # noqa: S314
    space = "{http://www.w3.org/2000/svg}"
    # Two in the legend, two for each run.
    dots = [dot.attrib["style"] for dot in plot.iter(f"{space}use")]
    assert sum("fill: var(--known)" in dot for dot in dots) == 3
    assert sum("fill: var(--new)" in dot for dot in dots) == 3
    texts = [text.text for text in plot.iter(f"{space}text")]
    assert {"toy", "all-ones", "test new"} <= set(texts)


def test_a_comparison_reads_as_a_table(run, dataset_dir, tiny, tmp_path):
    for model in ("toy", "all-ones"):
        run(model)
    toy, ones = (
        tmp_path / dataset_dir.name / default_run_name(model, tiny())
        for model in ("toy", "all-ones")
    )
    differences = compare_runs(toy, ones)
    text = tables.format_comparison("toy", "all-ones", differences)
    values = differences["test_new"]
    low, high = values.interval
    assert f"{100 * values.difference:+.1f}" in row_of(text, "test new")
    assert f"[{100 * low:+.1f}, {100 * high:+.1f}]" in row_of(text, "test new")
    assert row_of(text, "test new").endswith(f" {values.p:.3f}".replace(" 0.", " ."))
    assert text.startswith("toy minus all-ones")
    rows = [line.split("  ")[0] for line in text.splitlines()[2:-1]]
    assert rows == list(tables.COLUMNS.values())
    differences["val"] = Difference(None, None, None)
    assert row_of(tables.format_comparison("a", "b", differences), "val mean").split() == [
        "val", "mean", "n/a", "n/a", "n/a"
    ]  # fmt: skip
