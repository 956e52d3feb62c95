"""Training: one loop of plain PyTorch, on a CPU, a GPU, or several processes (torchrun).

The whole state of a run is its weights, its optimiser and the number of steps done: the order of
the clips comes from (seed, epoch), each clip's view from (seed, epoch, clip), and dropout from
(seed, step, process). So a run that is stopped anywhere continues bit for bit as if it had not
been, on the same machine with the same number of processes and threads.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from tqdm import tqdm

from benchmark.checkpoint import (
    TrainingState,
    WeightAverage,
    latest_checkpoint,
)
from benchmark.data import Batch, ClipDataset
from benchmark.loader import Loader
from benchmark.losses import training_loss
from benchmark.machine import Processes, autocast, to_device
from benchmark.models.norm import share_batch_statistics
from benchmark.record import TrainingRecord
from benchmark.sampling import TrainingBatches
from benchmark.settings import Settings
from benchmark.trackers import Trackers
from musclemap_data.errors import UserError

WARMUP_LARGEST_SHARE = 0.2
WARMUP_START_SHARE = 0.01

StepHook = Callable[[int, float], None]
"""Called after each optimiser step with (steps done, loss); for tests and progress displays."""

EpochHook = Callable[[nn.Module], Mapping[str, float]]
"""Called by all processes after each epoch, with the model as it is then; gives numbers for
``validation.jsonl``."""


def learning_rate(step: int, total_steps: int, steps_per_epoch: int, settings: Settings) -> float:
    """The learning rate of a step: linear warm-up, then half a cosine to ``min_learning_rate``.

    The warm-up is ``warmup_epochs`` long but at most a fifth of the schedule, so that the peak is
    always reached; the last step has the smallest rate.
    """
    warmup = min(
        round(settings.warmup_epochs * steps_per_epoch), int(WARMUP_LARGEST_SHARE * total_steps)
    )
    peak, low = settings.learning_rate, settings.min_learning_rate
    if step < warmup:
        share = WARMUP_START_SHARE + (1 - WARMUP_START_SHARE) * step / warmup
        return peak * share
    progress = (step - warmup) / max(1, total_steps - 1 - warmup)
    return low + (peak - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def make_optimizer(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """AdamW; parameters of one dimension (biases, norms) are not decayed."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {
            "params": [p for p in trained if p.ndim > 1],
            "weight_decay": settings.weight_decay,
        },
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate)


def is_trainable(model: nn.Module) -> bool:
    """Whether any parameter wants a gradient (``random`` and ``all-ones`` have none)."""
    return any(parameter.requires_grad for parameter in model.parameters())


def train(
    model: nn.Module,
    dataset: ClipDataset,
    settings: Settings,
    run_dir: Path,
    *,
    device: torch.device,
    processes: Processes | None = None,
    progress_bar: bool = False,
    on_step: StepHook | None = None,
    validate: EpochHook | None = None,
) -> TrainingRecord:
    """Train ``model`` in place for ``settings.epochs``, from the run's checkpoint if it has one.

    With ``settings.ema`` the model ends with the average of its weights.

    Writes ``checkpoints/``, ``log.jsonl`` (one line a step) and ``validation.jsonl`` (one line a
    validation) into ``run_dir``, and to what :mod:`benchmark.trackers` finds.

    Args:
        model: on ``device``; ``model(batch)`` gives logits or a ``TrainingOutput``.
        dataset: the training split, made with ``train=True``.
        validate: called every ``settings.validate_every`` epochs. It changes nothing of the
            training: what is random there is drawn anew for each step.

    Returns:
        What this call took.

    Raises:
        UserError: there is nothing to train on, or the loss or gradient is not finite any more
            (the batch is saved in ``run_dir``).
    """
    processes = processes or Processes()
    state = TrainingState(
        model,
        make_optimizer(model, settings),
        torch.amp.GradScaler(device.type, enabled=settings.precision == "fp16"),
        WeightAverage(model, settings.ema) if settings.ema else None,
    )
    if (found := latest_checkpoint(run_dir / "checkpoints")) is not None:
        state.load(found, device)
    first_step = state.step
    batches = _batches(dataset, settings, first_step, processes)
    total_steps = settings.epochs * batches.steps_per_epoch
    views = batches.size * batches.views
    forward = _wrap(model, settings, device, processes)
    model.train()
    losses = _LossWatch(run_dir, processes)
    log = _Log(run_dir, first_step, total_steps, settings, progress_bar, processes.first)
    started = time.monotonic()
    waited, loss = 0.0, float("nan")
    loader = Loader(dataset, batches, workers=settings.workers, pin_memory=device.type == "cuda")
    stream = iter(loader)
    try:
        while state.step < total_steps:
            asked = time.monotonic()
            batch = next(stream)
            wait = time.monotonic() - asked
            waited += wait
            epoch = state.step // batches.steps_per_epoch
            rate = learning_rate(state.step, total_steps, batches.steps_per_epoch, settings)
            loss, norm = _step(forward, batch, state, settings, device, processes, rate, views)
            losses.check(loss, norm, batch, dataset, state.step, settings)
            state.step += 1
            if state.average is not None:
                state.average.update(model, state.step)
            log.write(
                step=state.step,
                epoch=epoch,
                loss=loss,
                learning_rate=rate,
                gradient_norm=norm,
                seconds=round(time.monotonic() - asked, 4),
                wait_seconds=round(wait, 4),
            )
            if validate and _validation_due(state.step, batches.steps_per_epoch, settings):
                log.write_validation(state.step, epoch, validate(model))
                model.train()
            if processes.first and _checkpoint_due(state.step, batches.steps_per_epoch, settings):
                state.save(run_dir / "checkpoints")
            if on_step is not None:
                on_step(state.step, loss)
    finally:
        stream.close()
        log.close()
    processes.share_buffers(model)
    if state.average is not None:
        state.average.copy_to(model)
    steps, seconds = state.step - first_step, max(time.monotonic() - started, 1e-9)
    return TrainingRecord(
        steps=float(steps),
        seconds=round(seconds, 3),
        wait_share=round(waited / seconds, 4),
        clips_per_s=round(steps * batches.size / seconds, 3),
        final_loss=loss,
    )


