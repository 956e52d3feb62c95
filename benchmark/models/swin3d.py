"""Video Swin Transformer (Liu et al., CVPR 2022): torchvision's own model behind our interface."""

import math
from functools import partial
from pathlib import Path

from torch import Tensor, nn
from torchvision.models.video.swin_transformer import PatchEmbed3d, SwinTransformer3d

from benchmark.models.video import video_input
from benchmark.models.weights import load_exactly, read_weights
from benchmark.settings import Settings

DEPTHS = (2, 2, 18, 2)
HEAD_WIDTH = 32
WINDOW = (8, 7, 7)
PATCH = (2, 4, 4)


class Swin3D(nn.Module):
    """torchvision's ``SwinTransformer3d`` with a dropout before its head.

    Args:
        width: channels of the first stage (96 is S, 128 is B).
        depths: blocks of each stage.
        in_channels: 3, or 2 for flow.
        classes: number of logits.
        dropout: before the head.
        drop_path: stochastic depth of the last block.
        modality: key of the batch to read.
    """

    def __init__(
        self,
        *,
        width: int = 96,
        depths: tuple[int, ...] = DEPTHS,
        in_channels: int = 3,
        classes: int = 20,
        dropout: float = 0.5,
        drop_path: float = 0.1,
        modality: str = "rgb",
    ) -> None:
        super().__init__()
        self.modalities: tuple[str, ...] = (modality,)
        heads = max(1, width // HEAD_WIDTH)
        self.network = SwinTransformer3d(
            patch_size=list(PATCH),
            embed_dim=width,
            depths=list(depths),
            num_heads=[heads * 2**index for index in range(len(depths))],
            window_size=list(WINDOW),
            stochastic_depth_prob=drop_path,
            num_classes=classes,
            patch_embed=partial(PatchEmbed3d, in_channels=in_channels),
        )
        self.network.head = nn.Sequential(nn.Dropout(dropout), self.network.head)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """The modality's ``[batch, channels, frames, h, w]`` -> logits ``[batch, classes]``."""
        logits: Tensor = self.network(batch[self.modalities[0]])
        return logits


def swin3d_s(settings: Settings) -> Swin3D:
    """Video Swin-S in preset base; narrower and shallower below."""
    return _swin3d(settings, settings.model_width)


def swin3d_b(settings: Settings) -> Swin3D:
    """Video Swin-B: a third wider than S."""
    heads = math.ceil(settings.model_width * 4 / (3 * HEAD_WIDTH))
    return _swin3d(settings, heads * HEAD_WIDTH)


def _swin3d(settings: Settings, width: int) -> Swin3D:
    modality, channels = video_input(settings)
    share = min(settings.model_depth, 16) / 16
    model = Swin3D(
        width=width,
        depths=tuple(max(1, round(count * share)) for count in DEPTHS),
        in_channels=channels,
        dropout=settings.dropout,
        drop_path=settings.drop_path,
        modality=modality,
    )
    if settings.pretrained is not None:
        load_torchvision(model, Path(settings.pretrained))
    return model


def load_torchvision(model: Swin3D, path: Path) -> None:
    """Loads torchvision's ``swin3d_s`` / ``swin3d_b`` weights, all but the head.

    Raises:
        UserError: the file is missing or does not fit.
    """
    load_exactly(model.network, read_weights(path), str(path))
