"""The second stream trained first, kept and used again; and scores without the skeleton."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from benchmark.checkpoint import save_weights
from benchmark.clips import MissingModality
from benchmark.finished import read_runs
from benchmark.models import MODELS
from benchmark.models.transm3e import transm3e_teacher
from benchmark.predictions import read_predictions
from benchmark.protocols.dropped import check_drop, score_without, with_dropped
from benchmark.protocols.teacher import complete_run, teacher_name, teacher_settings
from benchmark.record import DataRecord, RunRecord, read_record
from benchmark.report.tables import format_table
from benchmark.run import Run
from benchmark.settings import Settings
from musclemap_data.errors import UserError
from tests.benchmark.conftest import make_row, write_dataset


@pytest.fixture
def smallest(tiny):
    """Settings of a TransM3E that trains in a second."""

    def make(**changes) -> Settings:
        return tiny(**{"model_width": 8, "joint_channels": 4, "test_views": 1, **changes})

    return make


def never(step: int, loss: float) -> None:
    raise AssertionError("trained again")


def teachers(runs_dir: Path) -> list[Path]:
    return sorted((runs_dir / "teachers").glob("*"))


def test_no_teacher_is_trained_for_clips_without_rgb(smallest, tmp_path):
    rows = {"train": [make_row("a", "hop", "train", without=("rgb",))]}
    data = write_dataset(tmp_path / "data", rows)
    with pytest.raises(MissingModality, match="1 of 1 clips have no rgb"):
        complete_run(Run(data, "transm3e", smallest(pretrain_teacher=True)), on_step=never)
    assert not teachers(data / "runs")


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["skeleton", "rgb-diff"])
def test_the_teacher_is_trained_kept_and_the_model_starts_from_it(
    dataset_dir, smallest, tmp_path, variant
):
    settings = smallest(variant=variant, pretrain_teacher=True)
    result = complete_run(Run(dataset_dir, "transm3e", settings, runs_dir=tmp_path))
    (teacher,) = teachers(tmp_path)
    alone = read_record(teacher)
    assert alone.model == "transm3e-teacher" and alone.training.steps == 3
    assert alone.modalities == ("skeleton" if variant == "skeleton" else "rgb_diff",)
    taught = load_file(teacher / "model.safetensors")
    torch.manual_seed(settings.seed)
    untaught = MODELS["transm3e"](settings).teacher.state_dict()
    final = load_file(tmp_path / result.run / "model.safetensors")
    name = "stream.class_tokens" if variant == "skeleton" else "stream.backbone.class_tokens"
    assert not torch.equal(taught[name], untaught[name])
    for each, values in taught.items():
        if variant == "rgb-diff":  # frozen: not a bit of it moves
            assert torch.equal(final[f"teacher.{each}"], values), each
    if variant == "skeleton":  # goes on from there
        moved = (final[f"teacher.{name}"] - taught[name]).abs().max()
        assert 0 < moved < 1e-2 < (final[f"teacher.{name}"] - untaught[name]).abs().max()
    # The run knows its teacher; a table of runs does not list teachers.
    assert result.teacher and len(result.teacher) == 64
    assert [run.run for run in read_runs(tmp_path)] == [result.run]


@pytest.mark.slow
def test_a_teacher_is_used_again_where_settings_and_clips_match(dataset_dir, smallest, tmp_path):
    def run(on_step=None, subset=None, **changes) -> RunRecord:
        settings = smallest(variant="rgb-diff", pretrain_teacher=True, **changes)
        return complete_run(
            Run(dataset_dir, "transm3e", settings, runs_dir=tmp_path, subset=subset),
            on_step=on_step,
        )

    first = run()
    assert run(on_step=never) == first  # nothing is repeated
    steps: list[int] = []
    second = run(on_step=lambda step, loss: steps.append(step), distillation="sparse")
    assert steps == [1, 2, 3]  # only the fused model was trained
    assert second.teacher == first.teacher and len(teachers(tmp_path)) == 1
    for matters in ({"seed": 1}, {"multi_token": False}):
        other = run(**matters)
        assert other.teacher != first.teacher
    assert len(teachers(tmp_path)) == 3


def test_what_decides_a_teacher(smallest):
    data = DataRecord("a", "f", subset=False)
    base = smallest(pretrain_teacher=True)
    name = teacher_name(teacher_settings(base), data)
    same = {"distillation": "none", "fusion": False, "sender": "video", "workers": 2}
    assert teacher_name(teacher_settings(smallest(**same)), data) == name
    for change in ({"epochs": 2}, {"seed": 3}, {"joint_channels": 8}, {"variant": "rgb-diff"}):
        assert teacher_name(teacher_settings(smallest(**change)), data) != name
    assert teacher_name(teacher_settings(base), replace(data, fingerprint="g")) != name


def test_an_untrained_frozen_teacher_is_refused(dataset_dir, smallest, tmp_path):
    def run(**changes) -> RunRecord:
        return complete_run(Run(dataset_dir, "transm3e", smallest(**changes), runs_dir=tmp_path))

    with pytest.raises(UserError, match=r"variant=rgb-diff.*--pretrain-teacher.*teacher_weights"):
        run(variant="rgb-diff")
    with pytest.raises(UserError, match=r"freeze_teacher.*untrained.*--pretrain-teacher"):
        run(freeze_teacher=True)
    assert not list(tmp_path.iterdir())  # nothing was begun
    assert run(variant="rgb-diff", freeze_teacher=False, epochs=0).teacher is None
    for settings in (smallest(variant="rgb-diff"), smallest(pretrain_teacher=True)):
        with pytest.raises(ValueError, match="complete_run"):  # a run alone does not train one
            Run(dataset_dir, "transm3e", settings, runs_dir=tmp_path / "alone").complete()
    assert not (tmp_path / "alone").exists()
    with pytest.raises(UserError, match="exclude each other"):
        smallest(pretrain_teacher=True, teacher_weights="a.safetensors")


def test_given_weights_are_the_teacher_and_part_of_the_run(dataset_dir, smallest, tmp_path):
    path = tmp_path / "mine.safetensors"
    settings = smallest(variant="rgb-diff", teacher_weights=str(path))

    def run(**options) -> RunRecord:
        fused = Run(dataset_dir, "transm3e", settings, runs_dir=tmp_path / "runs")
        return complete_run(fused, **options)

    with pytest.raises(UserError, match=r"no weights at .*mine.safetensors"):
        run()
    torch.manual_seed(7)
    teacher = transm3e_teacher(settings)
    save_weights(path, teacher)
    final = load_file(tmp_path / "runs" / run().run / "model.safetensors")
    for name, values in teacher.state_dict().items():
        assert torch.equal(final[f"teacher.{name}"], values), name
    save_weights(path, transm3e_teacher(settings))  # another one under the same name
    with pytest.raises(UserError, match=r"weights of the teacher have changed.*--fresh"):
        run()
    save_weights(path, transm3e_teacher(smallest(variant="rgb-diff", model_width=16)))
    with pytest.raises(UserError, match="does not fit this model"):
        run(fresh=True)


class Stopped(Exception):
    pass


@pytest.mark.slow
def test_a_stopped_teacher_goes_on_to_the_same_result(dataset_dir, smallest, tmp_path):
    settings = smallest(variant="rgb-diff", pretrain_teacher=True, epochs=2)
    straight = complete_run(Run(dataset_dir, "transm3e", settings, runs_dir=tmp_path / "a"))
    steps = 0

    def stop(step: int, loss: float) -> None:
        nonlocal steps
        steps += 1
        if steps in (4, 10):  # in the teacher's second epoch, then in the fused model's
            raise Stopped

    for _ in range(2):
        with pytest.raises(Stopped):
            complete_run(
                Run(dataset_dir, "transm3e", settings, runs_dir=tmp_path / "b"), on_step=stop
            )
    resumed = complete_run(Run(dataset_dir, "transm3e", settings, runs_dir=tmp_path / "b"))
    assert resumed.teacher == straight.teacher
    assert resumed.scores == straight.scores


@pytest.mark.slow
def test_the_score_without_the_skeleton(dataset_dir, smallest, tmp_path):
    settings = smallest(epochs=2, learning_rate=0.01)
    whole = complete_run(Run(dataset_dir, "transm3e", settings, runs_dir=tmp_path))
    run_dir = tmp_path / whole.run
    weights = (run_dir / "model.safetensors").read_bytes()
    result = score_without(dataset_dir, run_dir, "skeleton", device_name="cpu")
    assert read_record(run_dir) == result
    assert replace(result, dropped={}) == whole
    assert (run_dir / "model.safetensors").read_bytes() == weights

    entry = result.dropped["skeleton"]
    assert entry.modalities == ("rgb",)
    known = "test_known"
    assert entry.scores.splits[known].coverage == whole.scores.splits[known].coverage
    assert 0 < entry.cost.multiply_adds_per_view < whole.cost.multiply_adds_per_view
    # Its scores are those of the model without the key in its batch.
    with_skeleton = read_predictions(run_dir / "predictions.parquet")
    without = read_predictions(run_dir / "predictions-without-skeleton.parquet")
    assert [each.clip_id for each in without.clips] == [c.clip_id for c in with_skeleton.clips]
    assert abs(without.scores - with_skeleton.scores).max() > 1e-6
    means = [each.scores.means["test"].map for each in (entry, whole)]
    assert entry.difference["test"].difference == pytest.approx(means[0] - means[1])

    table = format_table(with_dropped([result]))
    assert "\ntransm3e  " in table and "\ntransm3e without skeleton  " in table
    assert f"{100 * entry.scores.splits['test_new'].map:.1f}" in table
    # Asked again, it is read: the data need not even be there.
    assert score_without(tmp_path / "gone", run_dir, "skeleton") == result
    assert complete_run(Run(dataset_dir, "transm3e", settings, runs_dir=tmp_path)) == result


def test_what_cannot_be_dropped(smallest, tmp_path):
    with pytest.raises(UserError, match="'rgb'; it must be skeleton"):
        check_drop("transm3e", smallest(), "rgb")
    with pytest.raises(UserError, match="variant=rgb-diff does not score from"):
        check_drop("transm3e", smallest(variant="rgb-diff"), "skeleton")
    with pytest.raises(UserError, match=r"^stgcn does not"):
        check_drop("stgcn", smallest(), "skeleton")
    with pytest.raises(UserError, match="no complete run"):
        score_without(tmp_path, tmp_path, "skeleton")
