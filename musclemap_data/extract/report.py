"""What one run of a build did, counted as its clips and shards end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from musclemap_data.errors import Failure
from musclemap_data.extract.assemble import ShardJob, Written
from musclemap_data.extract.clip import Extracted
from musclemap_data.modalities.flow import CLIPPED_SHARE_WARNING
from musclemap_data.pose.quality import SkeletonClass, skeleton_class


@dataclass
class BuildReport:
    """What one run of ``extract_modalities`` did. Every clip of the plan is in one count.

    Attributes:
        built: clips extracted by this run.
        present: clips that were in the shards already, as asked for.
        failed: clip id -> failure, of this run or of earlier ones that were not tried again.
        waiting: clips whose video is not downloaded yet.
        frames: frames extracted by this run.
        seconds: stage -> seconds, summed over clips (of all workers).
        clipped: clip id -> share of flow values beyond the bound, where above 0.1%.
        skeletons: clips whose skeleton this run made.
        without_person: of these, the ids of those that show nobody in any frame.
        skeleton_classes: class of quality -> skeletons that this run made.
        bad_skeletons: ids of the clips with those of the worst class.
        damaged: clip id -> frames at which the decoder complained of the video, if any.
    """

    built: int = 0
    present: int = 0
    failed: dict[str, Failure] = field(default_factory=dict)
    waiting: int = 0
    frames: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    clipped: dict[str, float] = field(default_factory=dict)
    skeletons: int = 0
    without_person: list[str] = field(default_factory=list)
    skeleton_classes: Counter[SkeletonClass] = field(default_factory=Counter)
    bad_skeletons: list[str] = field(default_factory=list)
    damaged: dict[str, int] = field(default_factory=dict)

    def count_clip(self, clip_id: str, outcome: Extracted) -> None:
        """Count a clip that was extracted."""
        self.built += 1
        self.frames += outcome.frames
        if outcome.damaged_frames:
            self.damaged[clip_id] = outcome.damaged_frames
        for stage, seconds in outcome.seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
        if outcome.clipped_share > CLIPPED_SHARE_WARNING:
            self.clipped[clip_id] = outcome.clipped_share

    def count_shard(self, job: ShardJob, written: Written) -> None:
        """Count the skeletons that were made anew for a shard."""
        self.skeletons += written.skeletons
        self.without_person += written.without_person
        for row in job.rows:
            quality = written.quality[row.clip_id] if row.staged else None
            if quality is not None:
                found = skeleton_class(quality)
                self.skeleton_classes[found] += 1
                if found is SkeletonClass.BAD:
                    self.bad_skeletons.append(row.clip_id)
