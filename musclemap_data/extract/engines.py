"""Where clips are extracted: in processes of this machine, or on the nodes of a Ray cluster.

Both take the same jobs and give back the same rows. A clip is computed by one process with one
thread; it is safe to run a job twice. Only as many jobs are handed out as keep the workers busy,
so that memory does not grow with the number of clips. See docs/cluster.md for Ray.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import tempfile
import threading
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from musclemap_data.errors import Failure, FailureClass, UserError
from musclemap_data.extract.clip import ClipJob, Outcome, run_job, tool_versions
from musclemap_data.extract.staging import write_bytes
from musclemap_data.files import file_sha256

ENGINES = ("local", "ray")
MOST_ATTEMPTS_PER_RUN = 2
"""A clip whose worker process died is tried once more, in case a neighbour was the cause."""
MOST_NODES_LOST = 5
"""A clip whose node was lost is not to blame, unless that happens again and again."""
JOBS_PER_WORKER = 4
"""Handed out at once, so that no worker waits while the main process writes a shard."""
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def run_jobs(
    jobs: Iterable[ClipJob],
    workers: int | None,
    *,
    engine: str = "local",
    address: str | None = None,
) -> Generator[tuple[ClipJob, Outcome], None, None]:
    """Run jobs; yields each with its outcome as it ends. The row of a good one is in its file.

    Args:
        jobs: read as they are handed out.
        workers: clips at once; None: one a core, of this machine or of the cluster.
        engine: of ``ENGINES``.
        address: of the Ray cluster: ``auto`` (the one this machine belongs to; the default),
            ``ray://host:port``, or ``local`` (started for this run).

    Raises:
        UserError: an unknown engine, ray is not installed, or the cluster cannot be used.
    """
    check_engine(engine, workers, address)
    if engine == "ray":
        return _run_on_ray(iter(jobs), workers, address or "auto")
    return _run_in_processes(iter(jobs), workers or os.cpu_count() or 1)


def check_engine(engine: str, workers: int | None, address: str | None) -> None:
    """Raises:
    UserError: as ``run_jobs``, as far as it can be told before there is a job.
    """
    if engine not in ENGINES:
        raise UserError(f"engine is {engine!r}; choose from {', '.join(ENGINES)}")
    if workers is not None and workers < 1:
        raise UserError(f"workers is {workers}; it must be 1 or more")
    if engine == "ray":
        _import_ray()
    elif address is not None:
        raise UserError("--address is of --engine ray")


# -- processes ----------------------------------------------------------------------------------


def _run_in_processes(
    jobs: Iterator[ClipJob], workers: int
) -> Generator[tuple[ClipJob, Outcome], None, None]:
    """A worker that dies (out of memory, say) takes its pool and the clips of its neighbours along.

    Those are then run again in one process, one after the other, to find the one that kills.
    """
    deaths: Counter[str] = Counter()
    suspects: list[ClipJob] = []
    while True:
        queue, count = (iter(suspects), 1) if suspects else (jobs, workers)
        lost = yield from _run_in_pool(queue, count)
        if not suspects and not lost:
            return
        suspects = list(queue) if suspects else []
        again = []
        # The first `count` unfinished jobs may have been the ones that were running.
        for index, job in enumerate(lost):
            deaths[job.clip_id] += index < count
            if deaths[job.clip_id] >= MOST_ATTEMPTS_PER_RUN:
                yield job, _died("its worker process died twice (out of memory?)")
            else:
                again.append(job)
        suspects = again + suspects


def _run_in_pool(
    jobs: Iterator[ClipJob], workers: int
) -> Generator[tuple[ClipJob, Outcome], None, list[ClipJob]]:
    """Run jobs until there are none or the pool dies; returns those that died with it, in order."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    running: dict[Future[Outcome], ClipJob] = {}
    lost: list[ClipJob] = []
    refused: list[ClipJob] = []
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
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
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
    _one_thread_in_opencv()


def _one_thread_in_opencv() -> None:
    import cv2

    cv2.setNumThreads(1)


def _died(how: str) -> Failure:
    return Failure("extract", FailureClass.BUG, f"{how}; try fewer --workers")


# -- Ray ----------------------------------------------------------------------------------------


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone
    try:
        import ray
    except ImportError as error:
        raise UserError("--engine ray needs Ray: `pip install musclemap[ray]`") from error
    return ray


@contextmanager
def _connected(ray: Any, address: str, workers: int | None) -> Iterator[None]:
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


