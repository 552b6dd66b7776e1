"""Every local model and adapter behind OpenAI's API: `python -m engine.serve --port 8000`.

Requests are rows of the decode loops that Compare uses too: callers of different adapters on one base share its steps.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn

from engine.catalog import Model
from engine.errors import Problem
from engine.serving.gate import Gate
from engine.serving.served import Listing, PassagesFor
from engine.serving.service import Service, ours
from engine.settings import LOOPBACK

__all__ = ["Beside", "Service", "create", "listening", "ours", "run", "running"]
BACKLOG = 2048  # uvicorn's own
STARTS_WITHIN = 30.0  # seconds
ENDS_WITHIN = 10  # seconds in which open streams may be told that the server stops


def create(
    key_needed: bool = False,
    more: Sequence[Model] = (),
    passages_for: PassagesFor | None = None,
    collections: Callable[[], Sequence[str]] = tuple,
    at_once: int = 64,
    in_line: int = 64,
) -> Service:
    """The server as an ASGI application.

    `more` are models besides the catalogue's. With `passages_for`, which opens a collection of documents by its name,
    every model is also served as MODEL@COLLECTION for the names that `collections` gives at that moment.
    """
    return Service(Listing(more, passages_for, collections), key_needed, Gate(at_once, in_line))


class Beside:
    """ASGI middleware that lets a Service answer on the port of another application."""

    def __init__(self, app: Any, service: Service):
        self.app, self.service = app, service

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and ours(scope["path"]):
            await self.service(scope, receive, send)
        else:
            await self.app({**scope, "diptych.service": self.service}, receive, send)


class Server(uvicorn.Server):
    """uvicorn that tells open streams of its end before it waits for them."""

    def __init__(self, config: uvicorn.Config, service: Service):
        super().__init__(config)
        self.service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn.Server.shutdown."""
        self.service.stop()
        await super().shutdown(sockets)


def configured(service: Service) -> Server:
    """A server for the service alone."""
    options: dict[str, Any] = {"lifespan": "off", "log_level": "warning", "server_header": False}
    return Server(uvicorn.Config(service, timeout_graceful_shutdown=ENDS_WITHIN, **options), service)


def listening(host: str, port: int) -> socket.socket:
    """A socket on this address. Raises Problem when it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
        made.listen(BACKLOG)  # from here on callers wait instead of being refused, while the server still starts
    except OSError as error:
        made.close()
        raise Problem(f"Port {port} of {host} cannot be used ({error}). Choose another with --port.") from error
    return made


def address(host: str, sock: socket.socket) -> str:
    """The base URL for clients."""
    shown = "localhost" if host in LOOPBACK or host in ("0.0.0.0", "::") else host  # noqa: S104 - only compared
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{sock.getsockname()[1]}/v1"


def run(service: Service, host: str, port: int, tell: Callable[[str], None]) -> None:
    """Serve until Ctrl+C or SIGTERM; `tell` gets the base URL. Raises Problem."""
    sock = listening(host, port)
    tell(address(host, sock))
    configured(service).run([sock])


@contextmanager
def running(service: Service, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve in a thread inside the `with`, for notebooks and tests; gives the base URL."""
    sock, server = listening(host, port), configured(service)
    thread = threading.Thread(target=server.run, args=([sock],), daemon=True, name="serve")
    thread.start()
    until = time.monotonic() + STARTS_WITHIN
    while not server.started and thread.is_alive() and time.monotonic() < until:
        time.sleep(0.01)
    if not server.started:
        raise Problem("The server did not start; the log says why.")
    try:
        yield address(host, sock).replace("localhost", "127.0.0.1")
    finally:
        server.should_exit = True
        thread.join()


if __name__ == "__main__":
    from engine.headless_command import command

    command("engine.headless_serve")
