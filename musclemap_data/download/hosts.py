"""How hosts are asked for videos: with pauses, and no more once they refuse."""

from __future__ import annotations

import ipaddress
import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from musclemap_data.download.settings import DownloadSettings
from musclemap_data.errors import Failure, FailureClass, StageError
from musclemap_data.ledger.rows import LONGEST_REST_S, Rest
from musclemap_data.manifest import is_remote
from musclemap_data.storage import is_object_url

if TYPE_CHECKING:
    from tenacity import RetryCallState

Result = TypeVar("Result")

_YOUTUBE = ("youtube.com", "youtu.be", "music.youtube.com", "youtube-nocookie.com")
_NO_ANSWER = (FailureClass.NETWORK, FailureClass.DISK, FailureClass.UNKNOWN, FailureClass.BUG)
_BOT_CHECK = re.compile(r"not a bot|captcha|unusual traffic|bot check", re.IGNORECASE)


@dataclass(frozen=True)
class VideoTask:
    """One video to ask for; ``local_path`` is the absolute source of a local url."""

    video_id: str
    url: str
    local_path: str | None


class _NotAsked(Exception):
    """The host began to rest before the video's turn came."""


def host_of(url: str) -> str:
    """The host that pauses and refusals are counted for; all addresses of YouTube are one."""
    if not is_remote(url):
        return ""
    parts = urlsplit(url)
    host = (parts.hostname or "").removeprefix("www.").removeprefix("m.")
    if host in _YOUTUBE:
        return _YOUTUBE[0]
    return f"{host}:{parts.port}" if parts.port else host


def is_youtube(url: str) -> bool:
    """Whether the address is YouTube's, whatever its host is called."""
    return host_of(url) == _YOUTUBE[0]


def is_loopback(url: str) -> bool:
    """Whether a url leads to this machine."""
    name = urlsplit(url).hostname or ""
    with suppress(ValueError):
        return ipaddress.ip_address(name).is_loopback
    return name == "localhost"


def is_refusal(failure: Failure) -> bool:
    """Whether a host refused because it was asked too much, not because of this one video."""
    kind = failure.failure_class
    return kind is FailureClass.RATE_LIMITED or (
        kind is FailureClass.BLOCKED and _BOT_CHECK.search(failure.reason) is not None
    )


class Hosts:
    """What one run knows of the hosts it asks: when each may be asked next, and which refuse.

    Attributes:
        resting: host -> why it is not asked in this run, and when to come back.
    """

    def __init__(self, settings: DownloadSettings, resting: Mapping[str, Rest]) -> None:
        self.resting = dict(resting)
        self._settings = settings
        self._lock = threading.Lock()
        self._free_at: dict[str, float] = {}  # on the monotonic clock
        self._refusals: dict[str, int] = {}
        self._longest_pause_s: dict[str, float] = {}

    def wait_turn(self, url: str, stop: threading.Event) -> None:
        """Wait until the host may be asked again, or ``stop`` is set."""
        host = host_of(url)
        unpaced = is_loopback(url) or is_object_url(url)
        pause_s = 0.0 if unpaced else self._settings.pause_s
        while not stop.is_set():
            with self._lock:
                now = time.monotonic()
                free_at = self._free_at.get(host, now)
                if free_at <= now:
                    self._free_at[host] = now + pause_s * random.uniform(0.5, 1.5)
                    return
            stop.wait(free_at - now)

    def hold(self, url: str, seconds: float) -> None:
        """The host asked for a pause: all its videos wait for so long."""
        host = host_of(url)
        with self._lock:
            self._free_at[host] = max(self._free_at.get(host, 0), time.monotonic() + seconds)

    def note(self, url: str, outcome: object) -> None:
        """Count a video's last outcome, and let the host rest if it refuses."""
        if not is_remote(url):
            return
        host, settings = host_of(url), self._settings
        if not isinstance(outcome, StageError):
            self._refusals[host] = 0
            return
        failure = outcome.failure
        if not is_refusal(failure):
            # A failed connection says nothing of the host's will; any other answer is one.
            if failure.failure_class not in _NO_ANSWER:
                self._refusals[host] = 0
            return
        self._refusals[host] = self._refusals.get(host, 0) + 1
        asked_s = outcome.retry_after_s or 0.0
        rest_s = max(asked_s, settings.rest_s, self._longest_pause_s.get(host, 0.0))
        self._longest_pause_s[host] = max(asked_s, self._longest_pause_s.get(host, 0.0))
        enough = self._refusals[host] >= settings.refusals_to_stop
        if host not in self.resting and (enough or asked_s > settings.longest_retry_after_s):
            until = datetime.now(UTC) + timedelta(seconds=min(rest_s, LONGEST_REST_S))
            self.resting[host] = Rest(host, until.replace(microsecond=0), failure.reason)


