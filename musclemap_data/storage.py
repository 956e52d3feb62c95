"""One object in object storage, by its url: what fsspec and its packages are asked for."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from musclemap_data.errors import DISK_ERRORS, FailureClass, StageError, UserError
from musclemap_data.files import file_sha256, replacing
from musclemap_data.hub_access import read_address

PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs", "hf": "huggingface_hub"}
"""Protocol -> the package that fsspec reads it with. Others are refused: fsspec also knows
protocols that run programs or read local files."""
READ_TOGETHER = 8
"""Parts of a shard on the Hub; for the others fsspec knows better."""


def open_url(url: str) -> tuple[Any, str]:
    """(fsspec file system, path in it) of a url.

    Raises:
        UserError: a protocol that is not allowed, no bucket, secrets in the url, no package.
    """
    protocol, _, path = url.partition("://")
    if protocol == "hf":
        return _open_hub(url)
    parts = path.split("/")
    if protocol not in PACKAGES:
        known = ", ".join(f"{name}://" for name in PACKAGES)
        raise UserError(f"{url}: storage must be one of {known}")
    if len(parts) < 2 or not all(parts) or {".", ".."} & {*parts} or re.search(r"[@?#*\[\]]", path):
        raise UserError(
            f"{url} must look like {protocol}://bucket/name; credentials come from the "
            "environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, ...)"
        )
    try:
        import fsspec

        # Listings are not kept: another machine may write meanwhile.
        return fsspec.filesystem(protocol, use_listings_cache=False), path
    except ImportError as error:
        extra = "musclemap[s3]" if protocol == "s3" else PACKAGES[protocol]
        raise UserError(f"{protocol}:// needs a package: `pip install {extra}`") from error


def _open_hub(url: str) -> tuple[Any, str]:
    address = read_address(url, kind="dataset")
    try:
        from huggingface_hub import HfFileSystem
    except ImportError as error:
        raise UserError("hf:// needs a package: `pip install 'musclemap[hub]'`") from error
    at = f"@{address.revision}" if address.revision else ""
    files = HfFileSystem(endpoint=os.environ.get("HF_ENDPOINT"))
    return files, f"datasets/{address.repo}{at}"


def is_object_url(url: str) -> bool:
    """Whether a url names something in object storage: ``s3://bucket/key``."""
    protocol, found, _ = url.partition("://")
    return bool(found) and protocol.lower() in PACKAGES


def size_of(url: str) -> int:
    """Bytes of a source video. Raises as ``fetch``."""
    files, key = open_url(url)
    with _stage_errors(url):
        return int(files.info(key)["size"])


def fetch(url: str, target: Path, most_bytes: int | None = None) -> None:
    """Fetch a source video; ``target`` is whole or not there.

    Raises:
        StageError: stage ``download``; class ``gone``, ``blocked``, ``too-large`` or ``network``.
        UserError: not a url that can be used, or a package is missing.
    """
    size = size_of(url)
    if most_bytes is not None and size > most_bytes:
        reason = f"{size} bytes, more than the {most_bytes} allowed"
        raise StageError("download", FailureClass.TOO_LARGE, reason)
    files, key = open_url(url)
    with _stage_errors(url):
        get(files, key, target)


@contextmanager
def _stage_errors(url: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise StageError("download", FailureClass.GONE, f"there is no {url}") from error
    except PermissionError as error:
        raise StageError("download", FailureClass.BLOCKED, f"{url} is refused") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            raise  # of this machine's disk
        name = type(error).__name__  # of a library that may not be imported here
        lost = isinstance(error, OSError) or re.search("Connect|Timeout|Endpoint", name)
        kind = FailureClass.NETWORK if lost else FailureClass.UNKNOWN
        raise StageError("download", kind, f"{url}: {name}: {error}") from error


def read_parts(files: Any, key: str, parts: list[range]) -> list[bytes]:
    """Parts of one object, several at once.

    Raises:
        Exception: what the package of the storage raises.
    """
    if files.async_impl:
        starts, ends = [part.start for part in parts], [part.stop for part in parts]
        found = files.cat_ranges([key] * len(parts), starts, ends)
        for content in found:
            if isinstance(content, Exception):  # given back whatever ``on_error`` says
                raise content
        return list(found)

    def read(part: range) -> bytes:
        content: bytes = files.cat_file(key, part.start, part.stop, cache_type="none")
        return content

    with ThreadPoolExecutor(min(READ_TOGETHER, len(parts))) as pool:
        return list(pool.map(read, parts))


def get(files: Any, key: str, target: Path, sha256: str | None = None) -> None:
    """Fetch one object; ``target`` is whole or not there.

    Args:
        sha256: what it must have, in hexadecimal; None where it is not known.

    Raises:
        UserError: it has another hash.
        Exception: what the package of the storage raises.
    """
    with replacing(target) as temporary:
        files.get_file(key, str(temporary))
        if sha256 is not None and file_sha256(temporary) != sha256:
            raise UserError(
                f"{key} is not what was recorded (sha256 differs). If a run is writing to it, try "
                "again; else build it again with `musclemap extract-modalities`"
            )
