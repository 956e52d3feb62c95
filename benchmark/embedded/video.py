"""From a video to one person's course through it, as the embedded model reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmark.embedded.model import join
from musclemap_data.extract.windows import Video, WindowedVideo, extract_windows

PIECE_S = 10.0
"""A person is followed anew in pieces of this length (seconds): they are shared out among the
processor's cores, and a long video needs no more memory than a short one."""


@dataclass(frozen=True)
class FollowedVideo:
    """A video's skeleton as one course.

    Attributes:
        pieces: the pieces in which the person was followed.
        skeleton: ``float32 [T, 17, 3]``: x, y in pixels of the pieces' frames, score.
        times_s: ``float64 [T]`` of each frame, seconds of the video.
    """

    pieces: WindowedVideo
    skeleton: npt.NDArray[np.float32]
    times_s: npt.NDArray[np.float64]


def follow(
    video: Video,
    work: Path,
    *,
    workers: int | None = None,
    on_total: Callable[[int], None] | None = None,
    on_piece: Callable[[], None] | None = None,
) -> FollowedVideo:
    """Follow the exercising person through a video, with the default pose model.

    Args:
        video: from ``read_video``.
        work: an empty folder.
        workers: processes; one a core if not given.
        on_total: called once with the number of pieces.
        on_piece: called as each piece ends.

    Raises:
        UserError: the video cannot be read, or hardly any frame shows a person.
    """
    pieces = extract_windows(
        video,
        work,
        (),
        window_s=PIECE_S,
        step_s=PIECE_S,
        workers=workers,
        on_total=on_total,
        on_window=on_piece,
    )
    skeleton, times_s = join(pieces.skeletons, [start for start, _ in pieces.windows], pieces.fps)
    return FollowedVideo(pieces, skeleton, times_s)