def _run_on_ray(
    jobs: Iterator[ClipJob], workers: int | None, address: str
) -> Generator[tuple[ClipJob, Outcome], None, None]:
    """One task a clip; rows come back through the object store and are written here.

    A node that has not the video's file is sent its bytes: once one node says so, all are, and
    each keeps to its own file where that is the same.
    """
    ray = _import_ray()
    worker_died = (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError)
    node_died = (
        ray.exceptions.NodeDiedError,
        ray.exceptions.LocalRayletDiedError,
        ray.exceptions.ObjectLostError,
    )
    # Ray would try a clip that takes all memory again for ever: the counting is done here.
    extract_on_node = ray.remote(
        num_cpus=1,
        num_returns=2,
        max_retries=0,
        runtime_env={"env_vars": dict.fromkeys(_THREAD_VARIABLES, "1")},
    )(_extract_on_node)
    tools = tool_versions()
    deaths: Counter[tuple[str, str]] = Counter()
    again: deque[ClipJob] = deque()
    running: dict[Any, tuple[ClipJob, Any]] = {}  # outcome -> job, row
    videos: dict[str, Any] = {}
    send_videos = False
    with _connected(ray, address, workers):
        while True:
            most = workers or 2 * int(ray.cluster_resources().get("CPU", 1))
            while len(running) < most:
                job = again.popleft() if again else next(jobs, None)
                if job is None:
                    break
                if not Path(job.video).is_file():
                    yield job, run_job(job)  # says that it is gone
                    continue
                if send_videos and job.video not in videos:
                    videos[job.video] = ray.put(np.fromfile(job.video, np.uint8))
                outcome, row = extract_on_node.remote(job, videos.get(job.video), tools)
                running[outcome] = (job, row)
            if not running:
                return
            for done in ray.wait(list(running))[0]:
                job, row = running.pop(done)
                try:
                    result = _collect(ray, done, row, Path(job.staged))
                except (*worker_died, *node_died) as error:
                    what, most_deaths = (
                        ("worker process", MOST_ATTEMPTS_PER_RUN)
                        if isinstance(error, worker_died)
                        else ("node", MOST_NODES_LOST)
                    )
                    deaths[job.clip_id, what] += 1
                    if deaths[job.clip_id, what] < most_deaths:
                        again.append(job)
                        continue
                    how = f"its {what} died {most_deaths} times ({type(error).__name__})"
                    result = _died(how)
                if result is None:
                    send_videos = True
                    again.append(job)
                    continue
                yield job, result
            in_use = {job.video for job, _ in running.values()}
            videos = {name: video for name, video in videos.items() if name in in_use}


def _collect(ray: Any, outcome: Any, row: Any, staged: Path) -> Outcome | None:
    """What a task gave back; its row goes to ``staged``.

    Raises:
        UserError: a node cannot work, or the cluster broke down.
        RayError: the task was lost with its process or its node.
    """
    try:
        result: Outcome | None = ray.get(outcome)
        if isinstance(result, dict):
            write_bytes(staged, ray.get(row))
        return result
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise UserError(f"a node of the Ray cluster cannot work: {error}") from error
    except (ray.exceptions.RaySystemError, ray.exceptions.RuntimeEnvSetupError) as error:
        raise UserError(f"the Ray cluster failed: {error}") from error


def _extract_on_node(
    job: ClipJob, video: npt.NDArray[np.uint8] | None, tools: dict[str, str]
) -> tuple[Outcome | None, npt.NDArray[np.uint8] | None]:
    """Run a job in a temporary folder of the node that this is called on.

    Args:
        job: with the paths of the main process.
        video: the bytes of the source, for a node without its file.
        tools: of the main process. Rows say what made them: here it must be the same.

    Returns:
        (outcome, the staged row's bytes where it is good); (None, None): the video is needed.

    Raises:
        UserError: other versions are installed here.
    """
    other = {name: found for name, found in tool_versions().items() if tools.get(name) != found}
    if other:
        here = ", ".join(f"{name} {found}" for name, found in other.items())
        there = ", ".join(f"{name} {tools.get(name)}" for name in other)
        raise UserError(
            f"the node {socket.gethostname()} has {here} where the main process has {there}: "
            "install the same versions on all of them (constraints.txt)"
        )
    _one_thread_in_opencv()
    with tempfile.TemporaryDirectory(prefix="musclemap-") as name:
        folder = Path(name)
        source = Path(job.video)
        if not _is_same_file(source, job.fixed["source_sha256"]):
            if video is None:
                return None, None
            source = folder / source.name
            video.tofile(source)
        staged, cut = folder / "row.arrow", folder / "clip.mp4"
        outcome = run_job(replace(job, video=str(source), staged=str(staged), cut=str(cut)))
        return outcome, None if isinstance(outcome, Failure) else np.fromfile(staged, np.uint8)


def _is_same_file(path: Path, sha256: str) -> bool:
    try:
        facts = path.stat()
        return _sha256_at(path, facts.st_size, facts.st_mtime_ns) == sha256
    except OSError:
        return False


@lru_cache(maxsize=64)
def _sha256_at(path: Path, size: int, modified_ns: int) -> str:
    """A video's hash, once for all of its clips."""
    return file_sha256(path)
