"""Every setting that decides what is in a row: how a clip is cut, how its modalities are made.

They lie here and not in ``extract/``, because modalities read them and know nothing of extraction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from musclemap_data.errors import UserError

CUT_VERSION = 2
"""Rises when the same settings give other frames, so that older rows are made again."""


@dataclass(frozen=True)
class CutSettings:
    """How a clip is cut out of its video.

    Attributes:
        short_side: the shorter side of the frames, pixels; smaller videos are never enlarged.
        max_fps: frames a second; slower videos keep their own rate, faster ones are thinned evenly.
        crf: constant rate factor of x264 (18 is visually lossless).
        version: of the way of cutting.
    """

    short_side: int = 256
    max_fps: int = 30
    crf: int = 18
    version: int = field(default=CUT_VERSION, init=False)


@dataclass(frozen=True)
class ExtractionSettings:
    """What decides the content of a row; recorded in every row as its provenance.

    Attributes:
        cut: size, rate and quality of the cut that all modalities start from.
        jpeg_quality: of the stored frames, 1 to 100.
        flow_schedule: a name in ``tvl1.SCHEDULES``.
        flow_bound_px: flow is stored as uint8 over [-bound, bound], pixels a frame.
        flow_device: where torch computes the flow, such as "cuda"; None: numba, on the processor.
            The flow is the same but for rounding, so it decides not whether a row is made again.
            Where it is torch, the row's provenance says so under "engines".
        pose: a name in ``pose.BACKENDS``.
        pose_options: keyword arguments of that backend; hashable values.
        require_person: the share of a clip's frames, in (0, 1], that must show a person; a clip
            with fewer fails. None: a clip without a person is built all the same. It decides which
            clips are built and not what is in them, so it is not part of the provenance.
        min_skeleton_quality: a clip whose skeleton is of a lower quality, in [0, 1], fails. None:
            it is built all the same. As ``require_person``, not part of the provenance.
        blur_faces: pictures, and what is made from them, show no faces (see ``pose.faces``); the
            skeleton is made before.
    """

    cut: CutSettings = field(default_factory=CutSettings)
    jpeg_quality: int = 90
    flow_schedule: str = "default"
    flow_bound_px: float = 20.0
    flow_device: str | None = None
    pose: str = "blazepose"
    pose_options: Mapping[str, Any] = field(default_factory=dict)
    require_person: float | None = None
    min_skeleton_quality: float | None = None
    blur_faces: bool = False

    def __post_init__(self) -> None:
        if self.require_person is not None and not 0 < self.require_person <= 1:
            raise UserError(
                f"--require-person is {self.require_person}; it is a share of frames over 0 and "
                "up to 1, such as 0.5"
            )
        if self.min_skeleton_quality is not None and not 0 <= self.min_skeleton_quality <= 1:
            raise UserError(
                f"--min-skeleton-quality is {self.min_skeleton_quality}; it is a quality from 0 to "
                "1, such as 0.4"
            )
