"""One video to proposals: shots, the person in each, stretches, and what a model says of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from musclemap_data.catalog import load_activities
from musclemap_data.errors import UserError
from musclemap_data.extract.person import follow
from musclemap_data.extract.windows import read_video
from musclemap_data.files import replacing
from musclemap_data.modalities.settings import CutSettings, ExtractionSettings
from musclemap_data.movement.repetitions import SCORE_SEEN
from musclemap_data.segment.proposals import Proposal, proposal_id
from musclemap_data.segment.shots import find_cuts
from musclemap_data.segment.stretches import find_stretches

MAX_FPS = 15
"""Frames a second in which the person is followed: enough for the fastest exercise, at half the
time that all frames take."""
SURE, UNLIKELY = 0.6, 0.05
"""A model contradicts the list where it gives another activity more than one, and the named one
less than the other."""

Recogniser = Callable[[npt.NDArray[np.float32], npt.NDArray[np.float64]], Mapping[str, float]]
"""A model: skeleton ``[T, 17, 3]`` and times ``[T]`` -> probability of each activity it knows. An
empty answer says that it does not know the exercise."""


@dataclass(frozen=True)
class Source:
    """A video to segment.

    Attributes:
        path: the file.
        shown: its path as the proposals give it.
        video_id: as in the manifest.
        name: of the list's row; safe as a file name.
        activity: that the list names; empty for a video of one's own.
        start_s, end_s: where the list says the exercise is; all of the video by default.
    """

    path: Path
    shown: str
    video_id: str
    name: str
    activity: str = ""
    start_s: float = 0.0
    end_s: float | None = None


def segment_video(
    source: Source,
    recognise: Recogniser | None = None,
    *,
    course: Path | None = None,
    workers: int | None = None,
    on_total: Callable[[int], None] | None = None,
    on_piece: Callable[[], None] | None = None,
) -> list[Proposal]:
    """Propose clips of a video. A video that cannot be used is one row that says why.

    Args:
        source: the video.
        recognise: a model that says what a skeleton does; None: only the movement is looked at.
        course: where the person's skeleton through the video is kept, see ``read_course``.
        workers: processes that follow the person; one a core if not given.
        on_total, on_piece: see ``extract.person.follow``.
    """
    try:
        video = read_video(source.path)
        cuts = find_cuts(source.path)
        settings = ExtractionSettings(cut=CutSettings(max_fps=MAX_FPS))
        within = [cut for cut in cuts if 0.2 < cut - video.begin_s < video.seconds - 0.2]
        with TemporaryDirectory() as work:
            person = follow(
                video, Path(work), between_s=within, settings=settings, workers=workers,
                on_total=on_total, on_piece=on_piece,
            )  # fmt: skip
    except UserError as error:
        reason = " ".join(str(error).replace(f"{source.path}", source.shown).split())
        bounds = (source.start_s, source.end_s or source.start_s + 1.0)
        name = proposal_id(source.video_id, *bounds)
        return [Proposal(source.shown, source.video_id, name, *bounds, source.activity,
                         left_out=reason[:200])]  # fmt: skip
    if course is not None:
        write_course(course, person.skeleton, person.times_s)
    size = (person.pieces.width, person.pieces.height)
    return propose(source, person.skeleton, person.times_s, within, recognise, size)


def write_course(
    path: Path, skeleton: npt.NDArray[np.float32], times_s: npt.NDArray[np.float64]
) -> None:
    """Keep a person's course through a video, for ``read_course``; the folder is made if need be.

    Args:
        path: an ``.npz``.
        skeleton: ``float32 [T, 17, 3]`` x, y (pixels) and score.
        times_s: ``float64 [T]``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        np.savez_compressed(temporary, skeleton=skeleton, times_s=times_s)


