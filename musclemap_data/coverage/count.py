"""Counts by activity, stage and split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from musclemap_data.catalog import SPLITS, Activity
from musclemap_data.manifest import Clip
from musclemap_data.review.decisions import read_decisions
from musclemap_data.review.material import DECISIONS, proposed
from musclemap_data.review.opinions import carry_over, opinions
from musclemap_data.review.outcome import agreed
from musclemap_data.segment.planned import Plan, Sides, planned
from musclemap_data.segment.proposals import PROPOSALS_FILE
from musclemap_data.splits import held_out

Stage = Literal["listed", "downloaded", "proposed", "accepted", "built"]
STAGES: tuple[Stage, ...] = get_args(Stage)
MEANING: Mapping[Stage, str] = {
    "listed": "have a clip or a whole video in the list",
    "downloaded": "have one whose video is downloaded",
    "proposed": "have a clip that segment found in a whole video",
    "accepted": "have one of these that a reviewer accepted",
    "built": "have a clip in the shards",
}
"""Stage -> what the activities that have reached it have."""


@dataclass
class ActivityCoverage:
    """How far one activity has come.

    Attributes:
        slug, name, family: of the activity.
        new: whether it is held out from training.
        splits: in which clips of it are wanted: three of a known activity, one or two of a new one.
        counts: stage -> split -> how many.
        ready: downloaded clips whose seconds are known, and that are not built.
        whole: downloaded whole videos.
    """

    slug: str
    name: str
    family: str
    new: bool
    splits: tuple[str, ...]
    counts: dict[Stage, Counter[str]] = field(
        default_factory=lambda: {stage: Counter() for stage in STAGES}
    )
    ready: int = 0
    whole: int = 0

    def total(self, stage: Stage) -> int:
        """How many there are at a stage, in all splits."""
        return self.counts[stage].total()

    @property
    def empty_splits(self) -> tuple[str, ...]:
        """Splits in which clips are wanted and none is built."""
        return tuple(split for split in self.splits if not self.counts["built"][split])

    @property
    def next_step(self) -> str:
        """What brings the first clip of it, or more splits, one step on; empty if all have one."""
        if not self.empty_splits:
            return ""
        if self.ready or self.total("accepted") > self.total("built"):
            return "build"
        if self.total("proposed") > self.total("accepted"):
            return "review"
        if self.whole and not self.total("proposed"):
            return "segment"
        if self.total("listed") > self.total("downloaded"):
            return "download"
        return "list"


NEXT_COMMANDS: Mapping[str, str] = {
    "build": "`musclemap extract-modalities`, after `musclemap review manifest` and "
    "`musclemap download` where clips were reviewed",
    "review": "`musclemap review`",
    "segment": "`musclemap segment`",
    "download": "`musclemap download --tier all`",
    "list": "more videos: `musclemap collect`, or a line in the list (annotations/README.md)",
}
"""``ActivityCoverage.next_step`` -> how."""


@dataclass(frozen=True)
class Coverage:
    """The coverage of all activities, those that miss most first.

    Attributes:
        activities: of each, how far it has come.
        homeless: proposals of new activities in videos of the train side, which have no split.
    """

    activities: Sequence[ActivityCoverage]
    homeless: int = 0

    def with_any(self, stage: Stage) -> int:
        """Activities that have anything at a stage."""
        return sum(each.total(stage) > 0 for each in self.activities)

    def by_split(self, stage: Stage) -> dict[str, int]:
        """Split -> how many there are at a stage."""
        return {split: sum(a.counts[stage][split] for a in self.activities) for split in SPLITS}


def count_coverage(
    listed: Iterable[Clip], data_dir: Path, activities: Mapping[str, Activity]
) -> Coverage:
    """Count what is listed, and what a data directory has of it.

    Args:
        listed: the rows of the list; both tiers.
        data_dir: it may be empty or missing: then only the list is counted.
        activities: the activity table.

    Raises:
        UserError: a file in the data directory is malformed.
    """
    listed = list(listed)
    plan = planned(data_dir)
    new_in_list = {clip.activity for clip in listed if clip.split.endswith("_new")}
    found = {
        slug: _empty(activity, activity.new or slug in new_in_list)
        for slug, activity in activities.items()
    }

    def note(stage: Stage, activity: str, split: str) -> None:
        if activity in found:  # a whole video may be said to show nothing in particular
            found[activity].counts[stage][split] += 1

    for clip in listed:
        note("listed", clip.activity, clip.split)
    for row in (*plan.clips, *plan.whole):
        if row.video.state == "downloaded":
            note("downloaded", row.activity, row.split)
        if row.shard_row is not None:
            note("built", row.activity, row.split)
    for row in plan.clips:
        if row.activity in found:
            found[row.activity].ready += row.shard_row is None and row.video.state == "downloaded"
    for row in plan.whole:
        if row.activity in found:
            found[row.activity].whole += row.video.state == "downloaded"
    homeless = _count_proposals(data_dir, activities, plan, note)
    order = sorted(
        found.values(),
        key=lambda each: (
            -len(each.empty_splits) / len(each.splits),
            [each.total(stage) for stage in reversed(STAGES)],
            each.slug,
        ),
    )
    return Coverage(order, homeless)


def _empty(activity: Activity, new: bool) -> ActivityCoverage:
    if new:
        side = held_out(videos=True).get(activity.slug)
        splits: tuple[str, ...] = (f"{side}_new",) if side else ("val_new", "test_new")
    else:
        splits = ("train", "val_known", "test_known")
    return ActivityCoverage(activity.slug, activity.name, activity.family, new, splits)


def _count_proposals(
    data_dir: Path,
    activities: Mapping[str, Activity],
    plan: Plan,
    note: Callable[[Stage, str, str], None],
) -> int:
    """Count what was proposed and accepted; gives the proposals that have no split."""
    if not (data_dir / PROPOSALS_FILE).is_file():
        return 0
    material, sides, homeless = proposed(data_dir), Sides(activities, plan), 0
    for stretch in material.stretches:
        activity = stretch.activity or stretch.suggested
        if stretch.left_out or not activity:
            continue
        split = sides.split(stretch.video_id, activity)
        homeless += split is None
        if split:
            note("proposed", activity, split)
    if (data_dir / DECISIONS).is_file():
        decisions = carry_over(read_decisions(data_dir / DECISIONS), material.stretches)
        for pieces in agreed(opinions(decisions), None)[0].values():
            for piece in pieces:
                if split := sides.split(piece.video_id, piece.activity):
                    note("accepted", piece.activity, split)
    return homeless
