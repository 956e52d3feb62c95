"""Extraction end to end against the plain pipeline that people write: the same clips and cores.

    python -m tests.bench.bench_extract [--clips 40] [--seconds 1] [--workers 2] [--videos DIR]

Plain: OpenCV decodes and shrinks, ``DualTVL1OpticalFlow_create()`` as it comes, JPEG files; in as
many processes, one thread each. It computes no skeleton; ours does. Clips are the real ones of
``../shared/real_clips`` if they are there, else the synthetic sample. The two take turns, ten
clips at a time, so that a machine that slows down slows both.

With ``--processor-time`` both run in this process, without its start, and the clock is that of the
processor (ffmpeg's too): for a machine that others use. The plain pipeline, which takes half a
minute a clip, then runs on every eighth clip, and ratios are those of the same clips.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from musclemap_data.download.videos import download_videos
from musclemap_data.extract import clip
from musclemap_data.extract.build import extract_modalities
from musclemap_data.manifest import Clip
from musclemap_data.modalities import MODALITIES
from musclemap_data.modalities.settings import ExtractionSettings
from tests.conftest import REPOSITORY

REAL_CLIPS = REPOSITORY.parent / "shared" / "real_clips"
TURN = 10


def plain_pipeline(job: tuple[str, float, float, str]) -> int:
    """One clip the plain way; returns its frames."""
    video, start_s, seconds, out = job
    cv2.setNumThreads(1)
    capture = cv2.VideoCapture(video)
    fps = capture.get(cv2.CAP_PROP_FPS)
    capture.set(cv2.CAP_PROP_POS_FRAMES, round(start_s * fps))
    solver = cv2.optflow.DualTVL1OpticalFlow_create()  # type: ignore[attr-defined]
    folder = Path(out)
    folder.mkdir(parents=True)
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
        cv2.imwrite(str(folder / f"rgb_{t:05d}.jpg"), frame, quality)
        if previous is not None:
            cv2.imwrite(str(folder / f"diff_{t:05d}.jpg"), cv2.absdiff(frame, previous), quality)
            flow = solver.calc(previous_grey, grey, None)
            image = np.clip((flow + 20) * (255 / 40), 0, 255).astype(np.uint8)
            for axis, name in enumerate("uv"):
                cv2.imwrite(str(folder / f"flow_{name}_{t:05d}.jpg"), image[..., axis], quality)
        previous, previous_grey = frame, grey
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--videos", type=Path, default=REAL_CLIPS)
    parser.add_argument("--processor-time", action="store_true", help="see above")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        videos = sorted(chosen.videos.glob("*.mp4")) if chosen.videos.is_dir() else []
        if not videos:
            from musclemap_data.sample.write import render_sample

            videos = sorted((render_sample(work / "sample").parent / "videos").glob("*.mp4"))
        videos = videos[:: max(1, len(videos) // chosen.clips)][: chosen.clips]
        if chosen.processor_time:
            measure_processor(work, videos, chosen.seconds)
        else:
            measure(work, videos, chosen.seconds, chosen.workers)


PLAIN_EVERY = 8


def processor_s() -> float:
    """Seconds of the processor that this process and its ended children have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def measure_processor(work: Path, videos: list[Path], seconds: float) -> None:
    """Print the processor time of both on the same clips, and where ours goes on all of them."""
    start_s = 0.1
    cv2.setNumThreads(1)
    settings = ExtractionSettings()
    made = clip.describe_modalities(MODALITIES, settings)
    for folder in ("clips", "work"):
        (work / folder).mkdir()
    clip.time.perf_counter = processor_s  # type: ignore[attr-defined]

    def ours(video: Path) -> clip.Extracted:
        labels = {"url": "", "activity": "squat", "split": "train", "muscles": [False] * 20}
        fixed = {"clip_id": video.stem, "video_id": video.stem, "source_sha256": "", **labels}
        times = (start_s, start_s + seconds)
        outcome = clip.run_job(clip.make_job(work, fixed, video, times, made, settings))
        if not isinstance(outcome, clip.Extracted):
            raise SystemExit(f"a clip failed: {outcome}")
        return outcome

    ours(videos[0])  # compiles, and loads the networks
    stages: dict[str, float] = {}
    both, frames = [], 0
    for number, video in enumerate(videos):
        began = processor_s()
        found = ours(video)
        spent = processor_s() - began
        frames += found.frames
        for stage, part in found.seconds.items():
            stages[stage] = stages.get(stage, 0.0) + part
        if number % PLAIN_EVERY == PLAIN_EVERY // 2:
            began = processor_s()
            plain_pipeline((str(video), start_s, seconds, str(work / "plain" / video.stem)))
            both.append((processor_s() - began, spent))
            print(f"  {video.stem}: {both[-1][0] / both[-1][1]:.1f}x", flush=True)
    total = sum(stages.values())
    print(f"\n{len(videos)} clips, {frames} frames: {1e3 * total / frames:.1f} ms a frame")
    for name, spent in sorted(stages.items(), key=lambda item: -item[1]):
        print(f"  {name}: {1e3 * spent / frames:.1f} ms a frame, {spent / total:.0%}")
    if both:
        plain_s, ours_s = (sum(each) for each in zip(*both, strict=True))
        print(f"Ours is {plain_s / ours_s:.1f}x as fast on {len(both)} clips, by processor time.")


