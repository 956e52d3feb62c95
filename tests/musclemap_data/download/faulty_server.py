"""A server of videos on this machine on which things go wrong: ``/FAULT/NAME.mp4``."""

from __future__ import annotations

import re
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import urlsplit

PAGE = b"<!DOCTYPE html><html><head><title>Page</title></head><body>No video here</body></html>"
FEED = (
    b'<?xml version="1.0"?><rss version="2.0"><channel><title>Many</title>'
    + b"".join(
        b"<item><title>v%d</title><link>http://127.0.0.1:1/%d.mp4</link></item>" % (n, n)
        for n in range(200)
    )
    + b"</channel></rss>"
)


@dataclass(frozen=True)
class Request:
    """What the server was asked."""

    method: str
    path: str
    byte_range: str | None
    cookie: str | None
    agent: str | None
    at_s: float


class FaultyServer:
    """Serves the files of ``videos`` by name, each in the way that the folder of its path says.

    Faults: ``none``, ``status-NNN`` (429 with Retry-After 1, ``status-429-7200`` with 7200),
    ``media-NNN`` (every second request, which is yt-dlp's for the file after the look at the url),
    ``reset`` (in mid-body), ``short`` and ``long`` (Content-Length), ``stall`` (in mid-body),
    ``silent`` (no answer), ``drip`` (a byte at a time), ``slow`` (20 kB/s), ``redirect``, ``html``,
    ``empty``, ``playlist``, ``cookie`` (403 without one).

    Attributes:
        requests: every request, in order.
        lifted: when set, every fault is as ``none``.
        bytes_sent: of bodies.
    """

    def __init__(self, videos: dict[str, bytes]) -> None:
        self.videos = videos
        self.requests: list[Request] = []
        self.lifted = False
        self.bytes_sent = 0
        self.ended = threading.Event()
        owner = self

        class Handler(_Handler):
            server_state = owner

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def url(self, fault: str, name: str = "video.mp4") -> str:
        return f"http://{self.address}/{fault}/{name}"

    def asked(self, fault: str) -> list[Request]:
        return [request for request in self.requests if request.path.startswith(f"/{fault}/")]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server_state: FaultyServer

    def log_message(self, *_: object) -> None: ...

    def handle(self) -> None:
        with suppress(ConnectionError):
            super().handle()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        state = self.server_state
        path = urlsplit(self.path).path  # a proxy is asked for whole addresses
        state.requests.append(
            Request(
                self.command,
                path,
                self.headers["Range"],
                self.headers["Cookie"],
                self.headers["User-Agent"],
                time.monotonic(),
            )
        )
        _, fault, name = path.split("/", 2)
        body = state.videos[name]
        if state.lifted or (fault == "cookie" and self.headers["Cookie"]):
            fault = "none"
        if fault.startswith("media-"):
            fault = "none" if len(state.asked(fault)) % 2 else fault.replace("media", "status")
        if fault.startswith("status-"):
            _, status, *retry_after = fault.split("-")
            self.send_response(int(status))
            if status == "429":
                self.send_header("Retry-After", *(retry_after or ["1"]))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif fault == "cookie":
            self.send_error(403)
        elif fault == "silent":
            state.ended.wait()
        elif fault == "redirect":
            self.send_response(302)
            self.send_header("Location", self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif fault in ("html", "playlist"):
            kind = "text/html" if fault == "html" else "application/rss+xml"
            self._send({"html": PAGE, "playlist": FEED}[fault], kind=kind)
        elif fault == "empty":
            self._send(b"")
        elif fault in ("short", "long"):
            self._send(body, length=len(body) // 2 if fault == "short" else 2 * len(body))
        else:
            self._send_file(body, fault)

    def _send(self, body: bytes, *, kind: str = "video/mp4", length: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self._write(body)

    def _write(self, body: bytes) -> None:
        if self.command != "HEAD":
            self.wfile.write(body)
            self.server_state.bytes_sent += len(body)

    def _send_file(self, body: bytes, fault: str) -> None:
        start = 0
        if asked := re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or ""):
            start = int(asked[1])
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        rest = body[start:]
        if fault in ("reset", "stall"):
            self._write(rest[: len(rest) // 2])
            if fault == "stall":
                self.server_state.ended.wait()
            time.sleep(0.2)  # let the half arrive before the connection is torn
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
        elif fault in ("drip", "slow"):
            size, pause_s = (1, 0.05) if fault == "drip" else (2000, 0.1)
            for offset in range(0, len(rest), size):
                self._write(rest[offset : offset + size])
                if self.server_state.ended.wait(pause_s) or self.server_state.lifted:
                    return
        else:
            self._write(rest)
