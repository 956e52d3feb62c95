"""What all video models share: which modality of the batch they read."""

from benchmark.settings import Settings
from musclemap_data.errors import UserError

CHANNELS = {"rgb": 3, "rgb_diff": 3, "flow": 2}


def video_input(settings: Settings) -> tuple[str, int]:
    """Key of the batch and channels of the input: RGB unless ``settings.modality`` says otherwise.

    Raises:
        UserError: the modality is no picture.
    """
    modality = str(getattr(settings, "modality", "rgb")).replace("-", "_")
    if modality not in CHANNELS:
        raise UserError(f"modality is {modality!r}; video models read {', '.join(CHANNELS)}")
    return modality, CHANNELS[modality]
