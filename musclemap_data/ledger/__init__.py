"""The ledger: what happened to every video and every clip, from URL to shard row.

One SQLite file in the data directory, written by one process (see ``files.lock_data_dir``).
Every change is one transaction, so a killed run leaves the state before or after it, never between.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

from musclemap_data.catalog import DEFAULT_TABLE
from musclemap_data.errors import Failure, FailureClass, UserError
from musclemap_data.ledger.file import open_database, transaction
from musclemap_data.ledger.rows import (
    LONGEST_REST_S,
    ClipRow,
    FailedClips,
    Rest,
    Summary,
    VideoFacts,
    VideoRow,
)
from musclemap_data.manifest import DEMONSTRATION, Clip

VIDEOS_KEPT = 1000
"""In memory, to be shared by their clips."""
_IN_PLAN = "clips.state NOT IN ('withdrawn', 'whole')"


class Ledger:
    """The ledger of one data directory.

    Raises:
        UserError: the file is not a ledger, or of another version.
    """

    def __init__(self, data_dir: Path, *, read_only: bool = False) -> None:
        self.path = Path(data_dir) / "ledger.sqlite"
        self._counts: dict[str, tuple[int, int]] | None = None
        if read_only and not self.path.exists():
            raise UserError(f"There is no ledger in {data_dir}. Run `musclemap download` first.")
        self._db = open_database(self.path, read_only=read_only)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database; the ledger cannot be used after this."""
        self._db.close()

    def _transaction(self) -> AbstractContextManager[None]:
        return transaction(self._db, self.path)

    # -- the plan ---------------------------------------------------------------------------

    def sync(
        self,
        clips: Sequence[Clip],
        manifest_dir: Path,
        *,
        keep: Collection[str] = (),
        activity_table: str = DEFAULT_TABLE,
    ) -> None:
        """Take clips as the plan: add, update, withdraw; what is unchanged keeps its state.

        Args:
            clips: the clips to build.
            manifest_dir: local urls are relative to it.
            keep: ids of other clips that stay in the plan if they are in it.
            activity_table: where the labels of the clips come from, see ``load_table``.
        """
        now = _now()
        self._counts = None
        with self._transaction():
            self._db.execute(
                "INSERT INTO facts VALUES ('activity_table', ?) "
                "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (activity_table,),
            )
            for clip in clips:
                local = None if clip.is_remote else str((manifest_dir / clip.url).resolve())
                self._db.execute(
                    """INSERT INTO videos (video_id, url, local_path, state, updated_at)
                    VALUES (?, ?, ?, 'planned', ?)
                    ON CONFLICT (video_id) DO UPDATE SET
                        state = 'planned', attempts = 0, file = NULL, bytes = NULL, sha256 = NULL,
                        failure_class = NULL, failure_stage = NULL, failure_reason = NULL,
                        url = excluded.url, local_path = excluded.local_path,
                        updated_at = excluded.updated_at
                    WHERE url != excluded.url OR local_path IS NOT excluded.local_path""",
                    (clip.video_id, clip.url, local, now),
                )
                # A clip that moved to another split leaves its place in the old shard.
                self._db.execute(
                    """INSERT INTO clips
                    (clip_id, video_id, start_s, end_s, activity, split, state, updated_at)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                    ON CONFLICT (clip_id) DO UPDATE SET
                        shard_number = CASE WHEN split = excluded.split THEN shard_number END,
                        video_id = excluded.video_id, start_s = excluded.start_s,
                        end_s = excluded.end_s, activity = excluded.activity,
                        split = excluded.split, state = excluded.state, attempts = 0,
                        shard_row = NULL,
                        failure_class = NULL, failure_stage = NULL, failure_reason = NULL,
                        updated_at = excluded.updated_at
                    WHERE state = 'withdrawn' OR video_id != excluded.video_id
                        OR (state = 'whole') != (excluded.state = 'whole')
                        OR start_s != excluded.start_s OR end_s IS NOT excluded.end_s
                        OR activity != excluded.activity OR split != excluded.split""",
                    (clip.clip_id, clip.video_id, clip.start_s, clip.end_s)
                    + (clip.activity, clip.split)
                    + ("whole" if clip.tier == DEMONSTRATION else "planned", now),
                )
            self._db.execute("CREATE TEMP TABLE IF NOT EXISTS wanted (clip_id TEXT PRIMARY KEY)")
            self._db.execute("DELETE FROM wanted")
            self._db.executemany(
                "INSERT OR IGNORE INTO wanted VALUES (?)",
                ((clip_id,) for clip_id in (*(clip.clip_id for clip in clips), *keep)),
            )
            self._db.execute(
                """UPDATE clips SET state = 'withdrawn', shard_row = NULL, updated_at = ?
                WHERE state != 'withdrawn' AND clip_id NOT IN (SELECT clip_id FROM wanted)""",
                (now,),
            )

    def assign_shards(self, clips_per_shard: int) -> None:
        """Give every clip without one a place: shards are filled in the order of clip ids.

        A place never changes afterwards, so that new clips never move old ones and an
        interrupted build ends with the same files as an undisturbed one.
        """
        with self._transaction():
            self._db.execute(
                """WITH first_free AS (
                    SELECT split, MAX(shard_number) + 1 AS number FROM clips
                    WHERE shard_number IS NOT NULL GROUP BY split
                ), placed AS (
                    SELECT clip_id, split,
                        ROW_NUMBER() OVER (PARTITION BY split ORDER BY clip_id) - 1 AS position
                    FROM clips
                    WHERE shard_number IS NULL AND state NOT IN ('withdrawn', 'whole')
                    AND video_id IN (SELECT video_id FROM videos WHERE state = 'downloaded')
                )
                UPDATE clips SET shard_number = COALESCE(first_free.number, 0) + position / ?
                FROM placed LEFT JOIN first_free USING (split)
                WHERE clips.clip_id = placed.clip_id""",
                (clips_per_shard,),
            )

    def place_clips(self, places: Iterable[tuple[str, int, str]]) -> None:
        """Give clips of the plan their places: (split, number of the shard, clip id) of each."""
        with self._transaction():
            self._db.executemany(
                "UPDATE clips SET shard_number = ?2 WHERE clip_id = ?3 AND split = ?1", places
            )

    def has_places(self) -> bool:
        """Whether any clip was given a place in a shard."""
        found = self._db.execute("SELECT 1 FROM clips WHERE shard_number IS NOT NULL LIMIT 1")
        return found.fetchone() is not None

    # -- reading ----------------------------------------------------------------------------

    def videos(self) -> list[VideoRow]:
        """Videos that still have a clip in the plan, by id."""
        rows = self._db.execute(
            """SELECT video_id, url, local_path, state, attempts, file, bytes, sha256, tool,
                duration_s, title, uploader, licence, failure_class, failure_stage, failure_reason
            FROM videos WHERE video_id IN (SELECT video_id FROM clips WHERE state != 'withdrawn')
            ORDER BY video_id"""
        )
        return [VideoRow(*(*row[:-3], _failure(*row[-3:]))) for row in rows]

    def clips(self) -> list[ClipRow]:
        """Clips in the plan, by split and place."""
        return list(self.iterate_clips())

    def clips_of(self, split: str, shard_number: int) -> list[ClipRow]:
        """Clips in the plan that belong to one shard, by id."""
        return list(self._clips(f"{_IN_PLAN} AND split = ? AND shard_number = ?",
                                (split, shard_number)))  # fmt: skip

    def demonstrations(self) -> list[ClipRow]:
        """Whole videos in the plan, whose clips ``segment`` proposes."""
        return list(self._clips("clips.state = 'whole'"))

    def iterate_clips(self) -> Iterator[ClipRow]:
        """As ``clips``, one after the other: a plan of millions need not fit in memory."""
        return self._clips(_IN_PLAN)

    def _clips(self, where: str, values: tuple[object, ...] = ()) -> Iterator[ClipRow]:
        rows = self._db.execute(
            f"""SELECT clip_id, start_s, end_s, clips.state, clips.attempts, shard_number,
                shard_row, timings, clips.failure_class, clips.failure_stage, clips.failure_reason,
                activity, split, video_id, url, local_path, videos.state, videos.attempts, file,
                bytes, sha256, tool, duration_s, title, uploader, licence, videos.failure_class,
                videos.failure_stage, videos.failure_reason
            FROM clips JOIN videos USING (video_id)
            WHERE {where} ORDER BY split, shard_number, clip_id""",  # noqa: S608
            values,
        )
        same: dict[str, str] = {}  # a million clips have a few hundred of these names
        videos: dict[str, VideoRow] = {}
        for row in rows:
            clip_id, start_s, end_s, *others = row[:8]
            activity, split = (same.setdefault(name, name) for name in row[11:13])
            video = videos.get(row[13])
            if video is None:
                if len(videos) == VIDEOS_KEPT:  # clips of one video mostly follow each other
                    videos.clear()
                video = VideoRow(*(*row[13:26], _failure(*row[26:])))
                videos[video.video_id] = video
            labels = (activity, split, *others, _failure(*row[8:11]))
            yield ClipRow(*(clip_id, video, start_s, end_s, *labels))

    def activities(self) -> set[str]:
        """Activities of the clips in the plan."""
        rows = self._db.execute(f"SELECT DISTINCT activity FROM clips WHERE {_IN_PLAN}")  # noqa: S608
        return {row["activity"] for row in rows}

    def split_counts(self) -> dict[str, tuple[int, int]]:
        """Split -> (clips in the plan, of these in a shard).

        They are counted once; what this object then changes is added.
        """
        if self._counts is None:
            rows = self._db.execute(
                f"""SELECT split, COUNT(*) AS planned, COUNT(shard_row) AS built FROM clips
                WHERE {_IN_PLAN} GROUP BY split"""  # noqa: S608
            )
            self._counts = {row["split"]: (row["planned"], row["built"]) for row in rows}
        return dict(self._counts)

    def _count_built(self, split: str, more: int) -> None:
        if self._counts is not None:
            planned, built = self._counts.get(split, (0, 0))
            self._counts[split] = planned, built + more

    def summary(self) -> Summary:
        """Counts of the plan: videos and clips by state, failed clips by class."""
        videos = self._db.execute(
            """SELECT state, COUNT(*) FROM videos WHERE video_id IN
            (SELECT video_id FROM clips WHERE state != 'withdrawn') GROUP BY state"""
        )
        clips = Counter[str]()
        failed = Counter[FailureClass]()
        examples: dict[FailureClass, tuple[str, Failure]] = {}
        ready = 0
        for clip in self.iterate_clips():
            example, failure = clip.clip_id, clip.failure
            if clip.video.failure and clip.shard_row is None:
                example, failure = clip.video.video_id, clip.video.failure
            clips["failed" if failure else clip.state] += 1
            ready += not failure and clip.state != "built" and clip.video.state == "downloaded"
            if failure:
                failed[failure.failure_class] += 1
                examples.setdefault(failure.failure_class, (example, failure))
        by_count = sorted(failed, key=lambda kind: (-failed[kind], kind))
        failures = [FailedClips(failed[kind], *examples[kind]) for kind in by_count]
        whole = {clip.video.video_id for clip in self.demonstrations()
                 if clip.video.state == "downloaded"}  # fmt: skip
        return Summary(dict(videos.fetchall()), dict(clips), failures, ready, len(whole))

    def resting_hosts(self) -> dict[str, Rest]:
        """Hosts that asked for a pause that is not over, by name.

        A clock that was set back cannot make the pause longer than a day from now.
        """
        now = datetime.now(UTC)
        latest = now + timedelta(seconds=LONGEST_REST_S)
        rows = self._db.execute("SELECT name, value FROM facts WHERE name LIKE 'rest:%'")
        rests = {}
        for row in rows.fetchall():
            value = json.loads(row["value"])
            host = row["name"].removeprefix("rest:")
            until = min(datetime.fromisoformat(value["until"]), latest)
            if until > now:
                rests[host] = Rest(host, until, value["reason"])
        return rests

    def activity_table(self) -> str:
        """The activity table of the manifest in force."""
        row = self._db.execute("SELECT value FROM facts WHERE name = 'activity_table'").fetchone()
        return row["value"] if row else DEFAULT_TABLE

    def copy_to(self, folder: Path) -> None:
        """A copy of the ledger in another folder, to plan on without changing this one."""
        target = sqlite3.connect(folder / self.path.name)
        try:
            self._db.backup(target)
        finally:
            target.close()

    # -- what happened ----------------------------------------------------------------------

    def video_downloaded(self, video_id: str, facts: VideoFacts, seconds: float) -> None:
        """Record a fetched video, and the seconds that it took."""
        with self._transaction():
            self._db.execute(
                """UPDATE videos SET state = 'downloaded', attempts = attempts + 1, file = :file,
                bytes = :bytes, sha256 = :sha256, duration_s = :duration_s, title = :title,
                uploader = :uploader, licence = :licence, tool = :tool, failure_class = NULL,
                failure_stage = NULL, failure_reason = NULL, seconds = :seconds, updated_at = :now
                WHERE video_id = :video_id""",
                {**asdict(facts), "seconds": seconds, "now": _now(), "video_id": video_id},
            )

    def video_failed(self, video_id: str, failure: Failure, seconds: float) -> None:
        """Record an attempt at a video that failed, and how long it took, in seconds."""
        with self._transaction():
            self._db.execute(
                """UPDATE videos SET state = 'failed', attempts = attempts + 1, file = NULL,
                failure_class = ?, failure_stage = ?, failure_reason = ?, seconds = ?,
                updated_at = ? WHERE video_id = ?""",
                (str(failure.failure_class), failure.stage, failure.reason, seconds, _now())
                + (video_id,),
            )

    def video_missing(self, video_id: str) -> None:
        """A downloaded file is no longer there: plan it again."""
        with self._transaction():
            self._db.execute(
                "UPDATE videos SET state = 'planned', file = NULL, updated_at = ? "
                "WHERE video_id = ?",
                (_now(), video_id),
            )

    def set_resting_hosts(self, rests: Collection[Rest]) -> None:
        """Record which hosts are to be left alone, and until when; forget all others."""
        with self._transaction():
            self._db.execute("DELETE FROM facts WHERE name LIKE 'rest:%'")
            self._db.executemany(
                "INSERT INTO facts VALUES (?, ?)",
                (
                    (
                        f"rest:{rest.host}",
                        json.dumps({"until": rest.until.isoformat(), "reason": rest.reason}),
                    )
                    for rest in rests
                ),
            )

    def plan_again(self, classes: Collection[FailureClass]) -> tuple[list[str], list[str]]:
        """Plan again what failed with one of these classes; nothing else is changed.

        Returns:
            (ids of the videos planned again, ids of the clips planned again and of those of
            these videos).
        """
        marks = ", ".join("?" * len(classes))
        kinds = [str(kind) for kind in classes]
        planned = []
        with self._transaction():
            for table, name in (("videos", "video_id"), ("clips", "clip_id")):
                rows = self._db.execute(
                    f"""UPDATE {table} SET state = 'planned', failure_class = NULL,
                    failure_stage = NULL, failure_reason = NULL, updated_at = ?
                    WHERE state = 'failed' AND failure_class IN ({marks}) AND video_id IN
                    (SELECT video_id FROM clips WHERE state != 'withdrawn')
                    RETURNING {name}""",  # noqa: S608
                    (_now(), *kinds),
                ).fetchall()
                planned.append({row[0] for row in rows})
            videos, clips = planned
            rows = self._db.execute(
                "SELECT clip_id, video_id FROM clips WHERE state != 'withdrawn'"
            ).fetchall()
        clips |= {row["clip_id"] for row in rows if row["video_id"] in videos}
        return sorted(videos), sorted(clips)

    def clip_failed(self, clip_id: str, failure: Failure) -> None:
        """Record an attempt at a clip that failed; it is in no shard any more."""
        with self._transaction():
            row = self._db.execute(
                "SELECT split, shard_row FROM clips WHERE clip_id = ?", (clip_id,)
            ).fetchone()
            self._db.execute(
                """UPDATE clips SET state = 'failed', attempts = attempts + 1, shard_row = NULL,
                failure_class = ?, failure_stage = ?, failure_reason = ?, updated_at = ?
                WHERE clip_id = ?""",
                (str(failure.failure_class), failure.stage, failure.reason, _now(), clip_id),
            )
        if row and row["shard_row"] is not None:
            self._count_built(row["split"], -1)

    def shard_written(
        self,
        split: str,
        number: int,
        sources: Mapping[str, str],
        timings: Mapping[str, Mapping[str, float]],
        damaged_frames: Mapping[str, int] = MappingProxyType({}),
        skeleton_quality: Mapping[str, float | None] = MappingProxyType({}),
    ) -> None:
        """Record which clips are the rows of a shard.

        Args:
            split, number: the shard.
            sources: clip id -> SHA-256 of the video that its row was made from, in the order of
                the rows.
            timings: clip id -> stage -> seconds, of those that were extracted for it.
            damaged_frames: clip id -> frames that the decoder complained of, of the same.
            skeleton_quality: clip id -> quality of the skeleton in its row; none where it has none.
        """
        with self._transaction():
            before = self._db.execute(
                "UPDATE clips SET shard_row = NULL "
                "WHERE split = ? AND shard_number = ? AND shard_row IS NOT NULL",
                (split, number),
            ).rowcount
            for row, (clip_id, sha256) in enumerate(sources.items()):
                spent = timings.get(clip_id)
                self._db.execute(
                    """UPDATE clips SET state = 'built', shard_row = ?, source_sha256 = ?,
                    failure_class = NULL, failure_stage = NULL, failure_reason = NULL,
                    attempts = attempts + ?, timings = COALESCE(?, timings),
                    damaged_frames = COALESCE(?, damaged_frames), skeleton_quality = ?,
                    updated_at = ?
                    WHERE clip_id = ?""",
                    (row, sha256, int(spent is not None))
                    + (json.dumps(spent) if spent is not None else None,)
                    + (damaged_frames.get(clip_id), skeleton_quality.get(clip_id))
                    + (_now(), clip_id),
                )
        self._count_built(split, len(sources) - before)


def _failure(kind: str | None, stage: str, reason: str) -> Failure | None:
    return None if kind is None else Failure(stage, FailureClass(kind), reason)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
