"""A model that says what a test tells it, reply by reply, and remembers what it was sent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence

from engine.messages import Begin, End, Message, Piece, Sampling, ToolCall, Usage
from engine.respond import Event

Line = Event | Exception | str | float  # a str is words, a float a silence in seconds
Replies = Sequence[Sequence[Line]]


def call(name: str, arguments: str = "{}", id: str = "c1") -> ToolCall:
    return ToolCall(id, name, arguments)


class ScriptedModel:
    """Gives reply number n to request number n, and the last one to all further ones."""

    def __init__(self, *replies: Sequence[Line], answer: Callable[[Sequence[Message]], Sequence[Line]] | None = None):
        self.replies, self.answer = replies, answer
        self.asked: list[list[Message]] = []
        self.tools: list[list[dict]] = []
        self.seeds: list[int] = []
        self.silenced, self.closed = threading.Event(), threading.Event()

    def reply(self, messages: Sequence[Message], sampling: Sampling, tools: Sequence[dict] = ()) -> Generator[Event]:
        self.asked.append(list(messages))
        self.tools.append(list(tools))
        self.seeds.append(sampling.seed)
        lines = self.answer(messages) if self.answer else self.replies[min(len(self.asked), len(self.replies)) - 1]
        try:
            yield Begin("prompt")
            called = False
            for line in lines:
                if isinstance(line, Exception):
                    raise line
                if isinstance(line, float):
                    if self.silenced.wait(line):
                        yield End("stopped")
                        return
                    continue
                called = called or isinstance(line, ToolCall)
                yield Piece(line) if isinstance(line, str) else line
                if isinstance(line, End):
                    return
            yield End("tool_calls" if called else "stop", Usage(10, 5))
        finally:
            self.closed.set()

    def stop(self) -> None:
        self.silenced.set()
