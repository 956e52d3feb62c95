"""Pages on this machine: who may ask them, their headers, and serving until Ctrl-C.

They answer only requests whose Host header is ``localhost``, an IP address or the name that the
server was told to listen on: a foreign name that an attacker points at this machine (DNS rebinding)
gets no data.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from musclemap_data.errors import UserError

SECURITY_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; media-src 'self' blob:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def guarded(app: ASGIApp, host_names: tuple[str, ...] = ()) -> ASGIApp:
    """The application with the check of the Host header before it and safe headers after it.

    Args:
        app: what answers.
        host_names: names besides ``localhost`` under which it may be asked.
    """
    names = {"localhost", *(name.lower() for name in host_names)}

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message["headers"]}
                extra = SECURITY_HEADERS | {"cache-control": "no-cache"}
                message["headers"] = [
                    *message["headers"],
                    *(
                        (name.encode(), value.encode())
                        for name, value in extra.items()
                        if name.encode() not in present
                    ),
                ]
            await send(message)

        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        if _is_own_host(host, names):
            await app(scope, receive, send_with_headers)
        else:
            refusal = error_answer(421, "this server does not answer under that name")
            await refusal(scope, receive, send_with_headers)

    return answer


def _is_own_host(header: str, names: set[str]) -> bool:
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(:\d{1,5})?", header)
    if not found:
        return False
    name = found[1].strip("[]").lower()
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in names
    return True


def check_own_page(request: Request) -> None:
    """Refuse what another site's page sends: its Origin is not the host that is asked.

    Raises:
        HTTPException: 403.
    """
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise HTTPException(403, "only this server's own page may send anything")


def error_answer(status: int, message: str) -> Response:
    """A refusal as the pages read it: JSON with ``error``."""
    return JSONResponse({"error": message}, status)


def serve(
    make_app: Callable[[tuple[str, ...]], ASGIApp],
    host: str,
    port: int | None,
    *,
    open_page: bool = False,
    on_ready: Callable[[str], None],
) -> None:
    """Serve until Ctrl-C.

    Args:
        make_app: makes the application that may be asked under these names besides ``localhost``.
        host: address or name to listen on.
        port: 0 for any free one; None for 8000, or any free one if that is taken.
        open_page: open it in the user's browser, where there is a display.
        on_ready: called with the address of the page once it can be opened.

    Raises:
        UserError: the address cannot be listened on.
    """
    import uvicorn

    everywhere = host in ("0.0.0.0", "::")  # noqa: S104
    names = (socket.gethostname(),) if everywhere else (host, socket.gethostname())
    app = make_app(names)
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
