"""The file of decisions: a plain CSV that only grows, one line for each thing a reviewer did.

What holds of a stretch follows from the lines about it, read from the oldest to the newest. So
undoing is a line too, files of several people become one by putting their lines together, and a
program that is killed loses nothing that was answered.
"""

from __future__ import annotations

import csv
import io
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from musclemap_data.errors import UserError
from musclemap_data.files import append_lines, whole_lines, write_text


class Kind(StrEnum):
    """What a reviewer did."""

    ACCEPT = "accept"
    REJECT = "reject"
    MOVE = "move"
    RELABEL = "relabel"
    SPLIT = "split"
    UNDO = "undo"


COLUMNS = (
    "decision", "time", "reviewer", "kind", "proposal", "clip", "video_id", "start_s", "end_s",
    "activity", "split_at_s", "reason", "undoes", "proposed_start_s", "proposed_end_s",
    "proposed_activity",
)  # fmt: skip
REVIEWER = re.compile(r"[A-Za-z0-9_-]{1,20}")
"""Initials: they stand in a column of a CSV and in file names."""
LONGEST_REASON = 200


@dataclass(frozen=True)
class Decision:
    """One line: what a reviewer did with a stretch, and what holds of the stretch after it.

    Attributes:
        decision: names the line, the same in every copy of it.
        time: UTC, ISO 8601.
        reviewer: initials.
        kind: what was done.
        proposal: id of what was looked at: a proposal, or a clip that is built.
        clip: the same, or a part of it after a split: ``PROPOSAL.1``.
        video_id: of its video.
        start_s, end_s: borders after it, seconds; ``end_s`` None: the end of the video.
        activity: slug after it; empty where none was given yet.
        split_at_s: of a split, where the second part begins.
        reason: of a rejection.
        undoes: of an undo, the line that no longer counts.
        proposed_start_s, proposed_end_s, proposed_activity: what was proposed; of a part, what its
            whole was proposed as.
    """

    decision: str
    time: str
    reviewer: str
    kind: Kind
    proposal: str
    clip: str
    video_id: str
    start_s: float
    end_s: float | None
    activity: str
    split_at_s: float | None
    reason: str
    undoes: str
    proposed_start_s: float
    proposed_end_s: float | None
    proposed_activity: str

    def cells(self) -> list[str]:
        """The line as text, in the order of ``COLUMNS``."""
        return [_text(getattr(self, name)) for name in COLUMNS]


def _text(value: str | float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def new_id() -> str:
    """A name for a decision that no other one has."""
    return secrets.token_hex(6)


def now() -> str:
    """The time of a decision."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


class DecisionFile:
    """The decisions of one file, in memory and on disk.

    Several programs may append to the file, one after the other. Not safe between threads.

    Args:
        path: the CSV; made, with its folder, by the first decision.

    Raises:
        UserError: the file is there and is not one of decisions.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._size = -1
        self._decisions: list[Decision] = []
        self.decisions()

    def decisions(self) -> list[Decision]:
        """All decisions, in the order of the file; read anew if somebody else has written."""
        size = self.path.stat().st_size if self.path.exists() else 0
        if size != self._size:
            self._decisions = read_decisions(self.path) if size else []
            self._size = size
        return self._decisions

    def append(self, decision: Decision) -> None:
        """Write a decision to the disk; when this returns it outlasts a power cut.

        Its time is put after that of the last one in the file, should the clock have gone back. A
        half line that a killed program left at the end is taken off first.

        Raises:
            OSError: it cannot be written.
        """
        from filelock import FileLock

        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_name(f".{self.path.name}.lock")):
            last = max(map(_moment, self.decisions()), default=None)
            if last is not None and _moment(decision) <= last:
                later = (last + timedelta(microseconds=1)).isoformat(timespec="microseconds")
                decision = replace(decision, time=later)
            self._size = append_lines(self.path, _csv([decision.cells()]), header=_csv([COLUMNS]))
            self._decisions.append(decision)


