"""Exact cuts: which frames, which size, which rate; and what ffmpeg may not do."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from musclemap_data.errors import FailureClass, StageError
from musclemap_data.extract.cut import cut_clip
from musclemap_data.extract.source import probe
from musclemap_data.modalities.settings import CutSettings
from tests.conftest import read_frames


def grey_ramp(path, *, frames=60, fps=10, size=(96, 64), rate_out=None, audio_only=False):
    """A video whose frame n has the grey value 4 n: a frame tells its own number."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "1", "g": "17"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for n in range(frames):
            image = np.full((size[1], size[0], 3), 4 * n, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def frame_numbers(path) -> list[int]:
    return [round(float(frame.mean()) / 4) for frame in read_frames(path)]


@pytest.mark.parametrize(("start_s", "end_s"), [(0.0, 1.0), (1.3, 2.9), (2.0, 2.1), (4.9, 6.0)])
def test_a_cut_holds_exactly_the_frames_asked_for(tmp_path, start_s, end_s):
    video = grey_ramp(tmp_path / "v.mp4")
    rate = cut_clip(video, tmp_path / "c.mp4", start_s, end_s, CutSettings()).fps
    assert rate == 10
    assert frame_numbers(tmp_path / "c.mp4") == list(range(round(start_s * 10), round(end_s * 10)))


def test_without_an_end_it_goes_to_the_end(tmp_path):
    video = grey_ramp(tmp_path / "v.mp4")
    cut_clip(video, tmp_path / "c.mp4", 5.5, None, CutSettings())
    assert frame_numbers(tmp_path / "c.mp4") == [55, 56, 57, 58, 59]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((640, 360), (256, 456)),
        ((360, 640), (456, 256)),
        ((320, 240), (240, 320)),
        ((98, 66), (66, 98)),
    ],
)
def test_short_side_is_256_and_small_videos_keep_their_size(tmp_path, size, expected):
    video = grey_ramp(tmp_path / "v.mp4", frames=4, size=size)
    cut_clip(video, tmp_path / "c.mp4", 0, None, CutSettings())
    assert read_frames(tmp_path / "c.mp4").shape == (4, *expected, 3)


def test_fast_videos_are_thinned_and_slow_ones_kept(tmp_path):
    fast = grey_ramp(tmp_path / "fast.mp4", fps=60)
    assert cut_clip(fast, tmp_path / "c.mp4", 0, 1, CutSettings()).fps == Fraction(30)
    numbers = frame_numbers(tmp_path / "c.mp4")
    assert len(numbers) == 30
    assert np.allclose(np.diff(numbers), 2)
    slow = grey_ramp(tmp_path / "slow.mp4", fps=5, frames=10)
    assert cut_clip(slow, tmp_path / "d.mp4", 0, 2, CutSettings()).fps == Fraction(5)
    assert len(frame_numbers(tmp_path / "d.mp4")) == 10


def test_the_same_cut_is_the_same_bytes(tmp_path):
    video = grey_ramp(tmp_path / "v.mp4")
    for name in ("a", "b"):
        cut_clip(video, tmp_path / f"{name}.mp4", 1, 3, CutSettings())
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize(("start_s", "end_s"), [(3.0, 20.0), (50.0, 51.0)])
def test_a_video_that_ends_early_is_too_short(tmp_path, start_s, end_s):
    video = grey_ramp(tmp_path / "v.mp4")
    with pytest.raises(StageError, match="too-short") as caught:
        cut_clip(video, tmp_path / "c.mp4", start_s, end_s, CutSettings())
    assert caught.value.failure.failure_class is FailureClass.TOO_SHORT
    assert not list(tmp_path.glob("*c*"))


def test_a_few_missing_frames_are_forgiven(tmp_path):
    video = grey_ramp(tmp_path / "v.mp4")
    cut_clip(video, tmp_path / "c.mp4", 1.0, 6.4, CutSettings())
    assert len(frame_numbers(tmp_path / "c.mp4")) == 50


def test_a_playlist_in_disguise_opens_no_other_file(tmp_path):
    grey_ramp(tmp_path / "secret.mp4")
    concat = tmp_path / "v.mp4"
    concat.write_text("ffconcat version 1.0\nfile secret.mp4\n")
    with pytest.raises(StageError):
        cut_clip(concat, tmp_path / "c.mp4", 0, None, CutSettings())
    hls = tmp_path / "w.mp4"
    hls.write_text("#EXTM3U\n#EXTINF:6,\nsecret.mp4\n#EXT-X-ENDLIST\n")
    with pytest.raises(StageError):
        cut_clip(hls, tmp_path / "c.mp4", 0, None, CutSettings())
    assert not (tmp_path / "c.mp4").exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"", "not-a-video"), (b"<html></html>", "not-a-video"), (b"\0\1\2\xff" * 400, "decode")],
)
def test_what_is_no_video_has_its_class(tmp_path, content, expected):
    path = tmp_path / "v.mp4"
    path.write_bytes(content)
    with pytest.raises(StageError) as caught:
        probe(path, stage="cut")
    assert str(caught.value.failure.failure_class) == expected


def test_sound_alone_is_no_video(tmp_path):
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        samples = np.zeros((1, 16000), np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(StageError, match="no video stream"):
        probe(path, stage="cut")


def test_a_rotated_phone_video_is_upright(tmp_path):
    """Rotation lives in metadata; the cut has it applied."""
    import subprocess

    from musclemap_data.ffmpeg import ffmpeg_binary

    video = grey_ramp(tmp_path / "v.mp4", frames=5, size=(320, 180))
    rotated = tmp_path / "r.mp4"
    subprocess.run(
        [ffmpeg_binary(), "-loglevel", "error", "-display_rotation", "90", "-i", video]
        + ["-c", "copy", rotated],
        check=True,
    )
    cut_clip(rotated, tmp_path / "c.mp4", 0, None, CutSettings())
    assert read_frames(tmp_path / "c.mp4").shape == (5, 320, 180, 3)
