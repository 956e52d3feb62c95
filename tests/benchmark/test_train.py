"""Training: it learns, it resumes bit for bit, it stops on NaN, processes agree."""

from __future__ import annotations

import json
import os
import pickle
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.checkpoint import latest_checkpoint, load_weights, save_weights
from benchmark.data import ClipDataset
from benchmark.losses import TrainingOutput
from benchmark.machine import Processes, autocast, choose_device, join_processes, prepare_torch
from benchmark.models import MODELS
from benchmark.record import TrainingRecord
from benchmark.score import predict
from benchmark.settings import Settings
from benchmark.train import learning_rate, make_optimizer, split_batch, train
from musclemap_data.errors import UserError
from tests.benchmark.conftest import make_row, write_dataset

CPU = torch.device("cpu")


class Toy(nn.Module):
    """A small network over RGB and the skeleton, with dropout and an extra loss."""

    modalities = ("rgb", "skeleton")

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(3, 4, (1, 8, 8), stride=(1, 8, 8))
        self.joints = nn.Linear(51, 4)
        self.norm = nn.LayerNorm(8)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(8, 20)

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor | TrainingOutput:
        pictures = self.convolution(batch["rgb"]).relu().mean(dim=(2, 3, 4))
        joints = self.joints(batch["skeleton"].flatten(3).mean(dim=(1, 2))).relu()
        features = self.norm(torch.cat([pictures, joints], dim=1))
        logits = self.head(self.dropout(features))
        if self.training:
            return TrainingOutput(logits, 0.01 * features.square().mean())
        return logits


def toy(seed: int = 0, dropout: float = 0.3) -> Toy:
    torch.manual_seed(seed)
    return Toy(dropout)


def run(
    directory: Path, settings: Settings, run_dir: Path, *, model: Toy | None = None, **options
) -> tuple[Toy, TrainingRecord]:
    run_dir.mkdir(parents=True, exist_ok=True)
    model = model or toy()
    dataset = ClipDataset(directory, ["train"], model.modalities, settings, train=True)
    return model, train(model, dataset, settings, run_dir, device=CPU, **options)


def losses(run_dir: Path) -> list[tuple[int, float]]:
    lines = (run_dir / "log.jsonl").read_text().splitlines()
    return [(each["step"], each["loss"]) for each in map(json.loads, lines)]


def assert_same_weights(first: nn.Module, second: nn.Module) -> None:
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


def test_it_learns_and_logs(dataset_dir, tiny, tmp_path):
    settings = tiny(epochs=12, learning_rate=0.02)
    _, summary = run(dataset_dir, settings, tmp_path)
    curve = losses(tmp_path)
    assert [step for step, _ in curve] == list(range(1, 37))
    assert sum(loss for _, loss in curve[-3:]) < 0.75 * sum(loss for _, loss in curve[:3])
    assert summary.steps == 36
    assert 0 <= summary.wait_share <= 1
    assert summary.final_loss == curve[-1][1]


