"""ST-GCN: spatial temporal graph convolution on 2D skeletons (Yan, Xiong, Lin, AAAI 2018).

Ten blocks of graph convolution over the joints and convolution over time, widths C, 2C, 4C with
time halved at each widening, then the mean over joints, frames and people, and a linear head.
"""

import torch
from torch import Tensor, nn

from benchmark.models.graph import (
    STREAM_CHANNELS,
    MaskedBatchNorm,
    SpatialGraphConv,
    TemporalConv,
    masked_mean,
    mean_over_people,
    skeleton_features,
    skeleton_mask,
    strided_mask,
)
from benchmark.models.weights import start_from
from benchmark.settings import Settings

# Width of each block in units of the first width, and its temporal stride (paper, sec. 3.6).
BLOCKS = ((1, 1), (1, 1), (1, 1), (1, 1), (2, 2), (2, 1), (2, 1), (4, 2), (4, 1), (4, 1))
TEMPORAL_KERNEL = 9


class GraphBlock(nn.Module):
    """Graph convolution, temporal convolution, residual connection."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, dropout: float, residual: bool
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
        """`[people, in, frames, joints]` -> `[people, out, frames / stride, joints]`, new mask."""
        out = torch.relu(self.spatial_norm(self.spatial(features, mask), mask))
        out = self.dropout(self.temporal(out, mask))
        if self.residual:
            out = out + (features if self.shortcut is None else self.shortcut(features, mask))
        return torch.relu(out), strided_mask(mask, self.stride)


class STGCN(nn.Module):
    """The ten-block network.

    Args:
        width: channels of the first block (64 in the paper).
        classes: number of logits.
        dropout: after each temporal convolution.
        streams: input features, see `benchmark.models.graph.skeleton_features`.
    """

    modalities: tuple[str, ...] = ("skeleton",)

    def __init__(
        self,
        width: int = 64,
        classes: int = 20,
        dropout: float = 0.5,
        streams: tuple[str, ...] = ("joint",),
    ) -> None:
        super().__init__()
        self.streams = streams
        in_channels = sum(STREAM_CHANNELS[stream] for stream in streams)
        self.input_norm = MaskedBatchNorm(in_channels)
        self.blocks = nn.ModuleList()
        for index, (factor, stride) in enumerate(BLOCKS):
            out_channels = width * factor
            self.blocks.append(
                GraphBlock(in_channels, out_channels, stride, dropout, residual=index > 0)
            )
            in_channels = out_channels
        self.head = nn.Linear(in_channels, classes)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """`batch["skeleton"]` `[batch, M, frames, 17, 3]` -> logits `[batch, classes]`."""
        skeleton = batch["skeleton"]
        mask = skeleton_mask(skeleton)
        features = self.input_norm(skeleton_features(skeleton, self.streams), mask)
        for block in self.blocks:
            features, mask = block(features, mask)
        pooled = masked_mean(features, mask)
        return self.head(mean_over_people(pooled, mask, len(skeleton)))


def stgcn(settings: Settings) -> STGCN:
    """ST-GCN with `settings.joint_channels` channels in the first block."""
    # The paper drops half in every block, too much where few channels carry the signal.
    model = STGCN(width=settings.joint_channels, dropout=min(settings.dropout, 0.5))
    start_from(model, settings)
    return model
