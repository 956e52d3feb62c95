"""Serves the page on this machine until Ctrl-C."""

from __future__ import annotations

import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path

from musclemap_data.browse.app import create_app
from musclemap_data.errors import UserError


def run_server(
    data_dir: Path,
    host: str,
    port: int | None,
    *,
    open_page: bool = False,
    on_ready: Callable[[str], None],
) -> None:
    """Serve until Ctrl-C.

    Args:
        host: address or name to listen on.
        port: 0 for any free one; None for 8000, or any free one if that is taken.
        open_page: open it in the user's browser, where there is a display.
        on_ready: called with the address of the page once it can be opened.

    Raises:
        UserError: there is no data set, or the address cannot be listened on.
    """
    import uvicorn

    everywhere = host in ("0.0.0.0", "::")  # noqa: S104
    names = (socket.gethostname(),) if everywhere else (host, socket.gethostname())
    app = create_app(data_dir, host_names=names)
    listener = listen(host, port)
    number = listener.getsockname()[1]
    shown = "localhost" if everywhere else f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{number}/"
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan="off", server_header=False
    )
    on_ready(address)
    if open_page and _has_display():
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        pass  # how one ends it
    finally:
        listener.close()


def _has_display() -> bool:
    """Without one, Linux would start a browser inside the terminal."""
    return sys.platform != "linux" or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )


def listen(host: str, port: int | None) -> socket.socket:
    """A listening socket.

    Args:
        host: address or name.
        port: 0 for any free one; None for 8000, or any free one if that is taken.

    Raises:
        UserError: it cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for number in (8000, 0) if port is None else (port,):
        # asyncio sets TCP_NODELAY only where the protocol is named; without it, 40 ms a request.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, number))
            listener.listen(128)
            return listener
        except OSError as error:
            listener.close()
            if port is not None or number == 0:
                raise UserError(
                    f"cannot listen on {host} port {number}: {error.strerror or error}. "
                    "Choose another --port (0: any free one) or --host."
                ) from error
    raise AssertionError  # the loop returns or raises
