"""Data sets in object storage (S3 and what fsspec reads besides), and read from the Hub.

A data set at ``s3://bucket/name`` has a working copy in the cache folder: SQLite and memory maps
need a file system. ``local_copy`` brings it up to date before a verb runs; of the shards it fetches
nothing, see ``ranges``. What writes does so
``with writing(folder)`` and calls ``upload`` now and then. An object is replaced in one piece or
not at all, and ``dataset.json``, which lists the shards with their hashes, is sent after them: a
reader never takes half a shard for a whole one. See docs/cluster.md.

Where the storage is, and credentials, are fsspec's affair: for S3 the variables
``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID`` and so on, or ``~/.aws``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from filelock import FileLock, Timeout

from musclemap_data import ranges
from musclemap_data.catalog import SPLITS
from musclemap_data.errors import UserError
from musclemap_data.files import file_sha256, write_text
from musclemap_data.hub_access import newest_commit, read_address, shard_of
from musclemap_data.ledger import Ledger
from musclemap_data.ranges import STATE, State
from musclemap_data.shards import CHANGED_SHARDS, dataset_info_text, find_shard, read_dataset_info
from musclemap_data.storage import get, open_url

LOCK_REFRESHED_S = 60
LOCK_EXPIRES_S = 600
_LOCK = "musclemap.lock"
_SHARD = re.compile(rf"({'|'.join(SPLITS)})-\d{{5,}}\.parquet")


def local_copy(url: str) -> Path:
    """The folder to work in for a remote data set: an up-to-date copy of it.

    Videos are not copied before they are needed. While a run on this machine writes to the copy,
    the copy is the newest there is and left alone.

    Raises:
        UserError: the storage cannot be read, or holds other bytes than it says.
    """
    url = url.rstrip("/")
    root = open_url(url)[1]
    place = ranges.copies_folder() / hashlib.sha256(url.encode()).hexdigest()[:16]
    folder = place / root.partition("@")[0].rpartition("/")[2]
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(place / ".copy.lock"):  # processes of one training run arrive here together
        try:
            with FileLock(folder / ".lock", timeout=0), _told(url):
                _copy(_at_commit(url) if _is_on_hub(url) else url, folder)
        except Timeout:
            pass
    return folder


def _is_on_hub(url: str) -> bool:
    return url.startswith("hf://")


def _at_commit(url: str) -> str:
    """The address of what a branch, a tag or no revision means now, so that no reader sees two."""
    address = read_address(url, kind="dataset")
    return f"hf://datasets/{address.repo}@{newest_commit(address)}"


def _copy(url: str, folder: Path) -> None:
    files, root = open_url(url)
    state = _read_state(folder) or State(url=url, files={}, shards={})
    moved, state["url"] = state["url"] != url, url
    (folder / "shards").mkdir(exist_ok=True)
    with TemporaryDirectory(dir=folder) as scratch:
        found = {}
        for name in ("ledger.sqlite", "dataset.json"):
            with suppress(FileNotFoundError):
                get(files, f"{root}/{name}", Path(scratch) / name)
                found[name] = file_sha256(Path(scratch) / name)
        if _is_on_hub(url) and "dataset.json" not in found:
            raise UserError(f"{url} has no dataset.json: it is not from `musclemap push`")
        if state["files"] and not found:
            raise UserError(
                f"{url} was there before and is empty now: look at AWS_ENDPOINT_URL and the url. "
                f"If it was deleted on purpose, delete {folder} too"
            )
        # As this copy left it: then the copy is as new, or newer after a killed run.
        changed = found != state["files"]
        if changed:
            beside = ("ledger.sqlite-wal", "ledger.sqlite-shm", CHANGED_SHARDS)
            for name in (*beside, "ledger.sqlite", "dataset.json"):
                (folder / name).unlink(missing_ok=True)
            for name in found:
                (Path(scratch) / name).replace(folder / name)
    listed = _listed_shards(folder)
    for path in (folder / "shards").glob("*.parquet"):
        if changed and listed.get(path.name) != file_sha256(path):
            path.unlink()
    for path in (folder / ranges.FOLDER).glob("*.parquet"):
        # A whole one is of this machine, and newer. What was replaced is not read on.
        whole = (folder / "shards" / path.name).exists()
        replaced = changed and listed.get(path.name) != state["shards"].get(path.name)
        if whole or replaced or not ranges.is_placed(path):
            ranges.remove(path)
    missing = [name for name in listed if not find_shard(folder, name).exists()]
    if missing or moved:
        there = _find_shards(files, root, url)
        if absent := [name for name in listed if name not in there]:
            raise UserError(
                f"{url} lists {absent[0]}, which is not there. Build it again with `musclemap "
                "extract-modalities`"
            )
        for name in missing:
            ranges.place(folder / ranges.FOLDER / name, there[name][1])
        if _is_on_hub(url):  # where the number of shards is a part of their names
            state["places"] = {name: there[name][0] for name in listed}
    ranges.make_room(folder)
    if changed:
        state["shards"] = listed
    state["files"] = found
    _write_state(folder, state)


def _find_shards(files: Any, root: str, url: str) -> dict[str, tuple[str, int]]:
    """Name of a shard -> (its place below the root, bytes), of all that lie in the storage."""
    folder = "data" if _is_on_hub(url) else "shards"
    found = {}
    for entry in files.ls(f"{root}/{folder}", detail=True):
        file = entry["name"].rpartition("/")[2]
        name = shard_of(file) if _is_on_hub(url) else file
        if name is not None:
            found[name] = (f"{folder}/{file}", int(entry["size"]))
    return found


def fetch_video(data_dir: Path, video: Path, sha256: str) -> None:
    """Make sure that a source is in the copy of a remote data set, if the remote has it."""
    state = None if video.exists() else _read_state(data_dir)
    if state is None:
        return
    files, root = open_url(state["url"])
    video.parent.mkdir(exist_ok=True)
    with _told(state["url"]), suppress(FileNotFoundError):
        get(files, f"{root}/videos/{video.name}", video, sha256)


@contextmanager
def writing(data_dir: Path) -> Iterator[None]:
    """Hold a remote data set's lock while its copy is written, and upload at the end.

    Nothing happens for a folder that is no copy. The lock is an object with host, process and
    time, renewed every minute; one that was not renewed for ten minutes, or whose process on this
    machine is dead, is taken over.

    Raises:
        UserError: another run holds it, or the storage cannot be written.
    """
    state = _read_state(data_dir)
    if state is None:
        yield
        return
    if _is_on_hub(state["url"]):
        raise UserError(
            f"{state['url']} can only be read. Build into a folder, then send it: `musclemap push`"
        )
    files, root = open_url(state["url"])
    lock = f"{root}/{_LOCK}"
    with _told(state["url"]):
        _take_lock(files, lock, state["url"])
    done = threading.Event()

    def renew() -> None:
        while not done.wait(LOCK_REFRESHED_S):
            with suppress(Exception):  # the next renewal may succeed; an upload says what is wrong
                files.pipe_file(lock, _lock_text())

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
        upload(data_dir)
    finally:
        done.set()
        thread.join()
        with suppress(Exception):
            files.rm_file(lock)


def upload(data_dir: Path, *, shards_only: bool = False) -> None:
    """Send what changed in the copy of a remote data set; nothing for any other folder.

    Videos and a snapshot of the ledger first, then shards, ``dataset.json`` last. A shard that is
    replaced is taken off the remote list before. Where the cache is full, whole shards that were
    sent are then read from the storage, as all others.

    Raises:
        UserError: the storage cannot be written. The copy keeps everything for the next run.
    """
    state = _read_state(data_dir)
    if state is None:
        return
    files, root = open_url(state["url"])
    with _told(state["url"]):
        if not shards_only:
            _upload_videos(files, root, data_dir)
            _upload_ledger(files, root, data_dir, state)
        if not (data_dir / "dataset.json").exists():
            return
        info = read_dataset_info(data_dir)
        wanted = {name: entry["sha256"] for name, entry in info.get("shards", {}).items()}
        same = {name for name, sha256 in wanted.items() if state["shards"].get(name) == sha256}
        outdated = sorted(set(state["shards"]) - same)
        if outdated:
            kept = {name: info["shards"][name] for name in sorted(same)}
            _upload_info(files, root, data_dir, state, info | {"shards": kept})
        for name in outdated:
            if name not in wanted and find_shard(data_dir, name).exists():
                continue  # a run was killed before it replaced it: the object is all there is
            del state["shards"][name]
            if name not in wanted:
                with suppress(FileNotFoundError):
                    files.rm_file(f"{root}/shards/{name}")
        try:
            for name in sorted(set(wanted) - same):
                files.put_file(str(data_dir / "shards" / name), f"{root}/shards/{name}")
                state["shards"][name] = wanted[name]
        finally:  # once: it names every shard
            _write_state(data_dir, state)
        _upload_info(files, root, data_dir, state, info)
        ranges.forget_sent(data_dir, wanted)


def _upload_videos(files: Any, root: str, data_dir: Path) -> None:
    try:
        there = {entry["name"]: entry["size"] for entry in files.ls(f"{root}/videos", detail=True)}
    except FileNotFoundError:
        there = {}
    missing = {
        str(path): key
        for path in sorted((data_dir / "videos").glob("[!.]*"))
        for key in [f"{root}/videos/{path.name}"]
        if path.is_file() and there.get(key) != path.stat().st_size
    }
    if missing:
        files.put(list(missing), list(missing.values()))  # several at once


def _upload_ledger(files: Any, root: str, data_dir: Path, state: State) -> None:
    if not (data_dir / "ledger.sqlite").exists():
        return
    with TemporaryDirectory(dir=data_dir) as scratch:
        with Ledger(data_dir, read_only=True) as ledger:
            ledger.copy_to(Path(scratch))
        snapshot = Path(scratch) / "ledger.sqlite"
        sha256 = file_sha256(snapshot)
        if state["files"].get("ledger.sqlite") != sha256:
            files.put_file(str(snapshot), f"{root}/ledger.sqlite")
            state["files"]["ledger.sqlite"] = sha256
            _write_state(data_dir, state)


def _upload_info(
    files: Any, root: str, data_dir: Path, state: State, info: Mapping[str, object]
) -> None:
    content = dataset_info_text(info).encode()
    sha256 = hashlib.sha256(content).hexdigest()
    if state["files"].get("dataset.json") != sha256:
        files.pipe_file(f"{root}/dataset.json", content)
        state["files"]["dataset.json"] = sha256
    _write_state(data_dir, state)


# -- the lock -----------------------------------------------------------------------------------


def _lock_text() -> bytes:
    holder = {"host": socket.gethostname(), "process": os.getpid(), "time": time.time()}
    return json.dumps(holder).encode()


def _take_lock(files: Any, lock: str, url: str) -> None:
    try:
        files.pipe_file(lock, _lock_text(), mode="create")
    except FileExistsError:
        holder = json.loads(files.cat_file(lock))
        if not _is_over(holder):
            raise UserError(
                f"{url} is in use by process {holder['process']} on {holder['host']}. Wait for it; "
                f"if it is dead, its lock ends {LOCK_EXPIRES_S // 60} minutes after its last sign"
            ) from None
        files.pipe_file(lock, _lock_text())


def _is_over(holder: Mapping[str, Any]) -> bool:
    if time.time() - holder["time"] > LOCK_EXPIRES_S:
        return True
    if holder["host"] != socket.gethostname():
        return False
    try:
        os.kill(holder["process"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


# -- small parts --------------------------------------------------------------------------------


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Turn what goes wrong with the storage into a message: each fsspec package has own errors."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{url} cannot be used: {type(error).__name__}: {error}. What is finished is kept in "
            "the local copy: run the same command to continue"
        ) from error


def _listed_shards(folder: Path) -> dict[str, str]:
    """Name -> sha256 of the shards that ``dataset.json`` lists."""
    if not (folder / "dataset.json").exists():
        return {}
    shards = read_dataset_info(folder).get("shards", {})
    wrong = [name for name in shards if not _SHARD.fullmatch(name)]
    if wrong:
        raise UserError(f"{folder / 'dataset.json'} lists {wrong[0]!r}, which is no shard's name")
    return {name: entry["sha256"] for name, entry in shards.items()}


def _read_state(folder: Path) -> State | None:
    """The state of a copy; None for other folders."""
    try:
        state: State = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return state


def _write_state(folder: Path, state: State) -> None:
    write_text(folder / STATE, json.dumps(state))
