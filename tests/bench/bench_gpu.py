"""What a GPU does for MuscleMap, in one table: flow, training steps, the loader, memory.

    python -m tests.bench.bench_gpu [--device auto] [--models stgcn,transm3e] [--compile] [--small]

- **flow**: pairs a second of 256 x 341 px by the torch engine in batches of 1, 8 and 32, by numba
  on one core, and by OpenCV's CUDA TV-L1 where this OpenCV has it.
- **training step** of every model that is trained by gradients, at preset base with its batch of 8
  clips, in fp32 and bf16: clips a second and the most memory (of the GPU).
- **loader**: clips a second of 16 x 224 x 224 out of shards of rendered clips, moved to the device.

Without a GPU all of it runs on the processor with small sizes (``--small``: preset tiny, 2 clips,
pairs of 64 x 80 px) and says so: such numbers tell that it works, not how fast.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from benchmark.data import ClipDataset
from benchmark.loader import Loader
from benchmark.losses import training_loss
from benchmark.machine import autocast, choose_device, to_device
from benchmark.models import MODELS
from benchmark.sampling import TrainingBatches
from benchmark.settings import Settings
from musclemap_data.errors import UserError
from musclemap_data.modalities import tvl1
from musclemap_data.modalities.tvl1.torch_engine import TorchSolver
from tests.bench.bench_flow import markdown, synthetic_pairs
from tests.bench.bench_loader import rendered_clips, write_all

Row = tuple[str, str, str]
"""What, how fast, memory."""
TRAINED = (
    *("stgcn", "ctrgcn", "hdgcn", "c2d", "i3d", "slow", "slowfast"),
    *("mvit_v2_s", "mvit_v2_b", "swin3d_s", "swin3d_b", "transm3e"),
)


def rate(call: Callable[[], int], device: torch.device, seconds: float) -> float:
    """What ``call`` counts, a second: the median of rounds, after one to warm up."""

    def once() -> float:
        started = time.perf_counter()
        count = call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return count / (time.perf_counter() - started)

    once()
    found, started = [once()], time.perf_counter()
    while time.perf_counter() - started < seconds:
        found.append(once())
    return statistics.median(found)


def peak_memory(device: torch.device) -> str:
    """The most memory of the GPU since the last call, and start anew."""
    if device.type != "cuda":
        return "-"
    found = f"{torch.cuda.max_memory_allocated(device) / 2**20:.0f} MB"
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    return found


def flow_rows(device: torch.device, small: bool, seconds: float) -> Iterator[Row]:
    """Pairs of frames a second, by each engine."""
    pair = next(synthetic_pairs(1)).frames
    height, width = (64, 80) if small else pair[0].shape
    clip = np.stack([pair[t % 2][:height, :width] for t in range(33)])
    size = f"{height} x {width}"
    for count in (1, 8, 32):
        solver = TorchSolver(str(device), pairs_at_once=count)
        frames = clip[: count + 1]
        found = rate(lambda s=solver, f=frames: len(s(f)), device, seconds)  # type: ignore[misc]
        cell = f"{found:.1f} pairs/s"
        yield f"flow, torch, {count} pairs of {size} at once", cell, peak_memory(device)
    workspace = tvl1.Workspace(height, width)
    found = rate(
        lambda: len(tvl1.flow_clip(clip[:5], workspace=workspace)), torch.device("cpu"), seconds
    )
    yield f"flow, numba, one core, {size}", f"{found:.1f} pairs/s", "-"
    yield f"flow, OpenCV's CUDA TV-L1, {size}", opencv_cuda(clip, seconds), "-"


def opencv_cuda(clip: np.ndarray, seconds: float) -> str:
    """Pairs a second of OpenCV's own on the GPU, or why there are none."""
    kind = getattr(cv2, "cuda_OpticalFlowDual_TVL1", None)
    if kind is None or not cv2.cuda.getCudaEnabledDeviceCount():
        return "not in this OpenCV"
    solver = kind.create()
    first, second = (cv2.cuda.GpuMat(frame) for frame in clip[:2])

    def solve() -> int:
        solver.calc(first, second, None)
        return 1

    return f"{rate(solve, torch.device('cpu'), seconds):.1f} pairs/s"


