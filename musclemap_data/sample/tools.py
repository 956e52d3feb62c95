"""Tools in the hand and under the body: bars, weights, ropes, benches and boxes, drawn plainly.

A tool is a few solids. Where they are follows from the body alone: a barbell lies in both hands, a
box stands where the feet come to rest above the floor. So no motion has to know of its tool.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from musclemap_data.sample.body import BodyMesh
from musclemap_data.sample.hanging import bar_height
from musclemap_data.sample.motions import Performance
from musclemap_data.sample.skeleton import BONE_INDEX, REST_ARM, Array, Bones, unit

Colour = tuple[float, float, float]
STEEL, RUBBER, WOOD, CLOTH = (0.62, 0.63, 0.66), (0.10, 0.10, 0.12), (0.55, 0.38, 0.22), (0.2,) * 3
SIDES = 14
_SIGHT = np.linspace(0, 1, 48)
"""Shares of a clip at which the body is looked at, to find what it stands or lies on."""


@dataclass(frozen=True)
class Part:
    """One solid of a tool.

    Attributes:
        faces: int32 [F, 3], counter-clockwise from outside, into its own vertices.
        colour: RGB in [0, 1].
        shine: strength of the highlight.
        vertices: gives [V, 3] in the clip's space, metres, of the bones and the second of a moment.
    """

    faces: npt.NDArray[np.int32]
    colour: Colour
    shine: float
    vertices: Callable[[Bones, float], Array]

    @property
    def size(self) -> int:
        """How many vertices it has."""
        return int(self.faces.max()) + 1


def tools_of(activity: str, performance: Performance) -> list[Part]:
    """The solids of an activity's tool; none for most activities."""
    make = TOOLS.get(activity)
    return make(performance) if make else []


def with_parts(body: BodyMesh, parts: Sequence[Part]) -> BodyMesh:
    """A mesh with tools behind the body's vertices; they hang on no bone."""
    if not parts:
        return body
    faces, count = [body.faces], len(body.vertices)
    sizes = [part.size for part in parts]
    for part, size in zip(parts, sizes, strict=True):
        faces.append(part.faces + np.int32(count))
        count += size
    more = sum(sizes)
    colours = np.repeat(np.array([part.colour for part in parts], np.float32), sizes, axis=0)
    shine = np.repeat(np.array([part.shine for part in parts], np.float32), sizes)
    return BodyMesh(
        vertices=np.concatenate([body.vertices, np.zeros((more, 3))]),
        faces=np.concatenate(faces),
        bones=np.concatenate([body.bones, np.zeros((more, 4), np.int32)]),
        weights=np.concatenate([body.weights, np.zeros((more, 4))]),
        colours=np.concatenate([body.colours, colours]),
        shine=np.concatenate([body.shine, shine]),
    )


def palm(bones: Bones, side: str) -> Array:
    """The middle of a hand [3], metres."""
    bone = BONE_INDEX[f"{side}_hand"]
    length = np.linalg.norm(bones.origin[bone] - bones.origin[BONE_INDEX[f"{side}_forearm"]])
    along = REST_ARM * (1.0 if side == "left" else np.array([-1.0, 1.0, 1.0]))
    return np.asarray(bones.origin[bone] + bones.rotation[bone] @ along * 0.27 * length)


def palms(bones: Bones) -> tuple[Array, Array]:
    """Middles of the left and the right hand, [3] each, metres."""
    return palm(bones, "left"), palm(bones, "right")


# -- solids -------------------------------------------------------------------------------------


def turned(profile: Array, start: Array, axis: Array) -> Array:
    """A solid of revolution.

    Args:
        profile: [N, 2] metres: how far along the axis, and the radius there.
        start: [3] where the axis begins.
        axis: [3] its direction.

    Returns:
        Vertices [N * SIDES, 3].
    """
    axis = unit(axis)
    across = unit(np.cross(axis, (0.0, 1.0, 0.0) if abs(axis[1]) < 0.9 else (1.0, 0.0, 0.0)))
    other = np.cross(axis, across)
    angle = np.linspace(0, 2 * np.pi, SIDES, endpoint=False)
    ring = np.cos(angle)[:, None] * across + np.sin(angle)[:, None] * other
    points = profile[:, :1, None] * axis + profile[:, 1:, None] * ring
    return np.asarray(start + points.reshape(-1, 3))


