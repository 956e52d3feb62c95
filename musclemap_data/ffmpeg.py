"""The program ffmpeg: which one, what it may open, and its command line."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO

from musclemap_data.errors import UserError
from musclemap_data.files import replacing

Options = Mapping[str, object]
"""Name of an option, without the dash, and its value; None for an option that has none."""
Filter = tuple[str, Options]
"""Name of a filter, and its options."""

# What a source may be: plain containers. A playlist (concat, HLS, DASH) could make ffmpeg open
# other files or addresses, a still picture is no video, a bare H.264 stream has no time stamps to
# cut at: none of them is in the list.
INPUT_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,asf,mpeg,mpegts,ogg,ivf,dv,"
    "mxf,rm,swf,vob,wtv,nut",
}


@lru_cache(maxsize=1)
def ffmpeg_binary() -> str:
    """The ffmpeg of the wheel ``imageio-ffmpeg``, or of ``IMAGEIO_FFMPEG_EXE``."""
    import imageio_ffmpeg

    return str(imageio_ffmpeg.get_ffmpeg_exe())


def ffmpeg_command(
    source: str,
    target: str,
    *,
    reading: Options,
    writing: Options,
    stream: str = "V",
    filters: Sequence[Filter] = (),
    log: str = "error",
) -> list[str]:
    """The command line that turns one stream of a source into a file.

    Args:
        source: ``file:PATH`` or ``pipe:``.
        target: ``file:PATH`` to write, which is replaced, or ``-``.
        reading: options of the source.
        writing: options of the target.
        stream: which stream of the source; ``V`` is the first video that is not a song's cover.
        filters: what the pictures go through, in order: the filter's name and its options.
        log: which messages are wanted, see ffmpeg's ``-loglevel``.
    """
    import ffmpeg

    pictures = ffmpeg.input(source, **reading)[stream]
    for name, options in filters:
        pictures = pictures.filter(name, **options)
    done = pictures.output(target, **writing)
    quiet = done.global_args("-hide_banner", "-nostdin", "-nostats", "-loglevel", log)
    return [str(word) for word in quiet.compile(cmd=ffmpeg_binary(), overwrite_output=True)]


@contextmanager
def video_writer(path: Path, height: int, width: int, fps: float) -> Iterator[IO[bytes]]:
    """A pipe for the frames of an MP4: uint8 [height, width, 3] as bytes, both sides even.

    The file appears whole, or not at all.

    Raises:
        UserError: ffmpeg failed; what it said.
    """
    with replacing(path) as temporary:
        command = ffmpeg_command(
            "pipe:",
            f"file:{temporary}",
            reading={
                "format": "rawvideo", "pix_fmt": "rgb24", "s": f"{width}x{height}",
                "r": f"{fps:.6f}",
            },
            writing={
                "c:v": "libx264", "preset": "veryfast", "crf": 22, "pix_fmt": "yuv420p",
                "movflags": "+faststart",
            },
        )  # fmt: skip
        with tempfile.TemporaryFile() as messages:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=messages)
            try:
                with contextlib.suppress(BrokenPipeError):  # what ffmpeg says tells more
                    assert process.stdin is not None  # noqa: S101 (for the type checker)
                    yield process.stdin
                    process.stdin.close()
                if process.wait():
                    messages.seek(0)
                    said = messages.read().decode(errors="replace").strip()
                    raise UserError(f"ffmpeg could not write {path}: {said or process.returncode}")
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
