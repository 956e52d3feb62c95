"""C2D: ResNet-50 on single frames, averaged over time (Wang et al., CVPR 2018).

The only exchange along time is a pooling of frame pairs after the first stage.
"""

from benchmark.models.resnet3d import ResNet3D, stage_blocks, stem_width
from benchmark.models.video import video_input
from benchmark.models.weights import start_from
from benchmark.settings import Settings

# Kernels along time: stem, then the pattern of each stage.
TEMPORAL_KERNELS = (1, (1,), (1,), (1,), (1,))


def c2d(settings: Settings) -> ResNet3D:
    """C2D on `settings.frames` frames; ResNet-50 in preset base, narrower and shallower below."""
    modality, channels = video_input(settings)
    model = ResNet3D(
        TEMPORAL_KERNELS,
        pool_after_first=True,
        width=stem_width(settings),
        blocks=stage_blocks(settings),
        in_channels=channels,
        dropout=settings.dropout,
        modality=modality,
    )
    start_from(model, settings)
    return model
