"""Proposed clips: one row a stretch of a video, in a CSV that a person can read and edit.

``segment`` writes them, ``review`` opens them. A stretch that is no clip is a row too, with the
reason in ``left_out``: nothing of a video is silently dropped.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from musclemap_data.errors import UserError
from musclemap_data.files import write_text

PROPOSALS_FILE = Path("segment") / "proposals.csv"
"""Where the proposals of a data set lie, from its folder."""
COLUMNS = (
    "video",
    "video_id",
    "proposal",
    "start",
    "end",
    "activity",
    "suggested",
    "repetitions",
    "hold",
    "confidence",
    "reasons",
    "left_out",
    "borders",
    "box",
)
LATER = ("borders", "box")
"""Columns that a file of before may lack."""
BETWEEN = "; "
MIN_CONFIDENCE = 0.6
"""Proposals of less are in no manifest until a person decided on them in ``review``."""


@dataclass(frozen=True)
class Proposal:
    """A stretch of a video that is proposed as a clip, or left out.

    Attributes:
        video: the file, from the data set's folder or absolute.
        video_id: as in the manifest.
        proposal: names the stretch: video id and bounds in milliseconds.
        start, end: seconds of the video.
        activity: slug that the list gives the video; empty for a video without one.
        suggested: slug that the model would rather give it; empty if it agrees or does not know.
        repetitions: how many; 0 for a hold.
        hold: a pose that is held under load.
        confidence: 0 to 1, that it is a clip of one exercise.
        reasons: what speaks for and against it, in words.
        left_out: why it is no clip; empty for one that is proposed.
        borders: where repetitions begin and end, seconds of the video.
        box: where the person is in the picture: left, top, right, bottom as shares of its sides;
            empty if nobody is seen, or in a file of before.
    """

    video: str
    video_id: str
    proposal: str
    start: float
    end: float
    activity: str = ""
    suggested: str = ""
    repetitions: float = 0.0
    hold: bool = False
    confidence: float = 0.0
    reasons: tuple[str, ...] = ()
    left_out: str = ""
    borders: tuple[float, ...] = ()
    box: tuple[float, ...] = ()

    @property
    def seconds(self) -> float:
        """How long the proposed clip lasts."""
        return self.end - self.start


def proposal_id(video_id: str, start: float, end: float) -> str:
    """The name of a stretch; safe as a file name and as the id of a clip.

    An id may begin with a hyphen, which a command line takes for an option: hence the leading
    ``s_``.
    """
    return f"s_{video_id}_{start * 1000:07.0f}_{end * 1000:07.0f}"


def write_proposals(path: Path, proposals: Iterable[Proposal]) -> None:
    """Write proposals, whole or not at all; the folder is made if need be."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for p in proposals:
        writer.writerow(
            [p.video, p.video_id, p.proposal, f"{p.start:.3f}", f"{p.end:.3f}", p.activity]
            + [p.suggested, f"{p.repetitions:g}", int(p.hold), f"{p.confidence:.2f}"]
            + [BETWEEN.join(p.reasons), p.left_out]
            + [" ".join(f"{value:.3f}" for value in values) for values in (p.borders, p.box)]
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text.getvalue())


def read_proposals(path: Path) -> list[Proposal]:
    """Read proposals as ``write_proposals`` writes them; further columns are not read.

    Raises:
        UserError: there is no such file, a column is missing, or a cell is not what it must be.
    """
    found = []
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS
                       if name not in (*LATER, *(reader.fieldnames or ()))]  # fmt: skip
            if missing:
                raise UserError(f"{path}: line 1: missing columns: {', '.join(missing)}")
            for row in reader:
                try:
                    found.append(_proposal(row))
                except (ValueError, TypeError, AttributeError) as error:
                    raise UserError(f"{path}: line {reader.line_num}: {error}") from error
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}. Run `musclemap segment` first.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV file in UTF-8: {error}") from error
    return found


def _proposal(row: dict[str, str]) -> Proposal:
    if row["left_out"] is None:
        raise ValueError("the row has too few cells")
    start, end, confidence = float(row["start"]), float(row["end"]), float(row["confidence"] or 0)
    if not 0 <= start < end < float("inf"):
        raise ValueError(f"start {row['start']} and end {row['end']} must be seconds, in order")
    if not row["video_id"] or not row["proposal"]:
        raise ValueError("video_id and proposal must not be empty")
    return Proposal(
        video=row["video"],
        video_id=row["video_id"],
        proposal=row["proposal"],
        start=start,
        end=end,
        activity=row["activity"],
        suggested=row["suggested"],
        repetitions=float(row["repetitions"] or 0),
        hold=row["hold"] in ("1", "true", "True"),
        confidence=confidence,
        reasons=tuple(part for part in row["reasons"].split(BETWEEN) if part),
        left_out=row["left_out"],
        borders=_numbers(row.get("borders")),
        box=_numbers(row.get("box")),
    )


def _numbers(cell: str | None) -> tuple[float, ...]:
    return tuple(float(word) for word in (cell or "").split())
