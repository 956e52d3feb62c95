"""Lines of text that a video lays over its picture: captions, names of exercises, addresses.

Such a line stays where it is while people move. Its letters are thin strokes of one brightness,
stand side by side on one base line, and are about as high as each other, but not as wide.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

SHORT_SIDE = 360
"""Pictures are looked at in this size; all lengths below are pixels of it."""
STROKE = 17
"""Strokes are thinner."""
LEAST_CONTRAST = 50.0
"""Grey levels by which a stroke differs from what is around it."""
SAME_BRIGHTNESS = 50.0
"""Standard deviation of the grey levels of all strokes of a line."""
UNCHANGED, LEAST_STILL = 10.0, 0.5
"""Grey levels by which a still pixel may change, in all frames but one; share of a letter's pixels
that are still."""
LETTER_HEIGHT, LETTER_WIDTH = (6, 70), 80
APART = 23
"""Letters of one line are less apart."""
LEAST_LETTERS, LEAST_LENGTH = 3, 2.0
"""Letters of a line, and its length in heights."""
FILLED = (0.12, 0.75)
"""Share of a line's box that is stroke."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, as shares of the picture."""


def find_lines(shown: npt.NDArray[np.uint8]) -> list[Box]:
    """Lines of text that stand still in the picture.

    Args:
        shown: ``uint8 [N, H, W, 3]``, BGR: frames of a clip, some time apart.
    """
    scale = SHORT_SIDE / min(shown.shape[1:3])
    size = (round(shown.shape[2] * scale), round(shown.shape[1] * scale))
    grey = np.stack(
        [
            cv2.cvtColor(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
            for frame in shown
        ]
    ).astype(np.float32)
    usual = np.median(grey, axis=0)
    still = (np.abs(grey - usual) < UNCHANGED).sum(axis=0) >= len(grey) - 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (STROKE, STROKE))
    found = []
    for way in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT):  # bright letters, dark letters
        strokes = cv2.morphologyEx(usual, way, kernel) > LEAST_CONTRAST
        for x0, y0, x1, y1 in _lines(strokes, still, usual):
            found.append((x0 / size[0], y0 / size[1], x1 / size[0], y1 / size[1]))
    return found


def lies_over(line: Box, person: Box) -> bool:
    """Whether half of a line of text is on the person, or it crosses much of the person."""
    wide = min(line[2], person[2]) - max(line[0], person[0])
    high = min(line[3], person[3]) - max(line[1], person[1])
    if wide <= 0 or high <= 0:
        return False
    width, height = line[2] - line[0], line[3] - line[1]
    crosses = wide * high >= 0.8 * height * 0.4 * (person[2] - person[0])
    return bool(wide * high >= 0.5 * width * height or crosses)


def _lines(
    strokes: npt.NDArray[np.bool_], still: npt.NDArray[np.bool_], grey: npt.NDArray[np.float32]
) -> list[tuple[int, int, int, int]]:
    """Boxes of letters in a row: left, top, right, bottom in pixels."""
    count, found, facts, _ = cv2.connectedComponentsWithStats(strokes.astype(np.uint8))
    labels, boxes = np.asarray(found, np.int32), np.asarray(facts, np.int32)
    share = np.bincount(labels.ravel(), still.ravel(), count) / np.maximum(boxes[:, 4], 1)
    wide, high, area = boxes[:, 2], boxes[:, 3], boxes[:, 4]
    letter = (share > LEAST_STILL) & (area >= 10) & (wide <= np.minimum(LETTER_WIDTH, 3 * high))
    letter &= (high >= LETTER_HEIGHT[0]) & (high <= LETTER_HEIGHT[1])
    letter[0] = False  # what is no stroke
    rows = cv2.dilate(letter[labels].astype(np.uint8), np.ones((1, APART), np.uint8))
    _, row_of = cv2.connectedComponents(rows)
    lines: dict[int, list[int]] = defaultdict(list)
    for index in np.flatnonzero(letter):
        x, y, w, h = boxes[index, :4]
        inside = labels[y : y + h, x : x + w] == index
        lines[int(row_of[y : y + h, x : x + w][inside][0])].append(int(index))
    return [box for line in lines.values() if (box := _box(line, labels, boxes, grey))]


def _box(
    line: Sequence[int],
    labels: npt.NDArray[np.int32],
    boxes: npt.NDArray[np.int32],
    grey: npt.NDArray[np.float32],
) -> tuple[int, int, int, int] | None:
    """The box of a row of strokes, if they are as letters are."""
    highs = np.sort(boxes[line, 3]).astype(float)
    tall = float(np.median(highs[len(highs) // 3 :]))  # commas and dots do not count
    letters = [n for n in line if 0.5 * tall <= boxes[n, 3] <= 1.6 * tall]
    if len(letters) < LEAST_LETTERS:
        return None
    x, y, wide, high = boxes[letters, :4].T
    x0, y0, x1, y1 = x.min(), y.min(), (x + wide).max(), (y + high).max()
    if x1 - x0 < LEAST_LENGTH * (y1 - y0) or y1 - y0 > 2.2 * tall:
        return None
    if np.std(y + high) > 0.25 * tall or wide.std() < 0.05 * wide.mean():
        return None
    part = np.isin(labels[y0:y1, x0:x1], letters)
    if not FILLED[0] < part.mean() < FILLED[1]:
        return None
    if grey[y0:y1, x0:x1][part].std() > SAME_BRIGHTNESS:
        return None
    return int(x0), int(y0), int(x1), int(y1)
