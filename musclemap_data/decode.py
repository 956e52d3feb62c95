"""Video files to frames, by PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from musclemap_data.ledger import FailureClass, StageError

# What a source may be: plain containers. A playlist (concat, HLS, DASH) could make ffmpeg open
# other files or addresses, a still picture is no video: neither is in the list.
INPUT_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,asf,mpeg,mpegts,mpegvideo,"
    "m4v,ogg,h264,hevc,ivf,dv,mxf,rm,swf,vob,wtv,nut",
}
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM")


@dataclass(frozen=True)
class VideoFacts:
    """What a video file says of itself.

    Attributes:
        duration_s: seconds, None where the container does not say.
        fps: average frame rate, frames a second.
        width: pixels, as stored (before rotation).
        height: pixels, as stored (before rotation).
    """

    duration_s: float | None
    fps: Fraction
    width: int
    height: int


def probe(path: Path, *, stage: str) -> VideoFacts:
    """Open a file, decode its first frame and report on it.

    Args:
        path: a local file.
        stage: named in the error.

    Raises:
        StageError: class ``not-a-video`` (no video stream, or a still picture) or ``decode``.
    """
    import av

    try:
        with av.open(f"file:{path}", options=INPUT_OPTIONS) as container:
            if not container.streams.video:
                raise StageError(stage, FailureClass.NOT_A_VIDEO, "no video stream in the file")
            stream = container.streams.video[0]
            frame = next(container.decode(stream), None)
            if frame is None:
                raise StageError(stage, FailureClass.DECODE, "the video stream holds no frame")
            duration = container.duration / av.time_base if container.duration else None
            rate = stream.average_rate or stream.guessed_rate or Fraction(25)
            return VideoFacts(duration, Fraction(rate), frame.width, frame.height)
    except av.FFmpegError as error:
        what = _what_it_is(path)
        kind = FailureClass.NOT_A_VIDEO if what else FailureClass.DECODE
        raise StageError(stage, kind, what or _reason(error)) from error


def read_frames(path: Path) -> npt.NDArray[np.uint8]:
    """All frames of a video.

    Returns:
        ``uint8 [T, H, W, 3]`` RGB.

    Raises:
        StageError: class ``decode``; also when the file holds no frame.
    """
    frames = list(iterate_frames(path))
    if not frames:
        raise StageError("decode", FailureClass.DECODE, "no frame could be decoded")
    return np.stack(frames)


def iterate_frames(path: Path) -> Iterator[npt.NDArray[np.uint8]]:
    """The frames of a video one by one, each ``uint8 [H, W, 3]`` RGB.

    Raises:
        StageError: class ``decode``.
    """
    import av

    try:
        with av.open(f"file:{path}", options=INPUT_OPTIONS) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            for frame in container.decode(stream):
                yield frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
    except (av.FFmpegError, IndexError) as error:
        raise StageError("decode", FailureClass.DECODE, _reason(error)) from error


def _reason(error: Exception) -> str:
    # PyAV puts the path into its messages; the ledger row already knows the file.
    return getattr(error, "strerror", None) or str(error)


def _what_it_is(path: Path) -> str | None:
    """What a file that does not open as a video is instead, where its first bytes tell."""
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        return "the file is empty"
    if head.startswith(_PICTURES) and not head[8:].startswith(b"AVI"):
        return "a still picture, not a video"
    if head.lstrip()[:1] == b"<":
        return "a web page, not a video"
    return "a text file, not a video" if head.isascii() and b"\0" not in head else None