def _batches(
    dataset: ClipDataset, settings: Settings, start_step: int, processes: Processes
) -> TrainingBatches:
    """The batches that are left, this process's part of each."""
    if len(dataset) == 0:
        raise UserError(
            "the split train has no clips: build the data set first (`musclemap download`, "
            "`musclemap extract-modalities`), or check --subset"
        )
    batches = TrainingBatches(
        len(dataset),
        settings.batch_size,
        seed=settings.seed,
        epochs=settings.epochs,
        start_step=start_step,
        rank=processes.rank,
        processes=processes.count,
        views=2 if settings.early_views else 1,
    )
    if processes.count > batches.size:
        raise UserError(
            f"{processes.count} processes cannot share a batch of {batches.size} clips; start "
            "fewer, or raise batch_size"
        )
    return batches


def _checkpoint_due(done: int, steps_per_epoch: int, settings: Settings) -> bool:
    every = settings.checkpoint_every_steps
    return done % steps_per_epoch == 0 or (every > 0 and done % every == 0)


def _validation_due(done: int, steps_per_epoch: int, settings: Settings) -> bool:
    every = settings.validate_every * steps_per_epoch
    return every > 0 and done % every == 0


def _wrap(
    model: nn.Module, settings: Settings, device: torch.device, processes: Processes
) -> nn.Module:
    """What the loop calls: the model, compiled and shared among processes where asked for."""
    forward = model
    if processes.count > 1:
        forward = share_batch_statistics(forward, device)
        forward = nn.parallel.DistributedDataParallel(
            forward, device_ids=[device.index] if device.type == "cuda" else None
        )
    if settings.compile:
        forward = torch.compile(forward)  # type: ignore[assignment]
    return forward


