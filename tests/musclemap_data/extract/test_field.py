"""Videos as people have them: what is stored is what was filmed.

Each input is made here. Frames carry their number as black and white blocks, so a cut is checked
frame by frame; colours are computed from the formulas of the standards, not by ffmpeg.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from pathlib import Path

import numpy as np
import pytest

from musclemap_data.errors import FailureClass, StageError
from musclemap_data.extract.cut import cut_clip
from musclemap_data.extract.source import frame_times, probe
from musclemap_data.extract.windows import read_video
from musclemap_data.ffmpeg import ffmpeg_binary
from musclemap_data.modalities.settings import CutSettings
from tests.conftest import read_frames

WIDTH, HEIGHT, BITS = 192, 108, 9
BLOCK = WIDTH // BITS
X264 = "-c:v libx264 -preset veryfast -pix_fmt yuv420p"


def painted(number: int) -> np.ndarray:
    """A frame ``uint8 [H, W, 3]`` that shows its number, lowest bit left, over a moving ramp."""
    frame = np.full((HEIGHT, WIDTH, 3), 70, np.uint8)
    frame[..., 0] = (np.arange(WIDTH) + 5 * number) % 160 + 40
    for bit in range(BITS):
        frame[30:78, bit * BLOCK : (bit + 1) * BLOCK] = 235 if number >> bit & 1 else 16
    return frame


def number_of(frame: np.ndarray) -> int:
    height, width = frame.shape[:2]
    row = frame[int(height * 0.38) : int(height * 0.62)].mean((0, 2))
    scale = width / WIDTH * BLOCK
    blocks = [row[int((b + 0.3) * scale) : int((b + 0.7) * scale)].mean() for b in range(BITS)]
    return sum(1 << bit for bit, value in enumerate(blocks) if value > 128)


def ffmpeg(*words: object, stdin: bytes | None = None) -> None:
    done = subprocess.run(
        [ffmpeg_binary(), "-v", "error", "-y", *map(str, words)], input=stdin, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()[-1000:]


def film(path: Path, frames: int, options: str, fps: object = 30, first: int = 0) -> Path:
    """A video of painted frames."""
    pictures = b"".join(painted(first + n).tobytes() for n in range(frames))
    size = f"{WIDTH}x{HEIGHT}"
    ffmpeg("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", fps, "-i", "-",
           *options.split(), path, stdin=pictures)  # fmt: skip
    return path


def cut_numbers(video: Path, start_s: float, end_s: float | None, **settings: int) -> list[int]:
    clip = video.with_name("cut.mp4")
    cut_clip(video, clip, start_s, end_s, CutSettings(**settings))
    return [number_of(frame) for frame in read_frames(clip)]


def failure(video: Path, start_s: float, end_s: float | None) -> StageError:
    with pytest.raises(StageError) as caught:
        cut_numbers(video, start_s, end_s)
    assert "0x" not in caught.value.failure.reason  # no address of ffmpeg's memory
    return caught.value


def kind_of(video: Path, start_s: float, end_s: float | None) -> FailureClass:
    return failure(video, start_s, end_s).failure.failure_class


# -- inputs from the field ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_gop(tmp_path_factory) -> Path:
    """Ten seconds with one key frame; B frames."""
    folder = tmp_path_factory.mktemp("field")
    return film(folder / "long.mp4", 300, f"{X264} -g 600 -bf 3")


@pytest.mark.parametrize("ending", ["mts", "avi"])
def test_a_container_without_an_index_is_cut_right(tmp_path, ending):
    """A seek in MPEG-TS comes out after the place; AVI has no time stamps for B frames."""
    codec = "-c:v mpeg4 -q:v 3 -bf 2" if ending == "avi" else f"{X264} -bf 3 -f mpegts"
    video = film(tmp_path / f"v.{ending}", 300, f"{codec} -g 250")
    assert cut_numbers(video, 0, 1) == list(range(30))
    assert cut_numbers(video, 6, 7) == list(range(180, 210))


def test_hidden_packets_before_the_start_are_not_shown(tmp_path, long_gop):
    """Trimmed by stream copy: the file holds all since the key frame, an edit list hides it."""
    trimmed = tmp_path / "trimmed.mp4"
    ffmpeg("-ss", 4.3, "-i", long_gop, "-t", 4, "-c", "copy", trimmed)
    assert cut_numbers(trimmed, 0, 2) == list(range(129, 189))
    video = read_video(trimmed)
    assert video.begin_s == 0
    assert video.seconds == pytest.approx(4.0, abs=0.1)
    assert video.fps == pytest.approx(30, abs=0.1)


def test_a_slow_video_is_not_refused_for_rounding(tmp_path):
    video = film(tmp_path / "slow.mp4", 50, X264, fps=5)
    assert cut_numbers(video, 2, 2.5) == [10, 11, 12]


@pytest.mark.parametrize(
    ("fps", "kept", "every"),
    [(50, 25, 2), (60, 30, 2), ("60000/1001", Fraction(30000, 1001), 2), (120, 30, 4),
     (48, 24, 2), (100, 25, 4), (90, 30, 3), (31, 31, 1)],
)  # fmt: skip
def test_a_fast_video_is_thinned_evenly(tmp_path, fps, kept, every):
    video = film(tmp_path / "fast.mp4", 3 * round(Fraction(fps)), f"{X264} -bf 2", fps=fps)
    made = cut_clip(video, tmp_path / "cut.mp4", 1, 2, CutSettings())
    numbers = [number_of(frame) for frame in read_frames(tmp_path / "cut.mp4")]
    assert made.fps == kept
    assert set(np.diff(numbers)) == {every}
    assert numbers[0] == ceil(Fraction(fps))
    assert len(numbers) == round(kept)


@pytest.mark.parametrize("default", ["thumbnail", "film"])
def test_a_thumbnail_track_is_not_the_film(tmp_path, long_gop, default):
    cover, both = tmp_path / "cover.jpg", tmp_path / "both.mp4"
    ffmpeg("-i", long_gop, "-frames:v", 1, cover)
    marks = ("default", "0") if default == "thumbnail" else ("0", "default")
    ffmpeg("-i", cover, "-i", long_gop, "-map", "0:v", "-map", "1:v", "-c", "copy",
           "-disposition:v:0", marks[0], "-disposition:v:1", marks[1], both)  # fmt: skip
    assert probe(both, stage="cut").stream == 1
    assert cut_numbers(both, 2, 3) == list(range(60, 90))
    assert read_video(both).seconds == pytest.approx(10)


@pytest.mark.parametrize("second_is_default", [True, False])
def test_of_two_films_the_default_one_is_taken_else_the_larger(tmp_path, second_is_default):
    small = film(tmp_path / "small.mp4", 60, X264, first=100)
    large = film(tmp_path / "large.mp4", 60, f"{X264} -vf scale=384:216")
    both = tmp_path / "both.mkv"
    marks = ("0", "default") if second_is_default else ("0", "0")
    ffmpeg("-i", large, "-i", small, "-map", "0", "-map", "1", "-c", "copy", "-default_mode",
           "passthrough", "-disposition:v:0", marks[0], "-disposition:v:1", marks[1],
           both)  # fmt: skip
    first = 100 if second_is_default else 0
    assert cut_numbers(both, 1, 1.5) == list(range(first + 30, first + 45))


def test_a_picture_that_starts_late_is_on_the_clock_of_the_file(tmp_path, long_gop):
    """Sound from 0 s, picture from 4 s, as a screen recorder writes it."""
    late = tmp_path / "late.mp4"
    ffmpeg("-f", "lavfi", "-i", "sine=d=14", "-itsoffset", 4, "-i", long_gop, "-map", "1:v",
           "-map", "0:a", "-c:v", "copy", "-c:a", "aac", late)  # fmt: skip
    refused = failure(late, 0.5, 2.5).failure
    assert refused.failure_class is FailureClass.TOO_SHORT
    assert "no picture" in refused.reason
    assert cut_numbers(late, 5, 6) == list(range(30, 60))
    assert read_video(late).begin_s == pytest.approx(4)


@pytest.fixture(scope="module")
def variable_rate(tmp_path_factory) -> Path:
    """Ten seconds at one frame a second, then three at 30."""
    path = tmp_path_factory.mktemp("variable") / "v.mp4"
    times = "if(lt(N\\,10)\\,30*N\\,N+290)"
    return film(path, 100, f"-vf setpts={times} -fps_mode passthrough {X264} -g 50")


def test_the_rate_of_a_clip_is_that_of_its_place(variable_rate):
    clip = variable_rate.with_name("cut.mp4")
    made = cut_clip(variable_rate, clip, 10.5, 12.5, CutSettings())
    assert made.fps == 30
    assert [number_of(f) for f in read_frames(clip)] == list(range(25, 85))
    assert cut_clip(variable_rate, clip, 2, 6, CutSettings()).fps == 1
    assert [number_of(f) for f in read_frames(clip)] == [2, 3, 4, 5]


def test_a_gap_is_not_filled(variable_rate):
    refused = failure(variable_rate, 8, 11).failure
    assert refused.failure_class is FailureClass.TOO_SHORT
    assert "no picture between 8.00 s and 9.00 s" in refused.reason


def test_dropped_frames_leave_no_copies(tmp_path):
    """A recording that lost single frames: those that were filmed, each once."""
    kept = [n for n in range(90) if n % 11 != 5]
    video = film(tmp_path / "v.mp4", 90, f"-vf select=mod(n\\,11)-5 -fps_mode passthrough {X264}")
    numbers = cut_numbers(video, 0.5, 2.5)
    assert numbers == [n for n in kept if 15 <= n < 75]


def test_a_rate_that_changes_within_a_clip_is_evened(tmp_path):
    """15 frames/s, then 30: every second one of the later ones."""
    times = "if(lt(N\\,30)\\,2*N\\,N+30)"
    video = film(tmp_path / "v.mkv", 90, f"-vf setpts={times} -fps_mode passthrough {X264}")
    made = cut_clip(video, tmp_path / "cut.mp4", 0, 4, CutSettings())
    numbers = [number_of(frame) for frame in read_frames(tmp_path / "cut.mp4")]
    assert numbers == [*range(30), *range(30, 90, 2)]
    assert float(made.fps) == pytest.approx(15, rel=0.01)


def test_damage_is_a_failure_or_is_recorded(tmp_path, long_gop):
    data = bytearray(long_gop.read_bytes())
    chance = np.random.default_rng(0)
    start = data.find(b"mdat") + 2000
    for at in chance.integers(start, len(data) - 20_000, 12):
        data[at] ^= 1 << int(chance.integers(8))
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(data)
    marks = []
    for start_s in range(9):
        try:
            made = cut_clip(damaged, tmp_path / "cut.mp4", start_s, start_s + 1, CutSettings())
            again = cut_clip(damaged, tmp_path / "cut.mp4", start_s, start_s + 1, CutSettings())
            assert made == again  # the count does not depend on the threads of ffmpeg
            assert made.facts.get("damaged_frames", 0) == made.damaged_frames
            marks.append(made.damaged_frames)
        except StageError as error:
            assert error.failure.failure_class is FailureClass.DECODE
            assert "0x" not in error.failure.reason
            marks.append(-1)
    assert any(marks)
    assert not marks[0] or marks[0] == -1


# -- the matrix --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A way to write a video, and how fast."""

    ending: str
    options: str
    fps: Fraction = field(default=Fraction(30))


