"""Features of a frozen encoder are kept once, and heads train on them alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark import data
from benchmark.clips import MissingModality
from benchmark.compare import compare_models
from benchmark.data import ClipDataset, normalise_batch
from benchmark.features import read_features
from benchmark.finished import choose_run
from benchmark.loader import collate
from benchmark.models.probe import Probe
from benchmark.models.zero_shot import write_embeddings, zero_shot
from benchmark.predict.runs import load_run
from benchmark.run import Run
from musclemap_data.catalog import load_activities, load_muscles
from musclemap_data.errors import UserError
from tests.benchmark.commands.test_verbs import musclemap


@pytest.fixture
def encoded(dataset_dir, tiny, tmp_path):
    """A finished run of stgcn, and the file of its features."""
    settings = tiny(epochs=0, joint_channels=8)
    Run(dataset_dir, "stgcn", settings, runs_dir=tmp_path / "runs", name="encoder").complete()
    path = tmp_path / "features.parquet"
    done = musclemap(
        "features", "--encoder", tmp_path / "runs/encoder", "--data", dataset_dir, "--out", path
    )
    assert done.exit_code == 0, done.output
    return path


def test_they_are_what_the_encoders_head_gets(encoded, dataset_dir, tmp_path):
    run = load_run(tmp_path / "runs/encoder", device_name="cpu")
    clips = ClipDataset(dataset_dir, ["test_new"], ["skeleton"], run.settings, train=False)
    found = read_features(encoded)
    assert len(found) == 42
    seen = []
    run.model.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for index, (clip, _) in enumerate(clips.items[:4]):
        run.model.eval()(normalise_batch(collate([clips[index]])))
        name = clips.clips[clip].clip_id
        view = sum(other == clip for other, _ in clips.items[:index])
        np.testing.assert_allclose(found[name][view], seen[-1][0].detach(), atol=1e-5)


@pytest.mark.parametrize("kind", ["linear", "attentive"])
def test_a_probe_learns_on_them_without_reading_a_shard(
    kind, encoded, dataset_dir, tiny, tmp_path, monkeypatch
):
    def never(*_):
        raise AssertionError("read a clip")

    monkeypatch.setattr(data.ClipDataset, "_read", never)
    settings = tiny(features=str(encoded), probe=kind, epochs=5, learning_rate=0.01)
    run = Run(dataset_dir, "probe", settings, runs_dir=tmp_path / "probes")
    record = run.complete()
    assert record.modalities == ("features",)
    assert record.scores.splits["test_new"].clips == 9
    assert record.training.final_loss < np.log(2)
    with pytest.raises(UserError, match="does not look at the video"):
        load_run(run.folder)
    (tmp_path / "chosen").mkdir()
    (tmp_path / "probes").rename(tmp_path / "chosen/runs")
    with pytest.raises(UserError, match="no trained model"):
        choose_run(tmp_path / "chosen")


@pytest.mark.parametrize("name", ["probe", "zero-shot"])
def test_without_features_a_head_is_left_out_and_says_what_to_do(
    name, encoded, dataset_dir, tiny, tmp_path
):
    with pytest.raises(MissingModality, match="musclemap features"):
        compare_models(dataset_dir, [name], tiny(epochs=0), runs_dir=tmp_path / "none")
    assert not (tmp_path / "none").exists()
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="cannot be read as features"):
        Run(dataset_dir, "probe", tiny(features=str(tmp_path / "bad.parquet"))).new_model()


def test_the_attentive_probe_starts_as_the_mean(tiny):
    torch.manual_seed(0)
    linear, attentive = Probe(6, False, 0.0), Probe(6, True, 0.0)
    torch.nn.init.normal_(linear.head.weight)
    attentive.head.load_state_dict(linear.head.state_dict())
    batch = {"features": torch.randn(3, 4, 6)}
    torch.testing.assert_close(attentive(batch), linear(batch))
    attentive.query.data.normal_()
    assert not torch.allclose(attentive(batch), linear(batch))


def test_a_zero_shot_row_is_scored_and_learns_nothing(encoded, dataset_dir, tiny, tmp_path):
    width = next(iter(read_features(encoded).values())).shape[1]
    rng = np.random.default_rng(0)
    regions = {
        muscle.slug: rng.normal(size=width).astype(np.float32)
        for muscle in reversed(load_muscles())
    }
    write_embeddings(tmp_path / "regions.csv", regions)
    settings = tiny(features=str(encoded), texts=str(tmp_path / "regions.csv"))
    record = Run(dataset_dir, "zero-shot", settings, runs_dir=tmp_path / "runs").complete()
    assert record.training is None
    assert record.scores.splits["test_new"].clips == 9
    model = zero_shot(settings)
    toward = torch.from_numpy(regions[load_muscles()[3].slug])[None, None]
    assert int(model({"features": toward}).argmax()) == 3

    activities = ("push_up", "squat", "plank")
    exact = {name: np.eye(width, dtype=np.float32)[place] for place, name in enumerate(activities)}
    write_embeddings(tmp_path / "activities.csv", exact)
    model = zero_shot(tiny(features=str(encoded), texts=str(tmp_path / "activities.csv")))
    logits = model({"features": torch.from_numpy(exact["squat"])[None, None]})[0]
    np.testing.assert_array_equal(logits > 0, load_activities()["squat"].muscles)


def test_texts_that_do_not_fit_are_refused(encoded, tiny, tmp_path):
    with pytest.raises(MissingModality, match="--texts FILE"):
        zero_shot(tiny(features=str(encoded)))
    path = tmp_path / "texts.csv"
    path.write_text("push_up,1,2\n")
    with pytest.raises(UserError, match="2 numbers a text"):
        zero_shot(tiny(features=str(encoded), texts=str(path)))
    path.write_text("push_up,1,2\nsquat,1\n")
    with pytest.raises(UserError, match="same count of numbers"):
        zero_shot(tiny(texts=str(path)))
    path.write_text("somersault,1,2\n")
    with pytest.raises(UserError, match="'somersault', which is no activity"):
        zero_shot(tiny(texts=str(path)))
