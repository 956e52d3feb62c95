"""What all video models share: which modality of the batch they read."""

from benchmark.settings import Settings
from musclemap_data.modalities import MODALITIES, pictures


def video_input(settings: Settings) -> tuple[str, int]:
    """Key of the batch and channels of the input that ``settings.modality`` names."""
    key = MODALITIES[settings.modality].key
    return key, pictures()[key].channels
