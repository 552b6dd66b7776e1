"""The server as an ASGI application: routes, keys, what becomes of errors, and its end."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from engine.serving import answering
from engine.serving.call import Call, Left, Receive, Scope, Send
from engine.serving.description import description
from engine.serving.embedding import embeddings
from engine.serving.flow import Bell, Flow
from engine.serving.gate import Gate
from engine.serving.intake import in_thread
from engine.serving.keys import PREFIX, Key, key_of
from engine.serving.metrics import Metrics
from engine.serving.refusals import Refusal, no_key, no_model, refusal_of, stopped
from engine.serving.seats import Seat, Seats
from engine.serving.served import Listing, entry
from engine.serving.wire import coded
from engine.settings import LOOPBACK

log = logging.getLogger(__name__)
Handler = Callable[["Service", Call, "Key | None", bytes], Awaitable[None]]
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
NEEDS_KEY = "This server needs a key: send it as 'Authorization: Bearer sk-diptych-...'."
WRONG_KEY = "This key is not known here, or it was revoked. Ask the owner of this server for another."


class Service:
    """Answers OpenAI's API. `key_needed` unless only this machine reaches the server."""

    def __init__(
        self,
        listing: Listing | None = None,
        key_needed: bool = False,
        gate: Gate | None = None,
        pool: Callable[[], Any] | None = None,
    ):
        self.listing, self.key_needed = listing or Listing(), key_needed
        self.gate, self.metrics = gate or Gate(), Metrics()
        self.seats = Seats(self.gate, pool)
        self.stopping = False
        self._flows: set[Flow] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._bell: Bell | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        call = Call(scope, receive, send)
        try:
            handler, key = self._admitted(call)
            body = await call.body() if call.method == "POST" else b""
            await self._watched(call, handler(self, call, key, body))
        except Left:
            self.metrics.disconnects += 1
        except Exception as error:
            await self._refused(call, error)
        self.metrics.requests[call.route, call.status] += 1

    def flow(self, seat: Seat, whole: bool) -> Flow:
        """A new flow of events from a seat into this event loop, which the end of the server breaks off."""
        loop = asyncio.get_running_loop()
        if self._bell is None or loop is not self._loop:
            self._loop, self._bell = loop, Bell(loop)
        if self.stopping:
            raise stopped()
        seat.begin()
        flow = Flow(self._bell, seat.over, whole)
        self._flows.add(flow)
        return flow

    def done(self, flow: Flow) -> None:
        """Forget a flow."""
        self._flows.discard(flow)

    def stop(self) -> None:
        """Break off every reply with an error that its client can read, and take no more; any thread may call."""
        self.stopping = True
        if self._loop and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._break_off)

    def _break_off(self) -> None:
        self.gate.close(stopped())
        for flow in tuple(self._flows):
            flow.fail(stopped())

    def _admitted(self, call: Call) -> tuple[Handler, Key | None]:
        """Who answers this request, and whose it is. Raises Refusal."""
        if not self.key_needed and call.host not in LOOPBACK:
            raise Refusal(403, "This server answers only under the names of this machine.", code="wrong_host")
        if call.foreign:
            raise Refusal(403, "This server answers programs, not pages of other sites.", code="wrong_origin")
        call.route, handlers = route(call.path)
        if not handlers:
            raise Refusal(404, f"There is nothing at {call.method} {call.path[:200]}.", code="unknown_url")
        if call.method not in handlers:
            raise Refusal(405, f"{call.path[:200]} takes {' and '.join(handlers)}.", code="method_not_allowed")
        if self.stopping and call.route != "/healthz":
            raise stopped()
        return handlers[call.method], None if call.route in OPEN else self._key(call)

    def _key(self, call: Call) -> Key | None:
        """The caller's key; None where none is needed. A key of ours must be good even then."""
        secret = call.secret
        if secret is None and self.key_needed:
            raise no_key(NEEDS_KEY)
        key = key_of(secret) if secret else None
        known = key is not None and key.revoked is None
        if not known and (self.key_needed or (secret or "").startswith(PREFIX)):
            raise no_key(WRONG_KEY)
        return key

    async def _watched(self, call: Call, answer: Awaitable[None]) -> None:
        """Answer, unless the client leaves first: then everything that was begun for it is taken back. Raises Left."""
        work = asyncio.ensure_future(answer)
        watch = asyncio.create_task(call.left())
        try:
            await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
                return
            raise Left
        finally:
            watch.cancel()
            if not work.done():
                work.cancel()
                await asyncio.wait({work})
                if not work.cancelled() and (error := work.exception()):
                    log.debug("a reply broke off after its client left", exc_info=error)

    async def _refused(self, call: Call, error: Exception) -> None:
        refusal = refusal_of(error)
        self.metrics.broken_streams += call.streaming
        try:
            await call.refuse(refusal)
        except OSError:
            log.debug("nobody was there to read about an error", exc_info=True)


async def models(service: Service, call: Call, key: Key | None, body: bytes) -> None:
    """GET /v1/models and /v1/models/NAME."""
    if call.path.rstrip("/") == "/v1/models":
        entries = await in_thread(service.listing.entries)
        await call.respond(200, coded({"object": "list", "data": entries}))
        return
    name = call.path.removeprefix("/v1/models/")
    names = await in_thread(service.listing.names)
    if name not in names:
        raise no_model(name, names)
    await call.respond(200, coded(entry(name)))


async def healthz(service: Service, call: Call, key: Key | None, body: bytes) -> None:
    """GET /healthz: the process answers."""
    await call.respond(200, b'{"status":"ok"}')


async def readyz(service: Service, call: Call, key: Key | None, body: bytes) -> None:
    """GET /readyz: another request would be taken now."""
    full = service.gate.running >= service.gate.at_once and service.gate.waiting >= service.gate.in_line
    await call.respond(503 if full else 200, b'{"status":"busy"}' if full else b'{"status":"ready"}')


async def metrics(service: Service, call: Call, key: Key | None, body: bytes) -> None:
    """GET /metrics, for the owner: without a key only where none is needed."""
    if not (key.owner if key else not service.key_needed):
        raise Refusal(403, "This key may not read the metrics. The owner can make one that may.", code="no_permission")
    text = service.metrics.text(service.gate.running, service.gate.waiting)
    await call.respond(200, text.encode(), PROMETHEUS)


async def openapi(service: Service, call: Call, key: Key | None, body: bytes) -> None:
    """GET /v1/openapi.json: what this server takes."""
    await call.respond(200, json.dumps(description()).encode())


OPEN = frozenset({"/healthz", "/readyz"})  # told to anybody, without details
ROUTES: dict[str, dict[str, Handler]] = {
    "/v1/models": {"GET": models},
    "/v1/chat/completions": {"POST": answering.chat},
    "/v1/completions": {"POST": answering.complete},
    "/v1/embeddings": {"POST": embeddings},
    "/v1/openapi.json": {"GET": openapi},
    "/healthz": {"GET": healthz},
    "/readyz": {"GET": readyz},
    "/metrics": {"GET": metrics},
}


def route(path: str) -> tuple[str, dict[str, Handler]]:
    """The route that a path belongs to and its handlers by method; none for a path that is not ours."""
    plain = path.rstrip("/") or "/"
    if plain.startswith("/v1/models/"):
        return "/v1/models/{model}", {"GET": models}
    return (plain, ROUTES[plain]) if plain in ROUTES else ("other", {})


def ours(path: str) -> bool:
    """Whether a path on a shared port belongs to this server."""
    return path == "/v1" or path.startswith("/v1/") or (path.rstrip("/") in ROUTES)
