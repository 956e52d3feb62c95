"""The list of stretches as one reviewer sees it, and what the reviewer does with them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from musclemap_data.catalog import Activity
from musclemap_data.review.decisions import (
    LONGEST_REASON,
    Decision,
    DecisionFile,
    Kind,
    in_force,
    new_id,
    now,
)
from musclemap_data.review.material import Material
from musclemap_data.review.opinions import (
    Opinion,
    State,
    Stretch,
    carry_over,
    opinions,
)

LEFT_OUT = "left-out"
STATES = (*(state for state in State if state is not State.SPLIT), LEFT_OUT)
"""What a line can be. What ``segment`` left out stays that until somebody decides on it."""
ORDERS: dict[str, Callable[[Line], float]] = {
    "listed": lambda line: 0.0,
    "least-sure": lambda line: _confidence(line, 2.0),
    "most-sure": lambda line: -_confidence(line, -1.0),
}
"""Name -> key of an order; lines that are equal stay as they are listed."""


@dataclass(frozen=True)
class Line:
    """A line of the list: a stretch, or a part of one that was split, as it stands now.

    Attributes:
        stretch: what was proposed; of a part, its whole.
        clip: id of the stretch or part.
        start_s, end_s, activity: as they stand.
        state: one of ``STATES``.
        reason: of a rejection, or why it was left out.
        reviewer: who decided last; empty where nobody has.
    """

    stretch: Stretch
    clip: str
    start_s: float
    end_s: float | None
    activity: str
    state: str
    reason: str = ""
    reviewer: str = ""


def _confidence(line: Line, unknown: float) -> float:
    return unknown if line.stretch.confidence is None else line.stretch.confidence


class Refused(Exception):
    """A decision that cannot be taken; the message says why."""


class Queue:
    """What a reviewer sees and does. Safe between threads.

    Args:
        material: what is looked at.
        file: where decisions go.
        reviewer: initials of who decides here.
        activities: the labels there are, by slug.
        blind: hide what others decided, and ask again.
    """

    def __init__(
        self,
        material: Material,
        file: DecisionFile,
        reviewer: str,
        activities: Mapping[str, Activity],
        *,
        blind: bool = False,
    ) -> None:
        self.material, self.reviewer, self.activities = material, reviewer, activities
        self.blind = blind
        self._file = file
        self._stretches = {stretch.clip: stretch for stretch in material.stretches}
        self._lock = threading.RLock()
        self._read = -1
        self._lines: list[Line] = []
        self._place: dict[str, int] = {}

    def lines(self) -> Sequence[Line]:
        """The list, in the order of the proposals."""
        with self._lock:
            decisions = self._file.decisions()
            if len(decisions) != self._read:
                self._lines = self._make(decisions)
                self._place = {line.clip: place for place, line in enumerate(self._lines)}
                self._read = len(decisions)
            return self._lines

    def find(self, clip: str) -> Line | None:
        """The line of a stretch or part; None where there is none."""
        with self._lock:
            lines = self.lines()
            return lines[self._place[clip]] if clip in self._place else None

    def counts(self) -> dict[str, int]:
        """State -> lines."""
        found = Counter(line.state for line in self.lines())
        return {state: found[state] for state in STATES}

    def _make(self, decisions: Sequence[Decision]) -> list[Line]:
        said: dict[str, dict[str, list[Opinion]]] = {}  # proposal -> reviewer -> pieces
        for each in opinions(carry_over(decisions, self.material.stretches)).values():
            if not (self.blind and each.reviewer != self.reviewer):
                said.setdefault(each.proposal, {}).setdefault(each.reviewer, []).append(each)
        lines = []
        for stretch in self.material.stretches:
            by_reviewer = said.get(stretch.clip)
            if not by_reviewer:
                state = LEFT_OUT if stretch.left_out else State.OPEN
                lines.append(
                    Line(stretch, stretch.clip, stretch.start_s, stretch.end_s,
                         stretch.activity or stretch.suggested, state, stretch.left_out)
                )  # fmt: skip
                continue
            latest = max(by_reviewer.values(), key=lambda pieces: max(one.time for one in pieces))
            pieces = by_reviewer.get(self.reviewer, latest)
            leaves = [piece for piece in pieces if piece.state is not State.SPLIT]
            lines += [
                Line(stretch, piece.clip, piece.start_s, piece.end_s, piece.activity,
                     piece.state, piece.reason, piece.reviewer)
                for piece in sorted(leaves, key=lambda piece: piece.start_s)
            ]  # fmt: skip
        return lines

    def select(
        self, *, state: str = "", activity: str = "", text: str = "", order: str = "listed"
    ) -> Sequence[Line]:
        """The lines that fit, in an order of ``ORDERS``; every word of ``text`` must be in one."""
        wanted = text.lower().split()
        chosen = [
            line
            for line in self.lines()
            if (not state or line.state == state)
            and (not activity or line.activity == activity)
            and (not wanted or all(word in self._words(line) for word in wanted))
        ]
        return chosen if order == "listed" else sorted(chosen, key=ORDERS[order])

    def _words(self, line: Line) -> str:
        known = self.activities.get(line.activity)
        video = self.material.videos.get(line.stretch.video_id)
        title = video.title if video else ""
        return f"{line.clip} {line.activity} {known.name if known else ''} {title}".lower()

    def decide(
        self,
        kind: Kind,
        clip: str,
        *,
        start_s: float | None = None,
        end_s: float | None = None,
        activity: str | None = None,
        split_at_s: float | None = None,
        reason: str = "",
    ) -> Decision:
        """Take a decision and write it down.

        Args:
            kind: any but undo.
            clip: a line's.
            start_s, end_s, activity: what changes; None leaves it.
            split_at_s: of a split, where the second part begins.
            reason: of a rejection.

        Raises:
            Refused: there is no such line, a value is impossible, or the part is somebody else's.
            OSError: it cannot be written.
        """
        with self._lock:
            line = self.find(clip)
            if line is None:
                raise Refused("there is no such clip; another page may have changed it")
            stretch = line.stretch
            if line.reviewer not in ("", self.reviewer) and clip != stretch.clip:
                raise Refused(
                    f"{line.reviewer} made this part; only they can change it. To answer for "
                    "yourself, start the page with --blind."
                )
            start = line.start_s if start_s is None else start_s
            end = line.end_s if end_s is None else end_s
            label = line.activity if activity is None else activity
            if start < 0 or (end is not None and end - start < 0.05):
                raise Refused("the clip must begin in the video and end after its beginning")
            if label not in self.activities and (label or kind is Kind.ACCEPT):
                raise Refused("choose one of the known activities first (key l)")
            if kind is Kind.REJECT and not reason.strip():
                raise Refused("a rejection needs a reason")
            if kind is Kind.SPLIT and not (
                split_at_s is not None and start < split_at_s and (end is None or split_at_s < end)
            ):
                raise Refused("split inside the clip: play to the place, then press s")
            decision = Decision(
                new_id(), now(), self.reviewer, kind, stretch.clip, clip, stretch.video_id, start,
                end, label, split_at_s if kind is Kind.SPLIT else None,
                " ".join(reason.split())[:LONGEST_REASON], "", stretch.start_s, stretch.end_s,
                stretch.activity,
            )  # fmt: skip
            self._file.append(decision)
            return decision

    def undo(self) -> str | None:
        """Take back the reviewer's last decision that still counts.

        Returns:
            The clip it was about, as the list has it now; None where there is nothing to undo.
        """
        with self._lock:
            known = carry_over(self._file.decisions(), self.material.stretches)
            mine = [each for each in in_force(known) if each.reviewer == self.reviewer]
            here = [each for each in mine if each.proposal in self._stretches]
            if not here:
                return None
            last = here[-1]
            undone = replace(last, decision=new_id(), time=now(), kind=Kind.UNDO)
            self._file.append(replace(undone, undoes=last.decision, reason="", split_at_s=None))
            return last.clip if self.find(last.clip) else last.proposal
