"""The ablation: every row is run, every difference is paired, nothing is claimed without reason."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from benchmark.clips import Clip
from benchmark.compare import compare_runs
from benchmark.predictions import Predictions
from benchmark.protocols.ablation import (
    ABLATIONS,
    COLUMNS,
    FULL,
    Ablation,
    ablation_settings,
    compare_with_full,
    format_ablation,
    over_seeds,
    run_ablation,
)
from musclemap_data.errors import UserError
from tests.benchmark.conftest import make_record, make_row, make_split, write_dataset


@pytest.mark.slow
def test_the_ablation_runs_resumes_and_is_paired(dataset_dir, tiny, tmp_path):
    settings = tiny(model_width=8, joint_channels=4, test_views=1)
    result = run_ablation(dataset_dir, settings, [3], runs_dir=tmp_path)
    assert list(result.rows) == list(ABLATIONS)
    folders = {row: tmp_path / same[0].run for row, same in result.runs.items()}
    assert len(set(folders.values())) == len(ABLATIONS)
    changes = [same[0].changes for same in result.runs.values()]
    assert all(
        each.items() <= made.items() for each, made in zip(ABLATIONS.values(), changes, strict=True)
    )
    assert [path.name.split("-tiny")[0] for path in (tmp_path / "teachers").iterdir()] == [
        "rgb-diff"
    ]
    for row, folder in folders.items():
        for column in COLUMNS:
            cell = result.rows[row][column]
            assert cell.map == pytest.approx(result.runs[row][0].scores.of(column).map)
            if row == FULL:
                assert cell.difference is None and cell.separated is None
                continue
            pair = compare_runs(folder, folders[FULL])[column]
            assert cell.difference == pytest.approx(pair.difference)
            assert cell.difference_interval == pytest.approx(pair.interval)

    text = format_ablation(result)
    assert "1 seed (3)" in text and "One seed: the intervals cover the choice of clips" in text
    for row in ABLATIONS:
        assert f"\n{row}  " in text
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    assert format_ablation(run_ablation(dataset_dir, settings, [3, 3], runs_dir=tmp_path)) == text
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")} == written
    as_json = json.loads(json.dumps(result.to_dict()))
    assert as_json["rows"][FULL]["test"]["map"] == result.rows[FULL]["test"].map
    assert [run["seed"] for run in as_json["runs"]["without MCTF"]] == as_json["seeds"] == [3]


def made_up(quality: float, seed: int, *, groups: int = 30) -> Predictions:
    """Test clips of many videos and activities; scores follow the labels by ``quality``."""
    labels = np.random.default_rng(0).random((4 * groups, 20)) < 0.4
    noise = np.random.default_rng([1, seed]).normal(size=labels.shape)
    clips = [
        Clip(
            f"{number:04}", f"video{number // 2}", f"activity{number // 2}",
            "test_known" if number % 4 < 2 else "test_new",
            10, 8, 8, tuple(map(bool, labels[number])), Path(), number,
        )
        for number in range(len(labels))
    ]  # fmt: skip
    scores = (1 / (1 + np.exp(-(quality * labels + noise)))).astype(np.float32)
    return Predictions(clips, scores, np.ones(len(clips), np.int32))


@pytest.mark.slow
def test_equal_models_are_not_separated_and_a_clear_difference_is():
    same = compare_with_full([made_up(1.0, 0)], [made_up(1.0, 0)])
    for cell in same.values():
        assert cell.difference == 0 and cell.difference_interval == (0, 0)
        assert cell.separated is False  # an interval that is 0 holds 0
    for full, worse in (([0], [1]), ([0, 1, 2], [3, 4, 5])):
        row = compare_with_full(
            [made_up(0.5, seed) for seed in worse], [made_up(2.0, seed) for seed in full]
        )
        for cell in row.values():
            assert cell.separated is True
            low, high = cell.difference_interval
            assert low < cell.difference < high < 0


@pytest.mark.slow
def test_seeds_that_disagree_do_not_separate():
    full = [made_up(1.0, seed) for seed in range(3)]
    others = [made_up(quality, 10 + seed) for seed, quality in enumerate((1.6, 1.3, 0.6))]
    one = compare_with_full(others[:1], full[:1])["test"]
    three = compare_with_full(others, full)["test"]
    assert one.separated and one.difference > 0  # one seed alone would mislead
    assert not three.separated


def test_the_order_of_the_clips_does_not_matter():
    full, other = made_up(1.0, 0), made_up(1.2, 1)
    order = np.random.default_rng(5).permutation(len(other.clips))
    shuffled = Predictions([other.clips[i] for i in order], other.scores[order], other.views[order])
    straight, mixed = (compare_with_full([each], [full]) for each in (other, shuffled))
    for column in COLUMNS:
        for name, value in asdict(straight[column]).items():
            assert getattr(mixed[column], name) == pytest.approx(value)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_interval_over_seeds_holds_the_truth_in_95_percent(seeds):
    rng = np.random.default_rng(seeds)
    hits, cases = 0, 600
    for _ in range(cases):
        points = rng.normal(0.3, 1.0, seeds)  # the clips are known exactly, the seeds are not
        spread = over_seeds(
            [{"test_known": (point, np.full(10, point))} for point in points], "test_known"
        )
        low, high = spread.interval()
        assert spread.value == pytest.approx(points.mean())
        hits += low < 0.3 < high
    assert 0.925 < hits / cases < 0.975


def test_what_is_undefined_is_not_claimed():
    full, other = (made_up(quality, seed, groups=1) for quality, seed in ((3.0, 0), (0.0, 1)))
    row = compare_with_full([other], [full])  # one video, one activity a split: no interval
    for cell in row.values():
        assert cell.difference is not None
        assert cell.difference_interval is None and cell.separated is False
    record = make_record(
        changes={"pretrain_teacher": True},
        splits={
            "test_known": make_split("test_known", videos=1),
            "test_new": make_split("test_new", activities=0),
        },
    )
    full_row = compare_with_full([full], None)
    text = format_ablation(
        Ablation(
            "tiny", record.data, [0, 1], {FULL: full_row, "without MCTF": row}, {FULL: [record]}
        )
    )
    assert text.count("not separated") == 4 and "n/a" in text  # three cells and the note
    assert "2 seeds (0, 1)" in text and "of clips and of seeds" in text
    assert "is trained first, then learns on" in text
    assert "Intervals over 1 videos of known activities and 0 activities of the new" in text


def test_what_the_ablation_refuses(tiny, tmp_path):
    with pytest.raises(UserError, match="fusion is False, but the ablation varies it"):
        ablation_settings(tiny(fusion=False))
    with pytest.raises(UserError, match="variant is rgb-diff"):
        ablation_settings(tiny(variant="rgb-diff"))
    with pytest.raises(UserError, match="leave it out, or use pretrain_teacher"):
        ablation_settings(tiny(teacher_weights="a"))
    with pytest.raises(UserError, match="freeze_teacher=false, or sender=second"):
        ablation_settings(tiny(sender="video"))
    with pytest.raises(UserError, match="untrained"):
        ablation_settings(tiny(freeze_teacher=True))
    rows = {"train": [make_row("a", "hop", "train", without=("rgb_diff",))]}
    with pytest.raises(UserError, match=r"1 of 1 clips have no rgb-diff.*--modalities rgb-diff"):
        run_ablation(write_dataset(tmp_path / "data", rows), tiny(), [0])
    assert not (tmp_path / "data" / "runs").exists()
