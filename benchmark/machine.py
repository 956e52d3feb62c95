"""The machine that a model computes on: processes, device, precision."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark.data import DRAWS, Batch, augment_batch, normalise_batch
from benchmark.settings import Settings
from musclemap_data.errors import UserError


@dataclass(frozen=True)
class Processes:
    """This process among those that torchrun started (one of one without it)."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The sum of a tensor of any shape [...] over all processes."""
        if self.count > 1:
            torch.distributed.all_reduce(values)
        return values

    def share_buffers(self, model: nn.Module) -> None:
        """Give all processes the first one's buffers (batch statistics): those that are saved."""
        if self.count > 1:
            for buffer in model.buffers():
                torch.distributed.broadcast(buffer, 0)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            torch.distributed.barrier()


@contextlib.contextmanager
def join_processes(device_name: str) -> Iterator[Processes]:
    """Join the group that torchrun announces in the environment, for the length of a ``with``.

    It may be nested: the outermost one joins. Put one around several runs, because joining a second
    time in one process can fail on addresses left from the first.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes()
        return
    processes = Processes(int(os.environ["RANK"]), count, int(os.environ.get("LOCAL_RANK", "0")))
    device = choose_device(device_name, processes)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    joined_here = not torch.distributed.is_initialized()
    if joined_here:
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield processes
    finally:
        if joined_here:
            torch.distributed.destroy_process_group()


def choose_device(name: str, processes: Processes | None = None) -> torch.device:
    """``auto``: this process's GPU if there is one, else the CPU.

    Raises:
        UserError: the name is wrong, or there is no such device.
    """
    local_rank = processes.local_rank if processes else 0
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device is {name!r}; it must be auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise UserError(f"device is {name!r}, but PyTorch sees no GPU; use auto or cpu")
        index = local_rank if device.index is None else device.index
        if index >= torch.cuda.device_count():
            raise UserError(f"there is no GPU {index}; PyTorch sees {torch.cuda.device_count()}")
        return torch.device("cuda", index)
    if device.type != "cpu":
        raise UserError(f"device is {name!r}; it must be auto, cpu, cuda or cuda:N")
    return device


def prepare_torch(settings: Settings, device: torch.device) -> None:
    """Set threads and determinism for this process.

    Raises:
        UserError: fp16 on a CPU.
    """
    if settings.precision == "fp16" and device.type == "cpu":
        raise UserError("precision fp16 needs a GPU; use bf16 or fp32 on a CPU")
    if settings.threads:
        torch.set_num_threads(settings.threads)
    if settings.deterministic:
        # cuBLAS reads this when it first starts (PyTorch, "Reproducibility").
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(settings.deterministic)
    torch.backends.cudnn.benchmark = device.type == "cuda" and not settings.deterministic


def autocast(settings: Settings, device: torch.device) -> torch.autocast:
    """The context that computes in ``settings.precision``."""
    dtype = torch.float16 if settings.precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=settings.precision != "fp32")


def to_device(batch: Batch, device: torch.device, settings: Settings) -> Batch:
    """A loader's batch on ``device``, augmented and normalised as set: what a model takes."""
    moved = {
        # Numbers that the host reads stay there: fetching them would wait for the GPU.
        name: tensor if name == DRAWS else tensor.to(device, non_blocking=True)
        for name, tensor in batch.items()
    }
    return normalise_batch(augment_batch(moved, settings), settings.normalise)