NTSC, FILM = Fraction(30000, 1001), Fraction(24000, 1001)
X265 = "-c:v libx265 -preset ultrafast -pix_fmt yuv420p -x265-params log-level=error:keyint=20"
MPEG2 = "-c:v mpeg2video -bf 2 -g 15 -q:v 3"
VP9 = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 500k"
MATRIX = {
    "mp4, no B": Case("mp4", f"{X264} -bf 0 -g 30"),
    "mp4, one GOP": Case("mp4", f"{X264} -bf 3 -g 250"),
    "mp4, open GOP": Case("mp4", f"{X264} -bf 3 -g 20 -x264-params open-gop=1:scenecut=0"),
    "mp4, 16 B": Case("mp4", f"{X264} -bf 16 -g 48 -x264-params b-adapt=0:open-gop=1"),
    "mp4, intra": Case("mp4", f"{X264} -g 1"),
    "mp4, intra refresh": Case("mp4", f"{X264} -x264-params intra-refresh=1:keyint=25:bframes=0"),
    "mp4, negative": Case("mp4", f"{X264} -bf 2 -g 40 -movflags +negative_cts_offsets"),
    "mp4, no edit list": Case("mp4", f"{X264} -bf 2 -g 40 -use_editlist 0"),
    "mp4, starts at 7.3 s": Case("mp4", f"{X264} -bf 2 -g 40 -output_ts_offset 7.3"),
    "mp4, fragments": Case(
        "mp4", f"{X264} -bf 2 -g 25 -movflags +frag_keyframe+empty_moov+default_base_moof"
    ),
    "mp4, DASH": Case("mp4", f"{X264} -bf 2 -g 50 -movflags +dash+global_sidx+frag_keyframe"),
    "mp4, 29.97": Case("mp4", f"{X264} -bf 2 -g 60", NTSC),
    "mp4, 23.976": Case("mp4", f"{X264} -bf 2 -g 48", FILM),
    "mp4, 25": Case("mp4", f"{X264} -bf 3 -g 50", Fraction(25)),
    "mp4, HEVC": Case("mp4", f"{X265}:bframes=4:open-gop=1"),
    "mp4, MPEG-4": Case("mp4", "-c:v mpeg4 -q:v 3 -bf 2 -g 100"),
    "mp4, VP9": Case("mp4", f"{VP9} -g 30"),
    "mp4, AV1": Case(
        "mp4", "-c:v libsvtav1 -preset 10 -crf 20 -g 40 -svtav1-params log-level=0 -pix_fmt yuv420p"
    ),
    "mov, ProRes": Case("mov", "-c:v prores -pix_fmt yuv422p10le"),
    "mov, MJPEG": Case("mov", "-c:v mjpeg -q:v 3 -pix_fmt yuvj420p"),
    "mov, RLE": Case("mov", "-c:v qtrle"),
    "3gp, H.263": Case("3gp", "-c:v h263 -s 176x144 -q:v 3 -g 50", NTSC),
    "mkv, one GOP": Case("mkv", f"{X264} -bf 3 -g 250"),
    "mkv, open GOP": Case("mkv", f"{X264} -bf 3 -g 20 -x264-params open-gop=1:scenecut=0"),
    "mkv, intra refresh": Case("mkv", f"{X264} -x264-params intra-refresh=1:keyint=25:bframes=0"),
    "mkv, 29.97": Case("mkv", f"{X264} -bf 3 -g 60", NTSC),
    "mkv, HEVC": Case("mkv", f"{X265}:bframes=4:open-gop=1"),
    "mkv, FFV1": Case("mkv", "-c:v ffv1 -g 10"),
    "mkv, MPEG-2": Case("mkv", MPEG2),
    "mkv, starts at 7.3 s": Case("mkv", f"{X264} -bf 3 -g 30 -output_ts_offset 7.3"),
    "mkv, live": Case("mkv", f"{X264} -bf 0 -g 60 -live 1"),
    "webm, VP8 with hidden frames": Case(
        "webm", "-c:v libvpx -cpu-used 4 -auto-alt-ref 1 -lag-in-frames 16 -g 60 -b:v 500k"
    ),
    "webm, VP9 with hidden frames": Case(
        "webm", "-c:v libvpx-vp9 -cpu-used 5 -auto-alt-ref 1 -lag-in-frames 25 -g 60 -b:v 500k"
    ),
    "ts, one GOP": Case("ts", f"{X264} -bf 3 -g 250"),
    "ts, open GOP": Case("ts", f"{X264} -bf 3 -g 20 -x264-params open-gop=1:scenecut=0"),
    "ts, starts at 5000 s": Case("ts", f"{X264} -bf 3 -g 60 -output_ts_offset 5000"),
    "ts, MPEG-2": Case("ts", MPEG2),
    "ts, HEVC": Case("ts", f"{X265}:bframes=4"),
    "m2ts": Case("m2ts", f"{X264} -bf 3 -g 60"),
    "mpg, MPEG-1": Case("mpg", "-c:v mpeg1video -bf 2 -g 15 -q:v 3"),
    "mpg, MPEG-2": Case("mpg", MPEG2, Fraction(25)),
    "vob": Case("vob", MPEG2, Fraction(25)),
    "avi, MPEG-4 with B": Case("avi", "-c:v mpeg4 -q:v 3 -bf 2 -g 100"),
    "avi, MPEG-4": Case("avi", "-c:v mpeg4 -q:v 3 -bf 0 -g 100"),
    "avi, MJPEG": Case("avi", "-c:v mjpeg -q:v 3 -pix_fmt yuvj420p"),
    "avi, H.264 with B": Case("avi", f"{X264} -bf 3 -g 60"),
    "avi, raw": Case("avi", "-c:v rawvideo -pix_fmt yuv420p"),
    "flv, H.264": Case("flv", f"{X264} -bf 3 -g 250"),
    "flv, Sorenson": Case("flv", "-c:v flv -q:v 3 -g 60"),
    "wmv": Case("wmv", "-c:v wmv2 -q:v 3 -g 60"),
    "ogv": Case("ogv", "-c:v libtheora -q:v 8 -g 32"),
    "nut": Case("nut", f"{X264} -bf 3 -g 60"),
    "mxf": Case("mxf", f"{MPEG2} -pix_fmt yuv420p", Fraction(25)),
    "ivf": Case("ivf", f"{VP9} -g 30 -pix_fmt yuv420p"),
    "rm": Case("rm", "-c:v rv20 -q:v 3 -g 50"),
    "dv": Case("dv", "-c:v dvvideo -s 720x576 -pix_fmt yuv420p -aspect 4:3", Fraction(25)),
}
SHORT_PLACES = ((0.0, 0.4), (1.0, 1.5), (2.55, 3.11), (3.999, 4.4), (5.4, 5.9))


