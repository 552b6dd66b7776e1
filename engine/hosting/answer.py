"""One streamed answer put together from the chunks of an endpoint, which may hold anything."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from engine.messages import End, Piece, Reason, ToolCall, Usage

# Why an answer ended, as servers call it; whatever else they say is an ordinary stop.
REASONS: dict[str, Reason] = {
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


@dataclass
class Draft:
    """A tool call that is still arriving."""

    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass
class Answer:
    """What has come so far: `finish` is the server's reason once it gave one, `drafts` the calls in order."""

    finish: str = ""
    usage: Usage = field(default_factory=Usage)
    drafts: list[Draft] = field(default_factory=list)
    _places: dict[Any, Draft] = field(default_factory=dict)
    _half: str = ""

    def take(self, chunk: Any) -> Iterator[Piece]:
        """Take one chunk in; yields its words. The SDK does not validate chunks, so nothing is believed here."""
        self._count(getattr(chunk, "usage", None))
        choices = getattr(chunk, "choices", None)
        for choice in choices if isinstance(choices, list) else ():
            if getattr(choice, "index", None) not in (None, 0):
                continue  # a second answer that nobody asked for
            delta = getattr(choice, "delta", None)
            for said in ("content", "refusal"):  # what a model says when it refuses a strict form
                if words := self._words(getattr(delta, said, None)):
                    yield Piece(words)
            calls = getattr(delta, "tool_calls", None)
            for call in calls if isinstance(calls, list) else ():
                self._call(call)
            reason = getattr(choice, "finish_reason", None)
            if isinstance(reason, str):
                self.finish = reason

    def ending(self) -> Iterator[Piece | ToolCall | End]:
        """The calls, now whole, and the end. An answer cut at its limit says so even if it was calling tools."""
        if self._half:
            yield Piece("\ufffd")
        for draft in self.drafts:
            yield ToolCall(draft.id or f"call_{uuid.uuid4().hex[:24]}", draft.name, draft.arguments)
        reason = REASONS.get(self.finish, "stop")
        yield End("tool_calls" if self.drafts and reason == "stop" else reason, self.usage)

    def _words(self, content: Any) -> str:
        """The text of a delta. Half a surrogate pair at its end waits for its other half."""
        if not isinstance(content, str) or not content:
            return ""
        text, self._half = self._half + content, ""
        if "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return whole(text)

    def _count(self, usage: Any) -> None:
        counts = [getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens")]
        if any(is_count(n) for n in counts):
            self.usage = Usage(*(n if is_count(n) else None for n in counts))

    def _call(self, fragment: Any) -> None:
        """Add a fragment of a tool call to the call it belongs to.

        By its index; some servers send none, or the same one for parallel calls, and then a new id begins a call.
        """
        function = getattr(fragment, "function", None)
        id, name, arguments = (
            getattr(fragment, "id", None),
            getattr(function, "name", None),
            arguments_of(function),
        )
        index = getattr(fragment, "index", None)
        draft = self._places.get(index) if isinstance(index, int) else None
        if draft is None and not isinstance(index, int) and self.drafts and not (id or name):
            draft = self.drafts[-1]
        if draft is None or (isinstance(id, str) and id and draft.id and draft.id != id):
            draft = Draft()
            self.drafts.append(draft)
        if isinstance(index, int):
            self._places[index] = draft
        draft.id = draft.id or (whole(id) if isinstance(id, str) else "")
        draft.name = draft.name or (whole(name) if isinstance(name, str) else "")
        draft.arguments += arguments


def arguments_of(function: Any) -> str:
    """The arguments in a fragment as text: the model's own where they came as text."""
    arguments = getattr(function, "arguments", None)
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    return json.dumps(arguments, ensure_ascii=False, default=str)


def is_count(value: Any) -> bool:
    """Whether a server's number of tokens can be one."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def whole(text: str) -> str:
    """The text with its surrogate pairs joined and lone halves replaced: those cannot be written as UTF-8."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
