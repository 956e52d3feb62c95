"""The 3D ResNet behind C2D, I3D, Slow and SlowFast (Feichtenhofer et al., ICCV 2019, table 1).

One bottleneck network; the baselines differ in where their kernels reach along time. Layout:
``[batch, channels, frames, height, width]``.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from benchmark.models.public import resnet_names
from benchmark.models.video import video_input
from benchmark.models.weights import load_exactly, read_weights
from benchmark.settings import Settings

EXPANSION = 4  # a bottleneck's output channels over its inner ones
BLOCKS = (3, 4, 6, 3)  # ResNet-50

Network = TypeVar("Network", bound=nn.Module)


class ConvNorm(nn.Sequential):
    """3D convolution without bias, batch norm, optionally ReLU."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: tuple[int, int, int],
        stride: tuple[int, int, int] = (1, 1, 1),
        relu: bool = True,
    ) -> None:
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        conv = nn.Conv3d(in_channels, out_channels, kernel, stride, padding, bias=False)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        layers: list[nn.Module] = [conv, nn.BatchNorm3d(out_channels)]
        super().__init__(*layers, *([nn.ReLU(inplace=True)] if relu else []))


class Bottleneck(nn.Module):
    """``t x 1 x 1``, ``1 x 3 x 3`` with the stride, ``1 x 1 x 1``, and the shortcut."""

    def __init__(
        self, in_channels: int, inner: int, out_channels: int, temporal: int, stride: int
    ) -> None:
        super().__init__()
        last = ConvNorm(inner, out_channels, (1, 1, 1), relu=False)
        nn.init.zeros_(last.get_parameter("1.weight"))  # a block starts as its shortcut
        self.branch = nn.Sequential(
            ConvNorm(in_channels, inner, (temporal, 1, 1)),
            ConvNorm(inner, inner, (1, 3, 3), (1, stride, stride)),
            last,
        )
        self.shortcut: ConvNorm | None = None
        if in_channels != out_channels or stride != 1:
            self.shortcut = ConvNorm(
                in_channels, out_channels, (1, 1, 1), (1, stride, stride), relu=False
            )

    def forward(self, video: Tensor) -> Tensor:
        """``[batch, in, frames, h, w]`` -> ``[batch, out, frames, h / stride, w / stride]``."""
        shortcut = video if self.shortcut is None else self.shortcut(video)
        return torch.relu(shortcut + self.branch(video))


def stem(in_channels: int, width: int, temporal: int) -> nn.Sequential:
    """``t x 7 x 7`` convolution and max pooling, each halving height and width."""
    return nn.Sequential(
        ConvNorm(in_channels, width, (temporal, 7, 7), (1, 2, 2)),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
    )


def stage(
    in_channels: int, inner: int, temporal: Sequence[int], blocks: int, stride: int
) -> nn.Sequential:
    """``blocks`` bottlenecks; ``temporal`` is repeated as their kernels along time."""
    layers = []
    for index in range(blocks):
        kernel = temporal[index % len(temporal)]
        layers.append(
            Bottleneck(in_channels, inner, inner * EXPANSION, kernel, stride if index == 0 else 1)
        )
        in_channels = inner * EXPANSION
    return nn.Sequential(*layers)


class ResNet3D(nn.Module):
    """One pathway with a linear head on the mean over space and time.

    Args:
        temporal: kernel along time of the stem, then for each of the four stages the pattern of
            kernels its blocks repeat.
        pool_after_first: halve the frames after the first stage.
        width: channels of the stem (64).
        blocks: bottlenecks of each stage.
        in_channels: 3, or 2 for flow.
        classes: number of logits.
        dropout: before the head.
        modality: key of the batch to read.
    """

    def __init__(
        self,
        temporal: tuple[int, Sequence[int], Sequence[int], Sequence[int], Sequence[int]],
        *,
        pool_after_first: bool,
        width: int = 64,
        blocks: Sequence[int] = BLOCKS,
        in_channels: int = 3,
        classes: int = 20,
        dropout: float = 0.5,
        modality: str = "rgb",
    ) -> None:
        super().__init__()
        self.modalities: tuple[str, ...] = (modality,)
        self.stem = stem(in_channels, width, temporal[0])
        self.stages = nn.ModuleList()
        channels = width
        for index, kernels in enumerate(temporal[1:]):
            inner = width * 2**index
            self.stages.append(
                stage(channels, inner, kernels, blocks[index], 1 if index == 0 else 2)
            )
            channels = inner * EXPANSION
        self.pool = nn.MaxPool3d((2, 1, 1), ceil_mode=True) if pool_after_first else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, classes)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """The modality's ``[batch, channels, frames, h, w]`` -> logits ``[batch, classes]``."""
        features = self.stem(batch[self.modalities[0]])
        for index, layers in enumerate(self.stages):
            features = layers(features)
            if index == 0:
                features = self.pool(features)
        logits: Tensor = self.head(self.dropout(features.mean((2, 3, 4))))
        return logits


def stem_width(settings: Settings) -> int:
    """64 for the base model width of 96, in proportion below, a multiple of 8."""
    return max(8, settings.model_width * 2 // 3 // 8 * 8)


def stage_blocks(settings: Settings) -> tuple[int, ...]:
    """ResNet-50's blocks for the base model depth of 16, in proportion below, at least one."""
    return tuple(max(1, round(count * min(settings.model_depth, 16) / 16)) for count in BLOCKS)


def resnet3d(settings: Settings, network: Callable[..., Network]) -> Network:
    """A network for these settings: ResNet-50 in preset base, narrower and shallower below.

    Args:
        settings: of the run.
        network: takes the arguments of ``ResNet3D`` from ``width`` on, by name.
    """
    modality, channels = video_input(settings)
    model = network(
        width=stem_width(settings),
        blocks=stage_blocks(settings),
        in_channels=channels,
        dropout=settings.dropout,
        modality=modality,
    )
    if settings.pretrained is not None:
        path = Path(settings.pretrained)
        two_paths = hasattr(model, "laterals")
        load_exactly(model, resnet_names(read_weights(path), two_paths), str(path))
    return model
