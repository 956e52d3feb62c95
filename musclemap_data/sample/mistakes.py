"""The errors that pose estimators make, on exact skeletons.

Each kind is known from real clips: joints tremble and lie a little beside their place, a lost
joint slides along its limb, the far side of the body is guessed from the near one, left and right
are taken for each other, limbs that leave the picture are invented, and people are lost.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from musclemap_data.sample.skeleton import Array
from musclemap_data.skeleton import JOINTS, MIRRORED

Rng = np.random.Generator
Bools = npt.NDArray[np.bool_]

_PAIRS = tuple(
    (JOINTS.index(f"left_{part}"), JOINTS.index(f"right_{part}"))
    for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
)
_SLIDES = tuple(  # a joint, and the one towards which it slides
    (JOINTS.index(f"{side}_{part}"), JOINTS.index(f"{side}_{towards}"))
    for side in ("left", "right")
    for part, towards in (
        ("wrist", "elbow"), ("elbow", "shoulder"), ("ankle", "knee"), ("knee", "hip"),
    )
)  # fmt: skip
_LEGS = tuple(JOINTS.index(f"{s}_{p}") for s in ("left", "right") for p in ("knee", "ankle"))
_HIDDEN_M = 0.12
"""A joint this much farther away than its twin may be hidden behind the body (metres)."""


@dataclass(frozen=True)
class Mistakes:
    """How often and how much a pose estimator errs.

    Lengths are shares of the body's extent in the picture. A share of sequences is the chance that
    a sequence has that kind at all.

    Attributes:
        jitter: largest standard deviation of the trembling; each sequence draws its own.
        offset: standard deviation of a joint's place over a whole sequence.
        hidden: share of sequences in which hidden joints follow their twin on the near side.
        slides: share of sequences in which joints slide along their limb for a while.
        swaps: share of sequences in which left and right are exchanged for a short run.
        turned: share of sequences in which they are exchanged throughout.
        lost_limbs: share of sequences in which joints are somewhere else for a short run.
        lost_people: share of sequences in which the person is lost for a short run.
    """

    jitter: float = 0.03
    offset: float = 0.018
    hidden: float = 0.6
    slides: float = 0.3
    swaps: float = 0.25
    turned: float = 0.06
    lost_limbs: float = 0.25
    lost_people: float = 0.15

    @classmethod
    def none(cls) -> Mistakes:
        """An estimator that is always right."""
        return cls(**{field.name: 0.0 for field in fields(cls)})


def make_mistakes(seen: Array, rng: Rng, mistakes: Mistakes) -> npt.NDArray[np.float32]:
    """What a pose estimator would say of exact projections.

    Args:
        seen: ``[N, T, 17, 3]``: x, y (pixels) and depth (metres).
        rng: of everything drawn.
        mistakes: how often and how much.

    Returns:
        ``float32 [N, T, 17, 3]``: x, y (pixels), score; a frame in which the person is lost has
        x = y = NaN and score 0.
    """
    count, frames = seen.shape[:2]
    places, depth = seen[..., :2].copy(), seen[..., 2]
    spread = places.max(axis=2) - places.min(axis=2)  # [N, T, 2]
    extent = np.median(np.hypot(spread[..., 0], spread[..., 1]), axis=1)
    scores = np.full(seen.shape[:3], 0.95)

    _follow_twins(places, depth, scores, rng, mistakes.hidden)
    for joint, towards in _SLIDES:
        run = _runs(rng, count, frames, mistakes.slides / 2, frames // 2)
        share = (run * rng.uniform(0.1, 0.7, (count, 1)))[..., None]
        places[:, :, joint] += share * (places[:, :, towards] - places[:, :, joint])
    legs_only: Bools = np.asarray(rng.random(count) < 0.5)[:, None]
    swapped = _runs(rng, count, frames, mistakes.swaps, max(2, frames // 5))
    throughout = np.asarray(rng.random(count) < mistakes.turned)[:, None]
    mirrored = places[:, :, list(MIRRORED)]
    whole = (swapped & ~legs_only) ^ throughout
    places = np.where(whole[..., None, None], mirrored, places)
    legs = np.zeros(len(JOINTS), dtype=bool)
    legs[list(_LEGS)] = True
    below = (swapped & legs_only)[..., None, None] & legs[:, None]
    places = np.where(below, places[:, :, list(MIRRORED)], places)

    scale = extent[:, None, None, None]
    places += scale * mistakes.offset * rng.standard_normal((count, 1, len(JOINTS), 2))
    strength = mistakes.jitter * rng.uniform(0.05, 1.0, (count, 1, 1, 1)) ** 2
    places += scale * strength * _tremble(rng, places.shape)
    limb = np.asarray(rng.integers(6, size=count))[:, None]
    lost = _runs(rng, count, frames, mistakes.lost_limbs, max(2, frames // 4))
    hit = (np.arange(len(JOINTS)) % 6 == limb) & (np.arange(len(JOINTS)) > 4)
    far = 0.15 * scale * rng.standard_normal((count, 1, len(JOINTS), 2))
    places += (lost[..., None] & hit[:, None])[..., None] * far
    scores -= 0.4 * (lost[..., None] & hit[:, None])

    gone = _runs(rng, count, frames, mistakes.lost_people, max(2, frames // 6))
    places[gone], scores[gone] = np.nan, 0.0
    return np.concatenate([places, scores[..., None]], axis=-1).astype(np.float32)


def _follow_twins(places: Array, depth: Array, scores: Array, rng: Rng, often: float) -> None:
    """Draw hidden joints towards their twins on the near side, in place."""
    count = len(places)
    follows = np.asarray(rng.random(count) < often)[:, None] * rng.uniform(0.1, 0.8, (count, 1))
    for left, right in _PAIRS:
        behind = depth[:, :, left] - depth[:, :, right]
        apart = places[:, :, right] - places[:, :, left]
        for joint, sign in ((left, 1.0), (right, -1.0)):
            hidden = np.clip(sign * behind / _HIDDEN_M - 0.5, 0.0, 1.0)
            places[:, :, joint] += sign * (follows * hidden)[..., None] * apart
            scores[:, :, joint] -= 0.5 * hidden * (follows > 0)


def _runs(rng: Rng, count: int, frames: int, often: float, longest: int) -> Bools:
    """One run of frames in a share of the sequences: ``bool [N, T]``."""
    length = rng.integers(1, longest + 1, count)
    start = rng.integers(1 - longest // 2, frames, count)
    at = np.arange(frames)
    run = (at >= start[:, None]) & (at < (start + length)[:, None])
    return np.asarray(run & (rng.random(count) < often)[:, None])


def _tremble(rng: Rng, shape: tuple[int, ...]) -> Array:
    """Noise of unit deviation, half of it slow: estimators smooth over time."""
    fast = rng.standard_normal(shape)
    slow = rng.standard_normal(shape)
    for frame in range(1, shape[1]):
        slow[:, frame] = 0.8 * slow[:, frame - 1] + 0.6 * slow[:, frame]
    return np.asarray(np.sqrt(0.5) * (fast + slow))
