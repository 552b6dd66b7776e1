"""The wire to an endpoint: a checked address, fixed headers, limits on time and size, and a way to stop at once."""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

import httpx2

from engine.errors import Problem

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0  # without a single byte; a local server may need that long to load a model
REPLY_SECONDS = 600.0  # for a whole reply, however steadily it drips
EVENT_BYTES = 4 * 2**20  # read without an event: far beyond any real one, far below what hurts
REPLY_BYTES = 64 * 2**20  # 32,768 tokens in events of 300 bytes are 10 MiB
ERROR_BYTES = 64 * 2**10  # of an error's body; the rest is not read
HEAD_BYTES = 400  # kept of the answer's start, to tell what it was when it was no stream

PORTS = {"http": 80, "https": 443}
PORT_NUMBERS = frozenset({None, *range(1, 2**16)})

# All that is ever sent. The SDK adds facts about this machine, and whatever OPENAI_CUSTOM_HEADERS holds.
SENT_HEADERS = frozenset(
    {"host", "connection", "content-length", "content-type", "accept", "user-agent", "authorization"}
)


def address(endpoint: str | None) -> httpx2.URL:
    """The base URL that a person gave, checked. Raises Problem, which never repeats it: it may hold a secret.

    Read with the parser that also makes the connection, so that no two readings of one address can differ.
    Which addresses a visitor may name at all is decided elsewhere (engine.access); Ollama lives on loopback.
    """
    try:
        url = httpx2.URL((endpoint or "").strip())
        url.raw_host.decode("ascii").encode("idna")  # as the look-up will; it fails on labels too long or empty
    except (httpx2.InvalidURL, UnicodeError):
        raise Problem("The endpoint's address cannot be read. It should look like https://api.openai.com/v1") from None
    if url.scheme not in PORTS or not url.host or url.port not in PORT_NUMBERS:
        raise Problem("The endpoint's address must begin with http:// or https:// and a host, as in https://host/v1")
    if url.userinfo or url.query or url.fragment:
        raise Problem(
            "The endpoint's address must hold no user name, password, '?' or '#': addresses are shown and stored. "
            "Put the key into the key field."
        )
    return url.copy_with(path=url.path.rstrip("/").removesuffix("/chat/completions"))


def origin(url: httpx2.URL) -> tuple[str, str, int]:
    """What a key is bound to: scheme, host and port."""
    return url.scheme, url.host, url.port or PORTS[url.scheme]


def place(url: httpx2.URL) -> str:
    """The host, with the port where the address names one, as sentences call it."""
    return url.netloc.decode("ascii")


@functools.cache
def certificates() -> ssl.SSLContext:
    """The authorities that are trusted: the system's, or SSL_CERT_FILE's; reading them takes 20 ms."""
    return httpx2.create_ssl_context()


