"""How fast clips come from shards, against folders of mp4 files read with PyAV.

    python -m tests.bench.bench_loader [--videos FOLDER] [--clips 16] [--clip-seconds 10]

All sides give the same 16 x 4 training samples: the same clips, random starts and, for "sample",
crops. "read" ends with decoded frames ``uint8 [16, H, W, 3]``; "sample" with the model's input
``uint8 [3, 16, 224, 224]``. Frames that come out have a short side of 256 px in all of them.

- **shards**: checksums are checked when a process first reads a clip, decoding is from memory.
- **shards, 1st epoch**: with every checksum checked, as in the first pass over the data.
- **mp4**: H.264 of crf 18, as the toolkit cuts clips (the JPEGs are still somewhat better, see the
  printed PSNR), with x264's usual key frames, at most 250 frames apart. Decoded on one thread, from
  the last key frame before the sample to its last frame; only sampled frames become RGB.
- **mp4, own size**: crf 18 at the size of the source, as in a folder of downloaded videos; made
  smaller by the conversion to RGB.
- **mp4, crf 23**: x264's default, smaller, quicker to decode and worse.
- **mp4, key 12**: crf 18 with a key frame every 12 frames: a folder encoded for the purpose.

Clips are of ``--videos`` (default: ``../shared/real_clips``, else rendered moving noise), the whole
of each up to ``--clip-seconds``: 10 s is the length of Kinetics' clips and of nearly all in the
bundled list. A short clip favours mp4, which has less to decode before the sample. Sides take
turns, so that a busy machine is unfair to all. The time is given by the clock and as processor
time of the process and its workers, which other programs disturb less. Both sides hand batches
over in the same way, see ``benchmark.loader``. Everything lies in the page cache.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import mock

import av
import cv2
import numpy as np
import simplejpeg
import torch
from torch.utils.data import DataLoader, Dataset

from benchmark import augment, data
from benchmark import loader as loader_module
from benchmark.data import ClipDataset
from benchmark.loader import Loader
from benchmark.sampling import TrainingBatches, view_indices
from benchmark.settings import Settings
from musclemap_data.modalities.jpeg import encode_jpeg
from musclemap_data.modalities.modality import Pictures
from musclemap_data.modalities.settings import ExtractionSettings
from musclemap_data.shards import shard_path, write_dataset_info, write_shard
from tests.bench.real_clips import REAL_CLIPS

SHORT_SIDE = 256
FPS = 25
QUALITY = ExtractionSettings().jpeg_quality
LEAST_FRAMES = 64
OWN_SIZE = "mp4, own size"
MP4 = {
    "mp4": {"crf": "18", "g": "250"},
    OWN_SIZE: {"crf": "18", "g": "250"},
    "mp4, crf 23": {"crf": "23", "g": "250"},
    "mp4, key 12": {"crf": "18", "g": "12"},
}
"""Folder -> options of x264."""
WAYS = ("shards", "shards, 1st epoch", *MP4)


def rendered_clips(frames: int) -> Iterator[np.ndarray]:
    """Smooth moving noise, ``uint8 [T, 320, 428, 3]``: about the bytes of a real video."""
    seed = 0
    while True:
        rng = np.random.default_rng(seed)
        coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 64, 110)).astype(np.float32))
        large = torch.nn.functional.interpolate(coarse, (320, 550), mode="bicubic")
        texture = large[0].permute(1, 2, 0).clamp(0, 255).byte().numpy()
        shift = [round(49 * (1 - np.cos(t / 20))) for t in range(frames)]
        yield np.stack([texture[:, t : t + 428] for t in shift])
        seed += 1


def real_clips(folder: Path, frames: int) -> Iterator[np.ndarray]:
    """Up to ``frames`` frames of each video, at its own size; too short ones are left out."""
    paths = sorted(folder.glob("*.mp4"))
    # Neighbours in the folder are alike: take them from all over it.
    for path in np.random.default_rng(0).permutation(np.array(paths, dtype=object)):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            found = [
                frame.to_ndarray(format="rgb24")
                for frame in islice(container.decode(stream), frames)
            ]
        if len(found) >= LEAST_FRAMES:
            yield np.stack(found)


def shrunk_size(height: int, width: int) -> tuple[int, int]:
    """Height and width with a short side of 256 px, both even."""
    scale = SHORT_SIDE / min(height, width)
    return 2 * round(height * scale / 2), 2 * round(width * scale / 2)


def write_all(clips: Iterable[np.ndarray], folder: Path) -> tuple[int, dict[str, str]]:
    """Shards and mp4 files of the same clips; the number of frames, and size and PSNR of each."""
    (folder / "shards").mkdir()
    for name in MP4:
        (folder / name).mkdir()
    count = frames_in_all = 0
    squares: dict[str, list[float]] = {name: [] for name in ("shards", *MP4)}
    for number, own_size in enumerate(clips):
        height, width = shrunk_size(*own_size.shape[1:3])
        frames = np.stack(
            [cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in own_size]
        )
        row: dict[str, Any] = {
            "clip_id": f"{number:04d}",
            "video_id": f"{number:04d}",
            "url": "",
            "activity": "none",
            "split": "train",
            "start_s": 0.0,
            "end_s": len(frames) / FPS,
            "frames": len(frames),
            "height": frames.shape[1],
            "width": frames.shape[2],
            "fps": float(FPS),
            "muscles": [False] * 20,
            "rgb": [encode_jpeg(frame, QUALITY) for frame in frames],
            "source_sha256": "",
            "provenance": "{}",
        }
        write_shard(shard_path(folder, "train", number), [row])
        probe = np.array([10, 30, 50])
        copies = {"shards": np.stack([simplejpeg.decode_jpeg(row["rgb"][at]) for at in probe])}
        for name, options in MP4.items():
            path = folder / name / f"{number:04d}.mp4"
            write_mp4(path, own_size if name == OWN_SIZE else frames, options)
            copies[name] = read_mp4(path, probe, (height, width))
        for name, copy in copies.items():
            squares[name].append(float(np.square(copy.astype(float) - frames[probe]).mean()))
        count += 1
        frames_in_all += len(frames)
    if not count:
        raise SystemExit("no video has 64 frames or more")
    write_dataset_info(folder, {"splits": {}})
    described = {}
    for name, errors in squares.items():
        megabytes = sum(path.stat().st_size for path in (folder / name).iterdir()) / 1e6
        decibels = 10 * np.log10(255**2 / np.maximum(errors, 1e-9))
        described[name] = f"{name} {megabytes:.1f} MB, {statistics.median(decibels):.1f} dB"
    return frames_in_all, described


def write_mp4(path: Path, frames: np.ndarray, options: dict[str, str]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def read_mp4(path: Path, indices: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The frames at ``indices`` (ascending), ``uint8 [T, *shape, 3]``."""
    wanted = set(indices.tolist())
    frames: dict[int, np.ndarray] = {}
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        ticks = 1 / (float(stream.time_base or 1) * FPS)
        container.seek(int(indices[0] * ticks), stream=stream)
        for frame in container.decode(stream):
            index = round((frame.pts or 0) / ticks)
            if index in wanted:
                height, width = shape
                frames[index] = frame.to_ndarray(width=width, height=height, format="rgb24")
            if index >= indices[-1]:
                break
    return np.stack([frames[index] for index in indices.tolist()])


