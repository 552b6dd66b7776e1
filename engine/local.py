"""Local models as responders: find the base in the pool, render the prompt, submit a row to its decode loop."""

from __future__ import annotations

import copy
import queue
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine.acting.local_tools import marks, prepared, with_calls
from engine.catalog import Model
from engine.lanes import Lane
from engine.messages import Begin, End, Message, Sampling, encodable
from engine.pool import Base, pool
from engine.prompts import style as style_named
from engine.respond import Event
from engine.rows import Request, Row

if TYPE_CHECKING:
    from engine.decode import DecodeLoop

Tell = Callable[[int, "Event | Exception | str"], None]


class LocalResponder:
    """A local model, with or without an adapter, asked in one prompt style.

    Tools go through the model's chat template; with `describe_tools` they are written into the prompt instead.
    """

    def __init__(self, model: Model, style: str = "plain", describe_tools: bool = False):
        self.model, self.style, self.describe_tools = model, style, describe_tools
        self.loose: str | None = None  # why replies were not held to the schema while they were written
        self._rows: set[Row] = set()
        self._schema: dict[str, Any] | None = None

    def shaped(self, form: dict) -> LocalResponder:
        """The same model, which can only write JSON of this response_format; `loose` tells where it cannot be held."""
        held = copy.copy(self)
        held._schema = form["json_schema"]["schema"]
        return held

    def reply(self, messages: Sequence[Message], sampling: Sampling, tools: Sequence[dict] = ()) -> Generator[Event]:
        """See Responder.reply. Loads the base if it is not in memory."""
        with pool().hold(self.model) as base:
            asked, style, native = self._prepared(base, messages, tools)
            loop, request = placed(base, self.model, style, asked, sampling, native)
            if not tools:
                yield from self._stream(loop, self._held(loop, request))
            else:
                marked = replace(request, marks=marks(loop.tokenizer))
                with closing(self._stream(loop, marked)) as events:
                    yield from with_calls(events, tools)

    def fits(self, messages: Sequence[Message], sampling: Sampling, tools: Sequence[dict] = ()) -> bool:
        """Whether the model can read these messages whole and still answer. Loads the base if need be."""
        with pool().hold(self.model) as base:
            asked, style, native = self._prepared(base, messages, tools)
            _, request = placed(base, self.model, style, asked, sampling, native)
            return request.begin.cut_tokens == 0

    def stop(self) -> None:
        """End every reply in progress; any thread may call."""
        for row in tuple(self._rows):
            row.stop()

    def _prepared(
        self, base: Base, messages: Sequence[Message], tools: Sequence[dict]
    ) -> tuple[Sequence[Message], str, Sequence[dict]]:
        plain = not tools and not any(m.tool_calls or m.role == "tool" for m in messages)
        if plain:
            return messages, self.style, ()
        return prepared(messages, base.tokenizer, self.style, tools, self.describe_tools, self.model.name)

    def _held(self, loop: DecodeLoop, request: Request) -> Request:
        """The row held to the schema, if there is one. Raises Problem where the schema cannot be followed."""
        if self._schema is None:
            return request
        grammar = loop.grammars.reply(self._schema)
        self.loose = loop.grammars.problem
        return replace(request, grammar=grammar)

    def _stream(self, loop: DecodeLoop, request: Request) -> Generator[Event]:
        """The events of one row."""
        events: queue.SimpleQueue[Event | Exception] = queue.SimpleQueue()
        row = loop.submit([request], [events.put])[0]
        self._rows.add(row)
        try:
            while not isinstance(event := events.get(), End):
                if isinstance(event, Exception):
                    raise event
                yield event
            yield event
        finally:
            self._rows.discard(row)
            row.stop()


def placed(
    base: Base,
    model: Model,
    style: str,
    messages: Sequence[Message],
    sampling: Sampling,
    tools: Sequence[dict] = (),
    prove: bool = False,
) -> tuple[DecodeLoop, Request]:
    """The loop and the row that answer a conversation; a prompt beyond the context is cut from the left."""
    loop, adapter = base.place(model)
    chosen = style_named(style)
    text = encodable(chosen.render(messages, loop.tokenizer, tools))
    ids = loop.tokenizer(text, add_special_tokens=chosen.adds_special_tokens())["input_ids"]
    room = loop.context - min(sampling.max_tokens, loop.context // 2)
    kept = ids[-room:]
    begin = Begin(text, len(kept), len(ids) - len(kept))
    return loop, Request(tuple(kept), sampling, adapter, begin, prove and model.adapter is not None)


def run_lanes(
    lanes: Mapping[int, Lane],
    messages: Mapping[int, Sequence[Message]],
    tell: Tell,
    started: Callable[[int, Row], None],
) -> None:
    """Answer lanes of one base: rows submitted together, so that they share every step; returns at their end.

    `tell` gets each lane's events, or what it waits for, or the exception that is its alone.
    """
    first = next(iter(lanes.values()))

    def tell_all(what: str) -> None:
        for i in lanes:
            tell(i, what)

    with pool().hold(first.model, tell_all) as base:
        rows = submit(base, lanes, messages, tell)
        for i, row in rows.items():
            started(i, row)
        for row in rows.values():
            row.over.wait()


def submit(
    base: Base, lanes: Mapping[int, Lane], messages: Mapping[int, Sequence[Message]], tell: Tell
) -> dict[int, Row]:
    """Put all lanes of a base into their loops; a lane that cannot be placed fails alone."""
    by_loop: dict[DecodeLoop, list[tuple[int, Request]]] = {}
    for i, lane in lanes.items():
        try:
            loop, request = placed(base, lane.model, lane.style, messages[i], lane.sampling, prove=True)
            by_loop.setdefault(loop, []).append((i, request))
        except Exception as error:
            tell(i, error)
    rows: dict[int, Row] = {}
    for loop, placed_rows in by_loop.items():
        indices, requests = zip(*placed_rows, strict=True)
        sinks = [lambda event, i=i: tell(i, event) for i in indices]
        rows |= dict(zip(indices, loop.submit(requests, sinks), strict=True))
    return rows
