"""A conversation as a JSON file, and back: read strictly, as plain data only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import pydantic

from engine.acting.history import divided
from engine.errors import Problem
from engine.messages import Message, ToolCall, encodable
from pages.bubbles import replayed
from pages.talk import MOST_TURNS, Chosen, Talk, Turn

MOST_BYTES = 4 * 2**20
TITLE = 60  # characters of a first question that make a title
Text = Annotated[str, pydantic.Field(max_length=200_000)]
Name = Annotated[str, pydantic.Field(max_length=200)]
STRICT = pydantic.ConfigDict(extra="forbid", strict=True)


class Call(pydantic.BaseModel):
    """A tool call; `arguments` is JSON in a text."""

    model_config = STRICT
    id: Name
    name: Name
    arguments: Text


class Entry(pydantic.BaseModel):
    """One message."""

    model_config = STRICT
    role: Literal["user", "assistant", "tool"]
    content: Text
    tool_calls: list[Call] = []
    tool_call_id: Name | None = None


class Transcript(pydantic.BaseModel):
    """The whole file. `format` tells later versions how to read it."""

    model_config = STRICT
    format: Literal[1] = 1
    made_by: Name = "Diptych"
    title: Name = ""
    model: Name = ""
    preset: Name = ""
    system: Text = ""
    tools: Annotated[list[Name], pydantic.Field(max_length=100)] = []
    messages: Annotated[list[Entry], pydantic.Field(max_length=20 * MOST_TURNS)]


def as_json(messages: Sequence[Message], chosen: Chosen, title: str = "", indent: int | None = 2) -> str:
    """The file's text. Keys and addresses of endpoints are not part of it."""
    entries = [
        Entry(
            role=m.role if m.role != "system" else "user",
            content=m.content,
            tool_calls=[Call(id=c.id, name=c.name, arguments=c.arguments) for c in m.tool_calls],
            tool_call_id=m.tool_call_id,
        )
        for m in messages
    ]
    made = Transcript.model_construct(
        format=1, made_by="Diptych", title=title[:200], model=chosen.model[:200], preset=chosen.preset[:200],
        system=chosen.system[:200_000], tools=list(chosen.tools), messages=entries,
    )  # fmt: skip
    return made.model_dump_json(indent=indent, exclude_none=True) + "\n"


def read(data: bytes) -> tuple[list[Turn], Chosen, str]:
    """(turns, what the form said, title) of such a file. Raises Problem."""
    if len(data) > MOST_BYTES:
        raise Problem(f"The file is larger than {MOST_BYTES // 2**20} MiB; a conversation of Diptych is smaller.")
    try:
        found = Transcript.model_validate_json(data)
    except (pydantic.ValidationError, RecursionError) as error:
        raise Problem(f"This is not a conversation that Diptych exported: {first(error)}") from None
    messages = [message(entry) for entry in found.messages]
    if wrong := unsound(messages):
        raise Problem(f"This conversation does not hold together: {wrong}")
    turns = divided(messages, "user")
    if len(turns) > MOST_TURNS:
        raise Problem(f"The conversation has more than {MOST_TURNS} turns.")
    model, preset, system = map(encodable, (found.model, found.preset, found.system))
    chosen = Chosen(model, preset, system, tuple(map(encodable, found.tools)))
    made = [Turn(turn[0].content, replayed(turn), tuple(turn)) for turn in turns]
    return made, chosen, encodable(found.title)


def record(talk: Talk) -> str:
    """The conversation as the browser keeps it: its id, title, time (seconds since 1970), and the exported file."""
    messages = [message for turn in talk.turns for message in turn.messages]
    asked = next((turn.prompt for turn in talk.turns), "")
    title = talk.title or " ".join(asked.split())[:TITLE] or "Conversation"
    file = as_json(messages, talk.chosen, talk.title, indent=None)
    kept = {"id": talk.id, "title": title, "changed": talk.changed, "empty": not talk.turns, "file": json.loads(file)}
    return json.dumps(kept, ensure_ascii=False)


def json_schema() -> dict[str, Any]:
    """The JSON schema of the file, which assets/conversation.schema.json publishes."""
    about = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A conversation exported by Diptych"}
    return {**Transcript.model_json_schema(), **about}


def first(error: Exception) -> str:
    """The first complaint in words."""
    if not isinstance(error, pydantic.ValidationError):
        return "it is nested too deeply."
    one = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, one["loc"]))
    return f"{place + ': ' if place else ''}{one['msg']}."


def message(entry: Entry) -> Message:
    """An entry as a message."""
    calls = tuple(ToolCall(c.id, c.name, c.arguments) for c in entry.tool_calls)
    id = None if entry.tool_call_id is None else encodable(entry.tool_call_id)
    return Message(entry.role, encodable(entry.content), calls, id)


def unsound(messages: Sequence[Message]) -> str:
    """Why no model could go on with these messages; empty when one can."""
    if messages and messages[0].role != "user":
        return "it does not begin with a question."
    open_ids: list[str | None] = []
    for each in messages:
        if each.role == "tool":
            if each.tool_call_id not in open_ids:
                return "a result belongs to no call."
            open_ids.remove(each.tool_call_id)
        elif open_ids:
            return "a call has no result."
        if each.tool_calls and each.role != "assistant":
            return "only the assistant can call tools."
        open_ids += [call.id for call in each.tool_calls]
    ids = [call.id for each in messages for call in each.tool_calls]
    if open_ids or len(ids) != len(set(ids)):
        return "a call has no result, or two calls have the same id."
    return ""


def plain(messages: Sequence[Message]) -> list[dict]:
    """The messages as plain data, as the endpoint /chat gives and takes them."""
    return [
        {
            "role": m.role,
            "content": m.content,
            "tool_calls": [{"id": c.id, "name": c.name, "arguments": c.arguments} for c in m.tool_calls],
            "tool_call_id": m.tool_call_id,
        }
        for m in messages
    ]


def history(entries: list[dict] | None) -> list[Message]:
    """Messages from plain data. Raises Problem."""
    try:
        found = Transcript.model_validate({"messages": entries or []})
    except pydantic.ValidationError as error:
        raise Problem(f"The history cannot be read: {first(error)}") from None
    messages = [message(entry) for entry in found.messages]
    if sum(len(each.content) for each in messages) > MOST_BYTES:
        raise Problem(f"The history is longer than {MOST_BYTES // 2**20} MiB.")
    if wrong := unsound(messages):
        raise Problem(f"The history does not hold together: {wrong}")
    return messages
