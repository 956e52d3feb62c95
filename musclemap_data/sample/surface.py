"""Surfaces from round cones: distance, smooth union, extraction by surface nets, and skinning.

A primitive is a row of 13 numbers: ends a (3) and b (3) and radii at a and b in metres; stretch of
space about the middle along x, y and z (which makes elliptical cross-sections); bone; material.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from musclemap_data.sample.skeleton import Array


@njit(cache=True)
def distance_to(row: Array, x: float, y: float, z: float) -> float:
    """Signed distance in metres of a point to one primitive, a row [11] of a ``Body``.

    Exact for round cones, approximate when they are squashed.
    """
    ax, ay, az, bx, by, bz = row[0], row[1], row[2], row[3], row[4], row[5]
    sx, sy, sz = row[8], row[9], row[10]
    cx, cy, cz = (ax + bx) / 2, (ay + by) / 2, (az + bz) / 2
    px, py, pz = (x - cx) / sx, (y - cy) / sy, (z - cz) / sz
    ax, ay, az = (ax - cx) / sx, (ay - cy) / sy, (az - cz) / sz
    bx, by, bz = (bx - cx) / sx, (by - cy) / sy, (bz - cz) / sz
    ra, rb = row[6], row[7]
    scale: float = (sx + sy + sz) / 3
    bax, bay, baz = bx - ax, by - ay, bz - az
    pax, pay, paz = px - ax, py - ay, pz - az
    l2 = bax * bax + bay * bay + baz * baz
    if l2 < 1e-10:
        to_ball: float = np.sqrt(pax * pax + pay * pay + paz * paz) - ra
        return to_ball * scale
    # Round cone: https://iquilezles.org/articles/distfunctions/
    rr = ra - rb
    a2 = l2 - rr * rr
    il2 = 1.0 / l2
    t = pax * bax + pay * bay + paz * baz
    q = t - l2
    ux, uy, uz = pax * l2 - bax * t, pay * l2 - bay * t, paz * l2 - baz * t
    x2 = ux * ux + uy * uy + uz * uz
    y2 = t * t * l2
    z2 = q * q * l2
    k = np.sign(rr) * rr * rr * x2
    distance: float
    if np.sign(q) * a2 * z2 > k:
        distance = np.sqrt(x2 + z2) * il2 - rb
    elif np.sign(t) * a2 * y2 < k:
        distance = np.sqrt(x2 + y2) * il2 - ra
    else:
        distance = (np.sqrt(x2 * a2 * il2) + t * rr) * il2 - ra
    return distance * scale


@njit(cache=True)
def _union(rows: Array, low: Array, shape: tuple[int, int, int], step: float, blend: float):  # type: ignore[no-untyped-def]
    """Smooth union of the primitives on a grid, each evaluated only near itself."""
    out = np.full(shape, 0.2, np.float32)
    for n in range(rows.shape[0]):
        r = rows[n]
        reach = max(r[6], r[7]) + 2.5 * blend
        i0, i1 = np.zeros(3, np.int64), np.zeros(3, np.int64)
        for c in range(3):
            stretch = max(r[8 + c], 1.0)
            lo = min(r[c], r[3 + c]) - reach * stretch
            hi = max(r[c], r[3 + c]) + reach * stretch
            i0[c] = max(0, int((lo - low[c]) / step))
            i1[c] = min(shape[c], int((hi - low[c]) / step) + 2)
        for i in range(i0[0], i1[0]):
            for j in range(i0[1], i1[1]):
                for k in range(i0[2], i1[2]):
                    d = distance_to(r, low[0] + i * step, low[1] + j * step, low[2] + k * step)
                    old = out[i, j, k]
                    overlap = max(blend - abs(d - old), 0.0) / blend
                    out[i, j, k] = min(d, old) - overlap * overlap * blend * 0.25
    return out


@njit(cache=True)
def nearest_parts(rows: Array, points: Array, bones: int):  # type: ignore[no-untyped-def]
    """Distance of every point to every bone's primitives [V, bones], and the nearest primitive."""
    out = np.full((points.shape[0], bones), 1e3)
    best = np.zeros(points.shape[0], np.int64)
    for v in range(points.shape[0]):
        least = 1e9
        for n in range(rows.shape[0]):
            d = distance_to(rows[n], points[v, 0], points[v, 1], points[v, 2])
            b = int(rows[n, 11])
            if d < out[v, b]:
                out[v, b] = d
            if d < least:
                least, best[v] = d, n
    return out, best


