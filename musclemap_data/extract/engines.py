"""Where clips are extracted and shards written: in processes of this machine, or on nodes of Ray.

Both take the same jobs and make the same rows and shards. A job is done by one process with one
thread; it is safe to run a job twice. Only as many jobs are handed out as keep the workers busy,
so that memory does not grow with the number of clips. See docs/cluster.md for Ray.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Any, TypeVar

from musclemap_data.cluster import import_ray
from musclemap_data.errors import UserError
from musclemap_data.extract import local, ray
from musclemap_data.extract.work import Job, Outcome

ENGINES = ("local", "ray")
J = TypeVar("J", bound=Job)


def run_jobs(
    jobs: Iterable[J],
    workers: int | None,
    *,
    engine: str = "local",
    address: str | None = None,
) -> Generator[tuple[J, Outcome], None, None]:
    """Run jobs; yields each with its outcome as it ends. What a good one made is in its file.

    Args:
        jobs: read as they are handed out; asked again after they ended, as long as jobs run.
        workers: clips at once; None: one a core, of this machine or of the cluster.
        engine: of ``ENGINES``.
        address: of the Ray cluster: ``auto`` (the one this machine belongs to; the default),
            ``ray://host:port``, or ``local`` (started for this run).

    Raises:
        UserError: an unknown engine, ray is not installed, the cluster cannot be used, or a machine
            is not set up for the jobs, see ``clip.run_job``.
    """
    check_engine(engine, workers, address)
    taken: Iterator[Any] = iter(jobs)
    if engine == "ray":
        return ray.run_jobs(taken, workers, address or "auto")
    return local.run_jobs(taken, workers)


def check_engine(engine: str, workers: int | None, address: str | None) -> None:
    """Refuse what ``run_jobs`` would refuse, before there is a job.

    Raises:
        UserError: as ``run_jobs``; whether the cluster answers is not asked.
    """
    if engine not in ENGINES:
        raise UserError(f"engine is {engine!r}; choose from {', '.join(ENGINES)}")
    if workers is not None and workers < 1:
        raise UserError(f"workers is {workers}; it must be 1 or more")
    if engine == "ray":
        import_ray()
    elif address is not None:
        raise UserError("--address is only for --engine ray")
