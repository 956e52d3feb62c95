"""What a trainer looks for in a clip: repetitions, tempo, holds, range of motion, left and right.

All is measured in the picture, from one camera. What the view cannot carry is left out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from musclemap_data.movement.angles import Reach, joint_angles, reaches
from musclemap_data.movement.repetitions import Array, Repetitions, body_poses, count_repetitions

HOLD_S = 1.0
"""A pose kept for longer is a hold."""
HOLD_SPEED = 0.25
"""Joints that move by less than this many lengths of the trunk a second (root mean square)."""


@dataclass(frozen=True)
class Hold:
    """A stretch of time without movement, in seconds from the start of the clip."""

    start_s: float
    end_s: float


@dataclass(frozen=True)
class Tempo:
    """Seconds of the two ways of a repetition (medians), and how much they vary.

    Attributes:
        there_s: from the pose in which the clip's first repetition begins to the other end.
        back_s: and back.
        varies_s: standard deviation of the length of a repetition; None with fewer than three.
    """

    there_s: float
    back_s: float
    varies_s: float | None


@dataclass(frozen=True)
class Session:
    """The measures of one person in one clip.

    Attributes:
        name: of the video.
        fps: frames a second of the skeleton.
        seconds: length.
        repetitions: see ``Repetitions``.
        tempo: None without a whole repetition.
        holds: in order of time.
        reaches: range of motion by joint, of the joints that the view carries.
        angles: degrees by joint, ``float64 [T]``, NaN where the view does not carry them.
        within_s: how exact times are: half a frame and the filter over time, seconds.
    """

    name: str
    fps: float
    seconds: float
    repetitions: Repetitions
    tempo: Tempo | None
    holds: tuple[Hold, ...]
    reaches: dict[str, Reach]
    angles: dict[str, Array]
    within_s: float

    @property
    def sides(self) -> dict[str, float]:
        """Range of motion on the left minus that on the right, degrees, where both are seen."""
        found = {}
        for name, left in self.reaches.items():
            side, _, joint = name.partition("_")
            right = self.reaches.get(f"right_{joint}")
            if side == "left" and right is not None:
                found[joint] = left.range_deg - right.range_deg
        return found

    def facts(self) -> dict[str, object]:
        """All measures but the series, as plain values for JSON."""
        done = self.repetitions
        repetitions = {
            "cycles": done.cycles, "period_s": done.period_s, "turns_s": list(done.turns_s),
            "alternating": done.alternating, "range_trunks": done.range,
        }  # fmt: skip
        return {
            "video": self.name,
            "fps": self.fps,
            "seconds": self.seconds,
            "times_within_s": self.within_s,
            "repetitions": repetitions,
            "tempo": asdict(self.tempo) if self.tempo else None,
            "holds": [asdict(hold) for hold in self.holds],
            "range_of_motion_deg": {name: asdict(reach) for name, reach in self.reaches.items()},
            "left_minus_right_deg": self.sides,
        }


def measure_session(skeleton: npt.NDArray[np.float32], fps: float, name: str = "") -> Session:
    """Measure one person's movement.

    Args:
        skeleton: ``float32 [T, 17, 3]`` x, y (pixels) and score.
        fps: frames a second.
        name: of the video, for the report.
    """
    repetitions = count_repetitions(skeleton, fps)
    angles = joint_angles(skeleton)
    return Session(
        name=name,
        fps=fps,
        seconds=len(skeleton) / fps,
        repetitions=repetitions,
        tempo=_tempo(repetitions),
        holds=_holds(skeleton, fps),
        reaches=reaches(skeleton, angles),
        angles=angles,
        within_s=0.5 / fps + 0.05,
    )


def _tempo(repetitions: Repetitions) -> Tempo | None:
    turns = np.array(repetitions.turns_s)
    if len(turns) < 3:
        return None
    ways = np.diff(turns)
    # The clip begins with the way there, which ends at the first turn.
    whole = turns[2:] - turns[:-2]
    return Tempo(
        there_s=float(np.median(ways[1::2])),
        back_s=float(np.median(ways[0::2])),
        varies_s=float(np.std(whole, ddof=1)) if len(whole) > 2 else None,
    )


def _holds(skeleton: npt.NDArray[np.float32], fps: float) -> tuple[Hold, ...]:
    poses = body_poses(skeleton, fps)
    if poses is None or len(poses) < 2:
        return ()
    speed = np.sqrt((np.gradient(poses, axis=0) ** 2).sum(2).mean(1)) * fps
    seen = (skeleton[:, :, 2] > 0).any(1)
    still = np.concatenate([[False], (speed < HOLD_SPEED) & seen, [False]])
    edges = np.flatnonzero(np.diff(still))
    return tuple(
        Hold(float(start / fps), float(end / fps))
        for start, end in zip(edges[::2], edges[1::2], strict=True)
        if end - start >= HOLD_S * fps
    )
