"""What the page lists: every clip of a data directory, from its shards and its ledger.

Only light columns are read, each shard once until its file changes, so that the page follows a
running build.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from musclemap_data.catalog import DEFAULT_TABLE, SPLITS, Activity, load_muscles, load_table
from musclemap_data.errors import NEXT_STEP, Failure, FailureClass, UserError
from musclemap_data.ledger import Ledger
from musclemap_data.ledger.rows import ClipRow, VideoRow
from musclemap_data.pose.quality import SkeletonClass, skeleton_class
from musclemap_data.shards import Shard, list_shards, read_dataset_info

STATES = ("built", "failed", "waiting")
REREAD_AFTER_S = 2.0
"""Files are looked at again after so long: a build that runs meanwhile shows up."""

_COLUMNS = (
    "clip_id", "video_id", "url", "activity", "split", "start_s", "end_s", "frames", "height",
    "width", "fps", "muscles", "skeleton_quality",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ListedClip:
    """One clip of the plan or of a shard.

    Attributes:
        state: ``built`` (it is in a shard), ``failed`` or ``waiting``.
        muscles: 20 booleans; of a clip without a row, those of its activity.
        shard, row: where its row is; None unless built.
        version: changes when the shard's file does.
        frames, height, width, fps: None unless built.
        skeleton_quality: from 0 to 1; None unless built with a skeleton that was judged.
        failure: of a failed clip, or of its video.
        attempts, timings: from the ledger: tries, and JSON of stage -> seconds.
    """

    clip_id: str
    video_id: str
    url: str
    activity: str
    split: str
    start_s: float
    end_s: float | None
    state: str
    muscles: tuple[bool, ...]
    shard: Path | None = None
    row: int | None = None
    version: str = ""
    frames: int | None = None
    height: int | None = None
    width: int | None = None
    fps: float | None = None
    skeleton_quality: float | None = None
    failure: Failure | None = None
    attempts: int | None = None
    timings: str | None = None

    @property
    def seconds(self) -> float:
        """Length of a built clip in seconds, else 0."""
        return self.frames / self.fps if self.frames and self.fps else 0.0

    @property
    def skeleton(self) -> str:
        """How far its skeleton can be believed: good, doubtful or bad; empty where not judged."""
        return "" if self.skeleton_quality is None else skeleton_class(self.skeleton_quality)


@dataclass(frozen=True)
class Filters:
    """What to list; an empty string lets everything through.

    ``text`` is words that must all occur in the ids, the url, the activity's names or the reason.
    """

    split: str = ""
    activity: str = ""
    region: str = ""
    state: str = ""
    failure: str = ""
    skeleton: str = ""
    text: str = ""


class ClipIndex:
    """A snapshot of all clips, by split and id, with what is needed to filter and count them."""

    def __init__(
        self,
        clips: list[ListedClip],
        activities: Mapping[str, Activity],
        *,
        version: str = "",
        info: Mapping[str, Any] | None = None,
        videos: Mapping[str, VideoRow] | None = None,
        problems: list[str] | None = None,
    ) -> None:
        self.clips = sorted(clips, key=lambda clip: (SPLITS.index(clip.split), clip.clip_id))
        self.activities = activities
        self.version = version
        self.info = info or {}
        self.videos = videos or {}
        self.problems = problems or []
        self.position = {clip.clip_id: number for number, clip in enumerate(self.clips)}
        self._activity_names = sorted({clip.activity for clip in self.clips})
        self._values: dict[str, npt.NDArray[np.str_]] = {
            "split": _texts(clip.split for clip in self.clips),
            "activity": _texts(clip.activity for clip in self.clips),
            "state": _texts(clip.state for clip in self.clips),
            "failure": _texts(c.failure.failure_class if c.failure else "" for c in self.clips),
            "skeleton": _texts(clip.skeleton for clip in self.clips),
        }
        self._muscles = np.array([clip.muscles for clip in self.clips], bool).reshape(
            -1, len(load_muscles())
        )
        self._seconds = np.array([clip.seconds for clip in self.clips])
        self._videos = _texts(clip.video_id for clip in self.clips)
        self._words = [_words(clip, activities.get(clip.activity)) for clip in self.clips]

    def find(self, clip_id: str) -> ListedClip | None:
        """The clip of an id."""
        number = self.position.get(clip_id)
        return None if number is None else self.clips[number]

    def select(self, filters: Filters) -> npt.NDArray[np.bool_]:
        """Which clips the filters let through: bool ``[N]``, in the order of ``clips``."""
        chosen = np.ones(len(self.clips), bool)
        for mask in self._masks(filters).values():
            chosen &= mask
        return chosen

    def options(self, filters: Filters) -> dict[str, dict[str, int]]:
        """How many clips each value of a filter would give, the other filters being as they are."""
        masks = self._masks(filters)
        found: dict[str, dict[str, int]] = {}
        for name in ("split", "activity", "region", "state", "failure", "skeleton"):
            chosen = np.ones(len(self.clips), bool)
            for other, mask in masks.items():
                if other != name:
                    chosen &= mask
            if name == "region":
                found[name] = _by_region(self._muscles[chosen])
            else:
                found[name] = _counts(self._values[name][chosen])
        return found

    def statistics(self, filters: Filters) -> dict[str, object]:
        """Clips by split, activity and muscle region (built clips), and failures by class.

        Returns:
            ``{"splits": [{split, planned, built, failed, waiting, seconds, videos}],
            "activities": [{activity, splits: {split: clips}}], "regions": [{region, splits}],
            "failures": [{failure, clips, next_step}]}``.
        """
        chosen = self.select(filters)
        built = chosen & (self._values["state"] == "built")
        splits = []
        by_activity: dict[str, dict[str, int]] = {name: {} for name in self._activity_names}
        by_region: dict[str, dict[str, int]] = {muscle.slug: {} for muscle in load_muscles()}
        for split in SPLITS:
            inside = self._values["split"] == split
            there = built & inside
            states = _counts(self._values["state"][chosen & inside])
            splits.append(
                {
                    "split": split,
                    "planned": int((chosen & inside).sum()),
                    **{state: states.get(state, 0) for state in STATES},
                    "seconds": round(float(self._seconds[there].sum()), 2),
                    "videos": len(np.unique(self._videos[there])),
                }
            )
            for name, count in _counts(self._values["activity"][there]).items():
                by_activity[name][split] = count
            for name, count in _by_region(self._muscles[there]).items():
                by_region[name][split] = count
        failures = _counts(self._values["failure"][chosen])
        return {
            "splits": splits,
            "activities": [
                {"activity": name, "splits": counts} for name, counts in by_activity.items()
            ],
            "regions": [{"region": name, "splits": counts} for name, counts in by_region.items()],
            "failures": [
                {"failure": kind, "clips": failures[kind], "next_step": NEXT_STEP[kind]}
                for kind in FailureClass
                if kind in failures
            ],
        }

    def region_shares(self, filters: Filters) -> list[float]:
        """Share of the chosen clips in which each region is active, in canonical order."""
        chosen = self._muscles[self.select(filters)]
        return [float(share) for share in chosen.mean(axis=0)] if len(chosen) else [0.0] * 20

    def _masks(self, filters: Filters) -> dict[str, npt.NDArray[np.bool_]]:
        masks = {
            name: self._values[name] == value
            for name in ("split", "activity", "state", "failure", "skeleton")
            if (value := getattr(filters, name))
        }
        if filters.region:
            slugs = [muscle.slug for muscle in load_muscles()]
            masks["region"] = self._muscles[:, slugs.index(filters.region)]
        wanted = filters.text.lower().split()
        if wanted:
            masks["text"] = np.array(
                [all(word in words for word in wanted) for words in self._words], bool
            )
        return masks


def _texts(values: Iterable[str]) -> npt.NDArray[np.str_]:
    return np.array(list(values), np.str_)


def _counts(values: npt.NDArray[np.str_]) -> dict[str, int]:
    names, counts = np.unique(values, return_counts=True)
    return {str(n): int(c) for n, c in zip(names, counts, strict=True) if n}


def _by_region(muscles: npt.NDArray[np.bool_]) -> dict[str, int]:
    return {muscle.slug: int(muscles[:, muscle.index].sum()) for muscle in load_muscles()}


def _words(clip: ListedClip, activity: Activity | None) -> str:
    names = (activity.name, *activity.aliases) if activity else ()
    reason = clip.failure.reason if clip.failure else ""
    return "\n".join((clip.clip_id, clip.video_id, clip.url, clip.activity, *names, reason)).lower()


class LiveIndex:
    """The index of a data directory, read again when its files change. Safe between threads.

    Raises:
        UserError: neither a shard nor a ledger nor ``dataset.json`` is there.
    """

    def __init__(self, data_dir: Path, *, reread_after_s: float = REREAD_AFTER_S) -> None:
        self.data_dir = Path(data_dir)
        self._reread_after_s = reread_after_s
        self._lock = threading.Lock()
        self._shards: dict[Path, tuple[str, list[ListedClip]]] = {}
        self._version = ""
        self._looked_at = 0.0
        self._index = self.get()

    def get(self) -> ClipIndex:
        """The index as of now."""
        with self._lock:
            now = time.monotonic()
            if self._version and now - self._looked_at < self._reread_after_s:
                return self._index
            files = self._files()
            version = hashlib.sha256("\n".join(files.values()).encode()).hexdigest()[:16]
            if version != self._version:
                self._index = self._read(files, version)
                self._version = version
            self._looked_at = time.monotonic()
            return self._index

    def _files(self) -> dict[Path, str]:
        """Path -> signature of every file that the index is made of."""
        paths = [path for split in SPLITS for path in list_shards(self.data_dir, split)]
        names = ("dataset.json", "ledger.sqlite", "ledger.sqlite-wal")
        found = {}
        for path in (*paths, *(self.data_dir / name for name in names)):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            found[path] = f"{path.name} {status.st_mtime_ns:x} {status.st_size:x}"
        if not found:
            raise UserError(
                f"There is no data set in {self.data_dir}. Build one first: `musclemap download`, "
                "then `musclemap extract-modalities`."
            )
        return found

    def _read(self, files: Mapping[Path, str], version: str) -> ClipIndex:
        problems: list[str] = []
        info: Mapping[str, Any] = {}
        planned: dict[str, ClipRow] = {}
        videos: dict[str, VideoRow] = {}
        table = DEFAULT_TABLE
        if self.data_dir / "dataset.json" in files:  # not yet, during a first build
            info = read_dataset_info(self.data_dir)
            table = info.get("activities", DEFAULT_TABLE)
        if self.data_dir / "ledger.sqlite" in files:
            try:
                with Ledger(self.data_dir, read_only=True) as ledger:
                    planned = {clip.clip_id: clip for clip in ledger.clips()}
                    videos = {video.video_id: video for video in ledger.videos()}
                    table = ledger.activity_table()
            except UserError as error:
                problems.append(str(error))
        activities = load_table(table)
        clips: list[ListedClip] = []
        for path, signature in files.items():
            if path.suffix == ".parquet":
                try:
                    clips += self._shard_clips(path, signature, planned)
                except UserError as error:
                    problems.append(str(error))
        self._shards = {path: rows for path, rows in self._shards.items() if path in files}
        built = {clip.clip_id for clip in clips}
        clips += [
            _clip_without_row(clip, activities)
            for name, clip in planned.items()
            if name not in built
        ]
        return ClipIndex(
            clips, activities, version=version, info=info, videos=videos, problems=problems
        )

    def _shard_clips(
        self, path: Path, signature: str, planned: Mapping[str, ClipRow]
    ) -> list[ListedClip]:
        known, clips = self._shards.get(path, ("", []))
        if known != signature:
            version = signature.partition(" ")[2].replace(" ", "-")
            with Shard(path) as shard:
                rows = shard.table(_COLUMNS).to_pylist()
            clips = [
                ListedClip(
                    **row | {"muscles": tuple(row["muscles"])},
                    state="built",
                    shard=path,
                    row=number,
                    version=version,
                )
                for number, row in enumerate(rows)
            ]
            self._shards[path] = (signature, clips)
        return [
            replace(clip, attempts=plan.attempts, timings=plan.timings) if plan else clip
            for clip in clips
            for plan in [planned.get(clip.clip_id)]
        ]


def _clip_without_row(clip: ClipRow, activities: Mapping[str, Activity]) -> ListedClip:
    activity = activities.get(clip.activity)
    failure = clip.video.failure or clip.failure
    return ListedClip(
        clip_id=clip.clip_id,
        video_id=clip.video.video_id,
        url=clip.video.url,
        activity=clip.activity,
        split=clip.split,
        start_s=clip.start_s,
        end_s=clip.end_s,
        state="failed" if failure else "waiting",
        muscles=activity.muscles if activity else (False,) * len(load_muscles()),
        failure=failure,
        attempts=clip.attempts,
        timings=clip.timings,
    )


def parse_filters(query: Mapping[str, str], index: ClipIndex) -> Filters:
    """Filters of a query string.

    Raises:
        ValueError: a value that does not exist, or a text over 200 characters.
    """
    allowed: dict[str, Collection[str]] = {
        "split": SPLITS,
        "activity": index.activities,
        "region": [muscle.slug for muscle in load_muscles()],
        "state": STATES,
        "failure": list(FailureClass),
        "skeleton": list(SkeletonClass),
    }
    values = {field.name: query.get(field.name, "") for field in fields(Filters)}
    for name, choices in allowed.items():
        if values[name] and values[name] not in choices:
            raise ValueError(f"there is no {name} {values[name][:60]!r}")
    if len(values["text"]) > 200:
        raise ValueError("text is longer than 200 characters")
    return Filters(**values)
