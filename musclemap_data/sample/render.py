"""Draws one frame: a posed mesh over a textured floor and wall, on one thread and without a GPU.

Image coordinates: x right, y down, in pixels; the centre of the top left pixel is (0, 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from numba import njit

from musclemap_data.sample.body import BodyMesh
from musclemap_data.sample.skeleton import Array, unit
from musclemap_data.sample.surface import vertex_normals

Image = npt.NDArray[np.float32]
SUPERSAMPLING = 2
SHADOW_SIDE_M, SHADOW_CELLS = 5.0, 200
LIGHT_SIDE_M, LIGHT_CELLS = 3.2, 200


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Attributes:
        position: [3] metres.
        rotation: [3, 3], rows are the image's right, down and forward axes on the stage.
        focal_px: focal length.
        width, height: pixels.
    """

    position: Array
    rotation: Array
    focal_px: float
    width: int
    height: int

    def project(self, points: Array) -> Array:
        """Stage points [N, 3] to x, y (pixels) and depth (metres) [N, 3]."""
        seen = (points - self.position) @ self.rotation.T
        depth = np.maximum(seen[:, 2], 0.05)
        x = seen[:, 0] / depth * self.focal_px + (self.width - 1) / 2
        y = seen[:, 1] / depth * self.focal_px + (self.height - 1) / 2
        return np.stack([x, y, depth], axis=1)


def look_at(
    position: Array, target: Array, roll: float, focal_px: float, width: int, height: int
) -> Camera:
    """A camera at ``position`` [3] looking at ``target`` [3], metres, turned by ``roll`` radians.

    Its picture has ``width`` times ``height`` pixels.
    """
    forward = unit(target - position)
    right = unit(np.cross(forward, np.array([0.0, 1.0, 0.0])))
    down = np.cross(forward, right)
    cosine, sine = np.cos(roll), np.sin(roll)
    axes = np.stack([cosine * right + sine * down, cosine * down - sine * right, forward])
    return Camera(position, axes, focal_px, width, height)


@dataclass(frozen=True)
class Room:
    """Floor, wall and light of one video.

    Attributes:
        floor: float32 [H, W, 3] texture, values 0-255, rows along z.
        wall: float32 [H, W, 3] texture, last row at the floor.
        texel_m: metres per texel of both.
        wall_z: the wall is the plane z = wall_z (metres, negative: behind the person).
        to_light: unit vector [3] towards the light.
        light: [3] RGB strength of the light.
        sky, ground: [3] RGB ambient light from above and from below.
        noise: standard deviation of the sensor noise, in grey levels.
    """

    floor: Image
    wall: Image
    texel_m: float
    wall_z: float
    to_light: Array
    light: Array
    sky: Array
    ground: Array
    noise: float


@njit(cache=True)
def rasterise(points: Array, faces: npt.NDArray[np.int32], height: int, width: int):  # type: ignore[no-untyped-def]
    """Depth-buffered triangles.

    Args:
        points: [V, 3] x, y in pixels and inverse depth (larger is nearer).
        faces: [F, 3]; only those that turn counter-clockwise to the viewer are drawn.
        height, width: of the image.

    Returns:
        face number int32 [H, W] (-1: none), the barycentric weights float32 [H, W, 3]
        (perspective-correct) and the inverse depth float32 [H, W] (0: none).
    """
    face = np.full((height, width), -1, np.int32)
    weight = np.zeros((height, width, 3), np.float32)
    near = np.zeros((height, width), np.float32)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, bx, by = points[a, 0], points[a, 1], points[b, 0], points[b, 1]
        cx, cy = points[c, 0], points[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area >= -1e-12:
            continue
        x0 = max(0, int(np.ceil(min(ax, bx, cx))))
        x1 = min(width - 1, int(np.floor(max(ax, bx, cx))))
        y0 = max(0, int(np.ceil(min(ay, by, cy))))
        y1 = min(height - 1, int(np.floor(max(ay, by, cy))))
        if x1 < x0 or y1 < y0:
            continue
        ia, ib, ic = points[a, 2], points[b, 2], points[c, 2]
        inverse = 1.0 / area
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                wa = ((bx - x) * (cy - y) - (by - y) * (cx - x)) * inverse
                wb = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) * inverse
                wc = 1.0 - wa - wb
                if wa < 0 or wb < 0 or wc < 0:
                    continue
                depth = wa * ia + wb * ib + wc * ic
                if depth > near[y, x]:
                    near[y, x] = depth
                    face[y, x] = f
                    weight[y, x, 0] = wa * ia / depth
                    weight[y, x, 1] = wb * ib / depth
                    weight[y, x, 2] = wc * ic / depth
    return face, weight, near


