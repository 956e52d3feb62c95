"""Checkpoints: weights as safetensors, the optimiser's state beside them, progress as JSON.

A checkpoint is a folder that appears by a rename, complete or not at all. Nothing in it can run
code: the optimiser's state is read with ``weights_only=True``.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from musclemap_data.errors import UserError
from musclemap_data.files import replacing


class WeightAverage:
    """An exponential moving average of a model's parameters.

    After step n (from 1): average = d * average + (1 - d) * weights with d = min(decay,
    (n + 1) / (n + 10)), so that the first weights, which are random, are soon forgotten (as
    TensorFlow's ExponentialMovingAverage with ``num_updates``). Buffers, such as batch
    statistics, are not averaged.

    Args:
        model: its parameters that want a gradient are followed, from their present values.
        decay: d above; 0 < decay < 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.average = {
            name: parameter.detach().clone()
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after ``step`` optimiser steps."""
        decay = min(self.decay, (step + 1) / (step + 10))
        parameters = dict(model.named_parameters())
        for name, average in self.average.items():
            average.lerp_(parameters[name].to(average.dtype), 1 - decay)

    @torch.no_grad()
    def copy_to(self, model: nn.Module) -> None:
        """Replace the model's weights by their average."""
        parameters = dict(model.named_parameters())
        for name, average in self.average.items():
            parameters[name].copy_(average)


def save_weights(path: Path, model: nn.Module) -> None:
    """Write a model's parameters and buffers as safetensors (atomically)."""
    _save_tensors(path, model.state_dict())


def _save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    # safetensors refuses tensors that share memory and views: each gets its own.
    plain = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        save_file(plain, temporary)


def load_weights(path: Path, model: nn.Module) -> None:
    """Load what :func:`save_weights` wrote.

    Raises:
        UserError: the file cannot be read or is of another model.
    """
    try:
        model.load_state_dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read as weights: {error}") from error
    except RuntimeError as error:
        raise UserError(f"{path} does not fit this model and these settings: {error}") from error


@dataclass
class TrainingState:
    """All that changes while a model is trained: ``step`` optimiser steps are done.

    The rest (the order of the clips, views, dropout, the learning rate) follows from the step.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: WeightAverage | None = None
    step: int = 0

    def save(self, folder: Path) -> Path:
        """Write ``folder/step-00000123`` and remove the older ones."""
        folder.mkdir(parents=True, exist_ok=True)
        final = folder / f"step-{self.step:08d}"
        temporary = folder / f".{final.name}.{os.getpid()}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            save_weights(temporary / "model.safetensors", self.model)
            state = {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}
            if self.average is not None:
                _save_tensors(temporary / "average.safetensors", self.average.average)
            torch.save(state, temporary / "training.pt")
            (temporary / "progress.json").write_text(json.dumps({"step": self.step}) + "\n")
            for path in temporary.iterdir():
                with path.open("rb+") as file:
                    os.fsync(file.fileno())
            if final.exists():  # the same step again, after a resume
                shutil.rmtree(final)
            temporary.replace(final)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        for older in _checkpoints(folder)[:-1]:
            shutil.rmtree(older)
        return final

    def load(self, path: Path, device: torch.device) -> None:
        """Go back to where :meth:`save` left a checkpoint.

        Raises:
            UserError: a file is missing or damaged, or belongs to another model.
        """
        load_weights(path / "model.safetensors", self.model)
        try:
            state = torch.load(path / "training.pt", map_location=device, weights_only=True)
            self.step = int(json.loads((path / "progress.json").read_text())["step"])
            self.optimizer.load_state_dict(state["optimizer"])
            if state["scaler"]:
                self.scaler.load_state_dict(state["scaler"])
            if self.average is not None:
                for name, values in load_file(path / "average.safetensors").items():
                    self.average.average[name].copy_(values)
        except Exception as error:  # unpickling a damaged file raises almost anything
            raise UserError(
                f"the checkpoint {path} cannot be read: {error}. Remove that folder to go back to "
                "the start, or run with --fresh."
            ) from error


def latest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint with the most steps, or None."""
    found = _checkpoints(folder)
    return found[-1] if found else None


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-[0-9]*"))
