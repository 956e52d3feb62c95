"""TV-L1 against OpenCV, side by side: speed, error to a known flow, and energy on real pairs.

    python -m tests.bench.bench_flow [--out FILE] [--quick] [--threads N]

Every pair of frames is given to every method before the next pair's turn, so that a busy machine
slows them all alike. On one thread the clock is the process's CPU time, which other processes
cannot stretch; on more it is the wall clock, and then the OpenCV methods use N threads for a pair
while ours solves N pairs at a time. Needs nothing but this repository; real pairs are taken from
``../shared/real_clips`` where that folder exists, and rendered otherwise. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from musclemap_data.modalities import flow, tvl1

HEIGHT, WIDTH = 256, 341
MAGNITUDES_PX = (1.5, 3.0, 5.0, 8.0)
NOISE_LEVELS = 1.5  # standard deviation of the sensor noise, in gray levels
SEED = 7
REFERENCE = "OpenCV DualTVL1"
CLIPS = Path(__file__).parents[2].parent / "shared" / "real_clips"

Frames = tuple[np.ndarray, np.ndarray]
Method = Callable[[list[Frames]], list[np.ndarray]]


@dataclass(frozen=True)
class Pair:
    """Two gray frames uint8 [H, W] and, for synthetic ones, the true flow and its magnitude."""

    frames: Frames
    truth: np.ndarray | None = None
    magnitude_px: float = 0.0


# --- synthetic pairs -----------------------------------------------------------------------------


def texture(rng: np.random.Generator) -> np.ndarray:
    """A gray image with structure at every scale: noise of seven octaves under random shapes."""
    height, width = int(1.35 * HEIGHT), int(1.35 * WIDTH)
    image = np.zeros((height, width), np.float32)
    for octave in range(7):
        cells = 3 * 2**octave
        grid = rng.normal(0, 0.6**octave, (cells, cells * 4 // 3)).astype(np.float32)
        image += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    image = 128 + 45 * (image - image.mean()) / image.std()
    for _ in range(25):
        shape = np.zeros((height, width), np.float32)
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axes = (int(rng.integers(6, 60)), int(rng.integers(6, 40)))
        if rng.random() < 0.5:
            cv2.ellipse(shape, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1)
        else:
            box = cv2.boxPoints((centre, axes, float(rng.uniform(0, 180))))
            cv2.fillPoly(shape, [box.astype(np.int32)], 1.0)
        opacity = rng.uniform(0.3, 0.9) * shape
        image = (1 - opacity) * image + opacity * rng.uniform(20, 235)
    return np.clip(cv2.GaussianBlur(image, (0, 0), 0.7), 0, 255)


def similarity(centre: np.ndarray, degrees: float, zoom: float, shift: np.ndarray) -> np.ndarray:
    """The affine [3, 3] map x -> centre + zoom R (x - centre) + shift."""
    angle = np.deg2rad(degrees)
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.eye(3)
    matrix[:2, :2] = turn
    matrix[:2, 2] = centre - turn @ centre + shift
    return matrix


def apply(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where an affine map takes every pixel of the frame: x and y, float32 [H, W]."""
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    mapped = np.einsum("ij,jyx->iyx", matrix[:2], np.stack([x, y, np.ones_like(x)]))
    return mapped[0].astype(np.float32), mapped[1].astype(np.float32)


