"""What all video models share: which modality of the batch they read."""

from benchmark.settings import Settings
from musclemap_data.errors import UserError
from musclemap_data.modalities import MODALITIES
from musclemap_data.modalities.modality import Pictures


def video_input(settings: Settings) -> tuple[str, int]:
    """Key of the batch and channels of the input: RGB unless ``settings.modality`` says otherwise.

    Raises:
        UserError: there is no such modality, or it is no picture.
    """
    modality = MODALITIES.get(settings.modality)
    if modality is None or not isinstance(modality.content, Pictures):
        known = [name for name, each in MODALITIES.items() if isinstance(each.content, Pictures)]
        raise UserError(f"modality is {settings.modality!r}; video models read {', '.join(known)}")
    return modality.key, modality.content.channels
