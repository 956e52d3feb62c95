"""Baselines that look at no pixel: the floor under every score in the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from benchmark.settings import Settings

if TYPE_CHECKING:
    from benchmark.data import ClipDataset

REGIONS = 20


def _batch_size(batch: dict[str, Tensor]) -> int:
    """Size of the batch, read from any tensor in it."""
    if not batch:
        raise ValueError("the batch is empty; it needs at least one tensor to know its size from")
    return next(iter(batch.values())).shape[0]


class RandomScores(nn.Module):
    """A scorer that knows nothing, but says the same of all clips of an activity.

    Labels belong to activities, so this, and not independent noise, is what a model without any
    idea of muscles looks like. The scores of an activity are drawn from its name and the seed.
    """

    modalities: tuple[str, ...] = ()

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Logits ``[batch, 20]`` from a normal distribution; ``batch["activity"]`` ``[batch]``."""
        numbers = batch["activity"].tolist()
        return torch.stack([self._of_activity(number) for number in numbers]).to(
            batch["activity"].device
        )

    def _of_activity(self, number: int) -> Tensor:
        generator = torch.Generator().manual_seed((number + self.seed * 1_000_003) % 2**63)
        return torch.randn(REGIONS, generator=generator)


class ConstantScores(nn.Module):
    """The same 20 logits for every clip.

    All ones by default; after ``fit`` the logits of the label frequencies of the training
    set, the best constant for binary cross entropy.
    """

    modalities: tuple[str, ...] = ()
    logits: Tensor

    def __init__(self, learns_labels: bool) -> None:
        super().__init__()
        self.learns_labels = learns_labels
        self.register_buffer("logits", torch.ones(REGIONS))

    def fit(self, training: ClipDataset) -> None:
        """Learns the frequency of each region in what the training clips teach."""
        self.fit_labels(torch.from_numpy(training.targets()))

    def fit_labels(self, muscles: Tensor) -> None:
        """Learns the frequency of each region from ``muscles`` ``[clips, 20]`` (0 to 1).

        Frequencies are smoothed by half a clip each way, so that a region that is never or always
        active has a finite logit. Does nothing for the all-ones baseline.

        Raises:
            ValueError: ``muscles`` has another shape.
        """
        if not self.learns_labels:
            return
        if muscles.ndim != 2 or muscles.shape[1] != REGIONS or len(muscles) == 0:
            raise ValueError(f"muscles has shape {tuple(muscles.shape)}; expected [clips, 20]")
        active = muscles.to(torch.float64).sum(0)
        frequency = (active + 0.5) / (len(muscles) + 1)
        self.logits.copy_(frequency.logit())

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Returns logits ``[batch, 20]``, the same row for every clip."""
        return self.logits.expand(_batch_size(batch), -1)


def random(settings: Settings) -> RandomScores:
    """Seeded random scores."""
    return RandomScores(settings.seed)


def all_ones(settings: Settings) -> ConstantScores:
    """Every region of every clip active."""
    return ConstantScores(learns_labels=False)


def label_prior(settings: Settings) -> ConstantScores:
    """The label frequencies of the training set, whatever the clip shows."""
    return ConstantScores(learns_labels=True)
