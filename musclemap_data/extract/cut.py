"""Exact cuts with ffmpeg: one clip, short side 256, constant frame rate, in the colours of SDR.

Which frames make a clip is decided before anything is decoded (``choose_frames``). What ffmpeg then
encoded is compared with that, time stamp by time stamp: a cut holds the frames that were asked for,
or it fails.
"""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from musclemap_data.errors import FailureClass, StageError
from musclemap_data.extract.choose import Choice, choose_frames
from musclemap_data.extract.decode import LIMITS, Limits, open_video
from musclemap_data.extract.source import FrameTimes, Source, frame_times, probe
from musclemap_data.ffmpeg import INPUT_OPTIONS, Filter, Options, ffmpeg_command
from musclemap_data.files import replacing
from musclemap_data.modalities.settings import CutSettings

MOST_DAMAGED_SHARE = 0.05
"""A clip fails where the decoder complains of more than this share of its frames, and of two."""
SEEK_EARLIER_S = 30.0
"""How much earlier a clip is decoded from once more, where the decoder complains after a seek."""
SDR_WHITE_NITS = 203
"""What a white of SDR is in HDR (ITU-R BT.2408): it becomes 255, what is brighter is cut off."""
_FILE_TOO_LARGE = getattr(signal, "SIGXFSZ", 0)  # Windows has none
_ZSCALE_TRANSFERS = {"pq": "smpte2084", "hlg": "arib-std-b67", None: "bt709"}

# What is read of ffmpeg's output.
_KEPT = re.compile(r"^frame:\d+ +pts:(-?\d+) ", re.MULTILINE)
_COMPLAINT = re.compile(r"\[(error|fatal)\]|corrupt|no keyframe")
_CONTEXT = re.compile(r"\[([^\]@]*) @ 0x[0-9a-fA-F]+\] ?|\[(error|fatal|warning|info)\] ?")
_DECODED = re.compile(r"decoder -> .*?\b(?:frame_)?pts:(\S+) .*keyframe:(\d)")


@dataclass(frozen=True)
class Cut:
    """What :func:`cut_clip` made.

    Attributes:
        fps: frames a second of the clip.
        damaged_frames: frames at which the decoder complained of the file.
        facts: what was done to the pictures, for the provenance; plain values for JSON.
    """

    fps: Fraction
    damaged_frames: int
    facts: dict[str, str | int]


def cut_clip(
    video: Path,
    clip: Path,
    start_s: float,
    end_s: float | None,
    settings: CutSettings,
    limits: Limits = LIMITS,
) -> Cut:
    """Cut ``[start_s, end_s)`` out of a video, re-encoded so that the cut is exact to the frame.

    Rotation and non-square pixels are resolved: the clip has upright, square pixels.

    Args:
        video: the source file.
        clip: the MP4 to write (H.264, no sound); written under a temporary name, then renamed.
        start_s: seconds from the start of the video.
        end_s: seconds, or None for the end of the video.
        settings: size, frame rate and quality.
        limits: how much the video may ask for.

    Raises:
        StageError: stage ``cut``, class ``too-short``, ``too-long``, ``too-large``,
            ``not-a-video``, ``decode`` or ``disk``.
    """
    source = probe(video, stage="cut", limits=limits)
    try:
        with replacing(clip) as temporary:
            times = frame_times(source, start_s, end_s, limits=limits)
            if not times.complete:
                times = _decoded_times(source, end_s, limits)
            choice = choose_frames(source, times, start_s, end_s, settings, limits)
            ticks, complained = _encode(source, temporary, choice, settings, limits)
            if not np.array_equal(ticks, choice.ticks):
                # The packets do not say what the decoder gives (a seek that came out elsewhere,
                # damage, pictures that are not shown): ask the decoder, from the beginning.
                times = _decoded_times(source, end_s, limits)
                choice = choose_frames(source, times, start_s, end_s, settings, limits)
                ticks, complained = _encode(source, temporary, choice, settings, limits)
                _check_same(ticks, choice)
            if complained and choice.seek_s is not None:
                # Perhaps of the seek and not of the file: a "key frame" that needs those before it.
                earlier_s = choice.seek_s - SEEK_EARLIER_S
                choice = replace(choice, seek_s=earlier_s if earlier_s > source.begin_s else None)
                ticks, complained = _encode(source, temporary, choice, settings, limits)
                _check_same(ticks, choice)
            damaged = _damaged_frames(source, choice, limits) if complained else 0
            if damaged > max(1, MOST_DAMAGED_SHARE * len(ticks)):
                reason = f"the decoder complains of {damaged} frames, for {len(ticks)} of the clip"
                raise StageError("cut", FailureClass.DECODE, f"{reason}: {complained}")
    except OSError as error:
        raise StageError("cut", FailureClass.DISK, error.strerror or str(error)) from error
    return Cut(choice.fps, damaged, _facts(source, damaged))


