"""Files that are whole or absent: write-then-rename, hashes, the cache folder, mapped files; which
files of a folder are videos."""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from musclemap_data.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

_DROP_EVERY_S = 0.02
VIDEO_ENDINGS = (
    ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg",
    ".mts", ".ogv", ".ts", ".webm", ".wmv",
)  # fmt: skip
"""Of a folder, only files with these endings are taken for videos."""
_DROP_FROM_BYTES = 4 * 2**20
"""A smaller file is not worth a thread."""
LEFTOVERS = ".*.tmp*"
"""Glob of what a killed process may leave behind: the temporary names of ``replacing``."""


@contextmanager
def replacing(path: Path, *, flush: bool = False) -> Iterator[Path]:
    """A temporary name beside ``path``, renamed to it where the block ends without an error.

    A reader sees the old file or the new one, never half of one. The temporary name is hidden, has
    the ending of ``path``, and belongs to this process.

    Args:
        path: the file to write; its folder must exist.
        flush: force the bytes and the rename to the disk, so that they outlast a power cut.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        if flush:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
        if flush:
            _flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Make a rename outlast a power cut (nothing where folders cannot be opened)."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8), whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def append_lines(path: Path, lines: str, *, header: str) -> int:
    """Append whole lines to a text file; when this returns they outlast a power cut.

    A half line that a killed program left at the end is taken off first, see ``whole_lines``.

    Args:
        path: the file, which is made if need be; its folder must exist.
        lines: each with its end of line.
        header: what a new file begins with.

    Returns:
        Bytes of the file.
    """
    with path.open("ab+") as file:
        whole = file.seek(0, os.SEEK_END)
        while whole:
            begin = max(0, whole - 4096)
            file.seek(begin)
            end = file.read(whole - begin).rfind(b"\n")
            whole = begin + end + 1
            if end >= 0:
                break
        file.truncate(whole)
        file.seek(0, os.SEEK_END)
        file.write(((header if whole == 0 else "") + lines).encode())
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def whole_lines(path: Path) -> str:
    """The text of a file (UTF-8) without a last line that has no end: a killed program left it.

    Raises:
        UserError: there is no such file, or it cannot be read.
    """
    try:
        content = path.read_bytes()
        return content[: content.rfind(b"\n") + 1].decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    """A file under another name: a hard link where the file system can, else a copy.

    A link costs no space. It is safe for files that are replaced and never written into.
    """
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def videos_in(folder: Path, *, deep: bool = True) -> list[Path]:
    """The videos in a folder by their endings, sorted; nothing hidden, and nothing in what is.

    Args:
        folder: where to look.
        deep: also in the folders in it.
    """
    return sorted(
        path
        for path in (folder.rglob("*") if deep else folder.iterdir())
        if path.suffix.lower() in VIDEO_ENDINGS
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )


def cache_folder() -> Path:
    """``MUSCLEMAP_CACHE``, else the folder ``musclemap`` in the platform's cache directory."""
    if chosen := os.environ.get("MUSCLEMAP_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "musclemap"
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return (Path(base) if base else Path.home() / "AppData" / "Local") / "musclemap"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "musclemap"


@contextmanager
def mapped(file: int) -> Iterator[pa.Buffer]:
    """The bytes of an open file as a buffer that takes next to no memory while it is copied.

    A page that was read stays resident until the system needs room; a copy of a long clip would
    look as large as the clip. A thread hands pages back meanwhile: a page of a read-only mapping
    comes from the file again whenever it is wanted.

    Args:
        file: a file descriptor.
    """
    import pyarrow as pa  # not for `musclemap --help`, which is to be instant

    size = os.fstat(file).st_size
    if not size:
        yield pa.py_buffer(b"")  # an empty file cannot be mapped
        return
    mapping = mmap.mmap(file, 0, access=mmap.ACCESS_READ)
    done = threading.Event()

    def drop() -> None:
        while not done.wait(_DROP_EVERY_S):
            mapping.madvise(mmap.MADV_DONTNEED)

    thread = threading.Thread(target=drop, daemon=True)
    if size > _DROP_FROM_BYTES and hasattr(mmap, "MADV_DONTNEED"):
        thread.start()
    try:
        yield pa.py_buffer(mapping)
    finally:
        done.set()
        if thread.ident is not None:
            thread.join()


@contextmanager
def working_folder(out: Path) -> Iterator[Path]:
    """A temporary folder inside a folder for results, which is made if need be.

    Inside, because what is written there may be larger than the system's place for such files.
    The folder for results is not left behind empty.

    Raises:
        UserError: ``out`` cannot be a folder.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"{out} cannot be a folder: a file is in its way") from error
    try:
        with tempfile.TemporaryDirectory(dir=out, prefix=".work-") as work:
            yield Path(work)
    finally:
        if not any(out.iterdir()):
            out.rmdir()


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
