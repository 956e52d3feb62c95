"""What reviewers say now: the decisions about each stretch, read to their end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from musclemap_data.labels import cohen_kappa
from musclemap_data.review.decisions import Decision, Kind, about, in_force, part_of

SAME_STRETCH_FROM = 0.9
"""Overlap over union from which a stretch proposed anew is the one that was decided before."""
BORDERS_DIFFER_FROM_S = 0.5
"""Two reviewers who put a border further apart than this do not agree on the clip."""


class State(StrEnum):
    """What became of a stretch."""

    OPEN = "open"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    SPLIT = "split"


@dataclass(frozen=True)
class Stretch:
    """A stretch of a video to be looked at: a proposal, or a clip that is built.

    Attributes:
        clip: its id.
        video_id: of its video.
        start_s, end_s: seconds; ``end_s`` None: the end of the video.
        activity: slug of the label proposed, empty if there is none.
        suggested: slug of what a model takes it for, empty if none was asked.
        repetitions: counted in it, None where nothing was.
        hold: whether it is a posture that is held.
        confidence: 0 to 1, None where nobody said.
        reasons: why it was proposed, or doubted.
        left_out: why it was not proposed; empty for a proposal.
        borders: where repetitions begin and end, seconds.
    """

    clip: str
    video_id: str
    start_s: float
    end_s: float | None
    activity: str
    suggested: str = ""
    repetitions: float | None = None
    hold: bool = False
    confidence: float | None = None
    reasons: str = ""
    left_out: str = ""
    borders: tuple[float, ...] = ()


@dataclass(frozen=True)
class Opinion:
    """What one reviewer says of one stretch, or of a part of it.

    Attributes:
        reviewer: initials.
        proposal, clip: what was looked at, and this part of it.
        video_id: of its video.
        start_s, end_s, activity: as the reviewer left them.
        state: what became of it.
        reason: of a rejection.
        time: of the last decision.
    """

    reviewer: str
    proposal: str
    clip: str
    video_id: str
    start_s: float
    end_s: float | None
    activity: str
    state: State
    reason: str
    time: str


Opinions = Mapping[tuple[str, str], Opinion]
"""(reviewer, clip) -> what the one says of the other."""

_AFTER = {Kind.ACCEPT: State.ACCEPTED, Kind.REJECT: State.REJECTED, Kind.SPLIT: State.SPLIT}


def opinions(decisions: Iterable[Decision]) -> dict[tuple[str, str], Opinion]:
    """What each reviewer says now of each stretch that was decided on, and of the parts.

    Moving or relabelling keeps an accepted stretch accepted, and opens a rejected one again. The
    two parts of a split are open until they are decided themselves.
    """
    found: dict[tuple[str, str], Opinion] = {}
    for each in in_force(decisions):
        key = (each.reviewer, each.clip)
        if each.clip != each.proposal and key not in found:
            continue  # a part of a split that was undone
        before = found[key].state if key in found else State.OPEN
        kept = State.ACCEPTED if before is State.ACCEPTED else State.OPEN
        now = Opinion(
            each.reviewer, each.proposal, each.clip, each.video_id, each.start_s, each.end_s,
            each.activity, _AFTER.get(each.kind, kept), each.reason, each.time,
        )  # fmt: skip
        if before is State.SPLIT:  # decided as a whole again
            for part in [name for name in found if _is_part(name, key)]:
                del found[part]
        found[key] = now
        if each.kind is Kind.SPLIT:
            halves = ((each.start_s, each.split_at_s or 0.0), (each.split_at_s or 0.0, each.end_s))
            for number, (start, end) in enumerate(halves, start=1):
                clip = part_of(each.clip, number)
                found[each.reviewer, clip] = replace(
                    now, clip=clip, start_s=start, end_s=end, state=State.OPEN
                )
    return found


def _is_part(name: tuple[str, str], whole: tuple[str, str]) -> bool:
    return name[0] == whole[0] and name[1].startswith(f"{whole[1]}.")


def overlap(a: tuple[float, float | None], b: tuple[float, float | None]) -> float:
    """Overlap over union of two stretches of one video; an end of None is the end of the video."""
    ends = [np.inf if end is None else end for end in (a[1], b[1])]
    if np.isinf(ends).all():
        ends = [max(a[0], b[0]) + 1.0] * 2
    shared = max(0.0, min(ends) - max(a[0], b[0]))
    return float(shared / (max(ends) - min(a[0], b[0])))


def carry_over(decisions: Iterable[Decision], stretches: Iterable[Stretch]) -> list[Decision]:
    """The decisions as ones about these stretches, which may have been proposed anew since.

    A decision belongs to the stretch of its video that overlaps the one it was made on by
    ``SAME_STRETCH_FROM``, whatever its name. One that fits none keeps what was decided, under a
    name that no stretch has.
    """
    by_video: dict[str, list[Stretch]] = {}
    for stretch in stretches:
        by_video.setdefault(stretch.video_id, []).append(stretch)
    carried = []
    for each in decisions:
        proposed = (each.proposed_start_s, each.proposed_end_s)
        here = by_video.get(each.video_id, [])
        closeness = [
            (overlap(proposed, (one.start_s, one.end_s)), one.clip == each.proposal, one.clip)
            for one in here
        ]
        best = max(closeness, default=(0.0, False, ""))
        if best[0] >= SAME_STRETCH_FROM:
            carried.append(about(each, best[2]))
        elif any(stretch.clip == each.proposal for stretch in here):
            was = f"{each.proposal}-{round(1000 * each.proposed_start_s)}"
            carried.append(about(each, was))
        else:
            carried.append(each)
    return carried


@dataclass(frozen=True)
class Conflict:
    """Two reviewers who decided on the same stretch and do not agree.

    Attributes:
        proposal: what they looked at.
        reviewers: the two.
        what: on what they differ, in words.
    """

    proposal: str
    reviewers: tuple[str, str]
    what: str

    def __str__(self) -> str:
        return f"{self.proposal}: {' and '.join(self.reviewers)} differ: {self.what}"


def conflicts(found: Opinions) -> list[Conflict]:
    """Where two reviewers do not agree: on accepting, on the label, on the parts or borders."""
    said = decided(found)
    result = []
    for proposal in dict.fromkeys(name for _, name in said):
        reviewers = sorted(who for who, name in said if name == proposal)
        first = reviewers[0]
        for other in reviewers[1:]:
            if what := _difference(said[first, proposal], said[other, proposal]):
                result.append(Conflict(proposal, (first, other), what))
    return result


def decided(found: Opinions) -> dict[tuple[str, str], list[Opinion]]:
    """(reviewer, proposal) -> what the reviewer made of it, where nothing of it is left open.

    Accepted pieces by time; none of a stretch that was rejected, with all its parts.
    """
    pieces: dict[tuple[str, str], list[Opinion]] = {}
    for each in found.values():
        pieces.setdefault((each.reviewer, each.proposal), []).append(each)
    return {
        key: sorted(
            (each for each in group if each.state is State.ACCEPTED), key=lambda one: one.start_s
        )
        for key, group in pieces.items()
        if not any(each.state is State.OPEN for each in group)
    }


def _difference(a: Sequence[Opinion], b: Sequence[Opinion]) -> str:
    if bool(a) != bool(b):
        return "accepted and rejected" if a else "rejected and accepted"
    if len(a) != len(b):
        return f"{len(a)} and {len(b)} clips"
    for one, other in zip(a, b, strict=True):
        if one.activity != other.activity:
            return f"{one.activity} and {other.activity}"
        apart = _apart_s(one, other)
        if max(apart) > BORDERS_DIFFER_FROM_S:
            return f"borders {apart[0]:.2f} s and {apart[1]:.2f} s apart"
    return ""


def _apart_s(a: Opinion, b: Opinion) -> tuple[float, float]:
    if a.end_s is None or b.end_s is None:
        return abs(a.start_s - b.start_s), 0.0 if a.end_s == b.end_s else float("inf")
    return abs(a.start_s - b.start_s), abs(a.end_s - b.end_s)


@dataclass(frozen=True)
class ReviewAgreement:
    """How far two reviewers agree on what both have decided.

    Attributes:
        reviewers: the two.
        both: stretches that both decided.
        verdict_same, verdict_kappa: share of the same answer to "accept or reject", and Cohen's
            kappa; None where there is none.
        accepted: stretches that both accepted as one clip.
        label_same, label_kappa: of these, the same for the labels.
        border_median_s, border_largest_s: of these, how far apart their borders are, seconds.
    """

    reviewers: tuple[str, str]
    both: int
    verdict_same: float | None
    verdict_kappa: float | None
    accepted: int
    label_same: float | None
    label_kappa: float | None
    border_median_s: float | None
    border_largest_s: float | None


def review_agreement(found: Opinions, first: str, second: str) -> ReviewAgreement:
    """Compare two reviewers, from what each says now."""
    said = decided(found)
    common = [name for who, name in said if who == first and (second, name) in said]
    pairs = [(said[first, name], said[second, name]) for name in common]
    verdicts = np.array([(bool(a), bool(b)) for a, b in pairs], bool).reshape(-1, 2).T
    clips = [(a[0], b[0]) for a, b in pairs if len(a) == len(b) == 1]
    labels = np.array([(a.activity, b.activity) for a, b in clips], np.str_).reshape(-1, 2).T
    apart = [each for a, b in clips for each in _apart_s(a, b) if np.isfinite(each)]
    return ReviewAgreement(
        (first, second),
        both=len(pairs),
        verdict_same=float((verdicts[0] == verdicts[1]).mean()) if pairs else None,
        verdict_kappa=cohen_kappa(*verdicts) if pairs else None,
        accepted=len(clips),
        label_same=float((labels[0] == labels[1]).mean()) if clips else None,
        label_kappa=cohen_kappa(*labels) if clips else None,
        border_median_s=float(np.median(apart)) if apart else None,
        border_largest_s=max(apart) if apart else None,
    )
