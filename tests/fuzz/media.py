"""Hostile video files: made by hand, or real ones with changed bytes. The same ones every time."""

from __future__ import annotations

import gzip
import io
import random
import struct
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from musclemap_data.ffmpeg import ffmpeg_binary

CONTAINERS = {
    "mp4": ["-c:v", "libx264"],
    "mov": ["-c:v", "mjpeg", "-pix_fmt", "yuvj420p"],
    "mkv": ["-c:v", "libx265", "-x265-params", "log-level=none"],
    "webm": ["-c:v", "libvpx", "-deadline", "realtime"],
    "avi": ["-c:v", "mpeg4"],
    "ts": ["-c:v", "mpeg2video"],
    "mpg": ["-c:v", "mpeg1video", "-r", "25"],
    "flv": ["-c:v", "flv"],
    "h264": ["-c:v", "libx264"],
    "nut": ["-c:v", "ffv1"],
}
"""Ending -> how ffmpeg encodes the good video of it."""


def run_ffmpeg(*words: str | Path) -> None:
    command = [ffmpeg_binary(), "-y", "-loglevel", "error", *map(str, words)]
    subprocess.run(command, check=True)


def lavfi(path: Path, source: str, *words: str) -> Path:
    """A video of an ffmpeg source such as ``testsrc2=s=64x48:r=10:d=0.6``."""
    run_ffmpeg("-f", "lavfi", "-i", source, *words, path)
    return path


def good_videos(folder: Path) -> dict[str, Path]:
    """One good video of six frames in every container."""
    source = "testsrc2=s=64x48:r=10:d=0.6"
    return {
        name: lavfi(folder / f"good.{name}", source, *words) for name, words in CONTAINERS.items()
    }


