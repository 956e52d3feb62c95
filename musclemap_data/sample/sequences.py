"""Skeleton sequences of the sample's people without a picture: thousands a minute.

A person's motion is solved for all moments at once (``joints_at``), filmed by cameras at random
(``Views``), and given the errors that pose estimators make (``mistakes.make_mistakes``). Training
on skeletons needs nothing else. Everything is synthetic: nobody was filmed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from musclemap_data.sample.mistakes import Mistakes, make_mistakes
from musclemap_data.sample.motions import EXERCISES, Performance, perform
from musclemap_data.sample.poses import EASES
from musclemap_data.sample.skeleton import Array, Dimensions, Limb, face_points, rest_joints
from musclemap_data.skeleton import JOINTS

Rng = np.random.Generator

WIDER_DEG = 20.0
"""People film from a little beside the views that the rendered videos show."""
ANY_VIEW_SHARE = 0.15
"""Share of sequences that are filmed from anywhere around the person."""
WAIT_S = 0.4
"""A window may begin this long before the first repetition."""
TEMPO = (0.65, 1.5)
"""Range of the tempo of a sequence, on top of that of the performance."""


def joints_at(performance: Performance, times_s: npt.ArrayLike) -> Array:
    """The COCO-17 joints of all moments at once.

    Equal to ``coco_joints(size, performance.bones(t))`` of each, up to rounding.

    Args:
        performance: the motion.
        times_s: ``[T]`` seconds.

    Returns:
        ``float64 [T, 17, 3]``, metres on the stage.
    """
    times = np.asarray(times_s, dtype=np.float64)
    size, keys = performance.size, performance.keys
    clipped = np.clip(times, 0.0, performance.seconds - 1e-9)
    here = np.searchsorted(performance.starts, clipped, side="right") - 1
    after = (here + 1) % len(keys)
    seconds = np.array([max(key.seconds, 1e-9) for key in keys])
    share = (clipped - performance.starts[here]) / seconds[here]
    lift = np.zeros((len(times), 3))
    lift[:, 1] = 4 * np.array([key.hop for key in keys])[here] * share * (1 - share)
    eased = np.array([key.ease for key in keys])[here]
    share = np.select([eased == ease for ease in EASES], [way(share) for way in EASES.values()])
    still = np.array([keys[(i + 1) % len(keys)].pose is key.pose for i, key in enumerate(keys)])
    share = np.where(still[here], 0.0, share)[:, None]

    def mix(values: Array) -> Array:
        return np.asarray(values[here] * (1 - share) + values[after] * share)

    poses = [key.pose for key in keys]
    sway = performance.sway
    waves = np.sin(2 * np.pi * sway[3] * times[:, None] + sway[2])
    spine = mix(np.array([pose.spine for pose in poses])) + sway[1] * np.roll(waves, 1, axis=1)
    nod = mix(np.array([pose.head for pose in poses])) + 1.5 * sway[1][:2] * waves[:, :2]
    pelvis = mix(np.array([pose.pelvis for pose in poses])) + lift
    pelvis = pelvis + np.array([1.0, 0.25, 1.0]) * sway[0] * waves
    spin = np.zeros((len(times), 3))
    spin[:, 1:2] = mix(np.array([[pose.spin] for pose in poses]))
    pelvis_frame = _euler(mix(np.array([pose.turn for pose in poses]))) @ _euler(spin)
    chest_frame = pelvis_frame @ _euler(spine)

    shrug = size.height * mix(np.array([[pose.shrug] for pose in poses]))

    rest = rest_joints(size)
    abdomen = pelvis + pelvis_frame[:, :, 1] * size.lumbar
    chest = abdomen + (pelvis_frame @ _euler(0.5 * spine))[:, :, 1] * size.abdomen
    neck = chest + chest_frame @ (rest["neck"] - rest["chest"])
    half_nod = np.column_stack([0.5 * nod, np.zeros(len(nod))])
    head = neck + (chest_frame @ _euler(half_nod)) @ (rest["head"] - rest["neck"])
    head_frame = chest_frame @ _euler(2 * half_nod)

    out = np.zeros((len(times), len(JOINTS), 3))

    def put(name: str, places: Array) -> None:
        out[:, JOINTS.index(name)] = places

    for side, sign in (("left", 1.0), ("right", -1.0)):
        flip = np.array([sign, 1.0, 1.0])
        for part, place in face_points(size).items():
            name = part if part == "nose" else f"{side}_{part}"
            put(name, head + head_frame @ ((place - rest["head"]) * flip))
        arm = _LimbKeys.of([getattr(pose, f"{side}_arm") for pose in poses], here, after, share)
        shoulder = chest + chest_frame @ ((rest["shoulder"] - rest["chest"]) * flip)
        shoulder = shoulder + shrug * chest_frame[:, :, 1]
        wrist = arm.end(shoulder, chest_frame, size.arm, lift)
        raised = np.clip(_dot(_unit(wrist - shoulder), chest_frame[:, :, 1]) + 0.2, 0.0, 1.2)
        girdle = np.array([-0.012 * sign, 0.024, 0.0]) * size.height
        shoulder = shoulder + (chest_frame @ girdle) * raised
        wrist = arm.end(shoulder, chest_frame, size.arm, lift)
        lengths = (size.upper_arm, size.forearm)
        elbow, wrist = _two_bone(shoulder, wrist, lengths, arm.pole(chest_frame))
        leg = _LimbKeys.of([getattr(pose, f"{side}_leg") for pose in poses], here, after, share)
        hip = pelvis + pelvis_frame @ ((rest["hip"] - rest["pelvis"]) * flip)
        ankle = leg.end(hip, pelvis_frame, size.leg, lift)
        lengths = (size.thigh, size.shin)
        knee, ankle = _two_bone(hip, ankle, lengths, leg.pole(pelvis_frame))
        for part, place in (
            ("shoulder", shoulder), ("elbow", elbow), ("wrist", wrist),
            ("hip", hip), ("knee", knee), ("ankle", ankle),
        ):  # fmt: skip
            put(f"{side}_{part}", place)
    return out


@dataclass(frozen=True)
class _LimbKeys:
    """One limb's rules at the key before (0) and after (1) each moment.

    Attributes:
        target, poles: ``[2, T, 3]``; poles are unit vectors.
        planted: ``bool [2, T, 1]``.
        share: ``[T, 1]``.
    """

    target: Array
    poles: Array
    planted: npt.NDArray[np.bool_]
    share: Array

    @classmethod
    def of(
        cls,
        limbs: list[Limb],
        here: npt.NDArray[np.intp],
        after: npt.NDArray[np.intp],
        share: Array,
    ) -> _LimbKeys:
        target = np.array([limb.target for limb in limbs])
        pole = _unit(np.array([limb.pole for limb in limbs]))
        planted = np.array([[limb.planted] for limb in limbs])
        both = np.stack([here, after])
        return cls(target[both], pole[both], planted[both], share)

    def pole(self, frame: Array) -> Array:
        mixed = self.poles[0] * (1 - self.share) + self.poles[1] * self.share
        return _turned(frame, mixed)

    def end(self, root: Array, frame: Array, length: float, lift: Array) -> Array:
        """Where wrist or ankle goes, before the limb's length is looked at ``[T, 3]``."""
        first, second = (
            np.where(planted, target + lift, root + _turned(frame, target) * length)
            for planted, target in zip(self.planted, self.target, strict=True)
        )
        straight = first * (1 - self.share) + second * self.share
        along_arc = root + _slerp(first - root, second - root, self.share)
        return np.where(self.planted[0] & self.planted[1], straight, along_arc)


