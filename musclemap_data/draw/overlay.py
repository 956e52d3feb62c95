"""The video again, with the skeleton on it and the regions' probabilities beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from musclemap_data.catalog import load_muscles
from musclemap_data.draw.body_picture import body_map_png
from musclemap_data.draw.colours import (
    ACTIVE_EDGE,
    BODY_EDGE,
    INACTIVE_COLOUR,
    Picture,
    region_colour,
    rgb,
)
from musclemap_data.draw.skeleton import draw_skeleton
from musclemap_data.draw.text import draw_text
from musclemap_data.draw.timeline import clock, over_time
from musclemap_data.errors import StageError, UserError
from musclemap_data.extract.cut import copy_as_played
from musclemap_data.extract.decode import iterate_frames
from musclemap_data.extract.source import probe
from musclemap_data.extract.windows import WindowedVideo
from musclemap_data.ffmpeg import video_writer
from musclemap_data.modalities.settings import CutSettings
from musclemap_data.pose.faces import Head, HeadFinder, blur, hold

SMALLEST_SIDE, LARGEST_SIDE = 480, 720
"""Bounds of the shorter side of the shown video, pixels: the words beside it must be readable."""
_PANEL = 400
"""The panel is drawn in units of which it is so many wide."""
_BAR_PITCH = 34
_BACKGROUND = "#fbfaf8"


def write_overlay(
    path: Path,
    video: Path,
    found: WindowedVideo,
    scores: npt.NDArray[np.floating],
    keep: Sequence[bool],
    threshold: float,
    *,
    note: str = "",
    blur_faces: bool = False,
    work_dir: Path,
    on_total: Callable[[int], None] | None = None,
    on_frame: Callable[[], None] | None = None,
) -> None:
    """Write the video with skeleton, probability bars and a body map as MP4 (H.264, yuv420p).

    At a moment the panel shows the mean of the windows that cover it. The video has no sound.

    Args:
        path: the MP4 to write (atomically).
        video: the source.
        found: its windows.
        scores: ``[windows, 20]`` probabilities.
        keep: windows that count; where none does, the panel shows no probabilities.
        threshold: from where on a region is called active.
        note: a line at the foot of the panel.
        blur_faces: blur every face that is found.
        work_dir: an existing folder for a temporary copy of the video.
        on_total: called once with the number of frames, as far as it is known. To blur faces each
            frame is looked at once more, before.
        on_frame: called after each frame.

    Raises:
        UserError: the video cannot be decoded, or ffmpeg failed.
    """
    import cv2

    copy = work_dir / "overlay-source.mp4"
    # The rate of the windows from 0 s on, so that frames can be matched by count.
    largest, fps = CutSettings(short_side=LARGEST_SIDE), Fraction(found.fps).limit_denominator(1001)
    try:
        copy_as_played(video, copy, fps, largest)
    except StageError as error:
        raise UserError(f"{video} cannot be drawn on: {error.failure.reason}") from error
    skeletons = _skeleton_of_frames(found)
    edges, course = over_time(found.windows, scores, keep)
    order = np.argsort(-scores[np.array(keep, bool)].mean(axis=0), kind="stable")
    drawn: tuple[int, Picture] | None = None
    facts = probe(copy, stage="draw")
    if on_total and facts.duration_s:
        on_total(round(facts.duration_s * float(fps)) * (2 if blur_faces else 1))
    heads = _heads_of_frames(copy, skeletons, found, on_frame) if blur_faces else []
    size = _shown_size(facts.height, facts.width)
    panel_width = _panel_width(size[0])
    with video_writer(path, size[0], size[1] + panel_width, float(fps)) as encoder:
        for number, frame in enumerate(iterate_frames(copy)):
            if blur_faces:
                blur(frame, heads[number])
            if size != frame.shape[:2]:
                larger = cv2.resize(frame, size[::-1], interpolation=cv2.INTER_CUBIC)
                frame = np.asarray(larger, np.uint8)
            time_s = number / float(fps)
            piece = int(np.clip(np.searchsorted(edges, time_s + 1e-6) - 1, 0, len(course) - 1))
            if drawn is None or drawn[0] != piece:
                drawn = (piece, draw_panel(size[0], course[piece], order, threshold, note))
            people = _people_at(skeletons, number, found, size)
            panel = drawn[1].copy()
            unit = panel_width / _PANEL
            at = clock(time_s, tenths=True)
            draw_text(panel, panel_width - 20 * unit, 30 * unit, at, 17 * unit, anchor="r")
            picture = draw_skeleton(frame, people)
            encoder.write(np.concatenate([picture, panel], axis=1).tobytes())
            if on_frame:
                on_frame()
    copy.unlink()


def _people_at(
    skeletons: Sequence[npt.NDArray[np.float32]],
    number: int,
    found: WindowedVideo,
    size: tuple[int, int],
) -> npt.NDArray[np.float32]:
    """The skeletons ``[M, 17, 3]`` of a frame of this height and width."""
    scale = np.array([size[1] / found.width, size[0] / found.height, 1.0], np.float32)
    return np.asarray(skeletons[min(number, len(skeletons) - 1)] * scale, np.float32)


def _heads_of_frames(
    video: Path,
    skeletons: Sequence[npt.NDArray[np.float32]],
    found: WindowedVideo,
    on_frame: Callable[[], None] | None,
) -> list[list[Head]]:
    """The heads to blur in each frame of a video."""
    finder, heads = HeadFinder(), []
    for number, frame in enumerate(iterate_frames(video)):
        people = _people_at(skeletons, number, found, frame.shape[:2])
        heads.append(finder(frame, people))
        if on_frame:
            on_frame()
    return hold(heads)


def _shown_size(height: int, width: int) -> tuple[int, int]:
    """Even height and width with the shorter side between the bounds."""
    scale = max(1.0, SMALLEST_SIDE / min(height, width))
    return 2 * round(height * scale / 2), 2 * round(width * scale / 2)


def _skeleton_of_frames(found: WindowedVideo) -> list[npt.NDArray[np.float32]]:
    """The skeletons ``[M, 17, 3]`` of each frame, from the window in whose middle it lies most."""
    count = max(
        round(start * found.fps) + len(skeleton)
        for (start, _), skeleton in zip(found.windows, found.skeletons, strict=True)
    )
    nobody = np.zeros((1, *found.skeletons[0].shape[2:]), np.float32)
    chosen: list[npt.NDArray[np.float32]] = [nobody] * count
    nearest = np.full(count, np.inf)
    for (start, _), skeleton in zip(found.windows, found.skeletons, strict=True):
        first = round(start * found.fps)
        middle = (len(skeleton) - 1) / 2
        for index, people in enumerate(skeleton):
            if abs(index - middle) < nearest[first + index]:
                nearest[first + index] = abs(index - middle)
                chosen[first + index] = people
    return chosen


def draw_panel(
    height_px: int,
    values: npt.NDArray[np.floating],
    order: Sequence[int] | npt.NDArray[np.intp],
    threshold: float,
    note: str = "",
) -> Picture:
    """What stands beside the video: a body map above, bars of the first regions below.

    Args:
        height_px: of the video.
        values: ``[20]`` probabilities; NaN means that nobody could be judged.
        order: region indices; as many have a bar as there is room for, and a line says how many
            more there are.
        threshold: marked on the bars; active regions are bold.
        note: a line at the foot.

    Returns:
        ``uint8 [height_px, W, 3]``; W is even.
    """
    width = _panel_width(height_px)
    unit = width / _PANEL
    picture = np.empty((height_px, width, 3), np.uint8)
    picture[:] = rgb(_BACKGROUND)
    judged = bool(np.isfinite(values).all())
    shown = np.where(np.isfinite(values), values, 0.0)
    draw_text(picture, 20 * unit, 30 * unit, "Muscle regions", 19 * unit, bold=True)
    body = body_map_png(shown, round(290 * unit), background=_BACKGROUND, label_from=threshold)
    left, top = (width - body.shape[1]) // 2, round(46 * unit)
    picture[top : top + body.shape[0], left : left + body.shape[1]] = body
    y = top + body.shape[0] + 14 * unit
    foot = height_px - (34 if note else 12) * unit
    names = [muscle.name for muscle in load_muscles()]
    bar_left, bar_right = 152 * unit, 336 * unit
    mark = bar_left + (bar_right - bar_left) * threshold
    if not judged:
        middle = (y + foot) / 2
        draw_text(picture, width / 2, middle, "nobody to judge here", 17 * unit, anchor="m")
        order = []
    room = max(0, int((foot - y) / (_BAR_PITCH * unit)))
    barred = order if len(order) <= room else order[: max(0, room - 1)]
    for region in barred:
        value, middle = float(shown[region]), y + _BAR_PITCH * unit / 2
        active = value >= threshold
        base = middle + 5 * unit
        _box(picture, bar_left, middle - 8 * unit, bar_right, middle + 8 * unit, INACTIVE_COLOUR)
        end = bar_left + (bar_right - bar_left) * value
        _box(picture, bar_left, middle - 8 * unit, end, middle + 8 * unit, region_colour(value))
        _box(picture, mark - unit, middle - 11 * unit, mark + unit, middle + 11 * unit, ACTIVE_EDGE)
        draw_text(picture, 144 * unit, base, names[region], 13.5 * unit, anchor="r", bold=active)
        draw_text(picture, 384 * unit, base, f"{value:.0%}", 13.5 * unit, anchor="r", bold=active)
        y += _BAR_PITCH * unit
    if hidden := len(order) - len(barred):
        base = y + _BAR_PITCH * unit / 2 + 5 * unit
        words = f"and {hidden} more: see timeline.png"
        draw_text(picture, width / 2, base, words, 13 * unit, colour=BODY_EDGE, anchor="m")
    draw_text(
        picture, width / 2, height_px - 14 * unit, note, 13 * unit, colour=BODY_EDGE, anchor="m"
    )
    return picture


def _panel_width(height_px: int) -> int:
    return 2 * round(min(max(0.56 * height_px, 300), 480) / 2)


def _box(picture: Picture, x0: float, y0: float, x1: float, y1: float, colour: str) -> None:
    picture[round(y0) : round(y1), round(x0) : max(round(x0), round(x1))] = rgb(colour)