def make_batch(settings: Settings, clips: int, device: torch.device) -> dict[str, Tensor]:
    """A batch of noise with every modality, as ``normalise_batch`` gives it."""
    shape = clips, 3, settings.frames, settings.crop_size, settings.crop_size
    skeleton = torch.randn(clips, settings.people, settings.frames, 17, 3, device=device)
    skeleton[..., 2] = 1
    return {
        "rgb": torch.randn(shape, device=device),
        "rgb_diff": torch.randn(shape, device=device),
        "flow": torch.randn(clips, 2, *shape[2:], device=device),
        "skeleton": skeleton,
        "muscles": torch.randint(0, 2, (clips, 20), device=device).float(),
    }


def training_step(
    model: nn.Module, settings: Settings, batch: dict[str, Tensor], device: torch.device
) -> int:
    """Forward and backward, without the optimiser's step; returns the clips."""
    model.zero_grad(set_to_none=True)
    with autocast(settings, device):
        output = model(batch)
    training_loss(output, batch["muscles"], settings.loss).float().backward()
    return len(batch["muscles"])


def training_rows(
    device: torch.device, names: Sequence[str], small: bool, compiled: bool, seconds: float
) -> Iterator[Row]:
    """Clips a second in training, for each model and precision."""
    preset = "tiny" if small else "base"
    for name in names:
        for precision in ("fp32", "bf16"):
            settings = Settings.from_preset(preset, precision=precision)
            clips = 2 if small else settings.batch_size
            torch.manual_seed(0)
            model = MODELS[name](settings).to(device).train()
            batch = make_batch(settings, clips, device)
            run = torch.compile(model) if compiled else model
            what = f"training step, {name}, {precision}{', compiled' if compiled else ''}"
            try:
                found = rate(
                    lambda m=run, s=settings, b=batch: training_step(m, s, b, device),  # type: ignore[misc]
                    device,
                    seconds,
                )
                cell = f"{found:.1f} clips/s"
            except torch.OutOfMemoryError:
                cell = f"no room for {clips} clips"
            del model, batch, run
            yield what, cell, peak_memory(device)


def loader_rows(device: torch.device, small: bool, seconds: float) -> Iterator[Row]:
    """Clips a second out of shards with augmentation, on the device as a model takes them."""
    base = Settings()  # also of the small sizes: RandAugment and erasing are what takes long
    augmented = {"randaugment_ops": base.randaugment_ops, "erasing": base.erasing}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_all(islice(rendered_clips(80), 2 if small else 16), folder)
        for workers, where in itertools.product((0, 2, 8), ("workers", "device")):
            if workers > (os.cpu_count() or 1):
                continue
            settings = Settings.from_preset(
                "tiny" if small else "base", augment_on=where, **augmented
            )
            dataset = ClipDataset(folder, ["train"], ["rgb"], settings, train=True)
            batches = TrainingBatches(len(dataset.clips), settings.batch_size, seed=0, epochs=10**6)
            pinned = device.type == "cuda"
            loader = Loader(dataset, batches, workers=workers, pin_memory=pinned)
            stream = iter(loader)

            def feed(
                stream: Iterator[dict[str, Tensor]] = stream, settings: Settings = settings
            ) -> int:
                return len(to_device(next(stream), device, settings)["rgb"])

            found = rate(feed, device, seconds)
            del stream, loader
            what = f"loader, {workers} workers, augment_on={where}"
            yield what, f"{found:.1f} clips/s", peak_memory(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--models", default=",".join(TRAINED), help="with commas between")
    parser.add_argument("--compile", action="store_true", help="torch.compile the models")
    parser.add_argument("--small", action="store_true", help="small sizes; always without a GPU")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    options = parser.parse_args()
    try:
        device = choose_device(options.device)
    except UserError as error:
        raise SystemExit(f"Error: {error}") from None
    names = [name for name in options.models.split(",") if name]
    small = options.small or device.type == "cpu"
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU"
    if device.type == "cpu":
        print("No GPU: small sizes on the processor. It shows that all of this works, no more.")
    rows = [
        *flow_rows(device, small, options.seconds),
        *training_rows(device, names, small, options.compile, options.seconds),
        *loader_rows(device, small, options.seconds),
    ]
    size = "small sizes (preset tiny)" if small else "preset base"
    title = f"{card}, torch {torch.__version__}, {os.cpu_count()} cores, {size}"
    table = markdown([title, "rate", "peak memory of the GPU"], [list(row) for row in rows])
    print(table)
    if options.out:
        options.out.write_text(table + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
