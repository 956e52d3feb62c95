"""Shards in object storage of which only the bytes that were read are here.

The folder ``ranges/`` of a copy (see ``remote``) has a file for each shard, of the shard's size and
almost all holes. Before rows are read, the bytes of their columns are fetched into it, and a second
file marks the blocks that are there. So a shard is mapped and read like any other, whatever was
read stays for the next epoch and the next run, and nothing else is fetched.

All copies in the cache folder together take up to ``MUSCLEMAP_CACHE_GB`` (50). Beyond that, what is
read is not kept, and of what is built only what was not sent yet.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from musclemap_data.errors import UserError
from musclemap_data.files import cache_folder, file_sha256, link_or_copy, replacing
from musclemap_data.storage import open_url, read_parts

FOLDER = "ranges"
STATE = ".remote.json"
"""In a copy: where the original is, see ``remote``."""
DEFAULT_CACHE_GB = 50.0
BLOCK_BYTES = 256
"""Bytes are fetched and marked in blocks of this size: small beside the labels of a clip, which are
400 bytes."""
GAP_BYTES = 32 * 1024
"""What lies between two wanted parts is fetched too where it is less than this: one request."""
FOOTER_BYTES = 4 * 1024
"""Fetched of the end of a shard at first. It tells how long the footer is: 2 kB a clip, so that of
a full shard takes a second request anyway."""
LOOKED_AT_EVERY_BYTES = 64 * 2**20
"""After so many fetched bytes a process looks again how full the cache is."""
READ_AT_ONCE_BYTES = 16 * 2**20


class State(TypedDict):
    """What ``STATE`` in a copy holds: the url, and name -> sha256 of what the remote has.

    On the Hub, the url is that of a commit, and ``places`` says where each shard is.
    """

    url: str
    files: dict[str, str]
    shards: dict[str, str]
    places: NotRequired[dict[str, str]]


def copies_folder() -> Path:
    """Where the copies of all remote data sets are."""
    return cache_folder() / "data"


def most_cached_bytes() -> int:
    """How much of remote shards is kept on this machine, from ``MUSCLEMAP_CACHE_GB``.

    Raises:
        UserError: it is no number, or below 0.
    """
    text = os.environ.get("MUSCLEMAP_CACHE_GB", str(DEFAULT_CACHE_GB))
    try:
        size = float(text)
    except ValueError:
        size = -1.0
    if not 0 <= size < float("inf"):
        raise UserError(f"MUSCLEMAP_CACHE_GB is {text!r}; it must be a number of GB, 0 or more")
    return int(size * 1e9)


def cached_bytes() -> int:
    """How much of remote shards is on this machine now, in all copies."""
    return sum(_bytes_on_disk(path) for path in copies_folder().glob(f"*/*/{FOLDER}/*.parquet"))


def make_room(kept: Path) -> None:
    """Forget parts of shards, those read longest ago first, until they fit into the cache.

    Args:
        kept: the copy about to be used, whose parts are forgotten last.
    """
    found = []
    for path in copies_folder().glob(f"*/*/{FOLDER}/*.parquet"):
        try:
            own = path.parent.parent == kept
            found.append((own, _marks(path).stat().st_mtime, _bytes_on_disk(path), path))
        except OSError:
            continue  # another process has just removed it
    total, most = sum(size for _, _, size, _ in found), most_cached_bytes()
    for _, _, size, path in sorted(found):
        if total <= most:
            return
        if size:
            place(path, path.stat().st_size)
            total -= size


def forget_sent(folder: Path, names: Iterable[str]) -> None:
    """Keep only a place of whole shards that the storage has too, while the cache is too full.

    Args:
        folder: a copy.
        names: of its shards that are in the storage with the same bytes, and listed there.
    """
    paths = [path for name in names if (path := folder / "shards" / name).exists()]
    whole = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in paths)
    total, most = cached_bytes() + sum(size for _, size, _ in whole), most_cached_bytes()
    for _, size, path in whole:
        if total <= most:
            return
        place(folder / FOLDER / path.name, size)
        path.unlink()
        total -= size


def place(path: Path, size: int) -> None:
    """Make the file of a shard of which nothing is here yet.

    Processes that have an older one open keep what they have of it.
    """
    path.parent.mkdir(exist_ok=True)
    remove(path)
    with _marks(path).open("xb") as marks:
        marks.truncate(-(-size // BLOCK_BYTES))
    with path.open("xb") as file:
        file.truncate(size)


def is_placed(path: Path) -> bool:
    """Whether a shard's file and its marks are there, and of this version's block size."""
    try:
        return _marks(path).stat().st_size == -(-path.stat().st_size // BLOCK_BYTES)
    except OSError:
        return False


def remove(path: Path) -> None:
    """Remove the file of a shard, if there is one."""
    path.unlink(missing_ok=True)
    _marks(path).unlink(missing_ok=True)


def _marks(path: Path) -> Path:
    return path.with_name(f".{path.name}.blocks")


def _bytes_on_disk(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512
    except OSError:
        return 0


class Ranges:
    """One shard of a copy: what of it is here, and the rest on request.

    Args:
        path: in the folder ``ranges/`` of a copy.

    Raises:
        UserError: the copy does not say where its original is.
    """

    _until_look = 0
    """Bytes until this process looks how full the cache is."""
    _full = False

    def __init__(self, path: Path) -> None:
        self.path = path
        state = path.parent.parent / STATE
        try:
            original = _read_state(state, state.stat().st_mtime_ns)
            self._root = original["url"]
            self._key = original.get("places", {}).get(path.name, f"shards/{path.name}")
            self._file = os.open(path, os.O_RDWR)
            self._here = os.open(_marks(path), os.O_RDWR)
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{path} is a part of a shard, but {state} or it is gone") from error
        self.size = os.fstat(self._file).st_size
        os.utime(self._here)  # read now: forgotten last

    def close(self) -> None:
        """Close both files."""
        os.close(self._file)
        os.close(self._here)

    def fetch_footer(self) -> None:
        """Make sure that the metadata is here, however full the cache is: it is small."""
        self._fetch([range(max(0, self.size - FOOTER_BYTES), self.size)])
        length = int.from_bytes(os.pread(self._file, 4, self.size - 8), "little")
        if length + 8 > FOOTER_BYTES:
            self._fetch([range(max(0, self.size - length - 8), self.size)])

    def fetch(self, parts: Iterable[range]) -> bool:
        """Make sure that parts of the file are here.

        Args:
            parts: of its bytes.

        Returns:
            False if the cache is full and something is missing: use ``open``.

        Raises:
            UserError: the storage cannot be read.
        """
        missing = [run for part in _joined(parts) for run in self._missing(part)]
        wanted = sum(map(len, missing))
        if not missing:
            return True
        if self._is_full(wanted):
            return False
        try:
            self._fetch(missing)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            return False
        return True

    def open(self) -> io.BufferedReader:
        """The whole shard as a file that keeps nothing of what it fetches."""
        return io.BufferedReader(_Streamed(self), BLOCK_BYTES)

    def sha256(self) -> str:
        """SHA-256 of the whole shard, in hexadecimal; what is not here is fetched."""
        digest = hashlib.sha256()
        for begin in range(0, self.size, READ_AT_ONCE_BYTES):
            digest.update(self.read(range(begin, min(begin + READ_AT_ONCE_BYTES, self.size))))
        return digest.hexdigest()

    def read(self, part: range) -> bytes:
        """Bytes of the file, kept only where the cache has room."""
        if self.fetch([part]):
            return os.pread(self._file, len(part), part.start)
        return self._get([part])[0]

    def _is_full(self, wanted: int) -> bool:
        kind = type(self)
        kind._until_look -= wanted
        if kind._full or kind._until_look <= 0:
            kind._full = cached_bytes() + wanted > most_cached_bytes()
            kind._until_look = LOOKED_AT_EVERY_BYTES
        return kind._full

    def _missing(self, part: range) -> Iterator[range]:
        """Runs of whole blocks of a part that are not here, as bytes."""
        first, last = part.start // BLOCK_BYTES, -(-part.stop // BLOCK_BYTES)
        marks = os.pread(self._here, last - first, first)
        for found in re.finditer(rb"\0+", marks):
            begin, end = (BLOCK_BYTES * (first + at) for at in found.span())
            yield range(begin, min(end, self.size))

    def _fetch(self, parts: Iterable[range]) -> None:
        missing = [run for part in parts for run in self._missing(part)]
        if not missing:
            return
        for run, content in zip(missing, self._get(missing), strict=True):
            os.pwrite(self._file, content, run.start)
            # Marked after it is there: a process that is killed in between fetches it again.
            count = -(-len(run) // BLOCK_BYTES)
            os.pwrite(self._here, b"\1" * count, run.start // BLOCK_BYTES)
        facts = os.fstat(self._file)
        os.utime(self._file, ns=(facts.st_atime_ns, 0))  # its content is that of the storage

    def _get(self, parts: list[range]) -> list[bytes]:
        files, root = open_url(self._root)  # a forked worker needs a connection of its own
        try:
            found = read_parts(files, f"{root}/{self._key}", parts)
        except Exception as error:  # each fsspec package has own errors
            raise self._unreadable(f"{type(error).__name__}: {error}") from error
        if [len(content) for content in found] != [len(part) for part in parts]:
            raise self._unreadable("it is shorter than it was")
        return found

    def _unreadable(self, why: str) -> UserError:
        return UserError(
            f"{self._root}/{self._key} cannot be read: {why}. If a run is writing to it, wait for "
            "its end"
        )


@lru_cache(maxsize=16)
def _read_state(path: Path, changed_ns: int) -> State:
    """The state of a copy: it names all shards, of which thousands are opened one by one."""
    found: State = json.loads(path.read_text())
    return found


def shard_sha256(path: Path) -> str:
    """SHA-256 of a shard, in hexadecimal; of one that is in a storage, all of it is read.

    Raises:
        UserError: the storage cannot be read.
    """
    if path.parent.name != FOLDER:
        return file_sha256(path)
    with closing(Ranges(path)) as part:
        return part.sha256()


def copy_shard(path: Path, target: Path) -> None:
    """A shard under another name, see ``link_or_copy``: a shard is replaced, never written into.

    Raises:
        UserError: it is in a storage that cannot be read.
    """
    if path.parent.name == FOLDER:
        with (
            closing(Ranges(path)) as part,
            replacing(target) as temporary,
            temporary.open("wb") as file,
            part.open() as content,
        ):
            shutil.copyfileobj(content, file, READ_AT_ONCE_BYTES)
        return
    link_or_copy(path, target)


class _Streamed(io.RawIOBase):
    def __init__(self, ranges: Ranges) -> None:
        self._ranges, self._at = ranges, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._ranges.size}[whence]
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._at + len(buffer), self._ranges.size)
        content = self._ranges.read(range(self._at, max(self._at, end)))
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)


def _joined(parts: Iterable[range]) -> list[range]:
    """Parts in order, those that nearly touch as one."""
    joined: list[range] = []
    for part in sorted(parts, key=lambda part: part.start):
        if joined and part.start - joined[-1].stop < GAP_BYTES:
            joined[-1] = range(joined[-1].start, max(joined[-1].stop, part.stop))
        elif len(part):
            joined.append(part)
    return joined
