"""The colours of the drawn pictures; the red of a region tells its value."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
"""``[H, W, 3]``, RGB."""

BODY_COLOUR = "#f6f3ef"
BODY_EDGE = "#8d867f"
INACTIVE_COLOUR = "#dcd9d5"
EDGE = "#ffffff"
ACTIVE_EDGE = "#4a120c"
TEXT = "#2b2724"


def region_colour(value: float) -> str:
    """``#rrggbb`` of a value in [0, 1]: grey at 0, then one hue of red that darkens evenly.

    Lightness falls from 0.90 to 0.40 in OKLab (Ottosson 2020), so the order of values survives
    grey print and every kind of colour blindness.
    """
    if value <= 0:
        return INACTIVE_COLOUR
    value = min(value, 1.0)
    lightness = 0.90 - 0.50 * value
    # Strongest in the middle: at the ends sRGB has less room and would clip.
    chroma = 0.02 + 0.15 * math.sin(math.pi / 2 * min(1.0, value * 1.4)) - 0.035 * value
    hue = math.radians(31)
    return _oklab_hex(lightness, chroma * math.cos(hue), chroma * math.sin(hue))


def _oklab_hex(lightness: float, a: float, b: float) -> str:
    """OKLab to sRGB; matrices of Ottosson, "A perceptual color space for image processing"."""
    l_, m_, s_ = (
        (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3,
        (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3,
        (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3,
    )
    linear = (
        4.0767416621 * l_ - 3.3077115913 * m_ + 0.2309699292 * s_,
        -1.2684380046 * l_ + 2.6097574011 * m_ - 0.3413193965 * s_,
        -0.0041960863 * l_ - 0.7034186147 * m_ + 1.7076147010 * s_,
    )
    channels = []
    for value in linear:
        value = min(1.0, max(0.0, value))
        encoded = 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055
        channels.append(round(encoded * 255))
    return "#{:02x}{:02x}{:02x}".format(*channels)


def rgb(colour: str) -> tuple[int, int, int]:
    """``#rrggbb`` as three numbers of 0 to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
