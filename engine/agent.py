"""A conversation with tools: reply, run what was called, reply again; `python -m engine.agent QUESTION`."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import replace

from engine.acting.listen import listen
from engine.acting.perform import Performance
from engine.acting.schema import Unreadable, read_object
from engine.acting.steps import Approve, Clock, Done, Ending, Limits, Reply, Step, Verdict
from engine.errors import sentence
from engine.messages import Message, Sampling, ToolCall, ToolResult, Usage
from engine.respond import Responder
from engine.tools import Tool

log = logging.getLogger(__name__)
GREEDY: Sampling = Sampling(temperature=0.0)  # a small model calls tools more surely when it does not draw lots
WHOLE: frozenset[Ending] = frozenset({"stop", "tool_calls"})  # ends at which a reply's calls are complete


def nobody(call: ToolCall) -> Verdict:
    """The answer where there is no person to ask."""
    return "refuse"


def converse(
    responder: Responder,
    messages: Sequence[Message],
    tools: Sequence[Tool] = (),
    sampling: Sampling = GREEDY,
    limits: Limits | None = None,
    approve: Approve = nobody,
    allowed: set[str] | None = None,
    stop: threading.Event | None = None,
) -> Generator[Step]:
    """Answer the last message; the last step is Done. Closing the generator, like `stop`, ends model and tools.

    A call with a side effect waits for `approve`, which must return soon after `stop` is set. `allowed` are the
    tools that the person agreed to for the whole conversation; it grows. Every call gets its result. `stop` is this
    turn's alone: at its end it is set in any case.
    """
    limits = limits or Limits()
    clock = Clock(time.monotonic() + limits.seconds, stop or threading.Event())
    performance = Performance(tools, limits, clock, approve, allowed if allowed is not None else set())
    specs = [tool.spec for tool in tools]
    kept, usage, left_out = list(messages), Usage(), 0

    def done(reason: Ending, problem: str | None = None) -> Done:
        return Done(reason, tuple(kept), usage, problem, left_out)

    try:
        for _ in range(limits.rounds):
            reply = yield from listen(responder, kept, sampling, specs, clock)
            usage, left_out = added(usage, reply.usage), max(left_out, reply.left_out)
            calls = distinct(reply.calls, kept)
            if reply.text or calls:
                kept.append(Message("assistant", reply.text, tuple(map(sendable, calls))))
            if reply.error is not None:
                yield done("error", sentence(reply.error, log, "a reply failed"))
                return
            yield from calls
            results: dict[str, ToolResult] = {}
            for result in performance.run(calls, whole=reply.reason in WHOLE):
                results[result.id] = result
                yield result
            kept += [Message("tool", results[call.id].content, tool_call_id=call.id) for call in calls]
            if clock.ended or not calls:
                yield done(clock.ended or ending(reply))
                return
        yield done("rounds")
    finally:
        clock.stop.set()


def ending(reply: Reply) -> Ending:
    """Why a turn ends with this reply. One that asked for tools and named none has simply ended."""
    return "stop" if reply.reason == "tool_calls" else reply.reason


def added(one: Usage, other: Usage) -> Usage:
    """Two counts together; unknown ones count as nothing, and stay unknown where both are."""

    def total(a: int | None, b: int | None) -> int | None:
        return b if a is None else a if b is None else a + b

    return Usage(total(one.prompt_tokens, other.prompt_tokens), total(one.completion_tokens, other.completion_tokens))


def distinct(calls: Sequence[ToolCall], kept: Sequence[Message]) -> list[ToolCall]:
    """The calls with ids of their own: some servers number them from 0 in every reply, or give two the same."""
    taken = {call.id for message in kept for call in message.tool_calls}
    found = []
    for call in calls:
        id, number = call.id or "call", 1
        while id in taken:
            number += 1
            id = f"{call.id or 'call'}_{number}"
        taken.add(id)
        found.append(replace(call, id=id))
    return found


def sendable(call: ToolCall) -> ToolCall:
    """The call as it goes back to the model. Servers refuse names and arguments that they cannot read themselves.

    What the model really wrote stands in the step and, where it was wrong, in the result.
    """
    try:
        read_object(call.arguments)
        arguments = call.arguments if call.arguments.strip() else "{}"
    except Unreadable:
        arguments = "{}"
    return ToolCall(call.id, re.sub(r"[^a-zA-Z0-9_-]", "_", call.name)[:64] or "unknown", arguments)


if __name__ == "__main__":
    from engine.headless_command import command

    command("engine.headless_agent")
