"""Slow: the slow pathway of SlowFast alone (Feichtenhofer et al., ICCV 2019).

Frames meet only in the last two stages.
"""

from functools import partial

from benchmark.models.resnet3d import ResNet3D, resnet3d
from benchmark.settings import Settings

# Kernels along time: stem, then the pattern of each stage.
TEMPORAL_KERNELS = (1, (1,), (1,), (3,), (3,))


def slow(settings: Settings) -> ResNet3D:
    """Slow on ``settings.frames`` frames."""
    return resnet3d(settings, partial(ResNet3D, TEMPORAL_KERNELS, pool_after_first=False))
