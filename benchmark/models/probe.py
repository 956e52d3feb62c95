"""Heads on the features of a frozen encoder: linear, or attentive over the views of a clip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from benchmark.features import FEATURES, feature_width
from benchmark.settings import Settings

if TYPE_CHECKING:
    from benchmark.data import ClipDataset

REGIONS = 20


class Probe(nn.Module):
    """Standardised features of the views, pooled, then one linear layer.

    Args:
        width: of the features.
        attentive: pool by one learned query instead of the mean.
        dropout: before the linear layer.
    """

    modalities: tuple[str, ...] = (FEATURES,)
    mean: Tensor
    spread: Tensor

    def __init__(self, width: int, attentive: bool, dropout: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))
        self.query = nn.Parameter(torch.zeros(width)) if attentive else None
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, REGIONS)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def fit(self, training: ClipDataset) -> None:
        """Learn the mean and spread of the training clips' features."""
        views = torch.cat([training[index][FEATURES] for index in range(len(training))])
        self.mean.copy_(views.mean(0))
        self.spread.copy_(views.std(0, unbiased=False).clamp(min=1e-6))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """``batch["features"]`` ``[batch, views, width]`` -> logits ``[batch, 20]``."""
        views = (batch[FEATURES] - self.mean) / self.spread
        if self.query is None:
            pooled = views.mean(1)
        else:
            scale = len(self.query) ** -0.5
            weights = (views @ self.query * scale).softmax(1)
            pooled = (views * weights[..., None]).sum(1)
        logits: Tensor = self.head(self.dropout(pooled))
        return logits


def probe(settings: Settings) -> Probe:
    """A head on ``settings.features``."""
    return Probe(feature_width(settings), settings.probe == "attentive", settings.dropout)