def _euler(angles: Array) -> Array:
    """As ``skeleton.euler``, of ``[T, 3]`` angles (pitch, yaw, roll): ``[T, 3, 3]``."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles).T, np.sin(angles).T
    # about_y @ about_x @ about_z, multiplied out.
    rows = [
        [cy * cz - sy * sx * sz, cy * sz + sy * sx * cz, sy * cx],
        [-cx * sz, cx * cz, -sx],
        [-sy * cz - cy * sx * sz, -sy * sz + cy * sx * cz, cy * cx],
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def _dot(a: Array, b: Array) -> Array:
    return np.asarray(np.einsum("...i,...i->...", a, b)[..., None])


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / (np.sqrt(_dot(vectors, vectors)) + 1e-12))


def _turned(frames: Array, vectors: Array) -> Array:
    return np.asarray(np.einsum("tij,tj->ti", frames, vectors))


def _slerp(start: Array, end: Array, share: Array) -> Array:
    length_a, length_b = np.sqrt(_dot(start, start)), np.sqrt(_dot(end, end))
    a, b = start / (length_a + 1e-12), end / (length_b + 1e-12)
    angle = np.arccos(np.clip(_dot(a, b), -1.0, 1.0))
    blended = _unit(a * (1 - share) + b * share)
    safe = np.where((angle < 1e-4) | (angle > 3.13), 1.0, angle)
    arc = (np.sin((1 - share) * safe) * a + np.sin(share * safe) * b) / np.sin(safe)
    direction = np.where((angle < 1e-4) | (angle > 3.13), blended, arc)
    return np.asarray(direction * (length_a * (1 - share) + length_b * share))


def _two_bone(
    root: Array, target: Array, lengths: tuple[float, float], pole: Array
) -> tuple[Array, Array]:
    """As ``skeleton.two_bone``, of ``[T, 3]``: middle and end joint."""
    first, second = lengths
    reach = target - root
    distance = np.sqrt(_dot(reach, reach))
    axis = reach / (distance + 1e-12)
    distance = np.clip(distance, abs(first - second) + 0.02, (first + second) * 0.9995)
    along = (first**2 - second**2 + distance**2) / (2 * distance)
    side = np.sqrt(np.maximum(first**2 - along**2, 0.0))
    normal = _unit(pole - _dot(pole, axis) * axis)
    return root + along * axis + side * normal, root + distance * axis


@dataclass(frozen=True)
class Views:
    """How N sequences are filmed: a pinhole camera each, which stands still.

    The person turns on the spot by ``yaw``; the camera stands on the stage's z axis.

    Attributes:
        yaw: ``[N]`` of the person to the camera, radians to the left; 0 faces it.
        distance: ``[N]`` from the middle of the motion, metres.
        height: ``[N]`` of the camera above the floor, metres.
        roll: ``[N]`` of the camera, radians.
        focal: ``[N]`` focal length in picture heights.
        middle: ``[N, 3]`` the point that the camera looks at after the turn, metres.
        shift: ``[N, 2]`` where that point is in the picture, from the centre in picture heights.
        width, height_px: ``[N]`` pixels.
    """

    yaw: Array
    distance: Array
    height: Array
    roll: Array
    focal: Array
    middle: Array
    shift: Array
    width: Array
    height_px: Array

    def rotation(self) -> Array:
        """``[N, 3, 3]``, rows are the picture's right, down and forward axes on the stage."""
        forward = _unit(self.middle - self.position())
        right = _unit(np.cross(forward, np.array([0.0, 1.0, 0.0])))
        down = np.cross(forward, right)
        cosine, sine = np.cos(self.roll)[:, None], np.sin(self.roll)[:, None]
        return np.stack([cosine * right + sine * down, cosine * down - sine * right, forward], 1)

    def position(self) -> Array:
        """``[N, 3]`` of the cameras on the stage, metres."""
        place = self.middle + np.array([0.0, 0.0, 1.0]) * self.distance[:, None]
        place[:, 1] = self.height
        return np.asarray(place)

    def turned(self, joints_m: Array) -> Array:
        """The joints ``[N, T, 17, 3]`` after the person's turn."""
        turn = _euler(np.column_stack([0 * self.yaw, self.yaw, 0 * self.yaw]))
        return np.asarray(np.einsum("nij,ntkj->ntki", turn, joints_m))

    def project(self, joints_m: Array) -> Array:
        """Joints on the stage ``[N, T, 17, 3]`` to x, y (pixels) and depth (metres)."""
        away = self.turned(joints_m) - self.position()[:, None, None]
        seen = np.einsum("nij,ntkj->ntki", self.rotation(), away)
        depth = np.maximum(seen[..., 2:], 0.05)
        size = np.stack([self.width, self.height_px], axis=1)[:, None, None]
        scale = (self.focal * self.height_px)[:, None, None, None]
        moved = (self.shift * self.height_px[:, None])[:, None, None]
        pixels = seen[..., :2] / depth * scale + (size - 1) / 2 + moved
        return np.concatenate([pixels, depth], axis=-1)


