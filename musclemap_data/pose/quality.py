"""How far a clip's skeleton can be believed, from the skeleton and the pictures beneath it.

A pose model's own scores do not tell a right skeleton from a wrong one. What does: a wrong one
trembles and jumps, its bones change their length, its joints slide over other colours from frame to
frame, the picture moves where it is not, and much of the body lies outside the picture. Each of
these is a measure of the whole clip; ``MEASURES`` says from which value on it is suspicious. The
thresholds were set on real clips judged by eye: docs/pose.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from musclemap_data.pose.follow import FollowSettings, find_shots
from musclemap_data.pose.mend import changed_sides, facing

Frames = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

GOOD_FROM = 0.65
"""A skeleton of this quality or more is good."""
BAD_BELOW = 0.4
"""A skeleton of less is bad; what lies between is doubtful."""

LIMBS = ((5, 7), (7, 9), (6, 8), (8, 10), (11, 13), (13, 15), (12, 14), (14, 16))
"""Upper arms, forearms, thighs and shins: bones whose length cannot change."""
JUMP = 0.15
"""The hips jump where they move so much of the body's size from one frame to the next."""
PATCH_SHARE = (
    1 / 128
)  # of the short side: colours are those of patches of 3 x 3 points so far apart
STILL_LEVELS, MOST_LEVELS = 8.0, 40.0
"""Grey levels: smaller changes of a cell are noise, larger ones count no more."""
ENOUGH_MOVES = 0.02
"""Where less of the picture moves, nothing is said of where it does."""
WORST_SHARE = 0.2
"""A model is as unsure as in this share of the frames, the worst: part of a clip may be wrong."""
BEST_PAIRS = 4
"""And as in so many of the six pairs of joints: seen from the head, legs are hidden by the body."""
NO_SPEED, FASTEST = 0.01, 0.06
"""Of the body's size a frame. Joints tremble against their speed, to which the first is added.
Faster ones than the second are filmed in so few frames a second that nothing is said."""
MOVING_SHARE = 0.25
"""Nor where that is so in a smaller share of the frames."""
FEWEST_FRAMES, FROM_STEPS = 30, ("jumps", "trembling", "sides", "unsettled")
"""In a clip of fewer frames with a person, a few seconds at a few frames a second, what moves from
frame to frame says nothing: nor do these measures."""
LIMB_SHARE = 0.12
"""Thickness of a limb, of the body's size."""
_BODY = slice(5, 17)  # shoulders to ankles: the joints of the face hardly matter


class SkeletonClass(StrEnum):
    """How far a skeleton can be believed."""

    GOOD = "good"
    DOUBTFUL = "doubtful"
    BAD = "bad"


def skeleton_class(quality: float) -> SkeletonClass:
    """The class of a quality in [0, 1]."""
    if quality >= GOOD_FROM:
        return SkeletonClass.GOOD
    return SkeletonClass.BAD if quality < BAD_BELOW else SkeletonClass.DOUBTFUL


@dataclass(frozen=True)
class Measure:
    """One thing that goes wrong with skeletons.

    Attributes:
        said: what it is called to people.
        harmless: up to this value nothing is taken from the quality.
        fatal: from here on nothing is left of it; between the two it falls in a straight line.
    """

    said: str
    harmless: float
    fatal: float

    def loss(self, value: float) -> float:
        """What it takes from the quality, in [0, 1]; 0 for a value that could not be had (NaN)."""
        if not np.isfinite(value):
            return 0.0
        return float(np.clip((value - self.harmless) / (self.fatal - self.harmless), 0, 1))


MEASURES: dict[str, Measure] = {
    "out-of-view": Measure("too little of a person in view", 0.42, 0.8),
    "unsure": Measure("the model is unsure where the joints are", 0.38, 0.52),
    "jumps": Measure("the hips jump", 0.0, 0.05),
    "trembling": Measure("the joints tremble", 0.22, 0.29),
    "limbs": Measure("limbs change their length", 0.18, 0.3),
    "sides": Measure("left and right change places", 0.02, 0.1),
    "unsettled": Measure("the model takes left for right by turns", 0.12, 0.45),
    "twisted": Measure("shoulders and hips face opposite ways", 0.1, 0.25),
    "colours": Measure("the joints slide over the picture", 27.0, 40.0),
    "elsewhere": Measure("what moves lies elsewhere", 0.5, 0.9),
}
"""Name -> what it says and how much it weighs; :func:`_measure` defines the values."""
SEVERAL_PEOPLE = "several-people"
"""A note and no fault: nothing is taken from the quality."""


