"""MViTv2 for video with any number of class tokens (Li et al., CVPR 2022, arXiv 2112.01526).

Patches and class tokens travel side by side, never in one sequence:

    patches  [batch, T, H, W, channels]   channels-last, so pooling convolutions need no copy
    tokens   [batch, K, channels]         K class tokens, without any position

Both go through the same layers and attend to the same keys, so the result is that of one sequence
``[tokens, patches]``, without cutting it up and gluing it together in every block.

With one class token the network is torchvision's ``mvit_v2_s`` and takes its weights
(``load_torchvision``).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from benchmark.models.kernels import biased_attention, depthwise_conv3d
from benchmark.models.public import mvit_names
from benchmark.models.video import video_input
from benchmark.models.weights import read_weights
from benchmark.settings import Settings
from musclemap_data.errors import UserError

Size = tuple[int, int, int]  # frames, height, width, in patches

PATCH_KERNEL: Size = (3, 7, 7)
PATCH_PADDING: Size = (1, 3, 3)
PATCH_STRIDE: Size = (2, 4, 4)
NORM_EPS = 1e-6
MLP_RATIO = 4
FIRST_KEY_STRIDE = 8  # keys and values are pooled 8 x 8 in the first stage, halved in each later


@dataclass(frozen=True)
class BlockShape:
    """What one block does to the shape: taken from table 1 of the paper by ``block_shapes``."""

    in_channels: int
    out_channels: int
    heads: int
    in_size: Size
    query_stride: int  # spatial; time is never pooled
    key_stride: int
    tokens_only: bool = False  # the last block: nobody reads its patches

    @property
    def out_size(self) -> Size:
        """Patches that leave the block."""
        return pooled_size(self.in_size, self.query_stride)

    @property
    def key_size(self) -> Size:
        """Patches that are attended to."""
        return pooled_size(self.in_size, self.key_stride)


def pooled_size(size: Size, stride: int) -> Size:
    """Size after a 3 x 3 x 3 convolution with padding 1 and a spatial stride."""
    frames, height, width = size
    return frames, math.ceil(height / stride), math.ceil(width / stride)


def stage_depths(depth: int) -> tuple[int, ...]:
    """Blocks of each stage for a total depth: 16 is MViTv2-S, 24 is MViTv2-B.

    Other depths keep the first, second and last stage in S's proportion (at least one block each)
    and give the rest to the third; fewer than four blocks make one stage each.
    """
    if depth < 4:
        return (1,) * depth
    if depth == 24:
        return (2, 3, 16, 3)
    first, second, last = (max(1, round(depth * share / 16)) for share in (1, 2, 2))
    if depth < 10:
        second = last = 1
    return first, second, depth - first - second - last, last


def block_shapes(width: int, depth: int, size: Size) -> list[BlockShape]:
    """Shapes of all blocks.

    Each stage but the first doubles the channels and the heads and halves height and width in its
    first block, which already attends with the new width.

    Args:
        width: channels of the first stage, also the width of every head (96 in S and B).
        depth: number of blocks.
        size: patches after the embedding, ``(frames, height, width)``.
    """
    shapes = []
    channels, key_stride = width, FIRST_KEY_STRIDE
    for stage, blocks in enumerate(stage_depths(depth)):
        out_channels = width * 2**stage
        for index in range(blocks):
            query_stride = 2 if stage > 0 and index == 0 else 1
            if query_stride == 2:
                # The first block of a stage still sees the larger map: same stride, halved after.
                key_stride = max(key_stride // 2, 1)
            shape = BlockShape(
                in_channels=channels,
                out_channels=out_channels,
                heads=2**stage,
                in_size=size,
                query_stride=query_stride,
                key_stride=key_stride,
            )
            shapes.append(shape)
            channels, size = out_channels, shape.out_size
    shapes[-1] = replace(shapes[-1], tokens_only=True)
    return shapes


class DropPath(nn.Module):
    """Stochastic depth: drops a whole residual branch of a sample (Huang et al., ECCV 2016)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def scale(self, features: Tensor) -> Tensor | None:
        """0 or 1 / (1 - probability) for each sample, ``[batch, 1, 1]``; None when off.

        Drawn once a branch, so that patches and tokens of a sample stay or go together.
        """
        if not self.training or self.probability == 0:
            return None
        keep = 1 - self.probability
        return features.new_empty(len(features), 1, 1).bernoulli_(keep).div_(keep)