def surface_nets(
    field: npt.NDArray[np.float32], low: Array, step: float
) -> tuple[Array, npt.NDArray[np.int32]]:
    """Naive surface nets: one vertex in every cell with a change of sign, one quad an edge.

    Args:
        field: float32 [X, Y, Z], negative inside.
        low: [3] place of sample (0, 0, 0).
        step: grid spacing.

    Returns:
        vertices [V, 3] and triangles int32 [F, 3], counter-clockwise from outside.
    """
    inside = field < 0
    cells = tuple(n - 1 for n in field.shape)
    total = np.zeros((*cells, 3), np.float32)
    count = np.zeros(cells, np.float32)
    for axis in range(3):
        others = [c for c in range(3) if c != axis]
        for da in (0, 1):
            for db in (0, 1):
                corner = [0, 0, 0]
                corner[others[0]], corner[others[1]] = da, db
                first = tuple(slice(corner[c], corner[c] + cells[c]) for c in range(3))
                corner[axis] = 1
                second = tuple(slice(corner[c], corner[c] + cells[c]) for c in range(3))
                a, b = field[first], field[second]
                crossing = inside[first] != inside[second]
                t = a[crossing] / (a[crossing] - b[crossing])
                place = np.zeros((t.size, 3), np.float32)
                place[:, others[0]], place[:, others[1]], place[:, axis] = da, db, t
                total[crossing] += place
                count[crossing] += 1
    active = count > 0
    index = np.full(cells, -1, np.int64)
    index[active] = np.arange(int(active.sum()))
    cell_places = np.argwhere(active)
    vertices = (cell_places + total[active] / count[active][:, None]) * step + low
    quads = []
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        first_cut = [slice(1, n) for n in cells]
        first_cut[axis] = slice(0, cells[axis])
        second_cut = list(first_cut)
        second_cut[axis] = slice(1, cells[axis] + 1)
        here, there = inside[tuple(first_cut)], inside[tuple(second_cut)]
        for outward in (True, False):
            where = np.argwhere(here & ~there if outward else ~here & there)
            where[:, u] += 1
            where[:, v] += 1
            corners = []
            for du, dv in ((-1, -1), (0, -1), (0, 0), (-1, 0)):
                cell = where.copy()
                cell[:, u] += du
                cell[:, v] += dv
                corners.append(index[cell[:, 0], cell[:, 1], cell[:, 2]])
            quad = np.stack(corners, axis=1)
            quads.append(quad if outward else quad[:, ::-1])
    quad = np.concatenate(quads)
    faces = np.concatenate([quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]]).astype(np.int32)
    return vertices.astype(np.float64), faces


def extract(rows: Array, step: float, blend: float) -> tuple[Array, npt.NDArray[np.int32]]:
    """The surface of the smooth union: vertices [V, 3] and triangles [F, 3].

    Args:
        rows: [N, 13] primitives.
        step: spacing of the vertices in metres.
        blend: width of the fillets between primitives in metres.
    """
    reach = np.maximum(rows[:, 6], rows[:, 7])[:, None] * np.maximum(rows[:, 8:11], 1)
    low = (np.minimum(rows[:, 0:3], rows[:, 3:6]) - reach).min(0) - 3 * step
    high = (np.maximum(rows[:, 0:3], rows[:, 3:6]) + reach).max(0) + 3 * step
    nx, ny, nz = (int(n) for n in np.ceil((high - low) / step) + 1)
    return surface_nets(_union(rows, low, (nx, ny, nz), step, blend), low, step)


def smooth(values: Array, faces: npt.NDArray[np.int32], rounds: int) -> Array:
    """Averages every row of values [V, N] with its neighbours in the mesh, ``rounds`` times."""
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    n = len(values)
    degree = np.bincount(ends[:, 0], minlength=n).astype(float)[:, None]
    for _ in range(rounds):
        total = np.stack(
            [np.bincount(ends[:, 0], values[ends[:, 1], c], n) for c in range(values.shape[1])], 1
        )
        values = 0.5 * values + 0.5 * total / np.maximum(degree, 1)
    return values


@njit(cache=True)
def vertex_normals(vertices: Array, faces: npt.NDArray[np.int32]) -> Array:
    """Area-weighted unit normals [V, 3], outwards."""
    out = np.zeros_like(vertices)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux = vertices[b, 0] - vertices[a, 0]
        uy = vertices[b, 1] - vertices[a, 1]
        uz = vertices[b, 2] - vertices[a, 2]
        vx = vertices[c, 0] - vertices[a, 0]
        vy = vertices[c, 1] - vertices[a, 1]
        vz = vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for v in (a, b, c):
            out[v, 0] += nx
            out[v, 1] += ny
            out[v, 2] += nz
    for v in range(out.shape[0]):
        length = np.sqrt(out[v, 0] ** 2 + out[v, 1] ** 2 + out[v, 2] ** 2) + 1e-20
        out[v, 0] /= length
        out[v, 1] /= length
        out[v, 2] /= length
    return out


@njit(cache=True)
def skin_vertices(
    vertices: Array,
    bones: npt.NDArray[np.int32],
    weights: Array,
    rotation: Array,
    translation: Array,
) -> Array:
    """Linear blend skinning: vertices [V, 3] of the rest pose to the stage, in metres.

    Args:
        vertices: [V, 3] rest pose.
        bones, weights: [V, 4].
        rotation: [B, 3, 3], and translation: [B, 3], of p -> rotation p + translation.
    """
    out = np.zeros_like(vertices)
    for v in range(vertices.shape[0]):
        x, y, z = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        for k in range(4):
            w = weights[v, k]
            if w < 1e-5:
                continue
            b = bones[v, k]
            for c in range(3):
                out[v, c] += w * (
                    rotation[b, c, 0] * x
                    + rotation[b, c, 1] * y
                    + rotation[b, c, 2] * z
                    + translation[b, c]
                )
    return out
