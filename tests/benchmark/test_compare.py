"""The grid of models, seeds and folds from Python: what it runs, what it leaves out, its table."""

from __future__ import annotations

import pytest

from benchmark import run
from benchmark.clips import MissingModality
from benchmark.compare import compare_models
from benchmark.finished import read_runs
from benchmark.models import MODELS
from musclemap_data.errors import UserError
from tests.benchmark.conftest import MeanColour, make_rows, write_dataset


@pytest.fixture
def two_models(monkeypatch) -> None:
    """Two models in the list: one reads nothing, one reads pictures."""
    some = {"random": MODELS["random"], "reads-rgb": lambda settings: MeanColour()}
    for name in list(MODELS):
        monkeypatch.delitem(MODELS, name)
    for name, build in some.items():
        monkeypatch.setitem(MODELS, name, build)


@pytest.mark.usefixtures("two_models")
def test_models_seeds_and_folds_make_a_grid(dataset_dir, tiny, tmp_path, monkeypatch):
    arguments = {"seeds": [0, 1], "protocol": "activity-folds", "folds": 2, "runs_dir": tmp_path}
    found = compare_models(dataset_dir, ["reads-rgb", "random"], tiny(), **arguments)
    assert [(each.model, each.seed, each.data.fold) for each in found.runs] == [
        (model, seed, fold)
        for model in ("reads-rgb", "random")
        for seed in (0, 1)
        for fold in (1, 2)
    ]
    assert found.skipped == {}
    assert sorted(each.run for each in found.runs) == [each.run for each in read_runs(tmp_path)]
    assert "2 folds of whole activities" in str(found)
    assert "\nreads-rgb, 2 seeds" in str(found)

    def never(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(run, "train", never)
    again = compare_models(str(dataset_dir), ["reads-rgb", "random"], tiny(), **arguments)
    assert again.runs == found.runs


@pytest.mark.usefixtures("two_models")
def test_models_without_their_modality_are_left_out_unless_asked_for(tiny, tmp_path):
    rows = make_rows(1)
    for clips in rows.values():
        for row in clips:
            row["rgb"] = None
    data = write_dataset(tmp_path / "data", rows)
    found = compare_models(data, settings=tiny(seed=3))
    assert [(each.model, each.seed) for each in found.runs] == [("random", 3)]
    assert list(found.skipped) == ["reads-rgb"]
    assert "14 of 14 clips have no rgb" in str(found.skipped["reads-rgb"])
    with pytest.raises(MissingModality, match="have no rgb"):
        compare_models(data, ["random", "reads-rgb"], tiny())


def test_options_that_do_not_fit_together_are_refused_before_anything_runs(
    dataset_dir, tiny, tmp_path
):
    for models, options, message in (
        (["random"], {"drop": "skeleton"}, "--drop is for --model transm3e"),
        (["transm3e"], {"drop": "skeleton", "protocol": "activity-folds"}, "--protocol fixed"),
        (["transm3e"], {"drop": "rgb"}, "must be skeleton"),
        (["random"], {"protocol": "folds"}, "fixed, activity-folds"),
        (["randem"], {}, "did you mean random"),
    ):
        with pytest.raises(UserError, match=message):
            compare_models(dataset_dir, models, tiny(), runs_dir=tmp_path / "runs", **options)
    assert not (tmp_path / "runs").exists()


def test_only_the_model_with_a_second_stream_asks_for_a_teacher(dataset_dir, tiny, tmp_path):
    settings = tiny(epochs=0, pretrain_teacher=True)
    (record,) = compare_models(dataset_dir, ["random"], settings, runs_dir=tmp_path).runs
    assert "pretrain_teacher" not in record.changes