@njit(cache=True)
def interpolate(
    face: npt.NDArray[np.int32], weight: Image, faces: npt.NDArray[np.int32], values: Array
) -> Image:
    """Vertex values [V, 3] at every covered pixel, float32 [H, W, 3]; 0 elsewhere."""
    height, width = face.shape
    out = np.zeros((height, width, 3), np.float32)
    for y in range(height):
        for x in range(width):
            f = face[y, x]
            if f < 0:
                continue
            for c in range(3):
                out[y, x, c] = (
                    weight[y, x, 0] * values[faces[f, 0], c]
                    + weight[y, x, 1] * values[faces[f, 1], c]
                    + weight[y, x, 2] * values[faces[f, 2], c]
                )
    return out


@njit(cache=True)
def _plane_point(position, rotation, u: float, v: float, wall_z: float):  # type: ignore[no-untyped-def]
    """Where the ray of the image point (u, v), in focal lengths, meets floor or wall (metres)."""
    dx = u * rotation[0, 0] + v * rotation[1, 0] + rotation[2, 0]
    dy = u * rotation[0, 1] + v * rotation[1, 1] + rotation[2, 1]
    dz = u * rotation[0, 2] + v * rotation[1, 2] + rotation[2, 2]
    t = 1e3
    if dz < -1e-6:
        t = (wall_z - position[2]) / dz
    if dy < -1e-6:
        t = min(t, -position[1] / dy)
    return position[0] + t * dx, position[1] + t * dy, position[2] + t * dz


@njit(cache=True)
def plane_points(
    position: Array, rotation: Array, focal: float, height: int, width: int, wall_z: float
) -> Array:
    """The stage point [H, W, 3] of floor or wall behind every pixel, in metres."""
    out = np.zeros((height, width, 3))
    for y in range(height):
        for x in range(width):
            u, v = (x - (width - 1) / 2) / focal, (y - (height - 1) / 2) / focal
            out[y, x] = _plane_point(position, rotation, u, v, wall_z)
    return out


@njit(cache=True)
def _bilinear(texture: Image, x: float, y: float, i: int, k: int, c: int) -> float:
    """Channel c at (x, y), which lies in the cell of rows i, i + 1 and columns k, k + 1."""
    fy, fx = y - i, x - k
    value: float = (1 - fy) * ((1 - fx) * texture[i, k, c] + fx * texture[i, k + 1, c]) + fy * (
        (1 - fx) * texture[i + 1, k, c] + fx * texture[i + 1, k + 1, c]
    )
    return value


@njit(cache=True)
def _sample(texture: Image, x: float, y: float, out: Array) -> None:
    """Bilinear look-up with mirrored edges."""
    height, width = texture.shape[0], texture.shape[1]
    x = abs(x) % (2.0 * (width - 1))
    y = abs(y) % (2.0 * (height - 1))
    if x > width - 1:
        x = 2.0 * (width - 1) - x
    if y > height - 1:
        y = 2.0 * (height - 1) - y
    i, k = min(int(y), height - 2), min(int(x), width - 2)
    for c in range(3):
        out[c] = _bilinear(texture, x, y, i, k, c)


@njit(cache=True)
def _background(
    position: Array,
    rotation: Array,
    focal: float,
    height: int,
    width: int,
    floor: Image,
    wall: Image,
    texel: float,
    wall_z: float,
    shadow: Image,
    shadow_side: float,
    light: Array,
    ambient: Array,
) -> Image:
    out = np.empty((height, width, 3), np.float32)
    colour = np.zeros(3)
    cells = shadow.shape[0]
    for y in range(height):
        for x in range(width):
            u, v = (x - (width - 1) / 2) / focal, (y - (height - 1) / 2) / focal
            px, py, pz = _plane_point(position, rotation, u, v, wall_z)
            lit, open_sky = 1.0, 1.0
            if py < 1e-4:
                u, v = px / texel + floor.shape[1] / 2, pz / texel + floor.shape[0] / 2
                _sample(floor, u, v, colour)
                sx = (px / shadow_side + 0.5) * cells - 0.5
                sz = (pz / shadow_side + 0.5) * cells - 0.5
                if 0 <= sx < cells - 1 and 0 <= sz < cells - 1:
                    i, k = int(sz), int(sx)
                    lit -= _bilinear(shadow, sx, sz, i, k, 0)
                    open_sky -= _bilinear(shadow, sx, sz, i, k, 1)
                open_sky *= min(1.0, 0.7 + 0.6 * (pz - wall_z))
            else:
                u, v = px / texel + wall.shape[1] / 2, wall.shape[0] - 1 - py / texel
                _sample(wall, u, v, colour)
                open_sky = min(1.0, 0.75 + 0.5 * py)
            for c in range(3):
                out[y, x, c] = colour[c] * (light[c] * lit + ambient[c] * open_sky)
    return out