class Samples(Dataset[Any]):
    """One way to read; items are (epoch, index) as in :class:`ClipDataset`."""

    def __init__(self, way: str, kind: str, dataset: ClipDataset, folder: Path) -> None:
        self.way, self.kind, self.dataset, self.folder = way, kind, dataset, folder

    def __getitem__(self, key: tuple[int, int]) -> Any:
        if self.way == "shards, 1st epoch":
            self.dataset._verified.clear()
        from_shards = self.way not in MP4
        if from_shards and self.kind == "sample":
            return self.dataset[key]
        settings, clip = self.dataset.settings, self.dataset.clips[key[1]]
        rng = np.random.default_rng([settings.seed, *key])
        start = int(rng.integers(clip.frames - (settings.frames - 1) * settings.rate))
        indices = view_indices(clip.frames, settings.frames, settings.rate, start)
        if from_shards:
            jpegs = self.dataset._read(clip)[1]["rgb"]
            return self.dataset._decode(clip, jpegs, "rgb", Pictures(), indices)[0]
        path = self.folder / self.way / f"{clip.clip_id}.mp4"
        frames = read_mp4(path, indices, (clip.height, clip.width))
        if self.kind == "read":
            return frames
        geometry = augment.train_geometry(clip.height, clip.width, settings, rng)
        pictures = torch.from_numpy(frames).permute(0, 3, 1, 2)
        pictures = augment.crop_frames(
            pictures, geometry, clip.height, clip.width, settings.crop_size
        )
        return {"rgb": pictures.transpose(0, 1), "clip": torch.tensor(key[1])}


@dataclass(frozen=True)
class Speed:
    """Of one way in one round: seconds of a processor a clip, of all processes, and clips/s."""

    processor: float
    by_the_clock: float


