"""The four modalities of a clip, computed from the same decoded frames."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from musclemap_data.errors import FailureClass, StageError
from musclemap_data.extract.staging import JpegSpool
from musclemap_data.modalities.settings import ExtractionSettings

MODALITIES = ("rgb", "rgb-diff", "flow", "skeleton")

RGB_DIFF_VERSION = 1
FRAMES_AT_ONCE = 32
"""Frames whose flow is in memory at the same time."""


def describe(name: str, settings: ExtractionSettings) -> dict[str, Any]:
    """How a modality is made: extractor, version and settings. Equal means: need not be redone."""
    jpeg = {"jpeg_quality": settings.jpeg_quality}
    if name == "rgb":
        return {"extractor": "simplejpeg", "version": version("simplejpeg"), "settings": jpeg}
    if name == "rgb-diff":
        return {"extractor": "rgb_difference", "version": RGB_DIFF_VERSION, "settings": jpeg}
    if name == "flow":
        from musclemap_data.modalities import flow

        made = flow.provenance(settings.flow_schedule, settings.flow_bound_px)
        return made | {"settings": made["settings"] | jpeg}
    if name == "skeleton":
        from musclemap_data.pose.backends import estimator

        # Through JSON, as it will come back from a shard.
        made = estimator(settings.pose, **settings.pose_options).provenance()
        return json.loads(json.dumps(made))
    raise ValueError(f"modality is {name!r}; it must be one of {', '.join(MODALITIES)}")


def extract(
    windows: Iterable[npt.NDArray[np.uint8]],
    names: Iterable[str],
    settings: ExtractionSettings,
    spools: Mapping[str, JpegSpool],
) -> tuple[dict[str, Any], dict[str, float]]:
    """Compute modalities from the frames of one clip.

    Args:
        windows: the clip's frames in order, in pieces ``uint8 [t, H, W, 3]`` RGB. Differences and
            flow run across the borders of pieces; the skeleton is followed anew in each.
        names: which of ``MODALITIES``.
        settings: see ``ExtractionSettings``.
        spools: where the pictures of ``rgb``, ``rgb-diff`` and ``flow`` go, by modality.

    Returns:
        The other shard columns of the modalities, with ``frames``, ``height`` and ``width``; and
        the seconds that each stage took.

    Raises:
        StageError: of class ``no-person``, where ``settings.require_person`` asks for more.
    """
    from musclemap_data.modalities import flow as tvl1_flow
    from musclemap_data.modalities.rgb_diff import rgb_difference
    from musclemap_data.pose.backends import compute_skeleton
    from musclemap_data.skeleton import person_share

    names = tuple(names)
    columns: dict[str, Any] = {"frames": 0}
    skeletons: list[npt.NDArray[np.float32]] = []
    clipped = 0.0
    clock = _Clock()
    previous: npt.NDArray[np.uint8] | None = None
    for window in windows:
        clock.lap("decode")
        if "skeleton" in names:
            skeletons.append(compute_skeleton(window, settings.pose, **settings.pose_options))
            clock.lap("skeleton")
        for start in range(0, len(window), FRAMES_AT_ONCE):
            frames = window[start : start + FRAMES_AT_ONCE]
            joined = frames if previous is None else np.concatenate([previous[None], frames])
            if "rgb" in names:
                for frame in frames:
                    spools["rgb"].append(_jpeg(frame, settings))
                clock.lap("rgb")
            if "rgb-diff" in names:
                for frame in rgb_difference(joined)[len(joined) - len(frames) :]:
                    spools["rgb-diff"].append(_jpeg(frame, settings))
                clock.lap("rgb-diff")
            if "flow" in names and len(joined) > 1:
                flow = tvl1_flow.compute_flow(joined, schedule=settings.flow_schedule)
                clock.lap("flow")
                clipped += tvl1_flow.clipped_share(flow, settings.flow_bound_px) * len(flow)
                for pair in flow:
                    image = tvl1_flow.to_image(pair, settings.flow_bound_px)
                    spools["flow"].append(_jpeg(image[..., None], settings))
                clock.lap("flow-encode")
            columns["frames"] += len(frames)
            previous = frames[-1].copy()
        columns["height"], columns["width"] = window.shape[1:3]
    if "flow" in names:
        columns["flow_bound_px"] = settings.flow_bound_px
        columns["flow_clipped_share"] = clipped / max(1, columns["frames"] - 1)
    if "skeleton" in names and skeletons:
        skeleton = np.concatenate(skeletons)
        share = person_share(skeleton)
        if settings.require_person is not None and share < settings.require_person:
            reason = f"{share:.0%} of its frames show a person, {settings.require_person:.0%} must"
            raise StageError("extract", FailureClass.NO_PERSON, reason)
        columns["skeleton"] = skeleton.ravel()
        columns["skeleton_people"] = skeleton.shape[1]
    return columns, clock.seconds


def _jpeg(image: npt.NDArray[np.uint8], settings: ExtractionSettings) -> bytes:
    """JPEG of ``uint8 [H, W, 3]`` (RGB, 4:2:0 like its video) or ``[H, W, 1]`` (grey)."""
    import simplejpeg

    return simplejpeg.encode_jpeg(
        np.ascontiguousarray(image),
        quality=settings.jpeg_quality,
        colorspace="RGB" if image.shape[-1] == 3 else "GRAY",
        colorsubsampling="420" if image.shape[-1] == 3 else "Gray",
        fastdct=False,
    )


class _Clock:
    """Adds up the seconds between laps under the name of what was just done."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now
