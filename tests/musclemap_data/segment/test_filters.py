"""Copies of clips are found, also mirrored and cropped ones; black bars are told."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from musclemap_data.ffmpeg import ffmpeg_binary
from musclemap_data.segment.filters import (
    FILTERS,
    FRAMES,
    apply_findings,
    read_pictures,
    write_sheet,
)
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
    assert FILTERS["copies"](proposals, pictures) == FILTERS["bars"](proposals, pictures) == []
