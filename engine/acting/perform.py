"""Runs the tool calls of one turn side by side: what needs a click waits for it, and every call gets a result."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from engine.acting.schema import Unreadable, read_object
from engine.acting.steps import Approve, Clock, Limits
from engine.messages import ToolCall, ToolResult
from engine.tools import Tool, answer

CUT_OFF = "Error: this call was cut off before its end, so it was not run."
REPEATED = "Error: this very call was already made {times} times in this turn; use the results it gave."
REFUSED = "Error: the person refused to let {name} run. Do not try it again; go on without it."


class Performance:
    """The calls of one turn. `allowed` are the tools that the person agreed to for the conversation; it grows."""

    def __init__(self, tools: Sequence[Tool], limits: Limits, clock: Clock, approve: Approve, allowed: set[str]):
        self.tools = {tool.name: tool for tool in tools}
        self.limits, self.clock, self.approve, self.allowed = limits, clock, approve, allowed
        self.made: Counter[tuple[str, str]] = Counter()
        self.inbox: queue.SimpleQueue[ToolResult] = queue.SimpleQueue()

    def run(self, calls: Sequence[ToolCall], whole: bool) -> Iterator[ToolResult]:
        """A result for each call, as they come in. Calls of a reply that was cut off are not run."""
        asking = []
        for call in calls:
            if not whole:
                self.inbox.put(failed(call, CUT_OFF))
            elif self.repeated(call):
                self.inbox.put(failed(call, REPEATED.format(times=self.limits.repeats)))
            elif self.needs_approval(call):
                asking.append(call)
            else:
                self.begin(call)
        for call in asking:
            if not self.needs_approval(call) or self.agreed(call):
                self.begin(call)
            else:
                self.inbox.put(failed(call, REFUSED.format(name=call.name), refused=not self.clock.stop.is_set()))
        for _ in calls:
            yield self.inbox.get()

    def begin(self, call: ToolCall) -> None:
        """Run a call in a thread of its own; its result comes in whatever happens."""
        threading.Thread(target=self.perform, args=(call,), daemon=True, name="tool").start()

    def perform(self, call: ToolCall) -> None:
        """Put the result of one call into the inbox, within the seconds of a tool and of the turn."""
        seconds = min(self.limits.tool_seconds, self.clock.left)
        self.inbox.put(answer(call, self.tools.get(call.name), list(self.tools), seconds, self.clock.stop))

    def repeated(self, call: ToolCall) -> bool:
        """Count the call; whether it was made too often, the order and spacing of its arguments aside."""
        key = (call.name, canonical(call.arguments))
        self.made[key] += 1
        return self.made[key] > self.limits.repeats

    def needs_approval(self, call: ToolCall) -> bool:
        """Whether a person must agree first. Nobody is asked about a call that cannot run anyway."""
        tool = self.tools.get(call.name)
        if tool is None or not tool.side_effect or call.name in self.allowed:
            return False
        try:
            tool.read(call.arguments)
        except Unreadable:
            return False
        return True

    def agreed(self, call: ToolCall) -> bool:
        """The person's answer. The time they take does not count."""
        began = time.monotonic()
        verdict = self.approve(call)
        self.clock.deadline += time.monotonic() - began
        if verdict == "conversation":
            self.allowed.add(call.name)
        return verdict in ("once", "conversation") and not self.clock.stop.is_set()


def failed(call: ToolCall, content: str, refused: bool = False) -> ToolResult:
    """The result of a call that was not run."""
    return ToolResult(call.id, call.name, content, error=True, refused=refused)


def canonical(arguments: str) -> str:
    """The arguments without accidents of spelling; the text itself where it cannot be read."""
    try:
        return json.dumps(read_object(arguments), sort_keys=True)
    except Unreadable:
        return arguments
