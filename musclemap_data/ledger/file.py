"""The ledger as a file: one SQLite database with a version, changed in transactions."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from musclemap_data.errors import UserError

LEDGER_VERSION = 1
_TABLES = Path(__file__).with_name("ledger.sql")


def open_database(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Open a ledger, made anew if it is not there and may be written.

    Raises:
        UserError: the file is not a ledger, or of another version.
    """
    try:
        address = path.resolve().as_uri()
        if read_only and not _may_have_neighbours(path):
            address += "?immutable=1"
        db = sqlite3.connect(address, isolation_level=None, uri=True)
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA foreign_keys = ON")
        if read_only:
            db.execute("PRAGMA query_only = ON")
        else:
            db.execute("PRAGMA journal_mode = WAL")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0 and not read_only:
            with transaction(db, path):
                for statement in _TABLES.read_text(encoding="utf-8").split(";\n"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {LEDGER_VERSION}")
        elif version == LEDGER_VERSION and not read_only:
            _add_missing_columns(db, path)
        elif version != LEDGER_VERSION:
            raise UserError(f"{path} has version {version}; this MuscleMap reads {LEDGER_VERSION}.")
    except sqlite3.Error as error:
        raise UserError(f"{path} cannot be used as a ledger: {error}") from error
    return db


def _add_missing_columns(db: sqlite3.Connection, path: Path) -> None:
    """Bring an older ledger of this version up: it lacks what was not recorded then."""
    columns = {row["name"] for row in db.execute("PRAGMA table_info (clips)")}
    for name, kind in (("damaged_frames", "INTEGER"), ("skeleton_quality", "REAL")):
        if name not in columns:
            with transaction(db, path):
                db.execute(f"ALTER TABLE clips ADD COLUMN {name} {kind}")


@contextmanager
def transaction(db: sqlite3.Connection, path: Path) -> Iterator[None]:
    """All of the block's changes, or none if it ends with an exception.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("COMMIT")
    except BaseException as error:
        if db.in_transaction:  # on a full disk SQLite has rolled back itself
            db.execute("ROLLBACK")
        if isinstance(error, sqlite3.OperationalError):
            raise UserError(
                f"{path} cannot be written: {error}. What is finished is kept: make room "
                "or give permission, then run the same command to go on."
            ) from error
        raise


def _may_have_neighbours(path: Path) -> bool:
    """Whether SQLite can keep its two side files, without which it reads no WAL database.

    In a folder that cannot be written nobody else writes either: the file is read as it is.
    """
    return os.access(path.parent, os.W_OK) or path.with_name(f"{path.name}-wal").exists()
