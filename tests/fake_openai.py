"""A scripted OpenAI-compatible server on real loopback sockets: says what a test tells it, remembers what it got."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Script = Callable[[BaseHTTPRequestHandler], None]


@dataclass(frozen=True)
class Recorded:
    """One request as it came; header names are lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body as JSON."""
        return json.loads(self.body)


class FakeOpenAI:
    """Answers request number n with script number n, and further ones with the last. Use it with `with`.

    `gone` is set when a script found that the client had hung up.
    """

    def __init__(self, *scripts: Script):
        self.scripts = scripts or (words("Hello"),)
        self.requests: list[Recorded] = []
        self.gone = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        serve = {"poll_interval": 0.02}
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs=serve, daemon=True)

    def __enter__(self) -> FakeOpenAI:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                fake.requests.append(Recorded(self.path, headers, body))
                script = fake.scripts[min(len(fake.requests), len(fake.scripts)) - 1]
                try:
                    script(self)
                except (BrokenPipeError, ConnectionResetError):
                    fake.gone.set()

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        return Handler


def chunk(content: Any = None, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    """One chat.completion.chunk."""
    choice = {"index": 0, "delta": {**delta, "content": content}, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}


def fragment(
    index: int | None = 0, id: str | None = None, name: str | None = None, arguments: str | None = None
) -> dict[str, Any]:
    """A chunk with a part of a tool call."""
    return chunk(tool_calls=[{"index": index, "id": id, "function": {"name": name, "arguments": arguments}}])


def usage(prompt: int, completion: int) -> dict[str, Any]:
    """The last chunk that include_usage asks for."""
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return {**chunk(), "choices": [], "usage": counts}


def event(data: Any) -> bytes:
    """A server-sent event."""
    return b"data: " + json.dumps(data).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def raw(*parts: bytes, gap: float = 0.0, status: int = 200, mark: str = "text/event-stream", **more: Any) -> Script:
    """Exactly these bytes as a body that ends with the connection; `more` are headers, with _ for -."""

    def script(handler: BaseHTTPRequestHandler) -> None:
        start(handler, status, {"Content-Type": mark, **{k.replace("_", "-"): v for k, v in more.items()}})
        for part in parts:
            handler.wfile.write(part)
            handler.wfile.flush()
            time.sleep(gap)

    return script


def stream(chunks: Iterable[Any], done: bool = True, gap: float = 0.0) -> Script:
    """These chunks as a stream."""
    return raw(*[event(c) for c in chunks], *([DONE] if done else []), gap=gap)


def words(*pieces: str, finish: str = "stop", gap: float = 0.0, counts: tuple[int, int] | None = None) -> Script:
    """A well-behaved answer."""
    tail = [usage(*counts)] if counts else []
    return stream([chunk("", role="assistant"), *map(chunk, pieces), chunk(finish=finish), *tail], gap=gap)


def cut(*pieces: str, finish: str | None = None) -> Script:
    """A chunked body that breaks off after these words, and after the reason if there is one."""

    def script(handler: BaseHTTPRequestHandler) -> None:
        handler.protocol_version = "HTTP/1.1"
        start(handler, 200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})
        for part in [*map(chunk, pieces), *([chunk(finish=finish)] if finish else [])]:
            data = event(part)
            handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    return script


def refuse(status: int, body: Any = "", **headers: Any) -> Script:
    """An error: a text as it is, anything else as JSON."""
    data = body if isinstance(body, str) else json.dumps(body)
    mark = "text/html" if data.startswith("<") else "application/json"
    return raw(data.encode(), status=status, mark=mark, **headers)


def complain(status: int, message: str, param: str | None = None, **headers: str) -> Script:
    """An error in OpenAI's shape."""
    return refuse(status, {"error": {"message": message, "param": param, "type": "e", "code": None}}, **headers)


def forever(part: bytes, gap: float = 0.02, first: bytes = b"", status: int = 200) -> Script:
    """The same bytes again and again until the client hangs up."""

    def script(handler: BaseHTTPRequestHandler) -> None:
        start(handler, status, {"Content-Type": "text/event-stream"})
        handler.wfile.write(first)
        while True:
            handler.wfile.write(part)
            time.sleep(gap)

    return script


def hang(before_status: bool = True) -> Script:
    """Nothing at all, until the client hangs up."""

    def script(handler: BaseHTTPRequestHandler) -> None:
        if not before_status:
            start(handler, 200, {"Content-Type": "text/event-stream"})
        while handler.connection.recv(1):
            pass
        raise ConnectionResetError

    return script


def start(handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str]) -> None:
    """Status line and headers of a body that ends with the connection."""
    handler.close_connection = True
    handler.send_response(status)
    for name, value in {**headers, "Connection": "close"}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.flush()
