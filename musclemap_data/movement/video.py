"""The movement in a video: its skeleton, its measures, and the files and page that tell of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from musclemap_data.extract import windows
from musclemap_data.extract.person import follow
from musclemap_data.files import working_folder, write_text
from musclemap_data.movement import page, series
from musclemap_data.movement.session import Session, measure_session


def measure_video(
    video: Path | str,
    out: Path | str,
    *,
    earlier: Path | str | None = None,
    height_m: float | None = None,
    workers: int | None = None,
    on_total: Callable[[int], None] | None = None,
    on_piece: Callable[[], None] | None = None,
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
        on_total, on_piece: see ``extract.person.follow``.

    Returns:
        The measures.

    Raises:
        UserError: not a video, hardly any frame shows a person, or ``earlier`` is no session.
    """
    before = page.read_facts(Path(earlier)) if earlier is not None else None
    folder = Path(out)
    with working_folder(folder) as work:
        person = follow(
            windows.read_video(Path(video)), work,
            workers=workers, on_total=on_total, on_piece=on_piece,
        )  # fmt: skip
        return write_session(
            folder, Path(video).name, person.skeleton, person.pieces.fps, before, height_m
        )


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
