"""Local models as responders: find the base in the pool, render the prompt, submit a row to its decode loop."""

from __future__ import annotations

import contextlib
import copy
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine.acting.local_tools import marks, prepared, with_calls
from engine.catalog import Model
from engine.lanes import Lane
from engine.messages import Begin, End, Message, Sampling, encodable
from engine.pool import Base, Stopped, pool
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
        self._replies: set[threading.Event] = set()  # one for each reply in progress, set when it is to end
        self._schema: dict[str, Any] | None = None

    def shaped(self, form: dict) -> LocalResponder:
        """The same model, which can only write JSON of this response_format; `loose` tells where it cannot be held."""
        held = copy.copy(self)
        held._schema = form["json_schema"]["schema"]
        return held

    def reply(self, messages: Sequence[Message], sampling: Sampling, tools: Sequence[dict] = ()) -> Generator[Event]:
        """See Responder.reply. Loads the base if it is not in memory; a stop while it does ends the reply at once."""
        stopped = threading.Event()
        self._replies.add(stopped)
        try:
            with pool().hold(self.model, stopped=stopped.is_set) as base:
                asked, style, native = self._prepared(base, messages, tools)
                loop, request = placed(base, self.model, style, asked, sampling, native)
                if not tools:
                    yield from self._stream(loop, self._held(loop, request), stopped)
                else:
                    marked = replace(request, marks=marks(loop.tokenizer))
                    with contextlib.closing(self._stream(loop, marked, stopped)) as events:
                        yield from with_calls(events, tools)
        except Stopped:
            yield End("stopped")
        finally:
            self._replies.discard(stopped)

    def fits(self, messages: Sequence[Message], sampling: Sampling, tools: Sequence[dict] = ()) -> bool:
        """Whether the model can read these messages whole and still answer. Loads the base if need be."""
        with pool().hold(self.model) as base:
            asked, style, native = self._prepared(base, messages, tools)
            _, request = placed(base, self.model, style, asked, sampling, native)
            return request.begin.cut_tokens == 0

    def stop(self) -> None:
        """End every reply in progress; any thread may call."""
        for stopped in tuple(self._replies):
            stopped.set()
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

    def _stream(self, loop: DecodeLoop, request: Request, stopped: threading.Event) -> Generator[Event]:
        """The events of one row, which `stopped` ends before it begins."""
        events: queue.SimpleQueue[Event | Exception] = queue.SimpleQueue()
        row = loop.submit([request], [events.put])[0]
        self._rows.add(row)
        if stopped.is_set():
            row.stop()
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
    stopped: Callable[[int], bool],
) -> None:
    """Answer lanes of one base: rows submitted together, so that they share every step; returns at their end.

    `tell` gets each lane's events, or what it waits for, or the exception that is its alone. Lanes that were stopped
    while the base or an adapter loads are not waited for. An adapter that takes long to load holds up no other lane.
    """
    first = next(iter(lanes.values()))

    def tell_all(what: str) -> None:
        for i in lanes:
            tell(i, what)

    def all_stopped() -> bool:
        return all(stopped(i) for i in lanes)

    with contextlib.suppress(Stopped), pool().hold(first.model, tell_all, all_stopped) as base:
        rows: dict[int, Row] = {}
        for group in groups(base, lanes, tell):
            wanted = {i: lanes[i] for i in group if not stopped(i)}
            submitted = submit(base, wanted, messages, tell)
            for i, row in submitted.items():
                started(i, row)
            rows |= submitted
        for row in rows.values():
            row.over.wait()


def groups(base: Base, lanes: Mapping[int, Lane], tell: Tell) -> Iterator[list[int]]:
    """Lanes that begin together: all whose adapters are at hand, then each other one, which is told to wait."""
    ready: list[int] = []
    slow: list[int] = []
    for i, lane in lanes.items():
        try:
            (ready if base.at_hand(lane.model) else slow).append(i)
        except Exception as error:
            tell(i, error)
    yield ready
    for i in slow:
        tell(i, "loading the adapter")
    yield from ([i] for i in slow)


def submit(
    base: Base, lanes: Mapping[int, Lane], messages: Mapping[int, Sequence[Message]], tell: Tell
) -> dict[int, Row]:
    """Put lanes of a base into their loops; a lane that cannot be placed fails alone."""
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
