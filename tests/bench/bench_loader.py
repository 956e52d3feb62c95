"""How fast clips come from shards, against a folder of mp4 files read with PyAV.

    python -m tests.bench.bench_loader [--videos FOLDER] [--clips 48] [--seconds 8] [--workers 2]

Both sides give the same 16 x 4 training samples (the same clips, frames and crops). "read" ends
with decoded frames ``uint8 [16, H, W, 3]``; "sample" ends with the model's input
``uint8 [3, 16, 224, 224]``. The mp4 files are H.264, crf 18, a key frame every 12 frames, and
are read from the last key frame before the first sampled frame, which favours them. Without
``--videos`` moving noise is rendered. Sides take turns, so that a busy machine is unfair to both;
without workers the time is that of the processor, which other programs hardly touch.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import simplejpeg
import torch
from torch.utils.data import DataLoader, Dataset

from benchmark import augment, data
from benchmark.data import ClipDataset, TrainingBatches, make_loader, view_indices
from benchmark.settings import Settings
from musclemap_data.shards import shard_path, write_dataset_info, write_shard

FRAMES, SHORT_SIDE = 64, 256


def rendered_clips(count: int) -> Iterator[np.ndarray]:
    """Smooth moving noise, ``uint8 [64, 256, 342, 3]``: about the bytes of a real video."""
    for seed in range(count):
        rng = np.random.default_rng(seed)
        coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 64, 110)).astype(np.float32))
        large = torch.nn.functional.interpolate(coarse, (SHORT_SIDE, 440), mode="bicubic")
        texture = large[0].permute(1, 2, 0).clamp(0, 255).byte().numpy()
        yield np.stack([texture[:, t : t + 342] for t in range(FRAMES)])


def real_clips(folder: Path, count: int) -> Iterator[np.ndarray]:
    """The first 64 frames of each video, short side 256."""
    found = 0
    for path in sorted(folder.glob("*.mp4")):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            scale = SHORT_SIDE / min(stream.width, stream.height)
            width, height = (2 * round(side * scale / 2) for side in (stream.width, stream.height))
            frames = [
                frame.reformat(width, height, "rgb24").to_ndarray()
                for frame in islice(container.decode(stream), FRAMES)
            ]
        if len(frames) == FRAMES:
            yield np.stack(frames)
            found += 1
            if found == count:
                return


def write_both(clips: Iterable[np.ndarray], folder: Path) -> int:
    """Shards and mp4 files of the same clips; the number of clips."""
    (folder / "shards").mkdir()
    rows: list[dict[str, Any]] = []
    count = 0
    for number, frames in enumerate(clips):
        rows.append(
            {
                "clip_id": f"{number:04d}",
                "video_id": f"{number:04d}",
                "url": "",
                "activity": "none",
                "split": "train",
                "start_s": 0.0,
                "end_s": FRAMES / 25,
                "frames": FRAMES,
                "height": frames.shape[1],
                "width": frames.shape[2],
                "fps": 25.0,
                "muscles": [False] * 20,
                "rgb": [simplejpeg.encode_jpeg(frame, quality=90) for frame in frames],
                "source_sha256": "",
                "provenance": "{}",
            }
        )
        write_mp4(folder / f"{number:04d}.mp4", frames)
        count += 1
        if len(rows) == 16:
            write_shard(shard_path(folder, "train", number // 16), rows)
            rows = []
    if rows:
        write_shard(shard_path(folder, "train", count // 16), rows)
    write_dataset_info(folder, {"splits": {}})
    return count


def write_mp4(path: Path, frames: np.ndarray) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "18", "g": "12"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def read_mp4(path: Path, indices: np.ndarray) -> np.ndarray:
    """The frames at ``indices`` (ascending), ``uint8 [T, H, W, 3]``."""
    wanted = set(indices.tolist())
    frames: dict[int, np.ndarray] = {}
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        ticks = 1 / (float(stream.time_base) * 25)
        container.seek(int(indices[0] * ticks), stream=stream)
        for frame in container.decode(stream):
            index = round(frame.pts / ticks)
            if index in wanted:
                frames[index] = frame.to_ndarray(format="rgb24")
            if index >= indices[-1]:
                break
    return np.stack([frames[index] for index in indices.tolist()])


class Samples(Dataset[Any]):
    """One of the four ways; items are (epoch, index) as in :class:`ClipDataset`."""

    def __init__(self, way: str, kind: str, dataset: ClipDataset, folder: Path) -> None:
        self.way, self.kind, self.dataset, self.folder = way, kind, dataset, folder

    def __getitem__(self, key: tuple[int, int]) -> Any:
        if self.way == "shards" and self.kind == "sample":
            return self.dataset[key]
        settings, clip = self.dataset.settings, self.dataset.clips[key[1]]
        rng = np.random.default_rng([settings.seed, *key])
        start = int(rng.integers(clip.frames - (settings.frames - 1) * settings.rate))
        indices = view_indices(clip.frames, settings.frames, settings.rate, start)
        if self.way == "shards":
            encoded = self.dataset._read(clip)["rgb"]
            shape = (clip.height, clip.width)
            return self.dataset._decode(
                clip, encoded, "rgb", indices, count=clip.frames, shape=shape, colorspace="RGB"
            )
        frames = read_mp4(self.folder / f"{clip.clip_id}.mp4", indices)
        if self.kind == "read":
            return frames
        geometry = augment.train_geometry(clip.height, clip.width, settings, rng)
        pictures = torch.from_numpy(frames).permute(0, 3, 1, 2)
        pictures = augment.crop_frames(
            pictures, geometry, clip.height, clip.width, settings.crop_size
        )
        return {"rgb": pictures.transpose(0, 1).contiguous(), "clip": torch.tensor(key[1])}


def clips_per_second(samples: Samples, workers: int, seconds: float) -> float:
    clips = len(samples.dataset.clips)
    batches = TrainingBatches(clips, 4, seed=0, epochs=10**6)
    loader = DataLoader(
        samples,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=len if samples.kind == "read" else data.collate,
        worker_init_fn=data._start_worker,
    )
    stream = iter(loader)
    for _ in range(2 * workers + 2):
        next(stream)
    clock = time.monotonic if workers else time.process_time
    started, count = clock(), 0
    while clock() - started < seconds:
        next(stream)
        count += batches.size
    return count / (clock() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=Path)
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each of the rounds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="*", default=[0, 2])
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = Settings.from_preset("base", randaugment_ops=0, erasing=0.0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = real_clips(options.videos, options.clips) if options.videos else None
        count = write_both(source or rendered_clips(options.clips), folder)
        dataset = ClipDataset(folder, ["train"], ["rgb"], settings, train=True)
        print(
            f"{count} clips of {FRAMES} frames, {os.cpu_count()} cores; clips/s, median of rounds"
        )
        print(f"{'':>18} {'shards':>9} {'mp4':>9} {'ratio':>7}")
        for kind in ("read", "sample"):
            for workers in options.workers:
                speeds: dict[str, list[float]] = {"shards": [], "mp4": []}
                for _ in range(options.rounds):
                    for way, found in speeds.items():
                        samples = Samples(way, kind, dataset, folder)
                        found.append(clips_per_second(samples, workers, options.seconds))
                shards, mp4 = (statistics.median(each) for each in speeds.values())
                ratio = statistics.median(
                    a / b for a, b in zip(speeds["shards"], speeds["mp4"], strict=True)
                )
                print(f"{kind:>8} {workers} workers {shards:9.1f} {mp4:9.1f} {ratio:6.1f}x")
        # make_loader is what training uses; its collation and checksums are in "sample".
        next(iter(make_loader(dataset, TrainingBatches(count, 4, seed=0, epochs=1), workers=0)))


if __name__ == "__main__":
    main()