def read_course(path: Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]] | None:
    """Skeleton ``[T, 17, 3]`` and times ``[T]`` as they were kept; None without such a file."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            return kept["skeleton"], kept["times_s"]
    except (OSError, ValueError, KeyError, BadZipFile):
        return None


def propose(
    source: Source,
    skeleton: npt.NDArray[np.float32],
    times_s: npt.NDArray[np.float64],
    cuts_s: list[float],
    recognise: Recogniser | None = None,
    size: tuple[int, int] | None = None,
) -> list[Proposal]:
    """Proposals from the course of one person's skeleton through a video.

    Args:
        source: the video.
        skeleton: ``float32 [T, 17, 3]`` x, y (pixels) and score.
        times_s: ``[T]`` of each frame, at one rate.
        cuts_s: when the shot changes, ascending.
        recognise: see ``segment_video``.
        size: width and height of the frames, pixels; None: no proposal gets a box.
    """
    fps = 1 / float(np.median(np.diff(times_s)))
    end_s = min(source.end_s or np.inf, times_s[-1] + 1 / fps)
    bounds = sorted({source.start_s, end_s, *(c for c in cuts_s if source.start_s < c < end_s)})
    # A piece of the course begins at the frame nearest to its cut.
    edges = np.searchsorted(times_s, np.array(bounds) - 0.5 / fps - 1e-6).tolist()
    shots = [(a, b) for a, b in pairwise(edges) if b > a]
    posed = bool(source.activity) and is_pose(source.activity)
    proposals = []
    for stretch in find_stretches(skeleton, fps, shots, posed=posed):
        # No clip reaches over a cut, not by a part of a frame.
        shot = bisect_right(edges, stretch.first) - 1
        start = max(float(times_s[stretch.first]), bounds[shot])
        end = min(float(times_s[stretch.stop - 1]) + 1 / fps, bounds[shot + 1])
        part = slice(stretch.first, stretch.stop)
        said: Mapping[str, float] = {}
        if recognise is not None and not stretch.left_out:
            said = recognise(skeleton[part], times_s[part])
        suggested, factor, reasons = _agreement(source.activity, said)
        proposals.append(
            Proposal(
                source.shown, source.video_id, proposal_id(source.video_id, start, end),
                start, end, source.activity, suggested,
                round(stretch.repetitions, 2), stretch.hold, stretch.confidence * factor,
                (*stretch.reasons, *reasons), stretch.left_out,
                tuple(float(times_s[b]) for b in stretch.borders if b < len(times_s)),
                () if size is None or stretch.left_out else _box(skeleton[part], size),
            )
        )  # fmt: skip
    return proposals


def _box(skeleton: npt.NDArray[np.float32], size: tuple[int, int]) -> tuple[float, ...]:
    """Where the joints are for most of the time, as shares of the picture."""
    points = skeleton[(skeleton[..., 2] >= SCORE_SEEN) & np.isfinite(skeleton[..., 0])][:, :2]
    if not len(points):
        return ()
    edges = np.percentile(points / np.array(size), [5, 95], axis=0).clip(0, 1)
    return tuple(round(float(value), 3) for value in edges.ravel())


def is_pose(slug: str) -> bool:
    """Whether an activity is a pose that is held, as its description says."""
    activity = load_activities().get(slug)
    return activity is not None and " held" in activity.description


def _agreement(named: str, said: Mapping[str, float]) -> tuple[str, float, tuple[str, ...]]:
    """What a model suggests instead, a factor of the confidence, and its reasons."""
    if not said:
        return "", 1.0, ()
    best = max(said, key=lambda slug: said[slug])
    if not named:
        return best, 1.0, (f"the model says {best} ({said[best]:.0%})",)
    if best == named:
        return "", 1.0, (f"the model agrees ({said[best]:.0%})",)
    words = (f"the model says {best} ({said[best]:.0%}), and {named} {said.get(named, 0):.0%}",)
    against = said[best] >= SURE and said.get(named, 0.0) <= UNLIKELY
    return (best, 0.7, words) if against else ("", 1.0, words)
