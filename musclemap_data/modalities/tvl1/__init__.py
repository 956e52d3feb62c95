"""Dense optical flow by TV-L1 (Zach, Pock and Bischof 2007): one solver, four schedules.

    flow = tvl1_flow(frame0, frame1)                  float32 [H, W, 2], pixels
    flows = flow_clip(frames, "fast", threads=2)      float32 [T - 1, H, W, 2]
    flows = tvl1_torch(frames[:-1], frames[1:])       the same in torch, all pairs at once
    flows = torch_solver("cuda")(frames)              the same of a clip, in batches that fit

The energy is the one that OpenCV's DualTVL1 minimises, with the same tau, lambda and theta; the
schedules (``schedule.py``) differ in the way they get there. ``kernels.py`` holds the method. Numba
compiles it at its first use and keeps the result on disk. ``torch_engine.py`` has the method once
more, for a batch of pairs in torch: ``extract-modalities --device cuda`` computes with that one. It
is tested on the CPU and has not yet run on a GPU. Importing this module loads neither.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from musclemap_data.errors import UserError
from musclemap_data.modalities.tvl1.schedule import (
    SCHEDULES,
    Schedule,
    level_sizes,
    resolve_schedule,
)

if TYPE_CHECKING:
    import torch

    from musclemap_data.modalities.tvl1.torch_engine import TorchSolver

__all__ = [
    "SCHEDULES",
    "Schedule",
    "Workspace",
    "choose_device",
    "flow_clip",
    "torch_solver",
    "tvl1_flow",
    "tvl1_torch",
]


class Workspace:
    """The memory in which pairs of one size are solved with one schedule.

    Make it once and reuse it: the solver itself allocates nothing. It may serve any number of
    calls one after the other, but only one thread at a time.
    """

    def __init__(self, height: int, width: int, schedule: str | Schedule = "default") -> None:
        from musclemap_data.modalities.tvl1 import kernels

        self.height, self.width = height, width
        self.schedule = resolve_schedule(schedule)
        sizes = np.array(level_sizes(height, width, self.schedule), dtype=np.int64)
        pixels = int(sizes.prod(axis=1).sum())
        plane = max(kernels.plane_size(*size) for size in sizes.tolist())
        row = kernels.row_stride(width) + 16
        self.memory = kernels.Memory(
            sizes=sizes,
            pyramid0=_aligned_zeros(pixels),
            pyramid1=_aligned_zeros(pixels),
            planes=_aligned_zeros(kernels.PLANES * plane),
            edge=_aligned_zeros(kernels.LANES),
            changes=_aligned_zeros(kernels.LANES),
            taps=_aligned_zeros(kernels.taps_size(height, width)),
            flow=_aligned_zeros(2 * height * width),
            starts=np.zeros(width, dtype=np.int32),
            rows=_aligned_zeros(kernels.ROWS * row).reshape(kernels.ROWS, row),
        )
        s = self.schedule
        self.parameters = kernels.Parameters(
            tau=float(s.tau),
            lambda_=float(s.lambda_),
            theta=float(s.theta),
            scale=float(s.scale),
            warps=int(s.warps),
            coarse_warps=int(s.coarse_warps),
            outer_iterations=int(s.outer_iterations),
            inner_iterations=int(s.inner_iterations),
            stop_px=float(s.stop_px),
            median_px=int(s.median_px),
            black_outside=bool(s.black_outside),
        )

    def solve(self, frames: npt.NDArray[np.uint8], out: npt.NDArray[np.float32]) -> None:
        """Write the flow of ``frames`` uint8 [T, H, W] to ``out`` float32 [T - 1, H, W, 2].

        Releases the interpreter lock while it computes.
        """
        from musclemap_data.modalities.tvl1 import kernels

        memory, parameters = self.memory, self.parameters
        pyramid0, pyramid1 = memory.pyramid0, memory.pyramid1

        def build(frame: npt.NDArray[np.uint8], pyramid: npt.NDArray[np.float32]) -> None:
            kernels.build_pyramid(
                frame, memory.sizes, parameters.scale, pyramid, memory.starts, memory.rows
            )

        build(frames[0], pyramid0)
        for before, frame, flow in zip(frames[:-1], frames[1:], out, strict=True):
            if np.array_equal(before, frame):  # a frame shown twice: every step of u is zero
                flow[:] = 0
                continue
            build(frame, pyramid1)
            kernels.solve_pair(pyramid0, pyramid1, memory, parameters, flow)
            pyramid0, pyramid1 = pyramid1, pyramid0  # each pyramid serves two pairs


def _aligned_zeros(count: int) -> npt.NDArray[np.float32]:
    """Float32 zeros that start at a cache line, so that no vector straddles two."""
    raw = np.zeros(count + 16, dtype=np.float32)
    start = -(raw.ctypes.data // 4) % 16
    return raw[start : start + count]


def tvl1_flow(
    frame0: npt.NDArray[np.uint8],
    frame1: npt.NDArray[np.uint8],
    schedule: str | Schedule = "default",
    workspace: Workspace | None = None,
) -> npt.NDArray[np.float32]:
    """TV-L1 flow from one gray frame to the next.

    Args:
        frame0: uint8 [H, W].
        frame1: uint8 [H, W].
        schedule: a ``Schedule`` or the name of one in ``SCHEDULES``.
        workspace: memory to reuse, made for this size and schedule.

    Returns:
        float32 [H, W, 2]: u (right) and v (down) in pixels, frame0(x) = frame1(x + flow).

    Raises:
        ValueError: wrong dtype or shape, unknown schedule, or a workspace made for another task.
    """
    _check_gray("frame0", frame0, dims=2)
    _check_gray("frame1", frame1, dims=2)
    if frame0.shape != frame1.shape:
        raise ValueError(
            f"the two frames must have one shape; got {frame0.shape} and {frame1.shape}"
        )
    height, width = frame0.shape
    workspace = _fitting_workspace(workspace, height, width, resolve_schedule(schedule))
    flow = np.empty((1, height, width, 2), dtype=np.float32)
    workspace.solve(np.stack([frame0, frame1]), flow)
    pair: npt.NDArray[np.float32] = flow[0]
    return pair


def flow_clip(
    frames_gray: npt.NDArray[np.uint8],
    schedule: str | Schedule = "default",
    threads: int = 1,
    workspace: Workspace | None = None,
) -> npt.NDArray[np.float32]:
    """TV-L1 flow of every pair of neighbouring frames of a clip.

    A pair's flow depends on nothing but the pair: the result is the same, bit for bit, whatever
    the number of threads and wherever the clip is cut.

    Args:
        frames_gray: uint8 [T, H, W]; T >= 1.
        schedule: a ``Schedule`` or the name of one in ``SCHEDULES``.
        threads: pairs solved at the same time; each further thread makes its own workspace.
        workspace: memory for the first thread to reuse, made for this size and schedule.

    Returns:
        float32 [T - 1, H, W, 2]: u (right) and v (down) in pixels, I[t](x) = I[t + 1](x + flow[t]).

    Raises:
        ValueError: wrong dtype or shape, unknown schedule, or a workspace made for another task.
    """
    _check_gray("frames_gray", frames_gray, dims=3)
    if threads < 1:
        raise ValueError(f"threads must be at least 1; got {threads}")
    frame_count, height, width = frames_gray.shape
    pairs = frame_count - 1
    schedule = resolve_schedule(schedule)
    workspace = _fitting_workspace(workspace, height, width, schedule)
    frames = np.ascontiguousarray(frames_gray)
    flows = np.empty((pairs, height, width, 2), dtype=np.float32)
    cuts = np.linspace(0, pairs, min(threads, pairs) + 1, dtype=int)
    if len(cuts) <= 2:
        workspace.solve(frames, flows)
        return flows
    workspaces = [workspace, *(Workspace(height, width, schedule) for _ in cuts[2:])]
    with ThreadPoolExecutor(len(workspaces)) as pool:
        jobs = [
            pool.submit(one.solve, frames[start : stop + 1], flows[start:stop])
            for one, start, stop in zip(workspaces, cuts[:-1], cuts[1:], strict=True)
        ]
        for job in jobs:
            job.result()
    return flows


def tvl1_torch(
    frames0: npt.NDArray[np.uint8],
    frames1: npt.NDArray[np.uint8],
    schedule: str | Schedule = "default",
    device: str | torch.device = "cpu",
) -> npt.NDArray[np.float32]:
    """TV-L1 flow of a batch of pairs in torch, which need not be neighbours in one clip.

    Args:
        frames0: uint8 [B, H, W].
        frames1: uint8 [B, H, W].
        schedule: a ``Schedule`` or the name of one in ``SCHEDULES``.
        device: where torch computes.

    Returns:
        float32 [B, H, W, 2], as ``tvl1_flow`` for each pair up to rounding.

    Raises:
        ValueError: wrong dtype or shape, or unknown schedule.
    """
    _check_gray("frames0", frames0, dims=3)
    _check_gray("frames1", frames1, dims=3)
    if frames0.shape != frames1.shape:
        raise ValueError(
            f"the two batches must have one shape; got {frames0.shape} and {frames1.shape}"
        )
    from musclemap_data.modalities.tvl1 import torch_engine

    schedule = resolve_schedule(schedule)
    _, height, width = frames0.shape
    sizes = level_sizes(height, width, schedule)
    return torch_engine.solve_batch(frames0, frames1, schedule, sizes, device)


def choose_device(name: str | None, *, elsewhere: bool = False) -> str | None:
    """Where torch is to compute the flow, by the option ``--device``.

    Args:
        name: "cuda" needs a GPU; "auto" takes one where torch sees it; None and "cpu" take none.
        elsewhere: "cuda" is that of other machines, and not looked for on this one.

    Returns:
        "cuda", or None for numba on the processor.

    Raises:
        UserError: an unknown name, or torch sees no GPU.
    """
    if name not in (None, "auto", "cpu", "cuda"):
        raise UserError(f"--device is {name!r}; choose auto, cpu or cuda")
    if name in (None, "cpu"):
        return None
    if name == "cuda" and elsewhere:
        return name
    import torch

    if name == "auto" and not torch.cuda.is_available():
        return None
    from musclemap_data.modalities.tvl1.torch_engine import need_gpu

    need_gpu()
    return "cuda"


@lru_cache(maxsize=1)
def torch_solver(device: str) -> TorchSolver:
    """One solver a process, which remembers how many pairs fit into the device's memory.

    Raises:
        UserError: torch sees no such device.
    """
    from musclemap_data.modalities.tvl1.torch_engine import TorchSolver

    return TorchSolver(device)


def _fitting_workspace(
    workspace: Workspace | None, height: int, width: int, schedule: Schedule
) -> Workspace:
    """The given workspace if it suits, a new one if none was given."""
    if workspace is None:
        return Workspace(height, width, schedule)
    if (workspace.height, workspace.width, workspace.schedule) != (height, width, schedule):
        raise ValueError(
            f"this workspace is for frames of {workspace.height} x {workspace.width} and "
            f"{workspace.schedule}; got {height} x {width} and {schedule}. "
            "Make a new Workspace(height, width, schedule)"
        )
    return workspace


def _check_gray(name: str, frames: npt.NDArray[np.uint8], dims: int) -> None:
    """Raise ValueError unless ``frames`` is a non-empty uint8 array of ``dims`` dimensions."""
    wanted = "uint8 [H, W]" if dims == 2 else "uint8 [T, H, W]"
    if not isinstance(frames, np.ndarray):
        raise ValueError(
            f"{name} must be a NumPy array, {wanted} gray; got {type(frames).__name__}"
        )
    if frames.dtype != np.uint8 or frames.ndim != dims or frames.size == 0:
        raise ValueError(
            f"{name} must be {wanted} gray with no empty side; "
            f"got {frames.dtype} {list(frames.shape)}"
        )
