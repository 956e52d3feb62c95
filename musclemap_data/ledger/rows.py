"""What the ledger tells: videos, clips, failures and hosts, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from musclemap_data.errors import Failure

LONGEST_REST_S = 24 * 3600
"""A host is left alone for a day at most, whatever it asked for and wherever the clock is set."""


@dataclass(frozen=True)
class Rest:
    """A host that asked for a pause.

    Attributes:
        host: its name.
        until: when to come back, UTC.
        reason: its last answer.
    """

    host: str
    until: datetime
    reason: str

    def __str__(self) -> str:
        return f"{self.host} is left alone until {self.until:%Y-%m-%d %H:%M} UTC: {self.reason}"


VideoState = Literal["planned", "downloaded", "failed"]
ClipState = Literal["planned", "built", "failed", "withdrawn", "whole"]
"""``whole``: a demonstration, whose clips ``segment`` proposes. It never gets a row."""


@dataclass(frozen=True)
class VideoFacts:
    """What is known of a fetched video.

    Attributes:
        file: where it is, relative to the data directory.
        bytes: size of the file.
        sha256: of the file, in hexadecimal.
        tool: what fetched it, with its version.
        duration_s: length in seconds, if the file tells.
        title, uploader, licence: as its site states them, if it does.
    """

    file: str
    bytes: int
    sha256: str
    tool: str
    duration_s: float | None = None
    title: str | None = None
    uploader: str | None = None
    licence: str | None = None


@dataclass(frozen=True, slots=True)
class VideoRow:
    """A video of the plan.

    Attributes:
        video_id: its name.
        url: as in the manifest.
        local_path: absolute source of a local url, else None.
        state: ``downloaded`` if the file was there when it was last looked at.
        attempts: how often it was tried.
        file, bytes, sha256, tool, duration_s, title, uploader, licence: see ``VideoFacts``; of the
            last fetch, None before. ``file`` is None unless ``downloaded``.
        failure: of the last try; None unless ``failed``.
    """

    video_id: str
    url: str
    local_path: str | None
    state: VideoState
    attempts: int
    file: str | None
    bytes: int | None
    sha256: str | None
    tool: str | None
    duration_s: float | None
    title: str | None
    uploader: str | None
    licence: str | None
    failure: Failure | None


@dataclass(frozen=True, slots=True)
class ClipRow:
    """A clip of the plan. Clips of one video share its ``VideoRow``.

    Attributes:
        clip_id, start_s, end_s, activity, split: see ``manifest.Clip``.
        video: where it comes from.
        state: ``built`` if it is in a shard.
        attempts: how often it was extracted.
        shard_number: of the shard it belongs to; None before its video is there.
        shard_row: its row in that shard; None unless it is there.
        timings: JSON of stage -> seconds, of the last good try.
        failure: of the last try; None unless ``failed``.
    """

    clip_id: str
    video: VideoRow
    start_s: float
    end_s: float | None
    activity: str
    split: str
    state: ClipState
    attempts: int
    shard_number: int | None
    shard_row: int | None
    timings: str | None
    failure: Failure | None


@dataclass(frozen=True)
class FailedClips:
    """The failed clips of one class.

    Attributes:
        clips: how many they are. A clip of a failed video counts with the video's class.
        example: id of one of them, or of its video where that failed.
        failure: of the example.
    """

    clips: int
    example: str
    failure: Failure


@dataclass(frozen=True)
class Summary:
    """Counts of the plan.

    Attributes:
        videos: state -> videos.
        clips: state -> clips; those of a failed video count as ``failed``.
        failures: failed clips by class, the most frequent first.
        ready: clips that are not built and whose video is there.
        whole: whole videos that are there, in which ``segment`` finds clips.
    """

    videos: dict[str, int]
    clips: dict[str, int]
    failures: list[FailedClips]
    ready: int = 0
    whole: int = 0
