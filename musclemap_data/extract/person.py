"""From a video to the skeleton of one person, from its first frame to its last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from musclemap_data.extract.windows import Video, WindowedVideo, extract_windows
from musclemap_data.modalities.settings import CutSettings, ExtractionSettings
from musclemap_data.skeleton import JOINT_COUNT

PIECE_S = 10.0
"""A person is followed anew in pieces of this length (seconds): they are shared out among the
processor's cores, and a long video needs no more memory than a short one."""
LONG_S = 120.0
"""A video longer than this (seconds) is looked at with ``LONG_FPS``, in half of the time."""
LONG_FPS = 15
"""Frames a second of a long video; enough for repetitions and for the embedded model's 12."""


@dataclass(frozen=True)
class FollowedVideo:
    """A video's skeleton as one course.

    Attributes:
        pieces: the pieces in which the person was followed.
        skeleton: ``float32 [T, 17, 3]``: x, y in pixels of the pieces' frames, score; NaN and 0
            where nobody is seen or a piece could not be read. ``pieces.fps`` frames a second.
        times_s: ``float64 [T]`` of each frame, seconds of the video.
    """

    pieces: WindowedVideo
    skeleton: npt.NDArray[np.float32]
    times_s: npt.NDArray[np.float64]


def follow(
    video: Video,
    work: Path,
    *,
    between_s: Sequence[float] = (),
    settings: ExtractionSettings | None = None,
    workers: int | None = None,
    on_total: Callable[[int], None] | None = None,
    on_piece: Callable[[], None] | None = None,
) -> FollowedVideo:
    """Follow the exercising person through a video, with the default pose model.

    Of a video longer than ``LONG_S`` at most ``LONG_FPS`` frames a second are looked at, unless
    ``settings`` say otherwise.

    Args:
        video: from ``read_video``.
        work: an empty folder.
        between_s: seconds at which the person is followed anew, ascending: where the shot changes.
        settings: how the pieces are cut and the pose is made.
        workers: processes; one a core if not given.
        on_total: called once with the number of pieces.
        on_piece: called as each piece ends.

    Raises:
        UserError: the video cannot be read, or hardly any frame shows a person.
    """
    if settings is None and video.seconds > LONG_S:
        settings = ExtractionSettings(cut=CutSettings(max_fps=LONG_FPS))
    pieces = extract_windows(
        video,
        work,
        (),
        window_s=PIECE_S,
        step_s=PIECE_S,
        between_s=between_s,
        workers=workers,
        settings=settings,
        on_total=on_total,
        on_window=on_piece,
    )
    skeleton, times_s = join(pieces.skeletons, [start for start, _ in pieces.windows], pieces.fps)
    return FollowedVideo(pieces, skeleton, times_s)


def join(
    skeletons: Sequence[npt.NDArray[np.float32]], starts_s: Sequence[float], fps: float
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """One course from the skeletons of pieces of a video; where pieces overlap, the earlier counts.

    Args:
        skeletons: of each piece, ``float32 [T, M, 17, 3]``; the first person counts.
        starts_s: when each piece begins, ascending.
        fps: of all pieces.

    Returns:
        ``float32 [T, 17, 3]``, NaN and score 0 between pieces, and the time of each frame ``[T]``.
    """
    firsts = [round((start_s - starts_s[0]) * fps) for start_s in starts_s]
    frames = max(first + len(piece) for first, piece in zip(firsts, skeletons, strict=True))
    whole = np.full((frames, JOINT_COUNT, 3), np.nan, np.float32)
    whole[..., 2] = 0
    for first, piece in reversed(list(zip(firsts, skeletons, strict=True))):
        whole[first : first + len(piece)] = piece[:, 0]
    return whole, starts_s[0] + np.arange(frames) / fps