def turned_faces(rings: int) -> npt.NDArray[np.int32]:
    """Triangles [F, 3] of a solid of that many rings."""
    first = np.arange(rings - 1)[:, None] * SIDES + np.arange(SIDES)
    after = np.arange(rings - 1)[:, None] * SIDES + (np.arange(SIDES) + 1) % SIDES
    a, b = first.ravel(), after.ravel()
    c, d = a + SIDES, b + SIDES
    return np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)]).astype(np.int32)


def rod(length: float, radius: float) -> Array:
    """Profile [4, 2] of a closed rod around the middle of its axis, metres."""
    half = length / 2
    return np.array([[-half, 0], [-half, radius], [half, radius], [half, 0]])


def ball(radius: float) -> Array:
    """Profile [9, 2] of a ball around the start of its axis, metres."""
    angle = np.linspace(np.pi, 0, 9)
    return np.stack([radius * np.cos(angle), np.abs(radius * np.sin(angle))], axis=1)


def discs(inner: float, outer: float, radius: float) -> tuple[Array, Array]:
    """Profiles [4, 2] of two weights on a bar, at both sides of its middle, metres."""
    right = np.array([[inner, 0], [inner, radius], [outer, radius], [outer, 0]])
    return right, right - (inner + outer, 0.0)


def _moving(
    profile: Array, colour: Colour, place: Callable[[Bones, float], tuple[Array, Array]]
) -> Part:
    """A solid of revolution whose place, (start, axis), follows the body."""
    return Part(
        turned_faces(len(profile)),
        colour,
        0.25,
        lambda bones, at: turned(profile, *place(bones, at)),
    )


def _still(profile: Array, colour: Colour, start: Array, axis: Array) -> Part:
    return _moving(profile, colour, lambda bones, at: (start, axis))


def _block(low: Array, high: Array, colour: Colour) -> Part:
    """A box between two corners [3], its edges sharp: every side has vertices of its own."""
    sides: list[Array] = []
    faces = []
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        for end, order in ((0, (0, 2, 1, 0, 3, 2)), (1, (0, 1, 2, 0, 2, 3))):
            corner = np.tile((low, high)[end], (4, 1))
            corner[:, u] = (low[u], high[u], high[u], low[u])
            corner[:, v] = (low[v], low[v], high[v], high[v])
            faces += [np.reshape(order, (2, 3)) + 4 * len(sides)]
            sides.append(corner)
    vertices = np.concatenate(sides)
    return Part(np.concatenate(faces).astype(np.int32), colour, 0.05, lambda bones, at: vertices)


# -- in the hands -------------------------------------------------------------------------------


def _between(bones: Bones, _: float = 0.0) -> tuple[Array, Array]:
    left, right = palms(bones)
    return (left + right) / 2, left - right


def barbell(performance: Performance) -> list[Part]:
    """A bar of 1.9 m with weights, across both hands."""
    one, other = discs(0.70, 0.78, 0.21)
    return [_moving(rod(1.9, 0.014), STEEL, _between)] + [
        _moving(disc, RUBBER, _between) for disc in (one, other)
    ]


def short_bar(performance: Performance) -> list[Part]:
    """The handle of a cable machine, with its cable from above."""
    height = bar_height(performance.size)

    def cable(bones: Bones, _: float) -> tuple[Array, Array]:
        middle = _between(bones)[0]
        top = np.array([0.0, height, middle[2]])
        return (middle + top) / 2, top - middle

    middle = _between(performance.bones(0.0))[0]
    length = height - float(middle[1])
    return [
        _moving(rod(0.5, 0.016), STEEL, _between),
        _moving(rod(length, 0.006), RUBBER, cable),
    ]


