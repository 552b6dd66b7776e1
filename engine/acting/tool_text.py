"""Finds the tool calls in a model's text as it streams, and lets the words before and after them pass."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import NamedTuple

from engine.acting.tool_json import KEYS, call_in, calls_in, guessed, json_end
from engine.detokenize import begun
from engine.messages import ToolCall

OPEN, CLOSE = "<tool_call>", "</tool_call>"  # Hermes and Qwen, with one JSON object between them
MISTRAL = "[TOOL_CALLS]"  # before a JSON list, or, in newer models, before name[ARGS]{...}
PYTHON_TAG = "<|python_tag|>"  # Llama 3, before JSON or code
SPECIAL = (OPEN, CLOSE, MISTRAL, "[CALL_ID]", "[ARGS]", PYTHON_TAG)  # marks that tokenizers may hold as special

# Where bare JSON may begin: at a line's start, perhaps in a fence, or behind the ";" between Llama's calls
BARE = re.compile(r"^[ \t]*(?:```(?:json|tool_call)?\s*|;\s*)?(?=[\[{])(?!\[T)", re.MULTILINE)
MAYBE = re.compile(r"^[ \t]*(?:`{1,3}|```[a-z_]{1,9}\s*|```\s+|;\s*)?\Z", re.MULTILINE)  # what may become that
NAMED = re.compile(r"\s*([\w.-]{1,64})\s*(?:\[CALL_ID\]([\w-]{1,64}))?\s*(?:\[ARGS\])?\s*(?=\{)")
NAMING = re.compile(r"\s*[\w.\[\]-]{0,150}\s*\Z")  # what may become that
FENCE_END = re.compile(r"\s*```[ \t]*\n?")
ENDS = frozenset("{}[]>`")  # without one of these nothing that waits can come to its end
SHORT = 200  # characters; before that many a look decides whether it can be a call at all
LONGEST_HELD = 64 * 1024  # characters after which nothing is waited for any more


class Found(NamedTuple):
    """What stands at the front of the held text: calls, or words where there are none, and its length."""

    calls: list[ToolCall]
    length: int


class ToolText:
    """The text of one reply: `feed` it, then `finish` it; both give words and calls in their order.

    Besides the marked forms, a JSON object or list at the start of a line is a call when it names a tool that there
    is. What is cut off stays words: it is never repaired, and never run.
    """

    def __init__(self, names: Collection[str]):
        self.names = frozenset(names)
        self.held = ""
        self.at_line_start, self.after_call, self.waiting = True, False, False
        self.readers: dict[str, Callable[[str, bool], Found | None]] = {
            OPEN: self.hermes,
            MISTRAL: self.mistral,
            PYTHON_TAG: self.llama,
        }

    def feed(self, text: str) -> list[str | ToolCall]:
        """What is certain now that this text has come."""
        self.held += text
        if self.waiting and SHORT < len(self.held) < LONGEST_HELD and ENDS.isdisjoint(text):
            return []  # a long argument that goes on; reading all of it again at every piece would take its square
        return self.settle(final=False)

    def finish(self) -> list[str | ToolCall]:
        """What was held back, once no more text comes."""
        return self.settle(final=True)

    def settle(self, final: bool) -> list[str | ToolCall]:
        """Take words and calls off the front of the held text, as far as they are certain."""
        given: list[str | ToolCall] = []
        self.waiting = False
        while self.held:
            if self.after_call:  # spaces between calls are no words
                self.held = self.held.lstrip()
                self.after_call = not self.held
                continue
            at, mark = self.next_mark()
            if mark is None and not final:
                at -= self.beginning()
            if at:
                given.append(self.off(at))
            if mark is None:
                break
            found = self.bare(self.held, final) if mark == "" else self.readers[mark](self.held, final)
            if found is None and not final and len(self.held) < LONGEST_HELD:
                self.waiting = True
                break
            found = found or Found([], len(self.held))
            words = self.off(found.length)
            given += found.calls or [words]
            if found.calls:
                self.at_line_start = self.after_call = True
        return given

    def off(self, length: int) -> str:
        """Take so many characters off the front."""
        text, self.held = self.held[:length], self.held[length:]
        self.at_line_start = text.endswith("\n") if text else self.at_line_start
        return text

    def next_mark(self) -> tuple[int, str | None]:
        """The first place where a call may begin, and by which mark ("" for bare JSON); else the length and None."""
        places = [(at, mark) for mark in self.readers if (at := self.held.find(mark)) >= 0]
        bare = next((m.start() for m in BARE.finditer(self.held) if m.start() or self.at_line_start), None)
        if bare is not None:
            places.append((bare, ""))
        return min(places) if places else (len(self.held), None)

    def beginning(self) -> int:
        """How many characters at the end of the held text may be the beginning of a mark."""
        maybe = next((m.start() for m in MAYBE.finditer(self.held) if m.start() or self.at_line_start), None)
        at_line = len(self.held) - maybe if maybe is not None else 0
        return max(at_line, *(begun(self.held, mark) for mark in self.readers))

    def hermes(self, text: str, final: bool) -> Found | None:
        """`<tool_call>` up to its end; what is in it counts as a call even where it cannot be read."""
        end, again = text.find(CLOSE), text.find(OPEN, len(OPEN))
        if again > 0 and (end < 0 or again < end):
            return Found([], again)
        if end < 0:
            return None
        body = text[len(OPEN) : end]
        return Found([call_in(body) or guessed(body)], end + len(CLOSE))

    def mistral(self, text: str, final: bool) -> Found | None:
        """`[TOOL_CALLS]` before a list of calls, or before one named call."""
        rest = text[len(MISTRAL) :]
        named = NAMED.match(rest)
        if rest.lstrip().startswith("["):
            end = json_end(rest)
            return None if end is None else Found(calls_in(rest[:end]) or [guessed(rest[:end])], len(MISTRAL) + end)
        if named:
            end = json_end(rest, named.end())
            if end is None:
                return None
            return Found([ToolCall(named[2] or "", named[1], rest[named.end() : end])], len(MISTRAL) + end)
        return None if NAMING.fullmatch(rest) else Found([], len(MISTRAL))

    def llama(self, text: str, final: bool) -> Found | None:
        """`<|python_tag|>` before JSON; code behind it is words."""
        rest = text[len(PYTHON_TAG) :]
        if not rest.strip():
            return None
        if not rest.lstrip().startswith(("{", "[")):
            return Found([], len(PYTHON_TAG))
        end = json_end(rest)
        return None if end is None else Found(calls_in(rest[:end]) or [guessed(rest[:end])], len(PYTHON_TAG) + end)

    def bare(self, text: str, final: bool) -> Found | None:
        """JSON without a mark, which is a call only if every name in it is a tool's."""
        begins = BARE.match(text)
        start = begins.end() if begins else 0
        inner = text[start:].lstrip("[{ \t\r\n")
        if inner and not any(key.startswith(inner[: len(key)]) for key in KEYS):
            return Found([], start + 1)
        end = json_end(text, start)
        if end is None:
            return None
        calls = calls_in(text[start:end], whole=True)
        if not calls or not all(call.name in self.names for call in calls):
            return Found([], end)
        if "```" not in text[:start]:
            return Found(calls, end)
        closing = FENCE_END.match(text, end)
        if closing is None and not final and "```".startswith(text[end:].strip()):
            return None
        return Found(calls, closing.end() if closing else end)
