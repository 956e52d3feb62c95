"""What a person's movement is like: repetitions, tempo, holds, angles, from the skeleton alone."""

from musclemap_data.movement.angles import ANGLES, Reach, joint_angles, reaches
from musclemap_data.movement.repetitions import Repetitions, count_repetitions
from musclemap_data.movement.session import Session, measure_session

__all__ = [
    "ANGLES", "Reach", "Repetitions", "Session",
    "count_repetitions", "joint_angles", "measure_session", "reaches",
]  # fmt: skip