def _csv(lines: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def write_decisions(path: Path, decisions: Iterable[Decision]) -> None:
    """Write a file of decisions, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, _csv([COLUMNS, *(each.cells() for each in decisions)]))


def read_decisions(path: Path) -> list[Decision]:
    """Read a file of decisions; a last line without an end, of a killed program, is left out.

    Raises:
        UserError: there is no such file or it is not one of decisions; every mistake with its line.
    """
    text = whole_lines(Path(path))
    reader = csv.reader(io.StringIO(text, newline=""))
    found: list[Decision] = []
    problems: list[str] = []
    seen: dict[str, int] = {}
    try:
        header = next(reader, list(COLUMNS))
        if tuple(header) != COLUMNS:
            raise UserError(f"{path}: line 1: the columns must be {','.join(COLUMNS)}")
        for cells in reader:
            line = reader.line_num
            if not cells:
                continue
            try:
                decision = _parse(cells)
            except ValueError as error:
                problems.append(f"line {line}: {error}")
                continue
            if decision.decision in seen:
                first = seen[decision.decision]
                problems.append(f"line {line}: decision {decision.decision} is on line {first}")
            seen[decision.decision] = line
            found.append(decision)
    except csv.Error as error:
        problems.append(f"line {reader.line_num}: not CSV: {error}")
    if problems:
        shown = "\n  ".join(problems[:20])
        raise UserError(f"{path}: {len(problems)} mistake(s)\n  {shown}")
    return found


def _parse(cells: Sequence[str]) -> Decision:
    if len(cells) != len(COLUMNS):
        raise ValueError(f"{len(cells)} cells where the header has {len(COLUMNS)}")
    row = dict(zip(COLUMNS, cells, strict=True))
    if not REVIEWER.fullmatch(row["reviewer"]):
        raise ValueError(f"reviewer {row['reviewer'][:40]!r} must be 1 to 20 letters or digits")
    if row["kind"] not in list(Kind):
        raise ValueError(f"kind {row['kind'][:40]!r}, allowed: {', '.join(Kind)}")
    try:
        datetime.fromisoformat(row["time"])
    except ValueError:
        raise ValueError(f"time {row['time'][:40]!r} is not a time") from None
    if not (row["decision"] and row["video_id"] and row["proposal"]):
        raise ValueError("decision, video_id and proposal must not be empty")
    if not re.fullmatch(r"(\.[12])*", row["clip"].removeprefix(row["proposal"])):
        raise ValueError("clip must be the proposal or a part of it, such as PROPOSAL.1")
    start, end = _seconds(row, "start_s"), _end(row, "end_s")
    if end is not None and end <= start:
        raise ValueError(f"end_s {end:g} is not after start_s {start:g}")
    kind = Kind(row["kind"])
    if kind is Kind.UNDO and not row["undoes"]:
        raise ValueError("an undo must say what it undoes")
    at = _end(row, "split_at_s")
    if kind is Kind.SPLIT and not (at is not None and start < at and (end is None or at < end)):
        raise ValueError("split_at_s of a split must lie between start_s and end_s")
    return Decision(
        decision=row["decision"],
        time=row["time"],
        reviewer=row["reviewer"],
        kind=kind,
        proposal=row["proposal"],
        clip=row["clip"],
        video_id=row["video_id"],
        start_s=start,
        end_s=end,
        activity=row["activity"],
        split_at_s=at,
        reason=row["reason"],
        undoes=row["undoes"],
        proposed_start_s=_seconds(row, "proposed_start_s"),
        proposed_end_s=_end(row, "proposed_end_s"),
        proposed_activity=row["proposed_activity"],
    )


def _seconds(row: dict[str, str], column: str) -> float:
    if not re.fullmatch(r"\d{1,7}(\.\d{1,6})?", row[column]):
        raise ValueError(f"{column} {row[column][:40]!r} is not a time in seconds")
    return float(row[column])


def _end(row: dict[str, str], column: str) -> float | None:
    return _seconds(row, column) if row[column] else None


def merge_decisions(files: Sequence[Path]) -> list[Decision]:
    """The lines of several files as one list, by time; a line that is in two files counts once.

    Raises:
        UserError: a file cannot be read, or a line was changed by hand in one of two copies.
    """
    found: dict[str, tuple[Decision, Path]] = {}
    for path in files:
        for decision in read_decisions(path):
            other, where = found.setdefault(decision.decision, (decision, path))
            if other != decision:
                raise UserError(
                    f"decision {decision.decision} of {decision.reviewer} about {decision.clip} "
                    f"differs between {where} and {path}: a line must not be changed. Take one "
                    "of the two out, or undo it in the page."
                )
    return sorted((each for each, _ in found.values()), key=_moment)


def _moment(decision: Decision) -> datetime:
    moment = datetime.fromisoformat(decision.time)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def in_force(decisions: Iterable[Decision]) -> list[Decision]:
    """The decisions that were not undone, by time, without the undoing ones."""
    ordered = sorted(decisions, key=_moment)
    undone = {each.undoes for each in ordered if each.kind is Kind.UNDO}
    return [each for each in ordered if each.kind is not Kind.UNDO and each.decision not in undone]


def part_of(clip: str, part: int) -> str:
    """The id of a part of a split stretch; ``part`` is 1 or 2."""
    return f"{clip}.{part}"


def about(decision: Decision, proposal: str) -> Decision:
    """The decision as one about a proposal of another name."""
    clip = proposal + decision.clip.removeprefix(decision.proposal)
    return replace(decision, proposal=proposal, clip=clip)