def measure(work: Path, videos: list[Path], seconds: float, workers: int) -> None:
    """Run both, in turns; print clips/s, the ratio and where our time goes."""
    start_s = 0.1
    ours_s = plain_s = 0.0
    ours_frames = plain_frames = 0
    stages: dict[str, float] = {}
    warm_up(work, videos[0])
    for number, first in enumerate(range(0, len(videos), TURN)):
        turn = videos[first : first + TURN]
        data = work / f"ours_{number}"
        clips = [
            Clip(v.stem, v.stem, v.name, start_s, start_s + seconds, "squat", "train") for v in turn
        ]
        download_videos(clips, turn[0].parent, data)
        began = time.perf_counter()
        report = extract_modalities(data, workers=workers)
        ours_s += time.perf_counter() - began
        if report.failed:
            raise SystemExit(f"a clip failed: {report.failed}")
        ours_frames += report.frames
        for stage, spent in report.seconds.items():
            stages[stage] = stages.get(stage, 0.0) + spent
        jobs = [(str(v), start_s, seconds, str(work / "plain" / v.stem)) for v in turn]
        began = time.perf_counter()
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            plain_frames += sum(pool.imap_unordered(plain_pipeline, jobs))
        plain_s += time.perf_counter() - began
        print(f"  {first + len(turn)} of {len(videos)} clips: {plain_s / ours_s:.1f}x", flush=True)
    count = len(videos)
    print(f"\n{count} clips of {seconds:g} s, {workers} processes, one thread each\n")
    print("| pipeline | modalities | frames | s | clips/s | frames/s |")
    print("|---|---|---:|---:|---:|---:|")
    for name, what, frames, spent in (
        ("plain", "RGB, difference, flow", plain_frames, plain_s),
        ("ours", "RGB, difference, flow, skeleton", ours_frames, ours_s),
    ):
        rate, frame_rate = count / spent, frames / spent
        print(f"| {name} | {what} | {frames} | {spent:.1f} | {rate:.2f} | {frame_rate:.1f} |")
    print(f"\nOurs is {plain_s / ours_s:.1f}x as fast, start of the processes included.")
    total = sum(stages.values())
    shares = sorted(stages.items(), key=lambda item: -item[1])
    print("Our time by stage: " + ", ".join(f"{name} {s / total:.0%}" for name, s in shares))


def warm_up(work: Path, video: Path) -> None:
    """Compile the flow solver and fetch the pose model before the clock runs."""
    clips = [Clip("warm", "warm", video.name, 0.1, 0.4, "squat", "train")]
    download_videos(clips, video.parent, work / "warm")
    extract_modalities(work / "warm", workers=1)


if __name__ == "__main__":
    main()