def add_branch(shortcut: Tensor, branch: Tensor, scale: Tensor | None) -> Tensor:
    """``shortcut + scale * branch`` [batch, ...], ``scale`` as ``DropPath.scale`` gives it."""
    if scale is None:
        return shortcut + branch
    return torch.addcmul(shortcut, branch, scale.view(-1, *[1] * (branch.ndim - 1)))


class Pooling(nn.Module):
    """Pooling of attention heads: depthwise 3 x 3 x 3 convolution, then layer norm of each head.

    All heads share the kernel. Class tokens skip the convolution and share the norm.
    """

    def __init__(self, head_width: int, stride: int, tokens_only: bool = False) -> None:
        super().__init__()
        self.stride = stride
        self.norm = nn.LayerNorm(head_width, eps=NORM_EPS)
        if not tokens_only:
            self.weight = nn.Parameter(torch.empty(head_width, 1, 3, 3, 3))
            nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # as nn.Conv3d

    def tokens(self, tokens: Tensor) -> Tensor:
        """``[B, K, heads * width]`` -> ``[B, heads, K, width]``."""
        heads = tokens.unflatten(-1, (-1, *self.norm.normalized_shape))
        normalised: Tensor = self.norm(heads)
        return normalised.transpose(1, 2)

    def patches(self, patches: Tensor) -> Tensor:
        """``[B, T, H, W, heads * width]`` -> ``[B, T, H', W', heads, width]``."""
        heads = patches.shape[-1] // len(self.weight)
        weight = self.weight.repeat(heads, 1, 1, 1, 1) if heads > 1 else self.weight
        pooled = depthwise_conv3d(patches, weight, self.stride)
        normalised: Tensor = self.norm(pooled.unflatten(-1, (heads, -1)))
        return normalised


class RelativePosition(nn.Module):
    """Decomposed relative positions (paper, eq. 4): one learned vector a distance and axis.

    The bias of query i and key j is ``q_i . (R_t[t_i - t_j] + R_h[h_i - h_j] + R_w[w_i - w_j])``.
    """

    key_places: Tensor

    def __init__(self, head_width: int, query_size: Size, key_size: Size) -> None:
        super().__init__()
        self.tables = nn.ParameterList()
        for axis, (queries, keys) in enumerate(zip(query_size, key_size, strict=True)):
            table = nn.Parameter(torch.empty(2 * max(queries, keys) - 1, head_width))
            self.tables.append(nn.init.trunc_normal_(table, std=0.02))
            # The coarser axis is stretched over the finer one.
            query_step, key_step = max(keys / queries, 1.0), max(queries / keys, 1.0)
            query_at = torch.arange(queries)[:, None] * query_step
            key_at = (torch.arange(keys)[None, :] - (keys - 1)) * key_step
            distance = (query_at - key_at).long()  # [queries, keys], from 0
            self.register_buffer(f"distance_{axis}", distance, persistent=False)

        # Where each key lies: a one in its column of each axis.
        axes = torch.meshgrid(*map(torch.arange, key_size), indexing="ij")
        one_hot = [F.one_hot(at, size) for at, size in zip(axes, key_size, strict=True)]
        places = torch.cat(one_hot, -1).flatten(0, 2).float()
        self.register_buffer("key_places", places, persistent=False)

    def forward(self, query: Tensor) -> Tensor:
        """The bias of each query to each place of each axis; times ``key_places`` it is the bias.

        ``[B, T, H, W, heads, width]`` -> ``[B, T, H, W, heads, keys_t + keys_h + keys_w]``.
        """
        t, h, w = (
            table[self.get_buffer(f"distance_{axis}")] for axis, table in enumerate(self.tables)
        )
        along_t = torch.einsum("bthwnc,tkc->bthwnk", query, t)
        along_h = torch.einsum("bthwnc,hkc->bthwnk", query, h)
        along_w = torch.einsum("bthwnc,wkc->bthwnk", query, w)
        return torch.cat([along_t, along_h, along_w], -1)


