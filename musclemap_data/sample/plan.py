"""Which video of the embedded sample shows what, and which split it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle

import numpy as np

from musclemap_data.catalog import SYNTHETIC_PREFIX, load_activities
from musclemap_data.sample.motions import EXERCISES


@dataclass(frozen=True)
class SampleSize:
    """How much to render.

    Attributes:
        train_videos, val_videos, test_videos: videos of each kind.
        clips_per_video: exercises in one video.
        width, height: pixels of a frame.
        fps: frames a second.
        clip_s: a clip has whole repetitions and lasts at least this long (seconds).
        pause_s: time before each exercise that belongs to no clip (seconds).
        vertex_step_m: spacing of the body's vertices (metres); the head's is about half.
        flow_frames: frames with true flow in each clip, when ground truth is written.
    """

    train_videos: int
    val_videos: int
    test_videos: int
    clips_per_video: int
    width: int
    height: int
    fps: int
    clip_s: float
    pause_s: float
    vertex_step_m: float
    flow_frames: int


SAMPLE_SIZES: dict[str, SampleSize] = {
    "tiny": SampleSize(3, 1, 1, 2, 160, 120, 15, 1.1, 0.2, 0.020, 2),
    "default": SampleSize(16, 6, 8, 3, 320, 240, 25, 1.6, 0.20, 0.014, 2),
}


@dataclass(frozen=True)
class ClipPlan:
    """One exercise of a video: its activity and split."""

    activity: str
    split: str


@dataclass(frozen=True)
class VideoPlan:
    """One synthetic video: a subject, a scene, several clips.

    Attributes:
        video_id: also the file's name.
        seed: of everything drawn for this video.
        clips: in order of time.
    """

    video_id: str
    seed: tuple[int, int]
    clips: tuple[ClipPlan, ...]


def plan_sample(size: SampleSize, seed: int) -> tuple[VideoPlan, ...]:
    """Assigns activities to videos.

    Train videos show known activities only. Videos for validation and test show known and new
    ones in turn; their clips go to ``val_known`` and ``val_new``, or ``test_known`` and
    ``test_new``. Every video, so every subject and room, belongs to one of the three.

    Args:
        size: see ``SampleSize``.
        seed: another seed gives other assignments, people and rooms.
    """
    rng = np.random.default_rng([seed, 0])
    activities = load_activities()
    filmed = [name for name, exercise in EXERCISES.items() if exercise.filmed]
    known = [name for name in filmed if not activities[name].new]
    new = [name for name in filmed if activities[name].new]
    rng.shuffle(known)
    rng.shuffle(new)
    videos: list[VideoPlan] = []
    # Known is what the train videos show: a small sample trains on few activities.
    next_known = cycle(known[: size.train_videos * size.clips_per_video])
    next_new = cycle(new)
    # Test before validation: where clips are few, the test set gets the first pick of activities.
    for kind, count in (
        ("train", size.train_videos),
        ("test", size.test_videos),
        ("val", size.val_videos),
    ):
        is_new = False
        for number in range(count):
            clips = []
            for _ in range(size.clips_per_video):
                if kind == "train":
                    clips.append(ClipPlan(next(next_known), "train"))
                elif is_new:
                    clips.append(ClipPlan(next(next_new), f"{kind}_new"))
                else:
                    clips.append(ClipPlan(next(next_known), f"{kind}_known"))
                is_new = not is_new
            name = f"{SYNTHETIC_PREFIX}{kind}_{number:02d}"
            videos.append(VideoPlan(name, (seed, 1 + len(videos)), tuple(clips)))
    order = {"train": 0, "val": 1, "test": 2}
    return tuple(sorted(videos, key=lambda video: order[video.video_id.split("_")[1]]))
