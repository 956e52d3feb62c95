"""CTR-GCN: graph convolution whose topology is refined for every channel (Chen et al., ICCV 2021).

The block here is also the skeleton stream of TransM3E, which adds tokens to it.
"""

import torch
from torch import Tensor, nn

from benchmark.models.graph import (
    STREAM_CHANNELS,
    MaskedBatchNorm,
    TemporalConv,
    masked_mean,
    mean_over_people,
    skeleton_features,
    skeleton_mask,
    spatial_adjacency,
    strided_mask,
)
from benchmark.models.weights import start_from
from benchmark.settings import Settings

# Width of each block in units of the first width, and its temporal stride (paper, sec. 3.4).
BLOCKS = ((1, 1), (1, 1), (1, 1), (1, 1), (2, 2), (2, 1), (2, 1), (4, 2), (4, 1), (4, 1))
TEMPORAL_KERNEL = 5
DILATIONS = (1, 2)


class ChannelTopologyConv(nn.Module):
    """Channel-wise topology refinement (paper, eq. 5-7), one a partition of the graph.

    `out_c = sum_w (A + alpha R_c)[v, w] x_c[w]` with `R = xi(tanh(phi(x)[v] - psi(x)[w]))`, phi and
    psi of the mean over the frames in which a joint is present.
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
        """`[people, in, frames, joints]` -> `[people, out, frames, joints]`."""
        people, _, frames, joints = features.shape
        parts = len(self.adjacency)
        over_time = (features * mask).sum(2, keepdim=True) / mask.sum(2, keepdim=True).clamp(min=1)
        left, right = self.left(over_time).squeeze(2), self.right(over_time).squeeze(2)
        refined = self.relate(torch.tanh(left[..., :, None] - right[..., None, :]))
        refined = refined.view(people, parts, -1, joints, joints) * self.alpha
        # `learned` gathers from its rows, as `spatial_adjacency`; the refinement is [.., v, w].
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
        """`[people, in, frames, joints]` -> `[people, out, frames / stride, joints]`."""
        reduced = [torch.relu(reduce(features, mask)) for reduce in self.reduce]
        out = [conv(part, mask) for conv, part in zip(self.dilated, reduced[:-1], strict=True)]
        # After the ReLU an absent joint's zero never exceeds a present one in the maximum.
        out.append(self.pool_norm(self.pool(reduced[-1]), strided_mask(mask, self.stride)))
        out.append(self.pointwise(features, mask))
        return torch.cat(out, 1)


class CTRBlock(nn.Module):
    """Channel-topology graph convolution, multi-scale temporal convolution, residuals."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, residual: bool = True
    ) -> None:
        super().__init__()
        self.spatial = ChannelTopologyConv(in_channels, out_channels)
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
        """`[people, in, frames, joints]` -> `[people, out, frames / stride, joints]`, new mask."""
        spatial = self.spatial_norm(self.spatial(features, mask), mask)
        spatial = torch.relu(
            spatial + (features if self.widen is None else self.widen(features, mask))
        )
        out = self.temporal(spatial, mask)
        if self.residual:
            out = out + (features if self.shortcut is None else self.shortcut(features, mask))
        return torch.relu(out), strided_mask(mask, self.stride)


class CTRGCN(nn.Module):
    """The ten-block network; arguments as for `benchmark.models.stgcn.STGCN`."""

    modalities: tuple[str, ...] = ("skeleton",)

    def __init__(
        self,
        width: int = 64,
        classes: int = 20,
        dropout: float = 0.0,
        streams: tuple[str, ...] = ("joint",),
    ) -> None:
        super().__init__()
        self.streams = streams
        in_channels = sum(STREAM_CHANNELS[stream] for stream in streams)
        self.input_norm = MaskedBatchNorm(in_channels)
        self.blocks = nn.ModuleList()
        for index, (factor, stride) in enumerate(BLOCKS):
            self.blocks.append(CTRBlock(in_channels, width * factor, stride, residual=index > 0))
            in_channels = width * factor
        self.dropout = nn.Dropout(dropout)
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
        pooled = mean_over_people(masked_mean(features, mask), mask, len(skeleton))
        return self.head(self.dropout(pooled))


def ctrgcn(settings: Settings) -> CTRGCN:
    """CTR-GCN with `settings.joint_channels` channels in the first block."""
    model = CTRGCN(width=settings.joint_channels, dropout=settings.dropout)
    start_from(model, settings)
    return model