def _check_same(ticks: npt.NDArray[np.int64], choice: Choice) -> None:
    if not np.array_equal(ticks, choice.ticks):
        reason = "the frames of the cut are not those of the asked times"
        raise StageError("cut", FailureClass.DECODE, reason)


def copy_as_played(
    video: Path, copy: Path, fps: Fraction, settings: CutSettings, limits: Limits = LIMITS
) -> None:
    """Copy a whole video for looking at: each picture stands until the next one, as in a player.

    Args:
        video: the source file.
        copy: the MP4 to write, as ``cut_clip`` does; its first frame is at 0 s.
        fps: frames a second of the copy.
        settings: size and quality.
        limits: how much the video may ask for.

    Raises:
        StageError: as ``cut_clip``.
    """
    source = probe(video, stage="cut", limits=limits)
    filters = [
        *_deinterlaced(source),
        *_resized_sdr(source, settings),
        ("fps", {"fps": fps, "start_time": 0}),
    ]
    writing = _encoding(settings) | {"frames:v": limits.most_frames + 1}
    with replacing(copy) as temporary:
        target = f"file:{temporary}"
        command = _command(source, target, filters=filters, writing=writing, limits=limits)
        _run(command, _time_limit_s(source, 0, None, limits))
        frames = _count_frames(temporary)
        if not frames or frames > limits.most_frames:
            kind = FailureClass.TOO_LONG if frames else FailureClass.DECODE
            raise StageError("cut", kind, f"{frames} frames; {limits.most_frames} may be")


def _facts(source: Source, damaged: int) -> dict[str, str | int]:
    colour = source.colour
    tags = (colour.primaries, colour.transfer, colour.matrix, "full" if colour.full_range else None)
    facts: dict[str, str | int] = {"colour": _colour_filters(source)[1]}
    facts |= {"tags": " ".join(tag or "-" for tag in tags)}
    if source.interlaced:
        facts["deinterlaced"] = "bwdif"
    if damaged:
        facts["damaged_frames"] = damaged
    return facts


def _colour_filters(source: Source) -> tuple[list[Filter], str]:
    """Filters that bring a picture to SDR, and what they do in words."""
    colour = source.colour
    if colour.transfer in ("pq", "hlg") or colour.primaries == "bt2020":
        options = {
            "tin": _ZSCALE_TRANSFERS.get(colour.transfer, colour.transfer),
            "pin": colour.primaries or "bt2020", "min": colour.matrix or "bt2020nc",
            "rin": "pc" if colour.full_range else "tv",
            "t": "bt709", "p": "bt709", "m": "bt709", "r": "tv", "npl": SDR_WHITE_NITS,
        }  # fmt: skip
        words = f"{colour.transfer or 'bt2020'} to bt709, white at {SDR_WHITE_NITS} nits"
        return [("zscale", options), ("format", {"pix_fmts": "yuv420p"})], words
    if colour.matrix is None and source.is_hd:
        return [("setparams", {"colorspace": "bt709"})], "untagged, taken as bt709"
    if colour.matrix in ("bt709", "bt470bg", "smpte170m"):  # some ffmpegs lose it on the way
        return [("setparams", {"colorspace": colour.matrix})], "as tagged"
    return [], "as tagged" if colour.matrix else "untagged, taken as bt601"


def _deinterlaced(source: Source) -> list[Filter]:
    if not source.interlaced:
        return []
    # It counts half ticks.
    bwdif: Filter = ("bwdif", {"mode": "send_frame", "deint": "interlaced"})
    return [bwdif, ("settb", {"expr": source.time_base})]


