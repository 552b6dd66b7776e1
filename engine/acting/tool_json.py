"""Tool calls in the JSON that models write: read strictly, under the key names that they are known to use."""

from __future__ import annotations

import json
import re
from typing import Any

from engine.acting.schema import Unreadable, no_constant, once_each
from engine.messages import ToolCall

KEYS = ('"name"', '"type"', '"function"', '"parameters"', '"arguments"', '"id"')
KNOWN = frozenset(key.strip('"') for key in KEYS)
NAME = re.compile(r'"name"\s*:\s*"([\w.-]{1,64})"')


def json_end(text: str, start: int = 0) -> int | None:
    """Where the first object or list from `start` ends; None while it is open. Brackets in strings do not count."""
    depth, inside, escaped = 0, False, False
    for at in range(start, len(text)):
        sign = text[at]
        if inside:
            if escaped:
                escaped = False
            elif sign == "\\":
                escaped = True
            elif sign == '"':
                inside = False
        elif sign == '"':
            inside = True
        elif sign in "[{":
            depth += 1
        elif sign in "]}":
            depth -= 1
            if depth <= 0:
                return at + 1
    return None


def read(text: str) -> Any:
    """The JSON value, names once each. Raises Unreadable."""
    try:
        return json.loads(text, object_pairs_hook=once_each, parse_constant=no_constant)
    except (ValueError, RecursionError):
        raise Unreadable("no JSON") from None


def call_in(text: str) -> ToolCall | None:
    """The one call that a text is; None where it is something else."""
    calls = calls_in(text)
    return calls[0] if len(calls) == 1 else None


def calls_in(text: str, whole: bool = False) -> list[ToolCall]:
    """The calls that a JSON object or list is; none where any of it is something else. `whole`: see call_of."""
    try:
        value = read(text)
    except Unreadable:
        return []
    calls = [call_of(each, whole) for each in (value if isinstance(value, list) else [value])]
    return [call for call in calls if call is not None] if all(calls) else []


def call_of(value: Any, whole: bool = False) -> ToolCall | None:
    """An object as a call: name, and arguments (Llama's "parameters") as an object or as text; ids are optional.

    Without `whole` the arguments may be missing, as they are for a tool that takes none.
    """
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = {**value["function"], **({"id": value["id"]} if "id" in value else {})}
    if not isinstance(value, dict) or not set(value) <= KNOWN or not isinstance(value.get("name"), str):
        return None
    given = [value[key] for key in ("arguments", "parameters") if key in value]
    if len(given) > 1 or (whole and not given) or not all(isinstance(each, dict | str | None) for each in given):
        return None
    text = given[0] if given and isinstance(given[0], str) else json.dumps((given or [{}])[0] or {}, ensure_ascii=False)
    return ToolCall(value["id"] if isinstance(value.get("id"), str) else "", value["name"], text)


def guessed(body: str) -> ToolCall:
    """A call that was marked as one and cannot be read: its arguments are all of it, in a way that never runs."""
    name, text = NAME.search(body), body.strip()
    try:
        runs = not text or isinstance(read(text), dict)
    except Unreadable:
        runs = False
    return ToolCall("", name[1] if name else "", f"[{text}]" if runs else text)
