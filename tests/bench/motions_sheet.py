"""Contact sheets of every motion of the sample: moments from the front and from the side.

    python -m tests.bench.motions_sheet data/motions
    python -m tests.bench.motions_sheet data/motions --only squat --beside ../shared/real_clips

Look at them after you write or change a motion (docs/new-motion.md). Left limbs are orange, right
ones blue, the grey line is the floor. ``--beside`` adds four frames of a real clip of the activity,
from folders that have a ``clips.csv`` with the columns ``file`` and ``activity``.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from musclemap_data.sample.motions import EXERCISES, perform
from musclemap_data.sample.skeleton import Array, Dimensions, coco_joints
from musclemap_data.skeleton import BONES, JOINTS

CELL, ROWS, MOMENTS, METRES = 112, 8, 7, 2.4
ORANGE, BLUE, GREY = (20, 130, 250), (220, 110, 20), (120, 120, 120)

Picture = npt.NDArray[np.uint8]


def moments(activity: str, count: int, seed: int) -> list[Array]:
    """Joints [17, 3] in metres at ``count`` moments of the first repetition."""
    size = Dimensions()
    motion = perform(activity, size, np.random.default_rng(seed), 0.1)
    times = np.linspace(0, motion.repetition_starts[1], count, endpoint=False)
    return [coco_joints(size, motion.bones(float(time))) for time in times]


def figure(joints: Array, across: int, centre: float) -> Picture:
    """A stick figure seen along an axis; ``across`` is the axis of the stage drawn to the right."""
    cell = np.full((CELL, CELL, 3), 255, np.uint8)
    scale = CELL / METRES

    def at(point: Array) -> tuple[int, int]:
        # From the side the person faces right: their right side is near.
        x = CELL / 2 + (point[across] - centre) * scale
        return round(float(x) * 8), round(float(CELL - 6 - point[1] * scale) * 8)

    floor = CELL - 6
    cv2.line(cell, (0, floor), (CELL, floor), (200, 200, 200), 1)
    for a, b in BONES:
        names = JOINTS[a] + JOINTS[b]
        colour = GREY
        if "left" in names and "right" not in names:
            colour = ORANGE
        elif "right" in names and "left" not in names:
            colour = BLUE
        cv2.line(cell, at(joints[a]), at(joints[b]), colour, 2, cv2.LINE_AA, 3)
    cv2.circle(cell, at(joints[0]), 12, (0, 0, 0), -1, cv2.LINE_AA, 3)
    return cell


def row(activity: str, seed: int, clips: list[Path]) -> Picture:
    """One activity: its name, moments from the front, the same from the side, real frames."""
    poses = moments(activity, MOMENTS, seed)
    middle = (np.min(poses, axis=(0, 1)) + np.max(poses, axis=(0, 1))) / 2
    above = max(0.0, float(np.max(poses, axis=(0, 1))[1]) - METRES + 0.2)
    poses = [pose - np.array([0, above, 0]) for pose in poses]
    cells = [figure(pose, 0, middle[0]) for pose in poses]
    cells += [figure(pose, 2, middle[2]) for pose in poses]
    for clip in clips[:1]:
        cells += frames(clip, 4)
    line = np.hstack(cells)
    cv2.putText(line, activity, (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    line[-1] = 230
    return line


def frames(clip: Path, count: int) -> list[Picture]:
    """Evenly spaced frames of a clip, each fitted into a cell."""
    video = cv2.VideoCapture(str(clip))
    total = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    cells = []
    for index in np.linspace(0, total - 1, count + 1, endpoint=False).astype(int)[1:]:
        video.set(cv2.CAP_PROP_POS_FRAMES, int(index))
        found, image = video.read()
        cell = np.full((CELL, CELL, 3), 255, np.uint8)
        if found:
            share = CELL / max(image.shape[:2])
            small = cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
            cell[: small.shape[0], : small.shape[1]] = small
        cells.append(cell)
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for the sheets")
    parser.add_argument("--only", default="", help="activities, separated by commas")
    parser.add_argument("--seed", type=int, default=0, help="another seed, another manner")
    parser.add_argument("--beside", type=Path, action="append", default=[], help="real clips")
    asked = parser.parse_args()
    names = asked.only.split(",") if asked.only else list(EXERCISES)
    clips: dict[str, list[Path]] = {}
    for folder in asked.beside:
        with (folder / "clips.csv").open(newline="") as file:
            for clip in csv.DictReader(file):
                clips.setdefault(clip["activity"], []).append(folder / clip["file"])
    asked.out.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(names), ROWS):
        lines = [row(name, asked.seed, clips.get(name, [])) for name in names[start : start + ROWS]]
        wide = max(line.shape[1] for line in lines)
        padded = [
            np.pad(line, ((0, 0), (0, wide - line.shape[1]), (0, 0)), constant_values=255)
            for line in lines
        ]
        path = asked.out / f"motions_{start // ROWS:02d}.png"
        cv2.imwrite(str(path), np.vstack(padded))
        print(path)


if __name__ == "__main__":
    main()