def synthetic_pair(magnitude_px: float, rng: np.random.Generator) -> Pair:
    """A moving background with two limb-like layers that move on their own, and sensor noise."""
    size = np.array([WIDTH, HEIGHT])

    def motion(centre: np.ndarray, degrees: float, shift: float) -> np.ndarray:
        return similarity(
            centre,
            rng.uniform(-1, 1) * magnitude_px * degrees,
            1 + rng.uniform(-1, 1) * magnitude_px * 0.003,
            rng.uniform(-1, 1, 2) * magnitude_px * shift,
        )

    background = motion(size / 2, degrees=0.25, shift=0.5)
    layers: list[tuple[np.ndarray, np.ndarray, Any]] = [(texture(rng), background, None)]
    for _ in range(2):
        centre = rng.uniform([80, 70], size - [80, 70])
        own = motion(centre + rng.uniform(-20, 20, 2), degrees=0.8, shift=1.0)
        shape = (centre, rng.uniform(30, 60), rng.uniform(14, 30), rng.uniform(0, np.pi))
        layers.append((texture(rng), background @ own, shape))

    truth = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    frames: list[np.ndarray] = [np.zeros((HEIGHT, WIDTH), np.float32) for _ in range(2)]
    for image, matrix, shape in layers:
        for moment, place in enumerate((np.eye(3), np.linalg.inv(matrix))):
            x, y = apply(place)
            sampled = cv2.remap(
                image, x + 40, y + 40, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT
            )
            opacity = np.ones_like(x) if shape is None else ellipse(x, y, *shape)
            frames[moment] = (1 - opacity) * frames[moment] + opacity * sampled
            if moment == 0:
                moved = np.stack(apply(matrix), -1) - np.stack(apply(np.eye(3)), -1)
                truth[opacity > 0.5] = moved[opacity > 0.5]
    noisy = [frame + rng.normal(0, NOISE_LEVELS, frame.shape) for frame in frames]
    first, second = (np.clip(np.rint(frame), 0, 255).astype(np.uint8) for frame in noisy)
    return Pair((first, second), truth, magnitude_px)


def ellipse(
    x: np.ndarray, y: np.ndarray, centre: np.ndarray, long: float, short: float, angle: float
) -> np.ndarray:
    """Opacity of a filled ellipse with a soft edge of one pixel."""
    dx, dy = x - centre[0], y - centre[1]
    along = (dx * np.cos(angle) + dy * np.sin(angle)) / long
    across = (dy * np.cos(angle) - dx * np.sin(angle)) / short
    return np.clip((1 - np.hypot(along, across)) * short + 0.5, 0, 1)


def synthetic_pairs(count: int, seed: int = SEED) -> Iterator[Pair]:
    """``count`` pairs, the magnitudes in turn; the same for the same seed."""
    for i in range(count):
        yield synthetic_pair(MAGNITUDES_PX[i % 4], np.random.default_rng([seed, i]))


# --- real pairs ----------------------------------------------------------------------------------


