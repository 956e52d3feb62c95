"""What an error of yt-dlp means: its failure class, the pause that the host asked for, its reason.

What the words of a message say for certain comes first (members, payment, DRM, live, ...), then the
HTTP status, then the kind of the error, then vaguer words. Nothing is called a network failure that
is not known to be one: what no rule knows is ``unknown``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from musclemap_data.errors import DISK_ERRORS, FailureClass

_BY_STATUS = {
    401: FailureClass.BLOCKED,
    402: FailureClass.PAYMENT,
    403: FailureClass.BLOCKED,
    404: FailureClass.GONE,
    407: FailureClass.BLOCKED,
    408: FailureClass.NETWORK,
    410: FailureClass.GONE,
    416: FailureClass.RANGE,
    420: FailureClass.RATE_LIMITED,
    425: FailureClass.NETWORK,
    429: FailureClass.RATE_LIMITED,
    451: FailureClass.BLOCKED,
}

_CERTAIN = (
    (
        r"no space left|disk quota|read-only file system|permission denied|unable to (open for "
        r"writing|write data|create directory|\w+ file:)|cannot write ",
        FailureClass.DISK,
    ),
    (r"not a bot|captcha|unusual traffic|suspected as a bot", FailureClass.BLOCKED),
    (r"\bdrm\b", FailureClass.DRM),
    (
        r"\brent(ed|al)?\b|purchas|requires? payment|\bpaid\b|\bpay(wall|[- ]per[- ]view)|"
        r"(have|need) to pay|\bbuy\b|\bcoins?\b|\btickets?\b",
        FailureClass.PAYMENT,
    ),
    (
        r"\bmembers?\b|\bmembership|join this channel|subscri(be|ption)|\bpremium\b|\bvip\b|"
        r"\bpatrons?\b|\bpledge|sponsors? only|supporters?\b",
        FailureClass.MEMBERS_ONLY,
    ),
    (
        r"no archive|neither archive|replay is disabled|vod is not available|recording is not "
        r"available",
        FailureClass.GONE,
    ),
    (
        r"\bpremieres?\b|upcoming|scheduled (to|for)|not (currently )?live|offline|live dash|"
        r"live(stream| ?broadcast| ?show| event| stream)?( is over| was ended| (has )?ended)|event "
        r"has ended|no active stream|not downloadable yet|not available yet|(only|be) "
        r"available after|will (begin|start|air|be released|go live)|is processing|still be "
        r"uploading|(n't|not)( yet)? (started|begun|aired)|not yet (available|started|released)|"
        r"not( yet)? been released",
        FailureClass.LIVE,
    ),
    (
        r"(in|from) (your|this) (country|region|location|territory|ip)\b|geo.?(restrict|block|lock)"
        r"|available (only )?in [\w ]+ only|only (available|licensed) in [a-z]|licensed to users",
        FailureClass.BLOCKED,
    ),
    (
        r"requested format is not available|no (video |supported )?formats|(any|suitable)( \w+)? "
        r"formats|formats are currently not|(unable|failed|could not|cannot) (to )?(extract|parse)",
        FailureClass.NO_FORMAT,
    ),
)
"""First match wins: a private video also asks to sign in, a members' video to join."""

_VAGUE = (
    (
        r"private (video|show)|video is private|removed|deleted|terminated|does(n't| not) exist|"
        r"no longer (available|exists|online)|(?<!token )(?<!token has )expired(?! token)|"
        r"suspended|copyright|taken down|no such|"
        r"(video|clip|content|stream|channel|track|space|show|page|post)( \S+)? not found",
        FailureClass.GONE,
    ),
    (
        r"too many requests|rate.?limit|session has been|try (again )?later",
        FailureClass.RATE_LIMITED,
    ),
    (
        r"temporarily unavailable|network error|server.?side|receiving data|incomplete data|"
        r"timed? ?out|connection (reset|refused|aborted|closed|broken|error)|(unable|failed|not) "
        r"(to )?connect|reset by peer|broken pipe|network is (unreachable|down)|no route to host|"
        r"name (or service not known|resolution)|getaddrinfo|resolve host|incomplete ?read|bytes "
        r"read|remote end closed|eof occurred|\bssl\b|certificate|proxy error|content too short|"
        r"fragment \d+ not found",
        FailureClass.NETWORK,
    ),
    (
        r"sign in|log(ged)?[- ]?in|\baccount\b|\baccess\b|registered users|password|cookies|"
        r"authenti|authoriz|credentials|tokens? |\bage\b|age.?restrict|adult|older than|forbidden|"
        r"cloudflare|impersonat|blocked|restricted|locked|permission|inaccessible|your ip\b|"
        r"private",
        FailureClass.BLOCKED,
    ),
    (r"unavailable|not available|isn't available", FailureClass.GONE),
    (
        r"unsupported url|invalid url|no videos?\b|not (contain|have) (a|any) video|not a (valid "
        r"url|video|file)|playlist|empty|did not get any data|only images|no (supported )?media|"
        r"no suitable extractor|website is not supported",
        FailureClass.NOT_A_VIDEO,
    ),
)


