"""Whole runs and what they leave behind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score

from benchmark import run
from benchmark.checkpoint import save_weights
from benchmark.clips import MissingModality
from benchmark.compare import compare_models, compare_runs
from benchmark.finished import read_runs
from benchmark.predictions import read_predictions
from benchmark.protocols.folds import activity_fold
from benchmark.record import RunRecord, read_record
from benchmark.report.figures import read_material, training_figure
from benchmark.report.tables import format_table
from benchmark.run import Run, default_run_name, read_subset
from benchmark.score import predict
from musclemap_data.errors import UserError
from musclemap_data.files import file_sha256
from tests.benchmark.conftest import make_row, write_dataset

pytestmark = pytest.mark.usefixtures("toy_model")


def json_of(record: RunRecord) -> dict:
    return json.loads(json.dumps(record.to_dict()))


@pytest.mark.parametrize("model", ["random", "all-ones", "label-prior", "toy"])
def test_a_run_leaves_everything_behind(dataset_dir, tiny, tmp_path, model):
    result = Run(dataset_dir, model, tiny(), runs_dir=tmp_path).complete()
    run_dir = tmp_path / default_run_name(model, tiny())
    names = {path.name for path in run_dir.iterdir()}
    assert names >= {"settings.json", "metrics.json", "predictions.parquet", "model.safetensors"}
    assert "checkpoints" not in names
    assert read_record(run_dir) == result
    assert json.loads((run_dir / "metrics.json").read_text()) == json_of(result)
    saved = json.loads((run_dir / "settings.json").read_text())
    assert saved["model"] == model
    assert run.Settings.from_dict(saved["settings"]) == tiny()
    assert pq.read_metadata(run_dir / "predictions.parquet").num_rows == 30
    assert result.scores.splits["test_known"].coverage == pytest.approx(0.9)
    if model in ("all-ones", "label-prior"):
        for split in result.scores.splits.values():
            assert split.map == pytest.approx(split.constant_map, abs=1e-9)
            assert not split.chance.significant
    table = format_table([result])
    assert f"\n{model} " in table
    assert "90.0% of 10" in table


def test_the_same_run_twice_is_the_same_and_not_repeated(dataset_dir, tiny, tmp_path):
    first = Run(dataset_dir, "toy", tiny(), runs_dir=tmp_path / "a").complete()
    second = Run(dataset_dir, "toy", tiny(workers=2), runs_dir=tmp_path / "b").complete()
    assert first.scores == second.scores
    weights = [(tmp_path / side / first.run / "model.safetensors").read_bytes() for side in "ab"]
    assert weights[0] == weights[1]

    def never(step: int, loss: float) -> None:
        raise AssertionError("trained again")

    again = Run(dataset_dir, "toy", tiny(), runs_dir=tmp_path / "a").complete(on_step=never)
    assert again == first
    with pytest.raises(AssertionError, match="trained again"):
        Run(dataset_dir, "toy", tiny(), runs_dir=tmp_path / "a").complete(on_step=never, fresh=True)


def test_a_killed_run_goes_on_to_the_same_result(dataset_dir, tiny, tmp_path):
    settings = tiny(epochs=2)
    straight = Run(dataset_dir, "toy", settings, runs_dir=tmp_path / "a").complete()

    def stop(step: int, loss: float) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Run(dataset_dir, "toy", settings, runs_dir=tmp_path / "b").complete(on_step=stop)
    assert read_runs(tmp_path / "b") == []
    resumed = Run(dataset_dir, "toy", settings, runs_dir=tmp_path / "b").complete()
    assert resumed.training.steps == 3
    assert resumed.scores == straight.scores


def test_other_settings_or_clips_do_not_mix(dataset_dir, tiny, tmp_path):
    Run(dataset_dir, "toy", tiny(), runs_dir=tmp_path, name="mine").complete()
    with pytest.raises(UserError, match=r"learning_rate was 0.001, now 0.01.*--fresh"):
        Run(dataset_dir, "toy", tiny(learning_rate=0.01), runs_dir=tmp_path, name="mine").complete()
    with pytest.raises(UserError, match="model was toy, now random"):
        Run(dataset_dir, "random", tiny(), runs_dir=tmp_path, name="mine").complete()
    with pytest.raises(UserError, match="clips of the data set have changed"):
        Run(
            dataset_dir, "toy", tiny(), runs_dir=tmp_path, name="mine", subset=["train-hop-0"]
        ).complete()


def test_mistakes_are_explained(dataset_dir, tiny, tmp_path):
    with pytest.raises(UserError, match="did you mean transm3e"):
        Run(dataset_dir, "transme3", tiny(), runs_dir=tmp_path).complete()
    with pytest.raises(UserError, match="no data set"):
        Run(tmp_path, "toy", tiny(), runs_dir=tmp_path).complete()
    with pytest.raises(UserError, match="cannot name a run"):
        Run(dataset_dir, "toy", tiny(), runs_dir=tmp_path, name="..").complete()
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="not a run"):
        Run(dataset_dir, "toy", tiny(), runs_dir=tmp_path, name="precious").complete(fresh=True)
    assert (precious / "thesis.tex").exists()


def test_subsets(dataset_dir, tiny, tmp_path):
    listed = tmp_path / "subset.txt"
    listed.write_text("# clips of both labs\ntrain-hop-0\ntrain-row-1\ntest_new-lunge-0\n\n")
    subset = read_subset(listed)
    assert len(subset) == 3
    result = Run(dataset_dir, "toy", tiny(), runs_dir=tmp_path, subset=subset).complete()
    assert result.train_clips == 2
    assert result.scores.splits["test_new"].clips == 1
    assert "(subset)" in format_table([result])
    with pytest.raises(UserError, match=r"1 clips of the subset are not in .*nowhere"):
        Run(dataset_dir, "toy", tiny(), runs_dir=tmp_path, subset={"nowhere"}, name="x").complete()
    listed.write_text("# nothing\n")
    with pytest.raises(UserError, match="names no clip"):
        read_subset(listed)
    with pytest.raises(UserError, match="cannot be read"):
        read_subset(tmp_path / "absent.txt")


def test_clips_with_bad_skeletons_are_left_out_and_counted(tmp_path, tiny):
    rows = {
        split: [
            {**make_row(f"{split}-{number}", "hop", split), "skeleton_quality": quality}
            for number, quality in enumerate((0.2, 0.5, 0.9))
        ]
        for split in ("train", "test_known")
    }
    directory = write_dataset(tmp_path / "data", rows, planned={"test_known": 3})
    runs = [
        Run(directory, "toy", replace(tiny(), min_skeleton_quality=least)).complete()
        for least in (0, 0.4, 0.7)
    ]
    assert [run.train_clips for run in runs] == [3, 2, 1]
    scored = [run.scores.splits["test_known"] for run in runs]
    assert [split.clips for split in scored] == [3, 2, 1]
    assert [split.coverage for split in scored] == pytest.approx([1, 2 / 3, 1 / 3])
    assert [run.data.bad_skeletons for run in runs] == [None, 2, 4]
    assert len({run.data.fingerprint for run in runs}) == 3
    with pytest.raises(UserError, match=r"no clip of .* of quality 0\.95"):
        Run(directory, "toy", replace(tiny(), min_skeleton_quality=0.95)).complete()
    rows["train"][0]["skeleton_quality"] = None
    older = write_dataset(tmp_path / "older", rows)
    assert Run(older, "toy", tiny()).complete().train_clips == 3
    with pytest.raises(UserError, match=r"1 of 6 clips were not judged.*train-0"):
        Run(older, "toy", replace(tiny(), min_skeleton_quality=0.1)).complete()


def test_validation_during_training_leaves_bad_skeletons_out_too(tmp_path, tiny, monkeypatch):
    rows = {
        split: [
            {**make_row(f"{split}-{number}", "hop", split), "skeleton_quality": quality}
            for number, quality in enumerate((0.2, 0.9))
        ]
        for split in ("train", "val_known")
    }
    seen: list[list[str]] = []

    def noting(model, dataset, *arguments, **options):
        seen.append([clip.clip_id for clip in dataset.clips])
        return predict(model, dataset, *arguments, **options)

    monkeypatch.setattr("benchmark.run.predict", noting)
    settings = replace(tiny(), min_skeleton_quality=0.5, validate_every=1)
    Run(write_dataset(tmp_path / "data", rows), "toy", settings).complete()
    assert seen and all(clips == ["val_known-1"] for clips in seen)


def test_splits_without_clips_are_not_a_crash(tmp_path, tiny):
    rows = {
        "train": [make_row(f"t{number}", "hop", "train") for number in range(4)],
        "test_known": [make_row("k0", "hop", "test_known")],
        "val_new": [],
    }
    directory = write_dataset(tmp_path / "data", rows, planned={"val_new": 3})
    result = Run(directory, "toy", tiny()).complete()
    assert (directory / "runs" / result.run / "metrics.json").is_file()
    table = format_table([result])
    assert "n/a (0 clips)" in table
    assert "0.0% of 3" in table
    assert result.scores.splits["test_known"].map == 1.0  # one clip: all its regions are trivial
    # One activity cannot be dealt other labels: its score is its chance level.
    assert result.scores.splits["test_known"].excess == 0.0
    assert result.scores.splits["test_known"].chance.p == 1.0
    with pytest.raises(UserError, match="train has no clips"):
        Run(write_dataset(tmp_path / "none", {"val_new": []}), "toy", tiny()).complete()
    untrained = Run(tmp_path / "none", "label-prior", tiny()).complete()
    assert untrained.scores.splits["val_new"].map is None


def test_a_missing_modality_is_noticed_before_anything_is_done(tmp_path, tiny):
    rows = {
        "train": [make_row(f"t{number}", "hop", "train") for number in "abcdef"],
        "test_new": [
            make_row("n0", "reach", "test_new"),
            make_row("n1", "reach", "test_new", without=("rgb",)),
            # One value in the column, like a null: these have to be read.
            make_row("n2", "reach", "test_new", frames=1),
            make_row("n3", "reach", "test_new", frames=1, without=("rgb",)),
        ],
    }
    directory = write_dataset(tmp_path / "data", rows)

    def never(step: int, loss: float) -> None:
        raise AssertionError("trained")

    with pytest.raises(
        MissingModality, match=r"2 of 10 clips have no rgb, .*clip n1 .*--modalities rgb"
    ):
        Run(directory, "toy", tiny()).complete(on_step=never)
    assert not (directory / "runs").exists()
    Run(directory, "random", tiny()).complete()


def left_out(run_dir: Path, split: str) -> np.ndarray:
    """The mAP of a run's split without each video, or each new activity, in turn."""
    predictions = read_predictions(run_dir / "predictions.parquet").of_split(split)
    name = "activity" if split.endswith("_new") else "video_id"
    groups = np.array([getattr(clip, name) for clip in predictions.clips])
    values = []
    for group in np.unique(groups):
        kept = groups != group
        labels = predictions.labels[kept]
        present = labels.any(axis=0)
        values.append(
            average_precision_score(labels[:, present], predictions.scores[kept][:, present])
        )
    return np.array(values)


