"""Videos waiting to be judged, one at a time, and what became of them."""

from __future__ import annotations

import queue
import secrets
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from musclemap_data.errors import UserError

Tell = Callable[[str, int, int], None]
"""Told of progress: what is done now, steps done, steps in all."""
Judge = Callable[[Path, Path, Tell], dict[str, object]]
"""Judges a video, writes files to a folder, and returns what the page shows."""

MOST_JOBS = 20
"""Videos that are kept; the oldest finished one goes when another comes."""


@dataclass
class Job:
    """A video and how far it is.

    Attributes:
        job_id: random, so that no other page can guess it.
        name: of the video, as the user has it.
        video: the file.
        folder: of the results.
        state: where it is.
        stage, done, total: what is done now, and how far.
        result: what the page shows, once done.
        error: what was wrong, in words.
        stopped: nobody wants it any more; it ends at its next step.
    """

    job_id: str
    name: str
    video: Path
    folder: Path
    state: Literal["waiting", "running", "done", "failed"] = "waiting"
    stage: str = "waiting"
    done: int = 0
    total: int = 0
    result: dict[str, object] = field(default_factory=dict)
    error: str = ""
    stopped: bool = False

    def facts(self) -> dict[str, object]:
        """For the page, ready for JSON."""
        names = ("job_id", "name", "state", "stage", "done", "total", "result", "error")
        return {name: getattr(self, name) for name in names}


class _Stopped(Exception):
    """The video is not to be judged any further."""


class Jobs:
    """A thread judges one video after another; ``close`` ends it and removes what is not kept.

    Args:
        judge: judges one video.
        work: an existing folder for videos and results.
        keep: a folder for results that stay; None keeps nothing.
    """

    def __init__(self, judge: Judge, work: Path, keep: Path | None = None) -> None:
        self._judge, self._work, self._keep = judge, work, keep
        self._jobs: dict[str, Job] = {}
        self._waiting: queue.Queue[Job | None] = queue.Queue()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def new(self, name: str) -> Job:
        """A job whose video is still to be written to ``job.video``; ``start`` it then.

        Args:
            name: of the video, safe as the name of a file.

        Raises:
            UserError: too many videos wait.
        """
        with self._lock:
            finished = [job for job in self._jobs.values() if job.state in ("done", "failed")]
            if len(self._jobs) >= MOST_JOBS:
                if not finished:
                    raise UserError(f"{len(self._jobs)} videos are waiting; try again later")
                self._forget(finished[0])
            job_id = secrets.token_urlsafe(12)
            folder = self._work / job_id
            folder.mkdir()
            job = Job(job_id, name, folder / "video" / name, folder / "results")
            job.video.parent.mkdir()
            self._jobs[job_id] = job
            return job

    def start(self, job: Job) -> None:
        """Put a job whose video is there into the queue."""
        self._waiting.put(job)

    def find(self, job_id: str) -> Job | None:
        """The job of this id, or None."""
        return self._jobs.get(job_id)

    def remove(self, job: Job) -> None:
        """Forget a job and its files; one that is running is stopped at its next step before."""
        with self._lock:
            if job.state == "running":
                job.stopped = True
            else:
                self._forget(job)

    def close(self) -> None:
        """End the thread; a video that is being judged is not waited for."""
        self._waiting.put(None)

    def _forget(self, job: Job) -> None:
        self._jobs.pop(job.job_id, None)
        shutil.rmtree(job.video.parents[1], ignore_errors=True)

    def _run(self) -> None:
        while (job := self._waiting.get()) is not None:
            if job.job_id not in self._jobs:
                continue

            def tell(stage: str, done: int, total: int, job: Job = job) -> None:
                if job.stopped:
                    raise _Stopped
                job.stage, job.done, job.total = stage, done, total

            with self._lock:
                job.state = "running"
            try:
                job.folder.mkdir()
                job.result = self._judge(job.video, job.folder, tell)
                if self._keep is not None:
                    job.result["kept_in"] = str(_store(job, self._keep))
                job.state = "done"
            except _Stopped:
                with self._lock:
                    self._forget(job)
            except UserError as error:
                job.error = str(error).replace(str(job.video), job.name)
                job.state = "failed"
            except Exception as error:
                # The page must go on for the next video; the reason goes to the page's log.
                job.error = f"the program failed: {type(error).__name__}: {error}"
                job.state = "failed"
            finally:
                job.video.unlink(missing_ok=True)


def _store(job: Job, keep: Path) -> Path:
    """Copy the results to where they stay, under the video's name; none is overwritten."""
    stem, number = Path(job.name).stem or "video", 1
    while (place := keep / (stem if number == 1 else f"{stem}-{number}")).exists():
        number += 1
    shutil.copytree(job.folder, place)
    return place
