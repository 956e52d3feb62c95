"""Fixtures for all tests: the real data beside the checkout, tiny videos, a loopback server."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import settings

from musclemap_data.extract.decode import iterate_frames
from musclemap_data.ffmpeg import ffmpeg_binary
from musclemap_data.sample.serve import serve_folder
from tests.browser import chromium_page  # noqa: F401  (a fixture)

# A busy machine is no failure.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of real data beside the checkout; tests that need it are skipped without it."""
    path = REPOSITORY.parent / "shared"
    if not path.is_dir():
        pytest.skip("the real data (../shared) is not here")
    return path


def write_video(
    path: Path, *, seconds: float = 1.0, fps: int = 10, width: int = 96, height: int = 64, seed=0
) -> Path:
    """A tiny H.264 video of a bright square that moves over clouds; the same bytes every time."""
    import cv2

    clouds = np.random.default_rng(seed).integers(0, 120, (8, 12, 3), dtype=np.uint8)
    background = cv2.resize(clouds, (width, height), interpolation=cv2.INTER_CUBIC)
    frames = []
    for t in range(round(seconds * fps)):
        frame = background.copy()
        side = height // 4
        x = (t * 2 + seed) % (width - side)
        frame[side : 2 * side, x : x + side] = (230, 200, 40)
        frames.append(frame.tobytes())
    path.parent.mkdir(parents=True, exist_ok=True)
    # A fresh ffmpeg process each time: libx264 inside this one does not repeat its bytes.
    subprocess.run(
        [ffmpeg_binary(), "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
        + ["-s", f"{width}x{height}", "-r", str(fps), "-i", "-", "-c:v", "libx264", "-crf", "20"]
        + ["-pix_fmt", "yuv420p", "-threads", "1", "-fflags", "+bitexact", str(path)],
        input=b"".join(frames),
        check=True,
    )
    return path


def read_frames(path: Path) -> npt.NDArray[np.uint8]:
    """All frames of a video, uint8 [T, H, W, 3] RGB."""
    return np.stack(list(iterate_frames(path)))


@pytest.fixture
def make_video() -> Callable[..., Path]:
    return write_video


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """A function that serves a folder over HTTP on loopback until the end of the test."""
    with ExitStack() as stack:
        yield lambda folder: stack.enter_context(serve_folder(folder))
