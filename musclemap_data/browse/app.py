"""The web application: a few read-only JSON and picture routes, and the static page.

Who may ask, and the headers of the answers: ``musclemap_data.local_web``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from musclemap_data import modalities
from musclemap_data.browse import rows
from musclemap_data.browse.clip_index import (
    STATES,
    ClipIndex,
    Filters,
    ListedClip,
    LiveIndex,
    parse_filters,
)
from musclemap_data.catalog import GRADE_NAMES, NEW_SPLITS, SPLITS, is_synthetic, load_muscles
from musclemap_data.draw.body_map import body_map_svg
from musclemap_data.errors import NEXT_STEP, UserError
from musclemap_data.local_web import error_answer, guarded
from musclemap_data.pose.quality import SkeletonQuality
from musclemap_data.skeleton import BONES

STATIC = Path(__file__).parent / "static"
LARGEST_PAGE = 200
_NO_PICTURE = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 9">'
    '<path d="M6 3h4v3H6zM6 6l1.4-1.4 1 1L9 5l1 1" fill="none" stroke="#8886" '
    'stroke-width=".25"/></svg>'
)


class _Answers:
    """What the routes answer, one method each.

    Raises:
        UserError: there is no data set here.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.live = LiveIndex(data_dir)
        self.pictures = rows.PictureCache()

    def dataset(self, request: Request) -> Response:
        return JSONResponse(_describe_dataset(self.data_dir, self.live.get()))

    def clips(self, request: Request) -> Response:
        index = self.live.get()
        filters = _filters(request, index)
        offset = _integer(request, "offset", 0, 10**9)
        limit = _integer(request, "limit", 48, LARGEST_PAGE)
        numbers = index.select(filters).nonzero()[0]
        return JSONResponse(
            {
                "version": index.version,
                "total": len(numbers),
                "clips": [
                    _card(index.clips[n], index) for n in numbers[offset : offset + limit].tolist()
                ],
                "options": index.options(filters),
                "region_shares": index.region_shares(filters),
            }
        )

    def statistics(self, request: Request) -> Response:
        index = self.live.get()
        filters = _filters(request, index)
        return JSONResponse(
            {**index.statistics(filters), "region_shares": index.region_shares(filters)}
        )

    def clip(self, request: Request) -> Response:
        index = self.live.get()
        found = _find(request, index)
        return JSONResponse(
            _details(found, index, self.pictures)
            | _neighbours(found, index, _filters(request, index))
        )

    def frame(self, request: Request) -> Response:
        column = request.path_params["column"]
        if column not in modalities.pictures():
            raise HTTPException(404, f"there is no modality {column[:60]!r}")
        images = self.pictures.pictures(_find(request, self.live.get()), column)
        number = request.path_params["number"]
        if images is None or number >= len(images):
            raise HTTPException(404, "there is no such frame")
        return _cached(bytes(images[number].as_buffer()), "image/jpeg")

    def skeleton(self, request: Request) -> Response:
        return _cached(
            rows.skeleton_bytes(_find(request, self.live.get())), "application/octet-stream"
        )

    def thumbnail(self, request: Request) -> Response:
        image = rows.thumbnail(_find(request, self.live.get()))
        if image is None:
            return _cached(_NO_PICTURE.encode(), "image/svg+xml")
        return _cached(image, "image/jpeg")


def body_map(request: Request) -> Response:
    """The drawing of 20 values, ``values``, with ids that begin with ``name``."""
    text = request.query_params.get("values", "")
    if not re.fullmatch(r"[01](\.\d{1,4})?(,[01](\.\d{1,4})?){19}", text):
        raise HTTPException(400, "values must be 20 numbers from 0 to 1")
    name = request.query_params.get("name", "")
    if not re.fullmatch(r"[a-z]{1,20}", name):
        raise HTTPException(400, "name must be 1 to 20 small letters")
    try:
        return _cached(_body_map(text, name).encode(), "image/svg+xml")
    except ValueError as error:
        raise HTTPException(400, str(error)) from error