def test_paired_comparison(dataset_dir, tiny, tmp_path):
    for model in ("toy", "all-ones", "label-prior"):
        Run(dataset_dir, model, tiny(), runs_dir=tmp_path).complete()
    toy, ones, prior = (
        tmp_path / default_run_name(m, tiny()) for m in ("toy", "all-ones", "label-prior")
    )
    forwards = compare_runs(toy, ones)
    scores = read_record(toy).scores
    for split in ("val_known", "test_new"):
        values = scores.splits[split]
        assert forwards[split].difference == pytest.approx(values.map - values.constant_map)
        # The same groups are left out of both.
        differences = left_out(toy, split) - left_out(ones, split)
        error = (len(differences) - 1) / len(differences) ** 0.5 * differences.std(ddof=1)
        reach = stats.t.ppf(0.975, len(differences) - 1) * error
        low, high = forwards[split].interval
        assert (high - low) / 2 == pytest.approx(reach)
        assert (high + low) / 2 == pytest.approx(forwards[split].difference)
        p = stats.t.sf(forwards[split].difference, len(differences) - 1, 0, max(error, 1e-12))
        assert forwards[split].p == pytest.approx(p)
    means = scores.means["test"]
    assert forwards["test"].difference == pytest.approx(means.map - means.constant_map)
    backwards = compare_runs(ones, toy)
    assert backwards["test"].difference == pytest.approx(-forwards["test"].difference)
    assert backwards["test"].p == pytest.approx(1 - forwards["test"].p)
    for equal in (compare_runs(ones, prior)["test"], compare_runs(toy, toy)["test"]):
        assert equal.difference == pytest.approx(0)
        assert equal.interval == pytest.approx((0, 0))
        assert equal.p == 1
    Run(
        dataset_dir, "random", tiny(), runs_dir=tmp_path, subset=["test_new-lunge-0"], name="few"
    ).complete()
    with pytest.raises(UserError, match="different clips"):
        compare_runs(toy, tmp_path / "few")
    with pytest.raises(UserError, match="cannot be read as predictions"):
        compare_runs(toy, tmp_path / "absent")


