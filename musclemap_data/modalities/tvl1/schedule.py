"""How the TV-L1 energy is minimised: the parameters, and four named sets of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

SMALLEST_SIDE_PX = 16  # a pyramid ends before a level with a shorter side, as OpenCV's does


@dataclass(frozen=True)
class Schedule:
    """How the TV-L1 energy is minimised. The defaults are those of OpenCV's DualTVL1.

    Sources: [Z] Zach, Pock and Bischof, "A Duality Based Approach for Realtime TV-L1 Optical Flow",
    DAGM 2007; [S] Sanchez, Meinhardt-Llopis and Facciolo, "TV-L1 Optical Flow Estimation", IPOL
    2013; [O] OpenCV contrib, ``cv2.optflow.DualTVL1OpticalFlow_create``.

    Attributes:
        tau: time step of the dual variables, in (0, 0.25] [Z].
        lambda_: weight of the data term for images of 0 to 255 [S]; smaller is smoother.
        theta: tightness between the flow and its auxiliary copy [Z].
        levels: most levels of the image pyramid; fewer where a side would fall below 16 pixels.
        scale: size of a level relative to the next finer one, in (0, 1).
        warps: times that the second frame is warped by the present flow, on the finest level [S].
        coarse_warps: the same on each other level.
        outer_iterations: rounds of median filter and inner iterations in one warp [O].
        inner_iterations: most iterations in a round [O].
        stop_px: end a warp once an iteration changes the flow by at most this, root mean square
            over the pixels [S]; 0 runs every iteration.
        median_px: side of the median filter on the flow: 3 or 5, or 1 for none [O].
        black_outside: take the second frame to be black beyond its border [O]. If False, pixels
            that move out of the frame have no data term and are filled in by smoothness.
    """

    tau: float = 0.25
    lambda_: float = 0.15
    theta: float = 0.3
    levels: int = 5
    scale: float = 0.8
    warps: int = 5
    coarse_warps: int = 5
    outer_iterations: int = 10
    inner_iterations: int = 30
    stop_px: float = 0.01
    median_px: int = 5
    black_outside: bool = True

    def __post_init__(self) -> None:
        """Refuse values for which the method diverges or makes no sense."""
        rules = {
            "tau in (0, 0.25]": 0 < self.tau <= 0.25,
            "lambda_ > 0": self.lambda_ > 0,
            "theta > 0": self.theta > 0,
            "levels >= 1": self.levels >= 1,
            "scale in (0, 1)": 0 < self.scale < 1,
            "warps >= 1": self.warps >= 1,
            "coarse_warps >= 1": self.coarse_warps >= 1,
            "outer_iterations >= 1": self.outer_iterations >= 1,
            "inner_iterations >= 1": self.inner_iterations >= 1,
            "stop_px >= 0": self.stop_px >= 0,
            "median_px in {1, 3, 5}": self.median_px in (1, 3, 5),
        }
        for rule, holds in rules.items():
            if not holds:
                raise ValueError(f"a TV-L1 schedule needs {rule}; got {self}")


def _one_median_a_warp(
    scale: float, levels: int, warps: int, coarse_warps: int, iterations: int
) -> Schedule:
    """OpenCV's energy, with one small median a warp and a fixed number of iterations after it."""
    return Schedule(
        levels=levels,
        scale=scale,
        warps=warps,
        coarse_warps=coarse_warps,
        outer_iterations=1,
        inner_iterations=iterations,
        stop_px=0.0,
        median_px=3,
        black_outside=False,
    )


# "default" and "strict" were chosen among about 35 schedules by their error on 24 synthetic pairs
# (another seed than the benchmark's) and their energy on 9 real pairs (half of the benchmark's).
# Mean errors below are those of the 64 synthetic pairs of ``tests/bench/bench_flow.py``.
SCHEDULES: Mapping[str, Schedule] = MappingProxyType(
    {
        # OpenCV's own schedule and stop rule: within 0.004 px of its flow, mean over real pairs.
        "parity": Schedule(),
        # Below OpenCV's error on the whole. What a coarse level leaves undone the next one does:
        # with 4 warps on all levels it takes a quarter longer for 0.5% less error.
        "default": _one_median_a_warp(0.65, levels=6, warps=4, coarse_warps=2, iterations=25),
        # OpenCV's error on the whole, but 5% above it at 1.5 px; energy within 2% of OpenCV's.
        "fast": _one_median_a_warp(0.5, levels=5, warps=3, coarse_warps=3, iterations=25),
        # Below OpenCV's error in every class, though at 1.5 px by no more than chance.
        "strict": _one_median_a_warp(0.75, levels=8, warps=4, coarse_warps=4, iterations=27),
    }
)


def resolve_schedule(schedule: str | Schedule) -> Schedule:
    """The schedule itself, or the one of that name in ``SCHEDULES``, else ValueError."""
    if isinstance(schedule, Schedule):
        return schedule
    if schedule not in SCHEDULES:
        raise ValueError(f"unknown TV-L1 schedule {schedule!r}; choose from {', '.join(SCHEDULES)}")
    return SCHEDULES[schedule]


def level_sizes(height: int, width: int, schedule: Schedule) -> list[tuple[int, int]]:
    """Height and width of each level of the pyramid, finest first, rounded as OpenCV rounds."""
    sizes = [(height, width)]
    while len(sizes) < schedule.levels:
        height, width = round(height * schedule.scale), round(width * schedule.scale)
        if min(height, width) < SMALLEST_SIDE_PX:
            break
        sizes.append((height, width))
    return sizes