def draw_views(activities: Sequence[str], joints_m: Array, rng: Rng) -> Views:
    """Cameras at random that show most of the motion, some of them too near.

    Args:
        activities: ``[N]`` of each motion; decides from where people film it.
        joints_m: ``[N, T, 17, 3]``.
        rng: of everything drawn.
    """
    count = len(joints_m)
    yaw = np.zeros(count)
    for row, activity in enumerate(activities):
        ranges = EXERCISES[activity].view_deg
        low, high = ranges[int(rng.integers(len(ranges)))]
        yaw[row] = rng.uniform(low - WIDER_DEG, high + WIDER_DEG)
    anywhere = rng.random(count) < ANY_VIEW_SHARE
    yaw = np.radians(np.where(anywhere, rng.uniform(-180, 180, count), yaw))
    height_px = np.full(count, 256.0)
    width = np.rint(256.0 * rng.choice([0.5625, 0.75, 1.0, 1.333, 1.778], count))
    none = np.zeros(count)
    views = Views(
        yaw=yaw,
        distance=rng.uniform(2.0, 5.5, count),
        height=rng.uniform(0.25, 1.9, count),
        roll=rng.normal(0.0, 0.05, count),
        focal=np.ones(count),
        middle=np.zeros((count, 3)),
        shift=np.zeros((count, 2)),
        width=width,
        height_px=height_px,
    )
    turned = views.turned(joints_m)
    low_m, high_m = turned.min(axis=(1, 2)), turned.max(axis=(1, 2))
    views = replace(views, middle=(low_m + high_m) / 2)
    # With a focal length of one picture height, so far from the centre is the outermost joint.
    at = views.project(joints_m)[..., :2] - (np.stack([width, height_px], 1) - 1)[:, None, None] / 2
    reach = np.abs(at).max(axis=(1, 2))
    fits = np.minimum(width / 2 / reach[:, 0], height_px / 2 / reach[:, 1])
    filled = np.where(rng.random(count) < 0.15, rng.uniform(1.0, 1.35, count), none)
    filled = np.where(filled > 0, filled, rng.uniform(0.45, 0.97, count))
    room = (
        np.stack([width / height_px, none + 1], axis=1) / 2 * (1 - np.minimum(filled, 1))[:, None]
    )
    return replace(views, focal=fits * filled, shift=rng.uniform(-1, 1, (count, 2)) * room)


