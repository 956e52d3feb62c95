"""Speed and memory of our MViTv2 and TransM3E beside torchvision's `mvit_v2_s`.

    python -m tests.bench.bench_model [--threads 2] [--rounds 3] [--device cpu]

Everything runs in turn in one process, and ratios are taken within a round, so that a busy machine
slows both sides alike. Prints one table: seconds (median), ratio to torchvision's fp32 forward (or
forward + backward), FLOPs, and the share of the machine's measured matrix-product rate.
"""

import argparse
import math
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmark.losses import bce_loss, training_loss
from benchmark.models import MODELS
from benchmark.models.mvit import MViT, MViTClassifier
from benchmark.settings import Settings
from tests.benchmark.reference_mvit import torchvision_mvit

SIDES = ("torchvision", "ours", "transm3e")


class TorchvisionMViT(nn.Module):
    """torchvision's model behind our interface."""

    def __init__(self, frames: int, size: int) -> None:
        super().__init__()
        self.network = torchvision_mvit(width=96, depth=16, frames=frames, size=size, classes=20)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        logits: Tensor = self.network(batch["rgb"])
        return logits


def build(
    side: str, frames: int, size: int, variant: Literal["skeleton", "rgb-diff"] = "rgb-diff"
) -> nn.Module:
    torch.manual_seed(0)
    if side == "torchvision":
        return TorchvisionMViT(frames, size)
    if side == "ours":
        return MViTClassifier(MViT(frames=frames, crop_size=size))
    return MODELS["transm3e"](
        replace(
            Settings(),
            variant=variant,
            frames=frames,
            crop_size=size,
        )
    )


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
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    train_step(model, batch, bf16=False)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clips", type=int, default=1)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, default=224, help="height and width, px")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peak", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.peak:
        print_peak(arguments.peak, arguments.frames, arguments.size)
        return

    device, frames, size = arguments.device, arguments.frames, arguments.size
    batch = make_batch(device, arguments.clips, frames, size)
    models = {side: build(side, frames, size).to(device) for side in SIDES}
    models["transm3e skeleton"] = build("transm3e", frames, size, "skeleton").to(device)
    rates = {bf16: matrix_rate((torch.float32, torch.bfloat16)[bf16], device) for bf16 in (0, 1)}
    print(
        f"{device}, {arguments.threads} threads, {arguments.clips} x {frames} x {size} x {size}; "
        f"matrix product {rates[0] / 1e9:.0f} GFLOP/s fp32, {rates[1] / 1e9:.0f} GFLOP/s bf16"
    )

    # (name, model, call, bf16, reference: the row it is compared with)
    rows: list[tuple[str, str, Callable[..., None], bool, str]] = []
    for side in ("torchvision", "ours"):
        for bf16 in (False, True):
            kind = "bf16" if bf16 else "fp32"
            rows.append((f"{side} forward {kind}", side, forward, bf16, "torchvision forward fp32"))
            rows.append(
                (f"{side} training {kind}", side, train_step, bf16, "torchvision training fp32")
            )
    for side in ("transm3e", "transm3e skeleton"):
        for bf16 in (False, True):
            name = f"{side if ' ' in side else side + ' rgb-diff'}"
            rows.append(
                (
                    f"{name} training {'bf16' if bf16 else 'fp32'}",
                    side,
                    train_step,
                    bf16,
                    "torchvision forward fp32",
                )
            )
    times: dict[str, list[float]] = {name: [] for name, *_ in rows}
    for turn in range(arguments.rounds + 1):
        for name, side, call, bf16, _ in rows:
            taken = seconds(partial(call, models[side], batch, bf16), device)
            if turn:  # the first round warms up
                times[name].append(taken)

    print(f"{'':38} {'s':>7} {'ratio':>6} {'of':26} {'GFLOP':>6} {'share of rate':>13}")
    for name, side, call, bf16, base in rows:
        ratio = statistics.median(
            one / other for one, other in zip(times[name], times[base], strict=True)
        )
        flops = count_flops(partial(call, models[side], batch, bf16))
        median = statistics.median(times[name])
        share = flops / median / rates[bf16]
        print(f"{name:38} {median:7.3f} {ratio:6.2f} {base:26} {flops / 1e9:6.0f} {share:13.0%}")

    if device == "cpu":
        peaks = {side: peak_memory_mb(side, arguments.threads, frames, size) for side in SIDES}
        for side, peak in peaks.items():
            print(
                f"peak memory of a training step, {side}: {peak:.0f} MB "
                f"({peak / max(peaks['torchvision'], 1):.2f} of torchvision's)"
            )
    else:
        for side, model in models.items():
            torch.cuda.reset_peak_memory_stats()
            train_step(model, batch, bf16=True)
            peak = torch.cuda.max_memory_allocated() / 2**20
            print(f"peak memory, bf16 training step, {side}: {peak:.0f} MB (weights included)")


if __name__ == "__main__":
    main()