def test_runs_with_other_settings_get_names_and_rows_of_their_own(dataset_dir, tiny, tmp_path):
    preset = run.Settings.from_preset("tiny")
    assert default_run_name("toy", preset) == "toy-tiny-seed0"
    assert default_run_name("toy", replace(preset, workers=0, seed=3)) == "toy-tiny-seed3"
    changed = replace(preset, epochs=4, modality="rgb-diff")
    assert default_run_name("toy", changed) == "toy-tiny-modalityrgb_diff-epochs4-seed0"
    path = replace(preset, pretrained="/some/../where " + "x" * 200)
    assert len(default_run_name("toy", path)) < 60
    assert "/" not in default_run_name("toy", replace(preset, pretrained="../a/b"))
    runs = [
        Run(dataset_dir, "toy", tiny(epochs=epochs), runs_dir=tmp_path).complete()
        for epochs in (1, 2)
    ]
    assert runs[0].run != runs[1].run
    rows = [line for line in format_table(runs).splitlines() if line.startswith("toy")]
    assert [row.split("  ")[0] for row in rows] == ["toy (epochs=1)", "toy (epochs=2)"]


def test_folds_are_runs_of_their_own(dataset_dir, tiny, tmp_path):
    settings = tiny(epochs=0)
    runs = [
        Run(dataset_dir, "toy", settings, runs_dir=tmp_path, fold=activity_fold(fold, 3)).complete()
        for fold in (1, 2, 3)
    ]
    assert all(run.run.endswith(f"-fold{fold}of3") for fold, run in enumerate(runs, 1))
    assert len({run.data.fingerprint for run in runs}) == 3
    assert len({run.data.all_clips for run in runs}) == 1
    new = [set(run.scores.splits["test_new"].per_activity) for run in runs]
    assert not new[0] & new[1]
    for each, names in zip(runs, new, strict=True):
        assert not names & set(each.scores.splits["test_known"].per_activity)
        assert all(split.coverage is None for split in each.scores.splits.values())
    again = Run(
        dataset_dir, "toy", settings, runs_dir=tmp_path, fold=activity_fold(2, 3)
    ).complete()
    assert again == runs[1]
    scored = read_predictions(tmp_path / runs[0].run / "predictions.parquet")
    assert {clip.activity for clip in scored.clips if clip.split.endswith("_new")} >= new[0]