def check_places(video: Path, fps: Fraction, places: Sequence[tuple[float, float]]) -> None:
    """Every frame of cuts at some places is the right one."""
    for start_s, end_s in places:
        first = ceil(Fraction(start_s).limit_denominator(1000) * fps - Fraction(2, 100))
        count = int((end_s - start_s) * float(fps) + 0.5)
        numbers = cut_numbers(video, start_s, end_s)
        assert numbers == list(range(first, first + count)), (start_s, end_s)


@pytest.mark.slow
@pytest.mark.parametrize("name", MATRIX)
def test_every_frame_of_every_cut_is_right(tmp_path, name):
    """Container x codec x B frames x GOP x start time, each cut at five places."""
    case = MATRIX[name]
    video = film(tmp_path / f"v.{case.ending}", round(6 * case.fps), case.options, case.fps)
    check_places(video, case.fps, SHORT_PLACES)


LONG = {
    "fragments": Case(
        "mp4", f"{X264} -bf 2 -g 25 -movflags +frag_keyframe+empty_moov+default_base_moof"
    ),
    "DASH": Case("mp4", f"{X264} -bf 2 -g 100 -movflags +dash+global_sidx+frag_keyframe"),
    "ts": Case("ts", f"{X264} -bf 3 -g 40 -x264-params open-gop=1:scenecut=0"),
    "ts, one GOP": Case("ts", f"{X264} -bf 3 -g 250"),
    "flv": Case("flv", f"{X264} -bf 3 -g 100"),
    "mpg": Case("mpg", MPEG2),
    "avi": Case("avi", "-c:v mpeg4 -q:v 3 -bf 2 -g 100"),
    "mkv, intra refresh": Case("mkv", f"{X264} -x264-params intra-refresh=1:keyint=60:bframes=0"),
    "mp4, intra refresh": Case("mp4", f"{X264} -x264-params intra-refresh=1:keyint=60:bframes=0"),
}
LONG_PLACES = ((11.0, 11.5), (12.37, 12.9), (13.31, 13.8), (14.999, 15.4), (15.9, 16.4))


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG)
def test_a_seek_far_into_a_file_is_right(tmp_path, name):
    """Where a clip begins late enough, containers without an index are searched too."""
    case = LONG[name]
    video = film(tmp_path / f"v.{case.ending}", 500, case.options)
    check_places(video, case.fps, LONG_PLACES)
    source = probe(video, stage="cut")
    if name in ("fragments", "DASH", "ts", "flv", "mpg"):
        assert frame_times(source, 15.9, 16.4).seek_s is not None


