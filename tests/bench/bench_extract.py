"""Extraction end to end against the plain pipeline that people write, clip by clip.

    python -m tests.bench.bench_extract [--clips 40] [--seconds 1] [--videos DIR] [--ours]

Plain: OpenCV decodes and shrinks, ``DualTVL1OpticalFlow_create()`` as it comes, JPEG files. It
computes no skeleton; ours does. Both run in this process on one thread, and take turns with every
clip. The clock is the processor's (ffmpeg's too), which other work on the machine cannot stretch;
the start of a process, once for all of its clips, is not in it. Clips are the real ones of
``../shared/real_clips`` if they are there, else the synthetic sample. Prints Markdown tables. With
``--ours`` the plain pipeline, which takes nearly all of the time, is left out. Ctrl-C ends it with
the tables of the clips that are done, which are spread over the list.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from musclemap_data.extract import clip
from musclemap_data.extract.source import probe
from musclemap_data.modalities import MODALITIES
from musclemap_data.modalities.settings import ExtractionSettings
from tests.conftest import REPOSITORY

REAL_CLIPS = REPOSITORY.parent / "shared" / "real_clips"
START_S = 0.1
GOLDEN = (5**0.5 - 1) / 2


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
    parser.add_argument("--ours", action="store_true", help="without the plain pipeline")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        videos = sorted(chosen.videos.glob("*.mp4")) if chosen.videos.is_dir() else []
        if not videos:
            from musclemap_data.sample.write import render_sample

            videos = sorted((render_sample(work / "sample").parent / "videos").glob("*.mp4"))
        videos = [video for video in videos if _length_s(video) >= START_S + chosen.seconds]
        videos = videos[:: max(1, len(videos) // chosen.clips)][: chosen.clips]
        spread = sorted(range(len(videos)), key=lambda number: number * GOLDEN % 1)
        videos = [videos[number] for number in spread]
        measure(work, videos, chosen.seconds, with_plain=not chosen.ours)


def _length_s(video: Path) -> float:
    return probe(video, stage="cut").duration_s or 0.0


def processor_s() -> float:
    """Seconds of the processor that this process and its ended children have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def measure(work: Path, videos: list[Path], seconds: float, with_plain: bool) -> None:
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
    with contextlib.suppress(KeyboardInterrupt):
        for number, video in enumerate(videos):
            spent, frames = {"plain": 0.0}, {"plain": 0}
            order = ("plain", "ours") if number % 2 else ("ours", "plain")
            for who in order if with_plain else ("ours",):
                before = processor_s()
                if who == "ours":
                    outcome = ours(video)
                    frames[who] = outcome.frames
                else:
                    frames[who] = plain_pipeline(video, seconds, work / "plain" / video.stem)
                spent[who] = processor_s() - before
            turn = Turn(video.stem, frames["plain"], spent["plain"], frames["ours"], spent["ours"])
            turns.append(turn)
            stages.update(outcome.seconds)
            left_s = (time.monotonic() - began) * (len(videos) / len(turns) - 1)
            against = f"{turn.ratio:.1f}x, {turn.plain_s:.1f} s against " if with_plain else ""
            print(
                f"  {len(turns)} of {len(videos)} {turn.name}: {against}{turn.ours_s:.2f} s, "
                f"about {left_s / 60:.0f} min left",
                flush=True,
            )
    print(f"\n{len(turns)} clips of {seconds:g} s, one thread, processor time\n")
    if with_plain:
        print_ratios(turns)
    frame_count = sum(turn.ours_frames for turn in turns)
    print(f"{1e3 * stages.total() / frame_count:.1f} ms a frame of ours, {frame_count} frames\n")
    print("| stage | ms a frame | share |\n|---|---:|---:|")
    for name, stage_s in stages.most_common():
        print(f"| {name} | {1e3 * stage_s / frame_count:.1f} | {stage_s / stages.total():.0%} |")


def print_ratios(turns: list[Turn]) -> None:
    """Both beside each other, as Markdown."""
    plain_s, ours_s = sum(t.plain_s for t in turns), sum(t.ours_s for t in turns)
    plain_frames, frames = sum(t.plain_frames for t in turns), sum(t.ours_frames for t in turns)
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


if __name__ == "__main__":
    main()
