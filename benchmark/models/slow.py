"""Slow: the slow pathway of SlowFast alone (Feichtenhofer et al., ICCV 2019).

Frames meet only in the last two stages.
"""

from benchmark.models.resnet3d import ResNet3D, stage_blocks, stem_width
from benchmark.models.video import video_input
from benchmark.models.weights import start_from
from benchmark.settings import Settings

# Kernels along time: stem, then the pattern of each stage.
TEMPORAL_KERNELS = (1, (1,), (1,), (3,), (3,))


def slow(settings: Settings) -> ResNet3D:
    """Slow on `settings.frames` frames; ResNet-50 in preset base, narrower and shallower below."""
    modality, channels = video_input(settings)
    model = ResNet3D(
        TEMPORAL_KERNELS,
        pool_after_first=False,
        width=stem_width(settings),
        blocks=stage_blocks(settings),
        in_channels=channels,
        dropout=settings.dropout,
        modality=modality,
    )
    start_from(model, settings)
    return model
