"""Extraction end to end against the plain pipeline that people write, clip by clip.

    python -m tests.bench.bench_extract [--clips 40] [--seconds 1] [--videos DIR]

Plain: OpenCV decodes and shrinks, ``DualTVL1OpticalFlow_create()`` as it comes, JPEG files. It
computes no skeleton; ours does. Both run in this process on one thread, and take turns with every
clip. The clock is the processor's (ffmpeg's too), which other work on the machine cannot stretch;
the start of a process, once for all of its clips, is not in it. Clips are the real ones of
``../shared/real_clips`` if they are there, else the synthetic sample. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from musclemap_data.extract import clip
from musclemap_data.modalities import MODALITIES
from musclemap_data.modalities.settings import ExtractionSettings
from tests.conftest import REPOSITORY

REAL_CLIPS = REPOSITORY.parent / "shared" / "real_clips"
START_S = 0.1


@dataclass(frozen=True)
class Turn:
    """One clip made by both: frames of each, and seconds of the processor."""

    name: str
    plain_frames: int
    plain_s: float
    ours_frames: int
    ours_s: float

    @property
    def ratio(self) -> float:
        """How many times as fast ours is."""
        return self.plain_s / self.ours_s


def plain_pipeline(video: Path, seconds: float, out: Path) -> int:
    """One clip the plain way; returns its frames."""
    capture = cv2.VideoCapture(str(video))
    fps = capture.get(cv2.CAP_PROP_FPS)
    capture.set(cv2.CAP_PROP_POS_FRAMES, round(START_S * fps))
    solver = cv2.optflow.DualTVL1OpticalFlow_create()  # type: ignore[attr-defined]
    out.mkdir(parents=True)
    previous = previous_grey = None
    count = round(seconds * fps)
    for t in range(count):
        found, frame = capture.read()
        if not found:
            return t
        scale = min(1.0, 256 / min(frame.shape[:2]))
        frame = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        quality = [cv2.IMWRITE_JPEG_QUALITY, 90]
        cv2.imwrite(str(out / f"rgb_{t:05d}.jpg"), frame, quality)
        if previous is not None:
            cv2.imwrite(str(out / f"diff_{t:05d}.jpg"), cv2.absdiff(frame, previous), quality)
            flow = solver.calc(previous_grey, grey, None)
            image = np.clip((flow + 20) * (255 / 40), 0, 255).astype(np.uint8)
            for axis, name in enumerate("uv"):
                cv2.imwrite(str(out / f"flow_{name}_{t:05d}.jpg"), image[..., axis], quality)
        previous, previous_grey = frame, grey
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--videos", type=Path, default=REAL_CLIPS)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        videos = sorted(chosen.videos.glob("*.mp4")) if chosen.videos.is_dir() else []
        if not videos:
            from musclemap_data.sample.write import render_sample

            videos = sorted((render_sample(work / "sample").parent / "videos").glob("*.mp4"))
        videos = videos[:: max(1, len(videos) // chosen.clips)][: chosen.clips]
        measure(work, videos, chosen.seconds)


def processor_s() -> float:
    """Seconds of the processor that this process and its ended children have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def measure(work: Path, videos: list[Path], seconds: float) -> None:
    """Run both on every clip in turns, and print the ratios and where our time goes."""
    cv2.setNumThreads(1)
    settings = ExtractionSettings()
    made = clip.describe_modalities(MODALITIES, settings)
    for folder in ("clips", "work"):
        (work / folder).mkdir()
    clip.time.perf_counter = processor_s  # type: ignore[attr-defined]

    def ours(video: Path) -> clip.Extracted:
        labels = {"url": "", "activity": "squat", "split": "train", "muscles": [False] * 20}
        fixed = {"clip_id": video.stem, "video_id": video.stem, "source_sha256": "", **labels}
        times = (START_S, START_S + seconds)
        outcome = clip.run_job(clip.make_job(work, fixed, video, times, made, settings))
        if not isinstance(outcome, clip.Extracted):
            raise SystemExit(f"a clip failed: {outcome}")
        return outcome

    ours(videos[0])  # compiles, and loads the networks
    stages: Counter[str] = Counter()
    turns: list[Turn] = []
    began = time.monotonic()
    for number, video in enumerate(videos):
        spent, frames = {}, {}
        for who in ("plain", "ours") if number % 2 else ("ours", "plain"):
            before = processor_s()
            if who == "ours":
                outcome = ours(video)
                frames[who] = outcome.frames
                stages.update(outcome.seconds)
            else:
                frames[who] = plain_pipeline(video, seconds, work / "plain" / video.stem)
            spent[who] = processor_s() - before
        turn = Turn(video.stem, frames["plain"], spent["plain"], frames["ours"], spent["ours"])
        turns.append(turn)
        left_s = (time.monotonic() - began) * (len(videos) / len(turns) - 1)
        print(
            f"  {len(turns)} of {len(videos)} {turn.name}: {turn.ratio:.1f}x ({turn.plain_s:.1f} s "
            f"against {turn.ours_s:.2f} s), about {left_s / 60:.0f} min left",
            flush=True,
        )
    print_tables(turns, stages, seconds)


def print_tables(turns: list[Turn], stages: Counter[str], seconds: float) -> None:
    """What was measured, as Markdown."""
    plain_s, ours_s = sum(t.plain_s for t in turns), sum(t.ours_s for t in turns)
    plain_frames, frames = sum(t.plain_frames for t in turns), sum(t.ours_frames for t in turns)
    print(f"\n{len(turns)} clips of {seconds:g} s, one thread, processor time\n")
    print("| pipeline | modalities | frames | s | ms a frame |\n|---|---|---:|---:|---:|")
    print(f"| plain | RGB, difference, flow | {plain_frames} | {plain_s:.1f} | "
          f"{1e3 * plain_s / plain_frames:.1f} |")  # fmt: skip
    print(f"| ours | RGB, difference, flow, skeleton | {frames} | {ours_s:.1f} | "
          f"{1e3 * ours_s / frames:.1f} |")  # fmt: skip
    least, lower, middle, upper, most = np.quantile(
        [t.ratio for t in turns], [0, 0.25, 0.5, 0.75, 1]
    )
    print(
        f"\nOurs is {plain_s / ours_s:.1f}x as fast in all. Clip by clip: median {middle:.1f}x, "
        f"half of them from {lower:.1f}x to {upper:.1f}x, all from {least:.1f}x to {most:.1f}x.\n"
    )
    print("| stage | ms a frame | share |\n|---|---:|---:|")
    for name, spent in stages.most_common():
        print(f"| {name} | {1e3 * spent / frames:.1f} | {spent / stages.total():.0%} |")


if __name__ == "__main__":
    main()
