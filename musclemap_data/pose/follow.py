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
BYSTANDER = 0.4  # people smaller than this share of the exerciser's size are not counted

EMPTY_CONTRAST = 3.0  # grey levels: a picture with less (standard deviation) shows nothing


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


def coarse(frames: Frame) -> npt.NDArray[np.float32]:
    """Every frame as a grid of about 32 rows or columns: what ``find_shots`` and motion look at.

    Args:
        frames: uint8 [T, H, W, 3].

    Returns:
        float32 [T, h, w, 3], grey levels 0-255.
    """
    height, width = frames.shape[1:3]
    step = max(1, min(height, width) // 32)
    return frames[:, step // 2 :: step, step // 2 :: step].astype(np.float32)


def find_shots(frames: Frame, cut_correlation: float) -> list[tuple[int, int]]:
    """Split a clip at its hard cuts.

    Two neighbouring frames of a shot look alike however dark it is: on a coarse grid they correlate
    over 0.9, two of different shots below 0.4. A cut is where the correlation is below
    ``cut_correlation`` and its distance to 1 over four times the clip's median (a moving texture is
    not a row of cuts). Light that only grows or fades is no cut.

    Args:
        frames: uint8 [T, H, W, 3].
        cut_correlation: -1 to 1.

    Returns:
        Half-open ranges of frame indices that cover the clip in order.
    """
    count = len(frames)
    grid = coarse(frames).reshape(count, -1)
    grid = grid - grid.mean(axis=1, keepdims=True)
    contrast = np.sqrt((grid**2).mean(axis=1))
    both = contrast[1:] * contrast[:-1]
    alike = (grid[1:] * grid[:-1]).mean(axis=1) / np.maximum(both, 1e-6)
    # Of two empty pictures one is as good as the other; their noise does not correlate.
    alike[np.maximum(contrast[1:], contrast[:-1]) < EMPTY_CONTRAST] = 1
    limit = max(1 - cut_correlation, 4 * float(np.median(1 - alike))) if count > 1 else 2.0
    starts = [0, *(int(i) + 1 for i in np.flatnonzero(1 - alike > limit))]
    return list(zip(starts, [*starts[1:], count], strict=True))


def separation(a: Roi, b: Roi) -> float:
    """How far apart two regions are: 0 for the same, 1 for a distance of one region's size.

    Distance of the centres over the mean size, plus half the octaves between the sizes (a crouching
    body is about half as large as a standing one).
    """
    distance = math.hypot(a.x - b.x, a.y - b.y) / (0.5 * (a.size + b.size))
    return distance + abs(math.log2(a.size / b.size)) / 2


def main_person(
    detections: Sequence[Sequence[Detection]], motion: Sequence[Sequence[float]] | None = None
) -> tuple[int, Detection] | None:
    """Choose the exerciser among the people found in several frames of one shot.

    A candidate's weight is its score times its size times the square of its support: in how many
    of the frames somebody of like place and size was seen. A walker-by has little support, a
    bystander at the back is small. Who does not move at all weighs half as much as who moves most.

    Args:
        detections: who was found in each of the frames.
        motion: how much the picture changes at each of them; None where that is not known.

    Returns:
        Which of the frames, and the detection there; None when nobody was found at all.
    """
    best: tuple[float, int, Detection] | None = None
    most = max((change for frame in motion or () for change in frame), default=0.0)
    for index, found in enumerate(detections):
        for number, candidate in enumerate(found):
            support = sum(
                max(
                    (max(0.0, 1 - separation(candidate.roi, other.roi)) for other in others),
                    default=0,
                )
                for others in detections
            )
            weight = candidate.score * candidate.roi.size * support**2
            if motion is not None and most > 0:
                weight *= (1 + motion[index][number] / most) / 2
            if best is None or weight > best[0]:
                best = (weight, index, candidate)
    return None if best is None else best[1:]


class Motion:
    """Where and how much the picture of a clip changes.

    Args:
        frames: uint8 [T, H, W, 3].
    """

    def __init__(self, frames: Frame) -> None:
        grid = coarse(frames)
        self._change = np.abs(np.diff(grid, axis=0)).mean(axis=-1)
        self._step = max(1, min(frames.shape[1:3]) // 32) if len(frames) else 1

    def at(self, index: int, roi: Roi) -> float:
        """Mean change in the middle of a region, over the frames beside one; grey levels."""
        few = self._change[max(0, index - 2) : index + 2]
        reach = roi.size / (2 * 1.25)  # the region is so much wider than the body
        box = []
        for centre, length in ((roi.y, few.shape[1]), (roi.x, few.shape[2])):
            low = min(max(0, int((centre - reach) / self._step)), length - 1)
            box.append(slice(low, min(max(low + 1, int((centre + reach) / self._step)), length)))
        return float(few[:, box[0], box[1]].mean()) if len(few) else 0.0


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
        cut_correlation: frames that correlate less are of two shots, see ``find_shots``.
    """

    presence_threshold: float = 0.5
    looks: int = 8
    quarter_turns: tuple[int, ...] = (0, 1, 3, 2)
    patience: int = 15
    reach: float = 0.8
    reach_growth: float = 0.05
    cut_correlation: float = 0.6


class _Follower:
    """The state of following one person through one clip."""

    def __init__(self, model: RegionModel, frames: Frame, settings: FollowSettings) -> None:
        self.model, self.frames, self.settings = model, frames, settings
        self.poses: list[Pose | None] = [None] * len(frames)
        self.motion = Motion(frames)
        self.people = 0

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
        if not thorough and lost_frames % 2:
            return None
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
        while True:
            motion = [
                [self.motion.at(index, each.roi) for each in found]
                for index, found in zip(sampled, detections, strict=True)
            ]
            chosen = main_person(detections, motion)
            if chosen is None:
                return False
            position, detection = chosen
            seed = sampled[position]
            pose = self.measure(seed, detection.roi)
            if pose is not None:
                self.poses[seed] = pose
                self.track(pose, range(seed + 1, stop))
                self.track(pose, range(seed - 1, start - 1, -1))
                self.correct(sampled, detections, detection.roi, start, stop)
                self.people = max(self.people, count_people(detections, detection.roi.size))
                return True
            # Not a person after all, says the landmark network: the next best.
            detections[position] = [d for d in detections[position] if d is not detection]

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


def count_people(detections: Sequence[Sequence[Detection]], size: float) -> int:
    """How many people there are besides walkers-by: so many are seen in a quarter of the frames.

    Args:
        detections: who was found in each of the frames.
        size: of the exerciser's region; people much smaller do not count.
    """
    counts = [sum(each.roi.size >= BYSTANDER * size for each in found) for found in detections]
    return sorted(counts, reverse=True)[(len(counts) - 1) // 4]


@dataclass(frozen=True)
class Followed:
    """One person followed through a clip.

    Attributes:
        poses: of every frame; None where the person was not found.
        shots: half-open ranges of frames between the clip's cuts.
        people: how many people there are, the most of any shot.
    """

    poses: list[Pose | None]
    shots: list[tuple[int, int]]
    people: int


def follow_person(model: RegionModel, frames: Frame, settings: FollowSettings) -> Followed:
    """Follow the exercising person through a clip.

    Args:
        model: finds people in frames and joints in regions.
        frames: uint8 [T, H, W, 3].
        settings: see ``FollowSettings``.
    """
    follower = _Follower(model, frames, settings)
    shots = find_shots(frames, settings.cut_correlation) if len(frames) else []
    for start, stop in shots:
        follower.shot(start, stop)
    return Followed(follower.poses, shots, follower.people)