@dataclass(frozen=True)
class SkeletonQuality:
    """The quality of a clip's skeleton.

    Attributes:
        value: in [0, 1].
        notes: names of ``MEASURES`` that took a tenth of it or more, the worst first, and
            ``SEVERAL_PEOPLE``.
    """

    value: float
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> SkeletonClass:
        """Its class."""
        return skeleton_class(self.value)

    def sentence(self) -> str:
        """The quality in a sentence."""
        return f"The skeleton is {self.label} (quality {self.value:.2f}){say_notes(self.notes)}."


def quality_doubts(value: float, notes: Iterable[str]) -> list[str]:
    """How far a video's skeleton can be believed, in a sentence; none where it is good."""
    if skeleton_class(value) is SkeletonClass.GOOD:
        return []
    return [SkeletonQuality(value, tuple(n for n in notes if n != SEVERAL_PEOPLE)).sentence()]


def say_notes(notes: Iterable[str]) -> str:
    """Notes as the end of a sentence: ``": the hips jump, the joints tremble"``, or nothing.

    A note that this MuscleMap does not know is said by its name.
    """
    words = {name: each.said for name, each in MEASURES.items()}
    words[SEVERAL_PEOPLE] = "several people, of whom one is followed"
    said = [words.get(name, name) for name in notes]
    return f": {', '.join(said)}" if said else ""


class QualityMeter:
    """Takes a clip in windows, as the skeleton's maker does, and judges it as a whole."""

    def __init__(self) -> None:
        self._parts: list[_Part] = []
        self._contradicted = 0.0
        self._people = 0

    def add(
        self,
        frames: Frames,
        skeleton: npt.NDArray[np.float32],
        people: int = 1,
        contradicted: float = 0.0,
    ) -> None:
        """Take the next window.

        Args:
            frames: uint8 [t, H, W, 3], RGB; nothing of it is kept.
            skeleton: float32 [t, M, 17, 3] of these frames; the first person is judged.
            people: how many there are in it.
            contradicted: see ``musclemap_data.pose.estimator.Estimate``.
        """
        if len(frames):
            part = _look(frames, skeleton[:, 0].astype(np.float64))
            self._parts.append(part)
            self._contradicted += contradicted * np.isfinite(part.xy).all(axis=(1, 2)).sum()
        self._people = max(self._people, people)

    def finish(self) -> SkeletonQuality:
        """The quality of the clip; 0 where nobody was found."""
        values = _measure(self._parts, self._contradicted)
        losses = {name: MEASURES[name].loss(value) for name, value in values.items()}
        faults = [name for name in sorted(losses, key=lambda n: -losses[n]) if losses[name] >= 0.1]
        quality = float(np.prod([1 - loss for loss in losses.values()])) if values else 0.0
        several = [SEVERAL_PEOPLE] if self._people > 1 else []
        return SkeletonQuality(
            round(quality, 4), (*(faults if values else ["out-of-view"]), *several)
        )


@dataclass(frozen=True)
class _Part:
    """What is kept of a window of t frames, in units of a picture whose short side is 256.

    Attributes:
        xy: [t, 17, 2]; NaN where nobody is.
        score: [t, 17].
        inside: bool [t, 17]: the joint lies in the picture.
        follows: bool [t]: the frame has one before it in the same shot, both with a person.
        cut: bool [t]: the frame is the first of a shot; the first of a window is not.
        colour: [t, 17, 3], grey levels under each joint; NaN outside the picture.
        within: [n] of the frames where enough of the picture changes: how much more of that change
            lies on the body than its share of the picture, as a factor.
    """

    xy: Floats
    score: Floats
    inside: npt.NDArray[np.bool_]
    follows: npt.NDArray[np.bool_]
    cut: npt.NDArray[np.bool_]
    colour: Floats
    within: Floats


def _look(frames: Frames, joints: Floats) -> _Part:
    """What is kept of a window; see ``_Part``."""
    height, width = frames.shape[1:3]
    scale = 256 / min(height, width)
    xy, score = joints[..., :2], joints[..., 2]
    found = np.asarray(np.isfinite(xy).all(axis=(1, 2)))
    follows = np.zeros(len(frames), np.bool_)
    follows[1:] = found[1:] & found[:-1]
    cut = np.zeros(len(frames), np.bool_)
    cut[[start for start, _ in find_shots(frames, FollowSettings().cut_correlation)][1:]] = True
    follows &= ~cut
    with np.errstate(invalid="ignore"):
        within = np.logical_and(xy >= 0, xy < np.array([width, height]))
    inside = within[..., 0] & within[..., 1]
    return _Part(
        xy * scale,
        score,
        inside,
        follows,
        cut,
        _colours(frames, xy, inside),
        _change_within(frames, xy, follows),
    )


