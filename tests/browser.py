"""A real browser for tests of pages: headless Chromium, shut off from the network.

``tests/conftest.py`` imports the fixture ``chromium_page``, so that every test can ask for it. A
test that does is skipped where there is no Chromium.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, sync_playwright

_FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    # A request to another host fails, and the log has it.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
]  # fmt: skip
_LOCAL_HOSTS = ("127.0.0.1", "localhost")
_LOCAL_SCHEMES = ("file", "data", "blob", "about")


def find_chromium() -> str | None:
    """The path of an installed Chromium, or None."""
    usual = Path("/usr/bin/chromium")
    names = ("chromium", "chromium-browser", "google-chrome")
    return str(usual) if usual.exists() else next(filter(None, map(shutil.which, names)), None)


def leaves_the_machine(url: str) -> bool:
    """Whether a request for ``url`` would go to another host."""
    parts = urlsplit(url)
    return parts.scheme not in _LOCAL_SCHEMES and parts.hostname not in _LOCAL_HOSTS


def watch(page: Page) -> list[str]:
    """A list that grows with what a clean page never does.

    Console errors, uncaught exceptions, and requests (also of WebSockets) to another host.
    """
    log: list[str] = []

    def on_request(url: str) -> None:
        if leaves_the_machine(url):
            log.append(f"request to {url}")

    page.on(
        "console",
        lambda message: log.append(f"console: {message.text}") if message.type == "error" else None,
    )
    page.on("pageerror", lambda error: log.append(f"exception: {error}"))
    page.on("request", lambda request: on_request(request.url))
    page.on("websocket", lambda socket: on_request(socket.url))
    return log


@contextmanager
def open_chromium(folder: Path, *flags: str) -> Iterator[tuple[Page, list[str]]]:
    """A page of 1280 x 900 px in a browser of its own, and its log (:func:`watch`).

    Args:
        folder: an empty one, for what the browser writes.
        flags: more than the usual ones.
    """
    executable = find_chromium()
    if executable is None:
        pytest.skip("there is no Chromium here")
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(folder),
            executable_path=executable,
            args=[*_FLAGS, *flags],
            viewport={"width": 1280, "height": 900},
        )
        page = context.pages[0] if context.pages else context.new_page()
        page.set_default_timeout(10_000)
        yield page, watch(page)
        context.close()


@pytest.fixture
def chromium_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, list[str]]]:
    """See :func:`open_chromium`."""
    with open_chromium(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened
