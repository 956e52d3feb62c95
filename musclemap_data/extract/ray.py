"""Extraction on the nodes of a Ray cluster (docs/cluster.md)."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections import Counter, deque
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import lru_cache
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from musclemap_data.cluster import Marker, connected, import_ray
from musclemap_data.errors import Failure, FailureClass, UserError
from musclemap_data.extract.assemble import ShardJob
from musclemap_data.extract.clip import ClipJob, Extracted, tool_versions
from musclemap_data.extract.local import (
    MOST_ATTEMPTS_PER_RUN,
    THREAD_VARIABLES,
    died,
    one_thread_in_opencv,
)
from musclemap_data.extract.staging import write_bytes
from musclemap_data.extract.work import Job, Outcome, run_job
from musclemap_data.files import file_sha256, replacing

BACKENDS_ON_GPU = ("rtmpose", "mmpose")
"""Of poses, which take a GPU where there is one, unless told otherwise."""
MOST_NODES_LOST = 5
"""A clip whose node was lost is not to blame, unless that happens again and again."""


def run_jobs(
    jobs: Iterator[Any], workers: int | None, address: str
) -> Generator[tuple[Any, Outcome], None, None]:
    """One task a clip and one a shard; each writes to where its bytes belong, if it sees the place.

    A node that does not see the data set's folder sends the rows of its clips through the object
    store, to be written here, and leaves shards to others. A node that has not the video's file is
    sent its bytes: once one node says so, all are, and each keeps to its own file where that is
    the same.
    """
    ray = import_ray()
    worker_died = (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError)
    node_died = (
        ray.exceptions.NodeDiedError,
        ray.exceptions.LocalRayletDiedError,
        ray.exceptions.ObjectLostError,
    )
    # Ray would try a clip that takes all memory again for ever: the counting is done here.
    on_node = ray.remote(
        num_cpus=1,
        max_retries=0,
        runtime_env={"env_vars": dict.fromkeys(THREAD_VARIABLES, "1")},
    )
    extract_on_node = on_node(_extract_on_node)
    write_on_node = on_node(_write_on_node)
    tools = tool_versions()
    deaths: Counter[tuple[str, str]] = Counter()
    again: deque[Job] = deque()
    running: dict[Any, tuple[Job, Any]] = {}  # outcome -> job, row
    videos: dict[str, Any] = {}
    send_videos = False
    with connected(ray, address, workers), Marker() as marker:
        while True:
            # There may be no core yet: tasks wait for the nodes that are to join.
            most = workers or max(2, 2 * int(ray.cluster_resources().get("CPU", 0)))
            while len(running) < most:
                job = again.popleft() if again else next(jobs, None)
                if job is None:
                    break
                if isinstance(job, ShardJob):
                    seen = marker.in_folder(Path(job.data_dir) / "work")
                    running[write_on_node.remote(job, seen, tools)] = (job, None)
                    continue
                if not Path(job.video).is_file():
                    yield job, run_job(job)  # says that it is gone
                    continue
                if send_videos and job.video not in videos:
                    videos[job.video] = ray.put(np.fromfile(job.video, np.uint8))
                seen = marker.in_folder(Path(job.staged).parent)
                on_gpu = extract_on_node.options(num_returns=2, num_gpus=_gpu_share(ray, job))
                outcome, row = on_gpu.remote(job, videos.get(job.video), tools, seen)
                running[outcome] = (job, row)
            if not running:
                return
            for done in ray.wait(list(running))[0]:
                job, row = running.pop(done)
                try:
                    result = _collect(ray, job, done, row)
                except (*worker_died, *node_died) as error:
                    what, most_deaths = (
                        ("worker process", MOST_ATTEMPTS_PER_RUN)
                        if isinstance(error, worker_died)
                        else ("node", MOST_NODES_LOST)
                    )
                    deaths[job.name, what] += 1
                    if deaths[job.name, what] < most_deaths:
                        again.append(job)
                        continue
                    how = f"its {what} died {most_deaths} times ({type(error).__name__})"
                    result = died(how)
                if result is None and isinstance(job, ShardJob):
                    result = run_job(job)  # that node does not see the folder; this one does
                if result is None:
                    send_videos = True
                    again.append(job)
                    continue
                yield job, result
            in_use = {job.video for job, _ in running.values() if isinstance(job, ClipJob)}
            videos = {name: video for name, video in videos.items() if name in in_use}


def _gpu_share(ray: Any, job: ClipJob) -> float:
    """The share of a GPU that a clip takes, so that all cores beside GPUs have one in work.

    Ray shows a task no GPU that asks for none.

    Raises:
        UserError: it needs one, and no node has one.
    """
    device = job.settings.pose_options.get("device")
    needs_one = "cuda" in (job.settings.flow_device, device)
    if not needs_one and (device or job.settings.pose not in BACKENDS_ON_GPU):
        return 0.0
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    nodes = [found for found in nodes if found.get("GPU")]
    if not nodes:
        if needs_one:
            raise UserError(
                "--device cuda: no node of the Ray cluster has a GPU (`ray status` lists what they "
                "have; `ray start --num-gpus N` says it where Ray does not see it)"
            )
        return 0.0
    gpus = sum(float(found["GPU"]) for found in nodes)
    cores = sum(float(found.get("CPU", 0.0)) for found in nodes)
    return min(1.0, floor(1e4 * gpus / max(cores, 1.0)) / 1e4)


def _collect(ray: Any, job: Job, outcome: Any, row: Any) -> Outcome | None:
    """What a task gave back; a row that it could not write itself goes to its place.

    Raises:
        UserError: a node cannot work, or the cluster broke down.
        OSError: a shard could not be written where it belongs.
        RayError: the task was lost with its process or its node.
    """
    try:
        result: Outcome | None = ray.get(outcome)
        if isinstance(result, Extracted) and isinstance(job, ClipJob):
            sent = ray.get(row)
            if sent is not None:
                write_bytes(Path(job.staged), sent)
        return result
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError | OSError):
            raise error.cause from None
        raise UserError(f"a node of the Ray cluster cannot work: {error}") from error
    except (ray.exceptions.RaySystemError, ray.exceptions.RuntimeEnvSetupError) as error:
        raise UserError(f"the Ray cluster failed: {error}") from error


def _check_tools(tools: dict[str, str]) -> None:
    """Rows say what made them: here it must be what the main process has.

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