@njit(cache=True)
def _blend(
    face: npt.NDArray[np.int32],
    weight: Image,
    faces: npt.NDArray[np.int32],
    values: Array,
    s: int,
    canvas: Image,
) -> None:
    """Averages s x s samples of the mesh's vertex values over each pixel of the canvas."""
    for y in range(canvas.shape[0]):
        for x in range(canvas.shape[1]):
            covered = 0
            for c in range(3):
                total = 0.0
                covered = 0
                for i in range(y * s, y * s + s):
                    for k in range(x * s, x * s + s):
                        f = face[i, k]
                        if f < 0:
                            continue
                        covered += 1
                        for n in range(3):
                            total += weight[i, k, n] * values[faces[f, n], c]
                if covered == 0:
                    break
                canvas[y, x, c] = (canvas[y, x, c] * (s * s - covered) + total) / (s * s)


@njit(cache=True)
def _shade(
    vertices: Array,
    normals: Array,
    colours: npt.NDArray[np.float32],
    shine: npt.NDArray[np.float32],
    lit: Array,
    to_light: Array,
    light: Array,
    sky: Array,
    ground: Array,
    eye: Array,
) -> Array:
    """Lambert, hemisphere ambient, a fill light by the camera, and a soft highlight [V, 3]."""
    out = np.zeros_like(vertices)
    for v in range(vertices.shape[0]):
        nx, ny, nz = normals[v, 0], normals[v, 1], normals[v, 2]
        key = max(0.0, nx * to_light[0] + ny * to_light[1] + nz * to_light[2]) * lit[v]
        ex, ey, ez = eye[0] - vertices[v, 0], eye[1] - vertices[v, 1], eye[2] - vertices[v, 2]
        length = np.sqrt(ex * ex + ey * ey + ez * ez)
        ex, ey, ez = ex / length, ey / length, ez / length
        facing = max(0.0, nx * ex + ny * ey + nz * ez)
        hx, hy, hz = ex + to_light[0], ey + to_light[1], ez + to_light[2]
        length = np.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9
        glint = max(0.0, (nx * hx + ny * hy + nz * hz) / length) ** 24 * shine[v] * lit[v]
        up = 0.5 + 0.5 * ny
        # Surfaces that look at the floor from close by see little light.
        close = min(1.0, max(0.0, vertices[v, 1] / 0.30))
        opening = 1.0 - (1.0 - up) * 0.65 * (1.0 - close)
        for c in range(3):
            ambient = (ground[c] * (1 - up) + sky[c] * up) * opening
            rim = 0.80 + 0.20 * facing
            out[v, c] = 255.0 * (
                colours[v, c] * (ambient + 0.16 * facing + light[c] * key) * rim + glint * light[c]
            )
    return out


@njit(cache=True)
def _light_on(points: Array, near: Image, bias: float) -> Array:
    """Share of light [V] that reaches each vertex: 3 x 3 look-ups in the light's depth map."""
    cells = near.shape[0]
    out = np.ones(points.shape[0])
    for v in range(points.shape[0]):
        x, y = int(np.round(points[v, 0])), int(np.round(points[v, 1]))
        if x < 1 or y < 1 or x >= cells - 1 or y >= cells - 1:
            continue
        total = 0.0
        for i in range(-1, 2):
            for k in range(-1, 2):
                if near[y + i, x + k] < points[v, 2] + bias:
                    total += 1.0
        out[v] = total / 9.0
    return out


@njit(cache=True)
def _contact(vertices: Array, cells: int, side: float) -> Image:
    """How much of the sky over each floor cell low body parts hide."""
    out = np.zeros((cells, cells), np.float32)
    for v in range(vertices.shape[0]):
        if vertices[v, 1] > 0.30:
            continue
        x = int((vertices[v, 0] / side + 0.5) * cells)
        z = int((vertices[v, 2] / side + 0.5) * cells)
        if 0 <= x < cells and 0 <= z < cells:
            value = 1.0 - max(vertices[v, 1], 0.0) / 0.30
            out[z, x] = max(out[z, x], value)
    return out