class PoolingAttention(nn.Module):
    """Multi-head attention over pooled keys, with relative positions and the pooled query added."""

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        width = shape.out_channels // shape.heads
        self.query = nn.Linear(shape.in_channels, shape.out_channels)
        self.key = nn.Linear(shape.in_channels, shape.out_channels)
        self.value = nn.Linear(shape.in_channels, shape.out_channels)
        self.pool_query = Pooling(width, shape.query_stride, shape.tokens_only)
        self.pool_key = Pooling(width, shape.key_stride)
        self.pool_value = Pooling(width, shape.key_stride)
        self.project = nn.Linear(shape.out_channels, shape.out_channels)
        self.position: RelativePosition | None = None
        if not shape.tokens_only:
            self.position = RelativePosition(width, shape.out_size, shape.key_size)

    def forward(self, tokens: Tensor, patches: Tensor) -> tuple[Tensor, Tensor | None]:
        """``[B, K, in]``, ``[B, T, H, W, in]`` -> ``[B, K, out]``, ``[B, T, H', W', out]``.

        In a block for tokens only the second is None.
        """
        key = self._sequence(self.key, self.pool_key, tokens, patches)
        value = self._sequence(self.value, self.pool_value, tokens, patches)

        # Tokens have no position: their queries carry no bias ...
        token_query = self.pool_query.tokens(self.query(tokens))
        attended = F.scaled_dot_product_attention(token_query, key, value)
        token_out = self.project(attended.transpose(1, 2).flatten(2))
        if self.position is None:
            return token_out, None

        # ... and their keys, the last ones, lie at no place.
        patch_query = self.pool_query.patches(self.query(patches))
        attended = biased_attention(
            patch_query.flatten(1, 3).transpose(1, 2),
            self.position(patch_query).flatten(1, 3).transpose(1, 2),
            key,
            F.pad(self.position.key_places, (0, 0, 0, tokens.shape[1])),
            value,
        )
        # Residual pooling (eq. 5): the pooled query is added, for patches only.
        patch_out = patch_query + attended.transpose(1, 2).view_as(patch_query)
        return token_out, self.project(patch_out.flatten(4))

    @staticmethod
    def _sequence(linear: nn.Linear, pool: Pooling, tokens: Tensor, patches: Tensor) -> Tensor:
        """Pooled patches, then tokens, of each head: ``[B, heads, T * H' * W' + K, width]``."""
        pooled = pool.patches(linear(patches)).flatten(1, 3).transpose(1, 2)
        return torch.cat([pooled, pool.tokens(linear(tokens))], 2)


class Block(nn.Module):
    """One transformer block: pooling attention and MLP, each with a residual connection."""

    def __init__(self, shape: BlockShape, drop_path: float) -> None:
        super().__init__()
        self.query_stride = shape.query_stride
        self.norm1 = nn.LayerNorm(shape.in_channels, eps=NORM_EPS)
        self.attention = PoolingAttention(shape)
        self.widen: nn.Linear | None = None
        if shape.in_channels != shape.out_channels:
            self.widen = nn.Linear(shape.in_channels, shape.out_channels)
        self.norm2 = nn.LayerNorm(shape.out_channels, eps=NORM_EPS)
        self.mlp = nn.Sequential(
            nn.Linear(shape.out_channels, MLP_RATIO * shape.out_channels),
            nn.GELU(),
            nn.Linear(MLP_RATIO * shape.out_channels, shape.out_channels),
        )
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
        """``[B, K, in]``, ``[B, T, H, W, in]`` -> ``[B, K, out]``, ``[B, T, H', W', out]``.

        A block for tokens only returns the patches as they came.
        """
        normed_tokens, normed_patches = self.norm1(tokens), self.norm1(patches)
        token_branch, patch_branch = self.attention(normed_tokens, normed_patches)
        if self.widen is not None:  # the shortcut widens after the norm, as the attention does
            tokens = self.widen(normed_tokens)
        scale = self.drop_path.scale(tokens)
        tokens = add_branch(tokens, token_branch, scale)
        if patch_branch is not None:
            if self.widen is not None:
                patches = self.widen(normed_patches)
            if self.query_stride > 1:
                patches = _max_pool(patches, self.query_stride)
            patches = add_branch(patches, patch_branch, scale)

        scale = self.drop_path.scale(tokens)
        tokens = add_branch(tokens, self.mlp(self.norm2(tokens)), scale)
        if patch_branch is not None:
            patches = add_branch(patches, self.mlp(self.norm2(patches)), scale)
        return tokens, patches


