"""C2D: ResNet-50 on single frames, averaged over time (Wang et al., CVPR 2018).

The only exchange along time is a pooling of frame pairs after the first stage.
"""

from functools import partial

from benchmark.models.resnet3d import ResNet3D, resnet3d
from benchmark.settings import Settings

# Kernels along time: stem, then the pattern of each stage.
TEMPORAL_KERNELS = (1, (1,), (1,), (1,), (1,))


def c2d(settings: Settings) -> ResNet3D:
    """C2D on ``settings.frames`` frames."""
    return resnet3d(settings, partial(ResNet3D, TEMPORAL_KERNELS, pool_after_first=True))