def test_a_table_says_which_rows_started_from_what(dataset_dir, tiny, tmp_path):
    settings = tiny(epochs=0, model_width=24, model_depth=4)
    run = Run(dataset_dir, "c2d", settings, runs_dir=tmp_path)
    model = run.new_model()
    path = tmp_path / "C2D.safetensors"
    save_weights(path, model)
    found = compare_models(
        dataset_dir, ["random", "c2d"], replace(settings, pretrained=f"c2d={path}"),
        runs_dir=tmp_path,
    )  # fmt: skip
    digest = file_sha256(path)[:8]
    assert [each.start for each in found.runs] == [None, f"C2D.safetensors (sha256 {digest})"]
    assert f"c2d: C2D.safetensors (sha256 {digest}). Others: random" in str(found)
    again = read_record(tmp_path / found.runs[1].run)
    assert again.start == found.runs[1].start


def test_validation_while_training_is_written_and_changes_nothing(dataset_dir, tiny, tmp_path):
    for every in (0, 1, 2):
        settings = tiny(epochs=3, validate_every=every, erasing=0.5)
        Run(dataset_dir, "toy", settings, runs_dir=tmp_path, name=str(every)).complete()
    lines = {
        every: [json.loads(line) for line in (tmp_path / every / "validation.jsonl").open()]
        for every in ("0", "1", "2")
    }
    assert lines["0"] == []
    steps = json.loads((tmp_path / "1/log.jsonl").read_text().splitlines()[-1])["step"] // 3
    assert [line["step"] for line in lines["1"]] == [steps, 2 * steps, 3 * steps]
    assert lines["2"] == lines["1"][1:2]
    assert all(0 < line["val_known"] <= 1 and 0 < line["val_new"] <= 1 for line in lines["1"])
    weights = [(tmp_path / every / "model.safetensors").read_bytes() for every in ("0", "1", "2")]
    assert weights[0] == weights[1] == weights[2]
    material = read_material(tmp_path / "1", dataset_dir)
    labels = [axes.get_ylabel() for axes in training_figure(material).axes]
    assert labels[-1] == "validation mAP, %"
    assert len(training_figure(read_material(tmp_path / "0", dataset_dir)).axes) == 3
