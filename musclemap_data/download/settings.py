"""How videos are fetched. Light to import: the command line takes its defaults from here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from musclemap_data.errors import UserError


@dataclass(frozen=True)
class DownloadSettings:
    """How videos are fetched. Durations are in seconds.

    Attributes:
        workers: videos fetched at the same time.
        per_host: of these, how many from one host.
        pause_s: mean pause between two requests for a video to one host; each is drawn evenly from
            half of it to one and a half. 0 for none; this machine and object storage are never
            paced.
        network_tries: tries of a video in one run while the connection fails.
        rate_limited_tries: tries of a video in one run while its host asks for a pause.
        backoff_s: pause before the second try, plus up to as much again by chance; doubled for
            each further try.
        longest_backoff_s: the doubling ends here.
        longest_retry_after_s: a host's wish for a pause (Retry-After) is waited for up to this
            long; one that asks for more is not asked again in this run.
        refusals_to_stop: so many rate-limited or bot-checked videos of a host in a row, and it is
            not asked again in this run.
        rest_s: how long later runs leave such a host alone, if it did not ask for longer.
        video_timeout_s: most time for one video, all tries and their pauses together.
        socket_timeout_s: most time without a byte.
        max_bytes: most bytes of one video.
        cookies: file of cookies in Netscape's format. It is read, never written.
        cookies_from_browser: browser whose cookies are used (firefox, chrome, ...).
        proxy: url of a proxy, ``http://``, ``https://``, ``socks4://`` or ``socks5://``.
        extractor_args: arguments for yt-dlp's extractors and their plugins, each as
            ``NAME:KEY=VALUE[,VALUE][;KEY=...]``. They reach nothing else of yt-dlp.
        impersonate: browser whose way of asking is imitated (chrome, firefox, safari, ...), for
            sites that refuse programs. Needs curl-cffi.
    """

    workers: int = 2
    per_host: int = 2
    pause_s: float = 2.0
    network_tries: int = 4
    rate_limited_tries: int = 2
    backoff_s: float = 2.0
    longest_backoff_s: float = 60.0
    longest_retry_after_s: float = 120.0
    refusals_to_stop: int = 3
    rest_s: float = 3600.0
    video_timeout_s: float = 1800.0
    socket_timeout_s: float = 30.0
    max_bytes: int = 8 * 2**30
    cookies: Path | None = None
    cookies_from_browser: str | None = None
    proxy: str | None = field(default=None, repr=False)  # it may hold a password
    extractor_args: tuple[str, ...] = field(default=(), repr=False)  # they may hold tokens
    impersonate: str | None = None

    def __post_init__(self) -> None:
        for name in ("workers", "per_host", "network_tries", "rate_limited_tries", "max_bytes"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        for name in ("video_timeout_s", "socket_timeout_s"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} is {getattr(self, name)}; it must be above 0")
        if not self.pause_s >= 0:
            raise UserError(f"pause_s is {self.pause_s}; it must be 0 or more")
        if self.proxy and not re.match(r"(https?|socks4a?|socks5h?)://[^\s/]", self.proxy):
            raise UserError("the proxy must begin with http://, https://, socks4:// or socks5://")
        if self.cookies and self.cookies_from_browser:
            raise UserError("give a cookies file or a browser to take cookies from, not both")
        parse_extractor_args(self.extractor_args)


def parse_extractor_args(texts: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """What yt-dlp's extractors are given: name of the extractor -> key -> values.

    The same text as for yt-dlp's own ``--extractor-args``; a comma inside a value is ``\\,``.

    Raises:
        UserError: a text has another form. The message does not show its values.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for text in texts:
        name, colon, rest = text.partition(":")
        parts = [part for part in rest.split(";") if part.strip()]
        keys = [part.partition("=")[0].strip().lower().replace("-", "_") for part in parts]
        named = re.fullmatch(r"[a-z0-9][\w.+-]*", name.strip().lower())
        if not (colon and named and parts and all(re.fullmatch(r"\w+", key) for key in keys)):
            raise UserError(
                f"the extractor argument that begins with {name.strip()[:20]!r} is not of the form "
                'NAME:KEY=VALUE, such as "youtube:player_client=web,tv"'
            )
        if any(ord(character) < 32 for character in rest):
            raise UserError(f"an extractor argument of {named[0]} holds a control character")
        for key, part in zip(keys, parts, strict=True):
            values = re.split(r"(?<!\\),", part.partition("=")[2])
            cleaned = [value.replace(r"\,", ",").strip() for value in values]
            found.setdefault(named[0], {})[key] = cleaned
    return found