@dataclass(frozen=True)
class SkeletonSequence:
    """One filmed motion as a pose estimator would give it.

    Attributes:
        activity: its slug.
        skeleton: ``float32 [T, 17, 3]``: x, y in pixels and a score; a frame in which the person
            was lost has x = y = NaN and score 0.
        fps: frames a second.
        width, height: pixels of the picture.
    """

    activity: str
    skeleton: npt.NDArray[np.float32]
    fps: float
    width: int
    height: int


def draw_person(rng: Rng) -> Dimensions:
    """A person at random; proportions vary more than among the rendered ones."""
    person = Dimensions(height=float(rng.normal(1.71, 0.09)))
    ratios = {field.name: 0.06 for field in fields(person) if field.name.endswith("_ratio")}
    ratios["shoulder_ratio"] = ratios["hip_ratio"] = 0.12
    return replace(
        person, **{name: 1.0 + float(rng.uniform(-wide, wide)) for name, wide in ratios.items()}
    )


def draw_motion(activity: str, frames: int, fps: float, rng: Rng) -> Array:
    """The joints of one window at random, cut anywhere in the repetitions.

    Returns:
        ``float64 [frames, 17, 3]``, metres on the stage.

    Raises:
        ValueError: an activity that the sample cannot perform.
    """
    tempo = float(np.exp(rng.uniform(*np.log(TEMPO))))
    window_s = frames / fps * tempo
    performance = perform(activity, draw_person(rng), rng, window_s + 0.5)
    start_s = rng.uniform(-WAIT_S, max(performance.seconds - window_s, 0.0))
    return joints_at(performance, start_s + np.arange(frames) / fps * tempo)


def draw_sequences(
    activities: Sequence[str],
    seed: int,
    *,
    frames: int = 48,
    fps: float = 12.0,
    mistakes: Mistakes | None = None,
) -> Iterator[SkeletonSequence]:
    """Skeleton sequences without end, the activities one after another.

    The n-th sequence depends on the seed, n and the arguments alone.

    Args:
        activities: of ``EXERCISES``.
        seed: another one gives other people, motions, cameras and mistakes.
        frames, fps: of each sequence.
        mistakes: of the pose estimator; the usual ones if not given. ``Mistakes.none()`` gives the
            exact projections.

    Raises:
        ValueError: an activity that the sample cannot perform.
    """
    number = 0
    while True:
        for activity in activities:
            rng = np.random.default_rng([seed, number])
            joints_m = draw_motion(activity, frames, fps, rng)[None]
            views = draw_views([activity], joints_m, rng)
            seen = make_mistakes(views.project(joints_m), rng, mistakes or Mistakes())
            size = int(views.width[0]), int(views.height_px[0])
            yield SkeletonSequence(activity, seen[0], fps, *size)
            number += 1
