"""What goes wrong: a mistake that the user can mend, or a video or clip that cannot be had."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from enum import StrEnum

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS)
"""Of ``OSError.errno``: no room, or no permission, on this machine's disk."""


class UserError(Exception):
    """A mistake in the user's input or set-up.

    The message says what was wrong, where, and what to do. The command line prints it without a
    traceback and exits with code 2.
    """


class FailureClass(StrEnum):
    """Why a video or clip could not be had. Each has a next step in ``NEXT_STEP``."""

    GONE = "gone"
    BLOCKED = "blocked"
    MEMBERS_ONLY = "members-only"
    PAYMENT = "payment"
    DRM = "drm"
    LIVE = "live"
    NO_FORMAT = "no-format"
    RATE_LIMITED = "rate-limited"
    NETWORK = "network"
    RANGE = "range"
    REFUSED = "refused"
    NOT_A_VIDEO = "not-a-video"
    TOO_SHORT = "too-short"
    TOO_LONG = "too-long"
    DECODE = "decode"
    TOO_LARGE = "too-large"
    NO_PERSON = "no-person"
    BAD_SKELETON = "bad-skeleton"
    DISK = "disk"
    UNKNOWN = "unknown"
    BUG = "bug"


NEXT_STEP: dict[FailureClass, str] = {
    FailureClass.GONE: "deleted or private: nothing to do; it counts against the coverage",
    FailureClass.BLOCKED: "the site refused (login, age, region, bot check): try `musclemap retry "
    "--class blocked` with --cookies-from-browser, --proxy or --impersonate",
    FailureClass.MEMBERS_ONLY: "for members or subscribers: if you are one, run `musclemap retry "
    "--class members-only` with --cookies-from-browser; else it counts against the coverage",
    FailureClass.PAYMENT: "rented or sold: if you paid for it, run `musclemap retry --class "
    "payment` with --cookies-from-browser; else it counts against the coverage",
    FailureClass.DRM: "protected against copying: nothing to do; it counts against the coverage",
    FailureClass.LIVE: "a live stream or premiere that is not over, or not out yet: run `musclemap "
    "retry --class live` when the whole video is there",
    FailureClass.NO_FORMAT: "yt-dlp found no picture it can fetch: do what `musclemap doctor` says "
    "of yt-dlp and JavaScript, then run `musclemap retry --class no-format`",
    FailureClass.RATE_LIMITED: "the site asked for a pause: run `musclemap retry --class "
    "rate-limited` after it",
    FailureClass.NETWORK: "the connection or the server failed: run `musclemap retry --class "
    "network`",
    FailureClass.RANGE: "what is on the site does not fit what was fetched of it before, which is "
    "dropped: run `musclemap retry --class range`",
    FailureClass.REFUSED: "the site did not understand the request: correct the url in the "
    "manifest, or update yt-dlp and run `musclemap retry --class refused`",
    FailureClass.NOT_A_VIDEO: "the url leads to no video: correct it in the manifest",
    FailureClass.TOO_SHORT: "the video has no picture for a part of the clip: correct "
    "start_s and end_s",
    FailureClass.TOO_LONG: "a row cannot hold so many frames: divide the clip in the manifest",
    FailureClass.DECODE: "the file is damaged: delete it from videos/ and download it again",
    FailureClass.TOO_LARGE: "more bytes or pixels than allowed: for bytes, run `musclemap retry "
    "--class too-large` with a larger --max-bytes",
    FailureClass.NO_PERSON: "nobody was found: correct the times, or choose another --pose and "
    "run with --retry-failed",
    FailureClass.BAD_SKELETON: "its skeleton is below --min-skeleton-quality: look at it, choose "
    "another --pose or a lower quality, and run with --retry-failed",
    FailureClass.DISK: "no space or no permission: free some and run the same command again",
    FailureClass.UNKNOWN: "an answer that MuscleMap does not know: read it, update yt-dlp "
    "(`musclemap doctor`), and run `musclemap retry --class unknown`",
    FailureClass.BUG: "a fault of MuscleMap: please report it with this message",
}

RETRIED_BY_DEFAULT = frozenset(
    {
        FailureClass.LIVE,
        FailureClass.RATE_LIMITED,
        FailureClass.NETWORK,
        FailureClass.RANGE,
        FailureClass.DISK,
        FailureClass.UNKNOWN,
        FailureClass.BUG,
    }
)
"""Failures that may pass, which the same command tries again; the others need a change first."""


@dataclass(frozen=True)
class Failure:
    """A failed video or clip, as reported to the user."""

    stage: str
    failure_class: FailureClass
    reason: str

    def __str__(self) -> str:
        return f"{self.stage} failed ({self.failure_class}): {self.reason}"


class StageError(Exception):
    """Raised inside a stage (download, cut, decode, extract) with the class of the failure.

    ``retry_after_s`` is the pause in seconds that a host asked for before the next try, if any.
    """

    def __init__(
        self,
        stage: str,
        failure_class: FailureClass,
        reason: str,
        retry_after_s: float | None = None,
    ) -> None:
        # All three go to Exception so that the error survives pickling between processes.
        super().__init__(stage, failure_class, reason)
        self.failure = Failure(stage, FailureClass(failure_class), " ".join(reason.split())[:500])
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return str(self.failure)
