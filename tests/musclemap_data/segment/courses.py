"""Courses of one person's skeleton: squats, push-ups, poses that are kept, and ways between."""

from __future__ import annotations

import numpy as np

from musclemap_data.skeleton import JOINTS

FPS = 12.5
STANDING = {
    "nose": (0, -1.8), "shoulder": (0.2, -1.5), "elbow": (0.3, -1.0), "wrist": (0.3, -0.5),
    "hip": (0.15, -0.5), "knee": (0.15, 0.3), "ankle": (0.15, 1.1),
}  # fmt: skip
"""Of the right half, in trunks; the left one is its mirror image."""
PLANK = {
    "nose": (1.8, -0.5), "shoulder": (1.4, -0.5), "elbow": (1.5, 0.0), "wrist": (1.9, 0.0),
    "hip": (0.4, -0.4), "knee": (-0.4, -0.2), "ankle": (-1.2, 0.0),
}  # fmt: skip


def pose(places: dict[str, tuple[float, float]], one_side: bool = False) -> np.ndarray:
    """``[17, 3]`` in pixels; ears and eyes are where the nose is."""
    points = np.zeros((len(JOINTS), 3), np.float32)
    for index, name in enumerate(JOINTS):
        side, _, joint = name.partition("_")
        x, y = places.get(joint) or places["nose"]
        left = side == "left" and places is not PLANK and not one_side
        points[index] = (160 + 40 * (-x if left else x), 120 + 40 * y, 0.9)
    return points


def squats(count: float, seconds: float) -> np.ndarray:
    """So many squats in so many seconds, begun standing."""
    times = np.arange(round(seconds * FPS)) / (seconds * FPS)
    depth = (1 - np.cos(2 * np.pi * count * times)) / 2
    frames = []
    for down in depth:
        lower = {name: (x + 0.0, y) for name, (x, y) in STANDING.items()}
        for name in ("nose", "shoulder", "elbow", "wrist", "hip"):
            lower[name] = (lower[name][0], lower[name][1] + 0.7 * down)
        lower["knee"] = (0.15 + 0.5 * down, 0.3 + 0.2 * down)
        frames.append(pose(lower))
    return shaken(np.stack(frames))


def push_ups(count: float, seconds: float) -> np.ndarray:
    """So many push-ups in so many seconds, begun with straight arms, seen from the side."""
    times = np.arange(round(seconds * FPS)) / (seconds * FPS)
    frames = []
    for down in (1 - np.cos(2 * np.pi * count * times)) / 2:
        places = dict(PLANK)
        for name, share in (("nose", 0.9), ("shoulder", 0.8), ("hip", 0.4), ("elbow", 0.3)):
            x, y = PLANK[name]
            places[name] = (x - 0.2 * down * (name == "elbow"), y + 0.7 * share * down)
        frames.append(pose(places, one_side=True))
    return shaken(np.stack(frames))


def between(one: np.ndarray, other: np.ndarray, seconds: float) -> np.ndarray:
    """The way from the last pose of a course to the first one of another."""
    share = np.linspace(0, 1, round(seconds * FPS) + 2)[1:-1, None, None]
    return shaken((one[-1] * (1 - share) + other[0] * share).astype(np.float32))


def kept(places: dict[str, tuple[float, float]], seconds: float) -> np.ndarray:
    return shaken(np.repeat(pose(places)[None], round(seconds * FPS), 0))


def shaken(course: np.ndarray) -> np.ndarray:
    draw = np.random.default_rng(0)
    course[..., :2] += draw.normal(0, 0.4, course[..., :2].shape)
    return course


def nobody(seconds: float) -> np.ndarray:
    return np.full((round(seconds * FPS), 17, 3), [np.nan, np.nan, 0], np.float32)
