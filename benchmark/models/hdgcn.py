"""HD-GCN: graph convolution over a hierarchy of body parts (Lee et al., ICCV 2023).

The joints are sorted into levels by their distance from the root; between neighbouring levels every
joint is linked with every other, so that, say, both elbows speak with both hips at once. Each pair
of levels has its own convolution; an attention over the pairs (A-HA) weighs their sum.
"""

from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from benchmark.models.ctrgcn import MultiScaleBlock
from benchmark.models.graph import PARENTS, GraphNetwork, TemporalConv
from benchmark.models.norm import MaskedBatchNorm
from benchmark.models.weights import start_from
from benchmark.settings import Settings

SUBSETS = 3  # self, towards the root, away from it
NEIGHBOURS = 3  # of S-EdgeConv, nearest in feature space


def joint_levels() -> list[list[int]]:
    """Joints by their number of bones from the nose: nose; eyes, shoulders; and so on."""
    depth = [0] * len(PARENTS)
    for child, parent in enumerate(PARENTS):  # parents come before their children
        depth[child] = 0 if child == parent else depth[parent] + 1
    return [
        [joint for joint, at in enumerate(depth) if at == level] for level in range(max(depth) + 1)
    ]


def hierarchical_adjacency() -> Tensor:
    """The HD-graph: for each pair of neighbouring levels the three subsets of links.

    Returns:
        float32 ``[pairs, 3, 17, 17]``, each column divided by the joints it gathers from;
        ``features @ part`` moves features from row joints to column joints.
    """
    levels = joint_levels()
    parts = torch.zeros(len(levels) - 1, SUBSETS, len(PARENTS), len(PARENTS))
    for pair, (inner, outer) in enumerate(pairwise(levels)):
        for joint in inner + outer:
            parts[pair, 0, joint, joint] = 1
        for near in inner:
            for far in outer:
                parts[pair, 1, far, near] = 1
                parts[pair, 2, near, far] = 1
    return parts / parts.sum(2, keepdim=True).clamp(min=1)


class EdgeConv(nn.Module):
    """Edge convolution (S-EdgeConv): each joint meets the joints most like it, averaged over time.

    ``out[v] = max over neighbours w of ReLU(BN(conv([x[w] - x[v], x[v]])))``.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * in_channels, out_channels, 1, bias=False)
        self.norm = MaskedBatchNorm(out_channels)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """``[people, in, frames, joints]`` -> ``[people, out, 1, joints]``: one for all frames."""
        seen = mask.sum(2)  # [people, 1, joints]: frames in which the joint was present
        mean = (features * mask).sum(2) / seen.clamp(min=1)  # [people, in, joints]
        present = (seen > 0).to(features.dtype)
        with torch.no_grad():
            distance = torch.cdist(mean.transpose(1, 2).float(), mean.transpose(1, 2).float())
            distance = distance.masked_fill(present == 0, float("inf"))  # [people, joints, joints]
            nearest = distance.topk(NEIGHBOURS, largest=False).indices
        people, channels, joints = mean.shape
        index = nearest.flatten(1)[:, None].expand(-1, channels, -1)
        other = mean.gather(2, index).view(people, channels, joints, NEIGHBOURS)
        here = present.gather(2, nearest.flatten(1)[:, None]).view(people, 1, joints, NEIGHBOURS)
        own = mean[..., None].expand_as(other)
        edges = torch.cat([other - own, own], 1).transpose(2, 3)  # [people, 2 in, k, joints]
        valid = here.transpose(2, 3) * present[:, :, None]
        # Joints that lack neighbours (fewer than k present) take the maximum over those they have.
        return torch.relu(self.norm(self.conv(edges), valid)).amax(2, keepdim=True)


class HierarchyAttention(nn.Module):
    """A-HA: a weight between 0 and 1 for every pair of levels and channel.

    From the mean over frames and joints of each pair of levels. (The paper runs an edge convolution
    over the pairs first; a joint linear map over all pairs does the same at this number of pairs.)
    """

    members: Tensor

    def __init__(self, channels: int, pairs: int) -> None:
        super().__init__()
        levels = joint_levels()
        members = torch.zeros(pairs, len(PARENTS))
        for pair in range(pairs):
            members[pair, levels[pair] + levels[pair + 1]] = 1
        self.register_buffer("members", members, persistent=False)
        hidden = max(channels // 4, 4)
        self.squeeze = nn.Conv1d(channels, hidden, 1)
        self.mix = nn.Linear(pairs, pairs)
        self.excite = nn.Conv1d(hidden, channels, 1)

    def forward(self, parts: Tensor, mask: Tensor) -> Tensor:
        """From ``[people, pairs, channels, frames, joints]`` to the same without pairs."""
        weights = mask[:, 0, None] * self.members[:, None]  # [people, pairs, frames, joints]
        total = torch.einsum("npctv,nptv->ncp", parts, weights)
        mean = total / weights.sum((2, 3))[:, None].clamp(min=1)
        hidden = torch.relu(self.mix(self.squeeze(mean)))
        attention = self.excite(hidden).sigmoid()
        return torch.einsum("npctv,ncp->nctv", parts, attention)


class HierarchicalConv(nn.Module):
    """HD-graph convolution: a quarter of the channels for each subset and for S-EdgeConv."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        adjacency = hierarchical_adjacency()
        self.pairs = len(adjacency)
        self.width = out_channels // (SUBSETS + 1)
        if self.width * (SUBSETS + 1) != out_channels:
            raise ValueError(f"out_channels is {out_channels}, not a multiple of {SUBSETS + 1}")
        self.adjacency = nn.Parameter(adjacency)
        self.down = nn.ModuleList(
            TemporalConv(in_channels, self.width, 1) for _ in range(self.pairs)
        )
        self.subsets = nn.ModuleList(
            nn.Conv2d(self.width, SUBSETS * self.width, 1) for _ in range(self.pairs)
        )
        self.edges = nn.ModuleList(EdgeConv(self.width, self.width) for _ in range(self.pairs))
        self.attention = HierarchyAttention(out_channels, self.pairs)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """``[people, in, frames, joints]`` -> ``[people, out, frames, joints]``."""
        people, _, frames, joints = features.shape
        parts = []
        for pair in range(self.pairs):
            reduced = torch.relu(self.down[pair](features, mask))
            sets = (self.subsets[pair](reduced) * mask).view(people, SUBSETS, -1, frames, joints)
            moved = torch.einsum("nsctv,svw->nsctw", sets, self.adjacency[pair])
            edge = self.edges[pair](reduced, mask).expand(-1, -1, frames, -1)
            parts.append(torch.cat([moved.flatten(1, 2), edge], 1))
        joined: Tensor = self.attention(torch.stack(parts, 1), mask)
        return joined


def hdgcn(settings: Settings) -> GraphNetwork:
    """HD-GCN with ``settings.joint_channels`` channels in the first block."""
    block = partial(MultiScaleBlock, HierarchicalConv)
    model = GraphNetwork(block, width=settings.joint_channels, dropout=settings.dropout)
    start_from(model, settings)
    return model
