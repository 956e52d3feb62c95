"""The ledger: what it remembers of a plan, of what happened, and what it refuses."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musclemap_data.errors import Failure, FailureClass, UserError
from musclemap_data.files import lock_data_dir
from musclemap_data.ledger import Ledger
from musclemap_data.ledger.rows import ClipRow, Rest, VideoFacts
from musclemap_data.manifest import DEMONSTRATION, Clip

SPLITS = ("train", "val_known", "test_known")
FACTS = VideoFacts("videos/v.mp4", 1000, "a" * 64, "yt-dlp 2026.1", 12.5, "Squats", "Ann", "CC BY")
GONE = Failure("download", FailureClass.GONE, "Video unavailable")
NETWORK = Failure("download", FailureClass.NETWORK, "timed out")
SHORT = Failure("cut", FailureClass.TOO_SHORT, "the video ends at 3 s")


def clip(number: int, **changes: object) -> Clip:
    """Clip ``c00``, ``c01``, ... of the video of the same number."""
    url = f"https://example.org/{number}"
    made = Clip(f"c{number:02}", f"v{number:02}", url, 1.0, 3.0, "squat", "train")
    return replace(made, **changes)


def clips_of(ledger: Ledger) -> dict[str, ClipRow]:
    return {row.clip_id: row for row in ledger.clips()}


def download(ledger: Ledger, video_ids: Iterable[str] | None = None) -> None:
    for video_id in video_ids or [video.video_id for video in ledger.videos()]:
        ledger.video_downloaded(video_id, replace(FACTS, file=f"videos/{video_id}.mp4"), 0.5)


def build(ledger: Ledger, clips_per_shard: int = 64) -> None:
    """As a build without a failure ends."""
    ledger.assign_shards(clips_per_shard)
    places: dict[tuple[str, int], list[str]] = {}
    for row in ledger.clips():
        if row.shard_number is not None:
            places.setdefault((row.split, row.shard_number), []).append(row.clip_id)
    for place, ids in places.items():
        ledger.shard_written(*place, dict.fromkeys(sorted(ids), FACTS.sha256), {})


def places_of(ledger: Ledger) -> dict[str, tuple[str, int | None]]:
    return {row.clip_id: (row.split, row.shard_number) for row in ledger.clips()}


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path) as made:
        yield made


# -- the plan -----------------------------------------------------------------------------------


def test_a_new_plan_is_all_still_to_do(ledger, tmp_path):
    ledger.sync([clip(0), clip(1, url="mine/a.mp4", end_s=None)], tmp_path / "manifests")
    first, second = ledger.clips()
    assert (first.clip_id, first.start_s, first.end_s) == ("c00", 1.0, 3.0)
    assert (first.activity, first.split, first.state) == ("squat", "train", "planned")
    assert (first.shard_number, first.shard_row, first.failure) == (None, None, None)
    assert (first.video.url, first.video.local_path) == ("https://example.org/0", None)
    assert (first.video.state, first.video.attempts, first.video.file) == ("planned", 0, None)
    assert second.end_s is None
    assert second.video.local_path == str((tmp_path / "manifests/mine/a.mp4").resolve())


def test_the_same_plan_again_changes_nothing(ledger, tmp_path):
    plan = [clip(0), clip(1), clip(2)]
    ledger.sync(plan, tmp_path)
    download(ledger, ["v00"])
    ledger.video_failed("v01", GONE, 0.1)
    build(ledger)
    before = ledger.clips()
    ledger.sync(plan, tmp_path)
    assert ledger.clips() == before
    assert [row.state for row in before] == ["planned", "planned", "built"]


def test_clips_are_added_and_withdrawn_and_come_back_to_their_place(ledger, tmp_path):
    ledger.sync([clip(0), clip(1)], tmp_path)
    download(ledger)
    build(ledger)
    before = places_of(ledger)
    ledger.sync([clip(1), clip(2)], tmp_path)
    assert set(clips_of(ledger)) == {"c01", "c02"}
    assert [video.video_id for video in ledger.videos()] == ["v01", "v02"]
    assert clips_of(ledger)["c01"].state == "built"
    ledger.sync([clip(0), clip(1)], tmp_path)
    back = clips_of(ledger)["c00"]
    assert (back.state, back.shard_row, back.video.state) == ("planned", None, "downloaded")
    assert places_of(ledger) == before


def test_what_is_kept_is_neither_withdrawn_nor_added(ledger, tmp_path):
    ledger.sync([clip(0), clip(1)], tmp_path)
    ledger.sync([clip(2)], tmp_path, keep=["c01", "c09"])
    assert set(clips_of(ledger)) == {"c01", "c02"}


def test_a_whole_demonstration_is_fetched_but_never_a_row(ledger, tmp_path):
    whole = clip(1, tier=DEMONSTRATION, start_s=0.0, end_s=None)
    ledger.sync([clip(0), whole], tmp_path)
    assert {video.video_id for video in ledger.videos()} == {"v00", "v01"}
    assert ledger.summary().whole == 0
    download(ledger)
    ledger.assign_shards(2)
    assert set(clips_of(ledger)) == {"c00"}
    (found,) = ledger.demonstrations()
    assert (found.clip_id, found.state, found.shard_number) == ("c01", "whole", None)
    summary = ledger.summary()
    assert (summary.clips, summary.ready, summary.whole) == ({"planned": 1}, 1, 1)
    assert ledger.split_counts() == {"train": (1, 0)}
    # Once its seconds are known it is a clip as any other.
    ledger.sync([clip(0), clip(1)], tmp_path)
    assert not ledger.demonstrations() and clips_of(ledger)["c01"].state == "planned"
    assert clips_of(ledger)["c01"].video.state == "downloaded"


def test_a_changed_url_is_another_video(ledger, tmp_path):
    ledger.sync([clip(0), clip(1)], tmp_path)
    download(ledger)
    ledger.sync([clip(0, url="https://example.org/other"), clip(1)], tmp_path)
    changed, same = ledger.videos()
    assert (changed.state, changed.file, changed.sha256) == ("planned", None, None)
    assert (changed.attempts, changed.url) == (0, "https://example.org/other")
    assert (same.state, same.file) == ("downloaded", "videos/v01.mp4")
    # A local url is another video where the manifest lies in another folder.
    ledger.sync([clip(2, url="a.mp4")], tmp_path / "one")
    download(ledger, ["v02"])
    ledger.sync([clip(2, url="a.mp4")], tmp_path / "two")
    assert ledger.videos()[0].state == "planned"


@pytest.mark.parametrize(
    ("changes", "keeps_shard"),
    [({"end_s": None}, True), ({"activity": "lunge"}, True), ({"split": "val_known"}, False)],
)
def test_a_changed_clip_is_planned_anew_and_another_split_has_another_shard(
    ledger, tmp_path, changes, keeps_shard
):
    ledger.sync([clip(0), clip(1)], tmp_path)
    download(ledger)
    build(ledger)
    ledger.sync([clip(0, **changes), clip(1)], tmp_path)
    rows = clips_of(ledger)
    assert (rows["c00"].state, rows["c00"].shard_row) == ("planned", None)
    assert (rows["c00"].shard_number == 0) == keeps_shard
    assert (rows["c01"].state, rows["c01"].shard_row) == ("built", 1)


def test_the_label_table_is_that_of_the_last_plan(ledger, tmp_path):
    assert ledger.activity_table() == "musclemap"
    ledger.sync([clip(0)], tmp_path, activity_table="kinetics")
    assert ledger.activity_table() == "kinetics"


# -- places -------------------------------------------------------------------------------------


def test_shards_are_filled_in_the_order_of_ids_split_by_split(ledger, tmp_path):
    plan = [clip(n, split="val_known" if n == 3 else "train") for n in (4, 2, 3, 0, 1)]
    ledger.sync(plan, tmp_path)
    download(ledger, ["v00", "v01", "v03", "v04"])
    ledger.assign_shards(2)
    assert places_of(ledger) == {
        "c00": ("train", 0),
        "c01": ("train", 0),
        "c04": ("train", 1),
        "c02": ("train", None),  # no video, no place
        "c03": ("val_known", 0),
    }
    # It comes later, and moves nothing: not into the half-full shard 1 either.
    download(ledger, ["v02"])
    ledger.assign_shards(2)
    assert places_of(ledger)["c02"] == ("train", 2)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.integers(0, 14), st.sampled_from(SPLITS), max_size=12),
            st.integers(1, 5),
            st.sets(st.integers(0, 14)),
        ),
        max_size=5,
    )
)
def test_no_clip_ever_leaves_its_shard_while_its_split_stays(history):
    """Whatever is added, withdrawn, moved and downloaded, in whatever order."""
    known: dict[str, tuple[str, int]] = {}
    with TemporaryDirectory() as folder, Ledger(Path(folder)) as ledger:
        ledger._db.execute("PRAGMA synchronous = OFF")  # a test need not outlast a power cut
        for plan, clips_per_shard, there in history:
            ledger.sync([clip(n, split=split) for n, split in plan.items()], Path(folder))
            download(ledger, [f"v{n:02}" for n in there & plan.keys()])
            ledger.assign_shards(clips_per_shard)
            new = Counter()
            for clip_id, row in clips_of(ledger).items():
                split, number = row.split, row.shard_number
                if number is None:
                    assert row.video.state == "planned"
                elif clip_id in known and known[clip_id][0] == split:
                    assert known[clip_id] == (split, number)
                else:
                    new[split, number] += 1
                    known[clip_id] = (split, number)
            assert max(new.values(), default=0) <= clips_per_shard


def test_a_shard_has_its_clips_in_order_and_no_others(ledger, tmp_path):
    ledger.sync([clip(n) for n in range(5)], tmp_path)
    download(ledger)
    ledger.assign_shards(2)
    found = [ledger.clips_of("train", number) for number in range(4)]
    assert [[row.clip_id for row in rows] for rows in found] == [
        ["c00", "c01"], ["c02", "c03"], ["c04"], [],
    ]  # fmt: skip
    assert [row for rows in found for row in rows] == ledger.clips()
    assert ledger.activities() == {row.activity for row in ledger.clips()}


def test_kept_counts_are_those_of_a_count(ledger, tmp_path):
    """Whatever happens to a clip and its shard."""

    def counted_anew():
        with Ledger(tmp_path, read_only=True) as other:
            return other.split_counts()

    ledger.sync([clip(n) for n in range(4)], tmp_path)
    download(ledger)
    ledger.assign_shards(64)
    assert ledger.split_counts() == counted_anew() == {"train": (4, 0)}
    sources = {f"c0{n}": "a" * 64 for n in range(4)}
    ledger.shard_written("train", 0, sources, {})
    assert ledger.split_counts() == counted_anew() == {"train": (4, 4)}
    for _ in range(2):  # the second time it has no row to lose
        ledger.clip_failed("c01", SHORT)
        assert ledger.split_counts() == counted_anew() == {"train": (4, 3)}
    ledger.shard_written("train", 0, {"c00": "a" * 64, "c01": "a" * 64}, {})
    assert ledger.split_counts() == counted_anew() == {"train": (4, 2)}
    ledger.sync([clip(0)], tmp_path)
    assert ledger.split_counts() == counted_anew() == {"train": (1, 1)}


# -- what happened ------------------------------------------------------------------------------


def test_a_downloaded_video_is_remembered_with_what_its_site_says(ledger, tmp_path):
    ledger.sync([clip(0)], tmp_path)
    ledger.video_failed("v00", NETWORK, 3.0)
    failed = ledger.videos()[0]
    assert (failed.state, failed.attempts, failed.failure) == ("failed", 1, NETWORK)
    ledger.video_downloaded("v00", FACTS, 1.5)
    row = ledger.videos()[0]
    known = {name: getattr(row, name) for name in VideoFacts.__dataclass_fields__}
    assert VideoFacts(**known) == FACTS
    assert (row.state, row.attempts, row.failure) == ("downloaded", 2, None)
    ledger.video_missing("v00")
    assert (ledger.videos()[0].state, ledger.videos()[0].file) == ("planned", None)


def test_a_written_shard_is_remembered_row_by_row(ledger, tmp_path):
    ledger.sync([clip(0), clip(1), clip(2)], tmp_path)
    download(ledger)
    ledger.assign_shards(64)
    ledger.clip_failed("c01", SHORT)
    sources = {"c00": "a" * 64, "c02": "b" * 64}
    ledger.shard_written("train", 0, sources, {"c02": {"cut": 0.25}})
    rows = clips_of(ledger)
    assert [(r.state, r.shard_row, r.attempts) for r in rows.values()] == [
        ("built", 0, 0),
        ("failed", None, 1),
        ("built", 1, 1),
    ]
    assert rows["c01"].failure == SHORT
    assert (rows["c00"].timings, rows["c02"].timings) == (None, '{"cut": 0.25}')
    assert ledger.split_counts() == {"train": (3, 2)}
    # A row that is no longer in the shard is no longer in the ledger; times of before are kept.
    ledger.shard_written("train", 0, {"c02": "b" * 64}, {})
    rows = clips_of(ledger)
    assert (rows["c00"].shard_row, rows["c02"].shard_row) == (None, 0)
    assert rows["c02"].timings == '{"cut": 0.25}'


def test_the_summary_counts_a_clip_of_a_lost_video_with_the_videos_class(ledger, tmp_path):
    plan = [clip(n, video_id=f"v{n // 2}", url=f"https://example.org/{n // 2}") for n in range(8)]
    ledger.sync(plan, tmp_path)
    download(ledger, ["v0", "v2", "v3"])
    ledger.video_failed("v1", GONE, 0.1)
    ledger.assign_shards(64)
    ledger.shard_written("train", 0, {"c00": "a" * 64, "c06": "a" * 64}, {})
    ledger.clip_failed("c01", SHORT)
    ledger.video_failed("v3", NETWORK, 0.1)  # c06 is in a shard for all that; c07 is not
    summary = ledger.summary()
    assert summary.videos == {"downloaded": 2, "failed": 2}
    assert summary.clips == {"built": 2, "failed": 4, "planned": 2}
    assert [(group.clips, group.example, group.failure) for group in summary.failures] == [
        (2, "v1", GONE),
        (1, "v3", NETWORK),
        (1, "c01", SHORT),
    ]


def test_only_what_failed_with_the_asked_class_is_planned_again(ledger, tmp_path):
    plan = [clip(n, video_id=f"v{n // 2}", url=f"https://example.org/{n // 2}") for n in range(8)]
    ledger.sync(plan, tmp_path)
    download(ledger, ["v0", "v3"])
    ledger.video_failed("v1", NETWORK, 0.1)
    ledger.video_failed("v2", GONE, 0.1)
    ledger.clip_failed("c00", SHORT)
    ledger.clip_failed("c06", replace(SHORT, failure_class=FailureClass.NETWORK))
    assert ledger.plan_again([FailureClass.NETWORK]) == (["v1"], ["c02", "c03", "c06"])
    rows = clips_of(ledger)
    assert (rows["c02"].video.state, rows["c06"].state) == ("planned", "planned")
    assert (rows["c04"].video.failure, rows["c00"].failure) == (GONE, SHORT)
    assert ledger.plan_again([FailureClass.GONE, FailureClass.TOO_SHORT]) == (
        ["v2"],
        ["c00", "c04", "c05"],
    )
    assert ledger.summary().failures == []


def test_what_was_withdrawn_is_not_planned_again(ledger, tmp_path):
    ledger.sync([clip(0), clip(1)], tmp_path)
    ledger.video_failed("v00", NETWORK, 0.1)
    ledger.sync([clip(1)], tmp_path)
    assert ledger.plan_again(list(FailureClass)) == ([], [])


def test_hosts_that_rest_are_replaced_as_a_whole(ledger):
    now = datetime.now(UTC).replace(microsecond=0)
    rests = [Rest(name, now + timedelta(hours=1), "429") for name in ("a.org", "b.org:81")]
    ledger.set_resting_hosts(rests)
    assert ledger.resting_hosts() == {"a.org": rests[0], "b.org:81": rests[1]}
    ledger.set_resting_hosts(rests[1:])
    assert list(ledger.resting_hosts()) == ["b.org:81"]


# -- the file -----------------------------------------------------------------------------------


def test_what_is_committed_is_there_after_the_process_is_gone(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.sync([clip(0)], tmp_path)
        with pytest.raises(KeyboardInterrupt), ledger._transaction():
            ledger._db.execute("DELETE FROM clips")
            raise KeyboardInterrupt
        assert len(ledger.clips()) == 1
        # Another process sees it before this one closes it.
        with Ledger(tmp_path, read_only=True) as other:
            assert other.clips() == ledger.clips()


def test_who_reads_cannot_write(ledger, tmp_path):
    ledger.sync([clip(0)], tmp_path)
    with Ledger(tmp_path, read_only=True) as reader:
        with pytest.raises(UserError, match="cannot be written"):
            reader.video_failed("v00", GONE, 0.1)
        assert reader.videos()[0].failure is None


def test_a_ledger_in_a_folder_that_cannot_be_written_is_read_as_it_is(tmp_path, monkeypatch):
    with Ledger(tmp_path) as ledger:
        ledger.sync([clip(0)], tmp_path)
    # Tests may run as root, whom no permission stops: the system's answer is given for it.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with Ledger(tmp_path, read_only=True) as ledger:
        assert list(clips_of(ledger)) == ["c00"]
        assert [path.name for path in tmp_path.iterdir()] == ["ledger.sqlite"]


def test_a_copy_is_a_plan_of_its_own(ledger, tmp_path):
    ledger.sync([clip(0)], tmp_path)
    (tmp_path / "copy").mkdir()
    ledger.copy_to(tmp_path / "copy")
    with Ledger(tmp_path / "copy") as copy:
        copy.sync([clip(1)], tmp_path)
        assert list(clips_of(copy)) == ["c01"]
    assert list(clips_of(ledger)) == ["c00"]


def test_the_quality_of_a_skeleton_is_recorded_also_in_an_older_ledger(tmp_path):
    def qualities() -> list[float | None]:
        with sqlite3.connect(tmp_path / "ledger.sqlite") as db:
            return [row[0] for row in db.execute("SELECT skeleton_quality FROM clips")]

    with Ledger(tmp_path) as ledger:
        ledger.sync([clip(0)], tmp_path)
    with sqlite3.connect(tmp_path / "ledger.sqlite") as db:
        db.execute("ALTER TABLE clips DROP COLUMN skeleton_quality")
    with Ledger(tmp_path) as ledger:
        ledger.shard_written("train", 0, {"c00": "0" * 64}, {}, skeleton_quality={"c00": 0.25})
        assert qualities() == [0.25]
        ledger.shard_written("train", 0, {"c00": "0" * 64}, {})  # its row has no skeleton now
        assert qualities() == [None]


def test_no_ledger_another_version_and_another_file_are_refused(tmp_path):
    with pytest.raises(UserError, match="Run `musclemap download` first"):
        Ledger(tmp_path, read_only=True)
    with Ledger(tmp_path):
        pass
    other = sqlite3.connect(tmp_path / "ledger.sqlite")
    other.execute("PRAGMA user_version = 99")
    other.close()
    for read_only in (True, False):
        with pytest.raises(UserError, match="has version 99; this MuscleMap reads 1"):
            Ledger(tmp_path, read_only=read_only)
    (tmp_path / "ledger.sqlite").write_bytes(b"no database at all, but a text" * 100)
    with pytest.raises(UserError, match="cannot be used as a ledger"):
        Ledger(tmp_path)


def test_a_full_disk_is_a_message_and_loses_nothing(ledger, tmp_path):
    ledger.sync([clip(0)], tmp_path)
    ledger._db.execute("PRAGMA max_page_count = 1")  # means: not one page more
    with pytest.raises(UserError, match=r"full.*make room") as caught:
        ledger.sync([clip(n) for n in range(99)], tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert list(clips_of(ledger)) == ["c00"]
    ledger._db.execute("PRAGMA max_page_count = 10000")
    ledger.sync([clip(n) for n in range(99)], tmp_path)
    assert len(ledger.clips()) == 99


def test_a_data_directory_is_held_by_one_at_a_time(tmp_path):
    folder = tmp_path / "new" / "data"
    in_use = pytest.raises(UserError, match="in use by another musclemap run")
    with lock_data_dir(folder), in_use, lock_data_dir(folder):
        pass
    with lock_data_dir(folder):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"), lock_data_dir(tmp_path / "file"):
        pass
