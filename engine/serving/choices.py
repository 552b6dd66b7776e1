"""One reply as it comes: its words, its calls, why it ended, what it counted."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from engine.acting.tool_text import ToolText
from engine.messages import End, Piece, Reason, ToolCall, Usage
from engine.respond import Event


class Choice:
    """Takes the events of a row. With `tools` the calls are taken out of the words; `begun` is how the reply begins.

    With `tokenizer` the tokens and their log probabilities are kept, as (text, log probability).
    """

    def __init__(self, tools: Collection[str] = (), begun: str = "", one_call: bool = False, tokenizer: Any = None):
        self.text, self.calls = "", list[ToolCall]()
        self.reason: Reason | None = None
        self.usage = Usage()
        self.pieces = 0
        self.tokens: list[tuple[str, float]] = []
        self._told = 0
        self._tokenizer, self._one_call = tokenizer, one_call
        self._calls_in = ToolText(tools) if tools else None
        if self._calls_in and begun:
            self._calls_in.feed(begun)

    def take(self, event: Event) -> list[str | ToolCall]:
        """What a client hears of an event: words and calls, often nothing."""
        if isinstance(event, Piece):
            self.pieces += 1
            if self._tokenizer is not None:
                words = (self._tokenizer.decode([id]) for id in event.token_ids)
                self.tokens += zip(words, event.logprobs, strict=True)
            found = self._calls_in.feed(event.text) if self._calls_in else [event.text]
        elif isinstance(event, End):
            found = self._calls_in.finish() if self._calls_in else []
        else:
            return []
        given = [each for item in found if (each := self._kept(item))]
        if isinstance(event, End):
            called = bool(self.calls) and event.reason == "stop"
            self.reason, self.usage = "tool_calls" if called else event.reason, event.usage
        return given

    def fresh_tokens(self) -> list[tuple[str, float]]:
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