def create_app(data_dir: Path, *, host_names: tuple[str, ...] = ()) -> ASGIApp:
    """The application for one data directory.

    Args:
        data_dir: a data set, or one that is being built.
        host_names: names besides ``localhost`` under which it may be asked.

    Raises:
        UserError: there is no data set here.
    """
    answers = _Answers(data_dir)
    routes = [
        Route("/", lambda request: FileResponse(STATIC / "index.html")),
        Route("/api/dataset", answers.dataset),
        Route("/api/clips", answers.clips),
        Route("/api/statistics", answers.statistics),
        Route("/api/clips/{clip_id}", answers.clip),
        Route("/api/clips/{clip_id}/thumbnail", answers.thumbnail),
        Route("/api/clips/{clip_id}/skeleton", answers.skeleton),
        Route("/api/clips/{clip_id}/{column}/{number:int}", answers.frame),
        Route("/api/body-map", body_map),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    handlers: dict[Any, Callable[..., Response]] = {
        HTTPException: lambda _, error: error_answer(error.status_code, str(error.detail)),
        UserError: lambda _, error: error_answer(500, str(error)),
        rows.MovedRow: lambda _, error: error_answer(
            409, "the data set has changed: load the page anew"
        ),
    }
    app = Starlette(routes=routes, exception_handlers=handlers)
    return guarded(app, host_names)


def _cached(content: bytes, media_type: str) -> Response:
    """What never changes under its address: addresses carry the version of the shard."""
    return Response(
        content, media_type=media_type, headers={"cache-control": "private, max-age=3600"}
    )


@lru_cache(maxsize=256)
def _body_map(values: str, name: str) -> str:
    """The name goes before the ids: maps that are on the page together need different ones."""
    numbers = [float(value) for value in values.split(",")]
    return body_map_svg(numbers, labels=False, legend=False, id_prefix=f"{name}-")


def _filters(request: Request, index: ClipIndex) -> Filters:
    try:
        return parse_filters(request.query_params, index)
    except ValueError as error:
        raise HTTPException(400, str(error)) from error


def _integer(request: Request, name: str, default: int, largest: int) -> int:
    text = request.query_params.get(name, str(default))
    if not re.fullmatch(r"\d{1,9}", text):
        raise HTTPException(400, f"{name} must be a whole number")
    return min(int(text), largest)


def _find(request: Request, index: ClipIndex) -> ListedClip:
    """Ids are only looked up, never made into paths."""
    clip = index.find(request.path_params["clip_id"])
    if clip is None:
        raise HTTPException(404, "there is no such clip")
    return clip


def _describe_dataset(data_dir: Path, index: ClipIndex) -> dict[str, object]:
    used = {clip.activity for clip in index.clips}
    # A manifest may hold out more activities than the label table does.
    new = {clip.activity for clip in index.clips if clip.split in NEW_SPLITS}
    return {
        "version": index.version,
        "name": index.info.get("name") or data_dir.resolve().name,
        "synthetic": is_synthetic(clip.video_id for clip in index.clips),
        "complete": bool(index.info),
        "problems": index.problems,
        "clips": {state: sum(clip.state == state for clip in index.clips) for state in STATES},
        "seconds": round(sum(clip.seconds for clip in index.clips), 1),
        "splits": SPLITS,
        "regions": [{"slug": m.slug, "name": m.name} for m in load_muscles()],
        "grade_names": {f"{grade:g}": name for grade, name in GRADE_NAMES.items()},
        "activities": {
            slug: {"name": activity.name, "new": slug in new, "family": activity.family}
            for slug, activity in index.activities.items()
            if slug in used
        },
        "failures": {kind: step for kind, step in NEXT_STEP.items()},
        "bones": BONES,
    }


def _card(clip: ListedClip, index: ClipIndex) -> dict[str, object]:
    activity = index.activities.get(clip.activity)
    card: dict[str, object] = {
        "clip_id": clip.clip_id,
        "activity": clip.activity,
        "activity_name": activity.name if activity else clip.activity,
        "split": clip.split,
        "state": clip.state,
        "seconds": round(clip.seconds, 2),
        "regions": [number for number, active in enumerate(clip.muscles) if active],
        "version": clip.version,
    }
    if clip.failure:
        card["failure"] = {
            "class": clip.failure.failure_class,
            "stage": clip.failure.stage,
            "reason": clip.failure.reason,
            "next_step": NEXT_STEP[clip.failure.failure_class],
        }
    return card


def _details(clip: ListedClip, index: ClipIndex, cache: rows.PictureCache) -> dict[str, object]:
    activity = index.activities.get(clip.activity)
    video = index.videos.get(clip.video_id)
    details: dict[str, Any] = _card(clip, index) | {
        name: getattr(clip, name)
        for name in ("video_id", "url", "start_s", "end_s", "frames", "height", "width", "fps")
        + ("muscles", "attempts")
    }
    if activity and activity.muscles == tuple(clip.muscles):
        details["grades"] = activity.grades
    details["timings"] = json.loads(clip.timings) if clip.timings else {}
    details["label"] = (
        {n: value for n, value in asdict(activity).items() if n not in ("muscles", "grades")}
        if activity
        else None
    )
    details["video"] = {
        name: value
        for name in ("title", "uploader", "licence", "duration_s", "tool", "state")
        if (value := getattr(video, name, None))
    }
    if clip.state == "built" and clip.shard is not None:
        found = {key: cache.pictures(clip, key) for key in modalities.pictures()}
        details |= rows.facts(clip) | {
            "shard": clip.shard.name,
            "row": clip.row,
            "pictures": {key: len(jpegs) for key, jpegs in found.items() if jpegs is not None},
            "panels": _panels(),
        }
        if clip.skeleton_quality is not None:
            notes = tuple(details["skeleton_notes"] or ())
            details["skeleton_sentence"] = SkeletonQuality(clip.skeleton_quality, notes).sentence()
    return details


def _panels() -> list[dict[str, str | int]]:
    """What the player shows, in its order: one panel for each modality of pictures."""
    return [
        {"column": key, "title": modalities.modality_of(key).title, "gain": content.gain}
        for key, content in modalities.pictures().items()
    ]


def _neighbours(clip: ListedClip, index: ClipIndex, filters: Filters) -> dict[str, object]:
    """The clips before and after in the filtered list, and where in it this one is."""
    numbers = index.select(filters).nonzero()[0].tolist()
    own = index.position[clip.clip_id]
    before = [n for n in numbers if n < own]
    after = [n for n in numbers if n > own]
    return {
        "previous": index.clips[before[-1]].clip_id if before else None,
        "next": index.clips[after[0]].clip_id if after else None,
        "place": len(before) + 1 if own in numbers else None,
        "total": len(numbers),
    }
