"""Which frames make a clip, and how many a second: decided from time stamps alone."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from musclemap_data.errors import FailureClass, StageError
from musclemap_data.extract.decode import LIMITS, Limits
from musclemap_data.extract.source import NEAR_S, FrameTimes, Source
from musclemap_data.modalities.settings import CutSettings

SHORTEST_SHARE = 0.9
"""A video that ends before this share of the asked duration fails as ``too-short``."""
LONGEST_GAP_S, LONGEST_GAP_FRAMES = 0.5, 3
"""A clip in which no picture comes for longer than both of these fails: nothing fills a gap."""
LATEST_BEGIN_S = 0.1
"""How much later than a clip a picture may begin, if not one frame: encoders delay it so much."""
FASTER_BY = 0.1
"""A rate above the limit by up to this share is kept: half of it would be much less."""
MOST_WARP_S = 0.25
"""How far a frame may be from where a constant rate has it; otherwise the clip is thinned."""
SLOWEST_RATE = Fraction(1, 1001)
"""Frames a second of a video that claims to be slower still."""


@dataclass(frozen=True)
class Choice:
    """The frames that make a clip.

    Attributes:
        ticks: their time stamps, ``int64 [N]``.
        last_s: when the last of them is shown, seconds of the one clock.
        apart_s: the next frame is the first that comes so much later; 0: every frame is taken.
        fps: frames a second.
        seek_s: see ``FrameTimes``.
    """

    ticks: npt.NDArray[np.int64]
    last_s: float
    apart_s: float
    fps: Fraction
    seek_s: float | None


def choose_frames(
    source: Source,
    times: FrameTimes,
    start_s: float,
    end_s: float | None,
    settings: CutSettings,
    limits: Limits = LIMITS,
) -> Choice:
    """Choose the frames of a clip and its frame rate, from when the frames are shown.

    A clip begins with the first frame from ``start_s`` on and takes each frame at most once. Where
    the frames come at the average rate of the file it has ``(end_s - start_s) * fps`` of them,
    rounded; elsewhere all that begin before ``end_s``, and its rate is the one of this place.

    Raises:
        StageError: class ``too-short`` where there is no picture for a part of the time.
    """
    tick_s = float(source.time_base)
    near_s = min(tick_s / 2, NEAR_S) + 1e-6
    late_s = source.begin_s - start_s
    if (start_s or end_s is not None) and late_s > max(LATEST_BEGIN_S, 1 / float(source.fps)):
        reason = f"there is no picture at {start_s:g} s; the first is at {source.begin_s:.2f} s"
        raise StageError("cut", FailureClass.TOO_SHORT, reason)
    first = int(np.searchsorted(times.seconds, start_s - near_s))
    if first == len(times.ticks):
        last = f"; the last is at {times.seconds[-1]:.2f} s" if first else ""
        kind = FailureClass.TOO_SHORT if start_s else FailureClass.DECODE
        raise StageError("cut", kind, f"there is no frame from {start_s:g} s on{last}")
    stop = len(times.ticks)
    if end_s is not None:
        stop = max(first + 1, int(np.searchsorted(times.seconds, end_s - near_s)))
    seconds = times.seconds[first:stop]
    begins_within = first > 0 and times.seconds[first] > start_s + near_s
    before = first - 1 if begins_within else first
    steps = np.diff(times.seconds[before : stop + 1])
    span_s, usual_s = float(seconds[-1] - seconds[0]), 1 / float(source.fps)
    off_s = abs(span_s - (len(seconds) - 1) * usual_s)
    regular = off_s <= min(usual_s / 2 + tick_s, 0.02 * span_s + tick_s)
    if (len(steps) and not regular) or (len(seconds) == 1 and len(steps)):
        usual_s = span_s / (len(seconds) - 1) if len(seconds) > 1 else float(steps.min())
        regular = regular and abs(usual_s * float(source.fps) - 1) < 0.02
    _check_gaps(times, before, stop, start_s, end_s, steps, usual_s)
    fps = source.fps if regular else 1 / Fraction(usual_s)
    stride = max(1, int(np.ceil(float(fps) / settings.max_fps - FASTER_BY)))
    apart_s = (stride - 0.5) * usual_s if stride > 1 else 0.0
    if not regular and stride == 1:
        warp = np.abs(seconds - seconds[0] - usual_s * np.arange(len(seconds)))
        apart_s = 0.75 * float(steps.max()) if warp.max() > MOST_WARP_S else 0.0
    if regular and end_s is not None:
        count = max(1, int((end_s - start_s) * float(fps / stride) + 0.5))
        stop = len(times.ticks)
    else:
        count = stop - first
    picked = _apart(times.seconds[first:stop], apart_s, count) + first
    if len(picked) > limits.most_frames:
        raise StageError("cut", FailureClass.TOO_LONG, f"more than {limits.most_frames} frames")
    if regular:
        fps = fps.limit_denominator(1001) / stride
    elif len(picked) > 1:
        shown = times.seconds[picked]
        fps = Fraction((len(picked) - 1) / float(shown[-1] - shown[0])).limit_denominator(1001)
    else:
        fps = fps.limit_denominator(1001)
    return Choice(
        ticks=times.ticks[picked],
        last_s=float(times.seconds[picked[-1]]),
        apart_s=apart_s,
        fps=max(fps, SLOWEST_RATE),
        seek_s=times.seek_s,
    )


def _apart(seconds: npt.NDArray[np.float64], apart_s: float, count: int) -> npt.NDArray[np.int64]:
    """The first frame, then always the next one that comes ``apart_s`` later."""
    if not apart_s:
        return np.arange(min(count, len(seconds)))
    picked = [0]
    while len(picked) < count:
        after = int(np.searchsorted(seconds, seconds[picked[-1]] + apart_s))
        if after == len(seconds):
            break
        picked.append(after)
    return np.array(picked, np.int64)


def _check_gaps(
    times: FrameTimes,
    before: int,
    stop: int,
    start_s: float,
    end_s: float | None,
    steps: npt.NDArray[np.float64],
    usual_s: float,
) -> None:
    """Raise ``too-short`` where a part of the clip has no picture."""
    shown, usual_s = times.seconds, float(np.median(steps)) if len(steps) else usual_s
    longest_s = max(LONGEST_GAP_S, LONGEST_GAP_FRAMES * usual_s) + 1e-6
    if len(steps) and steps.max() > longest_s:
        at = before + int(steps.argmax())
        reason = f"there is no picture between {shown[at]:.2f} s and {shown[at + 1]:.2f} s"
        raise StageError("cut", FailureClass.TOO_SHORT, reason)
    if end_s is not None and stop == len(shown):
        missing_s = end_s - float(shown[-1]) - usual_s
        if missing_s > max((1 - SHORTEST_SHARE) * (end_s - start_s), usual_s - 1e-3):
            raise StageError(
                "cut",
                FailureClass.TOO_SHORT,
                f"{end_s - start_s - missing_s:.2f} s of the {end_s - start_s:.2f} s asked for "
                f"({missing_s:.2f} s are missing at the end)",
            )
