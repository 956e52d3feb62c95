"""Serve a folder over HTTP on this machine only: a stand-in for the sites videos come from."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from musclemap_data.catalog import load_activities
from musclemap_data.manifest import read_manifest, write_manifest


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...

    def handle(self) -> None:
        # yt-dlp looks at the first bytes and hangs up: no reason for a traceback.
        with suppress(ConnectionError):
            super().handle()


@contextmanager
def serve_folder(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback until the end of the block; gives the base url."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def serve_manifest(manifest: Path, out: Path) -> Iterator[None]:
    """Serve the videos of a manifest on loopback until the end of the block.

    Args:
        manifest: its urls are paths relative to it.
        out: where the same clips are written, with urls to download them from.
    """
    clips = read_manifest(manifest, load_activities())
    with serve_folder(manifest.parent) as base_url:
        write_manifest(out, [replace(clip, url=f"{base_url}/{clip.url}") for clip in clips])
        yield
