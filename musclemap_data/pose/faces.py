"""Find the heads in a video and make them unrecognisable, before anything is stored or shown.

Two sources, because a face that is missed once is seen: the skeleton of the person who is followed,
and BlazePose's detector, which finds everybody's head in every frame. A head is blurred for a while
before and after it was found, so that a frame in which both fail does not show it. No claim is made
that nobody is ever missed: faces that are small in the picture are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from musclemap_data.pose.blazepose import BlazePose

Frame = npt.NDArray[np.uint8]
Skeleton = npt.NDArray[np.float32]

VERSION = 1
"""Rises when other pixels are blurred, so that older pictures are made again."""
CELLS = 4
"""So many colours across a head are left."""
HOLD_FRAMES = 15
"""A head that is no longer, or not yet, found is blurred for so many frames where it was."""
GROWTH = 1.02
"""By this factor the blurred circle of such a head grows with each frame."""
LEAST_SCORE = 0.4
"""The detector's people count from here on: lower than for following a person, to miss fewer."""
LOOK_EVERY = 3
"""The detector looks at every third frame, and at each in which nobody is followed."""

_FACE = slice(0, 5)
_SEEN = 0.2
"""Where every joint of the face is scored lower, its place is told from the trunk."""
_RADIUS = 0.36
"""Of the circle around a head, in lengths of the trunk: half a head is about 0.25."""
_LEAST_PX = 3.0


class Head(NamedTuple):
    """A circle around a head, pixels."""

    x: float
    y: float
    radius: float


class FaceBlur:
    """Blurs the heads of a clip, whose frames come in windows."""

    def __init__(self) -> None:
        self._finder = HeadFinder()
        self._before: list[list[Head]] = []

    def __call__(self, frames: Frame, skeletons: Skeleton) -> None:
        """Blur the heads of the next window, in place.

        Args:
            frames: ``uint8 [T, H, W, 3]`` RGB.
            skeletons: ``float32 [T, M, 17, 3]``, made from the frames before they were blurred.
        """
        found = [self._finder(*each) for each in zip(frames, skeletons, strict=True)]
        held = hold([*self._before, *found])[len(self._before) :]
        for frame, heads in zip(frames, held, strict=True):
            blur(frame, heads)
        self._before = [*self._before, *found][-HOLD_FRAMES:]


class HeadFinder:
    """Finds the heads in the frames of a clip, in order."""

    def __init__(self) -> None:
        self._frames = 0
        from musclemap_data.pose.backends import estimator

        model = estimator()
        assert isinstance(model, BlazePose)  # noqa: S101 (the default backend)
        self._model = model

    def __call__(self, frame: Frame, people: Skeleton) -> list[Head]:
        """The heads in the next frame: of skeletons, and of everybody whom the detector finds.

        Args:
            frame: ``uint8 [H, W, 3]`` RGB.
            people: ``float32 [M, 17, 3]``, NaN for nobody.
        """
        heads = [head for person in people if (head := head_of(person)) is not None]
        self._frames += 1
        if heads and (self._frames - 1) % LOOK_EVERY:
            return heads
        turns = {0, *(quarter_turns(person) for person in people if np.isfinite(person).all())}
        found = self._detected(frame, sorted(turns))
        if not heads and not found:
            found = self._detected(frame, sorted({1, 2, 3} - turns))
        return heads + found

    def _detected(self, frame: Frame, turns: Iterable[int]) -> list[Head]:
        looks = [(frame, turn, 0, 0) for turn in turns]
        looks += [(part, 0, left, top) for part, left, top in squares(frame)]
        heads = []
        for picture, turn, left, top in looks:
            for head, shoulders, hips in self._model.heads(picture, turn, LEAST_SCORE):
                # Hips that are guessed, or a trunk that points at the camera, say too little.
                trunk = max(math.dist(shoulders, hips), 2.5 * math.dist(head, shoulders))
                x, y = float(head[0]) + left, float(head[1]) + top
                heads.append(Head(x, y, _RADIUS * trunk))
        return heads


def squares(frame: Frame) -> list[tuple[Frame, int, int]]:
    """Squares that cover a frame, with their left and top: people are larger in them.

    None for a frame that is nearly square itself.
    """
    height, width = frame.shape[:2]
    side, length = min(height, width), max(height, width)
    if length < 1.2 * side:
        return []
    starts = np.linspace(0, length - side, math.ceil(length / side)).round().astype(int).tolist()
    if width > height:
        return [(frame[:, start : start + side], start, 0) for start in starts]
    return [(frame[start : start + side], 0, start) for start in starts]


