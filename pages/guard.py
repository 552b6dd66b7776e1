"""The door in front of Gradio: refuses foreign origins and routes nobody needs, and adds protective headers."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote, urlsplit

from engine.settings import LOOPBACK
from pages.entrance import MINUTE, Entrance
from pages.launch import Launch

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# Gradio's routes that fetch addresses, forward requests, show other people's use, or write the app's own code
SHUT = re.compile(
    r"/+(gradio_api/+)?(file=\s*([a-z][a-z0-9+.-]*:|/{2})|file/+https?:|proxy=|monitoring|vibe|dev(/|$)|runs(/|$)"
    r"|process_recording|component_server)",
    re.IGNORECASE,
)
CONTENT_POLICY = (
    # Gradio's page is made of inline scripts and styles, and it compiles the `js` of events
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' data: blob:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors {ancestors}"
)
SENDING = re.compile(r"/+gradio_api/+upload(/|$)", re.IGNORECASE)
LARGEST_SENT = 2**21  # bytes of a visitor's file: the page takes nothing but exported conversations from visitors
SENT_A_MINUTE = 20  # such files, of all visitors together
SPACE_FRAMES = "'self' https://huggingface.co https://*.hf.space"


class Guard:
    """ASGI middleware. `hosts` are names besides the loopback ones under which this app is reached; it may grow.

    `entrance` keeps the logins where there is an owner.
    """

    def __init__(self, app: App, launch: Launch, hosts: set[str], entrance: Entrance | None = None):
        self.app, self.launch, self.hosts, self.entrance = app, launch, hosts, entrance
        self.sent: deque[float] = deque(maxlen=SENT_A_MINUTE)  # when visitors sent files of late, monotonic seconds
        ancestors = SPACE_FRAMES if launch.on_space else "'self'"
        self.headers = [
            (b"content-security-policy", CONTENT_POLICY.format(ancestors=ancestors).encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        scope["diptych.launch"] = self.launch
        refusal = self.refusal(scope)
        if refusal is None:
            return await self.app(scope, receive, self.adding_headers(send))
        await refuse(scope, self.adding_headers(send), refusal)

    def refusal(self, scope: Scope) -> str | None:
        """Why a request is not let in, as a sentence; None when it may pass."""
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if SHUT.match(plain(scope["path"])):
            return "This address is not part of Diptych."
        host, origin = headers.get(b"host", ""), headers.get(b"origin")
        if not self.own(host):
            return "Diptych does not answer under this name."
        if origin is not None and not self.same(origin, host):
            return "Diptych answers only its own page."
        return self.too_much_sent(scope, headers) or self.without_login(scope, headers)

    def too_much_sent(self, scope: Scope, headers: dict[bytes, str]) -> str | None:
        """Why a stranger's file is not taken: Gradio keeps whatever comes for a day."""
        if self.launch.mode != "visitor" or not SENDING.match(plain(scope["path"])):
            return None
        if not headers.get(b"content-length", "").isdigit() or int(headers[b"content-length"]) > LARGEST_SENT:
            return f"Visitors of an open demo may send files of up to {LARGEST_SENT // 2**20} MB."
        now = time.monotonic()
        if len(self.sent) == SENT_A_MINUTE and now - self.sent[0] < MINUTE:
            return "Too many files were sent here within a minute. Wait a minute, then try again."
        self.sent.append(now)
        return None

    def without_login(self, scope: Scope, headers: dict[bytes, str]) -> str | None:
        """Why a request needs a login first, where there is an owner."""
        gradio: Any = scope.get("app")
        if self.entrance is None or not hasattr(gradio, "tokens"):
            return None
        cookies = headers.get(b"cookie", "")
        return self.entrance.refusal(plain(scope["path"]), gradio.tokens, cookies, gradio.cookie_id)

    def own(self, host: str) -> bool:
        """Whether the request's Host is one of ours. On an address for others any name may lead here."""
        name = hostname(host)
        return name in LOOPBACK or name in self.hosts or self.launch.on_space or self.launch.host not in LOOPBACK

    def same(self, origin: str, host: str) -> bool:
        """Whether the page that sends this request is ours: its host and port are those it asks, or known."""
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        if parts.scheme not in ("http", "https"):
            return False
        return bool(parts.netloc) and (parts.netloc.lower() == host.lower() or hostname(parts.netloc) in self.hosts)

    def adding_headers(self, send: Send) -> Send:
        """`send` that puts our headers on every response."""

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                kept = [(k, v) for k, v in message.get("headers", []) if k.lower() not in dict(self.headers)]
                message = {**message, "headers": [*kept, *self.headers]}
            await send(message)

        return with_headers


def hostname(host: str) -> str:
    """The name in a Host header or netloc, without its port and brackets."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def plain(path: str) -> str:
    """The path with every layer of percent-encoding taken off."""
    for _ in range(8):  # more layers than any honest address has
        decoded = unquote(path)
        if decoded == path:
            break
        path = decoded
    return path


async def refuse(scope: Scope, send: Send, sentence: str) -> None:
    """Answer 403 with a sentence."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    body = sentence.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})
