"""Shared parts of the skeleton models: the COCO-17 graph, masking, and convolutions over it.

Layout everywhere: features are ``[people, channels, frames, joints]`` with people = batch * M, and
the mask is ``[people, 1, frames, joints]``, 1 where the joint was seen. A joint with score 0 is
absent: it is zeroed before every exchange between joints or frames, left out of every batch-norm
statistic and of the pooling. It never acts as a joint standing at the origin.
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.models.norm import MaskedBatchNorm
from musclemap_data.skeleton import JOINT_COUNT

# Parent of each joint on the tree with its root at the nose; the root is its own parent.
PARENTS = (0, 0, 0, 1, 2, 0, 0, 5, 6, 7, 8, 5, 6, 11, 12, 13, 14)

# Width of each block in units of the first width, and its temporal stride: of ST-GCN (sec. 3.6),
# CTR-GCN (sec. 3.4) and HD-GCN alike.
BLOCKS = ((1, 1), (1, 1), (1, 1), (1, 1), (2, 2), (2, 1), (2, 1), (4, 2), (4, 1), (4, 1))

STREAM_CHANNELS: dict[str, int] = {"joint": 3, "bone": 2, "motion": 2}


def spatial_adjacency() -> Tensor:
    """Normalised adjacency of COCO-17 in the three parts of ST-GCN's spatial partition.

    Part 0 links a joint with itself, part 1 gathers from the neighbour nearer to the root, part 2
    from the neighbours farther away. Columns are divided by the number of joints they gather from
    (Yan et al., AAAI 2018, eq. 10 without the alpha).

    Returns:
        float32 ``[3, 17, 17]``; ``features @ part`` moves features from rows to columns.
    """
    inward = torch.zeros(JOINT_COUNT, JOINT_COUNT)
    for child, parent in enumerate(PARENTS):
        if child != parent:
            inward[parent, child] = 1  # the child gathers from its parent
    parts = torch.stack([torch.eye(JOINT_COUNT), inward, inward.T])
    return parts / parts.sum(1, keepdim=True).clamp(min=1)


def skeleton_mask(skeleton: Tensor) -> Tensor:
    """1 where a joint is present, else 0.

    Args:
        skeleton: ``[batch, M, frames, 17, 3]`` with x, y and score; score 0 marks an absent joint.

    Returns:
        ``[batch * M, 1, frames, 17]``, dtype of ``skeleton``.
    """
    return (skeleton[..., 2] > 0).to(skeleton.dtype).flatten(0, 1).unsqueeze(1)


def skeleton_features(skeleton: Tensor, streams: tuple[str, ...] = ("joint",)) -> Tensor:
    """Input channels of a graph network: joints, bones and motions, side by side.

    A bone is a joint minus its parent, a motion is a joint minus itself one frame earlier; either
    is zero unless both ends are present.

    Args:
        skeleton: ``[batch, M, frames, 17, 3]``; absent joints may hold anything, NaN included.
        streams: any of ``STREAM_CHANNELS``, in the order wanted.

    Returns:
        ``[batch * M, channels, frames, 17]``; the joint stream has x, y, score, the others x, y.

    Raises:
        ValueError: no stream, or one that is not known.
    """
    unknown = [stream for stream in streams if stream not in STREAM_CHANNELS]
    if unknown or not streams:
        raise ValueError(f"streams is {streams!r}; allowed: {', '.join(STREAM_CHANNELS)}")
    mask = skeleton_mask(skeleton)
    joints = skeleton.flatten(0, 1).permute(0, 3, 1, 2)  # [people, 3, frames, joints]
    joints = torch.where(mask > 0, joints, torch.zeros_like(joints))
    position = joints[:, :2]
    features = []
    for stream in streams:
        if stream == "joint":
            features.append(joints)
        elif stream == "bone":
            parents = list(PARENTS)
            features.append((position - position[..., parents]) * mask * mask[..., parents])
        else:
            step = (position[:, :, 1:] - position[:, :, :-1]) * mask[:, :, 1:] * mask[:, :, :-1]
            features.append(F.pad(step, (0, 0, 1, 0)))
    return torch.cat(features, 1)


def strided_mask(mask: Tensor, stride: int) -> Tensor:
    """The mask [batch, 1, T, 17] after a temporal convolution of that stride: its centres.

    A frame whose joint is absent stays absent, even if neighbouring frames saw it.
    """
    return mask[:, :, ::stride]


def masked_mean(features: Tensor, mask: Tensor) -> Tensor:
    """Mean over frames and joints that are present; zero where there is none.

    Args:
        features: ``[people, channels, frames, joints]``.
        mask: ``[people, 1, frames, joints]``.

    Returns:
        ``[people, channels]``.
    """
    return (features * mask).sum((2, 3)) / mask.sum((2, 3)).clamp(min=1)


def mean_over_people(features: Tensor, mask: Tensor, batch_size: int) -> Tensor:
    """Mean over the people of a clip who were seen at all; zero where nobody was.

    Args:
        features: ``[batch * M, channels]``.
        mask: ``[batch * M, 1, frames, joints]``.
        batch_size: clips in the batch.

    Returns:
        ``[batch, channels]``.
    """
    seen = mask.amax((1, 2, 3)).view(batch_size, -1, 1)
    features = features.view(batch_size, seen.shape[1], -1)
    return (features * seen).sum(1) / seen.sum(1).clamp(min=1)


class SpatialGraphConv(nn.Module):
    """ST-GCN's graph convolution: one 1x1 convolution a partition, then the weighted adjacency.

    The adjacency is multiplied by a learned importance of each edge (Yan et al., sec. 3.5).
    """

    adjacency: Tensor

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.register_buffer("adjacency", spatial_adjacency(), persistent=False)
        self.importance = nn.Parameter(torch.ones_like(self.adjacency))
        self.conv = nn.Conv2d(in_channels, 3 * out_channels, 1)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """``[people, in, frames, joints]`` -> ``[people, out, frames, joints]``."""
        people, _, frames, joints = features.shape
        # The mask comes after the 1x1 convolution, whose bias would revive absent joints.
        parts = (self.conv(features) * mask).view(people, 3, -1, frames, joints)
        return torch.einsum("npctv,pvw->nctw", parts, self.adjacency * self.importance)


class TemporalConv(nn.Module):
    """Convolution along time, then masked batch norm.

    Absent joints must already be zero in the input, so they give nothing to their neighbours in
    time.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        padding = (kernel - 1) * dilation // 2
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            (kernel, 1),
            stride=(stride, 1),
            padding=(padding, 0),
            dilation=(dilation, 1),
        )
        self.norm = MaskedBatchNorm(out_channels)
        self.stride = stride

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """``[people, in, frames, joints]`` -> ``[people, out, frames / stride, joints]``.

        ``mask`` is the one of the input frames.
        """
        normalised: Tensor = self.norm(self.conv(features), strided_mask(mask, self.stride))
        return normalised