def _resized_sdr(source: Source, settings: CutSettings) -> list[Filter]:
    # Square pixels, then shrink so that the shorter side is short_side; x264 wants even sides.
    shrink = f"min(1,{settings.short_side}/min(iw*sar,ih))"
    width, height = f"2*max(1,round(iw*sar*{shrink}/2))", f"2*max(1,round(ih*{shrink}/2))"
    size = {"w": width, "h": height, "flags": "area"}
    return [("scale", size), ("setsar", {"sar": 1}), *_colour_filters(source)[0]]


def _command(
    source: Source,
    target: str,
    *,
    seek_s: float | None = None,
    filters: list[Filter],
    writing: Options,
    limits: Limits,
    log: str = "level+warning",
) -> list[str]:
    reading: dict[str, object] = {
        "threads": 1, "max_pixels": limits.most_pixels, **INPUT_OPTIONS
    }  # fmt: skip
    if seek_s is not None:
        reading |= {"ss": f"{seek_s:.6f}", "noaccurate_seek": None}
    return ffmpeg_command(
        f"file:{source.path}",
        target,
        reading=reading,
        writing=writing,
        stream=str(source.stream),
        filters=filters,
        log=log,
    )


def _encoding(settings: CutSettings) -> dict[str, object]:
    # Without its macroblock tree x264 gives the same bytes each time, also with AVX-512.
    return {
        "c:v": "libx264", "preset": "veryfast", "crf": settings.crf, "pix_fmt": "yuv420p",
        "x264-params": "mbtree=0", "threads": 1,
        "map_metadata": -1, "movflags": "+faststart", "fflags": "+bitexact",
    }  # fmt: skip


def _encode(
    source: Source, output: Path, choice: Choice, settings: CutSettings, limits: Limits
) -> tuple[npt.NDArray[np.int64], str]:
    """Run the cut; gives the time stamps of the frames in it, and ffmpeg's first complaint."""
    filters: list[Filter] = []
    if source.counted:
        filters += [("settb", {"expr": source.time_base}), ("setpts", {"expr": "N"})]
    filters += _deinterlaced(source)
    first, last = choice.ticks[[0, -1]]
    filters += [("trim", {"start_pts": first, "end_pts": last + 1})]
    if choice.apart_s:
        later = f"isnan(prev_selected_t)+gte(t-prev_selected_t,{choice.apart_s:.6f})"
        filters += [("select", {"expr": later})]
    filters += [
        # The time stamps of what is kept go to standard output. From there on the frames are
        # numbered, so that the rate is constant: nothing is filled in.
        ("metadata", {"mode": "add", "key": "kept", "value": 1}),
        ("metadata", {"mode": "print", "file": "-"}),
        ("settb", {"expr": 1 / choice.fps}),
        ("setpts", {"expr": "N"}),
        *_resized_sdr(source, settings),
        ("fps", {"fps": choice.fps}),
    ]
    command = _command(
        source,
        f"file:{output}",
        seek_s=choice.seek_s,
        filters=filters,
        writing=_encoding(settings) | {"copyts": None, "frames:v": len(choice.ticks)},
        limits=limits,
    )
    limit_s = _time_limit_s(source, choice.seek_s or 0.0, choice.last_s, limits)
    printed, complaint = _run(command, limit_s)
    kept = np.array(_KEPT.findall(printed), np.int64)
    return kept[: _count_frames(output)], complaint


def _time_limit_s(source: Source, from_s: float, to_s: float | None, limits: Limits) -> float:
    length_s = (to_s if to_s is not None else source.duration_s or 600) - from_s
    return min(120 + 20 * max(length_s, 0), limits.most_cut_s)


def _run(command: list[str], time_limit_s: float) -> tuple[str, str]:
    """Run ffmpeg; gives what it printed, and its first complaint of the file."""
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
    lines = result.stderr.strip().splitlines()
    if result.returncode:
        message = _plain(lines[-1]) if lines else f"exit code {result.returncode}"
        full = "No space left" in result.stderr
        raise StageError("cut", FailureClass.DISK if full else FailureClass.DECODE, message)
    return result.stdout, next((_plain(line) for line in lines if _COMPLAINT.search(line)), "")


