"""Worker processes hand batches over in memory that they use again."""

from __future__ import annotations

import pytest
import torch

from benchmark.data import ClipDataset
from benchmark.loader import PREFETCHED, Loader, collate

MODALITIES = ("rgb", "flow", "skeleton")


def same(left, right) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


@pytest.mark.parametrize("modalities", [MODALITIES, ("skeleton",)])
def test_batches_that_are_kept_are_not_written_over(dataset_dir, tiny, modalities):
    """Batches grow and shrink, and there are several times as many as pieces of memory."""
    settings = tiny(frames=2, crop_size=32, jitter_min=32, jitter_max=40, test_short_side=32)
    dataset = ClipDataset(dataset_dir, ["train"], modalities, settings, train=True)
    sizes = [1, 3, 2, 4] * (2 * (PREFETCHED + 1))
    batches = [[(epoch, index) for index in range(size)] for epoch, size in enumerate(sizes)]
    kept = list(Loader(dataset, batches, workers=2))
    assert len(kept) == len(sizes)
    for keys, batch in zip(batches, kept, strict=True):
        assert same(batch, collate([dataset[key] for key in keys]))


def test_a_loader_can_be_read_again_and_left_early(dataset_dir, tiny):
    dataset = ClipDataset(dataset_dir, ["train"], ["rgb"], tiny(), train=True)
    loader = Loader(dataset, [[(epoch, 0)] for epoch in range(5)], workers=1)
    assert len(loader) == 5
    stream = iter(loader)
    first = next(stream)
    stream.close()
    again = list(loader)
    assert len(again) == 5 and same(first, again[0])