def _colours(frames: Frames, xy: Floats, inside: npt.NDArray[np.bool_]) -> Floats:
    """Grey levels [t, 17, 3] of the patch under each joint, NaN outside the picture."""
    height, width = frames.shape[1:3]
    reach = max(1, round(min(height, width) * PATCH_SHARE))
    place = np.where(inside[..., None], xy, 0).astype(np.int64)
    total = np.zeros((*inside.shape, 3))
    offsets = [(dy, dx) for dy in (-reach, 0, reach) for dx in (-reach, 0, reach)]
    which = np.arange(len(frames))[:, None]
    for down, right in offsets:
        rows = np.clip(place[..., 1] + down, 0, height - 1)
        total += frames[which, rows, np.clip(place[..., 0] + right, 0, width - 1)]
    return np.where(inside[..., None], total / len(offsets), np.nan)


def _change_within(frames: Frames, xy: Floats, follows: npt.NDArray[np.bool_]) -> Floats:
    """Of frames where enough of the picture changes: how far that is on the body, see ``_Part``.

    A camera that moves changes all of the picture, and so gives about 1.
    """
    import cv2

    height, width = frames.shape[1:3]
    step = max(1, min(height, width) // 32)
    small = (max(1, width // step), max(1, height // step))
    before: Floats | None = None
    shares = []
    for index, frame in enumerate(frames):
        grid = (
            cv2.resize(frame, small, interpolation=cv2.INTER_AREA).astype(np.float64).mean(axis=2)
        )
        if follows[index] and before is not None:
            change = np.clip(np.abs(grid - before) - STILL_LEVELS, 0, MOST_LEVELS)
            if (change > 0).mean() >= ENOUGH_MOVES:
                body = _silhouette(xy[index - 1 : index + 1] * (small[0] / width), small)
                shares.append(float(change[body].sum() / change.sum() / max(body.mean(), 1e-3)))
        before = grid
    return np.array(shares)


def _silhouette(xy: Floats, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The cells of a grid (width, height) within the convex hulls of some skeletons, and limbs."""
    import cv2

    mask = np.zeros(size[::-1], np.uint8)
    for joints in xy:
        points = np.round(np.clip(joints, -500, 500)).astype(np.int32)
        extent = float(np.hypot(*(joints.max(axis=0) - joints.min(axis=0))))
        cv2.fillConvexPoly(mask, cv2.convexHull(points), 1)
        thickness = max(3, round(extent * LIMB_SHARE))
        for a, b in (*LIMBS, (0, 5), (0, 6), (5, 6), (11, 12)):
            cv2.line(mask, points[a].tolist(), points[b].tolist(), 1, thickness)
    return mask > 0


def _measure(parts: list[_Part], contradicted: float) -> dict[str, float]:
    """The value of each of ``MEASURES``; nothing where a person is in fewer than three frames.

    Lengths are shares of the body's size: the median diagonal of the box around its joints, of each
    shot. What a limb's length and the colour under a joint usually are is of each shot, too.
    ``contradicted`` is the number of frames with sides that the rest of the shot contradicts.
    """
    if not parts:
        return {}
    pixels, score, inside, colour, follows, cut = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("xy", "score", "inside", "colour", "follows", "cut")
    )
    found = np.isfinite(pixels).all(axis=(1, 2))
    if found.sum() < 3:
        return {}
    shot = np.cumsum(cut)
    xy = pixels / _sizes(pixels, shot)[:, None, None]
    here = xy[found]
    limbs = np.stack([_length(here[:, a] - here[:, b]) for a, b in LIMBS], axis=1)
    step = np.diff(xy, axis=0)[follows[1:]]
    within = np.concatenate([part.within for part in parts])
    enough = len(within) >= MOVING_SHARE * follows.sum() > 0
    values = {
        "out-of-view": 1 - float((inside[:, _BODY] & found[:, None]).mean()),
        "unsure": _unsure(np.where(inside, score, np.nan)[found]),
        "jumps": _mean(_length(step[:, 11:13].mean(axis=1)) > JUMP),
        "trembling": _trembling(xy[:, _BODY], follows),
        "limbs": _mean_of_shots(_spread, limbs, shot[found]),
        "unsettled": contradicted / float(found.sum()),
        "twisted": _mean(facing(here, 1.0).prod(axis=1) < 0),
        "sides": _mean(changed_sides(xy[:-1][follows[1:]], xy[1:][follows[1:]]).any(axis=1)),
        "colours": _mean_of_shots(_off_colour, colour[found][:, _BODY], shot[found]),
        "elsewhere": 1 - float(np.median(within)) if enough else float("nan"),
    }
    if found.sum() < FEWEST_FRAMES:
        values |= dict.fromkeys(FROM_STEPS, float("nan"))
    return values


def _sizes(xy: Floats, shot: npt.NDArray[np.int64]) -> Floats:
    """The size of the body in each frame [t]: that of its shot, at least 1."""
    box = xy.max(axis=1) - xy.min(axis=1)
    diagonal = np.hypot(box[:, 0], box[:, 1])
    sizes = np.ones(len(xy))
    for number in np.unique(shot[np.isfinite(diagonal)]):
        sizes[shot == number] = max(1.0, float(np.nanmedian(diagonal[shot == number])))
    return sizes


def _unsure(score: Floats) -> float:
    """1 - score of the best ``BEST_PAIRS`` pairs in the worst fifth of the frames.

    Of each pair the better seen joint counts: in a side view the other is hidden by the body.

    Args:
        score: [n, 17]; NaN outside the picture.
    """
    pairs = score[:, _BODY].reshape(len(score), -1, 2)
    best = np.fmax(pairs[..., 0], pairs[..., 1])
    best = best[np.isfinite(best).any(axis=1)]
    if not len(best):
        return float("nan")
    mean = np.nanmean(-np.sort(-best, axis=1)[:, :BEST_PAIRS], axis=1)  # NaN is sorted last
    return 1 - float(np.percentile(mean, 100 * WORST_SHARE))


def _trembling(xy: Floats, follows: npt.NDArray[np.bool_]) -> float:
    """How much the joints shake across their paths, against their speed.

    The second differences of noise point against the ones before them, those of a movement seldom
    do, and only along its path: where it halts and starts, or is filmed in few frames a second. So
    only what lies across the way from the frame before to the frame after counts.

    Args:
        xy: [T, J, 2], of the body's size.
        follows: bool [T], see ``_Part``.

    Returns:
        0 for an even movement, about a half for noise; NaN where it cannot be told.
    """
    speed = _mean(_length(np.diff(xy, axis=0)[follows[1:]]))
    chain = follows[1:-2] & follows[2:-1] & follows[3:]
    if not chain.any() or speed > FASTEST:
        return float("nan")
    way = xy[3:] - xy[:-3]
    bend = np.diff(xy, 2, axis=0)
    across = [way[..., 0] * b[..., 1] - way[..., 1] * b[..., 0] for b in (bend[:-1], bend[1:])]
    back = np.maximum(-across[0] * across[1], 0) / np.maximum(_length(way), 1e-6) ** 2
    return float(np.sqrt(back)[chain].mean()) / (speed + NO_SPEED)


def _mean_of_shots(
    measure: Callable[[Floats], float], values: Floats, shot: npt.NDArray[np.int64]
) -> float:
    """A measure of each shot, in the mean over the frames; NaN where no shot has it."""
    weights, found = [], []
    for number in np.unique(shot):
        weights.append(int((shot == number).sum()))
        found.append(measure(values[shot == number]))
    good = np.isfinite(found)
    return (
        float(np.average(np.array(found)[good], weights=np.array(weights)[good]))
        if good.any()
        else float("nan")
    )


def _spread(limbs: Floats) -> float:
    """Median deviation of the limbs [n, 8] from their median length, of it, in the mean.

    In shares of the mean limb of each frame: who comes nearer grows.
    """
    limbs = limbs / np.maximum(limbs.mean(axis=1, keepdims=True), 1e-3)
    middle = np.median(limbs, axis=0)
    return float((np.median(np.abs(limbs - middle), axis=0) / np.maximum(middle, 1e-3)).mean())


def _off_colour(colour: Floats) -> float:
    """Mean deviation of the colours [n, 12, 3] under joints from their median; NaN where unseen."""
    seen = np.isfinite(colour[..., 0]).any(axis=0)
    if not seen.any():
        return float("nan")
    usual = np.nanmedian(colour[:, seen], axis=0)
    return float(np.nanmean(np.abs(colour[:, seen] - usual)))


def _length(vectors: Floats) -> Floats:
    return np.hypot(vectors[..., 0], vectors[..., 1])


def _mean(values: Any) -> float:
    """Of an array of numbers or truths; 0 of none."""
    return float(np.mean(values)) if len(values) else 0.0
