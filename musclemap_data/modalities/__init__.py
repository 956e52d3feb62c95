"""The modalities of a clip, all made from the same decoded frames: one file, one entry each."""

from __future__ import annotations

from musclemap_data.modalities.flow import FLOW
from musclemap_data.modalities.modality import Modality, Pictures
from musclemap_data.modalities.rgb import RGB
from musclemap_data.modalities.rgb_diff import RGB_DIFF
from musclemap_data.modalities.skeleton import SKELETON

MODALITIES: dict[str, Modality] = {
    "rgb": RGB,
    "rgb-diff": RGB_DIFF,
    "flow": FLOW,
    "skeleton": SKELETON,
}
"""By name, in the order of their columns."""


def modality_of(key: str) -> Modality:
    """The modality of a column or of a part of a batch (``rgb_diff``).

    Raises:
        ValueError: there is none.
    """
    for modality in MODALITIES.values():
        if modality.key == key:
            return modality
    known = ", ".join(modality.key for modality in MODALITIES.values())
    raise ValueError(f"modality is {key!r}; it must be one of {known}")


def pictures() -> dict[str, Pictures]:
    """Key -> content, of the modalities that are pictures."""
    return {
        each.key: each.content for each in MODALITIES.values() if isinstance(each.content, Pictures)
    }