def _step(
    forward: nn.Module,
    batch: Batch,
    state: TrainingState,
    settings: Settings,
    device: torch.device,
    processes: Processes,
    rate: float,
    batch_views: int,
) -> tuple[float, float]:
    """One optimiser step; the loss (mean over the views of all processes) and gradient norm."""
    optimizer, scaler = state.optimizer, state.scaler
    for group in optimizer.param_groups:
        group["lr"] = rate
    torch.manual_seed(_step_seed(settings.seed, state.step, processes.rank))
    optimizer.zero_grad(set_to_none=True)
    # As many parts in every process: they meet in each part, where statistics are shared.
    most = max(1, batch_views // processes.count)
    parts = split_batch(to_device(batch, device, settings), min(settings.accumulate, most))
    total = torch.zeros((), device=device)
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        quiet = (
            forward.no_sync()
            if isinstance(forward, nn.parallel.DistributedDataParallel) and not last
            else contextlib.nullcontext()
        )
        with quiet:
            with autocast(settings, device):
                output = forward(part)
            loss = training_loss(output, part["muscles"], settings.loss).float()
            # DistributedDataParallel takes the mean over processes: undo that, so that each clip
            # of the batch weighs the same wherever it was computed.
            share = len(part["muscles"]) / batch_views
            scaler.scale(loss * share * processes.count).backward()
        total += loss.detach() * share
    scaler.unscale_(optimizer)
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    norm = nn.utils.clip_grad_norm_(trained, settings.clip_norm or math.inf)
    finite = bool(torch.isfinite(norm)) or scaler.is_enabled()
    if finite and bool(torch.isfinite(total)):
        scaler.step(optimizer)  # with fp16 a step whose gradient overflowed is left out
        scaler.update()
    return float(processes.sum(total)), float(norm)


def _step_seed(seed: int, step: int, rank: int) -> int:
    """A seed for dropout that differs between neighbouring seeds, steps and processes."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0])


def split_batch(batch: Batch, parts: int) -> list[Batch]:
    """``parts`` batches of about the same size, in order; fewer where one would be empty."""
    parts = min(parts, len(next(iter(batch.values()))))
    chunks = {name: tensor.tensor_split(parts) for name, tensor in batch.items()}
    return [{name: chunk[number] for name, chunk in chunks.items()} for number in range(parts)]


@dataclass
class _LossWatch:
    """Stops a run whose loss or gradient is not finite, and saves what led to it."""

    run_dir: Path
    processes: Processes

    def check(
        self,
        loss: float,
        norm: float,
        batch: Batch,
        dataset: ClipDataset,
        step: int,
        settings: Settings,
    ) -> None:
        overflow = not math.isfinite(norm) and settings.precision != "fp16"
        if math.isfinite(loss) and not overflow:
            return
        path = self.run_dir / f"not-finite-step{step}-process{self.processes.rank}.safetensors"
        clips = [dataset.clips[index].clip_id for index in batch["clip"].tolist()]
        save_file(batch, path, metadata={"clips": json.dumps(clips), "step": str(step)})
        what = f"loss is {loss}" if not math.isfinite(loss) else f"gradient norm is {norm}"
        raise UserError(
            f"the {what} at step {step}; training stopped. The batch (clips "
            f"{', '.join(clips[:4])}{', ...' if len(clips) > 4 else ''}) is in {path}. Try a lower "
            "learning_rate, clip_norm=1, or precision=fp32; the last checkpoint is untouched."
        )


class _Log:
    """``log.jsonl``, ``validation.jsonl``, a progress bar and the trackers.

    Lines past a resume are dropped. Only the first process writes; for the others nothing happens.
    """

    def __init__(
        self,
        run_dir: Path,
        done: int,
        total: int,
        settings: Settings,
        progress_bar: bool,
        first: bool,
    ) -> None:
        self._first = first
        if not first:
            return
        self._bar = tqdm(
            total=total, initial=done, unit="step", desc="train", disable=not progress_bar
        )
        self._steps = _reopened(run_dir / "log.jsonl", done)
        self._validations = _reopened(run_dir / "validation.jsonl", done)
        self._trackers = Trackers(run_dir, done, settings.to_dict())

    def write(self, *, step: int, epoch: int, loss: float, **more: float) -> None:
        """Write the numbers of one step, and show the first three."""
        if not self._first:
            return
        self._bar.update()
        self._bar.set_postfix(loss=f"{loss:.4f}", epoch=epoch)
        _write_line(self._steps, {"step": step, "epoch": epoch, "loss": loss, **more})
        shown = ("learning_rate", "gradient_norm", "wait_seconds")
        self._trackers.add("train", {"loss": loss, **{name: more[name] for name in shown}}, step)

    def write_validation(self, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """Write the numbers of one validation, after a step that ends an epoch."""
        if not self._first:
            return
        _write_line(self._validations, {"step": step, "epoch": epoch, **values})
        self._trackers.add("validation", values, step)

    def close(self) -> None:
        """Close the files and the trackers."""
        if not self._first:
            return
        self._bar.close()
        self._steps.close()
        self._validations.close()
        self._trackers.close()


def _write_line(file: TextIO, values: Mapping[str, float]) -> None:
    file.write(json.dumps(values) + "\n")
    file.flush()


def _reopened(path: Path, done: int) -> TextIO:
    """A file of lines to append to, without those of steps after ``done``."""
    kept = [line for line in _complete_lines(path) if json.loads(line)["step"] <= done]
    path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    return path.open("a", encoding="utf-8")


def _complete_lines(path: Path) -> Sequence[str]:
    """The lines of a log whose last one a kill may have cut short."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return text[: text.rfind("\n") + 1].splitlines()
