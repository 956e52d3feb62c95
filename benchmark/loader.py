"""Batches of a data set, read ahead by worker processes.

PyTorch's own loader makes new shared memory for every batch, and most of what that costs is the
system's work on its pages: 2.2 ms a clip of 16 x 224 x 224 were measured, beside 7 for all else.
Here each worker has a few pieces of shared memory and writes its batches into them in turn.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from benchmark import augment
from benchmark.data import Batch
from benchmark.sampling import TrainingBatches
from musclemap_data.errors import UserError

PREFETCHED = 2
"""Batches that each worker reads ahead."""


def collate(items: Sequence[Batch]) -> Batch:
    """Stack items: ``rgb [B, 3, T, S, S]``, ``skeleton [B, M, T, 17, 3]``, and so on."""
    return {
        key: _pictures(items, key, torch.empty(_shape(items, key), dtype=torch.uint8))
        if value.dtype == torch.uint8
        else torch.stack([item[key] for item in items])
        for key, value in items[0].items()
    }


def _shape(items: Sequence[Batch], key: str) -> tuple[int, ...]:
    return len(items), *items[0][key].shape


def _pictures(items: Sequence[Batch], key: str, out: Tensor) -> Tensor:
    for item, place in zip(items, out, strict=True):
        augment.copy_planes(item[key], place)
    return out


class Loader:
    """The batches of a data set, in order; iterating reads them anew.

    The number of workers changes the speed and nothing else.

    Args:
        dataset: its items are dicts of tensors; those of ``uint8`` are pictures ``[C, T, H, W]``.
        batches: the keys of the items of each batch.
        workers: processes that read; 0 for this one.
        pin_memory: pictures are to be in page-locked memory, from which a GPU takes them faster.
    """

    def __init__(
        self,
        dataset: Dataset[Batch],
        batches: TrainingBatches | list[list[tuple[int, int]]],
        *,
        workers: int,
        pin_memory: bool = False,
    ) -> None:
        workers = min(workers, len(batches))
        self._count = len(batches)
        self._pin_memory = pin_memory
        self._loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_sampler=batches,
            collate_fn=_Sender() if workers else collate,
            num_workers=workers,
            prefetch_factor=PREFETCHED if workers else None,
            pin_memory=pin_memory and not workers,
            worker_init_fn=_start_worker,
        )

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Generator[Batch, None, None]:
        """The batches; a worker's ``UserError`` arrives as it left, without a traceback."""
        iterator = iter(self._loader)
        memory: dict[tuple[int, int], Tensor] = {}
        try:
            for found in iterator:
                yield self._received(found, memory) if isinstance(found, _Sent) else found
        except UserError as error:
            # The traceback holds the iterator in a cycle; left to the garbage collector, PyTorch's
            # workers take five seconds to stop.
            error.__traceback__ = None
            _, from_worker, message = str(error).rpartition("errors.UserError: ")
            raise UserError(message.strip() if from_worker else str(error)) from None
        finally:
            del iterator

    def _received(self, sent: _Sent, memory: dict[tuple[int, int], Tensor]) -> Batch:
        """A copy of the batch: its worker may write into that memory from the next one on."""
        if sent.memory is not None:
            memory[sent.place] = sent.memory
        batch: Batch = {}
        start = 0
        for key, value in sent.values.items():
            if not isinstance(value, tuple):
                batch[key] = torch.from_numpy(value)
                continue
            batch[key] = torch.empty(value, dtype=torch.uint8, pin_memory=self._pin_memory)
            size = batch[key].numel()
            batch[key].view(-1).copy_(memory[sent.place][start : start + size])
            start += size
        return batch


@dataclass(frozen=True)
class _Sent:
    """A batch on its way from a worker.

    Attributes:
        place: the worker, and which of its pieces of memory the pictures are in.
        memory: that piece, ``uint8 [n]``, where it is new.
        values: the shape of pictures, which lie one after the other; the values of all else.
    """

    place: tuple[int, int]
    memory: Tensor | None
    values: dict[str, tuple[int, ...] | npt.NDArray[Any]]


class _Sender:
    """The end of a worker: it puts pictures into shared memory.

    PyTorch asks a worker for a further batch as it hands over its oldest one, which is copied
    before the next is asked for. So ``PREFETCHED`` batches and that one are in use at a time.
    """

    def __init__(self) -> None:
        self._memory: list[Tensor] = [torch.empty(0, dtype=torch.uint8)] * (PREFETCHED + 1)
        self._turn = 0

    def __call__(self, items: Sequence[Batch]) -> _Sent:
        worker = get_worker_info()
        if worker is None:
            raise RuntimeError("not in a worker")
        self._turn = (self._turn + 1) % len(self._memory)
        values: dict[str, tuple[int, ...] | npt.NDArray[Any]] = {}
        for key, value in items[0].items():
            pictures = value.dtype == torch.uint8
            values[key] = (
                _shape(items, key) if pictures else torch.stack([i[key] for i in items]).numpy()
            )
        sizes = {
            key: torch.Size(value).numel()
            for key, value in values.items()
            if isinstance(value, tuple)
        }
        room = self._memory[self._turn]
        new = len(room) < sum(sizes.values())
        if new:
            room = torch.empty(sum(sizes.values()), dtype=torch.uint8).share_memory_()
            self._memory[self._turn] = room
        start = 0
        for key, size in sizes.items():
            _pictures(items, key, room[start : start + size].view(_shape(items, key)))
            start += size
        return _Sent((worker.id, self._turn), room if new else None, values)


def _start_worker(_: int) -> None:
    torch.set_num_threads(1)  # the workers share the cores with the model
