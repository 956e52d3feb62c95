"""A video of your own to rows of a small data set: one row for each window that slides over it.

Each window is cut and extracted as a clip of the benchmark is (``clip_job``), so a model reads of
it exactly what it read in training. Windows have no labels: their activity is ``unknown`` and none
of their regions is marked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from musclemap_data.errors import Failure, FailureClass, StageError, UserError
from musclemap_data.extract.clip import describe_modalities, make_job
from musclemap_data.extract.cut import cut_clip
from musclemap_data.extract.engines import run_jobs
from musclemap_data.extract.source import frame_times, probe
from musclemap_data.extract.staging import read_staged
from musclemap_data.files import file_sha256
from musclemap_data.modalities.settings import ExtractionSettings
from musclemap_data.modalities.skeleton import stored_skeleton
from musclemap_data.pose.quality import SEVERAL_PEOPLE, quality_doubts
from musclemap_data.rows import REGION_COUNT
from musclemap_data.shards import Shard, shard_path, write_shard
from musclemap_data.skeleton import person_share

SPLIT = "test_known"
"""The split in whose shard the windows are; a shard must have one."""
ACTIVITY = "unknown"
FEWEST_PERSON_SHARE = 0.1
"""A video in which fewer frames show a person is refused."""
WINDOWS_WITHOUT_COPY = 10
NEARLY_LOSSLESS_CRF = 8

_WHAT_TO_DO = {
    FailureClass.NOT_A_VIDEO: "Give the path of a video, such as an MP4 from a phone.",
    FailureClass.DECODE: "The file is damaged or not a video. Copy it anew, or convert it to MP4.",
    FailureClass.DISK: "Make room or give permission, then run the command again.",
    FailureClass.TOO_LONG: "Give shorter windows with --window-s.",
}


@dataclass(frozen=True)
class Video:
    """What is known of a video before anything is computed.

    Attributes:
        path: the file.
        begin_s: when its picture begins, seconds from the start of the file (sound may be earlier).
        seconds: from its first frame to the end of its last one.
        fps: average frame rate, frames a second.
        width: pixels, as stored (before rotation).
        height: pixels, as stored (before rotation).
        sha256: of the file.
    """

    path: Path
    begin_s: float
    seconds: float
    fps: float
    width: int
    height: int
    sha256: str

    def facts(self, found: WindowedVideo) -> dict[str, object]:
        """For a report, ready for JSON; width and height as the windows show them, upright."""
        turned = (found.width < found.height) != (self.width < self.height)
        width, height = (self.height, self.width) if turned else (self.width, self.height)
        return {
            "file": self.path.name,
            "sha256": self.sha256,
            "seconds": round(self.seconds, 3),
            "fps": round(self.fps, 3),
            "width": width,
            "height": height,
            "person_share": round(found.person_share, 4),
            "skeleton_quality": round(found.skeleton_quality, 4),
            "skeleton_notes": found.skeleton_notes,
            "skeleton_doubts": quality_doubts(found.skeleton_quality, found.skeleton_notes),
            "several_people": SEVERAL_PEOPLE in found.skeleton_notes,
        }


@dataclass(frozen=True)
class WindowedVideo:
    """What :func:`extract_windows` made.

    Attributes:
        windows: (start_s, end_s) of each row of the shard, in order; seconds of the video.
        fps: frames a second of the windows.
        height, width: of their frames, upright, pixels.
        skeletons: of each window, ``float32 [T, M, 17, 3]`` (x, y in pixels, score).
        person_shares: of each window, the share of its frames in which a person was found.
        qualities: of each window's skeleton: its quality and what makes it less.
        failed: windows that could not be extracted: ``"1.50-4.50 s"`` -> failure.
    """

    windows: list[tuple[float, float]]
    fps: float
    height: int
    width: int
    skeletons: list[npt.NDArray[np.float32]]
    person_shares: list[float]
    qualities: list[tuple[float, list[str]]]
    failed: dict[str, Failure]

    @property
    def person_share(self) -> float:
        """Of all frames of all windows."""
        weights = [len(skeleton) for skeleton in self.skeletons]
        return float(np.average(self.person_shares, weights=weights))

    @property
    def skeleton_quality(self) -> float:
        """Of the windows' skeletons, in the mean."""
        return float(np.mean([quality for quality, _ in self.qualities]))

    @property
    def skeleton_notes(self) -> list[str]:
        """What makes the skeletons less in a third of the windows or more, the most usual first."""
        counts = Counter(note for _, notes in self.qualities for note in notes)
        return [note for note, count in counts.most_common() if 3 * count >= len(self.qualities)]


