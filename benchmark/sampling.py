"""Which clips make a batch and which frames make a view: numbers alone, nothing is read.

* A view is ``frames`` frames, ``rate`` stored frames apart. In training it starts at random; in
  testing ``test_views`` views are spread evenly from the first to the last possible start.
* A clip shorter than a view is never padded: its view is spread evenly over the whole clip, and
  frames repeat where there are fewer than ``frames``. Such a clip has one test view.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt


def view_starts(clip_frames: int, frames: int, rate: int, views: int) -> list[int]:
    """First frames of the test views of a clip, spread evenly and without repetition."""
    last_start = clip_frames - ((frames - 1) * rate + 1)
    if last_start <= 0 or views == 1:
        return [max(0, last_start // 2)]
    return sorted({round(k * last_start / (views - 1)) for k in range(views)})


def view_indices(clip_frames: int, frames: int, rate: int, start: int) -> npt.NDArray[np.int64]:
    """The stored frames of one view, ``int64 [frames]``; see the rule for short clips above."""
    if (frames - 1) * rate + 1 > clip_frames:
        return np.rint(np.linspace(0, clip_frames - 1, frames)).astype(np.int64)
    return start + rate * np.arange(frames)


class TrainingBatches:
    """Batches of ``(epoch, index, view)`` for all epochs and one of several processes.

    The clips are permuted anew each epoch, in an order fixed by (seed, epoch). The last clips that
    do not fill a batch wait for another epoch, unless there is less than one batch in all. A batch
    is shared out among the processes as ``rank, rank + processes, ...``, so that any number of
    them computes the same batches.

    Args:
        items: clips in the training split.
        batch_size: clips a batch, over all processes.
        start_step: batches to leave out, counted from the first epoch: those before a resume.
        views: how often each clip is in a batch.

    Attributes:
        steps_per_epoch: batches an epoch.
        size: clips in every batch, over all processes.
    """

    def __init__(
        self,
        items: int,
        batch_size: int,
        *,
        seed: int,
        epochs: int,
        start_step: int = 0,
        rank: int = 0,
        processes: int = 1,
        views: int = 1,
    ) -> None:
        self.items = items
        self.size = min(batch_size, items)
        self.steps_per_epoch = items // self.size if items else 0
        self.seed = seed
        self.epochs = epochs
        self.start_step = start_step
        self.rank = rank
        self.processes = processes
        self.views = views

    def __len__(self) -> int:
        return max(0, self.epochs * self.steps_per_epoch - self.start_step)

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        for epoch in range(self.epochs):
            first_step = epoch * self.steps_per_epoch
            if first_step + self.steps_per_epoch <= self.start_step:
                continue
            order = np.random.default_rng([self.seed, epoch]).permutation(self.items)
            for batch in range(max(0, self.start_step - first_step), self.steps_per_epoch):
                chosen = order[batch * self.size : (batch + 1) * self.size]
                mine = chosen[self.rank :: self.processes].tolist()
                yield [(epoch, index, view) for index in mine for view in range(self.views)]


def evaluation_batches(
    items: int, batch_size: int, *, rank: int = 0, processes: int = 1
) -> list[list[tuple[int, int]]]:
    """All items once in their order, shared out among the processes; the last batch is short."""
    mine = [(0, index) for index in range(rank, items, processes)]
    return [mine[first : first + batch_size] for first in range(0, len(mine), batch_size)]
