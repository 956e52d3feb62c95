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
from musclemap_data.manifest import Clip, is_remote, partition
from musclemap_data.review.decisions import Decision
from musclemap_data.review.material import Material, Video
from musclemap_data.review.opinions import (
    Conflict,
    Opinion,
    Opinions,
    carry_over,
    conflicts,
    decided,
    opinions,
)
from musclemap_data.splits import held_out, partition_of


@dataclass(frozen=True)
class Outcome:
    """What follows from the decisions.

    Attributes:
        clips: of the manifest, by video and time.
        left_out: why accepted or built clips are not in it -> how many.
        conflicts: between reviewers; what they are about is not in it.
        undecided: stretches that wait for a decision (of a built data set: nobody flagged them).
        changed: of a built data set, clips with another label or other borders.
    """

    clips: list[Clip]
    left_out: dict[str, int]
    conflicts: list[Conflict]
    undecided: int = 0
    changed: int = 0


def accepted_clips(
    material: Material,
    decisions: Iterable[Decision],
    activities: Mapping[str, Activity],
    folder: Path,
    *,
    planned: Sequence[ClipRow] = (),
    trust: str | None = None,
) -> Outcome:
    """The clips that were accepted, each with its split.

    A video lies on the side of the plan that has it, else on the side of its id, see ``splits``. A
    new activity has no place in a video of the train side: such a clip is left out.

    Args:
        material: what was looked at.
        decisions: of one reviewer or several.
        activities: the activity table.
        folder: where the manifest will lie; local videos must be inside it.
        planned: the clips of the data set's plan: they say which activities are new, and on which
            side a video lies.
        trust: initials of the reviewer who is right where two differ.

    Raises:
        UserError: a local video is outside ``folder``, or there is no such reviewer.
    """
    found = opinions(carry_over(decisions, material.stretches))
    pieces, disputed = _agreed(found, trust)
    sides = _Sides(activities, planned)
    left_out: Counter[str] = Counter()
    clips = []
    for proposal in pieces.values():
        for piece in proposal:
            video = material.videos.get(piece.video_id)
            split = sides.split(piece.video_id, piece.activity)
            if video is None:
                left_out["its video is no longer in the data directory"] += 1
            elif piece.activity not in activities:
                left_out["its label is not in the activity table"] += 1
            elif split is None:
                left_out["a new activity in a video of the train side"] += 1
            else:
                clips.append(
                    Clip(piece.clip, piece.video_id, _url(video, folder), piece.start_s,
                         piece.end_s, piece.activity, split)
                )  # fmt: skip
    clips = _on_one_side(clips, left_out)
    clips.sort(key=lambda clip: (clip.video_id, clip.start_s, clip.clip_id))
    names = set(pieces) | {conflict.proposal for conflict in disputed}
    waiting = [each for each in material.stretches if each.clip not in names and not each.left_out]
    return Outcome(clips, dict(left_out), disputed, undecided=len(waiting))


def corrected_clips(
    material: Material,
    decisions: Iterable[Decision],
    activities: Mapping[str, Activity],
    folder: Path,
    *,
    planned: Sequence[ClipRow],
    trust: str | None = None,
) -> Outcome:
    """The plan of a built data set without the clips that were rejected, and with new labels.

    A clip that nobody flagged stays as it is. What reviewers differ on leaves.

    Args, Raises: as ``accepted_clips``.
    """
    found = opinions(carry_over(decisions, material.stretches))
    pieces, disputed = _agreed(found, trust)
    sides = _Sides(activities, planned)
    left_out: Counter[str] = Counter()
    leaves = {conflict.proposal for conflict in disputed}
    left_out["reviewers differ"] = len(leaves)
    clips: list[Clip] = []
    changed = 0
    for row in planned:
        video = material.videos[row.video.video_id]
        was = Clip(
            row.clip_id, row.video.video_id, _url(video, folder), row.start_s, row.end_s,
            row.activity, row.split,
        )  # fmt: skip
        if row.clip_id in leaves:
            continue
        if row.clip_id not in pieces:
            clips.append(was)
            continue
        left_out["rejected"] += not pieces[row.clip_id]
        for piece in pieces[row.clip_id]:
            split = row.split
            if piece.activity != row.activity:
                moved = sides.split(piece.video_id, piece.activity)
                if moved is None or piece.activity not in activities:
                    left_out["a new activity in a video of the train side"] += 1
                    continue
                split = moved
            now = replace(
                was, clip_id=piece.clip, start_s=piece.start_s, end_s=piece.end_s,
                activity=piece.activity, split=split,
            )  # fmt: skip
            changed += now != was
            clips.append(now)
    clips = _on_one_side(clips, left_out)
    return Outcome(
        clips, dict(+left_out), disputed, changed=changed,
        undecided=sum(row.clip_id not in pieces and row.clip_id not in leaves for row in planned),
    )  # fmt: skip


def _agreed(found: Opinions, trust: str | None) -> tuple[dict[str, list[Opinion]], list[Conflict]]:
    """(proposal -> its accepted pieces, where nobody contradicts; the conflicts that are left)."""
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


class _Sides:
    """On which side a video lies, and which split a clip of it has."""

    def __init__(self, activities: Mapping[str, Activity], planned: Sequence[ClipRow]) -> None:
        self._video = {row.video.video_id: partition(row.split) for row in planned}
        for row in planned:  # its known clips say it, whatever new activities it shows
            if row.split not in NEW_SPLITS:
                self._video[row.video.video_id] = partition(row.split)
        self._new = {slug: activity.new for slug, activity in activities.items()}
        self._new |= {row.activity: row.split in NEW_SPLITS for row in planned}
        self._scored = held_out(videos=True)

    def split(self, video_id: str, activity: str) -> str | None:
        """The split; None for a new activity in a video of the train side."""
        side = self._video.get(video_id) or partition_of(video_id)
        if not self._new.get(activity, False):
            return "train" if side == "train" else f"{side}_known"
        return None if side == "train" else f"{self._scored.get(activity) or side}_new"


def _on_one_side(clips: Sequence[Clip], left_out: Counter[str]) -> list[Clip]:
    """Without clips of new activities whose video has clips of another side."""
    sides: dict[str, set[str]] = {}
    for clip in clips:
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
