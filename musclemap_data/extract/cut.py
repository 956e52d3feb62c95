"""Exact cuts with ffmpeg: one clip, short side 256, constant frame rate."""

from __future__ import annotations

import signal
import subprocess
from fractions import Fraction
from pathlib import Path

from musclemap_data.errors import FailureClass, StageError
from musclemap_data.extract.decode import LIMITS, Limits, open_video, probe
from musclemap_data.ffmpeg import INPUT_OPTIONS, ffmpeg_command
from musclemap_data.files import replacing
from musclemap_data.modalities.settings import CutSettings

SHORTEST_SHARE = 0.9
"""A cut that has less than this share of the asked duration fails as ``too-short``."""
SLOWEST_RATE = Fraction(1, 1001)
"""Frames a second of a video that claims to be slower still."""
_FILE_TOO_LARGE = getattr(signal, "SIGXFSZ", 0)  # Windows has none


def cut_clip(
    video: Path,
    clip: Path,
    start_s: float,
    end_s: float | None,
    settings: CutSettings,
    limits: Limits = LIMITS,
) -> Fraction:
    """Cut ``[start_s, end_s)`` out of a video, re-encoded so that the cut is exact to the frame.

    Rotation and non-square pixels are resolved: the clip has upright, square pixels.

    Args:
        video: the source file.
        clip: the MP4 to write (H.264, no sound); written under a temporary name, then renamed.
        start_s: seconds from the start of the video.
        end_s: seconds, or None for the end of the video.
        settings: size, frame rate and quality.
        limits: how much the video may ask for.

    Returns:
        The frame rate of the clip.

    Raises:
        StageError: stage ``cut``, class ``too-short``, ``too-long``, ``too-large``,
            ``not-a-video``, ``decode`` or ``disk``.
    """
    facts = probe(video, stage="cut", limits=limits)
    if facts.duration_s is not None and start_s >= facts.duration_s:
        raise StageError(
            "cut",
            FailureClass.TOO_SHORT,
            f"the clip starts at {start_s:g} s but the video is {facts.duration_s:.2f} s long",
        )
    rate = min(facts.fps.limit_denominator(1001), Fraction(settings.max_fps))
    rate = max(rate, SLOWEST_RATE)
    length_s = None if end_s is None else end_s - start_s
    # One more than allowed, to tell. A gap in the time stamps is filled with copies of a frame:
    # a file of a few kilobytes could ask for days of them.
    frames = limits.most_frames + 1 if length_s is None else max(1, round(length_s * rate))
    if length_s is not None:
        _check_length(frames, limits)
    try:
        with replacing(clip) as temporary:
            command = _command(video, temporary, start_s, frames, rate, settings, limits)
            time_limit_s = 120 + 20 * (length_s or facts.duration_s or 600)
            _run(command, min(time_limit_s, limits.most_cut_s))
            got = _count_frames(temporary)
            if length_s is None and not got:
                reason = f"there is no frame after {start_s:g} s"
                kind = FailureClass.TOO_SHORT if start_s else FailureClass.DECODE
                raise StageError("cut", kind, reason)
            _check_length(got, limits)
            got_s = float(got / rate)
            if length_s is not None and got_s < SHORTEST_SHARE * length_s:
                raise StageError(
                    "cut",
                    FailureClass.TOO_SHORT,
                    f"{got_s:.2f} s of the {length_s:.2f} s asked for "
                    f"({length_s - got_s:.2f} s are missing at the end)",
                )
    except OSError as error:
        raise StageError("cut", FailureClass.DISK, error.strerror or str(error)) from error
    return rate


def _check_length(frames: int, limits: Limits) -> None:
    if frames > limits.most_frames:
        reason = f"more than {limits.most_frames} frames"
        raise StageError("cut", FailureClass.TOO_LONG, reason)


def _command(
    video: Path,
    output: Path,
    start_s: float,
    frames: int,
    rate: Fraction,
    settings: CutSettings,
    limits: Limits,
) -> list[str]:
    # Square pixels, then shrink so that the shorter side is short_side; x264 wants even sides.
    shrink = f"min(1,{settings.short_side}/min(iw*sar,ih))"
    width, height = f"2*max(1,round(iw*sar*{shrink}/2))", f"2*max(1,round(ih*{shrink}/2))"
    return ffmpeg_command(
        f"file:{video}",
        output,
        # Seeking before the input is exact when re-encoding, and does not decode what comes before.
        reading={
            "ss": f"{start_s:.6f}", "threads": 1, "max_pixels": limits.most_pixels,
            **INPUT_OPTIONS,
        },
        filters=[
            ("scale", {"w": width, "h": height, "flags": "area"}),
            ("setsar", {"sar": 1}),
            ("fps", {"fps": f"{rate.numerator}/{rate.denominator}", "start_time": 0}),
        ],
        # Without its macroblock tree x264 gives the same bytes each time, also with AVX-512.
        writing={
            "c:v": "libx264", "preset": "veryfast", "crf": settings.crf, "pix_fmt": "yuv420p",
            "x264-params": "mbtree=0", "threads": 1,
            "map_metadata": -1, "movflags": "+faststart", "fflags": "+bitexact",
            "frames:v": frames,
        },
    )  # fmt: skip


def _run(command: list[str], time_limit_s: float) -> None:
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=time_limit_s
        )
    except subprocess.TimeoutExpired as error:
        raise StageError(
            "cut", FailureClass.DECODE, f"ffmpeg did not end within {time_limit_s:.0f} s"
        ) from error
    if result.returncode in (-signal.SIGTERM, -9):  # nothing wrong with the video: try it again
        reason = f"ffmpeg was killed (signal {-result.returncode}; out of memory?)"
        raise StageError("cut", FailureClass.BUG, reason)
    if _FILE_TOO_LARGE and result.returncode == -_FILE_TOO_LARGE:
        raise StageError("cut", FailureClass.DISK, "no file may be so large here (ulimit -f)")
    if result.returncode:
        message = result.stderr.strip().splitlines()[-1:] or [f"exit code {result.returncode}"]
        full = "No space left" in result.stderr
        raise StageError("cut", FailureClass.DISK if full else FailureClass.DECODE, message[0])


def _count_frames(path: Path) -> int:
    """Frames of a cut, from its packets (one a frame)."""
    import av

    try:
        with open_video(path) as container:
            return sum(1 for packet in container.demux(video=0) if packet.size)
    except (av.FFmpegError, IndexError, FileNotFoundError):
        return 0
