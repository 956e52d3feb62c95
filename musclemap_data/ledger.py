"""The ledger: what happened to every video and every clip, from URL to shard row.

One SQLite file in the data directory, written by one process (``lock_data_dir`` sees to that).
Every change is one transaction, so a killed run leaves the state before or after it, never between.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from musclemap_data.catalog import DEFAULT_TABLE
from musclemap_data.errors import NEXT_STEP, Failure, FailureClass, UserError
from musclemap_data.manifest import Clip

LEDGER_VERSION = 1


LONGEST_REST_S = 24 * 3600
"""A host is left alone for a day at most, whatever it asked for and wherever the clock is set."""


@dataclass(frozen=True)
class Rest:
    """A host that asked for a pause.

    Attributes:
        host: its name.
        until: when to come back, UTC.
        reason: its last answer.
    """

    host: str
    until: datetime
    reason: str

    def __str__(self) -> str:
        return f"{self.host} is left alone until {self.until:%Y-%m-%d %H:%M} UTC: {self.reason}"


def recorded_failure(row: sqlite3.Row, prefix: str = "") -> Failure:
    """The failure in a row of the ledger; ``video_`` prefixes those of the video of a clip."""
    stage, kind, reason = (row[f"{prefix}failure_{part}"] for part in ("stage", "class", "reason"))
    return Failure(stage, FailureClass(kind), reason)


_TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE videos (
    video_id TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    local_path TEXT,              -- absolute source of a local url
    state TEXT NOT NULL,          -- planned, downloaded, failed
    attempts INTEGER NOT NULL DEFAULT 0,
    file TEXT,                    -- relative to the data directory
    bytes INTEGER,
    sha256 TEXT,
    duration_s REAL,
    title TEXT, uploader TEXT, licence TEXT,
    tool TEXT,                    -- what fetched it, with its version
    failure_class TEXT, failure_stage TEXT, failure_reason TEXT,
    seconds REAL,                 -- time the last attempt took
    updated_at TEXT NOT NULL
) STRICT;
CREATE TABLE clips (
    clip_id TEXT PRIMARY KEY,
    video_id TEXT NOT NULL REFERENCES videos (video_id),
    start_s REAL NOT NULL,
    end_s REAL,
    activity TEXT NOT NULL,
    split TEXT NOT NULL,
    state TEXT NOT NULL,          -- planned, built, failed, withdrawn
    attempts INTEGER NOT NULL DEFAULT 0,
    shard_number INTEGER,         -- its place, fixed at first planning
    shard_row INTEGER,
    source_sha256 TEXT,           -- of the video it was built from
    failure_class TEXT, failure_stage TEXT, failure_reason TEXT,
    timings TEXT,                 -- JSON: stage -> seconds
    updated_at TEXT NOT NULL
) STRICT;
CREATE INDEX clips_by_video ON clips (video_id);
CREATE INDEX clips_by_shard ON clips (split, shard_number);
"""