class Wire(httpx2.BaseTransport):
    """Carries the requests of one reply, and keeps what the SDK does not tell of the answer.

    Proxies of the environment are not used (trust_env=False): an HTTP_PROXY meant for something else would see the
    key on its way to a plain http server, and would take loopback away from Ollama. Compression is refused, so
    that a byte on the wire is a byte in memory.
    """

    def __init__(self) -> None:
        self.done = False  # whether "[DONE]" has come
        self.torn = False  # whether the stream ended within a line
        self.events = 0
        self.head = b""
        self.expired = False
        self.stopped = threading.Event()
        self._socket: socket.socket | None = None
        self._inner = httpx2.HTTPTransport(verify=certificates(), trust_env=False)
        self._clock = threading.Timer(REPLY_SECONDS, self._expire)
        self._clock.daemon = True
        self._clock.start()

    def client(self) -> httpx2.Client:
        """An HTTP client over this wire that follows no redirect: it could lead the key to another host."""
        timeout = httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
        return httpx2.Client(transport=self, timeout=timeout, follow_redirects=False, trust_env=False)

    def stop(self) -> None:
        """Break the connection, also under a read that is waiting; any thread may call."""
        self.stopped.set()
        self._break()

    def close(self) -> None:
        """Give everything back; what is still being received is dropped."""
        self._clock.cancel()
        self._inner.close()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send with the headers of SENT_HEADERS only; the body that comes back is read under the limits."""
        kept = [(name, value) for name, value in request.headers.items() if name in SENT_HEADERS]
        request.headers = httpx2.Headers([*kept, ("accept-encoding", "identity")])
        request.extensions = {**request.extensions, "trace": self._trace}
        response = self._inner.handle_request(request)
        received = cast(httpx2.SyncByteStream, response.stream)
        packed = response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity")
        if packed and response.is_success:
            received.close()
            raise Problem(
                f"{place(request.url)} sent a compressed answer although it was asked not to. "
                "Switch compression off there, or use another endpoint."
            )
        if response.is_success:
            body = self._lines(received, place(request.url))
        else:
            body = beginning(() if packed else received)
        unpacked = {name: value for name, value in response.headers.items() if name != "content-encoding"}
        return httpx2.Response(
            response.status_code,
            headers=unpacked,
            stream=Body(body, received.close),
            extensions=response.extensions,
        )

    def _lines(self, chunks: Iterable[bytes], where: str) -> Iterator[bytes]:
        """The stream's events, each whole, in valid UTF-8 and ended; comments and other fields are left out.

        The SDK's own reader knows no limit on a line, fails on a broken character and takes a bare "event:" or
        "retry:" line for an event with empty JSON.
        """
        line, idle, total = bytearray(), 0, 0
        for chunk in chunks:
            self.head += chunk[: max(0, HEAD_BYTES - len(self.head))]
            start, idle, total = 0, idle + len(chunk), total + len(chunk)
            while (end := chunk.find(b"\n", start)) >= 0:
                line += chunk[start:end]
                if event := self._event(line):
                    idle = len(chunk) - end
                    yield event
                line.clear()
                start = end + 1
            line += chunk[start:]
            if idle > EVENT_BYTES or total > REPLY_BYTES:
                raise Problem(
                    f"{where} sent {(idle if idle > EVENT_BYTES else total) >> 20} MiB without "
                    f"{'one readable event' if idle > EVENT_BYTES else 'coming to an end'}, so Diptych hung up. "
                    "Check that the address is that of an OpenAI-compatible API."
                )
        self.torn = bool(line)
        if event := self._event(line):
            yield event

    def _event(self, line: bytearray) -> bytes:
        """One line of the stream as an event of its own; empty when it carries no data."""
        field, _, value = bytes(line).removeprefix(b"\xef\xbb\xbf").partition(b":")
        value = value.strip()
        if field != b"data" or not value:
            return b""
        self.events += 1
        self.done = self.done or value.startswith(b"[DONE]")
        return b"data: " + value.decode("utf-8", "replace").encode() + b"\n\n"

    def _trace(self, name: str, info: Mapping[str, Any]) -> None:
        """Remember the socket as httpcore makes it: the only way to end a read that waits in another thread."""
        if name.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._socket = info["return_value"].get_extra_info("socket")
            if self.stopped.is_set() or self.expired:
                self._break()

    def _expire(self) -> None:
        self.expired = True
        self._break()

    def _break(self) -> None:
        if self._socket is not None:
            # The plain socket's shutdown: SSLSocket's own also drops the state that the reader is using.
            with contextlib.suppress(OSError):  # closed already, which is what was wanted
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class Body(httpx2.SyncByteStream):
    """A response body made of chunks, with the close of the body it was made from."""

    def __init__(self, chunks: Iterator[bytes], close: Callable[[], None]):
        self._chunks, self._close = chunks, close

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def close(self) -> None:
        self._close()


def beginning(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """An error's body up to ERROR_BYTES, or up to where the connection broke: its status says the most."""
    left = ERROR_BYTES
    try:
        for chunk in chunks:
            yield chunk[:left]
            left -= len(chunk)
            if left <= 0:
                return
    except httpx2.TransportError:
        return
