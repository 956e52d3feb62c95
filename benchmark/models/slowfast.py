"""SlowFast: a wide network on few frames and a narrow one on all (Feichtenhofer et al., ICCV 2019).

After the stem and after each stage but the last the fast features are brought to the slow frame
rate by a strided convolution along time and joined to the slow ones.
"""

import torch
from torch import Tensor, nn

from benchmark.models.resnet3d import BLOCKS, EXPANSION, ConvNorm, resnet3d, stage, stem
from benchmark.settings import Settings

ALPHA = 4  # fast frames for one slow frame (8 x 8 model of the paper)
BETA = 8  # slow channels for one fast channel
FUSION_KERNEL = 7
FUSION_RATIO = 2  # channels after a lateral connection over the fast channels
# Kernels along time: stem, then the blocks of each stage.
SLOW_STEM, SLOW_KERNELS = 1, (1, 1, 3, 3)
FAST_STEM, FAST_KERNELS = 5, (3, 3, 3, 3)


class SlowFast(nn.Module):
    """Both pathways with one linear head on their means; arguments as for ``ResNet3D``."""

    def __init__(
        self,
        *,
        width: int = 64,
        blocks: tuple[int, ...] = BLOCKS,
        in_channels: int = 3,
        classes: int = 20,
        dropout: float = 0.5,
        modality: str = "rgb",
    ) -> None:
        super().__init__()
        self.modalities: tuple[str, ...] = (modality,)
        fast_width = width // BETA
        self.slow_stem = stem(in_channels, width, SLOW_STEM)
        self.fast_stem = stem(in_channels, fast_width, FAST_STEM)
        self.slow_stages, self.fast_stages = nn.ModuleList(), nn.ModuleList()
        self.laterals = nn.ModuleList()
        slow, fast = width, fast_width
        for index in range(4):
            self.laterals.append(
                ConvNorm(fast, FUSION_RATIO * fast, (FUSION_KERNEL, 1, 1), (ALPHA, 1, 1))
            )
            stride = 1 if index == 0 else 2
            inner, fast_inner = width * 2**index, fast_width * 2**index
            self.slow_stages.append(
                stage(
                    slow + FUSION_RATIO * fast, inner, (SLOW_KERNELS[index],), blocks[index], stride
                )
            )
            self.fast_stages.append(
                stage(fast, fast_inner, (FAST_KERNELS[index],), blocks[index], stride)
            )
            slow, fast = inner * EXPANSION, fast_inner * EXPANSION
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(slow + fast, classes)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """The modality's ``[batch, channels, frames, h, w]`` -> logits ``[batch, classes]``."""
        video = batch[self.modalities[0]]
        # Frame 0, 4, 8, ...: those the strided laterals centre on.
        slow, fast = self.slow_stem(video[:, :, ::ALPHA]), self.fast_stem(video)
        for lateral, slow_stage, fast_stage in zip(
            self.laterals, self.slow_stages, self.fast_stages, strict=True
        ):
            slow = slow_stage(torch.cat([slow, lateral(fast)], 1))
            fast = fast_stage(fast)
        pooled = torch.cat([slow.mean((2, 3, 4)), fast.mean((2, 3, 4))], 1)
        logits: Tensor = self.head(self.dropout(pooled))
        return logits


def slowfast(settings: Settings) -> SlowFast:
    """SlowFast on ``settings.frames`` fast frames."""
    return resnet3d(settings, SlowFast)