def made_by_hand(folder: Path, canary: Path, port: int) -> None:
    """Files of every kind that is no good video, or a strange one.

    Args:
        folder: for the files.
        canary: a good video in another folder, which the playlists name.
        port: on this machine, which they name too.
    """
    x264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
    source = "testsrc2=s=64x48:r=10:d=0.6"
    good = lavfi(folder / "good_too.mp4", source, *x264)
    lavfi(folder / "one_frame.mp4", "testsrc2=s=64x48:r=10:d=0.1", *x264)
    lavfi(folder / "one_pixel.mkv", "color=s=1x1:r=10:d=0.5", "-c:v", "ffv1")
    lavfi(folder / "a_line.mkv", "color=s=4000x1:r=10:d=0.3", "-c:v", "ffv1")
    lavfi(folder / "8k.mp4", "color=s=7680x4320:r=2:d=1", *x264)
    lavfi(folder / "fast.mkv", "testsrc2=s=64x48:r=50000:d=0.001", *x264)
    lavfi(folder / "slow.mkv", "testsrc2=s=64x48:r=1/5000:d=20000", *x264)
    jump = "setpts=if(gt(N\\,2)\\,PTS+{}/TB\\,PTS)"
    words = ("-vf", jump.format(0.37), "-fps_mode", "passthrough")
    lavfi(folder / "variable_rate.mp4", source, *x264, *words)
    words = ("-vf", jump.format(100000), "-fps_mode", "passthrough")
    lavfi(folder / "day_long_gap.mkv", source, *x264, *words)
    lavfi(folder / "sound.mp4", "sine=d=0.5")
    lavfi(folder / "sound.wav", "sine=d=0.1")
    lavfi(folder / "wide_pixels.mp4", source, *x264, "-vf", "setsar=4000/1")
    run_ffmpeg("-f", "lavfi", "-i", "sine=d=0.5", "-f", "lavfi", "-i", "color=red:s=64x64:d=0.04",
               "-map", "0", "-map", "1", "-c:v", "mjpeg", "-frames:v", "1", "-disposition:v",
               "attached_pic", folder / "song_with_cover.m4a")  # fmt: skip
    for name in ("picture.png", "picture.jpg", "picture.bmp", "picture.webp"):
        lavfi(folder / name, "testsrc2=s=64x48:d=0.04", "-frames:v", "1")
    lavfi(folder / "animated.gif", source)
    run_ffmpeg("-i", good, "-c", "copy", "-metadata", "title=NOT-UTF-8", folder / "title.mkv")
    change(folder / "title.mkv", b"NOT-UTF-8", b"caf\xe9\xff\xfe\x80\x81\x82")
    run_ffmpeg("-i", good, "-c", "copy", folder / "size_changes.ts")
    larger = lavfi(folder / "larger.ts", "testsrc2=s=128x96:r=10:d=0.6", *x264)
    append(folder / "size_changes.ts", larger.read_bytes())
    write_patched_headers(folder, good)
    content = good.read_bytes()
    files = {
        "empty.mp4": b"",
        "header_only.mp4": content[:32],
        "no_frames.mp4": content[: content.find(b"mdat") + 4],
        "trailing_rubbish.mp4": content + bytes(5000),
        "page.mp4": b"<!DOCTYPE html><html><body>\xc3\xa9</body></html>",
        "page_with_spaces.webm": b"\n\n   <html></html>",
        "text.avi": b"404 not found\n",
        "zeros.mp4": bytes(100_000),
        "noise.mkv": random.Random(1).randbytes(100_000),
        "bomb.gz.mp4": gzip.compress(bytes(10_000_000)),
        "archive.zip": zip_of(content),
        "manifest.pdf": b"%PDF-1.7\n\xff\xff",
        "program.mp4": b"\x7fELF\2\1\1" + bytes(500),
        "wrong_ending.avi": content,
        "wrong_ending.jpg": content,
        "no_ending": content,
        "-i.mp4": content,
        "%d.mp4": content,
        "a:b|c.mp4": content,
        "new\nline.mp4": content,
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    write_playlists(folder, canary, port)


def write_patched_headers(folder: Path, good: Path) -> None:
    """The good video with lies in its headers: sizes, duration, rate, codec."""
    content = good.read_bytes()

    def put(name: str, box: bytes, offset: int, value: bytes) -> None:
        at = content.find(box) + 4 + offset
        (folder / name).write_bytes(content[:at] + value + content[at + len(value) :])

    put("huge_duration.mp4", b"mvhd", 16, b"\x7f\xff\xff\xff")
    put("no_timescale.mp4", b"mvhd", 12, bytes(4))
    put("no_media_timescale.mp4", b"mdhd", 12, bytes(4))
    put("huge_media_duration.mp4", b"mdhd", 16, b"\x7f\xff\xff\xff")
    put("huge_size.mp4", b"avc1", 24, b"\xff\xff\xff\xff")
    put("no_size.mp4", b"avc1", 24, bytes(4))
    put("no_codec.mp4", b"avc1", -4, b"zzzz")
    put("many_samples.mp4", b"stsz", 8, b"\x7f\xff\xff\xff")
    put("huge_samples.mp4", b"stsz", 4, b"\x7f\xff\xff\xff")
    put("long_samples.mp4", b"stts", 8, b"\0\0\0\1\x7f\xff\xff\xff")
    put("huge_box.mp4", b"moov", -8, b"\xff\xff\xff\xff")
    put("endless_box.mp4", b"moov", -8, bytes(4))
    put("far_chunks.mp4", b"stco", 8, b"\xff\xff\xff\xf0")
    # AVI keeps its size and rate in the clear, too.
    avi = lavfi(folder / "large.avi", "testsrc2=s=64x48:r=10:d=0.6", "-c:v", "mpeg4").read_bytes()
    header = avi.find(b"avih") + 8
    for name, at, value in (
        ("huge_size.avi", header + 32, struct.pack("<II", 2**31 - 1, 2**31 - 1)),
        ("no_rate.avi", header, bytes(4)),
        ("huge_rate.avi", avi.find(b"strh") + 8 + 20, struct.pack("<II", 1, 2**31 - 1)),
        ("rate_of_nothing.avi", avi.find(b"strh") + 8 + 20, struct.pack("<II", 0, 0)),
        ("large.avi", avi.find(b"strf") + 8 + 4, struct.pack("<II", 16000, 16000)),
    ):
        (folder / name).write_bytes(avi[:at] + value + avi[at + len(value) :])


def write_playlists(folder: Path, canary: Path, port: int) -> None:
    """Playlists and addresses in disguise: each tries to make ffmpeg open something else."""
    local, remote = str(canary), f"http://127.0.0.1:{port}/canary.mp4"
    hls = "#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\n{}\n#EXT-X-ENDLIST\n"
    texts = {
        "hls_local": hls.format(local),
        "hls_remote": hls.format(remote),
        "hls_file_url": hls.format(f"file://{local}"),
        "hls_concat": hls.format(f"concat:{local}|{local}"),
        "hls_subfile": hls.format(f"subfile,,start,0,end,0,,:{local}"),
        "hls_key": hls.format(local).replace(
            "#EXTINF", f'#EXT-X-KEY:METHOD=AES-128,URI="{remote}"\n#EXTINF'
        ),
        "hls_data": hls.format("data:video/mp4;base64,AAAA"),
        "hls_bomb": "#EXTM3U\n" + f"#EXTINF:6,\n{local}\n" * 100_000,
        "hls_itself": hls.format("hls_itself.mp4"),
        "ffconcat_local": f"ffconcat version 1.0\nfile '{local}'\n",
        "ffconcat_remote": f"ffconcat version 1.0\nfile '{remote}'\n",
        "ffconcat_itself": "ffconcat version 1.0\nfile ffconcat_itself.mp4\n",
        "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
        f"<Period><AdaptationSet><Representation><BaseURL>{remote}</BaseURL></Representation>"
        "</AdaptationSet></Period></MPD>",
        "sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video {port} RTP/AVP 96\n",
        "pls": f"[playlist]\nFile1={local}\n",
        "ram": remote,
        "avisynth": f'FFmpegSource("{local}")\n',
        "vapoursynth": f"import vapoursynth\nopen({local!r})\n",
        "image_list": f"{local}\n",
        "svg": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{local}"/></svg>',
    }
    for name, text in texts.items():
        for ending in ("mp4", "m3u8") if name.startswith("hls") else ("mp4",):
            (folder / f"{name}.{ending}").write_text(text)


def zip_of(content: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("v.mp4", content)
    return sink.getvalue()


def change(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    if old not in content or len(old) != len(new):
        raise ValueError(f"{path.name} does not hold {old!r}")
    path.write_bytes(content.replace(old, new))


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def mutate(content: bytes, chance: random.Random) -> bytes:
    """The bytes of a video with one kind of damage."""
    data = bytearray(content)
    at = chance.randrange(len(data))
    length = chance.choice((1, 4, 16, 200))

    def flip_bits() -> None:
        for _ in range(chance.choice((1, 3, 30, 300))):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)

    def flip_header() -> None:
        for _ in range(chance.choice((1, 3, 10))):
            data[chance.randrange(min(len(data), 400))] = chance.randrange(256)

    def flip_end() -> None:  # where MP4 keeps its tables
        for _ in range(chance.choice((1, 3, 10))):
            data[-1 - chance.randrange(min(len(data), 700))] = chance.choice((0, 1, 127, 128, 255))

    def overwrite(with_what: Callable[[int], bytes]) -> None:
        data[at : at + length] = with_what(len(data[at : at + length]))

    kinds: list[Callable[[], object]] = [
        flip_bits,
        flip_header,
        flip_end,
        lambda: data.__delitem__(slice(at, None)),
        lambda: data.__delitem__(slice(at, at + length)),
        lambda: overwrite(bytes),
        lambda: overwrite(lambda count: b"\xff" * count),
        lambda: overwrite(chance.randbytes),
        lambda: data.__setitem__(slice(at, at), chance.randbytes(length)),
        lambda: data.extend(data[at:]),
    ]
    chance.choice(kinds)()
    return bytes(data)


def write_corpus(folder: Path, canary: Path, port: int, *, count: int, seed: int = 0) -> list[Path]:
    """At least ``count`` files; gives their paths, sorted."""
    folder.mkdir(parents=True)
    made_by_hand(folder, canary, port)
    good = good_videos(folder)
    contents = {name: path.read_bytes() for name, path in good.items()}
    missing = count - len(list(folder.iterdir()))
    for number in range(missing):
        chance = random.Random(f"{seed}-{number}")
        ending = list(contents)[number % len(contents)]
        (folder / f"m{number:04}.{ending}").write_bytes(mutate(contents[ending], chance))
    return sorted(folder.iterdir())


def corner_video(path: Path, *options: str) -> np.ndarray:
    """A video with one white corner, and its picture ``uint8 [H, W, 3]`` as stored.

    Args:
        path: the MP4 to write.
        options: of ffmpeg for the copy that gets the metadata, such as ``-display_rotation 90``.
    """
    picture = np.zeros((48, 96, 3), np.uint8)
    picture[:24, :32] = 255
    plain = path.with_name(f"plain_{path.name}")
    run_ffmpeg("-f", "lavfi", "-i", "color=black:s=96x48:r=10:d=0.3", "-vf",
               "drawbox=0:0:32:24:white:fill", "-c:v", "libx264", "-crf", "5", plain)  # fmt: skip
    run_ffmpeg(*options, "-i", plain, "-c", "copy", path)
    return picture