def real_pairs(count: int) -> list[Pair]:
    """One pair from the middle of each of ``count`` clips, short side 256, no still ones."""
    paths = sorted(CLIPS.glob("*.mp4"))
    pairs: list[Pair] = []
    for path in paths[:: max(1, len(paths) // (2 * count))]:
        pair = middle_pair(path)
        if pair is not None and len(pairs) < count:
            pairs.append(pair)
    return pairs


def middle_pair(path: Path) -> Pair | None:
    """Two neighbouring gray frames from the middle of a clip, or None if hardly anything moves."""
    capture = cv2.VideoCapture(str(path))
    middle = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) // 2
    frames: list[np.ndarray] = []
    for _ in range(middle + 2):
        read, frame = capture.read()
        if not read:
            return None
        frames = [*frames[-1:], frame]
    height, width = frames[0].shape[:2]
    scale = 256 / min(height, width)
    size = round(width * scale), round(height * scale)
    first, second = (
        cv2.cvtColor(cv2.resize(f, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
        for f in frames
    )
    moves = cv2.absdiff(first, second).mean() > 0.5
    return Pair((first, second)) if moves else None


# --- methods -------------------------------------------------------------------------------------


def methods(threads: int) -> dict[str, Method]:
    """Each method as a function from a group of pairs to their flows."""
    cv2.setNumThreads(threads)
    dual = cv2.optflow.DualTVL1OpticalFlow_create()  # type: ignore[attr-defined]
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # type: ignore[attr-defined]
    pool = ThreadPoolExecutor(threads)
    workspaces: dict[tuple[str, int, int, int], tvl1.Workspace] = {}

    def ours(schedule: str) -> Method:
        def one(slot: int, pair: Frames) -> np.ndarray:
            height, width = pair[0].shape
            key = (schedule, slot, height, width)
            if key not in workspaces:
                workspaces[key] = tvl1.Workspace(height, width, schedule)
            return tvl1.tvl1_flow(*pair, schedule, workspaces[key])

        def solve(group: list[Frames]) -> list[np.ndarray]:
            if threads == 1:
                return [one(0, pair) for pair in group]
            return list(pool.map(one, range(len(group)), group))

        return solve

    table: dict[str, Method] = {
        REFERENCE: lambda group: [dual.calc(*pair, None) for pair in group],
        "DIS medium": lambda group: [dis.calc(*pair, None) for pair in group],
    }
    return table | {schedule: ours(schedule) for schedule in tvl1.SCHEDULES}


def run(
    pairs: list[Pair], threads: int
) -> tuple[dict[str, np.ndarray], dict[str, list[np.ndarray]]]:
    """Milliseconds a pair, [groups], and the flows of all pairs, by method."""
    clock = time.process_time if threads == 1 else time.perf_counter
    table = methods(threads)
    timings: dict[str, list[float]] = {name: [] for name in table}
    flows: dict[str, list[np.ndarray]] = {name: [] for name in table}
    for start in range(0, len(pairs), threads):
        group = [pair.frames for pair in pairs[start : start + threads]]
        if start == 0 or group[0][0].shape != pairs[start - 1].frames[0].shape:
            for name in table.keys() - {REFERENCE}:
                table[name](group)  # compile, and make the workspaces of this size
        for name, method in table.items():
            begin = clock()
            flows[name] += method(group)
            timings[name].append(1e3 * (clock() - begin) / len(group))
    return {name: np.array(times) for name, times in timings.items()}, flows


# --- measures ------------------------------------------------------------------------------------


def end_point_error(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Length of the difference of two flows, pixels, [H, W]."""
    return np.hypot(a[..., 0] - b[..., 0], a[..., 1] - b[..., 1])


def energy(frames: Frames, u: np.ndarray, seen: np.ndarray, lambda_: float = 0.15) -> float:
    """sum |grad u1| + |grad u2| + lambda |I1(x + u) - I0(x)|, the data term where ``seen``."""
    total = 0.0
    for d in range(2):
        x = np.diff(u[..., d], axis=1, append=u[:, -1:, d])
        y = np.diff(u[..., d], axis=0, append=u[-1:, :, d])
        total += float(np.hypot(x, y).sum(dtype=np.float64))
    x, y = positions(u)
    warped = cv2.remap(
        frames[1].astype(np.float32), x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    residual = np.abs(warped - frames[0])[seen]
    return total + lambda_ * float(residual.sum(dtype=np.float64))


def positions(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x + u for every pixel, float32 [H, W] each."""
    height, width = u.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return x + u[..., 0], y + u[..., 1]


def lands_inside(u: np.ndarray) -> np.ndarray:
    """True where x + u stays within the frame, [H, W]."""
    x, y = positions(u)
    return (x >= 0) & (x <= u.shape[1] - 1) & (y >= 0) & (y <= u.shape[0] - 1)


# --- tables --------------------------------------------------------------------------------------


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def speed_columns(timings: dict[str, np.ndarray], name: str) -> list[str]:
    """Median ms a pair, and how many times faster than the reference: medians and totals."""
    reference, own = timings[REFERENCE], timings[name]
    return [
        f"{np.median(own):.1f}",
        f"{np.median(reference) / np.median(own):.1f}",
        f"{reference.sum() / own.sum():.1f}",
    ]


SPEED_HEADER = ["ms a pair", "x OpenCV (medians)", "x OpenCV (totals)"]


def synthetic_table(pairs: list[Pair], threads: int) -> str:
    """Speed and end-point error to the truth, pooled and for each magnitude."""
    timings, flows = run(pairs, threads)
    rows = []
    for name, found in flows.items():
        errors = [
            end_point_error(u, pair.truth)
            for u, pair in zip(found, pairs, strict=True)
            if pair.truth is not None
        ]
        row = [name, *speed_columns(timings, name), summary(errors)]
        for magnitude in MAGNITUDES_PX:
            of_class = [
                e for e, pair in zip(errors, pairs, strict=True) if pair.magnitude_px == magnitude
            ]
            row.append(summary(of_class))
        rows.append(row)
    classes = [f"{magnitude} px" for magnitude in MAGNITUDES_PX]
    return markdown(["method", *SPEED_HEADER, "all", *classes], rows)


def summary(errors: list[np.ndarray]) -> str:
    """Mean / 95th percentile / median over all pixels."""
    pooled = np.concatenate([e.ravel() for e in errors])
    return f"{pooled.mean():.3f} / {np.percentile(pooled, 95):.3f} / {np.median(pooled):.3f}"


def real_table(pairs: list[Pair], threads: int) -> str:
    """Speed, energy, and difference from the reference's flow and its stored values."""
    timings, flows = run(pairs, threads)
    rows = []
    for name, found in flows.items():
        energies, differences, off = [], [], []
        for pair, u, reference in zip(pairs, found, flows[REFERENCE], strict=True):
            seen = lands_inside(u) & lands_inside(reference)  # the same pixels for both
            energies.append((energy(pair.frames, u, seen), energy(pair.frames, reference, seen)))
            differences.append(end_point_error(u, reference).ravel())
            step = flow.quantise(u).astype(int) - flow.quantise(reference)
            off.append(np.abs(step).ravel() > 1)
        own, reference_total = np.sum(energies, axis=0)
        ratios = [a / b for a, b in energies]
        difference = np.concatenate(differences)
        rows.append(
            [
                name,
                *speed_columns(timings, name),
                f"{own / reference_total:.4f}",
                f"{np.median(ratios):.4f}",
                f"{max(ratios):.4f}",
                f"{difference.mean():.4f}",
                f"{np.percentile(difference, 95):.3f}",
                f"{100 * np.concatenate(off).mean():.3f}%",
            ]
        )
    energy_header = ["energy (sum)", "energy (median pair)", "energy (worst pair)"]
    header = [*energy_header, "difference, mean px", "p95 px", "uint8 off by > 1"]
    return markdown(["method", *SPEED_HEADER, *header], rows)


def main() -> None:
    """Measure, print, and write to --out if given."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="also write the tables to this file")
    parser.add_argument("--quick", action="store_true", help="8 + 4 pairs in place of 64 + 18")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    synthetic_count, real_count = (8, 4) if arguments.quick else (64, 18)

    synthetic = list(synthetic_pairs(synthetic_count))
    real = real_pairs(real_count)
    source = "real clips"
    if not real:
        real = list(synthetic_pairs(real_count, seed=SEED + 1))
        source = "rendered, no real clips at hand"
    lengths = np.concatenate(
        [np.hypot(*np.moveaxis(p.truth, -1, 0)).ravel() for p in synthetic if p.truth is not None]
    )
    text = f"""\
{platform.machine()}, OpenCV {cv2.__version__}, {arguments.threads} thread(s)

**{len(synthetic)} synthetic pairs of {HEIGHT} x {WIDTH} with known flow** (mean length
{lengths.mean():.1f} px, longest {lengths.max():.1f} px); end-point error in pixels,
mean / p95 / median

{synthetic_table(synthetic, arguments.threads)}

**{len(real)} pairs, short side 256** ({source}); energy relative to OpenCV's result

{real_table(real, arguments.threads)}
"""
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
