"""The skin of the synthetic person: a closed triangle mesh in the rest pose, bound to the bones.

The surface is the zero level of a smooth union of round cones and ellipsoids, extracted once for
each person, so that limbs melt into the torso as on a shop-window mannequin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from musclemap_data.sample.clothes import HAIR, SHOE, SKIN, Look, dress, paint_head
from musclemap_data.sample.skeleton import (
    BONE_INDEX,
    BONES,
    PARENT,
    REST_ARM,
    Array,
    Dimensions,
    rest_joints,
)
from musclemap_data.sample.surface import extract, nearest_parts, smooth


@dataclass(frozen=True)
class BodyMesh:
    """A person's mesh in the rest pose.

    Attributes:
        vertices: [V, 3] metres.
        faces: int32 [F, 3], counter-clockwise from outside.
        bones: int32 [V, 4] and weights: [V, 4] (rows sum to 1).
        colours: float32 [V, 3] RGB in [0, 1] (texture included).
        shine: float32 [V] strength of the highlight.
    """

    vertices: Array
    faces: npt.NDArray[np.int32]
    bones: npt.NDArray[np.int32]
    weights: Array
    colours: npt.NDArray[np.float32]
    shine: npt.NDArray[np.float32]


class _Parts:
    """Collects primitives; lengths are shares of the body height, origin at a given point."""

    def __init__(self, height: float) -> None:
        self.height = height
        self.rows: list[list[float]] = []

    def cone(
        self,
        a: Array,
        b: Array,
        ra: float,
        rb: float,
        bone: str,
        squash: tuple[float, float, float] = (1, 1, 1),
        material: int = SKIN,
    ) -> None:
        h = self.height
        self.rows.append(
            [*a, *b, ra * h, rb * h, *squash, float(BONE_INDEX[bone]), float(material)]
        )

    def pair(self, a: Array, b: Array, ra: float, rb: float, bone: str, *more: Any) -> None:
        """The same cone on the left and, mirrored, on the right."""
        for side, sign in (("left", np.ones(3)), ("right", np.array([-1.0, 1.0, 1.0]))):
            name = f"{side}_{bone}" if f"{side}_{bone}" in BONE_INDEX else bone
            self.cone(a * sign, b * sign, ra, rb, name, *more)

    def balls(self, centre: Array, radius: float, bone: str, *more: Any) -> None:
        """A ball on the left and one on the right."""
        self.pair(centre, centre, radius, radius, bone, *more)

    def array(self) -> Array:
        return np.array(self.rows)


def _body_parts(look: Look) -> Array:
    size, h = look.size, look.size.height
    j = rest_joints(size)
    p = _Parts(h)
    k, w, hips, m = look.bulk, look.waist, look.hips, look.muscle

    def at(base: Array, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Array:
        return base + h * np.array([x, y, z])

    pelvis, chest, neck = j["pelvis"], j["chest"], j["neck"]
    # Trunk
    left, right = (at(pelvis, x * hips, 0.0, -0.002) for x in (0.045, -0.045))
    p.cone(right, left, 0.057 * k, 0.057 * k, "pelvis", (1, 1.15, 1.0))
    p.balls(at(pelvis, 0.042 * hips, -0.018, -0.026), 0.049 * k * hips**0.5, "pelvis")
    belly = at(pelvis, 0, 0.035, 0.002)
    p.cone(belly, at(chest), 0.084 * k * w, 0.080 * k * w, "abdomen", (1, 1, 0.70))
    low, high = at(chest, 0, 0.012, -0.002), at(chest, 0, 0.082, -0.006)
    p.cone(low, high, 0.081 * k * (0.6 + 0.4 * w), 0.095 * k, "chest", (1, 1, 0.68))
    yoke = at(j["shoulder"], -0.038, -0.012, -0.008)
    p.cone(yoke * np.array([-1, 1, 1]), yoke, 0.041 * k, 0.041 * k, "chest", (1, 1, 0.95))
    p.balls(  # breast or pectoral
        at(chest, 0.041, 0.072, 0.042 + 0.012 * look.bust),
        0.034 + 0.006 * look.bust,
        "chest",
        (1.25 - 0.15 * look.bust, 0.85 + 0.15 * look.bust, 0.46 + 0.44 * look.bust),
    )
    # Latissimus, trapezius
    high, low = at(chest, 0.066, 0.075, -0.014), at(chest, 0.058, 0.005, -0.010)
    p.pair(high, low, 0.034 * (0.8 + 0.4 * m), 0.026, "chest")
    inner, outer = at(neck, 0.012, 0.030, -0.006), at(j["shoulder"], -0.030, 0.012, -0.008)
    p.pair(inner, outer, 0.022, 0.022 * (0.9 + 0.3 * m), "chest")
    thick = 0.90 + 0.18 * m
    p.cone(at(neck, 0, -0.02, 0), at(neck, 0, 0.052, 0.010), 0.037 * thick, 0.034 * thick, "neck")
    # Arms
    shoulder, elbow, wrist = j["shoulder"], j["elbow"], j["wrist"]
    bulk = k * thick
    inner, outer = at(shoulder, -0.004, 0.0, 0), at(shoulder, 0.004, -0.01, 0)
    p.pair(inner, outer, 0.035 * bulk, 0.033 * bulk, "shoulder")
    p.pair(shoulder + 0.25 * (elbow - shoulder), elbow, 0.031 * bulk, 0.0235 * k, "upper_arm")
    # Biceps
    high, low = (at(shoulder + share * (elbow - shoulder), z=0.007) for share in (0.40, 0.70))
    p.pair(high, low, 0.025 * bulk, 0.024 * bulk, "upper_arm")
    p.balls(elbow, 0.0235 * k, "elbow")
    p.pair(elbow, wrist, 0.0225 * k, 0.0155 * k**0.5, "forearm")
    high, low = (elbow + share * (wrist - elbow) for share in (0.14, 0.42))
    p.pair(high, low, 0.0255 * bulk, 0.022 * bulk, "forearm")
    # Hand: a mitten, palm facing down and in, with a thumb towards +z.
    a = REST_ARM * h
    squash_hand = (0.8, 0.62, 1.15)
    p.pair(wrist + 0.005 * a, wrist + 0.045 * a, 0.0165, 0.0215, "hand", squash_hand)
    p.pair(wrist + 0.050 * a, wrist + 0.088 * a, 0.0200, 0.0140, "hand", (0.75, 0.55, 1.1))
    thumb = np.array([0, -0.004, 0.026]) * h
    p.pair(wrist + 0.016 * a + 0.5 * thumb, wrist + 0.055 * a + thumb, 0.0105, 0.0075, "hand")
    # Legs
    hip, knee, ankle = j["hip"], j["knee"], j["ankle"]
    high, low = at(hip, 0.004 * hips, -0.01, -0.004), at(hip, 0.006 * hips, -0.03, -0.002)
    p.pair(high, low, 0.054 * k * hips**0.5, 0.053 * k * hips**0.5, "hip")
    p.pair(hip + 0.15 * (knee - hip), knee, 0.0535 * k * hips**0.5, 0.0335 * k**0.7, "thigh")
    # Quadriceps
    high = at(hip + 0.35 * (knee - hip), 0.003, 0, 0.012)
    low = at(hip + 0.75 * (knee - hip), -0.002, 0, 0.009)
    p.pair(high, low, 0.042 * bulk, 0.033 * bulk**0.7, "thigh")
    p.balls(at(knee, 0, 0, 0.002), 0.0335 * k**0.7, "knee")
    p.pair(knee, ankle, 0.030 * k**0.7, 0.0205, "shin")
    # Calf
    high = at(knee + 0.17 * (ankle - knee), 0.0, 0, -0.010)
    low = at(knee + 0.48 * (ankle - knee), 0.0, 0, -0.006)
    p.pair(high, low, 0.032 * bulk**0.8, 0.0235 * bulk**0.5, "shin")
    # Shoes: heel to ball to toes.
    ground = ankle.copy()
    ground[1] = 0.0
    high, low = at(ankle, 0, 0.002, -0.002), at(ankle, 0, -0.012, 0.004)
    p.pair(high, low, 0.0225, 0.024, "foot", (1, 1, 1), SHOE)
    heel, ball = at(ground, 0, 0.0215, -0.020), at(ground, 0, 0.0205, 0.050)
    p.pair(heel, ball, 0.0235, 0.0250, "foot", (1, 0.90, 1), SHOE)
    ball, toes = at(ground, 0, 0.0175, 0.055), at(ground, -0.002, 0.0150, 0.090)
    p.pair(ball, toes, 0.0270, 0.0190, "foot", (1, 0.72, 1), SHOE)
    return p.array()


def _head_parts(look: Look) -> Array:
    size, h = look.size, look.size.height
    head = rest_joints(size)["head"]
    p = _Parts(h)

    def at(x: float, y: float, z: float) -> Array:
        return head + h * np.array([x, y, z])

    # Cranium, face, jaw, chin, nose, ears, brow, lips. Chin near y=-0.012, crown near y=0.113.
    p.cone(at(0, 0.060, 0.000), at(0, 0.056, -0.012), 0.0520, 0.0520, "head", (0.86, 1.0, 1.0))
    p.cone(at(0, 0.050, 0.018), at(0, 0.012, 0.026), 0.0430, 0.0285, "head", (0.92, 1.0, 1.0))
    p.cone(at(0, 0.002, 0.040), at(0, 0.002, 0.040), 0.0150, 0.0150, "head", (1.3, 0.9, 1.0))
    p.pair(at(0.026, 0.016, 0.012), at(0.010, 0.000, 0.034), 0.0140, 0.0120, "head")
    p.balls(at(0.022, 0.034, 0.042), 0.0150, "head")
    p.cone(at(0, 0.050, 0.055), at(0, 0.0315, 0.0625), 0.0045, 0.0078, "head")
    p.balls(at(0.006, 0.0295, 0.057), 0.0055, "head")
    high, low = at(0.0445, 0.045, -0.004), at(0.0440, 0.034, -0.001)
    p.pair(high, low, 0.0115, 0.0080, "head", (0.45, 1.2, 1.0))
    p.cone(at(-0.011, 0.0145, 0.053), at(0.011, 0.0145, 0.053), 0.0050, 0.0050, "head")
    p.cone(at(0, -0.035, 0.000), at(0, 0.020, 0.006), 0.0340, 0.0345, "head")  # into the neck
    if look.hair_style != "bald":
        thick = 0.0560 if look.hair_style == "short" else 0.0575
        crown, back = at(0, 0.0640, -0.006), at(0, 0.056, -0.018)
        p.cone(crown, back, thick, thick * 0.97, "head", (0.87, 1.0, 1.0), HAIR)
    if look.hair_style == "bun":
        p.cone(at(0, 0.112, -0.040), at(0, 0.112, -0.040), 0.0250, 0.0250, "head", material=HAIR)
    if look.hair_style == "tail":
        p.cone(at(0, 0.078, -0.068), at(0, 0.020, -0.085), 0.0180, 0.0120, "head", material=HAIR)
        p.cone(at(0, 0.020, -0.085), at(0, -0.045, -0.078), 0.0150, 0.0060, "head", material=HAIR)
    if look.hair_style == "long":
        high, low = at(0, 0.045, -0.030), at(0, -0.010, -0.030)
        p.cone(high, low, 0.0520, 0.0440, "head", (0.95, 1.0, 0.8), HAIR)
        high, low = at(0.040, 0.060, 0.002), at(0.040, 0.004, -0.008)
        p.pair(high, low, 0.0150, 0.0130, "head", (1, 1, 1), HAIR)
    return p.array()


def _hops() -> Array:
    """Number of steps in the bone tree between every two bones [25, 25]."""
    from scipy.sparse.csgraph import shortest_path

    edges = np.zeros((len(BONES), len(BONES)))
    for bone, parent in PARENT.items():
        edges[BONE_INDEX[bone], BONE_INDEX[parent]] = 1
    return np.asarray(shortest_path(edges, directed=False, unweighted=True))


def build_mesh(look: Look, step: float = 0.0125, head_step: float = 0.0065) -> BodyMesh:
    """Builds one person's mesh.

    Args:
        look: build, clothes and hair.
        step: spacing of the body's vertices in metres.
        head_step: spacing of the head's vertices in metres.
    """
    body_rows, head_rows = _body_parts(look), _head_parts(look)
    body, body_faces = extract(body_rows, step, 0.030)
    head, head_faces = extract(head_rows, head_step, 0.012)
    distance, nearest = nearest_parts(body_rows, body, len(BONES))
    top = np.argmin(distance, axis=1)
    weights = np.exp(-(distance - distance.min(1, keepdims=True)) / 0.014)
    weights[_hops()[top] > 2] = 0.0
    weights /= weights.sum(1, keepdims=True)
    weights = smooth(weights, body_faces, 6)
    head_weights = np.zeros((len(head), len(BONES)))
    neck_share = np.clip((head_rows[0, 1] - 0.055 * look.size.height - head[:, 1]) / 0.03, 0, 1)
    head_weights[:, BONE_INDEX["head"]] = 1 - 0.7 * neck_share
    head_weights[:, BONE_INDEX["neck"]] = 0.7 * neck_share

    body_material = body_rows[nearest, 12].astype(int)
    _, head_nearest = nearest_parts(head_rows, head, len(BONES))
    head_material = head_rows[head_nearest, 12].astype(int)
    body, colours, shine = dress(look, body, body_faces, top, body_material)
    head_colours, head_shine = paint_head(look, head, head_material)

    vertices = np.concatenate([body, head])
    weights = np.concatenate([weights, head_weights])
    order = np.argsort(-weights, axis=1, kind="stable")[:, :4]
    chosen = np.take_along_axis(weights, order, 1)
    chosen /= chosen.sum(1, keepdims=True)
    return BodyMesh(
        vertices=vertices,
        faces=np.ascontiguousarray(np.concatenate([body_faces, head_faces + len(body)])),
        bones=np.ascontiguousarray(order.astype(np.int32)),
        weights=np.ascontiguousarray(chosen),
        colours=np.concatenate([colours, head_colours]).astype(np.float32),
        shine=np.concatenate([shine, head_shine]).astype(np.float32),
    )


def rest_origins(size: Dimensions) -> Array:
    """Place of every bone's joint in the rest pose [25, 3] in metres."""
    j = rest_joints(size)
    part = {
        "upper_arm": "shoulder", "forearm": "elbow", "hand": "wrist",
        "thigh": "hip", "shin": "knee", "foot": "ankle",
    }  # fmt: skip
    out = np.zeros((len(BONES), 3))
    for index, name in enumerate(BONES):
        side, _, bone = name.partition("_")
        if side in ("left", "right"):
            flip = np.array([-1.0 if side == "right" else 1.0, 1.0, 1.0])
            out[index] = j[part.get(bone, bone)] * flip
        else:
            out[index] = j[name]
    return out
