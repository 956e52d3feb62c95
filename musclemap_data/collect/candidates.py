"""The list of candidates: a manifest of whole videos, with what is known of each.

``musclemap download --manifest`` fetches what it lists, and ``musclemap segment`` looks for the
clips. It only grows: one line a video, written as soon as the video was looked at.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from musclemap_data.errors import FailureClass, UserError
from musclemap_data.files import append_lines, whole_lines
from musclemap_data.manifest import DEMONSTRATION

COLUMNS = (
    "clip_id", "video_id", "url", "start_s", "end_s", "activity", "split", "tier", "source",
    "licence", "title", "duration_s", "uploader",
)  # fmt: skip
LEFT_OUT_COLUMNS = ("url", "source", "failure", "reason")


@dataclass(frozen=True)
class Candidate:
    """A video in which clips may be found.

    Attributes:
        video_id: safe as a file name.
        url: as in a manifest: an address, or a path from the list's folder.
        activity: slug of what it is said to show, empty where nothing is said.
        split: of its clips of known activities, or of the one activity it is said to show.
        source: the channel, playlist, search or folder that lists it.
        licence, title, uploader: as its site writes them, or empty.
        duration_s: seconds, None where it is not known.
    """

    video_id: str
    url: str
    activity: str
    split: str
    source: str
    licence: str
    title: str
    duration_s: float | None
    uploader: str

    def cells(self) -> list[str]:
        """The line as text, in the order of ``COLUMNS``."""
        seconds = "" if self.duration_s is None else f"{self.duration_s:.2f}"
        texts = [self.source, self.licence, self.title, seconds, self.uploader]
        return [
            f"whole_{self.video_id}"[:100], self.video_id, self.url, "0", "", self.activity,
            self.split, DEMONSTRATION, *(" ".join(text.split()) for text in texts),
        ]  # fmt: skip


@dataclass(frozen=True)
class LeftOut:
    """An address that is no candidate, and why.

    Attributes:
        url: of the video.
        source: what listed it.
        failure: class of the failure; None for what is left out by a rule of ours.
        reason: in words.
    """

    url: str
    source: str
    failure: FailureClass | None
    reason: str


class CandidateFile:
    """The list on disk, and beside it ``NAME.left-out.csv`` with what was left out, and why.

    Attributes:
        rows: url -> the line, of all candidates.
        left_out: url -> what was left out.

    Raises:
        UserError: a file is there that is no such list.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.left_out_path = path.with_name(f"{path.stem}.left-out.csv")
        self.rows = {row["url"]: row for row in _read(path, COLUMNS)}
        self.left_out: dict[str, LeftOut] = {}
        for row in _read(self.left_out_path, LEFT_OUT_COLUMNS):
            known = row["failure"] in list(FailureClass)
            failure = FailureClass(row["failure"]) if known else None
            self.left_out[row["url"]] = LeftOut(row["url"], row["source"], failure, row["reason"])

    def add(self, candidate: Candidate) -> None:
        """Write a candidate down."""
        cells = candidate.cells()
        self._append(self.path, COLUMNS, cells)
        self.rows[candidate.url] = dict(zip(COLUMNS, cells, strict=True))

    def leave_out(self, found: LeftOut) -> None:
        """Write down what is no candidate; of several lines about one url the last counts."""
        cells = [found.url, found.source, str(found.failure or ""), " ".join(found.reason.split())]
        self._append(self.left_out_path, LEFT_OUT_COLUMNS, cells)
        self.left_out[found.url] = found

    def _append(self, path: Path, columns: Iterable[str], cells: Iterable[str]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        append_lines(path, _line(cells), header=_line(columns))


def _line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _read(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    if not path.exists():
        return []
    reader = csv.DictReader(io.StringIO(whole_lines(path), newline=""))
    if reader.fieldnames and tuple(reader.fieldnames) != columns:
        raise UserError(
            f"{path}: line 1: the columns must be {','.join(columns)}. Choose another --out."
        )
    rows = list(reader)
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise UserError(f"{path}: line {number}: expected {len(columns)} cells")
    return rows