def _floor_shadow(vertices: Array, faces: npt.NDArray[np.int32], to_light: Array) -> Image:
    """Share of light (0) and of ambient (1) that the floor misses, float32 [N, N, 2]."""
    cell = SHADOW_SIDE_M / SHADOW_CELLS
    drop = vertices - to_light * (vertices[:, 1:2] / to_light[1])
    place = drop[:, [0, 2]] / cell + SHADOW_CELLS / 2 - 0.5
    plan = np.column_stack([place, np.ones(len(drop))])
    face, _, _ = rasterise(plan, faces, SHADOW_CELLS, SHADOW_CELLS)
    cast = cv2.GaussianBlur((face >= 0).astype(np.float32), (0, 0), 1.6)
    contact = _contact(vertices, SHADOW_CELLS, SHADOW_SIDE_M)
    soft = cv2.GaussianBlur(contact, (0, 0), 2.0)
    return np.stack([cast * 0.9, np.minimum(soft * 0.9, 0.75)], axis=2)


def _self_shadow(vertices: Array, faces: npt.NDArray[np.int32], to_light: Array) -> Array:
    """Share of light [V] not blocked by the body itself."""
    right = unit(np.cross(np.array([0.0, 1.0, 0.01]), to_light))
    down = np.cross(right, to_light)
    centre = vertices.mean(0)
    local = vertices - centre
    scale = LIGHT_CELLS / LIGHT_SIDE_M
    x, y = (local @ axis * scale + LIGHT_CELLS / 2 for axis in (right, -down))
    plan = np.stack([x, y, local @ to_light + 4.0], axis=1)
    _, _, near = rasterise(plan, faces, LIGHT_CELLS, LIGHT_CELLS)
    return np.asarray(_light_on(plan, near, 0.03))


def draw(
    mesh: BodyMesh, vertices: Array, camera: Camera, room: Room, noise_seed: int
) -> npt.NDArray[np.uint8]:
    """Draws one frame.

    Args:
        mesh: faces, colours.
        vertices: [V, 3] posed, on the stage, in metres.
        camera: where from.
        room: floor, wall and light.
        noise_seed: of the sensor noise.

    Returns:
        uint8 [H, W, 3] RGB.
    """
    canvas = _background(
        camera.position,
        camera.rotation,
        camera.focal_px,
        camera.height,
        camera.width,
        room.floor,
        room.wall,
        room.texel_m,
        room.wall_z,
        _floor_shadow(vertices, mesh.faces, room.to_light),
        SHADOW_SIDE_M,
        room.light * max(room.to_light[1], 0.45),
        0.5 * (room.sky + room.ground) + 0.1,
    )
    shaded = _shade(
        vertices,
        vertex_normals(vertices, mesh.faces),
        mesh.colours,
        mesh.shine,
        _self_shadow(vertices, mesh.faces, room.to_light),
        room.to_light,
        room.light,
        room.sky,
        room.ground,
        camera.position,
    )
    screen = screen_points(camera, vertices)
    # Only the part of the image that the body can cover.
    left, top = np.maximum(np.floor(screen[:, :2].min(0)), 0).astype(int)
    right = min(int(screen[:, 0].max()) + 2, camera.width)
    bottom = min(int(screen[:, 1].max()) + 2, camera.height)
    if right > left and bottom > top:
        s = SUPERSAMPLING
        screen[:, :2] = (screen[:, :2] - (left, top)) * s + (s - 1) / 2
        face, weight, _ = rasterise(screen, mesh.faces, (bottom - top) * s, (right - left) * s)
        _blend(face, weight, mesh.faces, shaded, s, canvas[top:bottom, left:right])
    if room.noise > 0:
        rng = np.random.default_rng(noise_seed)
        canvas += rng.standard_normal(canvas.shape, dtype=np.float32) * np.float32(room.noise)
    return np.clip(np.rint(canvas), 0, 255).astype(np.uint8)


def screen_points(camera: Camera, vertices: Array) -> Array:
    """Vertices [V, 3] as ``rasterise`` wants them: x, y in pixels and the inverse depth."""
    seen = camera.project(vertices)
    seen[:, 2] = 1.0 / seen[:, 2]
    return seen
