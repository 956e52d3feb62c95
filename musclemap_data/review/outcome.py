"""The manifest that follows from decisions: what was accepted, or a built data set corrected."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from musclemap_data.catalog import NEW_SPLITS, Activity
from musclemap_data.errors import UserError
from musclemap_data.ledger import ClipRow
from musclemap_data.manifest import DEMONSTRATION, SEGMENT, Clip, is_remote, partition
from musclemap_data.review.decisions import Decision
from musclemap_data.review.material import Material, Plan, Video
from musclemap_data.review.opinions import (
    Conflict,
    Opinion,
    Opinions,
    carry_over,
    conflicts,
    decided,
    opinions,
)
from musclemap_data.splits import held_out, partition_of, split_on


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

    What an earlier manifest took over of these proposals is replaced; all else in the plan stays. A
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
    found = opinions(carry_over(decisions, material.stretches))
    pieces, disputed = agreed(found, trust)
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
                Clip(piece.clip, piece.video_id, _url(video, folder), piece.start_s,
                     piece.end_s, piece.activity, split)
            )  # fmt: skip
    reviewed = {stretch.clip for stretch in material.stretches} | {clip for _, clip in found}
    stays = [
        _planned_clip(row, material, folder, tier)
        for tier, rows in ((SEGMENT, plan.clips), (DEMONSTRATION, plan.whole))
        for row in rows
        if row.clip_id not in reviewed
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
    stays = [_planned_clip(row, material, folder, DEMONSTRATION) for row in plan.whole]
    changed: list[Clip] = []
    for row in plan.clips:
        was = _planned_clip(row, material, folder, SEGMENT)
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


def _planned_clip(row: ClipRow, material: Material, folder: Path, tier: str) -> Clip:
    """A row of the plan as a line of a manifest in a folder."""
    return Clip(
        row.clip_id, row.video.video_id, _url(material.videos[row.video.video_id], folder),
        row.start_s, row.end_s, row.activity, row.split, tier,
    )  # fmt: skip


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


class Sides:
    """On which side a video lies, and which split a clip of it has."""

    def __init__(self, activities: Mapping[str, Activity], plan: Plan) -> None:
        rows = [*plan.whole, *plan.clips]
        self._video = {row.video.video_id: partition(row.split) for row in rows}
        for row in rows:  # its known clips say it, whatever new activities it shows
            if row.split not in NEW_SPLITS:
                self._video[row.video.video_id] = partition(row.split)
        self._new = {slug: activity.new for slug, activity in activities.items()}
        self._new |= {row.activity: row.split in NEW_SPLITS for row in rows}
        self._scored = held_out(videos=True)

    def split(self, video_id: str, activity: str) -> str | None:
        """The split; None for a new activity in a video of the train side."""
        side = self._video.get(video_id) or partition_of(video_id)
        new = self._new.get(activity, False)
        return split_on(side, new=new, side=self._scored.get(activity))


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


def _url(video: Video, folder: Path) -> str:
    """The url of a video as a manifest in a folder has it."""
    if is_remote(video.url):
        return video.url
    source = Path(video.url)
    try:
        return source.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        common = os.path.commonpath([source.resolve().parent, folder.resolve()])
        raise UserError(
            f"{source} is not inside {folder}, and a manifest names local videos relative to "
            f"itself. Write it to a folder above them: -o {common}/reviewed.csv"
        ) from None