def _plain(line: str) -> str:
    """A line of ffmpeg without addresses of its memory."""
    return _CONTEXT.sub(lambda found: f"{found[1]}: " if found[1] else "", line).strip()


def _count_frames(path: Path) -> int:
    """Frames of a cut, from its packets (one a frame)."""
    import av

    try:
        with open_video(path) as container:
            return sum(1 for packet in container.demux(video=0) if packet.size)
    except (av.FFmpegError, IndexError, FileNotFoundError):
        return 0


@dataclass(frozen=True)
class _Decoded:
    """What the decoder gave: time stamps, whether it complained before each, and key frames."""

    ticks: npt.NDArray[np.int64]
    complained: npt.NDArray[np.bool_]
    key: npt.NDArray[np.bool_]


def _decoded_frames(
    source: Source, seek_s: float | None, end_s: float | None, limits: Limits
) -> _Decoded:
    """Decode without encoding, and read from ffmpeg's log what came out, in order."""
    command = _command(
        source,
        "-",
        seek_s=seek_s,
        filters=[],
        writing={"f": "null", "fps_mode": "passthrough", "copyts": None, "debug_ts": None},
        limits=limits,
        log="level+info",
    )
    end = float("inf") if end_s is None else source.ticks(end_s + 2)
    limit_s = _time_limit_s(source, seek_s or 0.0, end_s, limits)
    began = time.monotonic()
    found: list[tuple[int, bool, bool]] = []
    complained = False
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        guard = threading.Timer(limit_s, process.kill)
        guard.start()
        try:
            for line in process.stderr or ():
                frame = _DECODED.search(line)
                if "Stream mapping:" in line:  # complaints of before are of the file's header
                    complained = False
                elif frame is None:
                    complained = complained or _is_of_decoder(line, source)
                elif frame[1].lstrip("-").isdigit():
                    found.append((int(frame[1]), complained, frame[2] == "1"))
                    complained = False
                    if found[-1][0] > end or len(found) > 10 * limits.most_frames:
                        break
        finally:
            guard.cancel()
            process.kill()
    if time.monotonic() - began >= limit_s:
        raise StageError("cut", FailureClass.DECODE, f"ffmpeg did not end within {limit_s:.0f} s")
    ticks, complaints, keys = zip(*found, strict=True) if found else ((), (), ())
    return _Decoded(np.array(ticks, np.int64), np.array(complaints, bool), np.array(keys, bool))


def _decoded_times(source: Source, end_s: float | None, limits: Limits) -> FrameTimes:
    """As ``frame_times``, but by decoding from the beginning."""
    ticks = _decoded_frames(source, None, end_s, limits).ticks
    back = np.flatnonzero(np.diff(ticks) <= 0)
    if source.counted and len(ticks):
        shown = np.sort(ticks) - ticks.min() + source.first
        return FrameTimes(np.arange(len(ticks)), source.seconds(shown), None)
    if len(back):  # what comes after has no place on the clock
        ticks = ticks[: back[0] + 1]
    return FrameTimes(ticks, source.seconds(ticks), None)


def _is_of_decoder(line: str, source: Source) -> bool:
    """Whether a line is a complaint of the decoder; those of the demuxer come from a thread of its
    own, so not always at the same place, and what it loses the time stamps tell."""
    context = _CONTEXT.match(line)
    name = (context[1] or "") if context else ""
    return bool(_COMPLAINT.search(line)) and not name.startswith(("in#", "null", source.container))


def _damaged_frames(source: Source, choice: Choice, limits: Limits) -> int:
    """How many frames the decoder complained of, from the key frame before the clip to its end."""
    decoded = _decoded_frames(source, choice.seek_s, choice.last_s, limits)
    first, last = choice.ticks[[0, -1]]
    if not source.counted:
        first, last = (np.argmax(decoded.ticks == tick) for tick in (first, last))
    keys = np.flatnonzero(decoded.key[: first + 1])
    return int(decoded.complained[keys[-1] if len(keys) else 0 : last + 1].sum())