def _max_pool(patches: Tensor, stride: int) -> Tensor:
    """Spatial max pooling of the shortcut, kernel ``stride + 1``: ``[B, T, H, W, channels]``."""
    frames = patches.flatten(0, 1).permute(0, 3, 1, 2)  # channels-last, nothing moves
    pooled = F.max_pool2d(frames, stride + 1, stride, padding=(stride + 1) // 2)
    shortcut: Tensor = pooled.permute(0, 2, 3, 1).unflatten(0, patches.shape[:2])
    return shortcut


class MViT(nn.Module):
    """The backbone: patch embedding, class tokens, blocks, final norm.

    Args:
        frames: frames of the input.
        crop_size: height and width of the input.
        width: channels of the first stage.
        depth: blocks; see ``stage_depths``.
        tokens: number of class tokens.
        in_channels: 3 for RGB and RGB difference, 2 for flow.
        drop_path: probability of the last block; grows linearly from 0.
        checkpointing: recompute the blocks in the backward pass to save memory.
    """

    def __init__(
        self,
        *,
        frames: int = 16,
        crop_size: int = 224,
        width: int = 96,
        depth: int = 16,
        tokens: int = 1,
        in_channels: int = 3,
        drop_path: float = 0.2,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.input_size = (frames, crop_size, crop_size)
        self.checkpointing = checkpointing
        self.embedding = nn.Conv3d(in_channels, width, PATCH_KERNEL, PATCH_STRIDE, PATCH_PADDING)
        self.class_tokens = nn.Parameter(torch.empty(tokens, width))

        size = (
            math.ceil(frames / PATCH_STRIDE[0]),
            math.ceil(crop_size / PATCH_STRIDE[1]),
            math.ceil(crop_size / PATCH_STRIDE[2]),
        )
        self.shapes = block_shapes(width, depth, size)
        self.blocks = nn.ModuleList(
            Block(shape, drop_path * index / max(depth - 1, 1))
            for index, shape in enumerate(self.shapes)
        )
        self.out_channels = self.shapes[-1].out_channels
        self.norm = nn.LayerNorm(self.out_channels, eps=NORM_EPS)

        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.class_tokens, std=0.02)

    def embed(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens ``[B, K, width]`` and patches ``[B, T', H', W', width]`` of a video.

        Args:
            video: ``[B, in_channels, T, H, W]``.

        Raises:
            ValueError: the video has another size than the model was built for.
        """
        if tuple(video.shape[2:]) != self.input_size:
            raise ValueError(
                f"video has frames, height, width {tuple(video.shape[2:])}; this model was built "
                f"for {self.input_size}: build it with these settings or resize the input"
            )
        patches = self.embedding(video).permute(0, 2, 3, 4, 1).contiguous()
        # A copy: an expanded parameter claims to need a gradient even where none is wanted.
        return self.class_tokens.to(patches.dtype).repeat(len(video), 1, 1), patches

    def run_block(self, index: int, tokens: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Block ``index`` on tokens and patches, both [batch, tokens, channels].

        Recomputed in the backward pass if asked for.
        """
        block = self.blocks[index]
        if self.checkpointing and self.training:
            out: tuple[Tensor, Tensor] = checkpoint(block, tokens, patches, use_reentrant=False)
            return out
        out = block(tokens, patches)
        return out

    def forward(self, video: Tensor) -> Tensor:
        """``[B, in_channels, T, H, W]`` -> class tokens after the norm ``[B, K, channels]``."""
        tokens, patches = self.embed(video)
        for index in range(len(self.blocks)):
            tokens, patches = self.run_block(index, tokens, patches)
        normalised: Tensor = self.norm(tokens)
        return normalised


class MViTClassifier(nn.Module):
    """MViTv2 with a linear head on the mean of its class tokens.

    With one token this is the original head.
    """

    def __init__(
        self, backbone: MViT, classes: int = 20, dropout: float = 0.5, modality: str = "rgb"
    ) -> None:
        super().__init__()
        self.modalities: tuple[str, ...] = (modality,)
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(backbone.out_channels, classes)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """The modality's ``[B, channels, T, H, W]`` -> logits ``[B, classes]``."""
        tokens = self.backbone(batch[self.modalities[0]])
        logits: Tensor = self.head(self.dropout(tokens.mean(1)))
        return logits


def mvit_v2_s(settings: Settings) -> MViTClassifier:
    """MViTv2-S: 16 blocks in preset base; fewer and narrower in the smaller presets."""
    return _classifier(settings, settings.model_depth)


def mvit_v2_b(settings: Settings) -> MViTClassifier:
    """MViTv2-B: half again as deep as S (24 blocks in preset base)."""
    return _classifier(settings, settings.model_depth * 3 // 2)


def _classifier(settings: Settings, depth: int) -> MViTClassifier:
    modality, channels = video_input(settings)
    backbone = MViT(
        frames=settings.frames,
        crop_size=settings.crop_size,
        width=settings.model_width,
        depth=depth,
        in_channels=channels,
        drop_path=settings.drop_path,
        checkpointing=settings.checkpointing,
    )
    if settings.pretrained is not None:
        load_pretrained(backbone, Path(settings.pretrained))
    return MViTClassifier(backbone, dropout=settings.dropout, modality=modality)


# --- weights -------------------------------------------------------------------------------------

# torchvision's names inside ``blocks.N.`` and ours. ``attn.qkv`` is cut in three apart.
_TORCHVISION_NAMES = {
    "attn.project.0": "attention.project",
    "attn.pool_q.pool": "attention.pool_query",
    "attn.pool_k.pool": "attention.pool_key",
    "attn.pool_v.pool": "attention.pool_value",
    "attn.pool_q.norm_act.0": "attention.pool_query.norm",
    "attn.pool_k.norm_act.0": "attention.pool_key.norm",
    "attn.pool_v.norm_act.0": "attention.pool_value.norm",
    "attn.rel_pos_t": "attention.position.tables.0",
    "attn.rel_pos_h": "attention.position.tables.1",
    "attn.rel_pos_w": "attention.position.tables.2",
    "mlp.0": "mlp.0",
    "mlp.3": "mlp.2",
    "project": "widen",
    "norm1": "norm1",
    "norm2": "norm2",
}


def from_torchvision(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's ``mvit_v2_s`` state dict under our names, shapes as they are.

    The classification head is left out.

    Raises:
        UserError: the names are not those of torchvision's MViTv2.
    """
    renamed: dict[str, Tensor] = {}
    for name, value in weights.items():
        if name.startswith("head."):
            continue
        if name.startswith("conv_proj."):
            renamed[name.replace("conv_proj", "embedding")] = value
        elif name == "pos_encoding.class_token":
            renamed["class_tokens"] = value[None]
        elif name.startswith("norm."):
            renamed[name] = value
        elif name.startswith("blocks."):
            _, index, inner = name.split(".", 2)
            if inner.startswith("attn.qkv."):
                end = inner.rsplit(".", 1)[1]
                for part, third in zip(("query", "key", "value"), value.chunk(3), strict=True):
                    renamed[f"blocks.{index}.attention.{part}.{end}"] = third
                continue
            stem, _, end = inner.rpartition(".")
            ours = _TORCHVISION_NAMES.get(inner) or _TORCHVISION_NAMES.get(stem)
            if ours is None:
                raise UserError(f"{name} is no weight of torchvision's mvit_v2_s")
            renamed[f"blocks.{index}.{ours}{'' if inner in _TORCHVISION_NAMES else '.' + end}"] = (
                value
            )
        else:
            raise UserError(f"{name} is no weight of torchvision's mvit_v2_s")
    return renamed


def load_torchvision(backbone: MViT, weights: Mapping[str, Tensor]) -> None:
    """Loads torchvision's ``mvit_v2_s`` weights into a backbone of the same width and depth.

    The one class token is copied into all class tokens (plus a little noise, or they would stay
    equal for ever); relative positions of another input size are interpolated, as in the paper.

    Raises:
        UserError: a weight is missing, unknown or of the wrong shape.
    """
    _load(backbone, from_torchvision(weights))


def _load(backbone: MViT, loaded: dict[str, Tensor]) -> None:
    """Loads weights under our names, as :func:`load_torchvision` says."""
    own = backbone.state_dict()
    # Weights that never reach a class token: the query pooling and positions of the last block.
    last = f"blocks.{len(backbone.blocks) - 1}.attention."
    dead = (f"{last}pool_query.weight", f"{last}position.")
    loaded = {name: value for name, value in loaded.items() if not name.startswith(dead)}
    for name, value in loaded.items():
        if name not in own:
            raise UserError(f"weight {name} has no place in this model; is model_depth the same?")
        if ".position.tables." in name and value.shape[0] != own[name].shape[0]:
            loaded[name] = F.interpolate(value.T[None], size=own[name].shape[0], mode="linear")[0].T
        if name == "class_tokens" and len(own[name]) > 1:
            loaded[name] = value + 0.02 * torch.randn_like(own[name])
        if loaded[name].shape != own[name].shape:
            raise UserError(
                f"weight {name} has shape {tuple(value.shape)}, the model {tuple(own[name].shape)};"
                " is model_width the same?"
            )
    missing = [name for name in own if name not in loaded]
    if missing:
        raise UserError(f"{len(missing)} weights are missing, the first is {missing[0]}")
    backbone.load_state_dict(loaded)


def load_pretrained(backbone: MViT, path: Path) -> None:
    """Loads a file of MViTv2 weights of torchvision or PySlowFast into the backbone.

    Raises:
        UserError: the file is missing, or not such weights.
    """
    weights = read_weights(path)
    if "patch_embed.proj.weight" in weights:
        _load(backbone, mvit_names(weights))
    else:
        load_torchvision(backbone, weights)
