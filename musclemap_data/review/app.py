"""The page of ``musclemap review``: the list, one stretch that loops, and decisions by keys.

Who may ask, and the headers of the answers: ``musclemap_data.local_web``. Videos are given out by
byte ranges, and only those of the list.
"""

from __future__ import annotations

import json
import math
import mimetypes
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from musclemap_data.browse.app import STATIC as SHARED_STATIC
from musclemap_data.browse.app import body_map
from musclemap_data.catalog import GRADE_NAMES, Activity, load_muscles
from musclemap_data.errors import StageError, UserError
from musclemap_data.extract.source import probe
from musclemap_data.local_web import check_own_page, error_answer, guarded
from musclemap_data.review.decisions import Kind
from musclemap_data.review.material import Video
from musclemap_data.review.queue import ORDERS, STATES, Line, Queue, Refused

STATIC = Path(__file__).parent / "static"
LARGEST_PAGE = 200
LARGEST_BODY_BYTES = 4096
REASONS = (
    "another exercise", "not an exercise", "more than one exercise", "person cut off",
    "too far away or hidden", "text or picture over it", "slow motion or edited",
    "seen before", "not allowed to use",
)  # fmt: skip
"""Of a rejection: the keys 1 to 9; any other can be typed."""
_USUAL_FPS = 30.0


class _Answers:
    """What the routes answer, one method each."""

    def __init__(self, queue: Queue, name: str, built: bool) -> None:
        self.queue, self.name, self.built = queue, name, built

    def review(self, request: Request) -> Response:
        return JSONResponse(
            {
                "name": self.name,
                "built": self.built,
                "reviewer": self.queue.reviewer,
                "blind": self.queue.blind,
                "counts": self.queue.counts(),
                "videos": len(self.queue.material.videos),
                "reasons": REASONS,
                "regions": [{"slug": each.slug, "name": each.name} for each in load_muscles()],
                "grade_names": {f"{grade:g}": name for grade, name in GRADE_NAMES.items()},
                "activities": [_activity(each) for each in self.queue.activities.values()],
            }
        )

    def clips(self, request: Request) -> Response:
        lines = self._select(request)
        offset = _number(request, "offset", 0)
        limit = min(_number(request, "limit", 50), LARGEST_PAGE)
        return JSONResponse(
            {
                "total": len(lines),
                "counts": self.queue.counts(),
                "clips": [self._card(line) for line in lines[offset : offset + limit]],
            }
        )

    def clip(self, request: Request) -> Response:
        line = self._find(request)
        return JSONResponse(self._details(line) | self._neighbours(line, request))

    def video(self, request: Request) -> Response:
        video = self._video(self._find(request))
        if video is None or not video.path.is_file():
            raise HTTPException(404, "the video of this clip is not on this machine")
        kind = mimetypes.guess_type(video.path.name)[0] or "video/mp4"
        return FileResponse(video.path, media_type=kind)

    async def decide(self, request: Request) -> Response:
        check_own_page(request)
        asked = await _body(request)
        if asked.get("kind") not in [kind for kind in Kind if kind is not Kind.UNDO]:
            raise HTTPException(400, "there is no such kind of decision")
        texts = {name: _text(asked, name) for name in ("clip", "reason", "activity")}
        seconds = {name: _seconds(asked, name) for name in ("start_s", "end_s", "split_at_s")}
        decision = await run_in_threadpool(
            self.queue.decide, Kind(str(asked["kind"])), texts["clip"] or "",
            reason=texts["reason"] or "", activity=texts["activity"], **seconds,
        )  # fmt: skip
        return JSONResponse({"clip": decision.clip, "counts": self.queue.counts()})

    def undo(self, request: Request) -> Response:
        check_own_page(request)
        clip = self.queue.undo()
        if clip is None:
            raise HTTPException(409, "there is nothing to undo")
        return JSONResponse({"clip": clip, "counts": self.queue.counts()})

    def _select(self, request: Request) -> list[Line]:
        query = request.query_params
        state, order = query.get("state", ""), query.get("order", "listed")
        if (state and state not in STATES) or order not in ORDERS:
            raise HTTPException(400, "there is no such state or order")
        text = query.get("text", "")[:200]
        return list(self.queue.select(state=state, text=text, order=order))

    def _find(self, request: Request) -> Line:
        """Ids are only looked up, never made into paths."""
        line = self.queue.find(request.path_params["clip"])
        if line is None:
            raise HTTPException(404, "there is no such clip")
        return line

    def _video(self, line: Line) -> Video | None:
        return self.queue.material.videos.get(line.stretch.video_id)

    def _card(self, line: Line) -> dict[str, object]:
        known = self.queue.activities.get(line.activity)
        return {
            "clip": line.clip,
            "video_id": line.stretch.video_id,
            "start_s": line.start_s,
            "end_s": line.end_s,
            "activity": line.activity,
            "activity_name": known.name if known else line.activity,
            "state": line.state,
            "confidence": line.stretch.confidence,
            "reviewer": "" if line.reviewer == self.queue.reviewer else line.reviewer,
        }

    def _details(self, line: Line) -> dict[str, object]:
        video, stretch = self._video(line), line.stretch
        fps, duration_s = _USUAL_FPS, None
        there = video is not None and video.path.is_file()
        if video is not None and there:
            fps, duration_s = _clock(video.path, video.path.stat().st_mtime_ns)
        same_video = [
            self._card(each)
            for each in self.queue.lines()
            if each.stretch.video_id == stretch.video_id
        ]
        return self._card(line) | {
            "reason": line.reason,
            "proposed": {
                "start_s": stretch.start_s, "end_s": stretch.end_s, "activity": stretch.activity,
                "suggested": stretch.suggested, "repetitions": stretch.repetitions,
                "hold": stretch.hold, "reasons": stretch.reasons, "left_out": stretch.left_out,
                "borders": stretch.borders,
            },
            "video": None if video is None else {
                "there": there, "url": video.url, "title": video.title,
                "uploader": video.uploader, "licence": video.licence,
                "file": video.path.name,
            },
            "fps": fps,
            "duration_s": duration_s,
            "same_video": same_video,
        }  # fmt: skip

    def _neighbours(self, line: Line, request: Request) -> dict[str, object]:
        lines = self._select(request)
        place = next((n for n, each in enumerate(lines) if each.clip == line.clip), None)
        if place is None:  # it no longer fits the filter
            return {"place": None, "total": len(lines), "previous": None, "next": None}
        return {
            "place": place,
            "total": len(lines),
            "previous": lines[place - 1].clip if place else None,
            "next": lines[place + 1].clip if place + 1 < len(lines) else None,
        }


