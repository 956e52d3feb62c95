"""The application of ``musclemap app``: takes a video, tells how far it is, shows the results."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from benchmark.app.jobs import Job, Jobs
from musclemap_data.browse.app import STATIC as SHARED_STATIC
from musclemap_data.errors import UserError
from musclemap_data.local_web import check_own_page, error_answer, guarded

STATIC = Path(__file__).parent / "static"
FILES = {
    "overlay.mp4": "video/mp4", "timeline.png": "image/png", "body_map.svg": "image/svg+xml",
    "body_map.png": "image/png", "prediction.json": "application/json",
    "movement.pdf": "application/pdf", "movement.json": "application/json",
    "joints.csv": "text/csv", "angles.csv": "text/csv", "joints.trc": "text/plain",
    "angles.mot": "text/plain",
}  # fmt: skip
"""What a result may hold, and its type. Nothing else is given out."""
_LONGEST_NAME = 120


class _Answers:
    """What the routes answer, one method each."""

    def __init__(self, jobs: Jobs, most_bytes: int) -> None:
        self.jobs, self.most_bytes = jobs, most_bytes

    def limits(self, request: Request) -> Response:
        return JSONResponse({"most_bytes": self.most_bytes})

    async def upload(self, request: Request) -> Response:
        check_own_page(request)
        announced = request.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > self.most_bytes:
            raise HTTPException(413, self._too_large())
        job = self.jobs.new(_name(request.headers.get("x-name", "")))
        size = 0
        try:
            with job.video.open("wb") as file:
                async for piece in request.stream():
                    size += len(piece)
                    if size > self.most_bytes:
                        raise HTTPException(413, self._too_large())
                    file.write(piece)
        except (HTTPException, ClientDisconnect, OSError):
            self.jobs.remove(job)
            raise
        if not size:
            self.jobs.remove(job)
            raise HTTPException(400, "the file is empty")
        self.jobs.start(job)
        return JSONResponse(job.facts(), 202)

    def _too_large(self) -> str:
        return (
            f"the video is larger than {self.most_bytes / 2**20:.0f} MiB: cut it, or start "
            "musclemap app with a larger --max-mib"
        )

    def job(self, request: Request) -> Response:
        return JSONResponse(self._find(request).facts())

    def remove(self, request: Request) -> Response:
        check_own_page(request)
        self.jobs.remove(self._find(request))
        return JSONResponse({})

    def file(self, request: Request) -> Response:
        job, name = self._find(request), request.path_params["name"]
        path = job.folder / name
        if name not in FILES or job.state != "done" or not path.is_file():
            raise HTTPException(404, "there is no such file")
        return FileResponse(path, media_type=FILES[name])

    def _find(self, request: Request) -> Job:
        job = self.jobs.find(request.path_params["job_id"])
        if job is None:
            raise HTTPException(404, "there is no such video; it may have been removed")
        return job


def create_app(jobs: Jobs, most_bytes: int, *, host_names: tuple[str, ...] = ()) -> ASGIApp:
    """The application.

    Args:
        jobs: where videos go.
        most_bytes: a larger video is refused.
        host_names: names besides ``localhost`` under which it may be asked.
    """
    answers = _Answers(jobs, most_bytes)
    routes = [
        Route("/", lambda request: FileResponse(STATIC / "index.html")),
        Route("/api/limits", answers.limits),
        Route("/api/videos", answers.upload, methods=["POST"]),
        Route("/api/videos/{job_id}", answers.job),
        Route("/api/videos/{job_id}/remove", answers.remove, methods=["POST"]),
        Route("/api/videos/{job_id}/{name}", answers.file),
        Mount("/app", StaticFiles(directory=STATIC)),
        Mount("/static", StaticFiles(directory=SHARED_STATIC)),
    ]
    handlers: dict[Any, Callable[..., Response]] = {
        HTTPException: lambda _, error: error_answer(error.status_code, str(error.detail)),
        UserError: lambda _, error: error_answer(503, str(error)),
        OSError: lambda _, error: error_answer(507, f"cannot be stored: {error.strerror}"),
        ClientDisconnect: lambda _, error: error_answer(400, "the upload was broken off"),
    }
    return guarded(Starlette(routes=routes, exception_handlers=handlers), host_names)


def _name(header: str) -> str:
    """A name for people and for a folder: no separators, no control characters, not too long."""
    text = re.sub(r"[^\w .()+-]", "_", unquote(header))
    while len(text.encode()) > _LONGEST_NAME:
        text = text[1:]
    return text.strip(" .") or "video"
