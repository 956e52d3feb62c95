"""The plan of a build, from plain values: nothing is read, cut or written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musclemap_data.catalog import load_activities
from musclemap_data.errors import RETRIED_BY_DEFAULT, Failure, FailureClass
from musclemap_data.extract.clip import describe_cut
from musclemap_data.extract.plan import (
    Place,
    Plan,
    ShardPlan,
    StagedRow,
    StoredRow,
    Wish,
    labels_of,
    make_plan,
)
from musclemap_data.ledger import Ledger
from musclemap_data.ledger.rows import ClipRow, VideoFacts
from musclemap_data.manifest import Clip
from musclemap_data.modalities.settings import CutSettings, ExtractionSettings

RGB, FLOW = {"extractor": "a", "version": 1}, {"extractor": "b", "version": 1}
WISH = Wish(
    {"rgb": RGB, "flow": FLOW},
    ExtractionSettings(),
    {slug: activity.muscles for slug, activity in load_activities().items()},
)
PLACE: Place = ("train", 0)
GONE = Failure("download", FailureClass.GONE, "Video unavailable")
SHORT = Failure("cut", FailureClass.TOO_SHORT, "the video ends at 3 s")
BUG = Failure("extract", FailureClass.BUG, "out of memory")


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> ClipRow:
    """A clip whose video is downloaded, as a real ledger gives it."""
    with Ledger(tmp_path_factory.mktemp("ledger")) as ledger:
        ledger.sync([Clip("c0", "v0", "v0.mp4", 1.0, 2.0, "squat", "train")], Path("/videos"))
        ledger.video_downloaded("v0", VideoFacts("videos/v0.mp4", 9, "0" * 64, "copy"), 0.1)
        ledger.assign_shards(64)
        return ledger.clips()[0]


def gone(clip: ClipRow) -> ClipRow:
    return replace(clip, video=replace(clip.video, state="failed", file=None, failure=GONE))


def undownloaded(clip: ClipRow) -> ClipRow:
    return replace(clip, video=replace(clip.video, state="planned", file=None))


def failed(clip: ClipRow, failure: Failure) -> ClipRow:
    return replace(clip, state="failed", failure=failure)


def provenance(clip: ClipRow, **made: Any) -> str:
    cut = describe_cut((clip.start_s, clip.end_s), WISH.settings)
    return json.dumps({"cut": cut, **made}, sort_keys=True)


def stored(clip: ClipRow, number: int = 0, **made: Any) -> StoredRow:
    """The row of a clip as of now, with these modalities."""
    return StoredRow(
        number, str(clip.video.sha256), provenance(clip, **made), labels_of(clip, WISH)
    )


def staged(clip: ClipRow, **made: Any) -> dict[str, StagedRow]:
    return {clip.clip_id: StagedRow(str(clip.video.sha256), provenance(clip, **made))}


def plan(
    clips: ClipRow | Sequence[ClipRow],
    rows: Mapping[str, StoredRow] | None = None,
    staged: Mapping[str, StagedRow] | None = None,
    wish: Wish = WISH,
) -> Plan:
    clips = [clips] if isinstance(clips, ClipRow) else clips
    return make_plan(
        clips, lambda place: (rows or {}) if place == PLACE else {}, staged or {}, wish
    )


def test_a_new_clip_is_extracted_whole(clip):
    found = plan(clip)
    assert found == Plan({PLACE: ShardPlan({}, {}, [], {"c0": ("rgb", "flow")}, True)}, {}, 0)
    assert (found.total, list(found.todo()), found.present) == (1, [("c0", ("rgb", "flow"))], 0)


def test_a_row_as_wished_stays_and_nothing_is_written(clip):
    found = plan(clip, {"c0": stored(clip, rgb=RGB, flow=FLOW)})
    assert found == Plan({PLACE: ShardPlan({"c0": 0}, {}, [], {}, True)}, {}, 0)
    # A modality that is there besides is no reason to touch it.
    more = plan(clip, {"c0": stored(clip, rgb=RGB, flow=FLOW, skeleton={"version": 7})})
    assert more == found


@pytest.mark.parametrize("made", [{"rgb": RGB}, {"rgb": RGB, "flow": FLOW | {"version": 0}}])
def test_only_what_is_missing_or_outdated_is_extracted(clip, made):
    found = plan(clip, {"c0": stored(clip, **made)}).shards[PLACE]
    assert (found.present, found.stale, found.todo) == ({}, {"c0": 0}, {"c0": ("flow",)})


def test_other_frames_make_all_of_it_anew(clip):
    rows = {"c0": stored(clip, rgb=RGB, flow=FLOW)}
    moved = replace(clip, start_s=1.1)
    other_video = replace(clip, video=replace(clip.video, sha256="1" * 64))
    smaller = replace(WISH, settings=replace(WISH.settings, cut=CutSettings(short_side=32)))
    for found in (plan(moved, rows), plan(other_video, rows), plan(clip, rows, wish=smaller)):
        shard = found.shards[PLACE]
        assert (shard.present, shard.stale) == ({}, {})  # what it shows is not what is asked for
        assert (shard.todo, shard.as_is) == ({"c0": ("rgb", "flow")}, False)


def test_a_row_whose_video_is_gone_stays_with_what_it_has(clip):
    rows = {"c0": stored(clip, rgb=RGB)}
    for lost in (gone(clip), undownloaded(clip)):
        found = plan(lost, rows)
        assert found == Plan({PLACE: ShardPlan({"c0": 0}, {}, [], {}, True)}, {}, 0, ("c0",))


def test_a_clip_without_a_row_or_a_video_has_failed_or_waits(clip):
    assert plan(gone(clip)).failed == {"c0": GONE}
    assert plan(undownloaded(clip)).waiting == 1
    nowhere = replace(undownloaded(clip), shard_number=None)
    assert plan(nowhere) == Plan({}, {}, 1)
    # With other times than its row has, the row shows something else: it is not kept.
    moved = replace(undownloaded(clip), start_s=1.1)
    found = plan(moved, {"c0": stored(clip, rgb=RGB, flow=FLOW)})
    assert (found.waiting, found.shards[PLACE]) == (1, ShardPlan({}, {}, [], {}, False))


def test_a_failure_for_good_is_tried_again_only_when_asked(clip):
    again = replace(WISH, retry_failed=True)
    assert plan(failed(clip, SHORT)).failed == {"c0": SHORT}
    assert plan(failed(clip, SHORT), wish=again).total == 1
    assert plan(failed(clip, BUG)).total == 1
    # Its outdated row stays meanwhile.
    shard = plan(failed(clip, SHORT), {"c0": stored(clip, rgb=RGB)}).shards[PLACE]
    assert (shard.stale, shard.todo, shard.as_is) == ({"c0": 0}, {}, True)


def test_a_staged_row_is_used_where_it_is_just_what_is_missing(clip):
    rows = {"c0": stored(clip, rgb=RGB)}
    for found in (
        plan(clip, staged=staged(clip, rgb=RGB, flow=FLOW)),
        plan(clip, rows, staged(clip, flow=FLOW)),
        plan(failed(clip, SHORT), rows, staged(clip, flow=FLOW)),
    ):
        assert (found.shards[PLACE].staged, found.total, found.failed) == (["c0"], 0, {})
    for leftover in (
        staged(clip, flow=FLOW),  # without a row to put it into
        staged(replace(clip, start_s=0.5), rgb=RGB, flow=FLOW),
        {"c0": StagedRow("1" * 64, provenance(clip, rgb=RGB, flow=FLOW))},
    ):
        assert plan(clip, staged=leftover).shards[PLACE].todo == {"c0": ("rgb", "flow")}


def test_only_the_clips_asked_for_are_extracted_and_told_of(clip):
    other = replace(clip, clip_id="c1")
    rows = {"c0": stored(clip, rgb=RGB)}
    found = plan([clip, other], rows, wish=replace(WISH, only=["c1"]))
    assert found.shards[PLACE].todo == {"c1": ("rgb", "flow")}
    assert found.shards[PLACE].stale == {"c0": 0}
    lost = plan([gone(clip), gone(other)], wish=replace(WISH, only={"c1"}))
    assert lost.failed == {"c1": GONE}


@pytest.mark.parametrize("what", ["url", "activity", "withdrawn", "order", "muscles"])
def test_a_shard_that_says_something_else_is_written_again(clip, what):
    other = replace(clip, clip_id="c1")
    made = {"rgb": RGB, "flow": FLOW}
    rows = {"c0": stored(clip, 0, **made), "c1": stored(other, 1, **made)}
    clips, wish = [clip, other], WISH
    assert plan(clips, rows).shards[PLACE].as_is
    if what == "url":
        clips[0] = replace(clip, video=replace(clip.video, url="elsewhere.mp4"))
    elif what == "activity":
        clips[1] = replace(other, activity="lunge")
    elif what == "withdrawn":
        clips = clips[:1]
    elif what == "order":
        rows = {"c1": rows["c1"], "c0": rows["c0"]}
    else:
        wish = replace(WISH, muscles={"squat": [False] * 20})
    found = plan(clips, rows, wish=wish)
    assert set(found.shards[PLACE].present) == {clip.clip_id for clip in clips}
    assert not found.shards[PLACE].as_is
    assert found.total == 0


FAILURES = st.builds(Failure, st.just("extract"), st.sampled_from(FailureClass), st.just("why"))


@given(st.data())
def test_every_clip_is_in_just_one_count(clip, data):
    clips, rows, left = [], {}, {}
    for number in range(data.draw(st.integers(1, 12))):
        own = replace(clip, clip_id=f"c{number:02}", shard_number=number // 4)
        kind = data.draw(st.sampled_from(["there", "planned", "gone"]))
        own = {"there": own, "planned": undownloaded(own), "gone": gone(own)}[kind]
        if failure := data.draw(st.none() | FAILURES):
            own = failed(own, failure)
        made = {name: {"rgb": RGB, "flow": FLOW}[name]
                for name in data.draw(st.sets(st.sampled_from(["rgb", "flow"])))}  # fmt: skip
        if data.draw(st.booleans()):
            rows[own.clip_id] = stored(own, number % 4, **made)
        if data.draw(st.booleans()):
            left |= staged(own, **made)
        clips.append(own)
    wish = replace(WISH, retry_failed=data.draw(st.booleans()))

    def of_shard(place: Place) -> dict[str, StoredRow]:
        inside = {c.clip_id for c in clips if (c.split, c.shard_number) == place}
        return {name: row for name, row in rows.items() if name in inside}

    found = make_plan(clips, of_shard, left, wish)
    ends = [name for shard in found.shards.values() for name in (*shard.present, *shard.staged)]
    ends += [*found.failed, *dict(found.todo())]
    assert len(ends) + found.waiting == len(clips)
    assert len(set(ends)) == len(ends)
    assert all(modalities for _, modalities in found.todo())
    for shard in found.shards.values():  # no row is kept and forgotten at once
        assert not shard.present.keys() & (shard.stale.keys() | shard.todo.keys())
    assert all(
        failure == GONE or failure.failure_class not in RETRIED_BY_DEFAULT
        for failure in found.failed.values()
    )
