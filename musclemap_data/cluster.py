"""A connection to a Ray cluster, and whether its nodes see a folder of this machine."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from musclemap_data.errors import UserError


def import_ray() -> Any:
    """The module ``ray``, told to report nothing to anyone.

    Raises:
        UserError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone
    try:
        import ray
    except ImportError as error:
        raise UserError("--engine ray needs Ray: `pip install musclemap[ray]`") from error
    return ray


@contextmanager
def connected(ray: Any, address: str, workers: int | None) -> Iterator[None]:
    """A connection to a cluster for the block; one that the program has already is used and kept.

    Args:
        ray: the module.
        address: ``auto``, ``ray://host:port``, or ``local``: started for this block.
        workers: cores of a local one; None: those of this machine.

    Raises:
        UserError: there is none.
    """
    if ray.is_initialized():  # by the program that called us: it stays so
        yield
        return
    local = {"num_cpus": workers or os.cpu_count(), "include_dashboard": False}
    try:
        host, _, port = address.rpartition("://")[2].partition(":")
        if port:  # Ray itself tries for minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level="error",
            **(local if address == "local" else {}),
        )
    except (ImportError, OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise UserError(
            f"no Ray cluster at --address {address}: {error}. Start one with `ray start --head`, "
            "or give --address ray://HOST:10001 or --address local"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


class Marker:
    """An empty file in a folder of this run: who sees it sees the folder, not one of its name."""

    def __init__(self) -> None:
        self._name = f".seen-{uuid.uuid4().hex}"
        self._paths: set[Path] = set()

    def __enter__(self) -> Marker:
        return self

    def __exit__(self, *_: object) -> None:
        for path in self._paths:
            path.unlink(missing_ok=True)

    def in_folder(self, folder: Path) -> str:
        """Its absolute path; made if need be, where the folder is there."""
        path = folder.absolute() / self._name
        if path not in self._paths and folder.is_dir():
            path.touch()
            self._paths.add(path)
        return str(path)