class Ledger:
    """The ledger of one data directory.

    Raises:
        UserError: the file is not a ledger, or of another version.
    """

    def __init__(self, data_dir: Path, *, read_only: bool = False) -> None:
        self.path = Path(data_dir) / "ledger.sqlite"
        if read_only and not self.path.exists():
            raise UserError(f"There is no ledger in {data_dir}. Run `musclemap download` first.")
        try:
            address = self.path.resolve().as_uri()
            if read_only and not _may_have_neighbours(self.path):
                address += "?immutable=1"
            self._db = sqlite3.connect(address, isolation_level=None, uri=True)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA foreign_keys = ON")
            if read_only:
                self._db.execute("PRAGMA query_only = ON")
            else:
                self._db.execute("PRAGMA journal_mode = WAL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0 and not read_only:
                with self._transaction():
                    for statement in _TABLES.split(";\n"):
                        self._db.execute(statement)
                    self._db.execute(f"PRAGMA user_version = {LEDGER_VERSION}")
            elif version != LEDGER_VERSION:
                raise UserError(
                    f"{self.path} has version {version}; this MuscleMap reads {LEDGER_VERSION}."
                )
        except sqlite3.Error as error:
            raise UserError(f"{self.path} cannot be used as a ledger: {error}") from error

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            if self._db.in_transaction:  # on a full disk SQLite has rolled back itself
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):
                raise UserError(
                    f"{self.path} cannot be written: {error}. What is finished is kept: make room "
                    "or give permission, then run the same command to go on."
                ) from error
            raise

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
                    VALUES (?, ?, ?, ?, ?, ?, 'planned', ?)
                    ON CONFLICT (clip_id) DO UPDATE SET
                        shard_number = CASE WHEN split = excluded.split THEN shard_number END,
                        video_id = excluded.video_id, start_s = excluded.start_s,
                        end_s = excluded.end_s, activity = excluded.activity,
                        split = excluded.split, state = 'planned', attempts = 0, shard_row = NULL,
                        failure_class = NULL, failure_stage = NULL, failure_reason = NULL,
                        updated_at = excluded.updated_at
                    WHERE state = 'withdrawn' OR video_id != excluded.video_id
                        OR start_s != excluded.start_s OR end_s IS NOT excluded.end_s
                        OR activity != excluded.activity OR split != excluded.split""",
                    (clip.clip_id, clip.video_id, clip.start_s, clip.end_s)
                    + (clip.activity, clip.split, now),
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
            rows = self._db.execute(
                """SELECT clip_id, split FROM clips
                WHERE shard_number IS NULL AND state != 'withdrawn' AND video_id IN
                (SELECT video_id FROM videos WHERE state = 'downloaded')
                ORDER BY split, clip_id"""
            ).fetchall()
            first_free = {
                row["split"]: row["first_free"]
                for row in self._db.execute(
                    "SELECT split, MAX(shard_number) + 1 AS first_free FROM clips "
                    "WHERE shard_number IS NOT NULL GROUP BY split"
                )
            }
            position: dict[str, int] = {}
            for row in rows:
                split = row["split"]
                index = position.get(split, 0)
                position[split] = index + 1
                number = first_free.get(split, 0) + index // clips_per_shard
                self._db.execute(
                    "UPDATE clips SET shard_number = ? WHERE clip_id = ?", (number, row["clip_id"])
                )

    # -- reading ----------------------------------------------------------------------------

    def videos(self) -> list[sqlite3.Row]:
        """Videos that still have a clip in the plan, by id."""
        return self._db.execute(
            """SELECT * FROM videos WHERE video_id IN
            (SELECT video_id FROM clips WHERE state != 'withdrawn') ORDER BY video_id"""
        ).fetchall()

    def clips(self) -> list[sqlite3.Row]:
        """Clips in the plan with what is known of their video, by split and place."""
        return self._db.execute(
            """SELECT c.*, v.url, v.file, v.sha256 AS video_sha256, v.state AS video_state,
                v.failure_class AS video_failure_class, v.failure_stage AS video_failure_stage,
                v.failure_reason AS video_failure_reason
            FROM clips c JOIN videos v USING (video_id) WHERE c.state != 'withdrawn'
            ORDER BY c.split, c.shard_number, c.clip_id"""
        ).fetchall()

    def split_counts(self) -> dict[str, tuple[int, int]]:
        """Split -> (clips in the plan, of these in a shard)."""
        rows = self._db.execute(
            """SELECT split, COUNT(*) AS planned, COUNT(shard_row) AS built FROM clips
            WHERE state != 'withdrawn' GROUP BY split"""
        )
        return {row["split"]: (row["planned"], row["built"]) for row in rows}

    def summary(self) -> dict[str, dict[str, int]]:
        """Counts of the plan: videos and clips by state, failed clips by class.

        A clip of a failed video counts as failed with the video's class.
        """
        counts: dict[str, dict[str, int]] = {"videos": {}, "clips": {}, "failed_clips": {}}

        def add(what: str, key: str) -> None:
            counts[what][key] = counts[what].get(key, 0) + 1

        for video in self.videos():
            add("videos", video["state"])
        for clip in self.clips():
            failed_video = clip["video_state"] == "failed" and clip["shard_row"] is None
            add("clips", "failed" if failed_video else clip["state"])
            if failed_video or clip["state"] == "failed":
                add("failed_clips", clip["video_failure_class"] or clip["failure_class"])
        return counts

    def failures(self) -> list[dict[str, Any]]:
        """Failed clips by class, the most frequent first, each class with one example.

        A clip of a failed video counts with the video's class; the example is then the video.

        Returns:
            One dict a class: class, clips, next_step, example (id, stage, reason).
        """
        groups: dict[str, dict[str, Any]] = {}
        for clip in self.clips():
            of_video = clip["video_state"] == "failed" and clip["shard_row"] is None
            if not of_video and clip["state"] != "failed":
                continue
            prefix, name = ("video_", "video_id") if of_video else ("", "clip_id")
            kind = FailureClass(clip[f"{prefix}failure_class"])
            example = {
                "id": clip[name],
                "stage": clip[f"{prefix}failure_stage"],
                "reason": clip[f"{prefix}failure_reason"],
            }
            group = groups.setdefault(
                kind,
                {"class": str(kind), "clips": 0, "next_step": NEXT_STEP[kind], "example": example},
            )
            group["clips"] += 1
        return sorted(groups.values(), key=lambda group: (-group["clips"], group["class"]))

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

    def video_downloaded(self, video_id: str, facts: Mapping[str, Any], seconds: float) -> None:
        """Record a fetched video; ``facts`` has file, bytes, sha256, tool and what is known."""
        names = ("file", "bytes", "sha256", "duration_s", "title", "uploader", "licence", "tool")
        assignments = ", ".join(f"{name} = ?" for name in names)
        with self._transaction():
            self._db.execute(
                f"UPDATE videos SET {assignments}, state = 'downloaded', attempts = attempts + 1, "  # noqa: S608
                "failure_class = NULL, failure_stage = NULL, failure_reason = NULL, "
                "seconds = ?, updated_at = ? WHERE video_id = ?",
                (*(facts.get(name) for name in names), seconds, _now(), video_id),
            )

    def video_failed(self, video_id: str, failure: Failure, seconds: float) -> None:
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
        with self._transaction():
            self._db.execute(
                """UPDATE clips SET state = 'failed', attempts = attempts + 1, shard_row = NULL,
                failure_class = ?, failure_stage = ?, failure_reason = ?, updated_at = ?
                WHERE clip_id = ?""",
                (str(failure.failure_class), failure.stage, failure.reason, _now(), clip_id),
            )

    def shard_written(
        self,
        split: str,
        number: int,
        clip_ids: Sequence[str],
        source_sha256: Mapping[str, str],
        timings: Mapping[str, Mapping[str, float]],
    ) -> None:
        """Record that these clips, in this order, are the rows of a shard."""
        with self._transaction():
            self._db.execute(
                "UPDATE clips SET shard_row = NULL WHERE split = ? AND shard_number = ?",
                (split, number),
            )
            for row, clip_id in enumerate(clip_ids):
                spent = timings.get(clip_id)
                self._db.execute(
                    """UPDATE clips SET state = 'built', shard_row = ?, source_sha256 = ?,
                    failure_class = NULL, failure_stage = NULL, failure_reason = NULL,
                    attempts = attempts + ?, timings = COALESCE(?, timings), updated_at = ?
                    WHERE clip_id = ?""",
                    (row, source_sha256[clip_id], int(spent is not None))
                    + (json.dumps(spent) if spent is not None else None, _now(), clip_id),
                )


def _may_have_neighbours(path: Path) -> bool:
    """Whether SQLite can keep its two side files, without which it reads no WAL database.

    In a folder that cannot be written nobody else writes either: the file is read as it is.
    """
    return os.access(path.parent, os.W_OK) or path.with_name(f"{path.name}-wal").exists()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def lock_data_dir(data_dir: Path) -> Iterator[None]:
    """Hold the data directory for this process; the system lets go of it when the process ends.

    Raises:
        UserError: another process holds it, or it cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(Path(data_dir) / ".lock")
    try:
        Path(data_dir).mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(
            f"{data_dir} is in use by another musclemap run. Wait for it, or choose another --data."
        ) from error
    except OSError as error:
        raise UserError(
            f"{data_dir} cannot be written: {error.strerror or error}. Choose another --data."
        ) from error
    try:
        yield
    finally:
        lock.release()
