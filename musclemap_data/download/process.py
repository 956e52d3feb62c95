"""Calls in processes of their own, which end with their time limit whatever they hang in.

A stalled or dripping connection, a JavaScript runtime or an ffmpeg that does not end: a thread
could not be stopped in any of them, a process can.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Self, TypeVar

from musclemap_data.errors import FailureClass, StageError

Result = TypeVar("Result")


class OwnProcesses:
    """Processes for calls from several threads, one call at a time in each.

    A process is used again by later calls; one that had to be ended is replaced. At the end of the
    ``with`` block all are ended. The modules ``preload`` are loaded once for all of them.
    """

    def __init__(self, preload: Sequence[str] = ()) -> None:
        self._preload = preload
        self._idle: list[tuple[BaseProcess, Connection]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._idle:
            _end(*self._idle.pop())

    def call(
        self,
        work: Callable[..., Result],
        arguments: tuple[object, ...],
        time_limit_s: float,
        stop: threading.Event,
    ) -> Result:
        """Call a function in another process.

        Args:
            work: a function of a module; it may raise ``StageError``.
            arguments: for it; they and what it returns go from process to process.
            time_limit_s: seconds after which its process is ended, with all it started.
            stop: ends it when set.

        Returns:
            What ``work`` returned.

        Raises:
            StageError: stage ``download``: what ``work`` raised; class ``network`` if it was
                ended or lost its connection, ``disk`` or ``bug`` for other errors.
        """
        try:
            process, connection = self._idle.pop()
        except IndexError:
            process, connection = _start(self._preload)
        ends_at = time.monotonic() + time_limit_s
        try:
            connection.send((work, arguments))
            while not connection.poll(0.2):
                if stop.is_set():
                    raise StageError("download", FailureClass.NETWORK, "interrupted")
                if time.monotonic() > ends_at:
                    reason = "not finished within --video-timeout"
                    raise StageError("download", FailureClass.NETWORK, reason)
            outcome: Result | StageError = connection.recv()
        except BaseException as error:
            _end(process, connection)
            if isinstance(error, EOFError | ConnectionError):
                reason = "the process that fetched it died (out of memory?)"
                raise StageError("download", FailureClass.BUG, reason) from error
            raise
        self._idle.append((process, connection))
        if isinstance(outcome, StageError):
            raise outcome
        return outcome


def _start(preload: Sequence[str]) -> tuple[BaseProcess, Connection]:
    can_fork = "forkserver" in multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if can_fork else "spawn")
    if can_fork:
        multiprocessing.set_forkserver_preload(["__main__", *preload])
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    with suppress(EOFError):  # if it died, the first call will tell
        ours.recv()  # it has started: from here on the time limit counts
    return process, ours


def _serve(connection: Connection) -> None:
    """In the other process: answer calls until it is ended, or its parent is."""
    if hasattr(os, "setsid"):
        os.setsid()  # a group of its own, to be ended with whatever it started
    parent = multiprocessing.parent_process()

    def end_with_parent() -> None:
        if parent is not None:
            parent.join()
            _kill_group(os.getpid())
            os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    connection.send(None)
    while True:
        try:
            work, arguments = connection.recv()
        except EOFError:
            return
        connection.send(_answer(work, arguments))


def _answer(work: Callable[..., Result], arguments: tuple[object, ...]) -> Result | StageError:
    try:
        return work(*arguments)
    except StageError as error:
        return error
    except OSError as error:
        lost = isinstance(error, ConnectionError | TimeoutError)
        kind = FailureClass.NETWORK if lost else FailureClass.DISK
        return StageError("download", kind, error.strerror or str(error))
    except Exception as error:
        return StageError("download", FailureClass.BUG, f"{type(error).__name__}: {error}")


def _end(process: BaseProcess, connection: Connection) -> None:
    connection.close()
    if process.pid is not None:
        _kill_group(process.pid)
    process.kill()
    process.join()
    process.close()


def _kill_group(pid: int) -> None:
    # The group may not be made yet, or be gone.
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(pid, signal.SIGKILL)
