"""The card of a run says what its record says, and what the model is not for."""

from __future__ import annotations

from dataclasses import replace

from benchmark.card import model_card
from benchmark.record import Cost, DataRecord
from benchmark.run import Run
from tests.benchmark.conftest import make_record, make_split


def test_the_card_has_the_numbers_of_the_record():
    record = make_record(
        splits={"test_new": make_split("test_new", map=0.625, map_interval=(0.5, 0.75))},
        changes={"epochs": 4}, start="SLOW_8x8_R50.pyth (sha256 0123abcd)",
        cost=Cost(65_400_000_000, 1.0, 10.0, 321.5),
        data=DataRecord("mine", "f" * 64, subset=False, all_clips="0" * 64, fold=2, folds=5,
                        protocol="family-folds"),
    )  # fmt: skip
    card = model_card(record, synthetic=False)
    assert "| test, new activities | 62.5 | [50.0, 75.0] | 35.0 | .004 | 10 | 5 |" in card
    assert "`epochs=4`" in card and "SLOW_8x8_R50.pyth (sha256 0123abcd)" in card
    assert "65.4 x 10^9 multiply-adds, 322 ms" in card
    assert "fold 2 of 5 (family-folds)" in card
    assert "Not a medical device" in card and "synthetic" not in card
    assert "All clips are synthetic" in model_card(record, synthetic=True)
    nothing = model_card(replace(record, cost=Cost(None, 0.0, 0.0), start=None), synthetic=False)
    assert "n/a, n/a" in nothing and "random weights" in nothing


def test_every_run_writes_one_and_measures_its_latency(dataset_dir, tiny, tmp_path):
    run = Run(dataset_dir, "stgcn", tiny(epochs=0, joint_channels=8), runs_dir=tmp_path)
    record = run.complete()
    assert record.cost.latency_ms > 0
    card = (run.folder / "MODEL_CARD.md").read_text()
    assert card.startswith(f"# {record.run}\n") and "`stgcn`" in card