def run_tasks(
    tasks: Sequence[VideoTask],
    work: Callable[[VideoTask, float, threading.Event], Result],
    settings: DownloadSettings,
    hosts: Hosts,
) -> Generator[tuple[VideoTask, Result | StageError, float]]:
    """Do the work of each task in threads, host by host in turn; no task of a host that rests.

    Args:
        tasks: what to do; those of one host are begun in this order.
        work: called with a task, the seconds it may take and an event that ends it; raises
            ``StageError``.
        settings: how many at once, which pauses, how many tries.
        hosts: pauses and refusals; changed here.

    Yields:
        (task, what ``work`` returned or a ``StageError``, seconds since its turn) as each ends.
    """
    waiting: dict[str, deque[VideoTask]] = {}
    for task in tasks:
        waiting.setdefault(host_of(task.url), deque()).append(task)
    stop = threading.Event()
    running: dict[Future[tuple[Result | StageError, float]], VideoTask] = {}

    def next_task() -> VideoTask | None:
        for host in list(waiting):
            busy = sum(host_of(task.url) == host for task in running.values())
            free = not host or busy < settings.per_host  # local files have no host
            if waiting[host] and free and host not in hosts.resting:
                waiting[host] = waiting.pop(host)  # the other hosts come first next time
                return waiting[host].popleft()
        return None

    with ThreadPoolExecutor(settings.workers, thread_name_prefix="download") as pool:
        try:
            while True:
                while len(running) < settings.workers and (begun := next_task()):
                    future = pool.submit(_try, begun, work, settings, hosts, stop)
                    running[future] = begun
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    task = running.pop(future)
                    try:
                        outcome, seconds = future.result()
                    except _NotAsked:
                        continue
                    hosts.note(task.url, outcome)
                    yield task, outcome, seconds
        finally:
            stop.set()


def _try(
    task: VideoTask,
    work: Callable[[VideoTask, float, threading.Event], Result],
    settings: DownloadSettings,
    hosts: Hosts,
    stop: threading.Event,
) -> tuple[Result | StageError, float]:
    """Do the work of a task, again after a pause where its failure may pass.

    Returns:
        (what ``work`` returned or its ``StageError``, seconds since the first try began)
    """
    from tenacity import (
        Retrying,
        sleep_using_event,
        stop_when_event_set,
        wait_exponential,
        wait_random,
    )

    tries = {
        FailureClass.NETWORK: settings.network_tries,
        FailureClass.RATE_LIMITED: settings.rate_limited_tries,
        FailureClass.RANGE: 2,  # what did not fit is gone, so the second try begins anew
    }
    backoff = wait_exponential(settings.backoff_s, settings.longest_backoff_s) + wait_random(
        0, settings.backoff_s
    )
    if is_remote(task.url):
        hosts.wait_turn(task.url, stop)
    if host_of(task.url) in hosts.resting:
        raise _NotAsked
    began = time.monotonic()
    ends_at = began + settings.video_timeout_s

    def once() -> Result:
        if retrying.statistics["attempt_number"] > 1:
            hosts.wait_turn(task.url, stop)
        return work(task, ends_at - time.monotonic(), stop)

    def pause_s(state: RetryCallState) -> float:
        error = _error_of(state)
        return (
            backoff(state) if error is None or error.retry_after_s is None else error.retry_after_s
        )

    def again(state: RetryCallState) -> bool:
        error = _error_of(state)
        return (
            error is not None
            and state.attempt_number < tries.get(error.failure.failure_class, 1)
            and (error.retry_after_s or 0) <= settings.longest_retry_after_s
            and host_of(task.url) not in hosts.resting
            and time.monotonic() < ends_at
        )

    def keep_others_waiting(state: RetryCallState) -> None:
        error = _error_of(state)
        if error is not None and is_refusal(error.failure):
            hosts.hold(task.url, state.upcoming_sleep)

    retrying = Retrying(
        retry=again,
        wait=pause_s,
        stop=stop_when_event_set(stop),
        sleep=sleep_using_event(stop),
        before_sleep=keep_others_waiting,
        reraise=True,
    )
    outcome: Result | StageError
    try:
        outcome = retrying(once)
    except StageError as error:
        outcome = error
    return outcome, time.monotonic() - began


def _error_of(state: RetryCallState) -> StageError | None:
    error = state.outcome.exception() if state.outcome else None
    return error if isinstance(error, StageError) else None
