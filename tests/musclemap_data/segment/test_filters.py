"""Copies of clips are found, also mirrored and cropped ones; black bars are told."""

from __future__ import annotations

import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from musclemap_data.ffmpeg import ffmpeg_binary
from musclemap_data.segment.filters import (
    FILTERS,
    FRAMES,
    apply_findings,
    find_alike,
    read_pictures,
    write_sheet,
)
from musclemap_data.segment.overlaid import find_lines
from musclemap_data.segment.proposals import Proposal


def changed(source: Path, filters: str) -> Path:
    made = source.with_name(f"{filters.replace('=', '_').replace(':', '_')}.mp4")
    words = [ffmpeg_binary(), "-loglevel", "error", "-i", str(source), "-vf", filters, str(made)]
    subprocess.run(words, check=True)
    return made


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> list[Path]:
    """A picture that moves, its copies, and another."""
    folder = tmp_path_factory.mktemp("videos")
    made = []
    for name, seed in (("one", 1), ("other", 2)):
        # Patches that wander, as a scene does.
        draw = np.random.default_rng(seed)
        small = draw.integers(0, 255, (12, 16, 3), np.uint8)
        frames = [
            np.kron(np.roll(small, n // 10, 1), np.ones((20, 20, 1), np.uint8)) for n in range(50)
        ]
        words = [ffmpeg_binary(), "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "bgr24"]
        words += ["-s", "320x240", "-r", "25", "-i", "-", "-pix_fmt", "yuv420p"]
        made.append(folder / f"{name}.mp4")
        data = np.stack(frames).tobytes()
        subprocess.run([*words, str(made[-1])], input=data, check=True)
    one = made[0]
    return [one, changed(one, "scale=160:120"), changed(one, "hflip"),
            changed(one, "crop=288:216"), changed(one, "pad=320:320:0:40"), made[1]]  # fmt: skip


def clips(videos: list[Path]) -> list[Proposal]:
    """The first is the surest."""
    return [
        Proposal(str(video), video.stem, f"s_{n}", 0.1, 1.9, "squat", confidence=0.9 - n / 100)
        for n, video in enumerate(videos)
    ]


@pytest.mark.slow
def test_copies_smaller_mirrored_and_cropped_are_left_out_and_another_video_is_not(videos):
    proposals = clips(videos)
    pictures = [read_pictures(video, p) for video, p in zip(videos, proposals, strict=True)]
    assert all(len(shown) == FRAMES for shown in pictures)
    findings = FILTERS["copies"](proposals, pictures)
    said = {finding.index: finding.says for finding in findings}
    assert said == {1: "copy of s_0", 2: "mirrored copy of s_0", 3: "cropped copy of s_0",
                    4: "copy of s_0"}  # fmt: skip
    after = apply_findings(proposals, findings)
    assert [bool(p.left_out) for p in after] == [False, True, True, True, True, False]


@pytest.mark.slow
def test_black_bars_are_recorded_and_leave_nothing_out(videos, tmp_path):
    proposals = clips(videos)
    pictures = [read_pictures(video, p) for video, p in zip(videos, proposals, strict=True)]
    findings = FILTERS["bars"](proposals, pictures)
    assert [finding.index for finding in findings] == [4]
    assert findings[0].says == "black bars take 25% of the picture"
    after = apply_findings(proposals, findings)
    assert not any(p.left_out for p in after) and after[4].reasons == (findings[0].says,)
    write_sheet(tmp_path / "sheet.png", proposals, pictures, findings)
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_a_clip_that_cannot_be_read_is_no_copy(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    proposals = clips([tmp_path / "text.mp4"] * 2)
    pictures = [read_pictures(tmp_path / "text.mp4", p) for p in proposals]
    assert [len(shown) for shown in pictures] == [0, 0]
    assert all(find(proposals, pictures) == [] for find in FILTERS.values())


def scene(text: str = "", *, bars: int = 0) -> np.ndarray:
    """Five frames of somebody, a blob, who moves before a wall; a caption and wall bars stay."""
    frames = []
    for number in range(FRAMES):
        frame = np.full((240, 320, 3), 90, np.uint8)
        for bar in range(bars):
            cv2.line(frame, (100 + 12 * bar, 60), (100 + 12 * bar, 180), (220, 220, 220), 2)
        cv2.ellipse(frame, (140 + 10 * number, 120), (40, 80), 0, 0, 360, (60, 40, 150), -1)
        cv2.putText(frame, text, (90, 130), cv2.FONT_HERSHEY_DUPLEX, 0.8, (255, 255, 255), 2)
        frames.append(frame)
    draw = np.random.default_rng(0)
    noisy = np.stack(frames).astype(int) + draw.integers(-3, 4, (FRAMES, 240, 320, 3))
    return noisy.clip(0, 255).astype(np.uint8)


def test_text_is_told_where_it_lies_over_the_person_and_wall_bars_are_none():
    person, elsewhere = (0.3, 0.2, 0.7, 0.9), (0.75, 0.2, 1.0, 0.9)
    shown = [scene("PUSH UPS"), scene("PUSH UPS"), scene(), scene(bars=9), scene("PUSH UPS")]
    boxes = [person, elsewhere, person, person, ()]
    proposals = [
        Proposal("v", "v", f"s_{n}", 0, 2, "squat", box=box) for n, box in enumerate(boxes)
    ]
    findings = FILTERS["text"](proposals, shown)
    assert [(f.index, f.says, f.leaves_out) for f in findings] == [
        (0, "text over the person", False)
    ]
    line = find_lines(shown[0])[0]  # what lies between bright letters may look like dark ones
    assert line == pytest.approx((90 / 320, 110 / 240, 215 / 320, 132 / 240), abs=0.05)


def test_one_picture_for_the_whole_clip_is_left_out_and_a_little_movement_is_not():
    frozen = np.repeat(scene()[:1], FRAMES, 0)
    codec = [cv2.imencode(".jpg", frozen[0], [cv2.IMWRITE_JPEG_QUALITY, q])[1]
             for q in (60, 70, 75, 80, 85)]  # fmt: skip
    again = np.stack([cv2.imdecode(data, cv2.IMREAD_COLOR) for data in codec])
    nods = frozen.copy()
    for number, frame in enumerate(nods):
        cv2.circle(frame, (140, 30 + 4 * number), 12, (200, 200, 200), -1)
    proposals = clips([Path("a"), Path("b"), Path("c")])
    findings = FILTERS["still"](proposals, [frozen, again, nods])
    assert [(f.index, f.says, f.leaves_out) for f in findings] == [
        (0, "a still picture", True), (1, "a still picture", True),
    ]  # fmt: skip


def test_only_clips_of_different_videos_that_are_no_holds_are_compared():
    squat, lunge = np.float32([1, 2, 3]), np.float32([3, -1, 0])
    proposals = [
        Proposal("v", video, f"s_{n}", 0, 2, hold=hold)
        for n, (video, hold) in enumerate(
            [("a", False), ("a", False), ("b", False), ("b", True), ("c", False), ("d", False)]
        )
    ]
    features = [squat, squat, 2 * squat, squat, lunge, None]
    findings = find_alike(proposals, features)
    assert [(f.index, f.like, f.leaves_out) for f in findings] == [(2, 0, False)]
    assert find_alike(proposals[:1], features[:1]) == []
