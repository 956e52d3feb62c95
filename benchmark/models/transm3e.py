"""TransM3E: muscle regions from video and a second stream (Peng et al., arXiv 2303.00952).

    video ----> MViTv2 blocks ----> classification tokens c_v, receiver tokens r
                    ^ MCTKD: r learns from s, block by block
    skeleton -> graph blocks -----> classification tokens c_s, sender tokens s

    logits = head(mean over tokens of MCTF(c_v, b)),  b = r, or (r + P c_s) / 2 with a skeleton

Three parts, as in the paper: multi-classification tokens (MCT, 20 of each kind, one a muscle
region), their knowledge distillation (``MCTKD``) and their fusion (``MCTF``). docs/transm3e.md sets
every formula beside its source and lists what the paper leaves open.
"""

from pathlib import Path
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.losses import TrainingOutput
from benchmark.models.ctrgcn import ChannelTopologyConv, MultiScaleBlock
from benchmark.models.graph import (
    BLOCKS,
    STREAM_CHANNELS,
    skeleton_features,
    skeleton_mask,
)
from benchmark.models.mvit import DropPath, MViT, add_branch, load_pretrained
from benchmark.models.norm import MaskedBatchNorm
from benchmark.models.weights import load_exactly, read_weights
from benchmark.settings import Settings
from musclemap_data.errors import UserError
from musclemap_data.skeleton import JOINT_COUNT

REGIONS = 20
TOKEN_HEADS = 4  # attention heads of the tokens in the skeleton stream
Distillation = Literal["dense", "sparse", "none"]


# --- MCTKD: knowledge distillation between tokens ------------------------------------------------


def token_divergence(receiver: Tensor, sender: Tensor, temperature: float) -> Tensor:
    """KL(sender || receiver) of two sets of tokens, each token a distribution over its features.

    ``sum_d p_d log(p_d / q_d)`` with ``p = softmax(sender / T)``, ``q = softmax(receiver / T)``,
    averaged over the tokens. (The authors' code takes the softmax over the tokens, and PyTorch's
    default mean over all elements, which also divides by the width.)

    Args:
        receiver: ``[batch, tokens, width]``.
        sender: ``[batch, tokens, width]``.
        temperature: T.

    Returns:
        ``[batch]``, float32, at least 0.
    """
    target = F.log_softmax(sender.float() / temperature, -1)
    learned = F.log_softmax(receiver.float() / temperature, -1)
    each = F.kl_div(learned, target, reduction="none", log_target=True)
    return each.sum(-1).mean(-1)