def dumbbells(performance: Performance) -> list[Part]:
    """One in each hand."""
    parts = []
    for side in ("left", "right"):

        def held(bones: Bones, _: float, side: str = side) -> tuple[Array, Array]:
            return palm(bones, side), bones.rotation[BONE_INDEX[f"{side}_hand"]][:, 2]

        parts.append(_moving(rod(0.22, 0.014), STEEL, held))
        parts += [_moving(disc, RUBBER, held) for disc in discs(0.07, 0.13, 0.055)]
    return parts


def kettlebell(performance: Performance) -> list[Part]:
    """Below both hands, in line with the arms."""

    def hangs(bones: Bones, _: float) -> tuple[Array, Array]:
        middle = _between(bones)[0]
        wrists = bones.origin[[BONE_INDEX["left_hand"], BONE_INDEX["right_hand"]]].mean(axis=0)
        elbows = bones.origin[[BONE_INDEX["left_forearm"], BONE_INDEX["right_forearm"]]].mean(
            axis=0
        )
        return middle, wrists - elbows

    handle = np.array([[-0.01, 0], [-0.01, 0.05], [0.03, 0.055], [0.03, 0]])
    return [
        _moving(handle, STEEL, hangs),
        _moving(ball(0.095) + (0.13, 0.0), RUBBER, hangs),
    ]


def medicine_ball(performance: Performance) -> list[Part]:
    """Between both hands."""
    return [_moving(ball(0.13), (0.45, 0.16, 0.12), _between)]


def jump_rope(performance: Performance) -> list[Part]:
    """An arc from hand to hand that turns once in a repetition."""
    count = 24
    share = np.linspace(0, 1, count)[:, None]

    def arc(bones: Bones, time_s: float) -> Array:
        left, right = palms(bones)
        angle = 2 * np.pi * (performance.phase(time_s) - 0.5)
        reach = max(float(left[1] + right[1]) / 2 - 0.02, 0.3)
        out = np.array([0.0, -np.cos(angle), np.sin(angle)]) * reach
        line = left + (right - left) * share + np.sin(np.pi * share) * out
        line[:, 1] = np.maximum(line[:, 1], 0.01)
        ring = np.linspace(0, 2 * np.pi, SIDES, endpoint=False)
        tube = np.stack([np.zeros(SIDES), np.cos(ring), np.sin(ring)], axis=1) * 0.007
        return np.asarray((line[:, None] + tube).reshape(-1, 3))

    return [Part(turned_faces(count)[:, ::-1].copy(), RUBBER, 0.1, arc)]


def battle_ropes(performance: Performance) -> list[Part]:
    """From each hand to the floor in front."""
    anchor = np.array([0.0, 0.02, 2.4])
    parts = []
    for side in ("left", "right"):
        length = float(np.linalg.norm(anchor - palm(performance.bones(0.0), side)))

        def held(bones: Bones, _: float, side: str = side) -> tuple[Array, Array]:
            start = palm(bones, side)
            return (start + anchor) / 2, anchor - start

        parts.append(_moving(rod(length, 0.02), CLOTH, held))
    return parts


# -- above, below and behind the body -----------------------------------------------------------


def pull_up_bar(performance: Performance) -> list[Part]:
    """A bar of 1.8 m at the height of the first grip."""
    middle = _between(performance.bones(0.0))[0]
    return [_still(rod(1.8, 0.017), STEEL, middle, np.array([1.0, 0.0, 0.0]))]


def climbing_rope(performance: Performance) -> list[Part]:
    """From the floor to above the hands."""
    middle = _between(performance.bones(0.0))[0]
    start = np.array([middle[0], 1.75, middle[2]])
    return [_still(rod(3.5, 0.018), WOOD, start, np.array([0.0, 1.0, 0.0]))]


def _resting(performance: Performance, bone: str) -> Array:
    """Places [N, 3] where a bone of either side hardly moves, metres."""
    times = _SIGHT * performance.seconds
    sides = [BONE_INDEX[f"{side}_{bone}"] for side in ("left", "right")]
    now = np.stack([performance.bones(float(t)).origin[sides] for t in times])
    soon = np.stack([performance.bones(float(t) + 0.04).origin[sides] for t in times])
    return np.asarray(now[np.linalg.norm(soon - now, axis=-1) < 0.012])