class BlockMaker(Protocol):
    """Makes one block: ``(features, mask) -> (features, mask)``."""

    def __call__(
        self, in_channels: int, out_channels: int, stride: int, residual: bool
    ) -> nn.Module: ...


class GraphNetwork(nn.Module):
    """Ten blocks, widths C, 2C, 4C, time halved at each widening; the mean over joints, frames and
    people; a linear head.

    Args:
        block: makes one block; the first has no residual connection.
        width: channels of the first block (64 in the papers).
        classes: number of logits.
        dropout: before the head.
        streams: input features, see ``skeleton_features``.
    """

    modalities: tuple[str, ...] = ("skeleton",)

    def __init__(
        self,
        block: BlockMaker,
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
            self.blocks.append(block(in_channels, width * factor, stride, residual=index > 0))
            in_channels = width * factor
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(in_channels, classes)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """``batch["skeleton"]`` ``[batch, M, frames, 17, 3]`` -> logits ``[batch, classes]``."""
        skeleton = batch["skeleton"]
        mask = skeleton_mask(skeleton)
        features = self.input_norm(skeleton_features(skeleton, self.streams), mask)
        for block in self.blocks:
            features, mask = block(features, mask)
        pooled = mean_over_people(masked_mean(features, mask), mask, len(skeleton))
        logits: Tensor = self.head(self.dropout(pooled))
        return logits
