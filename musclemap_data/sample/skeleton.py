"""The skeleton of the synthetic person: proportions, poses, and how a pose becomes bones in space.

Axes of the stage (metres): x to the left of a person who faces the default camera, y up, z towards
the camera. The floor is y = 0. In the rest pose the person stands at the origin, faces +z, legs a
little apart, arms hanging out at 45 degrees.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from musclemap_data.skeleton import JOINTS as COCO_JOINTS

Array = npt.NDArray[np.float64]

_LIMBS = {  # bone -> parent, of one side
    "shoulder": "chest", "upper_arm": "shoulder", "elbow": "upper_arm", "forearm": "elbow",
    "hand": "forearm", "hip": "pelvis", "thigh": "hip", "knee": "thigh", "shin": "knee",
    "foot": "shin",
}  # fmt: skip
# Half bones (shoulder, elbow, hip, knee) turn by half their joint's angle: they keep the skin from
# collapsing at a bend.
PARENT = {"abdomen": "pelvis", "chest": "abdomen", "neck": "chest", "head": "neck"} | {
    f"{side}_{bone}": f"{side}_{parent}" if parent in _LIMBS else parent
    for side in ("left", "right")
    for bone, parent in _LIMBS.items()
}
BONES = ("pelvis", *PARENT)
BONE_INDEX = {name: index for index, name in enumerate(BONES)}

REST_ARM = np.array([np.cos(np.radians(48)), -np.sin(np.radians(48)), 0.0])
REST_LEG_SPREAD = 0.10  # x of the rest leg's direction, so that the thighs do not merge


class _Length:
    """A length of a person in metres: a share of the height, times one of the ratios."""

    def __init__(self, share: float, ratio: str | None = None) -> None:
        self.share, self.ratio = share, ratio

    def __get__(self, person: Dimensions, _: type[Dimensions]) -> float:
        length = self.share * person.height
        return length if self.ratio is None else length * float(getattr(person, self.ratio))


@dataclass(frozen=True)
class Dimensions:
    """Lengths of one person in metres; the ratios to the body height vary a little by person."""

    height: float = 1.74
    leg_ratio: float = 1.0
    arm_ratio: float = 1.0
    shoulder_ratio: float = 1.0
    hip_ratio: float = 1.0

    ankle_height = _Length(0.045)
    thigh = _Length(0.236, "leg_ratio")
    shin = _Length(0.240, "leg_ratio")
    lumbar = _Length(0.045)
    abdomen = _Length(0.105)
    chest = _Length(0.146)
    hip_half = _Length(0.054, "hip_ratio")
    shoulder_half = _Length(0.105, "shoulder_ratio")
    upper_arm = _Length(0.168, "arm_ratio")
    forearm = _Length(0.148, "arm_ratio")
    wrist_height = _Length(0.024)  # above the floor when the palm lies flat
    lying = _Length(0.068)  # height of the mid-hip above the floor when lying

    @property
    def leg(self) -> float:
        """From hip to ankle, in metres."""
        return self.thigh + self.shin

    @property
    def torso(self) -> float:
        """Mid-hip to the middle of the shoulder line."""
        return self.lumbar + self.abdomen + self.chest

    @property
    def arm(self) -> float:
        """From shoulder to wrist, in metres."""
        return self.upper_arm + self.forearm

    @property
    def stand(self) -> float:
        """Height of the mid-hip when standing with soft knees."""
        return self.ankle_height + 0.985 * self.leg


@dataclass(frozen=True)
class Limb:
    """Where one arm or leg goes.

    Attributes:
        target: [3]. Planted: the wrist's or ankle's place on the stage in metres. Free: the vector
            from shoulder or hip to wrist or ankle in the frame of the chest or pelvis, in limb
            lengths (a norm of 1 is a straight limb).
        pole: [3] direction in which elbow or knee points, in the frame of the chest or pelvis.
        planted: see ``target``.
        end: direction of fingers or toes on the stage [3]; or, for a leg, the plantar flexion in
            radians (0: foot at a right angle to the shin). None: hand in line with the forearm.
    """

    target: Array
    pole: Array
    planted: bool = False
    end: Array | float | None = None

    def mirrored(self) -> Limb:
        """The same limb of the other side (x changes sign)."""
        flip = np.array([-1.0, 1.0, 1.0])
        end = self.end * flip if isinstance(self.end, np.ndarray) else self.end
        return replace(self, target=self.target * flip, pole=self.pole * flip, end=end)


@dataclass(frozen=True)
class Pose:
    """One key pose on the stage; angles in radians.

    Attributes:
        pelvis: [3] place of the mid-hip in metres.
        turn: pitch (forward positive), yaw (to the left), roll (to the left) of the pelvis.
        spine: bend (forward), twist (to the left), lean (to the left) of chest against pelvis.
        head: nod (forward) and turn (to the left) of the head against the chest.
        spin: turn of the pelvis about its own long axis (to the left), after ``turn``: how a lying
            body rolls to its side.
        shrug: how far the shoulders are lifted towards the ears, in body heights.
    """

    pelvis: Array
    left_arm: Limb
    right_arm: Limb
    left_leg: Limb
    right_leg: Limb
    turn: Array = field(default_factory=lambda: np.zeros(3))
    spine: Array = field(default_factory=lambda: np.zeros(3))
    head: Array = field(default_factory=lambda: np.zeros(2))
    spin: float = 0.0
    shrug: float = 0.0

    def mirrored(self) -> Pose:
        """The pose with left and right exchanged."""
        return Pose(
            pelvis=self.pelvis * np.array([-1.0, 1.0, 1.0]),
            left_arm=self.right_arm.mirrored(),
            right_arm=self.left_arm.mirrored(),
            left_leg=self.right_leg.mirrored(),
            right_leg=self.left_leg.mirrored(),
            turn=self.turn * np.array([1.0, -1.0, -1.0]),
            spine=self.spine * np.array([1.0, -1.0, -1.0]),
            head=self.head * np.array([1.0, -1.0]),
            spin=-self.spin,
            shrug=self.shrug,
        )


@dataclass(frozen=True)
class Bones:
    """A solved pose.

    Attributes:
        rotation: [25, 3, 3] from the rest pose to the stage.
        origin: [25, 3] place of each bone's joint on the stage, in metres.
    """

    rotation: Array
    origin: Array


def euler(pitch: float, yaw: float, roll: float) -> Array:
    """Rotation matrix [3, 3]: roll about z, then pitch about x, then yaw about y (radians)."""
    cx, cy, cz = np.cos(pitch), np.cos(yaw), np.cos(roll)
    sx, sy, sz = np.sin(pitch), np.sin(yaw), np.sin(roll)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, sz, 0], [-sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_y @ about_x @ about_z)


def unit(vector: Array) -> Array:
    """The vector [N] scaled to length 1."""
    return vector / (np.sqrt(vector @ vector) + 1e-12)


def swing(start: Array, end: Array) -> Array:
    """The smallest rotation [3, 3] that takes unit vector ``start`` to unit vector ``end``."""
    x, y, z = np.cross(start, end)
    cosine = float(start @ end)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + cross + cross @ cross / max(1.0 + cosine, 1e-6))


def half_rotation(start: Array, end: Array) -> Array:
    """The rotation [3, 3] half-way between two rotations."""
    relative = start.T @ end
    # R = exp(a K): the half is exp(a/2 K), which normalising (I + R) gives up to scale when
    # projected back on the rotations.
    u, _, vt = np.linalg.svd(np.eye(3) * 1.0001 + relative)
    return np.asarray(start @ u @ vt)


def _slerp(start: Array, end: Array, share: float) -> Array:
    """Turns the direction and blends the length of a vector."""
    length_a, length_b = np.sqrt(start @ start), np.sqrt(end @ end)
    a, b = start / (length_a + 1e-12), end / (length_b + 1e-12)
    angle = np.arccos(np.clip(a @ b, -1.0, 1.0))
    if angle < 1e-4 or angle > 3.13:
        direction = unit(a * (1 - share) + b * share)
    else:
        direction = (np.sin((1 - share) * angle) * a + np.sin(share * angle) * b) / np.sin(angle)
    return np.asarray(direction * (length_a * (1 - share) + length_b * share))


def two_bone(
    root: Array, target: Array, first: float, second: float, pole: Array
) -> tuple[Array, Array, Array]:
    """Two-bone inverse kinematics.

    Returns:
        middle joint [3], end joint [3] (on the way to the target if that is out of reach), and the
        unit vector [3] from the line root-end towards the middle joint.
    """
    reach = target - root
    distance = float(np.sqrt(reach @ reach))
    axis = reach / (distance + 1e-12)
    distance = min(max(distance, abs(first - second) + 0.02), (first + second) * 0.9995)
    along = (first**2 - second**2 + distance**2) / (2 * distance)
    side = np.sqrt(max(first**2 - along**2, 0.0))
    normal = unit(pole - (pole @ axis) * axis)
    return root + along * axis + side * normal, root + distance * axis, normal


def _frame(direction: Array, forward: Array) -> Array:
    """Axes [3, 3] of a leg bone: y against its direction, z as far forward as possible."""
    y = -unit(direction)
    z = unit(forward - (forward @ y) * y)
    return np.stack([np.cross(y, z), y, z], axis=1)


def rest_joints(size: Dimensions) -> dict[str, Array]:
    """Joint places [3] of the rest pose in metres (left side; mirror x for the right)."""
    hip_height = size.ankle_height + size.leg * np.sqrt(1 - REST_LEG_SPREAD**2)
    leg = np.array([REST_LEG_SPREAD, -np.sqrt(1 - REST_LEG_SPREAD**2), 0.0])
    hip = np.array([size.hip_half, hip_height, 0.0])
    shoulder_line = hip_height + size.torso
    shoulder = np.array([size.shoulder_half, shoulder_line, 0.0])
    h = size.height
    return {
        "pelvis": np.array([0.0, hip_height, 0.0]),
        "abdomen": np.array([0.0, hip_height + size.lumbar, 0.0]),
        "chest": np.array([0.0, hip_height + size.lumbar + size.abdomen, 0.0]),
        "neck": np.array([0.0, shoulder_line + 0.022 * h, -0.012 * h]),
        "head": np.array([0.0, shoulder_line + 0.072 * h, -0.002 * h]),
        "shoulder": shoulder,
        "elbow": shoulder + size.upper_arm * REST_ARM,
        "wrist": shoulder + size.arm * REST_ARM,
        "hip": hip,
        "knee": hip + size.thigh * leg,
        "ankle": hip + size.leg * leg,
    }


def face_points(size: Dimensions) -> dict[str, Array]:
    """Rest places [3] of nose, eyes and ears (left side) in metres."""
    h, head = size.height, rest_joints(size)["head"]
    return {
        "nose": head + h * np.array([0.0, 0.0300, 0.0665]),
        "eye": head + h * np.array([0.0185, 0.0475, 0.0515]),
        "ear": head + h * np.array([0.0430, 0.0390, 0.0030]),
    }


def solve(size: Dimensions, start: Pose, end: Pose, share: float, rise: float = 0.0) -> Bones:
    """Blends two key poses and solves the bones.

    Each limb's rule is evaluated for both poses in the blended body, then blended: a hand planted
    in both stays where it is, a free hand goes along an arc about its shoulder.

    Args:
        size: the person's dimensions.
        start, end: the key poses.
        share: 0 gives ``start``, 1 gives ``end``.
        rise: height in metres by which everything, planted feet too, is off the floor (a jump).
    """
    rest = rest_joints(size)
    lift = np.array([0.0, rise, 0.0])

    def mix(a: Array, b: Array) -> Array:
        return a * (1 - share) + b * share

    turn, spine = mix(start.turn, end.turn), mix(start.spine, end.spine)
    nod = mix(start.head, end.head)
    shrug = size.height * (start.shrug * (1 - share) + end.shrug * share)
    rotation = np.zeros((len(BONES), 3, 3))
    origin = np.zeros((len(BONES), 3))

    def put(name: str, bone_rotation: Array, place: Array) -> None:
        rotation[BONE_INDEX[name]] = bone_rotation
        origin[BONE_INDEX[name]] = place

    spin = start.spin * (1 - share) + end.spin * share
    pelvis_rotation = euler(*turn) @ euler(0.0, spin, 0.0)
    pelvis = mix(start.pelvis, end.pelvis) + lift
    abdomen_rotation = pelvis_rotation @ euler(*(0.5 * spine))
    chest_rotation = pelvis_rotation @ euler(*spine)
    abdomen = pelvis + pelvis_rotation[:, 1] * size.lumbar
    chest = abdomen + abdomen_rotation[:, 1] * size.abdomen
    neck = chest + chest_rotation @ (rest["neck"] - rest["chest"])
    neck_rotation = chest_rotation @ euler(0.5 * nod[0], 0.5 * nod[1], 0.0)
    head = neck + neck_rotation @ (rest["head"] - rest["neck"])
    head_rotation = chest_rotation @ euler(nod[0], nod[1], 0.0)
    put("pelvis", pelvis_rotation, pelvis)
    put("abdomen", abdomen_rotation, abdomen)
    put("chest", chest_rotation, chest)
    put("neck", neck_rotation, neck)
    put("head", head_rotation, head)

    for side, sign in (("left", 1.0), ("right", -1.0)):
        flip = np.array([sign, 1.0, 1.0])
        # Arm
        rules = (getattr(start, f"{side}_arm"), getattr(end, f"{side}_arm"))
        shoulder = chest + chest_rotation @ ((rest["shoulder"] - rest["chest"]) * flip)
        shoulder = shoulder + shrug * chest_rotation[:, 1]
        wrist = _blended_target(rules, shoulder, chest_rotation, size.arm, share, lift)
        # The shoulder girdle follows a raised arm: up and a little inwards.
        raised = float(np.clip(unit(wrist - shoulder) @ chest_rotation[:, 1] + 0.2, 0.0, 1.2))
        shoulder = shoulder + chest_rotation @ (
            np.array([-0.012 * sign, 0.024, 0.0]) * size.height * raised
        )
        if not (rules[0].planted and rules[1].planted):
            wrist = _blended_target(rules, shoulder, chest_rotation, size.arm, share, lift)
        pole = chest_rotation @ mix(unit(rules[0].pole), unit(rules[1].pole))
        elbow, wrist, _ = two_bone(shoulder, wrist, size.upper_arm, size.forearm, pole)
        rest_arm = REST_ARM * flip
        upper = chest_rotation @ swing(rest_arm, chest_rotation.T @ unit(elbow - shoulder))
        forearm = upper @ swing(rest_arm, upper.T @ unit(wrist - elbow))
        hands = [_hand_rotation(rule, forearm, rest_arm) for rule in rules]
        put(f"{side}_shoulder", half_rotation(chest_rotation, upper), shoulder)
        put(f"{side}_upper_arm", upper, shoulder)
        put(f"{side}_elbow", half_rotation(upper, forearm), elbow)
        put(f"{side}_forearm", forearm, elbow)
        put(f"{side}_hand", _blend_rotations(hands[0], hands[1], share), wrist)
        # Leg
        rules = (getattr(start, f"{side}_leg"), getattr(end, f"{side}_leg"))
        hip = pelvis + pelvis_rotation @ ((rest["hip"] - rest["pelvis"]) * flip)
        ankle = _blended_target(rules, hip, pelvis_rotation, size.leg, share, lift)
        pole = pelvis_rotation @ mix(unit(rules[0].pole), unit(rules[1].pole))
        knee, ankle, forward = two_bone(hip, ankle, size.thigh, size.shin, pole)
        rest_leg = _frame(np.array([REST_LEG_SPREAD * sign, -1.0, 0.0]), np.array([0.0, 0.0, 1.0]))
        thigh_frame = _frame(knee - hip, forward)
        shin_frame = _frame(ankle - knee, forward)
        thigh, shin = thigh_frame @ rest_leg.T, shin_frame @ rest_leg.T
        toes = [_toe_direction(rule, shin_frame) for rule in rules]
        toe = unit(_slerp(toes[0], toes[1], share))
        side_axis = unit(shin_frame[:, 0] - (shin_frame[:, 0] @ toe) * toe)
        foot = np.stack([side_axis, np.cross(toe, side_axis), toe], axis=1)
        put(f"{side}_hip", half_rotation(pelvis_rotation, thigh), hip)
        put(f"{side}_thigh", thigh, hip)
        put(f"{side}_knee", half_rotation(thigh, shin), knee)
        put(f"{side}_shin", shin, knee)
        put(f"{side}_foot", foot, ankle)
    return Bones(rotation, origin)


def _blended_target(
    rules: tuple[Limb, Limb], root: Array, frame: Array, length: float, share: float, lift: Array
) -> Array:
    targets = [
        rule.target + lift if rule.planted else root + frame @ rule.target * length
        for rule in rules
    ]
    if rules[0].planted and rules[1].planted:
        return np.asarray(targets[0] * (1 - share) + targets[1] * share)
    return root + _slerp(targets[0] - root, targets[1] - root, share)


def _hand_rotation(rule: Limb, forearm: Array, rest_arm: Array) -> Array:
    if not isinstance(rule.end, np.ndarray):
        return forearm
    # Fingers along ``end``, palm as far down as possible.
    fingers = unit(rule.end)
    palm = np.array([0.0, -1.0, 0.0])
    palm = unit(palm - (palm @ fingers) * fingers)
    rest_palm = np.array([rest_arm[1] * np.sign(rest_arm[0]), -abs(rest_arm[0]), 0.0])
    posed = np.stack([fingers, palm, np.cross(fingers, palm)], axis=1)
    rest = np.stack([rest_arm, rest_palm, np.cross(rest_arm, rest_palm)], axis=1)
    turn: Array = posed @ rest.T
    return turn


def _toe_direction(rule: Limb, shin: Array) -> Array:
    if isinstance(rule.end, np.ndarray):
        return unit(rule.end)
    flexion = 0.0 if rule.end is None else rule.end
    return np.asarray(np.cos(flexion) * shin[:, 2] - np.sin(flexion) * shin[:, 1])


def _blend_rotations(a: Array, b: Array, share: float) -> Array:
    u, _, vt = np.linalg.svd(a * (1 - share) + b * share)
    rotation = u @ vt
    if np.linalg.det(rotation) < 0:
        u[:, -1] *= -1
        rotation = u @ vt
    return np.asarray(rotation)


def coco_joints(size: Dimensions, bones: Bones) -> Array:
    """The 17 COCO joints [17, 3] on the stage in metres: joint centres, and points of the face."""
    rest, face = rest_joints(size), face_points(size)
    head_rotation = bones.rotation[BONE_INDEX["head"]]
    head = bones.origin[BONE_INDEX["head"]]
    out = np.zeros((17, 3))
    for index, name in enumerate(COCO_JOINTS):
        side, _, part = name.rpartition("_")
        if part in face:
            flip = np.array([-1.0 if side == "right" else 1.0, 1.0, 1.0])
            out[index] = head + head_rotation @ ((face[part] - rest["head"]) * flip)
        else:
            bone = {"wrist": "hand", "ankle": "foot"}.get(part, part)
            out[index] = bones.origin[BONE_INDEX[f"{side}_{bone}"]]
    return out
