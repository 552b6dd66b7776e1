"""What a model that answers looks like to the rest of the app: Responder, Generation, Passages."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from engine.catalog import Model
from engine.messages import Begin, End, Message, Piece, Reason, Sampling, Scores, ToolCall

Event = Begin | Scores | Piece | ToolCall | End


class Responder(Protocol):
    """Anything that answers a conversation, local or hosted."""

    def reply(self, messages: Sequence[Message], sampling: Sampling, tools: Sequence[dict] = ()) -> Generator[Event]:
        """One Begin, then pieces and tool calls, then one End. Closing it stops the work.

        Raises Problem with a sentence for the person when the model cannot answer.
        """
        ...


@dataclass(frozen=True)
class Passage:
    """A piece of a document and where it stands; `score` is a cosine in [-1, 1]."""

    text: str
    source: str
    page: int | None = None
    score: float | None = None


class Passages(Protocol):
    """What engine knows of documents: something that can be searched. rag implements it."""

    def search(self, question: str, k: int) -> Sequence[Passage]:
        """The passages near enough to the question, best first, at most `k` where nobody chose a number."""
        ...

    def nearest(self, question: str) -> Passage | None:
        """What comes nearest to the question, however far; None where there is nothing."""
        ...


@runtime_checkable
class FollowsUp(Passages, Protocol):
    """Passages that know what a question asks for after what was said before it."""

    def stand_alone(self, question: str, history: Sequence[Message], responder: Responder | None) -> str:
        """The question as it is to be searched for; `responder` may rewrite it, without one a rule does."""
        ...


@dataclass
class Generation:
    """One reply as it grows: iterate it for pieces, read the rest afterwards. Times are monotonic seconds.

    They count from the first look, or from Send for who uses `take`, and to when an event happened, not to when it is
    read: however slow the reader, it is the model that is measured.
    """

    events: Iterator[Event]
    text: str = ""
    tokens: int = 0
    seconds: float = 0.0
    first_token_seconds: float | None = None
    reason: Reason | None = None
    begin: Begin | None = None
    end: End | None = None
    calls: list[ToolCall] = field(default_factory=list)

    def __iter__(self) -> Iterator[Piece]:
        started = time.perf_counter()
        for event in self.events:
            # a call comes with the words around it; what was over before the first look took no time
            self.take(event, self.seconds if isinstance(event, ToolCall) else max(0.0, event.at - started))
            if isinstance(event, Piece):
                yield event

    def take(self, event: Event, elapsed: float) -> None:
        """Count one event that came `elapsed` seconds after the request."""
        self.seconds = elapsed
        match event:
            case Begin():
                self.begin = event
            case Piece():
                self.text += event.text
                self.tokens += len(event.token_ids)
                if self.first_token_seconds is None:
                    self.first_token_seconds = elapsed
            case ToolCall():
                self.calls.append(event)
            case End():
                self.end, self.reason = event, event.reason
                if event.usage.completion_tokens is not None:
                    self.tokens = event.usage.completion_tokens


def responder_for(model: Model, key: str | None = None, describe_tools: bool = False) -> Responder:
    """Whoever answers for a model in a chat: its endpoint, or its weights. Raises Problem.

    A local model is asked in its own chat template, and in the style it was trained with where tools are only
    described in the prompt.
    """
    if model.endpoint:
        from engine.hosted import HostedResponder

        return HostedResponder(model, key=key)
    from engine.local import LocalResponder
    from engine.prompts import CHAT

    return LocalResponder(model, (model.style or CHAT) if describe_tools else CHAT, describe_tools)
