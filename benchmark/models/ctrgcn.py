"""CTR-GCN: graph convolution whose topology is refined for every channel (Chen et al., ICCV 2021).

The block here is also the skeleton stream of TransM3E, which adds tokens to it.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from benchmark.models.graph import (
    GraphNetwork,
    TemporalConv,
    spatial_adjacency,
    strided_mask,
)
from benchmark.models.norm import MaskedBatchNorm
from benchmark.models.weights import start_from
from benchmark.settings import Settings

TEMPORAL_KERNEL = 5
DILATIONS = (1, 2)


class ChannelTopologyConv(nn.Module):
    """Channel-wise topology refinement (paper, eq. 5-7), one a partition of the graph.

    ``out_c = sum_w (A + alpha R_c)[v, w] x_c[w]`` with ``R = xi(tanh(phi(x)[v] - psi(x)[w]))``, phi
    and psi of the mean over the frames in which a joint is present.
    """

    adjacency: Tensor

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.register_buffer("adjacency", spatial_adjacency(), persistent=False)
        self.learned = nn.Parameter(self.adjacency.clone())
        parts = len(self.adjacency)
        # The paper: an eighth of the input channels; 8 for the raw joints.
        relation = 8 if in_channels <= 9 else max(in_channels // 8, 4)
        self.left = nn.Conv2d(in_channels, parts * relation, 1)
        self.right = nn.Conv2d(in_channels, parts * relation, 1)
        self.relate = nn.Conv2d(parts * relation, parts * out_channels, 1, groups=parts)
        self.value = nn.Conv2d(in_channels, parts * out_channels, 1)
        self.alpha = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """``[people, in, frames, joints]`` -> ``[people, out, frames, joints]``."""
        people, _, frames, joints = features.shape
        parts = len(self.adjacency)
        over_time = (features * mask).sum(2, keepdim=True) / mask.sum(2, keepdim=True).clamp(min=1)
        left, right = self.left(over_time).squeeze(2), self.right(over_time).squeeze(2)
        refined = self.relate(torch.tanh(left[..., :, None] - right[..., None, :]))
        refined = refined.view(people, parts, -1, joints, joints) * self.alpha
        # ``learned`` gathers from its rows, as ``spatial_adjacency``; the refinement is [.., v, w].
        topology = refined + self.learned.transpose(-1, -2)[None, :, None]
        value = (self.value(features) * mask).view(people, parts, -1, frames, joints)
        return torch.einsum("npcvw,npctw->nctv", topology, value)


class MultiScaleTemporalConv(nn.Module):
    """Four branches over time: two dilated convolutions, a max pooling and a 1x1 convolution."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        branches = len(DILATIONS) + 2
        if out_channels % branches:
            raise ValueError(f"out_channels is {out_channels}, not a multiple of {branches}")
        width = out_channels // branches
        self.stride = stride
        self.reduce = nn.ModuleList(
            TemporalConv(in_channels, width, 1) for _ in range(len(DILATIONS) + 1)
        )
        self.dilated = nn.ModuleList(
            TemporalConv(width, width, TEMPORAL_KERNEL, stride, dilation) for dilation in DILATIONS
        )
        self.pool = nn.MaxPool2d((3, 1), (stride, 1), (1, 0))
        self.pool_norm = MaskedBatchNorm(width)
        self.pointwise = TemporalConv(in_channels, width, 1, stride)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """``[people, in, frames, joints]`` -> ``[people, out, frames / stride, joints]``."""
        reduced = [torch.relu(reduce(features, mask)) for reduce in self.reduce]
        out = [conv(part, mask) for conv, part in zip(self.dilated, reduced[:-1], strict=True)]
        # After the ReLU an absent joint's zero never exceeds a present one in the maximum.
        out.append(self.pool_norm(self.pool(reduced[-1]), strided_mask(mask, self.stride)))
        out.append(self.pointwise(features, mask))
        return torch.cat(out, 1)


class MultiScaleBlock(nn.Module):
    """A graph convolution, multi-scale temporal convolution, residuals.

    Args:
        spatial: makes the graph convolution from the channels in and out; called with
            ``(features, mask)``.
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: along time.
        residual: add the input to the output.
    """

    def __init__(
        self,
        spatial: Callable[[int, int], nn.Module],
        in_channels: int,
        out_channels: int,
        stride: int,
        residual: bool,
    ) -> None:
        super().__init__()
        self.spatial = spatial(in_channels, out_channels)
        self.spatial_norm = MaskedBatchNorm(out_channels)
        self.widen: TemporalConv | None = None
        if in_channels != out_channels:
            self.widen = TemporalConv(in_channels, out_channels, 1)
        self.temporal = MultiScaleTemporalConv(out_channels, out_channels, stride)
        self.residual = residual
        self.shortcut: TemporalConv | None = None
        if residual and (in_channels != out_channels or stride != 1):
            self.shortcut = TemporalConv(in_channels, out_channels, 1, stride)
        self.stride = stride

    def forward(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """``[people, in, frames, joints]`` -> ``[people, out, frames / stride, joints]``, mask."""
        spatial = self.spatial_norm(self.spatial(features, mask), mask)
        spatial = torch.relu(
            spatial + (features if self.widen is None else self.widen(features, mask))
        )
        out = self.temporal(spatial, mask)
        if self.residual:
            out = out + (features if self.shortcut is None else self.shortcut(features, mask))
        return torch.relu(out), strided_mask(mask, self.stride)


def ctrgcn(settings: Settings) -> GraphNetwork:
    """CTR-GCN with ``settings.joint_channels`` channels in the first block."""
    block = partial(MultiScaleBlock, ChannelTopologyConv)
    model = GraphNetwork(block, width=settings.joint_channels, dropout=settings.dropout)
    start_from(model, settings)
    return model
