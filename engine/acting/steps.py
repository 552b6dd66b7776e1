"""What a conversation with tools is made of: its steps, its limits, and the person's say in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from engine.messages import Message, Reason, ToolCall, ToolResult, Usage
from engine.tools import SECONDS

Verdict = Literal["once", "conversation", "refuse"]
Approve = Callable[[ToolCall], Verdict]
Ending = Reason | Literal["rounds", "time", "error"]


@dataclass(frozen=True)
class Words:
    """The next words of the model."""

    text: str


@dataclass(frozen=True)
class Done:
    """The turn is over: why, the whole conversation to keep, and what its replies counted together.

    `problem` is a sentence for the person when the model failed; `left_out` is how many messages did not fit.
    """

    reason: Ending
    messages: tuple[Message, ...]
    usage: Usage
    problem: str | None = None
    left_out: int = 0


Step = Words | ToolCall | ToolResult | Done


@dataclass(frozen=True)
class Limits:
    """What one turn may take: replies, seconds in all and for one tool, and runs of the very same call."""

    rounds: int = 8
    seconds: float = 120.0
    tool_seconds: float = SECONDS
    repeats: int = 2


@dataclass
class Clock:
    """The end of a turn: its deadline, which waits while a person thinks, and the person's stop flag."""

    deadline: float
    stop: threading.Event

    @property
    def ended(self) -> Ending | None:
        """Why the turn must end now; None while it may go on."""
        if self.stop.is_set():
            return "stopped"
        return "time" if self.left <= 0 else None

    @property
    def left(self) -> float:
        """Seconds until the deadline, at least 0."""
        return max(0.0, self.deadline - time.monotonic())


@dataclass
class Reply:
    """One reply of the model as it came; `left_out` is how many messages it did not get to read."""

    text: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    reason: Ending = "stop"
    usage: Usage = field(default_factory=Usage)
    left_out: int = 0
    error: Exception | None = None