def describe() -> Mapping[str, object]:
    """What blurs faces, as JSON values, for the provenance of pictures."""
    from musclemap_data.pose.backends import estimator

    return {
        "version": VERSION,
        "cells": CELLS,
        "hold_frames": HOLD_FRAMES,
        "least_score": LEAST_SCORE,
        "look_every": LOOK_EVERY,
        "detector": estimator().provenance(),
    }


def head_of(person: Skeleton) -> Head | None:
    """The head of a skeleton ``[17, 3]``; None where nobody is.

    Its size comes from the body and not from the face, which is narrow from the side.
    """
    if not np.isfinite(person).all() or not (person[:, 2] > 0).any():
        return None
    joints = person[:, :2].astype(np.float64)
    shoulders, hips = joints[5:7].mean(axis=0), joints[11:13].mean(axis=0)
    up = shoulders - hips
    thighs = np.hypot(*(joints[11:13] - joints[13:15]).T)
    # A trunk that points at the camera is short in the picture; other parts are not.
    size = max(math.hypot(*up), 1.2 * math.hypot(*(joints[5] - joints[6])), float(thighs.max()))
    if person[_FACE, 2].max() < _SEEN:
        length = math.hypot(*up)
        towards = up / length if length > 0 else np.array([0.0, -1.0])
        x, y = shoulders + 0.35 * size * towards
        return Head(float(x), float(y), max(_LEAST_PX, 1.3 * _RADIUS * size))
    face = joints[_FACE]
    x, y = (face.min(axis=0) + face.max(axis=0)) / 2
    reach = np.hypot(*(face - (x, y)).T).max()
    return Head(float(x), float(y), max(_LEAST_PX, _RADIUS * size, 1.4 * float(reach)))


def quarter_turns(person: Skeleton) -> int:
    """How the picture must be turned for a person ``[17, 3]`` to stand, as ``detect`` takes it."""
    up = person[5:7, :2].mean(axis=0) - person[11:13, :2].mean(axis=0)
    return round(math.atan2(float(up[0]), -float(up[1])) / (math.pi / 2)) % 4


def hold(heads: Sequence[Sequence[Head]]) -> list[list[Head]]:
    """The heads of each frame, and for ``HOLD_FRAMES`` those that it lacks of frames around it."""
    later = _carried(heads)
    earlier = _carried(heads[::-1])[::-1]
    return [
        [*own, *before, *after] for own, before, after in zip(heads, later, earlier, strict=True)
    ]


def _carried(heads: Sequence[Sequence[Head]]) -> list[list[Head]]:
    """Of each frame, the heads of frames before it that were not found again."""
    carried: list[tuple[Head, int]] = []
    out = []
    for own in heads:
        carried = [
            (Head(head.x, head.y, head.radius * GROWTH), frames + 1)
            for head, frames in carried
            if frames < HOLD_FRAMES and not any(_same(head, other) for other in own)
        ]
        out.append([head for head, _ in carried])
        carried += [(head, 0) for head in own]
    return out


def _same(a: Head, b: Head) -> bool:
    return math.hypot(a.x - b.x, a.y - b.y) < max(a.radius, b.radius)


def blur(frame: Frame, heads: Iterable[Head]) -> None:
    """Blur circles of a frame ``uint8 [H, W, 3]``, in place; all other pixels stay as they are.

    A square around the circle is averaged to ``CELLS`` by ``CELLS`` colours, which are drawn as a
    smooth surface: detail that is not in those colours is gone, however it is sharpened.
    """
    import cv2

    height, width = frame.shape[:2]
    for x, y, radius in heads:
        left, right = max(0, math.floor(x - radius)), min(width, math.ceil(x + radius) + 1)
        top, bottom = max(0, math.floor(y - radius)), min(height, math.ceil(y + radius) + 1)
        if left >= right or top >= bottom:
            continue
        part = frame[top:bottom, left:right]
        cells = [
            max(1, min(length, round(CELLS * length / (2 * radius + 1))))
            for length in (right - left, bottom - top)
        ]
        coarse = cv2.resize(part, cells, interpolation=cv2.INTER_AREA)
        smooth = cv2.resize(coarse, part.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        rows, columns = np.ogrid[top:bottom, left:right]
        inside = (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
        part[inside] = smooth[inside]