def read_video(path: Path) -> Video:
    """Check that a file is a video and read how long it is, without decoding it whole.

    Raises:
        UserError: there is no such file, or it is not a video: what it is instead, and what to do.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"there is no file {path}. Give the path of a video.")
    if not path.is_file():
        raise UserError(f"{path} is not a file. Give the path of one video.")
    try:
        source = probe(path, stage="open")
        shown_s = frame_times(source).seconds
    except StageError as error:
        raise _user_error(path, error.failure) from error
    if len(shown_s) < 2:
        raise UserError(
            f"{path} holds a single picture, not a video. {_WHAT_TO_DO[FailureClass.NOT_A_VIDEO]}"
        )
    seconds = float(shown_s[-1] - shown_s[0] + np.median(np.diff(shown_s)))
    return Video(
        path=path,
        begin_s=float(shown_s[0]),
        seconds=seconds,
        fps=len(shown_s) / seconds,
        width=source.width,
        height=source.height,
        sha256=file_sha256(path),
    )


def plan_windows(
    seconds: float, window_s: float, step_s: float
) -> list[tuple[float, float | None]]:
    """Starts and ends of the windows over a video; None is the end of the video.

    Windows of ``window_s`` begin every ``step_s``; the last one runs to the end of the video. Where
    more than half a step would be left over for that, one more window ends with the video. A video
    shorter than a window is one window.

    Raises:
        UserError: a length that is not positive, or steps longer than a window (a gap between).
    """
    for name, value in (("window", window_s), ("step", step_s)):
        if not 0 < value < float("inf"):
            raise UserError(f"the {name} is {value:g} s; it must be more than 0")
    if step_s > window_s:
        raise UserError(
            f"the step ({step_s:g} s) is longer than the window ({window_s:g} s), so parts of the "
            "video would not be seen; give a step of at most the window"
        )
    if seconds <= window_s:
        return [(0.0, None)]
    count = int((seconds - window_s) / step_s + 1e-9) + 1
    windows: list[tuple[float, float | None]] = [
        (round(n * step_s, 6), round(n * step_s + window_s, 6)) for n in range(count)
    ]
    if seconds - (count - 1) * step_s - window_s > step_s / 2:
        return [*windows, (round(seconds - window_s, 6), None)]
    return [*windows[:-1], (windows[-1][0], None)]


def _on_the_clock(
    video: Video, window_s: float, step_s: float, between_s: Sequence[float] = ()
) -> Iterator[tuple[float, float | None]]:
    """The planned windows, from where the picture begins."""
    begin_s = round(max(0.0, video.begin_s), 6)
    parts = [begin_s, *(round(each, 6) for each in between_s), begin_s + video.seconds]
    for first_s, last_s in pairwise(parts):
        for start_s, end_s in plan_windows(last_s - first_s, window_s, step_s):
            if end_s is None and last_s < parts[-1]:
                end_s = last_s - first_s
            yield start_s + first_s, None if end_s is None else end_s + first_s


def extract_windows(
    video: Video,
    data_dir: Path,
    modalities: Sequence[str],
    *,
    window_s: float,
    step_s: float,
    between_s: Sequence[float] = (),
    workers: int | None = None,
    settings: ExtractionSettings | None = None,
    on_total: Callable[[int], None] | None = None,
    on_window: Callable[[], None] | None = None,
) -> WindowedVideo:
    """Write the windows of a video as one shard of a data directory.

    Args:
        video: from :func:`read_video`.
        data_dir: an empty folder; what is written there is larger than the video.
        modalities: of ``MODALITIES``; the skeleton is always made too.
        window_s, step_s: see :func:`plan_windows`.
        between_s: seconds of the video at which a window ends and the next begins, ascending;
            windows are planned between them.
        workers: processes; one a core if not given.
        settings: how modalities are made.
        on_total: called once with the number of windows.
        on_window: called as each window ends.

    Returns:
        The windows that could be extracted, and those that could not.

    Raises:
        UserError: no window could be extracted, or hardly any frame shows a person.
    """
    settings = settings or ExtractionSettings()
    names = tuple(dict.fromkeys((*modalities, "skeleton")))
    made = describe_modalities(names, settings)
    for folder in ("clips", "work", "shards"):
        (data_dir / folder).mkdir(parents=True, exist_ok=True)
    windows = list(_on_the_clock(video, window_s, step_s, between_s))
    if on_total:
        on_total(len(windows))
    path = _to_cut_from(video, data_dir / "clips", len(windows), settings)
    jobs = [
        make_job(
            data_dir,
            {
                "clip_id": f"window_{number:05d}",
                "video_id": "video",
                "url": video.path.name,
                "activity": ACTIVITY,
                "split": SPLIT,
                "muscles": [False] * REGION_COUNT,
                "source_sha256": video.sha256,
            },
            path,
            times,
            made,
            settings,
        )
        for number, times in enumerate(windows)
    ]
    failed: dict[str, Failure] = {}
    for job, outcome in run_jobs(jobs, workers):
        Path(job.cut).unlink(missing_ok=True)
        if isinstance(outcome, Failure):
            failed[f"{job.start_s:.2f}-{job.end_s or video.begin_s + video.seconds:.2f} s"] = (
                outcome
            )
        if on_window:
            on_window()
    staged = [Path(job.staged) for job in jobs if Path(job.staged).exists()]
    if not staged:
        raise _user_error(video.path, next(iter(failed.values())))
    shard = shard_path(data_dir, SPLIT, 0)
    write_shard(shard, _staged_rows(staged))
    for path in staged:
        path.unlink()
    found = _read_back(shard, failed)
    _check_person(video.path, found)
    return found


def _to_cut_from(video: Video, folder: Path, windows: int, settings: ExtractionSettings) -> Path:
    """The file that windows are cut from: the video, or a copy with the same clock.

    In an AVI frames are counted from the first one, so each window would be decoded from the
    beginning of the file. Of many windows that takes longer than to copy the file once, nearly
    without loss, to where a seek can be trusted.
    """
    path = video.path.resolve()
    if windows <= WINDOWS_WITHOUT_COPY:
        return path
    try:
        source = probe(path, stage="cut")
        if not source.counted or source.begin_s:
            return path
        copy = folder / "whole.mp4"
        cut_clip(path, copy, 0.0, None, replace(settings.cut, crf=NEARLY_LOSSLESS_CRF))
    except StageError:  # the windows say what is wrong, each for itself
        return path
    return copy


def _staged_rows(paths: Iterable[Path]) -> Iterator[pa.Table]:
    for path in paths:
        with read_staged(path) as row:
            if row is None:
                raise UserError(f"{path} is gone or damaged: run the command again")
            yield row


def _read_back(path: Path, failed: dict[str, Failure]) -> WindowedVideo:
    columns = ["start_s", "end_s", "frames", "fps", "height", "width"]
    columns += ["skeleton", "skeleton_people", "skeleton_quality", "skeleton_notes"]
    with Shard(path) as shard:
        rows = [shard.row(index, columns) for index in range(len(shard))]
    skeletons = [stored_skeleton(row) for row in rows]
    return WindowedVideo(
        windows=[(row["start_s"], row["end_s"]) for row in rows],
        fps=rows[0]["fps"],
        height=rows[0]["height"],
        width=rows[0]["width"],
        skeletons=skeletons,
        person_shares=[person_share(skeleton) for skeleton in skeletons],
        qualities=[(row["skeleton_quality"], row["skeleton_notes"]) for row in rows],
        failed=dict(sorted(failed.items())),
    )


def _check_person(path: Path, found: WindowedVideo) -> None:
    if found.person_share < FEWEST_PERSON_SHARE:
        raise UserError(
            f"a person was found in {found.person_share:.0%} of the frames of {path}, and "
            f"{FEWEST_PERSON_SHARE:.0%} are needed. Film one person whole, from head to "
            "feet, in good light, and not from far away."
        )


def _user_error(path: Path, failure: Failure) -> UserError:
    advice = _WHAT_TO_DO.get(failure.failure_class, "Please report this message.")
    return UserError(f"{path} cannot be used: {failure.reason}. {advice}")