# -- colour ------------------------------------------------------------------------------------

PATCHES = np.array([
    [255, 255, 255], [220, 180, 150], [200, 50, 60], [50, 170, 70],
    [60, 80, 190], [128, 128, 128], [20, 20, 20], [230, 200, 60],
], float)  # fmt: skip
LUMA = {"601": (0.299, 0.114), "709": (0.2126, 0.0722), "2020": (0.2627, 0.0593)}
XYZ_OF_709 = np.array(
    [[0.4123908, 0.3575843, 0.1804808], [0.2126390, 0.7151687, 0.0721923],
     [0.0193308, 0.1191948, 0.9505322]]
)  # fmt: skip
XYZ_OF_2020 = np.array(
    [
        [0.6369580, 0.1446169, 0.1688810],
        [0.2627002, 0.6779981, 0.0593017],
        [0, 0.0280727, 1.0609851],
    ]
)
SDR_WHITE_NITS = 203


def pq(nits: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084, from light to signal."""
    light = (nits / 10_000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * light) / (1 + 2392 / 128 * light)) ** (2523 / 32)


def hlg(nits: np.ndarray) -> np.ndarray:
    """ITU-R BT.2100 HLG for a display of 1000 nits; its gamma of 1.2 on each primary."""
    scene = (nits / 1000) ** (1 / 1.2)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(
        scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-9)) + c
    )


def signal(transfer: str) -> np.ndarray:
    """The patches as R'G'B' in [0, 1] of a transfer function, in its primaries."""
    if transfer == "sdr":
        return PATCHES / 255
    to_2020 = (np.linalg.inv(XYZ_OF_2020) @ XYZ_OF_709).T
    light = np.clip((PATCHES / 255) ** 2.4 @ to_2020, 0, None)
    if transfer == "2020":
        return light ** (1 / 2.4)
    return {"pq": pq, "hlg": hlg}[transfer](light * SDR_WHITE_NITS)


def y_cb_cr(rgb: np.ndarray, matrix: str, bits: int, full: bool) -> np.ndarray:
    """ITU-R BT.601, BT.709, BT.2020: numbers of a picture, ``[patches, 3]``."""
    red, blue = LUMA[matrix]
    luma = rgb @ [red, 1 - red - blue, blue]
    chroma = [(rgb[:, 2] - luma) / (2 * (1 - blue)), (rgb[:, 0] - luma) / (2 * (1 - red))]
    most, unit = 2**bits - 1, 2 ** (bits - 8)
    if full:
        numbers = [luma * most, *(c * most + 128 * unit for c in chroma)]
    else:
        numbers = [(16 + 219 * luma) * unit, *((128 + 224 * c) * unit for c in chroma)]
    return np.stack(numbers, -1).round().clip(0, most)


@dataclass(frozen=True)
class Colours:
    """How the patches are written."""

    ending: str
    codec: str
    transfer: str
    matrix: str
    tags: str = ""
    bits: int = 8
    full: bool = False
    size: tuple[int, int] = (320, 180)
    chroma: str = "420"


X, H5 = (
    "-c:v libx264 -crf 4 -preset veryfast",
    "-c:v libx265 -preset ultrafast -crf 4 -x265-params log-level=error",
)
T601 = "colorspace=smpte170m:color_primaries=smpte170m:color_trc=smpte170m"
T709 = "colorspace=bt709:color_primaries=bt709:color_trc=bt709"
T2020 = "colorspace=bt2020nc:color_primaries=bt2020:color_trc="
HD = (1280, 720)
COLOURS = {
    "601": Colours("mp4", X, "sdr", "601", T601),
    "601, full": Colours("mp4", X, "sdr", "601", T601, full=True),
    "601 of PAL": Colours("mp4", X, "sdr", "601", "colorspace=bt470bg:color_primaries=bt470bg"),
    "untagged": Colours("mp4", X, "sdr", "601"),
    "untagged HD": Colours("mp4", X, "sdr", "709", size=HD),
    "untagged HD, upright": Colours("mp4", X, "sdr", "709", size=(720, 1280)),
    "untagged HD, full": Colours("mp4", X, "sdr", "709", full=True, size=HD),
    "601 HD": Colours("mp4", X, "sdr", "601", T601, size=HD),
    "709": Colours("mp4", X, "sdr", "709", T709),
    "709 HD, full": Colours("mp4", X, "sdr", "709", T709, full=True, size=HD),
    "709, 10 bits": Colours("mp4", X, "sdr", "709", T709, bits=10),
    "709, 4:4:4": Colours("mp4", X, "sdr", "709", T709, chroma="444"),
    "709, ProRes": Colours("mov", "-c:v prores", "sdr", "709", T709, bits=10, chroma="422"),
    "MJPEG": Colours("avi", "-c:v mjpeg -q:v 1", "sdr", "601", full=True),
    "2020 SDR": Colours("mp4", H5, "2020", "2020", f"{T2020}bt2020-10", bits=10),
    "HLG": Colours("mov", f"{H5} -tag:v hvc1", "hlg", "2020", f"{T2020}arib-std-b67", bits=10),
    "HLG, mkv, full": Colours("mkv", H5, "hlg", "2020", f"{T2020}arib-std-b67", 10, full=True),
    "PQ": Colours("mp4", H5, "pq", "2020", f"{T2020}smpte2084", bits=10, size=HD),
    "PQ, full": Colours("mp4", H5, "pq", "2020", f"{T2020}smpte2084", bits=10, full=True),
    "PQ, 4:4:4": Colours("mp4", H5, "pq", "2020", f"{T2020}smpte2084", bits=10, chroma="444"),
}


def write_patches(path: Path, made: Colours) -> Path:
    """A video of upright bars, one a patch."""
    numbers = y_cb_cr(signal(made.transfer), made.matrix, made.bits, made.full)
    width, height = made.size
    across, down = {"420": (2, 2), "422": (2, 1), "444": (1, 1)}[made.chroma]
    bars = np.minimum(np.arange(width) * len(PATCHES) // width, len(PATCHES) - 1)
    kind = np.uint8 if made.bits == 8 else np.uint16
    planes = [np.broadcast_to(numbers[bars, 0].astype(kind), (height, width))] + [
        np.broadcast_to(numbers[bars[::across], n].astype(kind), (height // down, width // across))
        for n in (1, 2)
    ]
    pixels = f"yuv{made.chroma}p" + ("10le" if made.bits == 10 else "")
    tags = f"setparams=range={'pc' if made.full else 'tv'}" + (f":{made.tags}" if made.tags else "")
    ffmpeg("-f", "rawvideo", "-pix_fmt", pixels, "-s", f"{width}x{height}", "-r", 10, "-i", "-",
           "-vf", tags, *made.codec.split(), path,
           stdin=b"".join(plane.tobytes() for plane in planes) * 4)  # fmt: skip
    return path


def worst_colour(frame: np.ndarray) -> float:
    """Levels between the bars of a frame and the patches, at most."""
    height, width = frame.shape[:2]
    edges = np.arange(len(PATCHES)) * width / len(PATCHES)
    bar = width / len(PATCHES)
    found = [
        frame[height // 4 : -height // 4, int(x + 0.35 * bar) : int(x + 0.65 * bar)].mean((0, 1))
        for x in edges
    ]
    return float(np.abs(np.array(found) - PATCHES).max())


@pytest.mark.parametrize("name", COLOURS)
def test_colours_are_those_that_were_filmed(tmp_path, name):
    """Within 4 levels of 256. PyAV-Org/PyAV#1430, meta-pytorch/torchcodec#1262 (full range),
    LibrePhotos/librephotos#455 (HDR of phones)."""
    video = write_patches(tmp_path / f"v.{COLOURS[name].ending}", COLOURS[name])
    made = cut_clip(video, tmp_path / "cut.mp4", 0, None, CutSettings())
    assert worst_colour(read_frames(tmp_path / "cut.mp4")[1]) <= 4
    if COLOURS[name].transfer in ("pq", "hlg"):
        assert made.facts["colour"] == f"{COLOURS[name].transfer} to bt709, white at 203 nits"


@pytest.mark.parametrize("codec", ["mpeg2video -q:v 2", "libx264 -crf 10"])
def test_half_pictures_are_not_woven_together(tmp_path, codec):
    """A bar that moves between the two fields of a frame leaves no comb.

    n00mkrad/flowframes#375
    """
    fields = []
    for n in range(60):
        picture = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
        picture[:, 2 * n + 20 : 2 * n + 50] = 220
        fields.append(picture)
    frames = []
    for even, odd in zip(fields[::2], fields[1::2], strict=True):
        frame = even.copy()
        frame[1::2] = odd[1::2]
        frames.append(frame.tobytes())
    video = tmp_path / "v.ts"
    ffmpeg("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", 25, "-i", "-",
           "-vf", "setfield=tff", "-c:v", *codec.split(), "-pix_fmt", "yuv420p", "-flags",
           "+ildct+ilme", video, stdin=b"".join(frames))  # fmt: skip
    made = cut_clip(video, tmp_path / "cut.mp4", 0.2, 1.0, CutSettings())
    assert made.facts["deinterlaced"] == "bwdif"
    kept = read_frames(tmp_path / "cut.mp4").astype(int)
    assert len(kept) == 20
    comb = np.abs(kept[:, 1:-1:2] * 2 - kept[:, :-2:2] - kept[:, 2::2]).max(axis=(1, 2, 3))
    assert comb.max() < 90  # 300 where the fields are woven


# -- ten more kinds, from public reports -------------------------------------------------------


def joined(path: Path, *parts: Path) -> Path:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def test_a_video_ends_where_its_time_stamps_go_back(tmp_path):
    """Two recordings in one MPEG-TS, each with its own clock: androidx/media#906. The same in
    Matroska: w3c/webcodecs#332."""
    first = film(tmp_path / "a.ts", 90, f"{X264} -g 30")
    second = film(tmp_path / "b.ts", 150, f"{X264} -g 30", first=200)
    both = joined(tmp_path / "both.ts", first, second)
    assert cut_numbers(both, 1, 2) == list(range(30, 60))
    assert kind_of(both, 3.5, 4.5) is FailureClass.TOO_SHORT  # 4 s of the second is not 4 s


def test_a_broadcast_joined_midway(tmp_path):
    """The first pictures need a key frame that is not in the file: video-dev/hls.js#2378."""
    whole = film(tmp_path / "whole.ts", 150, f"{X264} -g 60 -x264-params scenecut=0")
    data = whole.read_bytes()
    tables, start = data[: 3 * 188], len(data) // 5 // 188 * 188
    joined_late = tmp_path / "late.ts"
    joined_late.write_bytes(tables + data[start:])
    source = probe(joined_late, stage="cut")
    assert source.width == WIDTH
    numbers = cut_numbers(joined_late, source.begin_s, source.begin_s + 0.5)
    assert numbers == list(range(numbers[0], numbers[0] + 15))
    assert numbers[0] % 60 == 0


def test_pictures_before_the_key_frame_that_they_need(tmp_path):
    """A seek to a key frame that is shown after pictures that follow it: FFMS/ffms2#403,
    meta-pytorch/torchcodec#180."""
    options = f"{X264} -g 48 -bf 8 -x264-params b-adapt=0:open-gop=1:scenecut=0:b-pyramid=normal"
    video = film(tmp_path / "v.mp4", 150, options)
    for first in range(40, 56, 3):
        start_s = round(first / 30, 4)
        assert cut_numbers(video, start_s, start_s + 0.2) == list(range(first, first + 6))


def test_key_frames_that_are_none(tmp_path):
    """Intra refresh: marked as key frames, but whole only some time after: rockchip-linux/mpp#523,
    SuRGeoNix/Flyleaf#714."""
    video = film(
        tmp_path / "v.mp4", 200, f"{X264} -x264-params intra-refresh=1:keyint=60:bframes=0"
    )
    for first in (65, 75, 110, 130, 170):
        start_s = round(first / 30, 4)
        assert cut_numbers(video, start_s, start_s + 0.2) == list(range(first, first + 6))


def test_a_start_between_two_frames_doubles_none(tmp_path):
    """29.97 frames a second: the first two frames were the same: facebookresearch/SlowFast#182."""
    video = film(tmp_path / "v.mp4", 150, f"{X264} -bf 2", NTSC)
    for start_s in (1.0, 1.01, 1.02, 1.03, 2.345):
        numbers = cut_numbers(video, start_s, start_s + 1)
        first = ceil(start_s * NTSC)
        assert numbers == list(range(first, first + 30))


def test_a_duration_of_nonsense_in_the_header(tmp_path):
    """The length in `mdhd` is 30 times too short, as a browser writes it: NomaDamas/CozyClay#13."""
    good = film(tmp_path / "good.mp4", 150, f"{X264} -bf 2 -g 60").read_bytes()
    at = good.find(b"mdhd") + 20
    length = int.from_bytes(good[at : at + 4], "big")
    short = tmp_path / "short.mp4"
    short.write_bytes(good[:at] + (length // 30).to_bytes(4, "big") + good[at + 4 :])
    assert cut_numbers(short, 3, 4) == list(range(90, 120))
    assert read_video(short).seconds == pytest.approx(5, abs=0.05)


def test_a_recording_that_was_broken_off(tmp_path):
    """An AVI that promises more frames than it holds: meta-pytorch/torchcodec#1363."""
    whole = film(tmp_path / "whole.avi", 150, "-c:v mpeg4 -q:v 3 -bf 0 -g 30")
    half = tmp_path / "half.avi"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    assert cut_numbers(half, 1, 2) == list(range(30, 60))
    assert kind_of(half, 4, 5) is FailureClass.TOO_SHORT
    assert 2 < read_video(half).seconds < 4


def test_an_edit_list_with_another_time_scale(tmp_path, long_gop):
    """Its offset is in the track's ticks, its length in the film's: NVIDIA/cosmos-framework#201."""
    video = tmp_path / "v.mp4"
    ffmpeg("-ss", 3.1, "-i", long_gop, "-c", "copy", "-video_track_timescale", 1_000_000,
           "-movie_timescale", 1000, video)  # fmt: skip
    assert cut_numbers(video, 0, 1) == list(range(93, 123))
    assert cut_numbers(video, 2, 3) == list(range(153, 183))


def test_dolby_vision_without_a_picture_for_others_is_refused(tmp_path):
    """Profile 5 comes out green and purple everywhere else: mpv-player/mpv#10700,
    l984-451/Rivulet#234."""
    video = write_patches(tmp_path / "v.mp4", COLOURS["PQ"])
    data = video.read_bytes().replace(b"hev1", b"dvhe").replace(b"hvc1", b"dvh1")
    video.write_bytes(data)
    refused = failure(video, 0, None).failure
    assert refused.failure_class is FailureClass.DECODE
    assert "Dolby Vision" in refused.reason


def test_pixels_that_are_not_square(tmp_path):
    """A DVD is squeezed: streamyfin/streamyfin#1785, discord/lilliput#165."""
    video = film(tmp_path / "v.mpg", 30, f"{MPEG2} -s 352x288 -aspect 16:9", Fraction(25))
    source = probe(video, stage="cut")
    assert source.pixel_aspect == Fraction(16, 11)
    cut_clip(video, tmp_path / "cut.mp4", 0, 0.5, CutSettings())
    assert read_frames(tmp_path / "cut.mp4").shape[1:3] == (256, 456)


def test_a_webcam_recording_without_length_or_index(tmp_path):
    """As a browser's MediaRecorder writes it, with an unsteady rate:
    muaz-khan/RecordRTC#147, yusitnikov/fix-webm-duration#22."""
    jitter = "-vf setpts=(N/30+0.008*mod(N*7\\,3))/TB -fps_mode passthrough"
    video = film(tmp_path / "v.webm", 150, f"{jitter} -c:v libvpx -b:v 500k -g 100 -live 1")
    made = cut_clip(video, tmp_path / "cut.mp4", 2, 3, CutSettings())
    numbers = [number_of(frame) for frame in read_frames(tmp_path / "cut.mp4")]
    assert numbers == list(range(60, 90))
    assert float(made.fps) == pytest.approx(30, rel=0.02)
    assert read_video(video).seconds == pytest.approx(5, abs=0.1)


def test_pieces_of_an_mp4_are_on_the_clock_of_the_whole(tmp_path):
    """As cameras and streams write MP4, without an index: spupuz/VibeNVR#340,
    gpac/mp4box.js#360."""
    video = film(tmp_path / "v.mp4", 150, MATRIX["mp4, fragments"].options)
    assert not probe(video, stage="cut").indexed
    check_places(video, Fraction(30), [(1.0, 1.5), (3.3, 4.0)])


def test_messages_hold_no_addresses():
    from musclemap_data.extract.cut import _plain

    line = "[vist#0:0/h264 @ 0x55b87d914a00] [dec:h264 @ 0x55b87d9af0c0] [error] no frame!"
    assert _plain(line) == "vist#0:0/h264: dec:h264: no frame!"
    assert not re.search("0x", _plain("[h264 @ 0x7f] [error] left block unavailable"))