class Stopped(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stop_after", "every_steps", "workers"),
    [(3, 0, 0), (4, 0, 0), (4, 1, 0), (5, 2, 2), (1, 0, 0)],
    ids=["between epochs", "mid-epoch", "mid-epoch checkpoint", "with workers", "before any"],
)
def test_a_stopped_run_continues_bit_for_bit(
    dataset_dir, tiny, tmp_path, stop_after, every_steps, workers
):
    settings = tiny(epochs=2, checkpoint_every_steps=every_steps, workers=workers, erasing=0.5)
    straight, _ = run(dataset_dir, settings, tmp_path / "straight")

    def stop(step: int, _: float) -> None:
        if step == stop_after:
            raise Stopped

    with pytest.raises(Stopped):
        run(dataset_dir, settings, tmp_path / "stopped", on_step=stop)
    torch.rand(100)  # what other code draws must not matter
    resumed, summary = run(
        dataset_dir, settings, tmp_path / "stopped", model=toy(seed=99 if stop_after >= 3 else 0)
    )
    assert_same_weights(straight, resumed)
    assert losses(tmp_path / "straight") == losses(tmp_path / "stopped")
    assert summary.steps <= 6 - (stop_after // 3) * 3


def test_a_finished_run_is_not_trained_further(dataset_dir, tiny, tmp_path):
    first, _ = run(dataset_dir, tiny(epochs=1), tmp_path)
    again, summary = run(dataset_dir, tiny(epochs=1), tmp_path, model=toy(seed=5))
    assert summary.steps == 0
    assert_same_weights(first, again)


def test_two_views_of_a_clip_are_one_step_and_share_its_weight(dataset_dir, tiny, tmp_path):
    """A model without weights has log 2 for every view: a batch of twice the views has, too."""
    settings = tiny(early_views=True, learning_rate=1e-9, min_learning_rate=1e-9)
    model = toy(dropout=0.0)
    nn.init.zeros_(model.head.weight)
    nn.init.zeros_(model.head.bias)
    nn.init.zeros_(model.norm.weight)
    run(dataset_dir, settings, tmp_path / "two", model=model)
    assert [loss for _, loss in losses(tmp_path / "two")] == pytest.approx([np.log(2)] * 3)
    # In other parts it is the same step.
    for parts in (1, 2):
        run(dataset_dir, tiny(early_views=True, accumulate=parts), tmp_path / str(parts),
            model=toy(dropout=0.0))  # fmt: skip
    one, two = (losses(tmp_path / str(parts)) for parts in (1, 2))
    assert [loss for _, loss in one] == pytest.approx([loss for _, loss in two], abs=1e-5)


def test_seeds_differ(dataset_dir, tiny, tmp_path):
    first, _ = run(dataset_dir, tiny(seed=1), tmp_path / "a")
    second, _ = run(dataset_dir, tiny(seed=2), tmp_path / "b")
    assert not torch.equal(first.head.weight, second.head.weight)


def test_accumulation_computes_the_same_step(dataset_dir, tiny, tmp_path):
    whole, _ = run(dataset_dir, tiny(), tmp_path / "a", model=toy(dropout=0.0))
    for parts in (2, 4):
        split, _ = run(
            dataset_dir, tiny(accumulate=parts), tmp_path / str(parts), model=toy(dropout=0.0)
        )
        torch.testing.assert_close(split.head.weight, whole.head.weight, atol=2e-5, rtol=1e-4)


def test_split_batch_keeps_every_clip():
    batch = {"muscles": torch.arange(7), "clip": torch.arange(7)}
    for parts in (1, 2, 3, 7, 20):
        pieces = split_batch(batch, parts)
        assert torch.cat([piece["clip"] for piece in pieces]).tolist() == list(range(7))
        assert all(len(piece["clip"]) for piece in pieces)


class Breaks(Toy):
    """Gives NaN from a certain call on."""

    calls = 0

    def forward(self, batch):
        self.calls += 1
        output = super().forward(batch)
        if self.calls == 5:
            return TrainingOutput(output.logits * float("nan"), output.distillation)
        return output


def test_nan_stops_the_run_and_saves_the_batch(dataset_dir, tiny, tmp_path):
    torch.manual_seed(0)
    with pytest.raises(UserError, match=r"loss is nan at step 4.*learning_rate") as caught:
        run(dataset_dir, tiny(epochs=3), tmp_path, model=Breaks())
    from safetensors import safe_open

    (saved,) = tmp_path.glob("not-finite-step4-*.safetensors")
    assert str(saved) in str(caught.value)
    with safe_open(saved, "pt") as file:
        assert file.get_tensor("rgb").shape == (4, 3, 4, 32, 32)
        clips = json.loads(file.metadata()["clips"])
    assert len(clips) == 4
    assert all(clip.startswith("train-") for clip in clips)
    # The weights of the last checkpoint are those of a run that never saw the bad batch.
    model = toy()
    load_weights(latest_checkpoint(tmp_path / "checkpoints") / "model.safetensors", model)
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())


def test_damaged_and_hostile_checkpoints_are_refused(dataset_dir, tiny, tmp_path):
    run(dataset_dir, tiny(epochs=1), tmp_path)
    checkpoint = latest_checkpoint(tmp_path / "checkpoints")
    good = (checkpoint / "training.pt").read_bytes()
    (checkpoint / "training.pt").write_bytes(good[: len(good) // 2])
    with pytest.raises(UserError, match="--fresh"):
        run(dataset_dir, tiny(epochs=2), tmp_path)

    class Hostile:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "owned"),))

    (checkpoint / "training.pt").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(UserError, match="cannot be read"):
        run(dataset_dir, tiny(epochs=2), tmp_path)
    assert not (tmp_path / "owned").exists()


def test_weights_of_another_model_are_refused(tmp_path):
    save_weights(tmp_path / "w.safetensors", nn.Linear(3, 3))
    with pytest.raises(UserError, match="does not fit this model"):
        load_weights(tmp_path / "w.safetensors", toy())
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be read as weights"):
        load_weights(tmp_path / "bad.safetensors", toy())


