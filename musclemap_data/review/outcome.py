"""The manifest that follows from decisions: what was accepted, or a built data set corrected."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from musclemap_data.catalog import NEW_SPLITS, Activity
from musclemap_data.errors import UserError
from musclemap_data.manifest import Clip, partition
from musclemap_data.review.decisions import Decision
from musclemap_data.review.material import Material
from musclemap_data.review.opinions import (
    Conflict,
    Opinion,
    Opinions,
    carry_over,
    conflicts,
    decided,
    opinions,
)
from musclemap_data.segment.planned import Plan, Sides, planned_clip, url_within


@dataclass(frozen=True)
class Outcome:
    """What follows from decisions.

    Attributes:
        clips: of the manifest.
        left_out: why accepted or built clips are not in it -> how many.
        conflicts: between reviewers; what they are about is not in it.
        undecided: stretches that wait for a decision (of a built data set: nobody flagged them).
        changed: clips that follow from decisions: accepted ones, or built ones with another label
            or other borders.
    """

    clips: list[Clip]
    left_out: dict[str, int]
    conflicts: list[Conflict]
    undecided: int
    changed: int


def accepted_clips(
    material: Material,
    decisions: Iterable[Decision],
    activities: Mapping[str, Activity],
    folder: Path,
    *,
    plan: Plan,
    trust: str | None = None,
) -> Outcome:
    """The data set's plan with the clips that were accepted, each in the split of its video.

    What an earlier manifest took over is replaced once somebody has decided on it; all else in the
    plan stays, also what ``segment --manifest`` took over and nobody has looked at. A
    video lies on the side that it has in the plan, else on the side of its id, see ``splits``. A
    new activity has no place in a video of the train side: such a clip is left out.

    Args:
        material: what was looked at.
        decisions: of one reviewer or several.
        activities: the activity table.
        folder: where the manifest will lie; local videos must be inside it.
        plan: of the data set.
        trust: initials of the reviewer who is right where two differ.

    Raises:
        UserError: a local video is outside ``folder``, or there is no such reviewer.
    """
    decisions = list(decisions)
    carried = carry_over(decisions, material.stretches)
    pieces, disputed = agreed(opinions(carried), trust)
    sides = Sides(activities, plan)
    left_out: Counter[str] = Counter()
    accepted = []
    for piece in [piece for proposal in pieces.values() for piece in proposal]:
        video = material.videos.get(piece.video_id)
        split = sides.split(piece.video_id, piece.activity)
        if video is None:
            left_out["its video is no longer in the data directory"] += 1
        elif piece.activity not in activities:
            left_out["its label is not in the activity table"] += 1
        elif split is None:
            left_out["a new activity in a video of the train side"] += 1
        else:
            accepted.append(
                Clip(piece.clip, piece.video_id, url_within(video.url, folder), piece.start_s,
                     piece.end_s, piece.activity, split)
            )  # fmt: skip
    touched = {each.proposal for each in (*decisions, *carried)}
    stays = [
        planned_clip(row, folder)
        for row in (*plan.clips, *plan.whole)
        if _whole_of(row.clip_id) not in touched
    ]
    new = _on_one_side(accepted, stays, left_out)
    names = set(pieces) | {conflict.proposal for conflict in disputed}
    waiting = [each for each in material.stretches if each.clip not in names and not each.left_out]
    return Outcome(
        stays + sorted(new, key=lambda clip: (clip.video_id, clip.start_s)),
        dict(left_out), disputed, changed=len(new), undecided=len(waiting),
    )  # fmt: skip


def corrected_clips(
    material: Material,
    decisions: Iterable[Decision],
    activities: Mapping[str, Activity],
    folder: Path,
    *,
    plan: Plan,
    trust: str | None = None,
) -> Outcome:
    """The plan of a built data set without the clips that were rejected, and with new labels.

    A clip that nobody flagged stays as it is. What reviewers differ on leaves.

    Args, Raises: as ``accepted_clips``.
    """
    pieces, disputed = agreed(opinions(carry_over(decisions, material.stretches)), trust)
    sides = Sides(activities, plan)
    leaves = {conflict.proposal for conflict in disputed}
    left_out = Counter({"reviewers differ": len(leaves)})
    stays = [planned_clip(row, folder) for row in plan.whole]
    changed: list[Clip] = []
    for row in plan.clips:
        was = planned_clip(row, folder)
        if row.clip_id in leaves:
            continue
        if row.clip_id not in pieces:
            stays.append(was)
            continue
        left_out["rejected"] += not pieces[row.clip_id]
        for piece in pieces[row.clip_id]:
            same = piece.activity == row.activity
            split = row.split if same else sides.split(piece.video_id, piece.activity)
            if split is None or piece.activity not in activities:
                left_out["a new activity in a video of the train side"] += 1
                continue
            now = replace(
                was, clip_id=piece.clip, start_s=piece.start_s, end_s=piece.end_s,
                activity=piece.activity, split=split,
            )  # fmt: skip
            (stays if now == was else changed).append(now)
    changed = _on_one_side(changed, stays, left_out)
    decided_on = set(pieces) | leaves
    return Outcome(
        sorted(stays + changed, key=lambda clip: (clip.video_id, clip.start_s)),
        dict(+left_out), disputed, changed=len(changed),
        undecided=sum(stretch.clip not in decided_on for stretch in material.stretches),
    )  # fmt: skip


def _whole_of(clip_id: str) -> str:
    """The id of the stretch that a clip is, or is a part of: see ``decisions.part_of``."""
    return re.sub(r"(\.[12])+$", "", clip_id)


def agreed(found: Opinions, trust: str | None) -> tuple[dict[str, list[Opinion]], list[Conflict]]:
    """(proposal -> its accepted pieces, where nobody contradicts; the conflicts that are left).

    Raises:
        UserError: ``trust`` has decided nothing.
    """
    said = decided(found)
    reviewers = {reviewer for reviewer, _ in said}
    if trust is not None and trust not in reviewers:
        raise UserError(
            f"--trust is {trust!r}, who has decided nothing here; choose from "
            f"{', '.join(sorted(reviewers)) or 'nobody'}"
        )
    disputed = [each for each in conflicts(found) if trust not in each.reviewers]
    names = {conflict.proposal for conflict in disputed}
    ordered = sorted(said, key=lambda key: key[0] == trust)  # who is trusted has the last word
    return {key[1]: said[key] for key in ordered if key[1] not in names}, disputed


def _on_one_side(
    clips: Sequence[Clip], others: Sequence[Clip], left_out: Counter[str]
) -> list[Clip]:
    """The clips without those of new activities whose video has clips of another side."""
    sides: dict[str, set[str]] = {}
    for clip in (*clips, *others):
        sides.setdefault(clip.video_id, set()).add(partition(clip.split))
    kept = [
        clip for clip in clips if len(sides[clip.video_id]) == 1 or clip.split not in NEW_SPLITS
    ]
    if len(kept) < len(clips):
        left_out["a new activity in a video with clips of another side"] += len(clips) - len(kept)
    return kept
