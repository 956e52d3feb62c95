"""Video files to frames, by PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from musclemap_data.errors import FailureClass, StageError
from musclemap_data.ffmpeg import INPUT_OPTIONS

_BY_FIRST_BYTES = (
    (b"\x89PNG", "a still picture"),
    (b"\xff\xd8\xff", "a still picture"),
    (b"GIF8", "a GIF picture"),
    (b"BM", "a still picture"),
    (b"PK\3\4", "an archive"),
    (b"\x1f\x8b", "an archive"),
    (b"7z\xbc\xaf", "an archive"),
    (b"Rar!", "an archive"),
    (b"%PDF", "a PDF document"),
    (b"ID3", "a sound file"),
    (b"fLaC", "a sound file"),
    (b"\0\0\0\1", "a bare stream without time stamps"),
    (b"#EXTM3U", "a playlist"),
    (b"ffconcat", "a playlist"),
    (b"<", "a web page"),
)
_RIFF = {b"WEBP": "a still picture", b"WAVE": "a sound file"}


@dataclass(frozen=True)
class Limits:
    """How much a video may ask for. They decide which clips are built, not what is in them.

    Attributes:
        most_pixels: of one frame; the default is twice 8K.
        most_frames: of one clip; the default is nine hours at 30 frames/s.
        most_cut_s: seconds that ffmpeg may take for one cut.
    """

    most_pixels: int = 2**26
    most_frames: int = 1_000_000
    most_cut_s: float = 4 * 3600.0


LIMITS = Limits()


def open_video(path: Path) -> Any:
    """A video file, opened by PyAV as a plain container only; to be used in a ``with`` block.

    Raises:
        av.FFmpegError: it cannot be opened.
    """
    import av

    # Titles may be in any encoding; we read none of them. PyAV 19 and later takes any by itself.
    lenient: Any = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "ignore"}
    return av.open(f"file:{path}", options=INPUT_OPTIONS, **lenient)


def iterate_frames(path: Path) -> Iterator[npt.NDArray[np.uint8]]:
    """The frames of a video one by one, each ``uint8 [H, W, 3]`` RGB.

    Raises:
        StageError: class ``decode``.
    """
    import av
    from av.video.reformatter import VideoReformatter

    convert = VideoReformatter()  # to_ndarray(format="rgb24") would make one for each frame
    try:
        with open_video(path) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            for frame in container.decode(stream):
                picture = convert.reformat(frame, format="rgb24").to_ndarray()
                yield picture.astype(np.uint8, copy=False)  # which it is, for the type checker
    except (av.FFmpegError, IndexError) as error:
        raise StageError("decode", FailureClass.DECODE, _reason(error)) from error


def failure_of(path: Path, stage: str, error: Exception) -> StageError:
    """Why a file could not be read: what it is instead of a video, or what FFmpeg says."""
    what = _what_it_is(path)
    kind = FailureClass.NOT_A_VIDEO if what else FailureClass.DECODE
    return StageError(stage, kind, what or _reason(error))


def _reason(error: Exception) -> str:
    # PyAV puts the path into its messages; the ledger row already knows the file.
    return getattr(error, "strerror", None) or str(error)


def _what_it_is(path: Path) -> str | None:
    """What a file that does not open as a video is instead, where its first bytes tell."""
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        return "the file is empty"
    what = _RIFF.get(head[8:12]) if head.startswith(b"RIFF") else None
    for start, name in _BY_FIRST_BYTES:
        what = what or (name if head.lstrip().startswith(start) else None)
    if what is None and head.isascii() and b"\0" not in head:
        what = "a text file"
    return f"{what}, not a video" if what else None