def test_only_one_checkpoint_is_kept_and_no_rubbish(dataset_dir, tiny, tmp_path):
    run(dataset_dir, tiny(epochs=3, checkpoint_every_steps=1), tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000009"]


def test_the_average_of_the_weights_is_what_remains(dataset_dir, tiny, tmp_path):
    settings = tiny(epochs=2, ema=0.9, learning_rate=0.01)
    model, weights = toy(), []

    def keep(step: int, _: float) -> None:
        weights.append(model.head.weight.detach().clone())

    first = model.head.weight.detach().clone()
    run(dataset_dir, settings, tmp_path / "average", model=model, on_step=keep)
    expected = first
    for step, each in enumerate(weights, 1):
        decay = min(0.9, (step + 1) / (step + 10))
        expected = decay * expected + (1 - decay) * each
    torch.testing.assert_close(model.head.weight, expected)
    # The training itself is the same as without.
    plain, _ = run(dataset_dir, replace(settings, ema=0.0), tmp_path / "plain")
    assert torch.equal(plain.head.weight, weights[-1])
    assert losses(tmp_path / "plain") == losses(tmp_path / "average")
    # The finished run again: the average, not the last weights.
    again, _ = run(dataset_dir, settings, tmp_path / "average", model=toy(seed=5))
    assert_same_weights(again, model)

    def stop(step: int, _: float) -> None:
        if step == 4:
            raise Stopped

    with pytest.raises(Stopped):
        run(dataset_dir, settings, tmp_path / "stopped", on_step=stop)
    resumed, _ = run(dataset_dir, settings, tmp_path / "stopped", model=toy(seed=99))
    assert_same_weights(resumed, model)


@pytest.mark.parametrize(("warmup", "epochs"), [(1.0, 10), (30.0, 10), (0.0, 3), (2.0, 1)])
def test_the_learning_rate_arrives(warmup, epochs):
    settings = Settings.from_preset("base", warmup_epochs=warmup, epochs=epochs)
    per_epoch = 20
    total = epochs * per_epoch
    rates = [learning_rate(step, total, per_epoch, settings) for step in range(total)]
    assert max(rates) == pytest.approx(1e-4)
    assert rates[-1] == pytest.approx(1e-6)
    peak = rates.index(max(rates))
    assert peak <= 0.2 * total
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert learning_rate(0, 1, 1, settings) == pytest.approx(1e-4)


def test_weight_decay_spares_biases_and_norms():
    decayed, spared = make_optimizer(toy(), Settings()).param_groups
    assert decayed["weight_decay"] == 0.05
    assert spared["weight_decay"] == 0.0
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    assert len(spared["params"]) == 5  # three biases, the norm's weight and bias
    frozen = toy()
    frozen.convolution.requires_grad_(False)
    assert (
        sum(len(group["params"]) for group in make_optimizer(frozen, Settings()).param_groups) == 6
    )


def test_precision_and_devices(dataset_dir, tiny, tmp_path):
    model, summary = run(dataset_dir, tiny(precision="bf16"), tmp_path)
    assert summary.final_loss > 0
    assert model.head.weight.dtype == torch.float32
    with autocast(tiny(precision="bf16"), CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    with pytest.raises(UserError, match="fp16 needs a GPU"):
        prepare_torch(tiny(precision="fp16"), CPU)
    assert choose_device("cpu") == CPU
    with pytest.raises(UserError, match="must be auto, cpu"):
        choose_device("tpu9")
    with pytest.raises(UserError, match="must be auto, cpu"):
        choose_device("meta")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="sees no GPU"):
            choose_device("cuda")


def test_nothing_to_train_on(dataset_dir, tiny, tmp_path):
    dataset = ClipDataset(dataset_dir, ["train"], ["rgb"], tiny(), train=True, subset=())
    with pytest.raises(UserError, match="train has no clips"):
        train(toy(), dataset, tiny(), tmp_path, device=CPU)
    with pytest.raises(UserError, match="5 processes cannot share a batch of 4"):
        run(dataset_dir, tiny(), tmp_path, processes=Processes(rank=1, count=5))


def _one_of_two(rank: int, port: int, directory: Path, settings: Settings, out: Path) -> None:
    torch.set_num_threads(1)
    os.environ.update(
        RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    with join_processes("cpu") as processes:
        for parts in (1, 2):
            model, _ = run(
                directory,
                replace(settings, accumulate=parts),
                out / str(parts),
                model=toy(dropout=0.0),
                processes=processes,
            )
            dataset = ClipDataset(directory, ["test_new"], model.modalities, settings, train=False)
            scores = predict(model, dataset, settings, device=CPU, processes=processes).scores
            if processes.first:
                save_weights(out / str(parts) / "model.safetensors", model)
                np.save(out / str(parts) / "scores.npy", scores)


@pytest.mark.slow
def test_two_processes_follow_the_curve_of_one(dataset_dir, tiny, tmp_path):
    settings = tiny(epochs=2)
    alone, _ = run(dataset_dir, settings, tmp_path / "one", model=toy(dropout=0.0))
    dataset = ClipDataset(dataset_dir, ["test_new"], alone.modalities, settings, train=False)
    scores = predict(alone, dataset, settings, device=CPU).scores
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    out = tmp_path / "two"
    torch.multiprocessing.spawn(
        _one_of_two, args=(port, dataset_dir, settings, out), nprocs=2, join=True
    )
    for parts in ("1", "2"):
        curves = zip(losses(tmp_path / "one"), losses(out / parts), strict=True)
        for (_, one), (_, two) in curves:
            assert one == pytest.approx(two, abs=1e-5)
        together = toy()
        load_weights(out / parts / "model.safetensors", together)
        torch.testing.assert_close(together.head.weight, alone.head.weight, atol=1e-4, rtol=1e-3)
        np.testing.assert_allclose(np.load(out / parts / "scores.npy"), scores, atol=1e-4)


SHARED_MODELS = (
    "stgcn", "ctrgcn", "hdgcn", "c2d", "i3d", "slow", "slowfast", "mvit_v2_s", "swin3d_s",
    "transm3e",
)  # fmt: skip


def ten_clips(folder: Path, gaps: bool) -> Path:
    """Training clips; with gaps half of them have no skeleton, and the others miss joints."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(10):
        row = make_row(f"t{number}", ("hop", "bend", "press")[number % 3], "train")
        skeleton = row["skeleton"].reshape(-1, 1, 17, 3).copy()
        # Joints that hardly differ leave channels without variance, and a norm makes their rounding
        # large: it is the sharing that is tested here.
        skeleton[..., :2] += rng.normal(0, 4, skeleton[..., :2].shape)
        if gaps:
            skeleton[..., 2] *= rng.random(skeleton.shape[:-1]) > 0.3
            skeleton *= number % 2
        row["skeleton"] = skeleton.ravel()
        rows.append(row)
    return write_dataset(folder, {"train": rows})


def _curves(directory: Path, settings: Settings, out: Path, processes: Processes) -> None:
    torch.set_num_threads(1)
    for name in SHARED_MODELS:
        torch.manual_seed(0)
        run(directory, settings, out / name, model=MODELS[name](settings), processes=processes)


def _share_every_model(
    rank: int, port: int, directory: Path, settings: Settings, out: Path
) -> None:
    os.environ.update(
        RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    with join_processes("cpu") as processes:
        _curves(directory, settings, out, processes)


@pytest.mark.slow
@pytest.mark.parametrize("gaps", [True, False], ids=["gaps", "whole"])
def test_two_processes_follow_the_curve_of_one_whatever_model(gaps, tiny, tmp_path):
    """Three clips for one process and two for the other, each with other gaps if any."""
    directory = ten_clips(tmp_path / "data", gaps)
    settings = tiny(
        epochs=2, batch_size=5, crop_size=32, frames=4, model_width=16, model_depth=4,
        joint_channels=8, dropout=0.0, drop_path=0.0, skeleton_drop=0.0,
    )  # fmt: skip
    _curves(directory, settings, tmp_path / "one", Processes())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(
        _share_every_model, (port, directory, settings, tmp_path / "two"), nprocs=2, join=True
    )
    for name in SHARED_MODELS:
        one, two = ([loss for _, loss in losses(tmp_path / side / name)] for side in ("one", "two"))
        assert len(one) == 4
        if name == "hdgcn" and not gaps:
            # Its edges go to the nearest neighbours. Between whole skeletons a change of 1e-7 in
            # its weights picks others and moves a later loss by up to 1e-3, in one process too.
            assert two[2:] == pytest.approx(one[2:], abs=2e-3)
            one, two = one[:2], two[:2]
        assert two == pytest.approx(one, abs=1e-5), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "same"), [("mvit_v2_s", True), ("swin3d_s", True), ("c2d", False), ("stgcn", False)]
)
def test_parts_of_a_batch_give_the_curve_of_the_whole_where_there_are_no_batch_statistics(
    name, same, tiny, tmp_path
):
    """docs/limits.md says which models it holds for."""
    directory = ten_clips(tmp_path / "data", gaps=True)
    curves = []
    for parts in (1, 4):
        settings = tiny(
            epochs=2, batch_size=8, accumulate=parts, crop_size=32, frames=4, model_width=16,
            model_depth=4, joint_channels=8, dropout=0.0, drop_path=0.0,
        )  # fmt: skip
        torch.manual_seed(0)
        run(directory, settings, tmp_path / str(parts), model=MODELS[name](settings))
        curves.append([loss for _, loss in losses(tmp_path / str(parts))])
    assert (curves[0] == pytest.approx(curves[1], abs=1e-5)) == same
