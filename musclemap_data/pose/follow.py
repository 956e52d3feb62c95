"""Follow one person through a clip, for any pose model that works on a region of interest.

One call is one clip. The whole clip is at hand, so the person is chosen by looking at all of it
and followed from the first clear sight both ways: a walker-by in the first frame is not taken for
the exerciser, and frames before the first detection are not lost.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Frame = npt.NDArray[np.uint8]

# In units of ``separation``: regions this near in one frame are one pose; this far, two people;
# regions this near in two frames of a shot are one person, who may have moved (standing up from the
# squat of a burpee is 0.85).
SAME_POSE = 0.15
OTHER_PERSON = 0.6
SAME_PERSON = 0.9


@dataclass(frozen=True)
class Roi:
    """A square region of interest in image pixels, turned so that the body stands upright in it.

    ``angle`` is in radians, clockwise on the screen: 0 for an upright person, pi / 2 for one whose
    head points to the right.
    """

    x: float
    y: float
    size: float
    angle: float

    def to_image(self, crop_size: int) -> npt.NDArray[np.float64]:
        """The affine matrix [2, 3] from pixels of a crop of this region to pixels of the image."""
        scale = self.size / crop_size
        cosine, sine = math.cos(self.angle) * scale, math.sin(self.angle) * scale
        half = crop_size / 2
        return np.array(
            [
                [cosine, -sine, self.x - half * cosine + half * sine],
                [sine, cosine, self.y - half * sine - half * cosine],
            ]
        )


@dataclass(frozen=True)
class Detection:
    """A person found by the detector: its score in [0, 1] and where to look for the joints."""

    score: float
    roi: Roi


@dataclass(frozen=True)
class Pose:
    """Joints found in one region: float32 [17, 3] (x, y px, score), and where to look next."""

    joints: npt.NDArray[np.float32]
    presence: float
    next_roi: Roi


class RegionModel(Protocol):
    """What ``follow_person`` asks of a pose model."""

    def detect(self, frame: Frame, quarter_turns: int) -> list[Detection]:
        """People in the frame, best first; the frame is turned before the model looks at it."""

    def measure(self, frame: Frame, roi: Roi) -> Pose:
        """The joints of the person in the region."""


def find_shots(frames: Frame, cut_contrast: float) -> list[tuple[int, int]]:
    """Split a clip at its hard cuts.

    A cut is a frame whose mean absolute difference to the frame before it, on a coarse grid, is
    over ``cut_contrast`` grey levels and over four times the clip's median difference (a shaking
    camera is not a row of cuts).

    Args:
        frames: uint8 [T, H, W, 3].
        cut_contrast: grey levels, 0-255.

    Returns:
        Half-open ranges of frame indices that cover the clip in order.
    """
    count, height, width = frames.shape[:3]
    step = max(1, min(height, width) // 32)
    coarse = frames[:, step // 2 :: step, step // 2 :: step].astype(np.float32)
    change = np.abs(np.diff(coarse, axis=0)).mean(axis=(1, 2, 3))
    limit = max(cut_contrast, 4 * float(np.median(change))) if count > 1 else cut_contrast
    starts = [0, *(int(i) + 1 for i in np.flatnonzero(change > limit))]
    return list(zip(starts, [*starts[1:], count], strict=True))


def separation(a: Roi, b: Roi) -> float:
    """How far apart two regions are: 0 for the same, 1 for a distance of one region's size.

    Distance of the centres over the mean size, plus half the octaves between the sizes (a crouching
    body is about half as large as a standing one).
    """
    distance = math.hypot(a.x - b.x, a.y - b.y) / (0.5 * (a.size + b.size))
    return distance + abs(math.log2(a.size / b.size)) / 2


def main_person(detections: Sequence[Sequence[Detection]]) -> tuple[int, Detection] | None:
    """Choose the exerciser among the people found in several frames of one shot.

    A candidate's weight is its score times its size times the square of its support: in how many
    of the frames somebody of like place and size was seen. A walker-by has little support, a
    bystander at the back is small.

    Returns:
        Which of the frames, and the detection there; None when nobody was found at all.
    """
    best: tuple[float, int, Detection] | None = None
    for index, found in enumerate(detections):
        for candidate in found:
            support = sum(
                max(
                    (max(0.0, 1 - separation(candidate.roi, other.roi)) for other in others),
                    default=0,
                )
                for others in detections
            )
            weight = candidate.score * candidate.roi.size * support**2
            if best is None or weight > best[0]:
                best = (weight, index, candidate)
    return None if best is None else best[1:]


@dataclass(frozen=True)
class FollowSettings:
    """How a person is followed through a clip.

    Attributes:
        presence_threshold: below it the landmark model's own "a person is here" counts as lost
            (mediapipe's ``min_tracking_confidence``).
        looks: frames of each shot in which the detector looks for the exerciser.
        quarter_turns: turns of the frame that the detector tries, in order, until one shows a
            person: 0 upright, 1 for a head pointing right, 3 left, 2 down.
        patience: for so many frames after a loss the person is first looked for where they were.
        reach: a person found again may be this far (see ``separation``) from where they were lost.
        reach_growth: by how much the reach grows with every frame without the person.
        cut_contrast: grey levels of mean change that make a hard cut.
    """

    presence_threshold: float = 0.5
    looks: int = 8
    quarter_turns: tuple[int, ...] = (0, 1, 3, 2)
    patience: int = 15
    reach: float = 0.8
    reach_growth: float = 0.05
    cut_contrast: float = 30.0


class _Follower:
    """The state of following one person through one clip."""

    def __init__(self, model: RegionModel, frames: Frame, settings: FollowSettings) -> None:
        self.model, self.frames, self.settings = model, frames, settings
        self.poses: list[Pose | None] = [None] * len(frames)

    def look(self, index: int, turns: Sequence[int]) -> list[Detection]:
        """People in a frame, from the first of the turns that shows any."""
        for quarter_turns in turns:
            found = self.model.detect(self.frames[index], quarter_turns)
            if found:
                return found
        return []

    def measure(self, index: int, roi: Roi) -> Pose | None:
        """The pose in a region, or None when nobody is there or the region is degenerate."""
        height, width = self.frames.shape[1:3]
        side = max(height, width)
        reachable = -side < roi.x < 2 * side and -side < roi.y < 2 * side
        if not (reachable and 4 <= roi.size <= 8 * side):
            return None
        pose = self.model.measure(self.frames[index], roi)
        return pose if pose.presence >= self.settings.presence_threshold else None

    def find(self, index: int, last: Roi, lost_frames: int) -> Pose | None:
        """Look for the person again, near where they were lost."""
        if 0 < lost_frames <= self.settings.patience:
            pose = self.measure(index, last)
            if pose is not None:
                return pose
        # Turned looks cost three more passes: on a long stretch without anybody do few of them.
        thorough = lost_frames < 4 or lost_frames % 8 == 0
        turns = self.settings.quarter_turns if thorough else self.settings.quarter_turns[:1]
        reach = self.settings.reach + self.settings.reach_growth * lost_frames
        for turn in turns:
            found = self.model.detect(self.frames[index], turn)
            for detection in sorted(found, key=lambda d: separation(d.roi, last)):
                if separation(detection.roi, last) <= reach:
                    pose = self.measure(index, detection.roi)
                    if pose is not None:
                        return pose
        return None

    def track(self, pose: Pose, order: range, *, until_agreed: bool = False) -> None:
        """Follow the person from a known pose over the frames in this order.

        Args:
            pose: where the person is in the frame before the first of ``order``.
            order: frame indices, rising or falling.
            until_agreed: stop at the first frame where an earlier pass saw the same.
        """
        roi, lost_frames = pose.next_roi, 0
        for index in order:
            current = self.measure(index, roi) if lost_frames == 0 else None
            if current is None:
                current = self.find(index, roi, lost_frames)
            before = self.poses[index]
            if until_agreed and before is not None and current is not None:
                met = separation(before.next_roi, current.next_roi) < SAME_POSE
                if met:
                    return
            self.poses[index] = current
            if current is None:
                lost_frames += 1
            else:
                roi, lost_frames = current.next_roi, 0

    def shot(self, start: int, stop: int) -> None:
        """Choose the exerciser of one shot and follow them both ways."""
        count = stop - start
        looks = min(count, self.settings.looks)
        few = [start + (2 * i + 1) * count // (2 * looks) for i in range(looks)]
        if not self.follow_from(few, self.settings.quarter_turns, start, stop):
            # Nobody, or nobody whom the landmark network confirms: a closer search.
            closer = list(range(start, stop, 4))
            self.follow_from(closer, self.settings.quarter_turns[:1], start, stop)

    def follow_from(
        self, sampled: Sequence[int], turns: Sequence[int], start: int, stop: int
    ) -> bool:
        """Choose the exerciser in the sampled frames, follow them; False when there is nobody."""
        detections = [self.look(index, turns) for index in sampled]
        while (chosen := main_person(detections)) is not None:
            position, detection = chosen
            seed = sampled[position]
            pose = self.measure(seed, detection.roi)
            if pose is not None:
                self.poses[seed] = pose
                self.track(pose, range(seed + 1, stop))
                self.track(pose, range(seed - 1, start - 1, -1))
                self.correct(sampled, detections, detection.roi, start, stop)
                return True
            # Not a person after all, says the landmark network: the next best.
            detections[position] = [d for d in detections[position] if d is not detection]
        return False

    def correct(
        self,
        sampled: Sequence[int],
        detections: Sequence[Sequence[Detection]],
        person: Roi,
        start: int,
        stop: int,
    ) -> None:
        """Go back to the exerciser where tracking left with somebody else.

        Where the detector saw the chosen person in a frame but tracking went further off, the
        frames to both sides are followed anew from there, up to the next frame in which detector
        and tracking agree on the person, or until what was seen before is met again.
        """
        astray: list[tuple[int, Roi]] = []
        borders = [start - 1, stop]
        for index, found in zip(sampled, detections, strict=True):
            best = min(found, key=lambda d: separation(d.roi, person), default=None)
            if best is None or separation(best.roi, person) > SAME_PERSON:
                continue
            tracked = self.poses[index]
            if tracked is not None:
                if separation(tracked.next_roi, best.roi) < OTHER_PERSON:
                    borders.append(index)
                    continue
                if separation(tracked.next_roi, person) < separation(best.roi, person):
                    continue
            astray.append((index, best.roi))
        for index, roi in astray:
            pose = self.measure(index, roi)
            if pose is not None:
                self.poses[index] = pose
                after = min(border for border in borders if border > index)
                before = max(border for border in borders if border < index)
                self.track(pose, range(index + 1, after), until_agreed=True)
                self.track(pose, range(index - 1, before, -1), until_agreed=True)


def follow_person(
    model: RegionModel, frames: Frame, settings: FollowSettings
) -> tuple[list[Pose | None], list[tuple[int, int]]]:
    """Follow the exercising person through a clip.

    Args:
        model: finds people in frames and joints in regions.
        frames: uint8 [T, H, W, 3].
        settings: see ``FollowSettings``.

    Returns:
        A pose, or None where the person was not found, for every frame; and the clip's shots as
        half-open ranges of frames.
    """
    follower = _Follower(model, frames, settings)
    shots = find_shots(frames, settings.cut_contrast) if len(frames) else []
    for start, stop in shots:
        follower.shot(start, stop)
    return follower.poses, shots
