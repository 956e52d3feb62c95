"""What the synthetic person looks like: build, clothes, hair, and how they are painted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from musclemap_data.sample.skeleton import (
    BONES,
    REST_ARM,
    Array,
    Dimensions,
    face_points,
    rest_joints,
)
from musclemap_data.sample.surface import smooth, vertex_normals

SKIN, HAIR, SHIRT, PANTS, SHOE, SOLE, SOCK = range(7)


@dataclass(frozen=True)
class Look:
    """Build, clothes and hair of one person; colours are RGB in [0, 1]."""

    size: Dimensions
    bulk: float = 1.0  # thickness of limbs and trunk
    waist: float = 1.0
    hips: float = 1.0
    bust: float = 0.0  # 0 flat, 1 full
    muscle: float = 0.5
    skin: tuple[float, float, float] = (0.80, 0.60, 0.48)
    hair: tuple[float, float, float] = (0.15, 0.10, 0.07)
    hair_style: str = "short"  # "short", "bald", "bun", "tail", "long"
    shirt: tuple[float, float, float] = (0.20, 0.40, 0.75)
    shirt_accent: tuple[float, float, float] = (0.9, 0.9, 0.9)
    sleeve: float = 0.5  # share of the arm covered; below 0 a vest
    crop: bool = False  # a short top that leaves the belly free
    pants: tuple[float, float, float] = (0.10, 0.10, 0.14)
    pants_accent: tuple[float, float, float] = (0.6, 0.6, 0.6)
    pants_length: float = 0.4  # share of the leg covered
    loose: float = 0.5  # how far the cloth stands off
    shoe: tuple[float, float, float] = (0.85, 0.30, 0.20)
    pattern: str = "plain"  # "plain", "stripes", "bars", "blocks", "camo", "chest"
    beard: bool = False
    texture_seed: int = 0


def noise(points: Array, scale: float, seed: int) -> Array:
    """Smooth value noise in [-1, 1] at points [N, 3] (metres), feature size ``scale`` metres."""
    lattice = np.random.default_rng(seed).uniform(-1, 1, (16, 16, 16))
    q = points / scale
    base = np.floor(q).astype(int)
    f = q - base
    f = f * f * (3 - 2 * f)
    out = np.zeros(len(points))
    for corner in range(8):
        d = np.array([corner & 1, corner >> 1 & 1, corner >> 2 & 1])
        part = np.prod(np.where(d, f, 1 - f), axis=1)
        cell = (base + d) % 16
        out += part * lattice[cell[:, 0], cell[:, 1], cell[:, 2]]
    return out


def dress(
    look: Look,
    points: Array,
    faces: npt.NDArray[np.int32],
    top: npt.NDArray[np.int64],
    material: npt.NDArray[np.int64],
) -> tuple[Array, Array, Array]:
    """Chooses each body vertex's cloth, pushes cloth off the skin, and paints it.

    Args:
        look: the person.
        points: [V, 3] at rest, metres.
        faces: [F, 3], indices of points.
        top, material: [V], bone and material of each point.

    Returns:
        Points [V, 3], colours [V, 3] from 0 to 1, and how much each point shines [V].
    """
    size, h = look.size, look.size.height
    j = rest_joints(size)
    names = np.array(BONES)[top]
    mirrored = points * np.array([-1.0, 1.0, 1.0])
    folded = np.where(points[:, :1] < 0, mirrored, points)
    arm = (folded - j["shoulder"]) @ REST_ARM / size.arm
    leg_axis = (j["ankle"] - j["hip"]) / size.leg
    leg = (folded - j["hip"]) @ leg_axis / size.leg
    is_arm = np.array([n.endswith(("_arm", "elbow", "forearm", "hand", "shoulder")) for n in names])
    is_leg = np.array([n.endswith(("hip", "thigh", "knee", "shin")) for n in names])
    waist_y = j["pelvis"][1] + 0.040 * h
    trunk = ~is_arm & ~is_leg & (material == SKIN)
    out = material.copy()
    low_edge = j["chest"][1] - 0.005 * h if look.crop else waist_y - 0.02 * h
    # The collar: a ring around the neck, lower and wider in front.
    front = np.clip(points[:, 2] / (0.05 * h), 0, 1)
    around_neck = np.hypot(points[:, 0], points[:, 2] + 0.012 * h)
    collar = (0.050 if look.sleeve >= 0 else 0.056) * h * (1 + 0.30 * front)
    bare_neck = (around_neck < collar) & (
        points[:, 1] > j["shoulder"][1] - 0.012 * h - 0.030 * h * front
    )
    shirt = trunk & (points[:, 1] > low_edge) & ~bare_neck & (names != "neck")
    if look.sleeve < 0:  # a vest: straps between neck and shoulder
        shirt &= ~((points[:, 1] > j["chest"][1] + 0.09 * h) & (folded[:, 0] > 0.075 * h))
    else:
        shirt |= is_arm & (arm < look.sleeve) & (out == SKIN)
    out[shirt] = SHIRT
    pants = (trunk | is_leg) & (points[:, 1] < waist_y) & (leg < look.pants_length)
    out[pants & (out != SHIRT)] = PANTS
    out[is_leg & (leg > 0.93) & (out == SKIN)] = SOCK
    out[(out == SHOE) & (points[:, 1] < 0.011 * h)] = SOLE

    normals = vertex_normals(points, faces)
    cloth = ((out == SHIRT) | (out == PANTS)).astype(float)
    folds = noise(points, 0.055, look.texture_seed + 3)
    offset = cloth * (0.003 + 0.008 * look.loose * (1.0 + 0.5 * folds))
    points = points + normals * offset[:, None]

    base = {
        SKIN: look.skin,
        SHIRT: look.shirt,
        PANTS: look.pants,
        SHOE: look.shoe,
        SOLE: (0.92, 0.92, 0.90),
        SOCK: (0.88, 0.88, 0.88),
        HAIR: look.hair,
    }
    colours = np.array([base[m] for m in range(7)])[out]
    accent = _pattern(look, points, j, folded)
    colours = np.where(((out == SHIRT) & accent)[:, None], look.shirt_accent, colours)
    outer_seam = is_leg & (out == PANTS) & (folded[:, 0] - j["hip"][0] > 0.036 * h)
    colours = np.where(
        (outer_seam & (np.abs(points[:, 2]) < 0.016 * h))[:, None], look.pants_accent, colours
    )
    colours = smooth(colours, faces, 1)  # softer seams
    fine = noise(points, 0.022, look.texture_seed) * 0.09
    coarse = noise(points, 0.11, look.texture_seed + 1) * 0.06
    strength = np.where(out == SKIN, 0.55, 1.0)
    colours = colours * (1 + ((fine + coarse) * strength)[:, None])
    shine = np.where(out == SKIN, 0.16, np.where(out == SHOE, 0.12, 0.03))
    return points, np.clip(colours, 0, 1), shine


def _pattern(
    look: Look, points: Array, j: dict[str, Array], folded: Array
) -> npt.NDArray[np.bool_]:
    h = look.size.height
    x, y, z = points.T
    if look.pattern == "stripes":
        return np.asarray(np.sin(y / (0.016 * h)) > 0.2)
    if look.pattern == "bars":
        return np.asarray(folded[:, 0] > 0.066 * h)
    if look.pattern == "blocks":
        return np.asarray(y > j["chest"][1] + 0.055 * h)
    if look.pattern == "camo":
        return np.asarray(noise(points, 0.06, look.texture_seed + 9) > 0.12)
    if look.pattern == "chest":
        middle = j["chest"][1] + 0.07 * h
        ring = np.hypot(x, y - middle) / h
        return np.asarray((z > 0) & (ring < 0.042) & ((ring > 0.024) | (np.abs(x) < 0.008 * h)))
    return np.zeros(len(points), bool)


def paint_head(look: Look, points: Array, material: npt.NDArray[np.int64]) -> tuple[Array, Array]:
    """Skin, hair and the features of the face that a person detector looks for.

    Of points [V, 3] at rest, metres, with materials [V].
    """
    h = look.size.height
    head = rest_joints(look.size)["head"]
    skin, hair = np.array(look.skin), np.array(look.hair)
    q = (points - head) / h
    x, y, z = np.abs(q[:, 0]), q[:, 1], q[:, 2]
    is_hair = material == HAIR
    # Hairline: high on the forehead, down behind the ears.
    is_hair &= ~((z > 0.018) & (y < 0.083))
    is_hair &= ~((z > -0.012) & (y < 0.056) & (look.hair_style != "long"))
    is_hair &= ~((y < 0.018) & (look.hair_style == "short"))
    colours = np.where(is_hair[:, None], hair, skin)
    front = z > 0.02

    def paint(where: npt.NDArray[np.bool_], colour: Array, share: float = 1.0) -> None:
        nonlocal colours
        colours = np.where(where[:, None], colours * (1 - share) + colour * share, colours)

    eye = face_points(look.size)["eye"]
    ex, ey = (eye - head)[:2] / h
    paint(front & (np.hypot((x - ex) / 0.0150, (y - ey) / 0.0105) < 1), skin * 0.62, 0.8)
    paint(front & (np.hypot((x - ex) / 0.0105, (y - ey) / 0.0060) < 1), np.full(3, 0.93))
    paint(front & (np.hypot(x - ex, y - ey) < 0.0052), np.array([0.10, 0.06, 0.04]))
    brow_y = ey + 0.0145 - 0.25 * np.abs(x - ex)
    paint(
        front & (np.abs(x - ex) < 0.0135) & (np.abs(y - brow_y) < 0.0032),
        np.minimum(hair, skin * 0.5) if look.hair_style != "bald" else skin * 0.4,
    )
    lips = np.clip(skin * np.array([0.86, 0.52, 0.52]), 0, 1)
    paint(front & (np.hypot(x / 0.0165, (y - 0.0145) / 0.0060) < 1), lips)
    paint(front & (x < 0.0150) & (np.abs(y - 0.0147) < 0.0016), skin * 0.35)
    paint(front & (np.hypot((x - 0.0055) / 0.0032, (y - 0.0262) / 0.0024) < 1), skin * 0.45)
    paint(front & (np.hypot((x - 0.030) / 0.012, (y - 0.030) / 0.010) < 1),
          skin * np.array([1.05, 0.88, 0.86]), 0.4)  # fmt: skip
    if look.beard:
        jaw = (y < 0.026) & (z > -0.005) & (y > -0.02)
        jaw &= ~(np.hypot(x / 0.0185, (y - 0.0145) / 0.0075) < 1)
        jaw &= (y < 0.006) | (x > 0.020) | (np.abs(y - 0.0225) < 0.0035)
        paint(jaw & ~is_hair, hair, 0.75)
    grain = noise(points, 0.018, look.texture_seed + 5)
    colours = colours * (1 + np.where(is_hair, 0.22, 0.04) * grain)[:, None]
    return np.clip(colours, 0, 1), np.where(is_hair, 0.10, 0.16)