def create_app(
    queue: Queue, name: str, *, built: bool = False, host_names: tuple[str, ...] = ()
) -> ASGIApp:
    """The application for one list and one reviewer.

    Args:
        queue: what the reviewer sees and does.
        name: of the data set, for the page's head.
        built: whether the list is of a finished data set.
        host_names: names besides ``localhost`` under which it may be asked.
    """
    answers = _Answers(queue, name, built)
    routes = [
        Route("/", lambda request: FileResponse(STATIC / "index.html")),
        Route("/api/review", answers.review),
        Route("/api/clips", answers.clips),
        Route("/api/clips/{clip}", answers.clip),
        Route("/api/clips/{clip}/video", answers.video),
        Route("/api/decisions", answers.decide, methods=["POST"]),
        Route("/api/undo", answers.undo, methods=["POST"]),
        Route("/api/body-map", body_map),
        Mount("/review", StaticFiles(directory=STATIC)),
        Mount("/static", StaticFiles(directory=SHARED_STATIC)),
    ]
    handlers: dict[Any, Callable[..., Response]] = {
        HTTPException: lambda _, error: error_answer(error.status_code, str(error.detail)),
        Refused: lambda _, error: error_answer(409, str(error)),
        UserError: lambda _, error: error_answer(500, str(error)),
        OSError: lambda _, error: error_answer(507, f"cannot be written: {error.strerror}"),
    }
    return guarded(Starlette(routes=routes, exception_handlers=handlers), host_names)


def _activity(activity: Activity) -> dict[str, object]:
    return {
        "slug": activity.slug,
        "name": activity.name,
        "aliases": activity.aliases,
        "new": activity.new,
        "grades": activity.grades,
    }


@lru_cache(maxsize=1024)
def _clock(path: Path, changed_ns: int) -> tuple[float, float | None]:
    """(frames a second, seconds) of a video; guessed where it cannot be read."""
    try:
        source = probe(path, stage="review")
    except StageError:
        return _USUAL_FPS, None
    return float(source.fps), source.duration_s


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    if not re.fullmatch(r"\d{1,9}", text):
        raise HTTPException(400, f"{name} must be a whole number")
    return int(text)


async def _body(request: Request) -> dict[str, object]:
    content = b""
    async for piece in request.stream():
        content += piece
        if len(content) > LARGEST_BODY_BYTES:
            raise HTTPException(413, "too long")
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise HTTPException(400, "what was sent is not a JSON object")
    return found


def _text(asked: dict[str, object], name: str) -> str | None:
    value = asked.get(name)
    if value is None or isinstance(value, str):
        return value
    raise HTTPException(400, f"{name} must be text")


def _seconds(asked: dict[str, object], name: str) -> float | None:
    value = asked.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise HTTPException(400, f"{name} must be a number of seconds")
    if not 0 <= value < 10**6:
        raise HTTPException(400, f"{name} must be from 0 to a million seconds")
    return round(float(value), 3)
