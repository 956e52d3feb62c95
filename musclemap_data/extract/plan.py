"""What each shard needs, computed without writing: which rows stay, which clips are extracted."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from musclemap_data.errors import RETRIED_BY_DEFAULT, Failure
from musclemap_data.extract.clip import describe_cut
from musclemap_data.ledger.rows import ClipRow
from musclemap_data.modalities.settings import ExtractionSettings

Place = tuple[str, int]
"""A shard: its split and number."""

Labels = Mapping[str, object]
"""The columns of a row that may change without a new extraction, as ``labels_of`` gives them."""


@dataclass(frozen=True, slots=True)
class StagedRow:
    """A row that an interrupted run left in ``work/``.

    Attributes:
        source_sha256: of the video it was made from.
        provenance: JSON: modality -> extractor, version and settings.
    """

    source_sha256: str
    provenance: str


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row of a shard, without its modalities.

    Attributes:
        number: which row of the shard, from 0.
        source_sha256, provenance: as in ``StagedRow``.
        labels: as they stand in the shard.
    """

    number: int
    source_sha256: str
    provenance: str
    labels: Labels


@dataclass(frozen=True)
class Wish:
    """What the rows are to be, and which clips may be extracted for it.

    Attributes:
        made: modality -> how it is to be made, for all that a row must have.
        settings: of the cut and the modalities.
        muscles: activity -> 20 booleans, of all activities of the clips.
        retry_failed: also extract clips that failed before for good.
        only: ids of the clips that may be extracted; None: every clip.
    """

    made: Mapping[str, Mapping[str, object]]
    settings: ExtractionSettings
    muscles: Mapping[str, Sequence[bool]]
    retry_failed: bool = False
    only: Collection[str] | None = None


@dataclass(frozen=True)
class ShardPlan:
    """What one shard needs. A clip without a row that is in none of these has failed or waits.

    Attributes:
        present: clip id -> its row in the shard, which is as wished.
        stale: clip id -> its row in the shard, which lacks a modality or has an outdated one. What
            is made anew is merged into it; where nothing is, it stays as it is.
        staged: ids of the clips whose missing modalities are in ``work/`` already.
        todo: clip id -> the modalities to extract.
        as_is: whether the shard holds the present and stale rows, no others, in order and with
            the labels of now. Then it is not written unless something is made anew.
    """

    present: dict[str, int]
    stale: dict[str, int]
    staged: list[str]
    todo: dict[str, tuple[str, ...]]
    as_is: bool


@dataclass(frozen=True)
class Plan:
    """What a build has to do.

    Attributes:
        shards: place -> what the shard needs, for every shard that has a clip.
        failed: clip id -> failure of an earlier run that is for good, of the clip or its video.
        waiting: number of clips without a row whose video is not downloaded.
        kept: ids of clips whose row is not as wished, and whose video is no longer there.
    """

    shards: dict[Place, ShardPlan]
    failed: dict[str, Failure]
    waiting: int
    kept: tuple[str, ...] = ()

    @property
    def present(self) -> int:
        """Clips whose row is as wished."""
        return sum(len(shard.present) for shard in self.shards.values())

    @property
    def total(self) -> int:
        """Clips to extract."""
        return sum(len(shard.todo) for shard in self.shards.values())

    def todo(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Ids of the clips to extract, each with its modalities, shard by shard."""
        for shard in self.shards.values():
            yield from shard.todo.items()


def make_plan(
    clips: Iterable[ClipRow],
    stored: Callable[[Place], Mapping[str, StoredRow]],
    staged: Mapping[str, StagedRow],
    wish: Wish,
) -> Plan:
    """Compare what is there with what is wished; nothing is written.

    Args:
        clips: of the ledger, in its order.
        stored: gives the rows of a shard, by clip id in their order; none where it is absent or
            damaged. It is called once a shard, so that the rows of one are in memory at a time.
        staged: rows in ``work/``, by clip id.
        wish: what the rows are to be.
    """
    shards: dict[Place, ShardPlan] = {}
    failed: dict[str, Failure] = {}
    waiting = 0
    kept: list[str] = []
    for (split, number), members in groupby(clips, lambda clip: (clip.split, clip.shard_number)):
        rows = {} if number is None else stored((split, number))
        present: dict[str, int] = {}
        stale: dict[str, int] = {}
        taken: list[str] = []
        todo: dict[str, tuple[str, ...]] = {}
        labels: list[tuple[str, Labels]] = []
        for clip in members:
            clip_id, failure = clip.clip_id, clip.failure
            has_video = clip.video.state == "downloaded" and number is not None
            missing = tuple(wish.made)
            row = rows.get(clip_id)
            if row is not None and _shows(row, clip, wish.settings):
                labels.append((clip_id, labels_of(clip, wish)))
                made = json.loads(row.provenance)
                missing = tuple(name for name in missing if made.get(name) != wish.made[name])
                if not missing or not has_video:  # without its video, it is as good as can be
                    present[clip_id] = row.number
                    if missing:
                        kept.append(clip_id)
                    continue
                stale[clip_id] = row.number
            if not has_video and clip.video.failure is not None:
                failed[clip_id] = clip.video.failure
            elif not has_video:
                waiting += 1
            elif _is_made(staged.get(clip_id), clip, missing, wish):
                taken.append(clip_id)
            elif failure and not wish.retry_failed and _is_for_good(failure):
                failed[clip_id] = failure
            elif wish.only is None or clip_id in wish.only:
                todo[clip_id] = missing
        if number is not None:
            as_is = labels == [(clip_id, row.labels) for clip_id, row in rows.items()]
            shards[split, number] = ShardPlan(present, stale, taken, todo, as_is)
    if wish.only is not None:
        failed = {clip_id: failed[clip_id] for clip_id in failed if clip_id in wish.only}
    return Plan(shards, failed, waiting, tuple(kept))


def labels_of(clip: ClipRow, wish: Wish) -> dict[str, object]:
    """The labels of a clip as of now, which its row is to have."""
    return {
        "video_id": clip.video.video_id,
        "url": clip.video.url,
        "activity": clip.activity,
        "split": clip.split,
        "muscles": list(wish.muscles[clip.activity]),
    }


def _shows(row: StoredRow, clip: ClipRow, settings: ExtractionSettings) -> bool:
    """Whether a row shows the frames that its clip would have today."""
    if clip.video.state == "downloaded" and row.source_sha256 != clip.video.sha256:
        return False
    cut = json.loads(row.provenance).get("cut")
    return bool(cut == describe_cut((clip.start_s, clip.end_s), settings))


def _is_made(row: StagedRow | None, clip: ClipRow, missing: Iterable[str], wish: Wish) -> bool:
    """Whether a staged row is just what is missing of its clip."""
    if row is None or row.source_sha256 != clip.video.sha256:
        return False
    cut = describe_cut((clip.start_s, clip.end_s), wish.settings)
    wanted = {"cut": cut, **{name: wish.made[name] for name in missing}}
    return bool(json.loads(row.provenance) == wanted)


def _is_for_good(failure: Failure) -> bool:
    return failure.failure_class not in RETRIED_BY_DEFAULT
