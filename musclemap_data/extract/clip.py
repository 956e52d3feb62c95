"""One clip from its video to its staged row: what a worker does, on whatever machine."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from musclemap_data.errors import DISK_ERRORS, Failure, FailureClass, StageError, UserError
from musclemap_data.extract.cut import cut_clip
from musclemap_data.extract.staging import JpegSpool, write_staged
from musclemap_data.modalities import MODALITIES
from musclemap_data.modalities.flow import FLOW
from musclemap_data.modalities.flow import engine as flow_engine
from musclemap_data.modalities.modality import Maker, Modality, Pictures
from musclemap_data.modalities.settings import ExtractionSettings
from musclemap_data.modalities.skeleton import SKELETON, SkeletonMaker

FRAMES_PER_WINDOW = 320
"""Frames in memory at the same time, of clips of any length: ten seconds and a little."""


@dataclass(frozen=True)
class Extracted:
    """How the extraction of a clip went.

    Attributes:
        frames: in its row.
        clipped_share: share of flow values beyond the bound, in [0, 1].
        seconds: stage -> seconds.
        damaged_frames: frames at which the decoder complained of the video.
    """

    frames: int
    clipped_share: float
    seconds: dict[str, float]
    damaged_frames: int = 0


Outcome = Extracted | Failure


@dataclass(frozen=True)
class ClipJob:
    """One clip to extract: plain values only, so that it can go to another process."""

    clip_id: str
    video: str
    staged: str
    cut: str
    start_s: float
    end_s: float | None
    modalities: tuple[str, ...]
    settings: ExtractionSettings
    fixed: Mapping[str, Any]
    """Columns that are known before: ids, labels, source sha256."""

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.clip_id


def make_job(
    data_dir: Path,
    fixed: Mapping[str, Any],
    video: Path,
    times: tuple[float, float | None],
    made: Mapping[str, Any],
    settings: ExtractionSettings,
) -> ClipJob:
    """The job that extracts one clip into ``work/`` of a data directory.

    Args:
        data_dir: with the folders ``clips`` and ``work``.
        fixed: columns that are known before, without the provenance.
        video: the source.
        times: start and end of the clip in seconds; None is the end of the video.
        made: of all modalities that are to be extracted, from ``describe_modalities``.
        settings: how they are made.
    """
    clip_id = fixed["clip_id"]
    provenance = {"cut": describe_cut(times, settings), **made}
    return ClipJob(
        clip_id=clip_id,
        video=str(video),
        staged=str(data_dir / "work" / f"{clip_id}.arrow"),
        cut=str(data_dir / "clips" / f"{clip_id}.mp4"),
        start_s=times[0],
        end_s=times[1],
        modalities=tuple(made),
        settings=settings,
        fixed={**fixed, "provenance": json.dumps(provenance, sort_keys=True)},
    )


def describe_modalities(
    names: Iterable[str], settings: ExtractionSettings
) -> dict[str, Mapping[str, object]]:
    """Modality -> how it is made, as its row records it."""
    made = {name: MODALITIES[name].describe(settings) for name in names}
    if settings.blur_faces:
        from musclemap_data.pose import faces

        blurred = {"blur": faces.describe(), "skeleton": SKELETON.describe(settings)}
        # Through JSON, as it will come back from a shard.
        blurred = json.loads(json.dumps(blurred))
        made = {
            name: {**how, "faces": blurred} if _of_pictures(name) else how
            for name, how in made.items()
        }
    return made


def _of_pictures(name: str) -> bool:
    return isinstance(MODALITIES[name].content, Pictures)


def describe_cut(
    times: tuple[float, float | None], settings: ExtractionSettings
) -> dict[str, object]:
    """What decides the frames of a clip, as its row records it."""
    return {"start_s": times[0], "end_s": times[1], **asdict(settings.cut)}


def asked_provenance(provenance: str) -> str:
    """The provenance that a job asked for, from that of its row, which says more of the source."""
    made = json.loads(provenance)
    for said_afterwards in ("source", "engines"):
        made.pop(said_afterwards, None)
    return json.dumps(made, sort_keys=True)


@cache
def tool_versions() -> dict[str, str]:
    """What the content of a row depends on besides its settings: package -> version."""
    names = ("av", "imageio-ffmpeg", "numba", "numpy", "opencv-contrib-python-headless")
    return {name: version(name) for name in (*names, "pyarrow", "simplejpeg")}


def run_job(job: ClipJob) -> Outcome:
    """Cut, decode and extract one clip into its staged row; every failure becomes a ``Failure``.

    Raises:
        UserError: this machine is not set up for it, whatever the clip: weights are missing, say.
    """
    try:
        try:
            return _extract_clip(job)
        finally:
            if job.settings.blur_faces:  # the cut shows the faces
                Path(job.cut).unlink(missing_ok=True)
    except StageError as error:
        return error.failure
    except OSError as error:
        full = error.errno in DISK_ERRORS
        kind = FailureClass.DISK if full else FailureClass.BUG
        return Failure("extract", kind, error.strerror or str(error))
    except UserError:
        raise
    except MemoryError:
        return Failure("extract", FailureClass.BUG, "out of memory; try fewer --workers")
    except Exception as error:
        return Failure("extract", FailureClass.BUG, f"{type(error).__name__}: {error}"[:500])


def _extract_clip(job: ClipJob) -> Extracted:
    clock = _Clock()
    video, cut = Path(job.video), Path(job.cut)
    if not video.is_file():
        raise StageError("cut", FailureClass.GONE, f"{video.name} is no longer in videos/")
    made = cut_clip(video, cut, job.start_s, job.end_s, job.settings.cut)
    clock.lap("cut")
    chosen = [MODALITIES[name] for name in job.modalities]
    makers = [(modality, modality.maker(job.settings)) for modality in chosen]
    numbers = [each for each in makers if not isinstance(each[0].content, Pictures)]
    pictures = [each for each in makers if isinstance(each[0].content, Pictures)]
    faces = _Faces(job.settings, makers) if job.settings.blur_faces else None
    columns: dict[str, object] = {}
    frames = 0
    with ExitStack() as stack:
        spools = {
            modality.key: stack.enter_context(JpegSpool(Path(job.staged).parent))
            for modality in chosen
            if isinstance(modality.content, Pictures)
        }
        for window in _windows(cut):
            clock.lap("decode")
            for some in (numbers, pictures):  # skeletons are made before faces are blurred
                if faces and some is pictures:
                    faces.blur(window)
                    clock.lap("blur")
                for modality, maker in some:
                    for jpeg in maker.add(window):
                        spools[modality.key].append(jpeg)
                    clock.lap(modality.name)
            frames += len(window)
            columns["height"], columns["width"] = window.shape[1:3]
        if not frames:
            raise StageError("decode", FailureClass.DECODE, "no frame could be decoded")
        for _, maker in makers:
            columns |= maker.finish()
        provenance = json.loads(job.fixed["provenance"]) | {"source": made.facts}
        if FLOW in chosen and (engine := flow_engine(job.settings)):
            provenance["engines"] = {FLOW.name: engine}
        row = {
            **job.fixed,
            **columns,
            **{key: stack.enter_context(spool.to_arrow()) for key, spool in spools.items()},
            "provenance": json.dumps(provenance, sort_keys=True),
            "frames": frames,
            "start_s": job.start_s,
            "end_s": round(job.start_s + float(frames / made.fps), 6),
            "fps": float(made.fps),
        }
        write_staged(Path(job.staged), row)
    clock.lap("write")
    clipped = columns.get("flow_clipped_share")
    share = clipped if isinstance(clipped, float) else 0.0
    return Extracted(frames, share, clock.seconds, made.damaged_frames)


class _Faces:
    """Blurs the faces of a clip, whose skeleton one of the makers makes, or else this does."""

    def __init__(
        self, settings: ExtractionSettings, makers: Iterable[tuple[Modality, Maker]]
    ) -> None:
        from musclemap_data.pose.faces import FaceBlur

        made = [maker for _, maker in makers if isinstance(maker, SkeletonMaker)]
        self._unseen = None if made else SkeletonMaker(settings)
        self._skeletons = self._unseen or made[0]
        self._blur = FaceBlur()

    def blur(self, window: npt.NDArray[np.uint8]) -> None:
        """In place, after the skeletons of this window were made."""
        if self._unseen:
            self._unseen.add(window)
        self._blur(window, self._skeletons.latest)


def _windows(path: Path) -> Iterator[npt.NDArray[np.uint8]]:
    """The frames of a clip in pieces; the same array is used for each piece."""
    from musclemap_data.extract.decode import iterate_frames

    window: npt.NDArray[np.uint8] | None = None
    filled = 0
    for frame in iterate_frames(path):
        if window is None:
            window = np.empty((FRAMES_PER_WINDOW, *frame.shape), np.uint8)
        window[filled] = frame
        filled += 1
        if filled == FRAMES_PER_WINDOW:
            yield window
            filled = 0
    if window is not None and filled:
        yield window[:filled]


class _Clock:
    """Adds up the seconds between laps under the name of what was just done."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now
