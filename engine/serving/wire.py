"""Replies in OpenAI's JSON: whole ones, and the chunks of a stream."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from typing import Any

from engine.messages import ToolCall
from engine.serving.choices import Choice, Told, total

DONE = b"data: [DONE]\n\n"
ENCODE = json.JSONEncoder(separators=(",", ":")).encode  # json.dumps would make an encoder for each token


class ChatWire:
    """The forms of one chat reply. `extra` stands in the whole reply and in the first chunk."""

    kind, prefix = "chat.completion", "chatcmpl-"

    def __init__(self, model: str, usage: bool, extra: dict[str, Any]):
        self.extra = extra
        self.head = {"id": self.prefix + uuid.uuid4().hex, "object": self.kind, "created": int(time.time())}
        self.head |= {"model": model, "system_fingerprint": None}
        self._tail = {"usage": None} if usage else {}

    def whole(self, choices: Sequence[Choice], spent: Sequence[Choice] = (), refusal: str | None = None) -> bytes:
        """The whole reply; `spent` are replies that count and are not shown."""
        made = [self.choice(number, choice, refusal) for number, choice in enumerate(choices)]
        return coded({**self.head, "choices": made, "usage": total([*spent, *choices]), **self.extra})

    def choice(self, number: int, choice: Choice, refusal: str | None) -> dict[str, Any]:
        """One choice of a whole reply."""
        text = None if refusal or (choice.calls and not choice.text.strip()) else choice.text
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": refusal}
        if choice.calls:
            message["tool_calls"] = [called(call) for call in choice.calls]
        found = choice.fresh_tokens()
        told = {"content": [spelled(each) for each in found], "refusal": None} if found else None
        return {"index": number, "message": message, "logprobs": told, "finish_reason": choice.reason}

    def first(self, count: int) -> bytes:
        """The chunks that open every choice."""
        opened = [
            self._chunk(number, {"role": "assistant", "content": "", "refusal": None}, more=self.extra)
            for number in range(count)
        ]
        return b"".join(opened)

    def piece(self, number: int, items: Sequence[str | ToolCall], choice: Choice) -> bytes:
        """More words and calls of a choice."""
        delta: dict[str, Any] = {}
        if text := "".join(each for each in items if isinstance(each, str)):
            delta["content"] = text
        if calls := [each for each in items if isinstance(each, ToolCall)]:
            delta["tool_calls"] = [{"index": choice.calls.index(call), **called(call)} for call in calls]
        found = choice.fresh_tokens()
        told = {"content": [spelled(each) for each in found], "refusal": None} if found else None
        return self._chunk(number, delta, told)

    def last(self, number: int, choice: Choice, refusal: str | None = None) -> bytes:
        """The chunk that ends a choice."""
        return self._chunk(number, {"refusal": refusal} if refusal else {}, reason=choice.reason)

    def count(self, choices: Sequence[Choice]) -> bytes:
        """The chunk with the token counts."""
        return event({**self.head, "object": f"{self.kind}.chunk", "choices": [], "usage": total(choices)})

    def _chunk(
        self, number: int, delta: dict[str, Any], told: Any = None, reason: str | None = None, more: Any = None
    ) -> bytes:
        choice = {"index": number, "delta": delta, "logprobs": told, "finish_reason": reason}
        return event({**self.head, "object": f"{self.kind}.chunk", "choices": [choice], **self._tail, **(more or {})})


class CompletionWire(ChatWire):
    """The forms of one reply to raw prompts, whose chunks look like the whole."""

    kind, prefix = "text_completion", "cmpl-"

    def choice(self, number: int, choice: Choice, refusal: str | None) -> dict[str, Any]:
        """One choice of a whole reply."""
        return self._choice(number, choice.text, choice, choice.reason)

    def first(self, count: int) -> bytes:
        """Nothing: raw replies have no opening."""
        return b""

    def piece(self, number: int, items: Sequence[str | ToolCall], choice: Choice) -> bytes:
        """More words of a choice."""
        text = "".join(each for each in items if isinstance(each, str))
        return self._event([self._choice(number, text, choice, None)])

    def last(self, number: int, choice: Choice, refusal: str | None = None) -> bytes:
        """The chunk that ends a choice."""
        return self._event([self._choice(number, "", choice, choice.reason)])

    def count(self, choices: Sequence[Choice]) -> bytes:
        """The chunk with the token counts."""
        return event({**self.head, "choices": [], "usage": total(choices)})

    def _event(self, choices: list[dict[str, Any]]) -> bytes:
        return event({**self.head, "choices": choices, **self._tail})

    def _choice(self, number: int, text: str, choice: Choice, reason: str | None) -> dict[str, Any]:
        found, at = choice.fresh_tokens(), len(choice.text) - len(text)
        told: dict[str, Any] | None = None
        if found:
            told = {"tokens": [one.word for one in found], "token_logprobs": [one.logprob for one in found]}
            others = [likeliest(one) for one in found]
            told |= {"top_logprobs": others if any(others) else None, "text_offset": []}
            for one in found:
                told["text_offset"].append(at)
                at += len(one.word)
        return {"index": number, "text": text, "logprobs": told, "finish_reason": reason}


def called(call: ToolCall) -> dict[str, Any]:
    """A call as it stands in a reply."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def likeliest(one: Told) -> dict[str, float] | None:
    """The likeliest tokens at a place of a raw reply, and the one that stands there; None where they are not told."""
    if not one.likeliest or one.logprob is None:
        return None
    found: dict[str, float] = {}
    for word, logprob in (*one.likeliest, (one.word, one.logprob)):  # parts of letters may look alike
        found.setdefault(word, logprob)
    return found


def spelled(one: Told) -> dict[str, Any]:
    """A token of a chat with its log probability, and the likeliest at its place."""
    return {**bare(one.word, one.logprob), "top_logprobs": [bare(*each) for each in one.likeliest]}


def bare(word: str, logprob: float | None) -> dict[str, Any]:
    """A token with its log probability; bytes are unknown for a part of a letter."""
    data = None if "\ufffd" in word else list(word.encode("utf-8", "replace"))
    return {"token": word, "logprob": logprob, "bytes": data}


def coded(value: Any) -> bytes:
    """A JSON value as bytes."""
    return ENCODE(value).encode()


def event(value: Any) -> bytes:
    """A server-sent event."""
    return b"data: " + coded(value) + b"\n\n"
