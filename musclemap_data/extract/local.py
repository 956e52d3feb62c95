"""Extraction in processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import Counter
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from musclemap_data.errors import Failure, FailureClass
from musclemap_data.extract.work import Job, Outcome, run_job

MOST_ATTEMPTS_PER_RUN = 2
"""A clip whose worker process died is tried once more, in case a neighbour was the cause."""
JOBS_PER_WORKER = 4
"""Handed out at once, so that no worker waits while the main process writes a shard."""
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def run_jobs(
    jobs: Iterator[Any], workers: int | None
) -> Generator[tuple[Any, Outcome], None, None]:
    """A worker that dies (out of memory, say) takes its pool and the clips of its neighbours along.

    Those are then run again in one process, one after the other, to find the one that kills.
    """
    workers = workers or os.cpu_count() or 1
    deaths: Counter[str] = Counter()
    suspects: list[Job] = []
    while True:
        queue, count = (iter(suspects), 1) if suspects else (jobs, workers)
        lost = yield from _run_in_pool(queue, count)
        if not suspects and not lost:
            return
        suspects = list(queue) if suspects else []
        again = []
        # The first ``count`` unfinished jobs may have been the ones that were running.
        for index, job in enumerate(lost):
            deaths[job.name] += index < count
            if deaths[job.name] >= MOST_ATTEMPTS_PER_RUN:
                yield job, died("its worker process died twice (out of memory?)")
            else:
                again.append(job)
        suspects = again + suspects


def _run_in_pool(
    jobs: Iterator[Job], workers: int
) -> Generator[tuple[Job, Outcome], None, list[Job]]:
    """Run jobs until there are none or the pool dies; returns those that died with it, in order."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    running: dict[Future[Outcome], Job] = {}
    lost: list[Job] = []
    refused: list[Job] = []
    try:
        while True:
            while not lost and not refused and len(running) < JOBS_PER_WORKER * workers:
                job = next(jobs, None)
                if job is None:
                    break
                try:
                    with _one_thread_each():
                        running[pool.submit(run_job, job)] = job
                except BrokenProcessPool:
                    refused.append(job)
            if not running:
                return lost + refused
            wait(running, return_when=FIRST_COMPLETED)
            for future in [future for future in running if future.done()]:
                job = running.pop(future)
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    lost.append(job)
                    continue
                yield job, outcome
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started here use one thread each: clips are the unit of parallel work.

    Numerical libraries read these variables when they are loaded, so they must be set before a
    process starts, not in it.
    """
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start_worker() -> None:
    """One thread for OpenCV; and a worker ends with its parent."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        # A killed main process cannot tell its workers: they watch it.
        def watch() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()
    one_thread_in_opencv()


def one_thread_in_opencv() -> None:
    """Keep OpenCV to one thread: there is a process for each core already."""
    import cv2

    cv2.setNumThreads(1)


def died(how: str) -> Failure:
    """The failure of a clip whose process died; ``how`` is the start of its message."""
    return Failure("extract", FailureClass.BUG, f"{how}; try fewer --workers")