def classify(error: BaseException, reason: str) -> FailureClass:
    """The failure class of an error.

    Args:
        error: of yt-dlp, or what it let through.
        reason: yt-dlp's own words for it.
    """
    words = re.sub(r"https?://\S+", "", reason).lower()
    words = re.sub(r"\(caused by.*", "", words).replace("’", "'")
    causes = list(_causes(error))
    if any(isinstance(cause, OSError) and cause.errno in DISK_ERRORS for cause in causes):
        return FailureClass.DISK
    for pattern, kind in _CERTAIN:
        if re.search(pattern, words):
            return kind
    for status in _statuses(causes, reason):
        if status >= 500:
            return FailureClass.NETWORK
        if status < 400:  # a circle of redirections
            return FailureClass.NOT_A_VIDEO
        return _BY_STATUS.get(status, FailureClass.REFUSED)
    if found := _by_type(causes):
        return found
    matches = (kind for pattern, kind in _VAGUE if re.search(pattern, words))
    return next(matches, FailureClass.UNKNOWN)


def _by_type(causes: list[BaseException]) -> FailureClass | None:
    from yt_dlp.networking.exceptions import TransportError
    from yt_dlp.utils import (
        ContentTooShortError,
        GeoRestrictedError,
        RegexNotFoundError,
        UnsupportedError,
        UserNotLive,
    )

    kinds: tuple[tuple[type[BaseException], FailureClass], ...] = (
        (GeoRestrictedError, FailureClass.BLOCKED),
        (UserNotLive, FailureClass.LIVE),
        (UnsupportedError, FailureClass.NOT_A_VIDEO),
        (RegexNotFoundError, FailureClass.NO_FORMAT),
        (TransportError, FailureClass.NETWORK),
        (ContentTooShortError, FailureClass.NETWORK),
        (ConnectionError, FailureClass.NETWORK),
        (TimeoutError, FailureClass.NETWORK),
    )
    for wanted, kind in kinds:
        if any(isinstance(cause, wanted) for cause in causes):
            return kind
    return None


def _statuses(causes: list[BaseException], reason: str) -> Iterator[int]:
    for cause in causes:
        status = getattr(cause, "status", None)
        if isinstance(status, int):
            yield status
    if named := re.search(r"HTTP Error (\d{3})", reason):
        yield int(named[1])


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and the errors behind it, in yt-dlp's own chain and in Python's."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        cause = waiting.pop(0)
        if not isinstance(cause, BaseException) or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        inner = getattr(cause, "exc_info", None)
        waiting += [
            inner[1] if inner else None,
            getattr(cause, "cause", None),
            cause.__cause__,
            cause.__context__,
        ]


def retry_after_s(error: BaseException) -> float | None:
    """The pause in seconds that the server asked for with an error, None if it did not."""
    for cause in _causes(error):
        response = getattr(cause, "response", None)
        text = response.get_header("Retry-After") if response is not None else None
        if not text:
            continue
        if re.fullmatch(r"\d{1,9}", text.strip()):
            return float(text)
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        return max(0.0, (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds())
    return None


def tidy(reason: str) -> str:
    """yt-dlp's message without its prefix, the site's id and its request to report a bug."""
    reason = re.sub(r"^ERROR:\s*(\[[^\]]+\]\s*(\S+:\s)?)?", "", reason.strip())
    return re.split(r";? ?please report this issue|\. Set --|;? ?\(caused by", reason)[0].strip()
