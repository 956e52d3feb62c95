"""ST-GCN: spatial temporal graph convolution on 2D skeletons (Yan, Xiong, Lin, AAAI 2018).

A block is a graph convolution over the joints, then a convolution over time.
"""

from functools import partial

import torch
from torch import Tensor, nn

from benchmark.models.graph import (
    GraphNetwork,
    SpatialGraphConv,
    TemporalConv,
    strided_mask,
)
from benchmark.models.norm import MaskedBatchNorm
from benchmark.models.weights import start_from
from benchmark.settings import Settings

TEMPORAL_KERNEL = 9


class GraphBlock(nn.Module):
    """Graph convolution, temporal convolution, residual connection."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, residual: bool, dropout: float
    ) -> None:
        super().__init__()
        self.spatial = SpatialGraphConv(in_channels, out_channels)
        self.spatial_norm = MaskedBatchNorm(out_channels)
        self.temporal = TemporalConv(out_channels, out_channels, TEMPORAL_KERNEL, stride)
        self.dropout = nn.Dropout(dropout)
        self.residual = residual
        self.shortcut: TemporalConv | None = None
        if residual and (in_channels != out_channels or stride != 1):
            self.shortcut = TemporalConv(in_channels, out_channels, 1, stride)
        self.stride = stride

    def forward(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """``[people, in, frames, joints]`` -> ``[people, out, frames / stride, joints]``, mask."""
        out = torch.relu(self.spatial_norm(self.spatial(features, mask), mask))
        out = self.dropout(self.temporal(out, mask))
        if self.residual:
            out = out + (features if self.shortcut is None else self.shortcut(features, mask))
        return torch.relu(out), strided_mask(mask, self.stride)


def stgcn(settings: Settings) -> GraphNetwork:
    """ST-GCN with ``settings.joint_channels`` channels in the first block."""
    # The paper drops half in every block, too much where few channels carry the signal.
    block = partial(GraphBlock, dropout=min(settings.dropout, 0.5))
    model = GraphNetwork(block, width=settings.joint_channels)
    start_from(model, settings)
    return model
