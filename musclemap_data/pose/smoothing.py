"""Temporal smoothing of a skeleton without lag.

The one-euro filter (Casiez, Roussel and Vogel, "1 euro filter: a simple speed-based low-pass filter
for noisy input in interactive systems", CHI 2012) is a first-order low pass whose cut-off rises
with the speed of the signal: a joint at rest is held still, a fast one passes. It was made for
live signals and lags behind them. A clip is whole, so here both low passes (of the speed, and of
the position) run forwards and backwards over it and the two results are averaged: what one is late
the other is early, and no lag remains.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Skeleton = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SmoothingSettings:
    """Settings of the one-euro filter; a frame is the unit of time, the body's size of length.

    In frames and not in seconds, because a backend is not told the frame rate, and because the
    noise to be removed is independent from frame to frame whatever the rate is.

    Attributes:
        minimum_cutoff: cut-off of a joint at rest, in cycles a frame.
        speed_gain: how many cycles a frame the cut-off rises for a speed of one body size a frame.
        speed_cutoff: cut-off of the low pass over the speed, in cycles a frame.
    """

    minimum_cutoff: float = 0.08
    speed_gain: float = 20.0
    speed_cutoff: float = 0.2

    def __post_init__(self) -> None:
        if not (self.minimum_cutoff > 0 and self.speed_gain >= 0 and self.speed_cutoff > 0):
            raise ValueError(
                "smoothing needs minimum_cutoff > 0, speed_gain >= 0 and speed_cutoff > 0, "
                f"got {self}"
            )


def low_pass(
    signal: npt.NDArray[np.float64], cutoff: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """First-order low pass along the first axis, forwards and backwards, averaged.

    Args:
        signal: [T, ...].
        cutoff: cycles a frame, broadcastable to ``signal``.
    """
    # alpha = 1 / (1 + tau / Te) with tau = 1 / (2 pi f_c), Te = 1 frame: equation 6 of the paper.
    alpha = np.broadcast_to(1 / (1 + 1 / (2 * np.pi * cutoff)), signal.shape)
    forwards, backwards = signal.copy(), signal.copy()
    for i in range(1, len(signal)):
        forwards[i] = forwards[i - 1] + alpha[i] * (signal[i] - forwards[i - 1])
    for i in range(len(signal) - 2, -1, -1):
        backwards[i] = backwards[i + 1] + alpha[i] * (signal[i] - backwards[i + 1])
    return (forwards + backwards) / 2


def smooth_run(xy: npt.NDArray[np.float64], settings: SmoothingSettings) -> npt.NDArray[np.float64]:
    """Smooth an unbroken run of frames, [T, J, 2] pixels."""
    if len(xy) < 3:
        return xy
    extent = xy.max(axis=1) - xy.min(axis=1)
    body_size = max(1.0, float(np.median(np.hypot(extent[:, 0], extent[:, 1]))))
    velocity = low_pass(np.gradient(xy, axis=0), np.array(settings.speed_cutoff))
    speed = np.hypot(velocity[..., 0], velocity[..., 1]) / body_size
    cutoff = settings.minimum_cutoff + settings.speed_gain * speed
    return low_pass(xy, cutoff[..., None])


def smooth_skeleton(
    joints: Skeleton, settings: SmoothingSettings, shots: list[tuple[int, int]] | None = None
) -> Skeleton:
    """Smooth one person's joints over a clip; scores and missing frames stay as they are.

    Args:
        joints: float32 [T, J, 3]: x, y in pixels (NaN where nobody was found), score.
        settings: of the filter.
        shots: half-open frame ranges; nothing is smoothed across their borders.

    Returns:
        A new array of the same shape.
    """
    result = joints.copy()
    present = np.isfinite(joints[:, :, :2].sum(axis=(1, 2)))
    for start, stop in shots or [(0, len(joints))]:
        frames = np.flatnonzero(present[start:stop]) + start
        for run in np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1):
            if len(run):
                span = slice(int(run[0]), int(run[-1]) + 1)
                result[span, :, :2] = smooth_run(joints[span, :, :2].astype(np.float64), settings)
    return result
