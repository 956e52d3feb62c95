"""The movement in a video: its skeleton, its measures, and the files and page that tell of them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from musclemap_data.extract import windows
from musclemap_data.files import working_folder, write_text
from musclemap_data.movement import page, series
from musclemap_data.movement.session import Session, measure_session
from musclemap_data.skeleton import JOINTS

PART_S = 10.0
"""Seconds of video whose skeleton is computed at a time."""


def skeleton_of_video(
    path: Path,
    *,
    workers: int | None = None,
    on_total: Callable[[int], None] | None = None,
    on_part: Callable[[], None] | None = None,
) -> tuple[npt.NDArray[np.float32], float]:
    """The skeleton of the person in a video, whole.

    Args:
        path: a video of one person.
        workers: processes; one a core if not given.
        on_total: called once with the number of parts.
        on_part: called as each part ends.

    Returns:
        ``float32 [T, 17, 3]`` (x, y in pixels of a picture whose short side is 256, and score; NaN
        and 0 where nobody is seen or a part could not be read), and frames a second.

    Raises:
        UserError: not a video, or hardly any frame shows a person.
    """
    video = windows.read_video(path)
    part_s = min(PART_S, video.seconds)
    with tempfile.TemporaryDirectory(prefix="musclemap-") as folder:
        found = windows.extract_windows(
            video, Path(folder), (), window_s=part_s, step_s=part_s,
            workers=workers, on_total=on_total, on_window=on_part,
        )  # fmt: skip
    frames = max(1, round(video.seconds * found.fps))
    skeleton = np.full((frames, len(JOINTS), 3), np.nan, np.float32)
    skeleton[..., 2] = 0
    for (start_s, _), part in zip(found.windows, found.skeletons, strict=True):
        first = max(0, round((start_s - video.begin_s) * found.fps))
        kept = part[: frames - first, 0]
        skeleton[first : first + len(kept)] = kept
    return skeleton, found.fps


def measure_video(
    video: Path | str,
    out: Path | str,
    *,
    earlier: Path | str | None = None,
    height_m: float | None = None,
    workers: int | None = None,
    on_total: Callable[[int], None] | None = None,
    on_part: Callable[[], None] | None = None,
) -> Session:
    """Measure the movement of the person in a video, and write what was found.

    Writes ``movement.json``, ``movement.pdf`` (one page), ``joints.csv``, ``angles.csv``,
    ``joints.trc`` and ``angles.mot``. A mistake leaves nothing behind.

    Args:
        video: a video of one person.
        out: the folder to write to; created if need be.
        earlier: the folder of an earlier session, which the page compares with.
        height_m: the person's height, for lengths in metres.
        workers: processes; one a core if not given.
        on_total, on_part: see ``skeleton_of_video``.

    Returns:
        The measures.

    Raises:
        UserError: not a video, hardly any frame shows a person, or ``earlier`` is no session.
    """
    before = page.read_facts(Path(earlier)) if earlier is not None else None
    folder = Path(out)
    with working_folder(folder):
        skeleton, fps = skeleton_of_video(
            Path(video), workers=workers, on_total=on_total, on_part=on_part
        )
        return write_session(folder, Path(video).name, skeleton, fps, before, height_m)


def write_session(
    folder: Path,
    name: str,
    skeleton: npt.NDArray[np.float32],
    fps: float,
    before: Mapping[str, Any] | None = None,
    height_m: float | None = None,
) -> Session:
    """Measure the movement of a skeleton and write what ``measure_video`` writes.

    Args:
        folder: an existing one.
        name: of the video.
        skeleton: ``float32 [T, 17, 3]`` x, y (pixels) and score.
        fps: frames a second.
        before: the measures of an earlier session, from ``page.read_facts``.
        height_m: the person's height, for lengths in metres.
    """
    session = measure_session(skeleton, fps, name)
    series.write_joints_csv(folder / "joints.csv", skeleton, fps)
    series.write_angles_csv(folder / "angles.csv", session)
    series.write_trc(folder / "joints.trc", skeleton, fps, height_m)
    series.write_mot(folder / "angles.mot", session)
    page.write_page(folder / "movement.pdf", session, before)
    facts = json.dumps(session.facts(), indent=2, allow_nan=False)
    write_text(folder / page.FACTS_FILE, facts + "\n")
    return session
