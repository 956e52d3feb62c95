"""Exact cuts with ffmpeg: one clip, short side 256, constant frame rate."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

from musclemap_data.decode import INPUT_OPTIONS, probe
from musclemap_data.ledger import FailureClass, StageError

SHORTEST_SHARE = 0.9
"""A cut that has less than this share of the asked duration fails as ``too-short``."""


@dataclass(frozen=True)
class CutSettings:
    """How a clip is cut out of its video.

    Attributes:
        short_side: the shorter side of the frames, pixels; smaller videos are never enlarged.
        max_fps: frames a second; slower videos keep their own rate.
        crf: constant rate factor of x264 (18 is visually lossless).
    """

    short_side: int = 256
    max_fps: int = 30
    crf: int = 18


@lru_cache(maxsize=1)
def ffmpeg_binary() -> str:
    """The ffmpeg of the wheel ``imageio-ffmpeg``, or of ``IMAGEIO_FFMPEG_EXE``."""
    import imageio_ffmpeg

    return imageio_ffmpeg.get_ffmpeg_exe()


def cut_clip(
    video: Path, clip: Path, start_s: float, end_s: float | None, settings: CutSettings
) -> Fraction:
    """Cut ``[start_s, end_s)`` out of a video, re-encoded so that the cut is exact to the frame.

    Rotation and non-square pixels are resolved: the clip has upright, square pixels.

    Args:
        video: the source file.
        clip: the MP4 to write (H.264, no sound); written under a temporary name, then renamed.
        start_s: seconds from the start of the video.
        end_s: seconds, or None for the end of the video.
        settings: size, frame rate and quality.

    Returns:
        The frame rate of the clip.

    Raises:
        StageError: stage ``cut``, class ``too-short``, ``not-a-video``, ``decode`` or ``disk``.
    """
    facts = probe(video, stage="cut")
    if facts.duration_s is not None and start_s >= facts.duration_s:
        raise StageError(
            "cut",
            FailureClass.TOO_SHORT,
            f"the clip starts at {start_s:g} s but the video is {facts.duration_s:.2f} s long",
        )
    rate = min(facts.fps.limit_denominator(1001), Fraction(settings.max_fps))
    length_s = None if end_s is None else end_s - start_s
    temporary = clip.with_name(f".{clip.stem}.{os.getpid()}.tmp.mp4")
    try:
        command = _command(video, temporary, start_s, length_s, rate, settings)
        _run(command, time_limit_s=120 + 20 * (length_s or facts.duration_s or 600))
        got_s = _written_s(temporary, rate)
        if length_s is not None and got_s < SHORTEST_SHARE * length_s:
            raise StageError(
                "cut",
                FailureClass.TOO_SHORT,
                f"{got_s:.2f} s of the {length_s:.2f} s asked for "
                f"({length_s - got_s:.2f} s are missing at the end)",
            )
        temporary.replace(clip)
    except OSError as error:
        raise StageError("cut", FailureClass.DISK, error.strerror or str(error)) from error
    finally:
        temporary.unlink(missing_ok=True)
    return rate


def _command(
    video: Path,
    output: Path,
    start_s: float,
    length_s: float | None,
    rate: Fraction,
    settings: CutSettings,
) -> list[str]:
    import ffmpeg

    # Seeking before the input is exact when re-encoding, and does not decode what comes before.
    source = ffmpeg.input(f"file:{video}", ss=f"{start_s:.6f}", threads=1, **INPUT_OPTIONS).video
    # Square pixels, then shrink so that the shorter side is short_side; x264 wants even sides.
    shrink = f"min(1,{settings.short_side}/min(iw*sar,ih))"
    frames = (
        source.filter(
            "scale",
            f"2*max(1,round(iw*sar*{shrink}/2))",
            f"2*max(1,round(ih*{shrink}/2))",
            flags="area",
        )
        .filter("setsar", 1)
        .filter("fps", f"{rate.numerator}/{rate.denominator}", start_time=0)
    )
    # Without its macroblock tree x264 gives the same bytes each time, also with AVX-512.
    options: dict[str, object] = {
        "c:v": "libx264", "preset": "veryfast", "crf": settings.crf, "pix_fmt": "yuv420p",
        "x264-params": "mbtree=0", "threads": 1,
        "map_metadata": -1, "movflags": "+faststart", "fflags": "+bitexact",
    }  # fmt: skip
    if length_s is not None:
        options["frames:v"] = max(1, round(length_s * rate))
    command = frames.output(f"file:{output}", **options).global_args(
        "-hide_banner", "-nostdin", "-loglevel", "error"
    )
    return command.compile(cmd=ffmpeg_binary(), overwrite_output=True)


def _run(command: list[str], time_limit_s: float) -> None:
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=time_limit_s
        )
    except subprocess.TimeoutExpired as error:
        raise StageError(
            "cut", FailureClass.DECODE, f"ffmpeg did not end within {time_limit_s:.0f} s"
        ) from error
    if result.returncode:
        message = result.stderr.strip().splitlines()[-1:] or [f"exit code {result.returncode}"]
        full = "No space left" in result.stderr
        raise StageError("cut", FailureClass.DISK if full else FailureClass.DECODE, message[0])


def _written_s(path: Path, rate: Fraction) -> float:
    """Seconds of video in a cut, from the count of its packets (one a frame)."""
    import av

    try:
        with av.open(f"file:{path}", options=INPUT_OPTIONS) as container:
            packets = sum(1 for packet in container.demux(video=0) if packet.size)
    except (av.FFmpegError, IndexError, FileNotFoundError):
        packets = 0
    return float(packets / rate)
