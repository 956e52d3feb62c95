"""Speed and memory of our MViTv2 and TransM3E beside torchvision's ``mvit_v2_s``.

    python -m tests.bench.bench_model [--threads 2] [--rounds 9] [--budget 300] [--device cpu]

Everything runs in turn in one process, and ratios are taken within a round, so that a busy machine
slows both sides alike. Prints one table: seconds (median), ratio to torchvision's fp32 forward (or
training step), FLOPs, and the share of the machine's measured matrix-product rate; then the peak
memory of a training step, each in a process of its own. Rounds stop where the budget (s) ends: on
two cores all of it takes less than eight minutes.
"""

import argparse
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmark.losses import bce_loss, training_loss
from benchmark.models import MODELS
from benchmark.models.mvit import MViT, MViTClassifier
from benchmark.settings import Settings
from tests.benchmark.models.reference_mvit import torchvision_mvit

SIDES = ("torchvision", "ours", "transm3e", "skeleton")
CHECKPOINTED = "transm3e, checkpointing"


class TorchvisionMViT(nn.Module):
    """torchvision's model behind our interface."""

    def __init__(self, frames: int, size: int) -> None:
        super().__init__()
        self.network = torchvision_mvit(width=96, depth=16, frames=frames, size=size, classes=20)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        logits: Tensor = self.network(batch["rgb"])
        return logits


def build(side: str, frames: int, size: int) -> nn.Module:
    """One of the sides, at full width and depth."""
    torch.manual_seed(0)
    if side == "torchvision":
        return TorchvisionMViT(frames, size)
    if side == "ours":
        return MViTClassifier(MViT(frames=frames, crop_size=size))
    settings = Settings(
        variant="skeleton" if side == "skeleton" else "rgb-diff",
        frames=frames,
        crop_size=size,
        checkpointing=side == CHECKPOINTED,
    )
    return MODELS["transm3e"](settings)


def make_batch(device: str, clips: int, frames: int, size: int) -> dict[str, Tensor]:
    skeleton = torch.randn(clips, 1, frames, 17, 3, device=device)
    skeleton[..., 2] = 1
    return {
        "rgb": torch.randn(clips, 3, frames, size, size, device=device),
        "rgb_diff": torch.randn(clips, 3, frames, size, size, device=device),
        "skeleton": skeleton,
        "muscles": torch.randint(0, 2, (clips, 20), device=device).float(),
    }


def forward(model: nn.Module, batch: dict[str, Tensor], bf16: bool) -> None:
    model.eval()
    with torch.no_grad(), torch.autocast(batch["rgb"].device.type, torch.bfloat16, enabled=bf16):
        model(batch)


def train_step(model: nn.Module, batch: dict[str, Tensor], bf16: bool) -> None:
    model.train()
    model.zero_grad()
    with torch.autocast(batch["rgb"].device.type, torch.bfloat16, enabled=bf16):
        output = model(batch)
    if isinstance(output, Tensor):
        bce_loss(output.float(), batch["muscles"]).backward()
    else:
        training_loss(output, batch["muscles"]).backward()


def seconds(call: Callable[[], object], device: str) -> float:
    if device != "cpu":
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def matrix_rate(dtype: torch.dtype, device: str) -> float:
    """Best floating-point operations a second in a large matrix product."""
    side = 2048 if device == "cpu" else 8192
    one = torch.randn(side, side, device=device).to(dtype)
    other = torch.randn(side, side, device=device).to(dtype)
    out = torch.empty_like(one)
    best = min(seconds(lambda: torch.mm(one, other, out=out), device) for _ in range(8))
    return 2 * side**3 / best


def conv_backward_flops(
    gradient: tuple[int, ...], _: object, weight: tuple[int, ...], *rest: Any, **__: object
) -> int:
    """As many as the forward pass for each of the two gradients wanted.

    PyTorch's own formula leaves out the groups, which makes a depthwise convolution look huge.
    """
    return 2 * math.prod(gradient) * math.prod(weight[1:]) * sum(rest[-1][:2])


def count_flops(call: Callable[[], None]) -> float:
    mapping = {torch.ops.aten.convolution_backward: conv_backward_flops}
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        call()
    return float(counter.get_total_flops())


