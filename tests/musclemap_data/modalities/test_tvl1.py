"""TV-L1: against OpenCV, against known flow, and at the edges of its inputs."""

import dataclasses
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musclemap_data.errors import UserError
from musclemap_data.modalities import tvl1
from musclemap_data.modalities.tvl1 import torch_engine

HEIGHT, WIDTH = 96, 130


def rendered_pair(shift: tuple[float, float], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two uint8 frames; all pixels of the second have moved by ``shift`` (right, down) px."""
    rng = np.random.default_rng(seed)
    scene = np.zeros((HEIGHT + 40, WIDTH + 40), np.float32)
    for cells in (4, 8, 16, 32):
        grid = rng.normal(0, 40 / cells**0.5, (cells, cells)).astype(np.float32)
        scene += cv2.resize(grid, scene.shape[::-1], interpolation=cv2.INTER_CUBIC)
    scene = 128 + 40 * scene / scene.std()
    x, y = np.meshgrid(np.arange(WIDTH, dtype=np.float32), np.arange(HEIGHT, dtype=np.float32))
    u, v = shift
    frames = [
        cv2.remap(scene, x + 20 - dx, y + 20 - dy, cv2.INTER_LANCZOS4)
        for dx, dy in ((0, 0), (u, v))
    ]
    first, second = (
        np.clip(np.rint(f + rng.normal(0, 1, f.shape)), 0, 255).astype(np.uint8) for f in frames
    )
    return first, second


def end_point_error(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.hypot(a[..., 0] - b[..., 0], a[..., 1] - b[..., 1])


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    """Six frames, uint8 [6, H, W], in slow diagonal motion."""
    first, _ = rendered_pair((0, 0), seed=5)
    return np.stack([np.roll(first, (t, 2 * t), axis=(0, 1)) for t in range(6)])


# --- the right answer ----------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", tvl1.SCHEDULES)
@pytest.mark.parametrize("shift", [(0.6, -0.4), (-3.0, 2.0), (6.5, 4.0)])
def test_flow_of_a_known_shift(schedule: str, shift: tuple[float, float]) -> None:
    u = tvl1.tvl1_flow(*rendered_pair(shift), schedule)
    assert u.dtype == np.float32
    assert u.shape == (HEIGHT, WIDTH, 2)
    error = end_point_error(u, np.array(shift))[12:-12, 12:-12]
    assert error.mean() < 0.12


@pytest.mark.parametrize("shift", [(0.6, -0.4), (3.0, 2.0), (-5.0, 1.5)])
def test_parity_is_opencv(shift: tuple[float, float]) -> None:
    pair = rendered_pair(shift, seed=2)
    theirs = cv2.optflow.DualTVL1OpticalFlow_create().calc(*pair, None)
    difference = end_point_error(tvl1.tvl1_flow(*pair, "parity"), theirs)
    assert difference.mean() < 0.02
    assert np.percentile(difference, 95) < 0.05


def test_parity_is_opencv_on_real_pairs(shared_dir: Path) -> None:
    capture = cv2.VideoCapture(str(shared_dir / "real_clips" / "push_up_13.mp4"))
    frames = [cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2GRAY)[::2, ::2] for _ in range(10)]
    pair = np.ascontiguousarray(frames[-2]), np.ascontiguousarray(frames[-1])
    theirs = cv2.optflow.DualTVL1OpticalFlow_create().calc(*pair, None)
    assert end_point_error(tvl1.tvl1_flow(*pair, "parity"), theirs).mean() < 0.02


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("shape", [(1, 1), (1, 20), (21, 1), (2, 3), (17, 33), (20, 48)])
def test_median_is_opencv_s(shape: tuple[int, int], size: int) -> None:
    from musclemap_data.modalities.tvl1 import kernels

    height, width = shape
    values = np.random.default_rng(size).normal(size=shape).astype(np.float32)
    stride = kernels.row_stride(width)
    planes = np.zeros((kernels.PLANES, kernels.plane_size(height, width)), np.float32)
    image = planes[kernels.U1, stride : (height + 1) * stride].reshape(height, stride)
    image[:, :width] = values
    rows = np.zeros((kernels.ROWS, stride + 16), np.float32)
    kernels.median_filter(planes, kernels.U1, size, height, width, rows)
    np.testing.assert_array_equal(image[:, :width], cv2.medianBlur(values, size).reshape(shape))
    assert not image[:, width:].any()


@pytest.mark.parametrize("shape", [(256, 456), (456, 256), (256, 341), (166, 296), (108, 192)])
def test_planes_are_padded_so_that_no_load_waits_for_another_one_s_store(
    shape: tuple[int, int],
) -> None:
    from musclemap_data.modalities.tvl1 import kernels

    stride = kernels.row_stride(shape[1])
    size = kernels.plane_size(*shape)
    assert size % 16 == 0 and 0 <= size - (shape[0] + 2) * stride - 16 < 1040
    assert kernels.stalls(size, stride) == 0
    page = 1024  # floats in the 4096 bytes after which addresses look alike
    assert kernels.stalls(page * (size // page), stride) > 0  # all planes begin alike


@pytest.mark.parametrize("scale", [0.5, 0.8])
def test_pyramid_is_opencv_s(scale: float) -> None:
    from musclemap_data.modalities.tvl1 import kernels

    schedule = dataclasses.replace(tvl1.SCHEDULES["default"], scale=scale)
    frame, _ = rendered_pair((0, 0))
    sizes = np.array(tvl1.level_sizes(HEIGHT, WIDTH, schedule))
    pyramid = np.zeros(sizes.prod(axis=1).sum(), np.float32)
    starts, rows = np.zeros(WIDTH, np.int32), np.zeros((2, WIDTH + 16), np.float32)
    kernels.build_pyramid(frame, sizes, scale, pyramid, starts, rows)
    theirs, start = frame.astype(np.float32), 0
    for height, width in sizes:
        own = pyramid[start : start + height * width].reshape(height, width)
        assert theirs.shape == own.shape
        np.testing.assert_allclose(own, theirs, atol=0.01)
        start += height * width
        theirs = cv2.resize(theirs, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)


@pytest.mark.parametrize("schedule", ["default", "fast", "strict"])
def test_torch_engine_agrees_with_numba(schedule: str) -> None:
    pairs = [rendered_pair((1.5, -0.5), 1), rendered_pair((-4.0, 2.0), 2)]
    frames0, frames1 = (np.stack(frames) for frames in zip(*pairs, strict=True))
    ours = np.stack([tvl1.tvl1_flow(*pair, schedule) for pair in pairs])
    theirs = tvl1.tvl1_torch(frames0, frames1, schedule)
    assert theirs.shape == ours.shape
    assert end_point_error(ours, theirs).mean() < 1e-3
    assert end_point_error(ours, theirs).max() < 0.1


def test_torch_solver_finds_numba_s_flow_of_a_clip_in_batches(clip: np.ndarray) -> None:
    ours = tvl1.flow_clip(clip)
    solver = torch_engine.TorchSolver("cpu", pairs_at_once=2)
    theirs = solver(clip)
    assert theirs.shape == ours.shape == (5, HEIGHT, WIDTH, 2)
    error = end_point_error(ours, theirs)
    assert error.mean() < 1e-3
    assert (error < 0.01).mean() > 0.999
    assert solver(clip[:1]).shape == (0, HEIGHT, WIDTH, 2)


def test_torch_solver_halves_its_batches_when_memory_is_out(
    clip: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def room_for(most: int) -> Callable[..., np.ndarray]:
        def solve(frames0: np.ndarray, frames1: np.ndarray, *_: object) -> np.ndarray:
            sizes.append(len(frames0))
            if len(frames0) > most:
                raise torch.OutOfMemoryError("no room")
            shown = np.stack([frames0, frames1], axis=-1)
            return shown.astype(np.float32)

        return solve

    solver = torch_engine.TorchSolver("cpu", pairs_at_once=64)
    monkeypatch.setattr(torch_engine, "solve_batch", room_for(1))
    flows = solver(clip)
    assert sizes == [5, 2, 1, 1, 1, 1, 1]
    assert solver.pairs_at_once == 1  # the next clip does not try again
    np.testing.assert_array_equal(flows, np.stack([clip[:-1], clip[1:]], axis=-1))
    monkeypatch.setattr(torch_engine, "solve_batch", room_for(0))
    with pytest.raises(MemoryError, match="no room for a pair"):
        solver(clip)


def test_the_device_of_the_flow_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [tvl1.choose_device(name) for name in (None, "cpu", "auto")] == [None, None, None]
    with pytest.raises(UserError, match="sees no GPU here; use --device auto or cpu"):
        tvl1.choose_device("cuda")
    assert tvl1.choose_device("cuda", elsewhere=True) == "cuda"  # of a Ray cluster's nodes
    with pytest.raises(UserError, match="sees no GPU"):
        torch_engine.TorchSolver("cuda")
    with pytest.raises(UserError, match="'tpu'; choose auto, cpu or cuda"):
        tvl1.choose_device("tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [tvl1.choose_device(name) for name in ("cpu", "auto", "cuda")] == [None, "cuda", "cuda"]


@pytest.mark.parametrize("shape", [(17, 16), (16, 17), (20, 32), (33, 47), (40, 48)])
def test_engines_agree_at_the_edges_of_their_vectors(shape: tuple[int, int]) -> None:
    height, width = shape
    pair = [frame[:height, :width].copy() for frame in rendered_pair((0.8, -0.5), 4)]
    theirs = tvl1.tvl1_torch(pair[0][None], pair[1][None])[0]
    assert end_point_error(tvl1.tvl1_flow(*pair), theirs).max() < 0.01


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names an x86 processor")
def test_a_processor_without_avx512_finds_the_same_flow(tmp_path: Path) -> None:
    pair = rendered_pair((0.8, -0.5), 4)
    np.save(tmp_path / "pair.npy", pair)
    code = (
        "import sys, numpy as np; from musclemap_data.modalities import tvl1;"
        "from musclemap_data.modalities.tvl1 import kernels; assert kernels.LANES == 8;"
        "np.save(sys.argv[1] + '/flow.npy', tvl1.tvl1_flow(*np.load(sys.argv[1] + '/pair.npy')))"
    )
    older = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+sse4.2,+avx,+avx2,+fma"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=os.environ | older, check=True)
    found = np.load(tmp_path / "flow.npy")
    assert end_point_error(found, tvl1.tvl1_flow(*pair)).max() < 0.01


def test_a_repeated_frame_does_not_move_and_does_not_disturb_its_neighbours() -> None:
    first, second = rendered_pair((1.5, -0.5))
    flows = tvl1.flow_clip(np.stack([first, first, second, second, first]))
    assert not flows[0].any()
    assert not flows[2].any()
    np.testing.assert_array_equal(flows[1], tvl1.tvl1_flow(first, second))
    np.testing.assert_array_equal(flows[3], tvl1.tvl1_flow(second, first))


@pytest.mark.slow
def test_torch_engine_follows_the_stop_rule_of_each_pair() -> None:
    moving, still = rendered_pair((1.0, 0.5), 1), rendered_pair((0, 0), 2)
    frames0, frames1 = (np.stack(frames) for frames in zip(moving, still, strict=True))
    together = tvl1.tvl1_torch(frames0, frames1, "parity")
    alone = tvl1.tvl1_torch(frames0[:1], frames1[:1], "parity")
    assert end_point_error(together[0], alone[0]).max() < 1e-3
    # One iteration more or less at a stop is within rounding: hence the looser bound.
    assert end_point_error(together[0], tvl1.tvl1_flow(*moving, "parity")).mean() < 0.02


# --- the same answer -----------------------------------------------------------------------------


def test_flow_does_not_depend_on_threads_cuts_or_order(clip: np.ndarray) -> None:
    whole = tvl1.flow_clip(clip)
    assert whole.shape == (5, HEIGHT, WIDTH, 2)
    workspace = tvl1.Workspace(HEIGHT, WIDTH)
    for t in reversed(range(5)):  # one by one, backwards, in used memory
        single = tvl1.tvl1_flow(clip[t], clip[t + 1], workspace=workspace)
        np.testing.assert_array_equal(single, whole[t])
    for threads in (2, 3, 9):
        np.testing.assert_array_equal(tvl1.flow_clip(clip, threads=threads), whole)


def test_a_view_with_strides_is_read_right(clip: np.ndarray) -> None:
    wide = np.repeat(np.repeat(clip, 2, axis=1), 2, axis=2)
    np.testing.assert_array_equal(tvl1.flow_clip(wide[:, ::2, ::2]), tvl1.flow_clip(clip))


def test_a_clip_of_one_frame_has_no_flow(clip: np.ndarray) -> None:
    assert tvl1.flow_clip(clip[:1], threads=2).shape == (0, HEIGHT, WIDTH, 2)


# --- never NaN -----------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    kind=st.sampled_from(["noise", "extremes", "black", "constant", "black to white"]),
    schedule=st.sampled_from(list(tvl1.SCHEDULES)),
    seed=st.integers(0, 1000),
)
def test_flow_is_finite_for_any_size_and_content(
    height: int, width: int, kind: str, schedule: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    clip = {
        "noise": rng.integers(0, 256, (3, height, width)),
        "extremes": 255 * rng.integers(0, 2, (3, height, width)),
        "black": np.zeros((3, height, width)),
        "constant": np.full((3, height, width), 200),
        "black to white": np.full((3, height, width), 255) * np.arange(3).clip(0, 1)[:, None, None],
    }[kind].astype(np.uint8)
    u = tvl1.flow_clip(clip, schedule)
    assert np.isfinite(u).all()
    if kind in ("black", "constant"):
        assert not u.any()


@pytest.mark.parametrize("schedule", tvl1.SCHEDULES)
def test_identical_frames_do_not_move(schedule: str) -> None:
    frame, _ = rendered_pair((0, 0))
    assert np.abs(tvl1.tvl1_flow(frame, frame, schedule)).max() < 1e-3


# --- wrong arguments -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame0", "frame1", "message"),
    [
        (np.zeros((8, 8)), np.zeros((8, 8)), r"uint8 \[H, W\].*float64"),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8), r"uint8 \[H, W\].*8, 8, 3"),
        (np.zeros((8, 8), np.uint8), np.zeros((8, 9), np.uint8), "one shape"),
        (np.zeros((0, 8), np.uint8), np.zeros((0, 8), np.uint8), "empty"),
        ([[1, 2]], [[1, 2]], "NumPy"),
    ],
)
def test_wrong_frames_are_refused(frame0: np.ndarray, frame1: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tvl1.tvl1_flow(frame0, frame1)


def test_wrong_settings_are_refused(clip: np.ndarray) -> None:
    with pytest.raises(ValueError, match="parity, default, fast, strict"):
        tvl1.flow_clip(clip, "quick")
    with pytest.raises(ValueError, match="threads"):
        tvl1.flow_clip(clip, threads=0)
    with pytest.raises(ValueError, match="workspace is for"):
        tvl1.flow_clip(clip, "fast", workspace=tvl1.Workspace(HEIGHT, WIDTH, "default"))
    with pytest.raises(ValueError, match=r"uint8 \[T, H, W\]"):
        tvl1.flow_clip(clip[0])


@pytest.mark.parametrize(
    "wrong",
    [
        {"tau": 0.3},
        {"lambda_": 0},
        {"theta": -1},
        {"levels": 0},
        {"scale": 1.0},
        {"warps": 0},
        {"coarse_warps": 0},
        {"outer_iterations": 0},
        {"inner_iterations": 0},
        {"stop_px": -1},
        {"median_px": 4},
        {"tau": float("nan")},
    ],
)
def test_a_schedule_that_cannot_work_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        dataclasses.replace(tvl1.SCHEDULES["default"], **wrong)


# --- set-up --------------------------------------------------------------------------------------


def test_importing_the_module_loads_neither_numba_nor_torch() -> None:
    code = (
        "import sys, musclemap_data.modalities.flow, musclemap_data.modalities.tvl1 as t;"
        "t.SCHEDULES['default'];"
        "sys.exit(', '.join({'numba', 'torch', 'cv2'} & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
