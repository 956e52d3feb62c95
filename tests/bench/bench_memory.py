"""Peak memory of extraction: a ten-minute clip against a ten-second one (Linux only).

    python -m tests.bench.bench_memory [--long-s 600] [--modalities rgb,rgb-diff,flow,skeleton]

The video is ffmpeg's test pattern with noise, 456 x 256 at 30 frames/s. Peaks are of the largest
process: resident (with files it maps, which the system takes back when it needs room) and
anonymous (which it cannot).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from musclemap_data.download.videos import download_videos
from musclemap_data.ffmpeg import ffmpeg_binary
from musclemap_data.manifest import Clip
from tests.conftest import REPOSITORY


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short-s", type=float, default=10)
    parser.add_argument("--long-s", type=float, default=600)
    parser.add_argument("--modalities", default="rgb,rgb-diff,flow,skeleton")
    chosen = parser.parse_args()
    peaks = []
    print("| clip | frames | s | resident MB | anonymous MB |\n|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        # The first run only compiles and caches.
        for name, seconds in (("", 0.5), ("short", chosen.short_s), ("long", chosen.long_s)):
            data = Path(folder) / f"data_{name}"
            video = test_video(Path(folder) / f"v{name}.mp4", seconds)
            clip = Clip("c", "v", video.name, 0, None, "squat", "train")
            download_videos([clip], video.parent, data)
            took_s, resident, anonymous = run(data, chosen.modalities)
            if name:
                peaks.append((resident, anonymous))
                frames = round(seconds * 30)
                print(f"| {seconds:g} s | {frames} | {took_s:.0f} | {resident} | {anonymous} |",
                      flush=True)  # fmt: skip
    short, long = peaks
    print(f"\nlong / short: resident {long[0] / short[0]:.2f}, anonymous {long[1] / short[1]:.2f}")


def test_video(path: Path, seconds: float) -> Path:
    subprocess.run(
        [ffmpeg_binary(), "-loglevel", "error", "-f", "lavfi"]
        + ["-i", f"testsrc2=size=456x256:rate=30:duration={seconds},noise=alls=12:allf=t"]
        + ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", str(path)],
        check=True,
    )
    return path


def run(data: Path, modalities: str) -> tuple[float, int, int]:
    """Extract in a process; returns seconds and the peaks (MB) of its largest process."""
    began = time.perf_counter()
    words = [
        "extract-modalities",
        "--data",
        str(data),
        "--workers",
        "1",
        "--modalities",
        modalities,
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", *words],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    resident = anonymous = 0
    while process.poll() is None:
        for pid in family(process.pid):
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            values = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
            resident = max(resident, kilobytes(values.get("VmHWM", "0 kB")))
            anonymous = max(anonymous, kilobytes(values.get("RssAnon", "0 kB")))
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"extraction ended with exit code {process.returncode}")
    return time.perf_counter() - began, resident // 1024, anonymous // 1024


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for parent in found:
        try:
            tasks = Path(f"/proc/{parent}/task").iterdir()
            for task in tasks:
                found += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


def kilobytes(text: str) -> int:
    return int(text.split()[0])


if __name__ == "__main__":
    main()
