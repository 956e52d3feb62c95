"""Baselines that look at no pixel: the floor under every score in the table."""

import torch
from torch import Tensor, nn

from benchmark.settings import Settings

REGIONS = 20


def _batch_size(batch: dict[str, Tensor]) -> int:
    """Size of the batch, read from any tensor in it."""
    if not batch:
        raise ValueError("the batch is empty; it needs at least one tensor to know its size from")
    return next(iter(batch.values())).shape[0]


class RandomScores(nn.Module):
    """Independent scores from a seeded generator: what chance gives.

    The generator runs on between calls, so two batches differ; a new model with the same seed
    repeats the same sequence.
    """

    modalities: tuple[str, ...] = ()

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)
        # Carries the device, so that ``model.to(device)`` also moves the scores.
        self.register_buffer("anchor", torch.zeros(()), persistent=False)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Returns logits ``[batch, 20]`` from a normal distribution."""
        scores = torch.randn(_batch_size(batch), REGIONS, generator=self.generator)
        return scores.to(self.get_buffer("anchor").device)


class ConstantScores(nn.Module):
    """The same 20 logits for every clip.

    All ones by default; after ``fit_labels`` the logits of the label frequencies of the training
    set, the best constant for binary cross entropy.
    """

    modalities: tuple[str, ...] = ()
    logits: Tensor

    def __init__(self, learns_labels: bool) -> None:
        super().__init__()
        self.learns_labels = learns_labels
        self.register_buffer("logits", torch.ones(REGIONS))

    def fit_labels(self, muscles: Tensor) -> None:
        """Learns the frequency of each region from ``muscles`` ``[clips, 20]`` (0 or 1).

        Frequencies are smoothed by half a clip each way, so that a region that is never or always
        active has a finite logit. Does nothing for the all-ones baseline.
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
