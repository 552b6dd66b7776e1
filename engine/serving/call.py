"""One HTTP request and its response, straight on ASGI, so that a client who leaves is noticed at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from engine.serving.refusals import Refusal, bad

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MOST_BYTES = 4 * 2**20  # of a body
BODY_SECONDS = 60.0  # for a body to come in
STUCK_SECONDS = 60.0  # that a reader may take nothing of what waits for it
JSON = "application/json"


class Left(Exception):
    """The client hung up."""


class Call:
    """What came and what goes back. `status` is 0 until the response began."""

    def __init__(self, scope: Scope, receive: Receive, send: Send):
        self._scope, self._receive, self._send = scope, receive, send
        self.method, self.path = scope["method"], scope["path"]
        self.headers = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.arrived = time.perf_counter()
        self.status = 0
        self.streaming = False
        self.route = "other"

    @property
    def secret(self) -> str | None:
        """The bearer key; None where there is none."""
        scheme, _, value = self.headers.get("authorization", "").partition(" ")
        return value.strip() or None if scheme.lower() == "bearer" else None

    @property
    def host(self) -> str:
        """The name that the request was sent to, without its port."""
        try:
            return (urlsplit(f"//{self.headers.get('host', '')}").hostname or "").lower()
        except ValueError:
            return ""

    @property
    def foreign(self) -> bool:
        """Whether a page of another origin sends this: browsers say so, and do not ask the person."""
        origin = self.headers.get("origin")
        if origin is None:
            return False
        try:
            return urlsplit(origin).netloc.lower() != self.headers.get("host", "").lower()
        except ValueError:
            return True

    async def body(self) -> bytes:
        """The whole body. Raises Refusal when it is too long or too slow, and Left."""
        announced = self.headers.get("content-length", "0")
        if announced.isdigit() and int(announced) > MOST_BYTES:
            raise self._too_long()
        found = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while True:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise Left
                    found += message.get("body", b"")
                    if len(found) > MOST_BYTES:
                        raise self._too_long()
                    if not message.get("more_body"):
                        return bytes(found)
        except TimeoutError:
            raise bad(f"The body did not come within {BODY_SECONDS:.0f} seconds.") from None

    async def left(self) -> None:
        """Return when the client has hung up; to be called once the body is read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def respond(self, status: int, body: bytes, kind: str = JSON, headers: dict[str, str] | None = None) -> None:
        """Send a whole response."""
        length = {"content-length": str(len(body))}
        await self._start(status, {"content-type": kind} | length | (headers or {}))
        await self._send({"type": "http.response.body", "body": body})

    async def stream(self) -> None:
        """Begin a stream of server-sent events; proxies are asked not to hold it back."""
        self.streaming = True
        kind = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        await self._start(200, kind | {"x-accel-buffering": "no"})

    async def send(self, data: bytes) -> None:
        """Send more of a stream; waits while a slow reader has enough. Raises Left where it reads no more at all."""
        try:
            async with asyncio.timeout(STUCK_SECONDS):
                await self._send({"type": "http.response.body", "body": data, "more_body": True})
        except TimeoutError:
            raise Left from None

    async def end(self) -> None:
        """End a stream."""
        await self._send({"type": "http.response.body", "body": b""})

    async def refuse(self, refusal: Refusal) -> None:
        """Tell of an error: as a response, or as the last event of a stream that has begun."""
        if self.streaming:
            await self.send(b"data: " + refusal.body + b"\n\n")
            await self.end()
        elif not self.status:
            await self.respond(refusal.status, refusal.body, headers=refusal.headers)

    async def _start(self, status: int, headers: dict[str, str]) -> None:
        self.status = status
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    def _too_long(self) -> Refusal:
        return Refusal(413, f"The body is longer than {MOST_BYTES // 2**20} MB.")
