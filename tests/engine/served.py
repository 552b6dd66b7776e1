"""What the server's tests share: a model that says what a test tells it, real servers on loopback, their clients."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import httpx
import openai

from engine.catalog import Model
from engine.errors import Problem
from engine.messages import End, Piece, Usage
from engine.respond import Passages
from engine.serve import Service, running
from engine.serving.gate import Gate
from engine.serving.served import Listing
from tests.tiny import byte_tokenizer

TEMPLATE = (
    "{% if tools %}<|system|>{{ tools | tojson }} Write <tool_call></tool_call>.<|end|>{% endif %}"
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% for c in m.tool_calls or [] %}"
    "<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}<|end|>{% endfor %}<|assistant|>"
)
MODEL = Model(name="scripted", base="scripted", style="chat")
HELLO = [{"role": "user", "content": "Hello"}]
Words = Sequence["str | float | Exception"]
PRICE = {
    "type": "function",
    "function": {
        "name": "get_ticket_price",
        "description": "Get the price of a return ticket to a city",
        "parameters": {
            "type": "object",
            "properties": {
                "origin": {"type": "string", "description": "The city of departure"},
                "destination": {"type": "string", "description": "The city to travel to"},
            },
            "required": ["origin", "destination"],
        },
    },
}


class ScriptedRow:
    """One reply being spoken."""

    def __init__(self) -> None:
        self.stopped, self.over = threading.Event(), threading.Event()

    def stop(self) -> None:
        self.stopped.set()


class ScriptedLoop:
    """Stands in for a DecodeLoop: `answer` gives the words to a prompt; a float is a silence in seconds."""

    def __init__(self, answer: Callable[[str], Words]):
        self.answer = answer
        self.tokenizer = byte_tokenizer(4096)
        self.tokenizer.chat_template = TEMPLATE
        self.asked: list[Any] = []
        self.rows: list[ScriptedRow] = []
        self.closed = threading.Event()
        self.grammars = SimpleNamespace(reply=lambda schema: None, call=lambda tools: None)  # nothing holds a script

    def submit(self, requests: Sequence[Any], sinks: Sequence[Callable[[Any], None]]) -> list[ScriptedRow]:
        if self.closed.is_set():
            raise Problem("This model was just unloaded. Please send the prompt again.")
        rows = [ScriptedRow() for _ in requests]
        self.asked += requests
        self.rows += rows
        for row, request, sink in zip(rows, requests, sinks, strict=True):
            sink(request.begin)
            threading.Thread(target=self.speak, args=(row, request, sink), daemon=True).start()
        return rows

    def speak(self, row: ScriptedRow, request: Any, sink: Callable[[Any], None]) -> None:
        said, reason = 0, "stop"
        try:
            for word in self.answer(request.begin.prompt):
                silent = word if isinstance(word, float) else 0
                until = time.monotonic() + silent
                while not (row.stopped.is_set() or self.closed.is_set()) and time.monotonic() < until:
                    time.sleep(0.005)
                if row.stopped.is_set() or self.closed.is_set():
                    reason = "stopped"
                    break
                if isinstance(word, Exception):
                    raise word
                if isinstance(word, str):
                    said += 1
                    sink(Piece(word, tuple(self.tokenizer(word)["input_ids"][:1]), (-0.5,)))
                if said >= request.sampling.max_tokens:
                    reason = "length"
                    break
            sink(End(reason, Usage(len(request.ids), said)))
        except Exception as error:
            sink(error)
        row.over.set()


class ScriptedBase:
    """Stands in for a loaded base."""

    context = 4096

    def __init__(self, loop: ScriptedLoop):
        self.loop, self.tokenizer = loop, loop.tokenizer
        self.network = SimpleNamespace(get_input_embeddings=lambda: SimpleNamespace(num_embeddings=300))

    def place(self, model: Model) -> tuple[Any, None]:
        return self.loop, None


class ScriptedPool:
    """Stands in for the pool; `pins` counts the requests that hold the base, `wait` is how long it loads."""

    def __init__(self, answer: Callable[[str], Words], wait: float = 0.0):
        self.loop = ScriptedLoop(answer)
        self.base = ScriptedBase(self.loop)
        self.pins, self.wait, self.loads = 0, wait, 0

    @contextlib.contextmanager
    def hold(self, model: Model, tell: Any = None, stopped: Any = None) -> Iterator[ScriptedBase]:
        self.loads += 1
        time.sleep(self.wait)
        self.pins += 1
        try:
            yield self.base
        finally:
            self.pins -= 1


class Stand:
    """A running server and everything a test looks at."""

    def __init__(self, url: str, service: Service, pool: Any):
        self.url, self.service, self.pool = url, service, pool
        self.root = url.removesuffix("/v1")

    def client(self, key: str = "none", **options: Any) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.url, api_key=key, max_retries=0, timeout=60, **options)

    def post(self, body: Any, path: str = "/chat/completions", **headers: str) -> httpx.Response:
        content = body if isinstance(body, str | bytes) else json.dumps(body)
        return httpx.post(self.url + path, content=content, headers=headers, timeout=60)


@contextlib.contextmanager
def stand(
    answer: Callable[[str], Words] | Words = ("Hello", " there", "."),
    gate: Gate | None = None,
    key_needed: bool = False,
    wait: float = 0.0,
    passages: dict[str, Passages] | None = None,
) -> Iterator[Stand]:
    """A server whose one model is scripted."""
    pool = ScriptedPool(answer if callable(answer) else lambda prompt: answer, wait)
    held = passages or {}
    listing = Listing([MODEL], held.__getitem__ if held else None, lambda: list(held))
    service = Service(listing, key_needed, gate, lambda: pool)
    with running(service) as url:
        yield Stand(url, service, pool)


@contextlib.contextmanager
def real_stand(model: Model) -> Iterator[Stand]:
    """A server over a real decode loop and a pool of its own."""
    from engine.pool import Pool

    pool = Pool(2**30)
    service = Service(Listing([model]), pool=lambda: pool)
    with running(service) as url:
        yield Stand(url, service, pool)
    pool.close()


def until(true: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait for something to become true, and give it."""
    deadline = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert found, "it did not become true"
    return found


def begin(stand: Stand, **more: Any) -> Any:
    """A streamed request in progress, with its connection; close it to hang up."""
    body = {"model": "scripted", "messages": HELLO, "stream": True, **more}
    client = httpx.Client(timeout=60)
    request = client.build_request("POST", f"{stand.url}/chat/completions", json=body)
    return client.send(request, stream=True)
