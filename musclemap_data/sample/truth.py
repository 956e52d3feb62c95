"""Exact ground truth from the geometry: which joints the camera sees, and the optical flow."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from musclemap_data.sample.render import Camera, interpolate, plane_points, rasterise, screen_points
from musclemap_data.sample.skeleton import Array
from musclemap_data.skeleton import JOINTS as COCO_JOINTS

# How deep each joint lies under the skin, as a share of the body height: a joint is visible when
# the surface in front of it is at most this near. Points of the face lie on the skin.
_DEPTH = {
    "nose": 0.012, "eye": 0.012, "ear": 0.018,
    "shoulder": 0.055, "elbow": 0.042, "wrist": 0.038,
    "hip": 0.085, "knee": 0.055, "ankle": 0.045,
}  # fmt: skip


class Flow(NamedTuple):
    """True optical flow of one pair of frames.

    Attributes:
        flow: float32 [H, W, 2] pixels a frame, x to the right and y down: the point at x of the
            first frame is at x + flow of the second.
        visible: bool [H, W], the point is inside the second frame and not hidden there.
        body: bool [H, W], the pixel shows the person.
    """

    flow: npt.NDArray[np.float32]
    visible: npt.NDArray[np.bool_]
    body: npt.NDArray[np.bool_]


def joint_visibility(
    seen: Array, screen: Array, faces: npt.NDArray[np.int32], camera: Camera, height_m: float
) -> Array:
    """1 for every joint that the camera sees, else 0 [17].

    Args:
        seen: [17, 3] x, y (pixels) and depth (metres) of the joints.
        screen: [V, 3] the mesh as ``rasterise`` wants it.
        faces: [F, 3].
        camera: of the frame.
        height_m: body height.
    """
    _, _, near = rasterise(screen, faces, camera.height, camera.width)
    out = np.zeros(len(seen))
    for index, name in enumerate(COCO_JOINTS):
        x, y = int(np.rint(seen[index, 0])), int(np.rint(seen[index, 1]))
        if not (0 <= x < camera.width and 0 <= y < camera.height):
            continue
        surface = near[y, x]
        allowed = _DEPTH[name.rpartition("_")[2]] * height_m
        out[index] = surface <= 0 or seen[index, 2] - 1.0 / surface <= allowed
    return out


def true_flow(
    faces: npt.NDArray[np.int32],
    vertices: tuple[Array, Array],
    cameras: tuple[Camera, Camera],
    wall_z: float,
) -> Flow:
    """Flow by following the surface point of every pixel.

    Args:
        faces: [F, 3].
        vertices: the mesh [V, 3] in metres in both frames.
        cameras: of both frames.
        wall_z: the wall's plane in metres.
    """
    first, second = cameras
    height, width = first.height, first.width
    face, weight, _ = rasterise(screen_points(first, vertices[0]), faces, height, width)
    body = face >= 0
    moved = interpolate(face, weight, faces, vertices[1]).astype(np.float64)
    still = plane_points(first.position, first.rotation, first.focal_px, height, width, wall_z)
    points = np.where(body[:, :, None], moved, still)
    there = second.project(points.reshape(-1, 3)).reshape(height, width, 3)
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
    flow = there[:, :, :2] - grid

    # Hidden in the second frame: something there is clearly nearer.
    _, _, near = rasterise(screen_points(second, vertices[1]), faces, height, width)
    depth = np.where(near > 0, 1.0 / np.maximum(near, 1e-6), np.inf)
    x = np.rint(there[:, :, 0]).astype(int)
    y = np.rint(there[:, :, 1]).astype(int)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    nearest = depth[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
    visible = inside & (there[:, :, 2] <= nearest + 0.04)
    return Flow(flow.astype(np.float32), visible, body)