class MCTKD(nn.Module):
    """Distillation of sender tokens into receiver tokens, block by block.

    Where the widths differ the receiver is projected to the sender's width: the projection learns
    with the receiver to meet a target it cannot move. (Projecting the sender instead could satisfy
    the loss by mapping everything to a constant.) Equal widths are compared as they are.

    Args:
        receiver_widths: width of the receiver tokens after each block of their stream.
        sender_widths: width of the sender tokens after each block of their stream; with another
            number of blocks, block i is paired with the one at the same relative depth.
        mode: dense (every block of the receiver), sparse (the last), none.
        temperature: T.
        gradient_to_sender: let the sender move towards the receiver too; off by default.
    """

    def __init__(
        self,
        receiver_widths: list[int],
        sender_widths: list[int],
        mode: Distillation = "dense",
        temperature: float = 10.0,
        gradient_to_sender: bool = False,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.gradient_to_sender = gradient_to_sender
        last = len(receiver_widths) - 1
        receivers = {"dense": list(range(last + 1)), "sparse": [last], "none": []}
        if mode not in receivers:
            raise ValueError(f"distillation is {mode!r}; allowed: {', '.join(receivers)}")
        # The last block of one stream always meets the last block of the other.
        blocks, sender_blocks = len(receiver_widths), len(sender_widths)
        self.pairs = [
            (index, max((index + 1) * sender_blocks // blocks - 1, 0)) for index in receivers[mode]
        ]
        self.projections = nn.ModuleList()
        for index, sender_index in self.pairs:
            width, target = receiver_widths[index], sender_widths[sender_index]
            self.projections.append(nn.Identity() if width == target else nn.Linear(width, target))

    def forward(self, receivers: list[Tensor], senders: list[Tensor], present: Tensor) -> Tensor:
        """Mean divergence over batch, tokens and paired blocks: a float32 scalar.

        A clip that is left out counts as 0 in the mean. So every clip weighs the same however
        the batch is shared out among parts and processes.

        Args:
            receivers: receiver tokens after every block, ``[batch, tokens, width]``.
            senders: sender tokens after every block, ``[batch, tokens, width]``.
            present: ``[batch]``, False where the second modality is missing: that clip is left out.
        """
        weight = present.to(torch.float32)
        total = torch.zeros((), device=present.device)
        for (index, sender_index), project in zip(self.pairs, self.projections, strict=True):
            target = senders[sender_index]
            if not self.gradient_to_sender:
                target = target.detach()
            divergence = token_divergence(project(receivers[index]), target, self.temperature)
            total = total + (divergence * weight).mean()
        return total / max(len(self.pairs), 1)


# --- MCTF: fusion of two sets of tokens ----------------------------------------------------------


class CLSFusion(nn.Module):
    """Six attentions between two sets of tokens, summed for each side, joined and projected.

    ``side_a = Att(Qa, Ka, Va) + Att(Qa, Kb, Va) + Att(Qb, Ka, Va)``,
    ``side_b = Att(Qb, Kb, Vb) + Att(Qb, Ka, Vb) + Att(Qa, Kb, Vb)``,
    ``out = Linear([side_a, side_b])``, with ``Att(Q, K, V) = softmax(Q K^T / sqrt(width)) V``.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = width**-0.5
        self.qkv_a = nn.Linear(width, 3 * width)
        self.qkv_b = nn.Linear(width, 3 * width)
        self.project = nn.Linear(2 * width, width)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """``[batch, tokens, width]`` twice -> ``[batch, tokens, width]``."""
        query_a, key_a, value_a = self.qkv_a(a).chunk(3, -1)
        query_b, key_b, value_b = self.qkv_b(b).chunk(3, -1)
        a_to_a, a_to_b = self._weights(query_a, key_a), self._weights(query_a, key_b)
        b_to_a, b_to_b = self._weights(query_b, key_a), self._weights(query_b, key_b)
        side_a = (a_to_a + a_to_b + b_to_a) @ value_a  # three attentions share the values
        side_b = (b_to_b + b_to_a + a_to_b) @ value_b
        fused: Tensor = self.project(torch.cat([side_a, side_b], -1))
        return fused

    def _weights(self, query: Tensor, key: Tensor) -> Tensor:
        weights: Tensor = (query @ key.transpose(-1, -2) * self.scale).softmax(-1)
        return weights


class MCTF(nn.Module):
    """Fusion block: ``m = (a + b) / 2 + CLSFusion(LN(a), LN(b))``, ``out = m + MLP(LN(m))``.

    Both additions under stochastic depth.
    """

    def __init__(self, width: int, drop_path: float = 0.2) -> None:
        super().__init__()
        self.norm_a = nn.LayerNorm(width)
        self.norm_b = nn.LayerNorm(width)
        self.fusion = CLSFusion(width)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.drop_path = DropPath(drop_path)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """``[batch, tokens, width]`` twice -> ``[batch, tokens, width]``."""
        fused = self.fusion(self.norm_a(a), self.norm_b(b))
        mixed = add_branch((a + b) / 2, fused, self.drop_path.scale(a))
        return add_branch(mixed, self.mlp(self.norm(mixed)), self.drop_path.scale(a))


# --- the streams ---------------------------------------------------------------------------------


class StreamOutput(NamedTuple):
    """What a stream hands on.

    Attributes:
        classification: final classification tokens, normalised, ``[batch, tokens, width]``.
        distillation: final distillation tokens (senders or receivers), likewise.
        states: distillation tokens after every block, before the final norm.
        present: ``[batch]``, False where the stream had no input for a clip.
    """

    classification: Tensor
    distillation: Tensor
    states: list[Tensor]
    present: Tensor


class VideoStream(nn.Module):
    """MViTv2 with classification and distillation tokens.

    Args:
        backbone: with ``2 * tokens`` class tokens, or ``tokens`` when the same serve as both.
        tokens: tokens of a kind.
        modality: key of the batch to read.
    """

    def __init__(self, backbone: MViT, tokens: int, modality: str) -> None:
        super().__init__()
        self.backbone = backbone
        self.tokens = tokens
        self.modality = modality
        self.widths = [shape.out_channels for shape in backbone.shapes]

    def forward(self, batch: dict[str, Tensor]) -> StreamOutput:
        """``batch[modality]`` ``[batch, 3, frames, height, width]``."""
        tokens, patches = self.backbone.embed(batch[self.modality])
        states = []
        for index in range(len(self.backbone.blocks)):
            tokens, patches = self.backbone.run_block(index, tokens, patches)
            states.append(tokens[:, -self.tokens :])
        tokens = self.backbone.norm(tokens)
        present = torch.ones(len(tokens), dtype=torch.bool, device=tokens.device)
        return StreamOutput(tokens[:, : self.tokens], tokens[:, -self.tokens :], states, present)


class TokenGraphBlock(nn.Module):
    """A CTR-GCN block that carries tokens: they attend to all joints of all frames and people.

    Absent joints are masked out of the attention. The tokens also attend to each other, so they
    stay defined in a clip where nobody was found.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, residual: bool) -> None:
        super().__init__()
        self.graph = MultiScaleBlock(
            ChannelTopologyConv, in_channels, out_channels, stride, residual
        )
        self.widen: nn.Module = nn.Identity()
        if residual and in_channels != out_channels:
            self.widen = nn.Linear(in_channels, out_channels)
        self.joint_position = nn.Parameter(torch.zeros(JOINT_COUNT, out_channels))
        self.norm_tokens = nn.LayerNorm(out_channels)
        self.norm_joints = nn.LayerNorm(out_channels)
        self.query = nn.Linear(out_channels, out_channels)
        self.key_value = nn.Linear(out_channels, 2 * out_channels)
        self.project = nn.Linear(out_channels, out_channels)
        self.norm = nn.LayerNorm(out_channels)
        self.mlp = nn.Sequential(
            nn.Linear(out_channels, 2 * out_channels),
            nn.GELU(),
            nn.Linear(2 * out_channels, out_channels),
        )

    def forward(
        self, tokens: Tensor, features: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens ``[batch, K, in]`` and joints ``[batch * M, in, frames, 17]`` with their mask."""
        features, mask = self.graph(features, mask)
        tokens = self.widen(tokens)
        batch_size = len(tokens)

        joints = features.permute(0, 2, 3, 1) + self.joint_position
        joints = joints.reshape(batch_size, -1, joints.shape[-1])  # [batch, M * frames * 17, out]
        seen = mask.reshape(batch_size, -1) > 0

        normed = self.norm_tokens(tokens)
        keys = torch.cat([normed, self.norm_joints(joints)], 1)
        attended = torch.cat([seen.new_ones(tokens.shape[:2]), seen], 1)
        query = self._heads(self.query(normed))
        key, value = map(self._heads, self.key_value(keys).chunk(2, -1))
        out = F.scaled_dot_product_attention(query, key, value, attended[:, None, None])
        tokens = tokens + self.project(out.transpose(1, 2).flatten(2))
        tokens = tokens + self.mlp(self.norm(tokens))
        return tokens, features, mask

    @staticmethod
    def _heads(features: Tensor) -> Tensor:
        """``[batch, length, channels]`` -> ``[batch, heads, length, channels / heads]``."""
        heads: Tensor = features.unflatten(-1, (TOKEN_HEADS, -1))
        return heads.transpose(1, 2)


class SkeletonStream(nn.Module):
    """CTR-GCN's ten blocks with 20 classification and 20 distillation tokens (paper, Fig. 4).

    Args:
        width: channels of the first block, a multiple of 4.
        tokens: tokens of a kind.
        streams: input features, see ``benchmark.models.graph.skeleton_features``.
    """

    def __init__(
        self, width: int, tokens: int = REGIONS, streams: tuple[str, ...] = ("joint", "bone")
    ) -> None:
        super().__init__()
        self.tokens = tokens
        self.streams = streams
        self.class_tokens = nn.Parameter(torch.empty(2 * tokens, width))
        nn.init.trunc_normal_(self.class_tokens, std=0.02)
        in_channels = sum(STREAM_CHANNELS[stream] for stream in streams)
        self.input_norm = MaskedBatchNorm(in_channels)
        self.blocks = nn.ModuleList()
        for index, (factor, stride) in enumerate(BLOCKS):
            self.blocks.append(TokenGraphBlock(in_channels, width * factor, stride, index > 0))
            in_channels = width * factor
        self.widths = [width * factor for factor, _ in BLOCKS]
        self.norm = nn.LayerNorm(in_channels)

    def forward(self, batch: dict[str, Tensor]) -> StreamOutput:
        """``batch["skeleton"]`` ``[batch, M, frames, 17, 3]``."""
        skeleton = batch["skeleton"]
        mask = skeleton_mask(skeleton)
        present = mask.view(len(skeleton), -1).amax(1) > 0
        features = self.input_norm(skeleton_features(skeleton, self.streams), mask)
        tokens = self.class_tokens.repeat(len(skeleton), 1, 1)
        states = []
        for block in self.blocks:
            tokens, features, mask = block(tokens, features, mask)
            states.append(tokens[:, self.tokens :])
        tokens = self.norm(tokens)
        return StreamOutput(tokens[:, : self.tokens], tokens[:, self.tokens :], states, present)


class RegionHeads(nn.Module):
    """Token i speaks for region i alone: one weight vector a region.

    A head on the mean of the tokens treats them alike, so nothing keeps them apart.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(REGIONS, width))
        nn.init.trunc_normal_(self.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """``[batch, 20, width]`` -> logits ``[batch, 20]``, to be added to those of the mean."""
        return (tokens * self.weight).sum(-1)


def token_cosine(tokens: Tensor) -> Tensor:
    """Mean cosine between two different tokens of a clip: near 1 they have collapsed into one.

    Args:
        tokens: ``[batch, tokens, width]``, at least two tokens.

    Returns:
        ``[batch]``.
    """
    count = tokens.shape[1]
    total = F.normalize(tokens, dim=-1).sum(1).square().sum(-1)
    return (total - count) / (count * (count - 1))


class Teacher(nn.Module):
    """The second stream alone with its own head: trained first, or beside the video stream.

    The head reads the mean of all tokens, so that the sender tokens, too, learn the labels. With
    ``region_heads`` each pair of tokens also speaks for its own region.
    """

    def __init__(
        self,
        stream: SkeletonStream | VideoStream,
        classes: int,
        dropout: float,
        region_heads: bool = False,
    ) -> None:
        super().__init__()
        self.stream = stream
        self.modalities: tuple[str, ...] = (
            stream.modality if isinstance(stream, VideoStream) else "skeleton",
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(stream.widths[-1], classes)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.region_heads = RegionHeads(stream.widths[-1]) if region_heads else None

    def logits(self, output: StreamOutput) -> Tensor:
        """``[batch, classes]`` from the stream's final tokens."""
        tokens = (output.classification + output.distillation) / 2
        logits: Tensor = self.head(self.dropout(tokens.mean(1)))
        if self.region_heads is not None:
            logits = logits + self.region_heads(self.dropout(tokens))
        return logits

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Logits ``[batch, classes]``."""
        return self.logits(self.stream(batch))


# --- the model -----------------------------------------------------------------------------------


class TransM3E(nn.Module):
    """Video stream, second stream, MCTKD and MCTF.

    Args:
        video: the video stream.
        teacher: the second stream with its own head.
        distillation: after every block (dense), the last (sparse) or never (none).
        sender: which stream sends knowledge: the second (the paper) or the video.
        fusion: MCTF; without it the two token sets are averaged.
        freeze_teacher: the second stream neither learns nor normalises by batch statistics.
        gradient_to_sender: let MCTKD also move the sender.
        skeleton_drop: share of training clips that are fused as if the second stream had seen
            nothing, so that scoring without it is a path that training takes.
        region_heads: let token i also speak for region i, beside the head on the mean.
        temperature: MCTKD's T.
        distillation_weight: MCTKD's weight, multiplied by T^2.
        classes: number of logits.
        dropout: before the head.
        drop_path: of MCTF.
    """

    def __init__(
        self,
        video: VideoStream,
        teacher: Teacher,
        *,
        distillation: Distillation = "dense",
        sender: Literal["second", "video"] = "second",
        fusion: bool = True,
        freeze_teacher: bool = False,
        gradient_to_sender: bool = False,
        skeleton_drop: float = 0.0,
        region_heads: bool = False,
        temperature: float = 10.0,
        distillation_weight: float = 0.9,
        classes: int = REGIONS,
        dropout: float = 0.5,
        drop_path: float = 0.2,
    ) -> None:
        super().__init__()
        if sender not in ("second", "video"):
            raise ValueError(f"sender is {sender!r}; allowed: second, video")
        if sender == "video" and freeze_teacher:
            raise ValueError("the second stream cannot receive knowledge while it is frozen")
        self.modalities: tuple[str, ...] = (video.modality, *teacher.modalities)
        self.video = video
        self.teacher = teacher
        self.sender = sender
        self.skeleton_drop = skeleton_drop
        self.freeze_teacher = freeze_teacher
        self.weight = distillation_weight * temperature**2
        widths = (video.widths, teacher.stream.widths)
        receiver_widths, sender_widths = widths if sender == "second" else widths[::-1]
        self.mctkd = MCTKD(
            receiver_widths, sender_widths, distillation, temperature, gradient_to_sender
        )
        width = video.widths[-1]
        # A skeleton joins the fusion; the early code's second video only teaches.
        self.teacher_fuses = isinstance(teacher.stream, SkeletonStream)
        if self.teacher_fuses:
            self.match_width = nn.Linear(teacher.stream.widths[-1], width)
        self.mctf = MCTF(width, drop_path) if fusion else None
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.region_heads = RegionHeads(width) if region_heads else None
        if freeze_teacher:
            teacher.requires_grad_(False)
            teacher.eval()

    def train(self, mode: bool = True) -> "TransM3E":
        """As usual, but a frozen teacher stays in evaluation mode."""
        super().train(mode)
        if self.freeze_teacher:
            self.teacher.eval()
        return self

    def forward(self, batch: dict[str, Tensor]) -> Tensor | TrainingOutput:
        """Logits ``[batch, classes]``; in training mode a ``TrainingOutput``.

        In evaluation the second modality may be missing from the batch, or from some clips (no
        joint with a score): those clips are scored from the video alone.
        """
        tokens, video, second = self.fuse(batch)
        logits: Tensor = self.head(self.dropout(tokens.mean(1)))
        if self.region_heads is not None:
            logits = logits + self.region_heads(self.dropout(tokens))
        if not self.training:
            return logits

        assert second is not None  # noqa: S101  (training always runs the second stream)
        states = (video.states, second.states)
        receivers, senders = states if self.sender == "second" else states[::-1]
        divergence = self.mctkd(receivers, senders, second.present)
        second_logits = None if self.freeze_teacher else self.teacher.logits(second)
        return TrainingOutput(logits, self.weight * divergence, second_logits)

    def fuse(self, batch: dict[str, Tensor]) -> tuple[Tensor, StreamOutput, StreamOutput | None]:
        """The fused tokens ``[batch, tokens, width]``, and what both streams gave."""
        video: StreamOutput = self.video(batch)
        second = self._second(batch)
        other = video.distillation
        if self.teacher_fuses and second is not None:
            matched = self.match_width(second.classification)
            here = second.present
            if self.training and self.skeleton_drop > 0:
                here = here & (torch.rand(here.shape, device=here.device) >= self.skeleton_drop)
            other = torch.where(here[:, None, None], (other + matched) / 2, other)
        return self._fuse(video.classification, other), video, second

    def _second(self, batch: dict[str, Tensor]) -> StreamOutput | None:
        """The second stream's output, or None where it has nothing to say."""
        if self.training:
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze_teacher):
                output: StreamOutput = self.teacher.stream(batch)
            return output
        if not self.teacher_fuses or self.teacher.modalities[0] not in batch:
            return None
        output = self.teacher.stream(batch)
        return output

    def _fuse(self, a: Tensor, b: Tensor) -> Tensor:
        return (a + b) / 2 if self.mctf is None else self.mctf(a, b)


def teacher_is_frozen(settings: Settings) -> bool:
    """Whether the second stream stays as it is: as set, else as the authors' code of the variant.

    In the early code (``variant="rgb-diff"``) it is frozen; the paper's skeleton stream learns.

    Raises:
        UserError: it would be frozen, and is to receive knowledge.
    """
    frozen = settings.freeze_teacher
    if frozen is None:
        frozen = settings.variant == "rgb-diff"
    if frozen and settings.sender == "video":
        raise UserError(
            "sender is video, but the second stream is frozen and cannot receive: set "
            "freeze_teacher=false, or sender=second"
        )
    return frozen


def transm3e_teacher(settings: Settings) -> Teacher:
    """The second stream of ``transm3e(settings)``, to be trained first.

    Load it with ``load_teacher``.
    """
    tokens = _tokens(settings)
    stream: SkeletonStream | VideoStream
    if settings.variant == "skeleton":
        stream = SkeletonStream(settings.joint_channels, tokens)
    else:
        # One set of tokens, both classifying and sending, as in the authors' early code.
        stream = VideoStream(_backbone(settings, tokens), tokens, "rgb_diff")
    return Teacher(stream, REGIONS, settings.dropout, settings.region_heads)


def load_teacher(model: TransM3E, path: Path) -> None:
    """Puts the weights of a trained ``transm3e_teacher`` in the place of the second stream.

    Raises:
        UserError: the file is missing, or is not of this stream at this size.
    """
    load_exactly(model.teacher, read_weights(path), str(path))


def transm3e(settings: Settings) -> TransM3E:
    """TransM3E-S; ``settings.model_depth`` 24 makes it TransM3E-B.

    Raises:
        UserError: as ``teacher_is_frozen``, or ``settings.pretrained`` does not fit.
    """
    tokens = _tokens(settings)
    return TransM3E(
        VideoStream(_backbone(settings, 2 * tokens), tokens, "rgb"),
        transm3e_teacher(settings),
        distillation=settings.distillation,
        sender=settings.sender,
        fusion=settings.fusion,
        freeze_teacher=teacher_is_frozen(settings),
        gradient_to_sender=settings.gradient_to_sender,
        skeleton_drop=settings.skeleton_drop,
        region_heads=settings.region_heads,
        temperature=settings.temperature,
        distillation_weight=settings.distillation_weight,
        dropout=settings.dropout,
        drop_path=settings.drop_path,
    )


def _tokens(settings: Settings) -> int:
    """Tokens of a kind: one a region, or a single one where MCT is ablated.

    Raises:
        UserError: a head a region without a token a region.
    """
    if settings.region_heads and not settings.multi_token:
        raise UserError("region_heads needs a token a region: leave multi_token=false out")
    return REGIONS if settings.multi_token else 1


def _backbone(settings: Settings, tokens: int) -> MViT:
    backbone = MViT(
        frames=settings.frames,
        crop_size=settings.crop_size,
        width=settings.model_width,
        depth=settings.model_depth,
        tokens=tokens,
        drop_path=settings.drop_path,
        checkpointing=settings.checkpointing,
    )
    if settings.pretrained is not None:
        load_pretrained(backbone, Path(settings.pretrained))
    return backbone
