"""I3D: ResNet-50 inflated along time in every other block (Carreira, Zisserman, CVPR 2017;
in the ResNet form of Wang et al., CVPR 2018).
"""

from functools import partial

from benchmark.models.resnet3d import ResNet3D, resnet3d
from benchmark.settings import Settings

# Kernels along time: stem, then the pattern of each stage.
TEMPORAL_KERNELS = (5, (3,), (3, 1), (3, 1), (1, 3))


def i3d(settings: Settings) -> ResNet3D:
    """I3D on ``settings.frames`` frames."""
    return resnet3d(settings, partial(ResNet3D, TEMPORAL_KERNELS, pool_after_first=True))
