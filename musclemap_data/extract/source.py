"""One view of a video file: which stream is the picture, on which clock, in which colours.

Download, cut, windows and overlay all ask here, so that none of them has a clock of its own. Times
are seconds from the start of the file as a player counts them: 0 is where its first stream begins,
so a picture may begin later than 0.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from musclemap_data.errors import FailureClass, StageError
from musclemap_data.extract.decode import LIMITS, Limits, failure_of, open_video

INDEXED = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
"""Containers with an index of their key frames. In others a seek is a guess (MPEG-TS, MPEG-PS),
or their index may not reach the place (MP4 in fragments)."""
UNINDEXED_SEEK_FROM_S = 10.0
"""Without an index, a clip that begins earlier is decoded from the beginning; for a later one a
seek is compared with what was read from the beginning, and taken if time stamps agree."""
COUNTING = ("avi",)
"""Containers that number their pictures and have no time stamps of when each is shown."""
MP4_BOXES_READ = 100
SEEKS_BACK_S = (0.0, 2.0, 15.0)
"""How much earlier a seek is tried again that came out after the asked place."""
PACKETS_TRIED = 300
"""Of a file's beginning that may be undecodable, as a broadcast that was joined midway."""
NEAR_S = 0.0005
"""Time stamps may be rounded so much: some containers have them in whole milliseconds."""
BACK_S = 0.25
"""A video ends where its time stamps go back by more, as those of glued recordings do: what comes
after has no place on the clock."""
PACKETS_A_FRAME = 10
"""Packets read at most, for each frame that a clip may have."""
HD_WIDTH, HD_HEIGHT = 1280, 576
"""An untagged picture at least so wide, or higher than so, is taken as BT.709, others as BT.601."""

# Numbers of ITU-T H.273, as FFmpeg has them.
_UNTAGGED = (0, 2)
_PRIMARIES = {1: "bt709", 5: "bt470bg", 6: "smpte170m", 9: "bt2020"}
_TRANSFERS = {1: "bt709", 6: "smpte170m", 14: "bt2020-10", 15: "bt2020-12", 16: "pq", 18: "hlg"}
_MATRICES = {1: "bt709", 5: "bt470bg", 6: "smpte170m", 9: "bt2020nc", 10: "bt2020c"}
_STILL_CODECS = {"mjpeg", "png", "apng", "bmp", "gif", "tiff", "webp", "jpeg2000", "jpegls"}
_DOLBY_ONLY_TAGS = {"dvh1", "dvhe", "dva1", "dvav"}


@dataclass(frozen=True)
class Colour:
    """How the numbers of a picture are to be read, by the file's tags.

    Attributes:
        primaries, transfer, matrix: short names, such as ``bt709``, ``hlg`` or ``pq``; None where
            the file does not say.
        full_range: whether black is 0 (True) or 16 (False, also where the file does not say).
    """

    primaries: str | None
    transfer: str | None
    matrix: str | None
    full_range: bool