def peak_memory_mb(side: str, threads: int, frames: int, size: int) -> float:
    """Peak resident memory a training step adds, batch 1, in a process of its own (CPU)."""
    command = [sys.executable, "-m", "tests.bench.bench_model", "--peak", side]
    command += ["--threads", str(threads), "--frames", str(frames), "--size", str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def print_peak(side: str, frames: int, size: int) -> None:
    model, batch = build(side, frames, size), make_batch("cpu", 1, frames, size)
    before = resident_mb("VmRSS")
    train_step(model, batch, bf16=False)
    print(resident_mb("VmHWM") - before)


def resident_mb(which: str) -> float:
    """Resident memory now (VmRSS) or at its peak (VmHWM); Linux.

    Not ``getrusage``: its peak starts from that of the process which started this one.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{which}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {which}")


def peak_memory_gpu_mb(side: str, device: str, frames: int, size: int) -> float:
    """Peak memory of a training step on a GPU, batch 1, weights and gradients included."""
    model, batch = build(side, frames, size).to(device), make_batch(device, 1, frames, size)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    train_step(model, batch, bf16=False)
    weights = sum(each.nbytes for each in model.parameters())
    return (torch.cuda.max_memory_allocated() - before + weights) / 2**20


# Name, side, call, reference. A training step is compared with torchvision's, but TransM3E's with
# torchvision's forward pass: what the accepted limits are about.
ROWS = (
    ("torchvision forward", "torchvision", forward, "torchvision forward"),
    ("ours, one token, forward", "ours", forward, "torchvision forward"),
    ("torchvision training step", "torchvision", train_step, "torchvision training step"),
    ("ours, one token, training step", "ours", train_step, "torchvision training step"),
    ("transm3e rgb-diff training step", "transm3e", train_step, "torchvision forward"),
    ("transm3e skeleton training step", "skeleton", train_step, "torchvision forward"),
)


def measure(
    models: dict[str, nn.Module],
    batch: dict[str, Tensor],
    precisions: Sequence[str],
    device: str,
    rounds: int,
    end_s: float,
) -> tuple[dict[tuple[str, str], list[float]], dict[str, float]]:
    """Seconds of every row and precision in each round, and FLOPs of every row.

    One unmeasured round warms up and counts FLOPs. Rounds stop early when the next one would end
    after ``end_s`` (of ``time.perf_counter``), but not before the first.
    """
    flops: dict[str, float] = {}
    times: dict[tuple[str, str], list[float]] = {}
    for name, side, call, _ in ROWS:
        for precision in precisions:
            work = partial(call, models[side], batch, precision == "bf16")
            if precision == "fp32":
                flops[name] = count_flops(work)
            else:
                work()
    for turn in range(rounds):
        began = time.perf_counter()
        for name, side, call, _ in ROWS:
            for precision in precisions:
                taken = seconds(partial(call, models[side], batch, precision == "bf16"), device)
                times.setdefault((name, precision), []).append(taken)
        now = time.perf_counter()
        if now + (now - began) > end_s:
            if turn + 1 < rounds:
                print(f"the time is up: {turn + 1} of {rounds} rounds")
            break
    return times, flops


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--budget", type=float, default=300, help="seconds for the rounds")
    parser.add_argument("--clips", type=int, default=1)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, default=224, help="height and width, px")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peak", choices=(*SIDES, CHECKPOINTED), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    began = time.perf_counter()
    torch.set_num_threads(arguments.threads)
    if arguments.peak:
        print_peak(arguments.peak, arguments.frames, arguments.size)
        return

    device, frames, size = arguments.device, arguments.frames, arguments.size
    batch = make_batch(device, arguments.clips, frames, size)
    models = {side: build(side, frames, size).to(device) for side in SIDES}
    rates = {
        "fp32": matrix_rate(torch.float32, device),
        "bf16": matrix_rate(torch.bfloat16, device),
    }
    print(
        f"{device}, {arguments.threads} threads, {arguments.clips} x {frames} x {size} x {size}; "
        f"matrix product {rates['fp32'] / 1e9:.0f} GFLOP/s fp32, "
        f"{rates['bf16'] / 1e9:.0f} GFLOP/s bf16",
        flush=True,
    )
    precisions = ["fp32", "bf16"]
    if rates["bf16"] < rates["fp32"]:
        precisions = ["fp32"]
        print("bf16 is left out: this processor multiplies no faster in it")
    times, flops = measure(
        models, batch, precisions, device, arguments.rounds, began + arguments.budget
    )
    print(f"{'':38} {'s':>7} {'ratio':>6} {'of (fp32)':26} {'GFLOP':>6} {'share of rate':>13}")
    for name, _, _, base in ROWS:
        for precision in precisions:
            taken = times[name, precision]
            ratio = statistics.median(
                one / other for one, other in zip(taken, times[base, "fp32"], strict=True)
            )
            median = statistics.median(taken)
            share = flops[name] / median / rates[precision]
            print(
                f"{name + ' ' + precision:38} {median:7.3f} {ratio:6.2f} {base:26} "
                f"{flops[name] / 1e9:6.0f} {share:13.0%}"
            )
    rounds = len(times[ROWS[0][0], "fp32"])
    print(f"medians of {rounds} interleaved rounds; share: of the matrix-product rate above")

    peaks: dict[str, float] = {}
    for side in (*SIDES, CHECKPOINTED):
        if device == "cpu":
            peaks[side] = peak_memory_mb(side, arguments.threads, frames, size)
        else:
            peaks[side] = peak_memory_gpu_mb(side, device, frames, size)
        print(
            f"peak memory of an fp32 training step, {side}: {peaks[side]:.0f} MB "
            f"({peaks[side] / max(peaks['torchvision'], 1):.2f} of torchvision's)",
            flush=True,
        )
    print(f"{time.perf_counter() - began:.0f} s in all")


if __name__ == "__main__":
    main()