def speed(samples: Samples, workers: int, seconds: float) -> Speed:
    batches = TrainingBatches(len(samples.dataset.clips), 4, seed=0, epochs=10**6)
    loader: Iterable[Any] = Loader(samples, batches, workers=workers)
    if samples.kind == "read":  # nothing is handed over
        loader = DataLoader(samples, batch_sampler=batches, num_workers=workers, collate_fn=len)
    before = set(multiprocessing.active_children())
    stream = iter(loader)
    # One epoch first, but for the slow sides: new workers have not read anything yet.
    first = batches.steps_per_epoch * max(workers, 1)
    for _ in range(first if samples.way == "shards" else 2 * workers + 2):
        next(stream)
    processes = [each.pid or 0 for each in set(multiprocessing.active_children()) - before]
    count, started, used = 0, time.monotonic(), processor_seconds(processes)
    while time.monotonic() - started < seconds:
        next(stream)
        count += batches.size
    passed, used = time.monotonic() - started, processor_seconds(processes) - used
    del stream
    return Speed(used / count, count / passed)


def processor_seconds(processes: Iterable[int]) -> float:
    """Of this process and the given ones, all threads of each; on Linux."""
    # As clock_getcpuclockid(3) makes them.
    clocks = ((~process << 3) | 2 for process in processes)
    return time.process_time() + sum(time.clock_gettime(clock) for clock in clocks)


def stages(dataset: ClipDataset, rounds: int) -> Iterator[tuple[str, float]]:
    """Processor milliseconds a clip of each stage of a sample out of shards, without workers."""
    spent: defaultdict[str, float] = defaultdict(float)

    def timed(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            started = time.process_time()
            try:
                return function(*args, **options)
            finally:
                spent[what] += time.process_time() - started

        return call

    places: tuple[tuple[str, Any, str], ...] = (
        ("read the columns", ClipDataset, "_read"),
        ("cut the JPEGs out", data, "cut_out"),
        ("decode them", simplejpeg, "decode_jpeg"),
        ("resize, mirror", augment, "cut_frames"),
        ("one batch", loader_module, "collate"),
    )
    count = len(dataset.clips)
    with ExitStack() as stack:
        for what, owner, name in places:
            stack.enter_context(mock.patch.object(owner, name, timed(what, getattr(owner, name))))
        started = 0.0
        for epoch in range(rounds + 1):
            if epoch == 1:  # the first is a warm-up, with checksums
                spent.clear()
                started = time.process_time()
            for first in range(0, count, 4):
                at_once = range(first, min(first + 4, count))
                loader_module.collate([dataset[epoch, index] for index in at_once])
        whole = time.process_time() - started
    for what, _, _ in places:
        yield what, 1000 * spent[what] / (rounds * count)
    yield "all else", 1000 * (whole - sum(spent.values())) / (rounds * count)


def main() -> None:
    parser = argparse.ArgumentParser(description="Loader speed; see the module's text.")
    parser.add_argument("--videos", type=Path, default=REAL_CLIPS if REAL_CLIPS.is_dir() else None)
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--clip-seconds", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each of the rounds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="*", default=[0, 2])
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=WAYS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = Settings.from_preset("base", randaugment_ops=0, erasing=0.0)
    most = round(options.clip_seconds * FPS)
    source = real_clips(options.videos, most) if options.videos else rendered_clips(most)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        frames, described = write_all(islice(source, options.clips), folder)
        dataset = ClipDataset(folder, ["train"], ["rgb"], settings, train=True)
        count = len(dataset.clips)
        print(
            f"{count} {'real' if options.videos else 'rendered'} clips of {frames / count:.0f} "
            f"frames on average, short side {SHORT_SIDE} px; {os.cpu_count()} cores\n"
            + "; ".join(described.values())
        )
        print("medians of rounds; in brackets how many times as fast the shards are, by rounds")
        for kind in ("read", "sample"):
            for workers in options.workers:
                found: dict[str, list[Speed]] = {way: [] for way in ("shards", *options.ways)}
                for _ in range(options.rounds):
                    for way in found:
                        samples = Samples(way, kind, dataset, folder)
                        found[way].append(speed(samples, workers, options.seconds))
                print(f"{kind}, {workers} workers", flush=True)
                for way, speeds in found.items():
                    beside = list(zip(found["shards"], speeds, strict=True))
                    cost = 1000 * statistics.median(each.processor for each in speeds)
                    rate = statistics.median(each.by_the_clock for each in speeds)
                    less = statistics.median(b.processor / a.processor for a, b in beside)
                    faster = statistics.median(a.by_the_clock / b.by_the_clock for a, b in beside)
                    print(
                        f"  {way:>18}: {cost:6.2f} ms of a processor a clip ({less:.1f}x), "
                        f"{rate:6.1f} clips/s by the clock ({faster:.1f}x)",
                        flush=True,
                    )
        print("stages of a sample out of shards, ms of a processor a clip, no workers")
        for what, milliseconds in stages(dataset, options.rounds):
            print(f"  {what:>18}: {milliseconds:.2f}")


if __name__ == "__main__":
    main()
