"""I3D: ResNet-50 inflated along time in every other block (Carreira, Zisserman, CVPR 2017;
in the ResNet form of Wang et al., CVPR 2018).
"""

from benchmark.models.resnet3d import ResNet3D, stage_blocks, stem_width
from benchmark.models.video import video_input
from benchmark.models.weights import start_from
from benchmark.settings import Settings

# Kernels along time: stem, then the pattern of each stage.
TEMPORAL_KERNELS = (5, (3,), (3, 1), (3, 1), (1, 3))


def i3d(settings: Settings) -> ResNet3D:
    """I3D on `settings.frames` frames; ResNet-50 in preset base, narrower and shallower below."""
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
