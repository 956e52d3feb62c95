"""The program ffmpeg: which one, what it may open, and its command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

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
