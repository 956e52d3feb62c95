"""A web application on a free port of this machine, for tests that ask it or drive a browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from musclemap_data.local_web import listen


@contextmanager
def serving(application: ASGIApp) -> Iterator[str]:
    """The address (host and port) of a running application."""
    listener = listen("127.0.0.1", 0)
    config = uvicorn.Config(application, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
