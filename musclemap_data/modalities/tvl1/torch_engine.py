"""TV-L1 flow for a batch of pairs in torch, behind ``tvl1.tvl1_torch`` and ``torch_solver``.

The method of ``kernels.py``, step by step, on whole batches: the same pyramid, warps, medians and
iterations, so the results differ by rounding alone.

The tests compare it with the numba engine on the CPU, through the same code; it has not yet run on
a GPU.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from musclemap_data.errors import UserError
from musclemap_data.modalities.tvl1.schedule import Schedule, level_sizes, resolve_schedule

PAIRS_AT_ONCE = 32
FLAT = torch.finfo(torch.float32).eps  # squared gradient that counts as none, as in kernels.py


def need_gpu() -> None:
    """See that torch sees a GPU.

    Raises:
        UserError: it does not.
    """
    if not torch.cuda.is_available():
        raise UserError("--device cuda: PyTorch sees no GPU here; use --device auto or cpu")


class TorchSolver:
    """Solves the pairs of clips on one device, as many at once as fit into its memory.

    Args:
        device: as torch names it.

    Attributes:
        name: torch, its version and the device, for the provenance.
        pairs_at_once: halved for good whenever the device is out of memory.

    Raises:
        UserError: torch sees no such device.
    """

    def __init__(self, device: str, pairs_at_once: int = PAIRS_AT_ONCE) -> None:
        self.device = torch.device(device)
        hardware = self.device.type
        if hardware == "cuda":
            need_gpu()
            hardware = torch.cuda.get_device_name(self.device)
        self.name = f"torch {torch.__version__}, {hardware}"
        self.pairs_at_once = pairs_at_once

    def __call__(
        self, frames_gray: npt.NDArray[np.uint8], schedule: str | Schedule = "default"
    ) -> npt.NDArray[np.float32]:
        """Flow of every pair of neighbours, as ``tvl1.flow_clip``: uint8 [T, H, W], T >= 1.

        Returns:
            float32 [T - 1, H, W, 2], pixels.

        Raises:
            MemoryError: not even one pair fits.
        """
        count, height, width = frames_gray.shape
        schedule = resolve_schedule(schedule)
        sizes = level_sizes(height, width, schedule)
        flows = np.empty((count - 1, height, width, 2), np.float32)
        done = 0
        while done < count - 1:
            frames = frames_gray[done : done + self.pairs_at_once + 1]
            try:
                found = solve_batch(frames[:-1], frames[1:], schedule, sizes, self.device)
            except torch.OutOfMemoryError:
                if self.pairs_at_once == 1:
                    raise MemoryError(f"{self.name} has no room for a pair of frames") from None
                self.pairs_at_once = max(1, min(self.pairs_at_once, len(frames) - 1) // 2)
            else:
                flows[done : done + len(found)] = found
                done += len(found)
                continue
            # Outside of the handler, whose error holds on to the memory that was not enough.
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        return flows


@torch.inference_mode()
def solve_batch(
    frames0: npt.NDArray[np.uint8],
    frames1: npt.NDArray[np.uint8],
    schedule: Schedule,
    sizes: list[tuple[int, int]],
    device: str | torch.device,
) -> npt.NDArray[np.float32]:
    """Flow from uint8 [B, H, W] frames to the next ones, on the given pyramid of ``sizes``.

    Returns float32 [B, H, W, 2] in host memory.
    """
    pyramid0 = build_pyramid(torch.from_numpy(frames0).to(device), sizes, schedule.scale)
    pyramid1 = build_pyramid(torch.from_numpy(frames1).to(device), sizes, schedule.scale)
    u = pyramid0[-1].new_zeros((len(frames0), 2, *sizes[-1]))
    for level in reversed(range(len(sizes))):
        height, width = sizes[level]
        if u.shape[2:] != (height, width):
            steps = u.shape[2] / height, u.shape[3] / width
            u = resize(u, (height, width), steps) / schedule.scale
        warps = schedule.coarse_warps if level else schedule.warps
        u = solve_level(pyramid0[level], pyramid1[level], u, schedule, warps)
    return u.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def build_pyramid(frames: Tensor, sizes: list[tuple[int, int]], scale: float) -> list[Tensor]:
    """All levels of uint8 [B, H, W] frames as float32 [B, 1, H, W], finest first."""
    levels = [frames.unsqueeze(1).float()]
    for size in sizes[1:]:
        levels.append(resize(levels[-1], size, (1 / scale, 1 / scale)))
    return levels


def resize(images: Tensor, size: tuple[int, int], steps: tuple[float, float]) -> Tensor:
    """Bilinear resize of [B, C, H, W] to ``size``; ``steps`` source pixels (y, x) a target pixel.

    ``functional.interpolate`` would derive the steps from the rounded sizes; OpenCV does not.
    """
    for dim, count, step in zip((2, 3), size, steps, strict=True):
        last = images.shape[dim] - 1
        place = (torch.arange(count, dtype=torch.float64, device=images.device) + 0.5) * step - 0.5
        place = place.clamp(0, last)
        lower = place.long()
        share = (place - lower).float()
        if dim == 2:
            share = share.unsqueeze(1)
        low = images.index_select(dim, lower)
        high = images.index_select(dim, (lower + 1).clamp(max=last))
        images = low + share * (high - low)
    return images


def solve_level(
    image0: Tensor, image1: Tensor, u: Tensor, schedule: Schedule, warps: int
) -> Tensor:
    """Refine the flow u [B, 2, H, W] between two images [B, 1, H, W]."""
    batch, _, height, width = u.shape
    p = u.new_zeros((batch, 2, 2, height, width))  # p[:, d]: the dual variable of u[:, d]
    channels = torch.cat([image1, *central_differences(image1)], dim=1)
    stop = schedule.stop_px**2 * height * width
    for _ in range(warps):
        rho_c, gradient, inverse = linearise(image0, channels, u, schedule.black_outside)
        going = torch.ones((batch, 1, 1, 1), dtype=torch.bool, device=u.device)
        for _ in range(schedule.outer_iterations):
            if schedule.median_px > 1:
                u = torch.where(going, median_filter(u, schedule.median_px), u)
            for _ in range(schedule.inner_iterations):
                u_new, p_new = iterate(u, p, rho_c, gradient, inverse, schedule)
                change = (u_new - u).square().sum(dim=(1, 2, 3), keepdim=True)
                u = torch.where(going, u_new, u)
                p = torch.where(going.unsqueeze(1), p_new, p)
                going = going & (change > stop)
                if stop > 0 and not going.any():
                    break
            if stop > 0 and not going.any():
                break
    return u


def central_differences(image: Tensor) -> tuple[Tensor, Tensor]:
    """x and y derivative of [B, 1, H, W] images; at the edge half the one-sided difference."""
    wide = functional.pad(image, (1, 1, 1, 1), mode="replicate")
    x = 0.5 * (wide[:, :, 1:-1, 2:] - wide[:, :, 1:-1, :-2])
    y = 0.5 * (wide[:, :, 2:, 1:-1] - wide[:, :, :-2, 1:-1])
    return x, y


def linearise(
    image0: Tensor, channels: Tensor, u: Tensor, black_outside: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Warp I1 and its gradient by u0 = u: (rho_c, grad I1, 1 / |grad I1|^2), zero where unusable.

    rho(u) = rho_c + <grad I1, u>,  rho_c = I1(x + u0) - <grad I1(x + u0), u0> - I0(x)

    ``image0`` is [pairs, 1, H, W], ``u`` [pairs, 2, H, W] in pixels; the three results are
    [pairs, 1 or 2, H, W].
    """
    _, _, height, width = u.shape
    x = torch.arange(width, device=u.device) + u[:, 0]
    y = torch.arange(height, device=u.device).unsqueeze(1) + u[:, 1]
    # grid_sample wants [-1, 1] from the first to the last pixel; its cubic kernel has a = -0.75
    grid = torch.stack([2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1], dim=-1)
    padding = "zeros" if black_outside else "border"
    warped = functional.grid_sample(
        channels, grid, mode="bicubic", padding_mode=padding, align_corners=True
    )
    gradient = warped[:, 1:]
    squared = gradient.square().sum(dim=1, keepdim=True)
    usable = squared > FLAT
    if not black_outside:
        inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
        usable &= inside.unsqueeze(1)
    rho_c = warped[:, :1] - (gradient * u).sum(dim=1, keepdim=True) - image0
    inverse = 1 / squared.clamp(min=FLAT)
    return rho_c * usable, gradient * usable, inverse * usable


def iterate(
    u: Tensor, p: Tensor, rho_c: Tensor, gradient: Tensor, inverse: Tensor, schedule: Schedule
) -> tuple[Tensor, Tensor]:
    """One step of u [pairs, 2, H, W] and of its dual variables p; formulas: ``kernels.py``."""
    l_t = schedule.lambda_ * schedule.theta
    tau_theta = schedule.tau / schedule.theta
    rho = rho_c + (gradient * u).sum(dim=1, keepdim=True)
    v = u - (rho * inverse).clamp(-l_t, l_t) * gradient
    px, py = p[:, :, 0], p[:, :, 1]
    div_p = (
        px
        - functional.pad(px, (1, 0))[..., :-1]
        + py
        - functional.pad(py, (0, 0, 1, 0))[..., :-1, :]
    )
    u = v + schedule.theta * div_p
    grad_u = torch.stack(
        [functional.pad(u.diff(dim=3), (0, 1)), functional.pad(u.diff(dim=2), (0, 0, 0, 1))], dim=2
    )
    length = grad_u.square().sum(dim=2, keepdim=True).sqrt()
    return u, (p + tau_theta * grad_u) / (1 + tau_theta * length)


def median_filter(u: Tensor, size: int) -> Tensor:
    """Median of each size x size window of [B, C, H, W]; edge pixels are repeated."""
    _, _, height, width = u.shape
    margin = size // 2
    wide = functional.pad(u, (margin, margin, margin, margin), mode="replicate")
    shifts = [
        wide[:, :, dy : dy + height, dx : dx + width] for dy in range(size) for dx in range(size)
    ]
    return torch.stack(shifts).median(dim=0).values
