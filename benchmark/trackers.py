"""Where the numbers of a training run go beside its own files: TensorBoard, Weights & Biases.

TensorBoard is used where it is installed (``pip install "musclemap[tensorboard]"``) and writes into
the run's folder. Weights & Biases is used where it is installed and its environment names a project
(``WANDB_PROJECT``); its other variables (``WANDB_MODE``, ``WANDB_ENTITY``, ...) work as ever.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Trackers:
    """The trackers that are there; none is fine.

    Args:
        run_dir: the run's folder.
        done: optimiser steps that were done before this call; what was tracked after them is
            dropped where the tracker can.
        settings: of the run, for Weights & Biases.
    """

    def __init__(self, run_dir: Path, done: int, settings: Mapping[str, object]) -> None:
        self._board: Any = None
        self._wandb: Any = None
        with contextlib.suppress(ImportError):
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(run_dir / "tensorboard"), purge_step=done + 1)
        if project := os.environ.get("WANDB_PROJECT"):
            with contextlib.suppress(ImportError):
                import wandb

                self._wandb = wandb.init(
                    project=project,
                    name=run_dir.name,
                    dir=str(run_dir),
                    config=dict(settings),
                    id=os.environ.get("WANDB_RUN_ID"),
                    resume="allow",
                )

    def add(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Track ``group/name`` of each value after an optimiser step."""
        named = {f"{group}/{name}": value for name, value in values.items()}
        if self._board is not None:
            for name, value in named.items():
                self._board.add_scalar(name, value, step)
        if self._wandb is not None:
            self._wandb.log(named, step=step)

    def close(self) -> None:
        """Write out what is left."""
        if self._board is not None:
            self._board.close()
        if self._wandb is not None:
            self._wandb.finish()