def _write_on_node(job: ShardJob, seen: str, tools: dict[str, str]) -> Outcome | None:
    """Write a shard on the node that this is called on; None: it does not see the folder.

    Raises:
        UserError, ValueError, OSError: see ``assemble.write_job``; or other versions are here.
    """
    _check_tools(tools)
    return run_job(job) if Path(seen).exists() else None


def _extract_on_node(
    job: ClipJob, video: npt.NDArray[np.uint8] | None, tools: dict[str, str], seen: str
) -> tuple[Outcome | None, npt.NDArray[np.uint8] | None]:
    """Run a job in a temporary folder of the node that this is called on.

    Args:
        job: with the paths of the main process.
        video: the bytes of the source, for a node without its file.
        tools: of the main process.
        seen: a file that is there if this node sees the folder of the main process.

    Returns:
        (outcome, the staged row's bytes where it is good and was not put in its place here);
        (None, None): the video is needed.

    Raises:
        UserError: other versions are installed here, or the node is not set up for the job.
    """
    _check_tools(tools)
    one_thread_in_opencv()
    with tempfile.TemporaryDirectory(prefix="musclemap-") as name:
        folder = Path(name)
        source = Path(job.video)
        if not _is_same_file(source, job.fixed["source_sha256"]):
            if video is None:
                return None, None
            source = folder / source.name
            video.tofile(source)
        staged, cut = folder / "row.arrow", folder / "clip.mp4"
        try:
            outcome = run_job(replace(job, video=str(source), staged=str(staged), cut=str(cut)))
        except UserError as error:
            raise UserError(f"on the node {socket.gethostname()}: {error}") from None
        if isinstance(outcome, Failure):
            return outcome, None
        if not Path(seen).exists():
            return outcome, np.fromfile(staged, np.uint8)
        try:
            with replacing(Path(job.staged), flush=True) as temporary:
                shutil.copyfile(staged, temporary)
        except OSError as error:
            return Failure("extract", FailureClass.DISK, error.strerror or str(error)), None
        return outcome, None


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
