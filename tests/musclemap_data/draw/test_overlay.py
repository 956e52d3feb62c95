"""The overlay: as long as its video, the skeleton where the joints are, bars that follow time."""

from __future__ import annotations

import av
import numpy as np
import pytest

from musclemap_data.catalog import load_muscles
from musclemap_data.draw.overlay import draw_panel, write_overlay
from musclemap_data.draw.skeleton import RIGHT_COLOUR
from musclemap_data.draw.text import draw_text
from musclemap_data.errors import UserError
from musclemap_data.extract.windows import WindowedVideo
from tests.conftest import read_frames, write_video

REGIONS = len(load_muscles())


def skeleton(frames: int, x: float, y: float) -> np.ndarray:
    """All joints in one point: ``float32 [T, 1, 17, 3]``."""
    joints = np.full((frames, 1, 17, 3), 0.9, np.float32)
    joints[..., 0], joints[..., 1] = x, y
    return joints


@pytest.fixture
def found() -> WindowedVideo:
    """Two windows of a 2 s video, 96 x 64 px at 10 frames/s; the joints move from one to the other.

    In the second window no region is likely.
    """
    return WindowedVideo(
        windows=[(0.0, 1.2), (0.8, 2.0)],
        fps=10.0,
        height=64,
        width=96,
        skeletons=[skeleton(12, 24, 16), skeleton(12, 72, 48)],
        person_shares=[1.0, 1.0],
        qualities=[(0.9, []), (0.9, [])],
        failed={},
    )


def from_joint_colour(frame: np.ndarray, x: float, y: float) -> float:
    """How far the pixels around a point are from the colour of the joint that is drawn last."""
    near = frame[round(y) - 3 : round(y) + 4, round(x) - 3 : round(x) + 4].astype(float)
    return float(np.abs(near - RIGHT_COLOUR).mean())


def test_the_overlay_plays_anywhere_and_follows_the_video(tmp_path, found):
    video = write_video(tmp_path / "video.mp4", seconds=2.0)
    scores = np.stack([np.full(REGIONS, 0.9), np.full(REGIONS, 0.1)])
    seen: list[int] = []
    frames_done = []
    (tmp_path / "work").mkdir()
    write_overlay(
        tmp_path / "overlay.mp4", video, found, scores, [True, True], 0.5,
        work_dir=tmp_path / "work", on_total=seen.append, on_frame=lambda: frames_done.append(1),
    )  # fmt: skip
    assert seen == [20]
    assert len(frames_done) == 20
    assert list((tmp_path / "work").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["overlay.mp4", "video.mp4", "work"]
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == 10
        assert not container.streams.audio
    frames = read_frames(tmp_path / "overlay.mp4")
    assert len(frames) == 20
    assert frames.shape[1] == 480  # 64 px enlarged: the words beside it must be readable
    scale = 480 / 64
    for number, here, there in ((3, (24, 16), (72, 48)), (16, (72, 48), (24, 16))):
        frame = frames[number]
        assert from_joint_colour(frame, *(scale * p for p in here)) < 25
        assert from_joint_colour(frame, *(scale * p for p in there)) > 50
    panels = frames[:, :, round(96 * scale) :].astype(float)
    redness = (panels[..., 0] - panels[..., 1]).mean(axis=(1, 2))
    assert redness[2] > redness[9] > redness[17]  # first window, both, second window


def test_text_stays_in_the_picture_and_any_letters_can_be_asked_for():
    picture = np.full((40, 120, 3), 255, np.uint8)
    draw_text(picture, 60, 26, "triceps 43%", 14, anchor="m")
    dark = np.argwhere(picture.min(axis=2) < 128)
    assert 10 <= dark[:, 0].min() < 26 <= dark[:, 0].max() + 4
    assert abs(dark[:, 1].mean() - 60) < 6
    bold = np.full_like(picture, 255)
    draw_text(bold, 60, 26, "triceps 43%", 14, anchor="m", bold=True)
    assert bold.sum() < picture.sum()
    for x, y in ((-500, 20), (500, 20), (118, 20), (60, -90), (60, 400), (-20, 2)):
        draw_text(picture, x, y, "Übung 深蹲", 14)  # neither letters nor place do harm


def test_time_that_does_not_count_shows_no_probabilities():
    values = np.full(REGIONS, 0.9)
    judged = draw_panel(480, values, range(REGIONS), 0.5)
    empty = draw_panel(480, np.full(REGIONS, np.nan), range(REGIONS), 0.5)
    assert judged.shape == empty.shape
    colourful = [int(np.ptp(panel.astype(int), axis=2).max()) for panel in (judged, empty)]
    assert colourful[0] > 100
    assert colourful[1] < 30


@pytest.mark.parametrize("height", [480, 720, 1280, 1562])
@pytest.mark.parametrize("regions", [4, REGIONS])
def test_the_panel_drops_no_region_without_a_word(monkeypatch, height, regions):
    said: list[str] = []

    def note(picture, x, y, text, *_, **__):
        said.append(text)
        assert 0 < y < height

    monkeypatch.setattr("musclemap_data.draw.overlay.draw_text", note)
    draw_panel(height, np.linspace(0, 1, REGIONS), range(regions), 0.5, "a note")
    names = {muscle.name for muscle in load_muscles()}
    barred = sum(text in names for text in said)
    hidden = [int(text.split()[1]) for text in said if text.endswith("more: see timeline.png")]
    assert barred + sum(hidden) == regions
    assert barred >= 1


@pytest.mark.parametrize("height", [480, 720, 1280, 1562])
def test_the_panel_fits_beside_any_video(height):
    panel = draw_panel(height, np.linspace(0, 1, REGIONS), range(REGIONS), 0.5, "a note")
    assert panel.shape[0] == height
    assert panel.shape[1] % 2 == 0
    assert 300 <= panel.shape[1] <= 480


def test_a_folder_that_is_not_there_is_told_and_nothing_is_left(tmp_path, found):
    video = write_video(tmp_path / "video.mp4", seconds=2.0)
    missing = tmp_path / "gone" / "overlay.mp4"
    with pytest.raises(UserError, match="ffmpeg could not write"):
        write_overlay(
            missing, video, found, np.full((2, REGIONS), 0.5), [True, True], 0.5, work_dir=tmp_path
        )
