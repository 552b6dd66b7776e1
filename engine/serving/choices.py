"""One reply as it comes: its words, its calls, why it ended, what it counted."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.acting.tool_text import ToolText
from engine.messages import End, Likely, Piece, Reason, Scores, ToolCall, Usage
from engine.respond import Event


@dataclass(frozen=True)
class Told:
    """A token with its natural-log probability, None for a prompt's first, and the likeliest tokens at its place."""

    word: str
    logprob: float | None
    likeliest: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Echo:
    """A prompt that is sent back before the reply: its text and its tokens; `alone` where no reply is wanted."""

    text: str
    ids: tuple[int, ...]
    alone: bool = False


class Choice:
    """Takes the events of a row. With `tools` the calls are taken out of the words; `begun` is how the reply begins.

    With `tokenizer` the tokens are kept with their log probabilities. `echo` is what the words begin with.
    """

    def __init__(
        self,
        tools: Collection[str] = (),
        begun: str = "",
        one_call: bool = False,
        tokenizer: Any = None,
        echo: Echo | None = None,
    ):
        self.text, self.calls = "", list[ToolCall]()
        self.reason: Reason | None = None
        self.usage = Usage()
        self.pieces = 0
        self.tokens: list[Told] = []
        self._told = 0
        self._echo = echo
        self._tokenizer, self._one_call = tokenizer, one_call
        self._calls_in = ToolText(tools) if tools else None
        if self._calls_in and begun:
            self._calls_in.feed(begun)

    def take(self, event: Event) -> list[str | ToolCall]:
        """What a client hears of an event: words and calls, often nothing."""
        if isinstance(event, Scores) and self._echo:
            self._keep(self._echo.ids, (None, *event.logprobs), ((), *event.likeliest))
            found: list[str | ToolCall] = [self._echo.text]
        elif isinstance(event, Piece):
            if self._echo and self._echo.alone:
                return []
            self.pieces += 1
            self._keep(event.token_ids, event.logprobs, event.likeliest)
            found = self._calls_in.feed(event.text) if self._calls_in else [event.text]
        elif isinstance(event, End):
            found = self._calls_in.finish() if self._calls_in else []
        else:
            return []
        given = [each for item in found if (each := self._kept(item))]
        if isinstance(event, End):
            called = bool(self.calls) and event.reason == "stop"
            self.reason, self.usage = "tool_calls" if called else event.reason, event.usage
            if self._echo and self._echo.alone:
                self.reason, self.usage = "length", replace(event.usage, completion_tokens=0)
        return given

    def _keep(self, ids: Sequence[int], logprobs: Sequence[float | None], likeliest: Sequence[Likely]) -> None:
        if self._tokenizer is None:
            return
        for id, logprob, others in zip(ids, logprobs, likeliest or [()] * len(ids), strict=True):
            words = tuple((self._word(other), chance) for other, chance in others)
            self.tokens.append(Told(self._word(id), logprob, words))

    def _word(self, id: int) -> str:
        return str(self._tokenizer.decode([id]))

    def fresh_tokens(self) -> list[Told]:
        """The tokens since the last call of this."""
        fresh, self._told = self.tokens[self._told :], len(self.tokens)
        return fresh

    def _kept(self, item: str | ToolCall) -> str | ToolCall | None:
        if isinstance(item, str):
            self.text += item
            return item
        if self._one_call and self.calls:
            return None
        call = replace(item, id=item.id or f"call_{uuid.uuid4().hex[:16]}")
        self.calls.append(call)
        return call


def total(choices: Collection[Choice]) -> dict[str, int]:
    """The usage of a request: every prompt once for each of its rows, as it was computed."""
    prompt = sum(choice.usage.prompt_tokens or 0 for choice in choices)
    completion = sum(choice.usage.completion_tokens or 0 for choice in choices)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