@dataclass(frozen=True)
class Source:
    """What is known of a video file.

    Attributes:
        path: the file.
        container: FFmpeg's name of its format.
        stream: index of the picture among the streams of the file.
        time_base: seconds of one tick of the picture's time stamps.
        zero: time stamp of 0 s, in ticks; not always whole.
        first: time stamp of the first picture.
        indexed: a seek leads to a key frame, and time stamps after it are right.
        counted: packets do not say when they are shown; the pictures are counted from the first.
        duration_s: seconds, None where the container does not say, or says nonsense.
        fps: average frame rate, frames a second; ``frame_times`` gives that of a place.
        width, height: pixels, as stored (before rotation).
        rotation: degrees that a player turns the picture, counted against the clock.
        pixel_aspect: width of a pixel by its height.
        colour: how its numbers are to be read.
        interlaced: each frame is two half pictures of different times.
    """

    path: Path
    container: str
    stream: int
    time_base: Fraction
    zero: Fraction
    first: int
    indexed: bool
    counted: bool
    duration_s: float | None
    fps: Fraction
    width: int
    height: int
    rotation: int
    pixel_aspect: Fraction
    colour: Colour
    interlaced: bool

    @property
    def begin_s(self) -> float:
        """When the first picture is shown, seconds of the one clock."""
        return float(self.seconds(self.first))

    @property
    def is_hd(self) -> bool:
        """Whether untagged colours are taken as those of HD."""
        return self.width >= HD_WIDTH or self.height > HD_HEIGHT

    def seconds(self, ticks: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Time stamps [N] of the stream as float64 [N], seconds of the one clock."""
        return (np.asarray(ticks, np.float64) - float(self.zero)) * float(self.time_base)

    def ticks(self, seconds: float) -> float:
        """Seconds of the one clock as a time stamp; not always whole."""
        return float(self.zero + Fraction(seconds) / self.time_base)


@dataclass(frozen=True)
class FrameTimes:
    """When the pictures of a part of a video are shown.

    Attributes:
        ticks: time stamps as the decoder gives them, ``int64 [N]``, ascending; where the source is
            counted, the pictures' numbers.
        seconds: the same in seconds of the one clock, ``float64 [N]``.
        seek_s: where to seek to, to decode them; None: no seek.
        complete: no packet was without a time stamp.
    """

    ticks: npt.NDArray[np.int64]
    seconds: npt.NDArray[np.float64]
    seek_s: float | None
    complete: bool = True


def probe(path: Path, *, stage: str, limits: Limits = LIMITS) -> Source:
    """Open a file, choose its picture, decode the first frame of it and report.

    Args:
        path: a local file.
        stage: named in the error.
        limits: a larger frame is not decoded.

    Raises:
        StageError: class ``not-a-video`` (no video stream, or a still picture), ``too-large`` or
            ``decode``.
    """
    import av

    try:
        with open_video(path) as container:
            stream = _picture(container)
            if stream is None:
                raise StageError(stage, FailureClass.NOT_A_VIDEO, "no video stream in the file")
            codec = stream.codec_context
            if codec is None:
                raise StageError(stage, FailureClass.DECODE, "there is no decoder for its codec")
            if codec.width * codec.height > limits.most_pixels:
                reason = f"{codec.width} x {codec.height} pixels; {limits.most_pixels} may be"
                raise StageError(stage, FailureClass.TOO_LARGE, reason)
            if codec.codec_tag in _DOLBY_ONLY_TAGS:
                reason = "Dolby Vision without an HDR10 or HLG picture: convert it to SDR first"
                raise StageError(stage, FailureClass.DECODE, reason)
            # The frames may be larger than the container says.
            codec.options = {"max_pixels": str(limits.most_pixels)}
            first, packet = _first_frame(container, stream)
            if first is None:
                raise StageError(stage, FailureClass.DECODE, "the video stream holds no frame")
            duration = (container.duration or 0) / av.time_base
            counted = container.format.name in COUNTING or packet.pts is None
            return Source(
                path=path,
                container=container.format.name,
                stream=stream.index,
                time_base=stream.time_base,
                zero=Fraction(container.start_time or 0, av.time_base) / stream.time_base,
                first=(packet.dts if counted else first.pts) or 0,
                indexed=container.format.name in INDEXED and not _is_fragmented(path),
                counted=counted,
                duration_s=duration if duration > 0 else None,
                fps=Fraction(stream.average_rate or stream.guessed_rate or 25),
                width=first.width,
                height=first.height,
                rotation=first.rotation,
                pixel_aspect=Fraction(stream.sample_aspect_ratio or 1),
                colour=_colour(first, codec),
                interlaced=bool(first.interlaced_frame),
            )
    except av.FFmpegError as error:
        raise failure_of(path, stage, error) from error


def _picture(container: Any) -> Any:
    """The video stream that a person would watch; None if there is none."""
    import av

    flags = av.stream.Disposition
    never = flags.attached_pic | flags.timed_thumbnails | flags.still_image | flags.dependent
    streams = [s for s in container.streams.video if not s.disposition & never]

    def looks_like_a_film(stream: Any) -> bool:
        codec = stream.codec_context
        still = codec is not None and codec.name in _STILL_CODECS
        return stream.frames > 1 or (stream.frames == 0 and not still)

    def rank(stream: Any) -> tuple[bool, bool, bool, int, int]:
        codec = stream.codec_context
        pixels = codec.width * codec.height if codec else 0
        default = bool(stream.disposition & flags.default)
        return codec is not None, looks_like_a_film(stream), default, pixels, -stream.index

    return max(streams, key=rank, default=None)


def _is_fragmented(path: Path) -> bool:
    """Whether an MP4 is in fragments: a box ``moof`` follows where others are one after another."""
    at, size = 0, path.stat().st_size
    with path.open("rb") as file:
        for _ in range(MP4_BOXES_READ):
            file.seek(at)
            head = file.read(16)
            if len(head) < 8 or head[4:8] == b"moof":
                return head[4:8] == b"moof"
            length = int.from_bytes(head[:4], "big")
            if length == 1:  # a long box tells its size in the eight bytes after
                length = int.from_bytes(head[8:16], "big")
            at += length
            if length < 8 or at >= size:
                break
    return False


def _first_frame(container: Any, stream: Any) -> tuple[Any, Any]:
    """The first frame that can be decoded, and the first packet; None, None if there is none."""
    import av

    opening, failure = None, None
    for number, packet in enumerate(container.demux(stream)):
        if opening is None and packet.size and not packet.is_discard:
            opening = packet
        try:
            for frame in packet.decode():
                return frame, opening or packet
        except av.error.InvalidDataError as error:
            failure = error
        if number > PACKETS_TRIED:
            break
    if failure is not None:
        raise failure
    return None, None


def _colour(frame: Any, codec: Any) -> Colour:
    def tag(name: str) -> int:
        found = int(getattr(frame, name))
        return found if found not in _UNTAGGED else int(getattr(codec, name))

    return Colour(
        primaries=_PRIMARIES.get(tag("color_primaries")),
        transfer=_TRANSFERS.get(tag("color_trc")),
        matrix="rgb" if frame.format.is_rgb else _MATRICES.get(tag("colorspace")),
        full_range=2 in (int(frame.color_range), int(codec.color_range)),
    )


def frame_times(
    source: Source,
    start_s: float = 0.0,
    end_s: float | None = None,
    *,
    seek: bool = True,
    limits: Limits = LIMITS,
) -> FrameTimes:
    """When the frames from ``start_s`` to ``end_s`` are shown, from the packets, without decoding.

    The frames of a key frame before and some after the asked part are given too.

    Args:
        source: from ``probe``.
        start_s, end_s: seconds of the one clock; None is the end of the video.
        seek: allow to seek, where the container can be trusted with it.
        limits: how many packets are read.

    Raises:
        StageError: stage ``cut``, class ``too-long`` or ``decode``.
    """
    import av

    try:
        seekable = seek and not source.counted
        if seekable and source.indexed:
            read = _after_a_seek(source, start_s, end_s, limits)
            if read is not None:
                return read
        with open_video(source.path) as container:
            whole = _read_packets(container, source, end_s, limits)
        if seekable and not source.indexed and start_s > UNINDEXED_SEEK_FROM_S:
            read = _after_a_seek(source, start_s, end_s, limits, whole)
            if read is not None:
                return read
        return whole.times(source)
    except av.FFmpegError as error:
        raise failure_of(source.path, "cut", error) from error


@dataclass(frozen=True)
class _Packets:
    """What the packets say from some place on, in the order of decoding.

    Attributes:
        shown: time stamps of the frames that are shown.
        key: time stamp and place in the file of the first key frame.
        keys: of all key frames.
        complete: no packet was without a time stamp.
    """

    shown: npt.NDArray[np.int64]
    key: tuple[int, int | None] | None
    keys: frozenset[tuple[int, int | None]]
    complete: bool

    def times(self, source: Source, seek_s: float | None = None) -> FrameTimes:
        numbers = np.arange(len(self.shown)) if source.counted else self.shown
        return FrameTimes(numbers, source.seconds(self.shown), seek_s, self.complete)


def _after_a_seek(
    source: Source,
    start_s: float,
    end_s: float | None,
    limits: Limits,
    whole: _Packets | None = None,
) -> FrameTimes | None:
    """Times from a key frame before ``start_s`` on; None if no seek leads to one that is right.

    Args:
        whole: what was read from the beginning, to compare with.
    """
    import av

    for back_s in SEEKS_BACK_S:
        target_s = start_s - back_s
        if target_s <= max(source.begin_s, 0):
            return None
        with open_video(source.path) as container:
            container.seek((container.start_time or 0) + round(target_s * av.time_base))
            read = _read_packets(container, source, end_s, limits)
        if read.key is None or read.key[0] > source.ticks(start_s + NEAR_S):
            continue
        if whole is None:
            return read.times(source, target_s)
        begin = source.ticks(start_s)
        same = np.array_equal(read.shown[read.shown >= begin], whole.shown[whole.shown >= begin])
        if same and read.key in whole.keys:
            return whole.times(source, target_s)
    return None


def _read_packets(container: Any, source: Source, end_s: float | None, limits: Limits) -> _Packets:
    """The packets of the picture from here to ``end_s``."""
    import av

    end = beyond = float("inf")
    if end_s is not None:
        end_s += max(1.0, 3 / float(source.fps))
        end, beyond = source.ticks(end_s), source.ticks(end_s + 2)
    stamps, keys, last, complete = array("q"), [], -float("inf"), True
    complete_to = float("inf")
    back = BACK_S / float(source.time_base)
    try:
        for packet in container.demux(container.streams[source.stream]):
            stamp = packet.dts if source.counted else packet.pts
            if not packet.size:
                continue
            if stamp is None:
                complete = False
                continue
            if packet.dts is not None:
                if packet.dts < last - back:
                    break
                last = packet.dts
            if packet.is_keyframe:
                keys.append((stamp, packet.pos))
            if not packet.is_discard:
                stamps.append(stamp)
            # Packets come in the order of decoding: what is shown before this is complete.
            if stamp > (end if packet.dts is not None and packet.dts > end else beyond):
                complete_to = min(end, stamp)
                break
            if len(stamps) > PACKETS_A_FRAME * limits.most_frames:
                raise StageError("cut", FailureClass.TOO_LONG, f"more than {len(stamps)} packets")
    except av.FFmpegError:
        pass  # a broken end: what was read before it counts
    shown = np.unique(np.frombuffer(stamps, np.int64))
    shown = shown[shown <= complete_to]
    return _Packets(shown, keys[0] if keys else None, frozenset(keys), complete)
