"""Joints and angles over time as files: CSV, and OpenSim's ``.trc`` and ``.mot``.

OpenCap and Sports2D write and read the same two. A single camera has no depth: z is 0. Lengths are
pixels, or metres where the person's height is given.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt

from musclemap_data.files import replacing
from musclemap_data.movement.angles import ANGLES
from musclemap_data.movement.repetitions import Array
from musclemap_data.movement.session import Session
from musclemap_data.skeleton import JOINTS


def write_joints_csv(path: Path, skeleton: npt.NDArray[np.float32], fps: float) -> None:
    """One row a frame: ``time_s``, then x, y (pixels, y down) and score of each joint.

    Args:
        path: the file.
        skeleton: ``float32 [T, 17, 3]``.
        fps: frames a second.
    """
    header = ["time_s", *(f"{joint}_{part}" for joint in JOINTS for part in ("x", "y", "score"))]
    rows = ([frame / fps, *joints.ravel()] for frame, joints in enumerate(skeleton))
    _write(path, _csv_text(header, rows))


def write_angles_csv(path: Path, session: Session) -> None:
    """One row a frame: ``time_s``, then degrees by joint; empty where the view carries none."""
    header = ["time_s", *(f"{name}_deg" for name in ANGLES)]
    series = np.stack([session.angles[name] for name in ANGLES], 1)
    rows = ([frame / session.fps, *values] for frame, values in enumerate(series))
    _write(path, _csv_text(header, rows))


def write_trc(
    path: Path, skeleton: npt.NDArray[np.float32], fps: float, height_m: float | None = None
) -> None:
    """Joints as markers: x to the right, y up from the lowest joint, z 0.

    Args:
        path: the file.
        skeleton: ``float32 [T, 17, 3]`` x, y (pixels, y down) and score.
        fps: frames a second.
        height_m: the person's height; then lengths are metres, by the highest the body reaches
            between ankles and nose (0.93 of the height).
    """
    seen = (skeleton[..., 2] > 0) & np.isfinite(skeleton[..., :2]).all(-1)
    points = np.where(seen[..., None], skeleton[..., :2].astype(np.float64), np.nan)
    ground = np.nanmax(points[..., 1]) if seen.any() else 0.0
    metres = 1.0 if height_m is None else height_m * 0.93 / _extent(points)
    x, y = points[..., 0] * metres, (ground - points[..., 1]) * metres
    units = "px" if height_m is None else "m"
    count = len(skeleton)
    head = [
        f"PathFileType\t4\t(X/Y/Z)\t{path.name}",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\t"
        "OrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
        f"{fps:g}\t{fps:g}\t{count}\t{len(JOINTS)}\t{units}\t{fps:g}\t1\t{count}",
        "Frame#\tTime\t" + "\t\t\t".join(JOINTS) + "\t\t",
        "\t\t" + "\t".join(f"X{n}\tY{n}\tZ{n}" for n in range(1, len(JOINTS) + 1)),
        "",
    ]
    rows = [
        f"{frame + 1}\t{frame / fps:.6f}\t"
        + "\t".join(
            f"{x[frame, joint]:.5f}\t{y[frame, joint]:.5f}\t0.00000"
            if seen[frame, joint]
            else "\t\t"
            for joint in range(len(JOINTS))
        )
        for frame in range(count)
    ]
    _write(path, "\n".join(head + rows) + "\n")


def write_mot(path: Path, session: Session) -> None:
    """Angles in degrees as an OpenSim motion; NaN where the view carries none."""
    series = np.stack([session.angles[name] for name in ANGLES], 1)
    head = [
        path.stem, "version=1", f"nRows={len(series)}", f"nColumns={len(ANGLES) + 1}",
        "inDegrees=yes", "endheader", "time\t" + "\t".join(ANGLES),
    ]  # fmt: skip
    rows = [
        f"{frame / session.fps:.6f}\t" + "\t".join(f"{value:.4f}" for value in values)
        for frame, values in enumerate(series)
    ]
    _write(path, "\n".join(head + rows) + "\n")


def _extent(points: Array) -> float:
    """The greatest distance from nose to the middle of the ankles, pixels."""
    ankles = [JOINTS.index("left_ankle"), JOINTS.index("right_ankle")]
    lengths = np.linalg.norm(points[:, 0] - points[:, ankles].mean(1), axis=1)
    return float(np.nanpercentile(lengths, 95)) if np.isfinite(lengths).any() else float("nan")


def _csv_text(header, rows) -> str:  # type: ignore[no-untyped-def]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow([f"{value:.4f}" if np.isfinite(value) else "" for value in row])
    return out.getvalue()


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
