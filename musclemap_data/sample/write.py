"""Renders the embedded sample into a folder: videos, manifest and, on request, ground truth."""

from __future__ import annotations

import csv
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path

import av
import cv2
import numpy as np

from musclemap_data.catalog import SYNTHETIC_PREFIX
from musclemap_data.files import replacing
from musclemap_data.manifest import COLUMNS
from musclemap_data.sample.plan import (
    SAMPLE_SIZES,
    ClipPlan,
    SampleSize,
    VideoPlan,
    plan_sample,
)
from musclemap_data.sample.video import SyntheticVideo

NOTE = """This folder holds SYNTHETIC workout videos, rendered by MuscleMap's embedded sample.
The person, the room and the motion are drawn by a program; nobody was filmed.
They show that the tools work. Scores on them say nothing about real videos.
"""

Progress = Callable[[int, int], None]
Row = dict[str, str]


def render_sample(
    out_dir: Path | str,
    *,
    size: str | SampleSize = "default",
    seed: int = 0,
    workers: int = 2,
    truth: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Renders the synthetic sample.

    Writes ``videos/NAME.mp4`` (H.264), ``manifest.csv`` (its urls are paths relative to itself),
    ``README.txt`` and, with ``truth``, ``truth/NAME.npz``. The pixels depend on ``size`` and
    ``seed`` only, not on ``workers``. A script that calls this with more than one worker needs the
    usual ``if __name__ == "__main__":``.

    Args:
        out_dir: created if absent; files of the same names are replaced.
        size: a name in ``SAMPLE_SIZES``, or own figures.
        seed: another seed, other people, rooms and motions.
        workers: processes.
        truth: also write the ground truth, see ``write_video``.
        progress: called with (videos done, videos in all) after every video.

    Returns:
        The path of the manifest.

    Raises:
        ValueError: an unknown size, or fewer than one worker.
    """
    if isinstance(size, str):
        if size not in SAMPLE_SIZES:
            raise ValueError(f"unknown sample size {size!r}; choose one of {sorted(SAMPLE_SIZES)}")
        size = SAMPLE_SIZES[size]
    if workers < 1:
        raise ValueError(f"workers is {workers}, but at least 1 process is needed")
    out = Path(out_dir)
    (out / "videos").mkdir(parents=True, exist_ok=True)
    if truth:
        (out / "truth").mkdir(exist_ok=True)
    plans = plan_sample(size, seed)
    rows: dict[str, list[Row]] = {}

    def done(plan: VideoPlan, video_rows: list[Row]) -> None:
        rows[plan.video_id] = video_rows
        if progress is not None:
            progress(len(rows), len(plans))

    if workers == 1:
        for plan in plans:
            done(plan, write_video(plan, size, out, truth))
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            futures = {pool.submit(write_video, plan, size, out, truth): plan for plan in plans}
            for future in as_completed(futures):
                done(futures[future], future.result())
    manifest = out / "manifest.csv"
    with replacing(manifest) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for plan in plans:
            writer.writerows(rows[plan.video_id])
    (out / "README.txt").write_text(NOTE, encoding="utf-8")
    return manifest


def render_exercise(activity: str, out: Path, *, seconds: float = 7.0, seed: int = 0) -> Path:
    """Renders one synthetic person doing one exercise.

    Args:
        activity: of ``EXERCISES``; tools are drawn, see ``tools.py``.
        out: folder; ``videos/synthetic_ACTIVITY.mp4`` is written in it.
        seconds: the video has whole repetitions that last at least so long.
        seed: another one, another person, room and manner.
    """
    size = replace(SAMPLE_SIZES["default"], clip_s=seconds, pause_s=0.0)
    clips = (ClipPlan(activity, "test_known"),)
    plan = VideoPlan(f"{SYNTHETIC_PREFIX}{activity}", (seed, len(activity)), clips)
    (out / "videos").mkdir(parents=True, exist_ok=True)
    write_video(plan, size, out, truth=False)
    return out / "videos" / f"{plan.video_id}.mp4"


def write_video(plan: VideoPlan, size: SampleSize, out: Path, truth: bool) -> list[Row]:
    """Renders one video and returns its rows of the manifest.

    With ``truth``, ``truth/VIDEO_ID.npz`` holds:
        joints: float32 [T, 17, 3] COCO-17 x, y (pixels) and visibility (0 or 1);
        phase: float32 [T], share of the repetition, -1 in pauses;
        clip: int32 [T], number of the clip in the video, -1 in pauses;
        flow_frames: int32 [K]; flow: float32 [K, H, W, 2] pixels, from that frame to the next;
        flow_visible, flow_body: bool [K, H, W], see ``truth.Flow``;
        fps: float.
    """
    cv2.setNumThreads(1)
    video = SyntheticVideo(plan, size)
    path = out / "videos" / f"{plan.video_id}.mp4"
    with replacing(path) as draft:
        _encode(video, draft)
    if truth:
        with replacing(out / "truth" / f"{plan.video_id}.npz") as draft:
            _write_truth(video, draft)
    rows = []
    # Times half-way between two frames: no rounding can move a cut by a frame.
    for number, (clip, (start, end)) in enumerate(zip(plan.clips, video.clip_frames, strict=True)):
        rows.append(
            {
                "clip_id": f"{plan.video_id}_{number:02d}",
                "video_id": plan.video_id,
                "url": f"videos/{path.name}",
                "start_s": f"{max(start - 0.5, 0.0) / size.fps:.4f}",
                "end_s": f"{(end - 0.5) / size.fps:.4f}",
                "activity": clip.activity,
                "split": clip.split,
            }
        )
    return rows


def _encode(video: SyntheticVideo, path: Path) -> None:
    # The same frames give the same file: one thread, bit-exact muxing, and no macroblock tree,
    # whose AVX-512 code gives other bits from run to run (x264 in the wheels of PyAV 18).
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        container.metadata["title"] = f"{video.plan.video_id} (synthetic)"
        container.metadata["comment"] = "synthetic: rendered by MuscleMap's embedded sample"
        options = {"crf": "18", "preset": "veryfast", "threads": "1", "g": "50"}
        options["x264-params"] = "mbtree=0"
        stream = container.add_stream("libx264", rate=Fraction(video.size.fps), options=options)
        stream.width, stream.height, stream.pix_fmt = video.size.width, video.size.height, "yuv420p"
        stream.codec_context.thread_count = 1
        for frame in range(video.frames):
            picture = av.VideoFrame.from_ndarray(video.image(frame), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def _write_truth(video: SyntheticVideo, path: Path) -> None:
    clip_of = np.full(video.frames, -1, np.int32)
    chosen: list[int] = []
    for number, (start, end) in enumerate(video.clip_frames):
        clip_of[start:end] = number
        count = video.size.flow_frames
        chosen += [start + (end - start - 1) * (k + 1) // (count + 1) for k in range(count)]
    flows = [video.flow(frame) for frame in chosen]
    np.savez_compressed(
        path,
        joints=np.stack([video.joints(frame) for frame in range(video.frames)]),
        phase=np.array([video.phase(frame) for frame in range(video.frames)], np.float32),
        clip=clip_of,
        flow_frames=np.array(chosen, np.int32),
        flow=np.stack([flow.flow for flow in flows]),
        flow_visible=np.stack([flow.visible for flow in flows]),
        flow_body=np.stack([flow.body for flow in flows]),
        fps=np.array(float(video.size.fps)),
    )