def box(performance: Performance) -> list[Part]:
    """Where the feet come to rest above the floor; none if they do not."""
    size = performance.size
    feet = _resting(performance, "foot")
    above = feet[feet[:, 1] > size.ankle_height + 0.05 * size.height]
    if not len(above):
        return []
    top = float(np.median(above[:, 1])) - size.ankle_height
    z = float(np.median(above[:, 2]))
    low, high = np.array([-0.38, 0.0, z - 0.16]), np.array([0.38, top, z + 0.34])
    return [_block(low, high, WOOD)]


def bench(performance: Performance) -> list[Part]:
    """Under a lying body, along it."""
    size, bones = performance.size, performance.bones(0.0)
    spine = bones.origin[[BONE_INDEX[name] for name in ("pelvis", "chest", "head")]]
    top = float(spine[:2, 1].min()) - size.lying
    low = np.array([-0.15, top - 0.09, spine[:, 2].min() - 0.1])
    high = np.array([0.15, top, spine[:, 2].max() + 0.12])
    legs = [
        _block(np.array([-0.05, 0.0, z - 0.04]), np.array([0.05, top - 0.09, z + 0.04]), STEEL)
        for z in (low[2] + 0.15, high[2] - 0.15)
    ]
    return [_block(low, high, RUBBER), *legs]


def barbell_on_bench(performance: Performance) -> list[Part]:
    """What a bench press needs."""
    return barbell(performance) + bench(performance)


def bench_behind(performance: Performance) -> list[Part]:
    """Under the hands of a dip."""
    size = performance.size
    hands = _between(performance.bones(0.0))[0]
    top = float(hands[1]) - 0.5 * size.wrist_height
    low = np.array([-0.55, 0.0, hands[2] - 0.28])
    return [_block(low, np.array([0.55, top, hands[2] + 0.05]), WOOD)]


def _wall(z: float, faces_front: bool) -> Part:
    """A wall that is seen from the body's side only: from behind, it would hide the body."""
    corners = np.array([[-1.0, 0.0, z], [1.0, 0.0, z], [1.0, 2.2, z], [-1.0, 2.2, z]])
    order = ((0, 1, 2), (0, 2, 3)) if faces_front else ((0, 2, 1), (0, 3, 2))
    faces = np.array(order, np.int32)
    return Part(faces, (0.7, 0.7, 0.7), 0.0, lambda bones, at: corners)


def wall_behind(performance: Performance) -> list[Part]:
    """At the back."""
    pelvis = performance.bones(0.0).origin[BONE_INDEX["pelvis"]]
    return [_wall(float(pelvis[2]) - 0.125, faces_front=True)]


def wall_before(performance: Performance) -> list[Part]:
    """At the hands, which stay on it."""
    hands = palms(performance.bones(0.0))
    return [_wall(max(float(hand[2]) for hand in hands) + 0.03, faces_front=False)]


TOOLS: dict[str, Callable[[Performance], list[Part]]] = {
    **dict.fromkeys(
        ("barbell_squat", "deadlift", "bent_over_row", "thruster", "clean_and_jerk", "snatch"),
        barbell,
    ),
    **dict.fromkeys(
        ("bicep_curl", "hammer_curl", "front_raise", "lateral_raise", "shoulder_press", "shrug"),
        dumbbells,
    ),
    "renegade_row": dumbbells,
    "bench_press": barbell_on_bench,
    "triceps_pushdown": short_bar,
    "kettlebell_swing": kettlebell,
    "medicine_ball_slam": medicine_ball,
    "jump_rope": jump_rope,
    "battle_ropes": battle_ropes,
    "pull_up": pull_up_bar,
    "rope_climb": climbing_rope,
    **dict.fromkeys(("box_jump", "step_up", "step_aerobics"), box),
    "bench_dip": bench_behind,
    "wall_sit": wall_behind,
    "wall_push_up": wall_before,
}
