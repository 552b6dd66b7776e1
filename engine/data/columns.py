"""Says what the columns of a table mean, and makes examples of its rows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args

from engine.data.json_rows import CONVERSATIONS
from engine.data.table import Fault, Row, Table, kind_of
from engine.datasets import Dataset, Example
from engine.errors import Problem
from engine.messages import Message, Role, ToolCall, encodable

# part: what the column that plays it holds. A mapping gives each part a column's name or a text with {column} in it
PARTS = {
    "messages": "whole conversations, a list of messages with role and content",
    "text": "text to go on writing, without prompt and response",
    "prompt": "what the person says",
    "response": "what the model should answer",
    "input": "further context behind the prompt, as in Alpaca",
    "system": "instructions in front of the conversation",
}
TEXTS = ("text", "content", "document")
SYSTEMS = ("system", "system_prompt", "system prompt")
PAIRS = (
    ("instruction", "output"),
    ("instruction", "response"),
    ("question", "answer"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("comment", "response"),
    ("comment", "reply"),
    ("query", "answer"),
    ("query", "response"),
    ("input", "output"),
    ("source", "target"),
    ("user", "assistant"),
    ("human", "assistant"),
    ("prompt", "chosen"),
    ("text", "label"),
)
CONTEXTS = ("input", "context")
ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant", "developer": "system"}
ROLES |= {role: role for role in get_args(Role)} | {"function": "tool"}
PLACEHOLDER = re.compile(r"\{([^{}\n]+)\}")


class Unusable(Exception):
    """Why one row cannot become an example; the end of a sentence that begins with its number."""


def recognise(columns: Sequence[str]) -> dict[str, str]:
    """Which column plays which part, by their names. Raises Problem where the names do not tell."""
    named = {column.lower(): column for column in reversed(columns)}
    if found := next((named[name] for name in CONVERSATIONS if name in named), None):
        return {"messages": found}
    for prompt, response in PAIRS:
        if prompt in named and response in named:
            mapping = {"prompt": named[prompt], "response": named[response]}
            context = next((named[name] for name in CONTEXTS if name in named), None)
            if prompt == "instruction" and context:
                mapping["input"] = context
            system = next((named[name] for name in SYSTEMS if name in named), None)
            return mapping | ({"system": system} if system else {})
    if found := next((named[name] for name in TEXTS if name in named), None):
        return {"text": found}
    if len(columns) == 2:
        return {"prompt": columns[0], "response": columns[1]}
    if len(columns) == 1:
        lonely = next((pair for pair in PAIRS if columns[0].lower() in pair), None)
        if lonely is None:
            return {"text": columns[0]}
        raise Problem(f"There is only the column '{columns[0]}', without one for the other half ({lonely[1]}).")
    raise Problem(
        f"The columns {', '.join(columns) or '(none)'} do not say which is the prompt and which the response. "
        "Choose them by hand."
    )


def guessed(mapping: Mapping[str, str]) -> bool:
    """Whether `recognise` went by the number of columns alone."""
    pair = (mapping.get("prompt", "").lower(), mapping.get("response", "").lower())
    return "prompt" in mapping and pair not in PAIRS


def dataset_from(table: Table, mapping: Mapping[str, str] | None = None) -> Dataset:
    """The table's examples. A row that cannot be one becomes a fault. Raises Problem for a wrong mapping."""
    chosen = {part: column for part, column in mapping.items() if column} if mapping else recognise(table.columns)
    check(chosen, table.columns)
    notes = list(table.notes)
    if not mapping and guessed(chosen):
        notes.append(f"Column '{chosen['prompt']}' is taken as the prompt and '{chosen['response']}' as the response.")
    examples, faults = [], list(table.faults)
    for row in table.rows:
        try:
            examples.append(example_from(row, chosen))
        except Unusable as reason:
            faults.append(Fault(row.number, str(reason)))
    faults.sort(key=lambda fault: fault.row)
    return Dataset(table.name, tuple(examples), tuple(faults), tuple(notes))


def check(mapping: Mapping[str, str], columns: Sequence[str]) -> None:
    """Raise Problem with everything that is wrong with a mapping."""
    wrong = [f"There is no part '{part}'; there are {', '.join(PARTS)}." for part in mapping if part not in PARTS]
    for part, column in mapping.items():
        missing = [name for name in used(column) if name not in columns]
        if missing:
            wrong.append(f"There is no column '{', '.join(missing)}' for the {part}; there are {', '.join(columns)}.")
    ways = ("messages" in mapping) + ("text" in mapping) + ("prompt" in mapping or "response" in mapping)
    if ways > 1:
        wrong.append("Choose either messages, or text, or prompt and response; not several of them.")
    elif not ways or ("prompt" in mapping) != ("response" in mapping):
        wrong.append("Choose a column for both the prompt and the response, or one for messages or text.")
    if wrong:
        raise Problem(" ".join(wrong))


def used(column: str) -> list[str]:
    """The columns that a part of a mapping reads: its name, or those named in braces."""
    return PLACEHOLDER.findall(column) or [column]


def example_from(row: Row, mapping: Mapping[str, str]) -> Example:
    """One row as an example. Raises Unusable."""
    if "messages" in mapping:
        messages = conversation(row.cells.get(mapping["messages"]))
    elif "text" in mapping:
        messages = (Message("assistant", filled(row, "text", mapping)),)
    else:
        messages = pair(row, mapping)
    taken = {name for part, column in mapping.items() if part != "input" for name in used(column)}
    if "input" in mapping:
        taken.discard(mapping["prompt"])
    fields = tuple(
        (name, encodable(str(value)))
        for name, value in row.cells.items()
        if name not in taken and isinstance(value, str | int | float) and value != ""
    )
    return Example(messages, row.number, fields)


def pair(row: Row, mapping: Mapping[str, str]) -> tuple[Message, ...]:
    """Prompt and response; an input stands below the prompt, a system prompt above it."""
    prompt, response = filled(row, "prompt", mapping), filled(row, "response", mapping)
    extra = filled(row, "input", mapping, needed=False) if "input" in mapping else ""
    system = filled(row, "system", mapping, needed=False) if "system" in mapping else ""
    said = (Message("user", f"{prompt}\n\n{extra}" if extra else prompt), Message("assistant", response))
    return (Message("system", system), *said) if system else said


def filled(row: Row, part: str, mapping: Mapping[str, str], needed: bool = True) -> str:
    """The text that plays a part in a row. Raises Unusable where it is missing, empty or no text."""
    names = used(mapping[part])
    values = {name: text_of(row, name) for name in names}
    if mapping[part] in values:
        text = values[mapping[part]]
    else:
        text = PLACEHOLDER.sub(lambda found: values[found[1]], mapping[part])
    if needed and not "".join(values.values()).strip():
        raise Unusable(f"its {part} is empty")
    return encodable(text)


def text_of(row: Row, column: str) -> str:
    """A cell as text; a missing or null one is empty. Raises Unusable for lists and objects."""
    value = row.cells.get(column)
    if value is None:
        return ""
    if isinstance(value, str | int | float):
        return str(value)
    raise Unusable(f"its '{column}' is {kind_of(value) if isinstance(value, list) else 'an object'} and not a text")


def conversation(value: Any) -> tuple[Message, ...]:
    """Messages as OpenAI or ShareGPT write them, or as JSON text of either. Raises Unusable."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise Unusable("its messages are not valid JSON") from None
    if not isinstance(value, list) or not value:
        raise Unusable("it has no list of messages")
    messages = tuple(message_from(each, number) for number, each in enumerate(value, 1))
    last = messages[-1]
    if last.role != "assistant":
        raise Unusable(f"its last message is the {last.role}'s and not the assistant's")
    if not last.content.strip() and not last.tool_calls:
        raise Unusable("its response is empty")
    if len(messages) > 1 and not any(message.role == "user" for message in messages):
        raise Unusable("its messages hold none of the user")
    return messages


def message_from(value: Any, number: int) -> Message:
    """One message. Raises Unusable."""
    if not isinstance(value, dict):
        raise Unusable(f"its message {number} is {kind_of(value)} and not an object")
    said = str(value.get("role", value.get("from", ""))).lower()
    if said not in ROLES:
        raise Unusable(f"its message {number} has the unknown role '{said[:40]}'")
    content = value.get("content", value.get("value"))
    if isinstance(content, list) and all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in content):
        content = "".join(part["text"] for part in content)
    calls = tool_calls(value.get("tool_calls") or (), number)
    if not isinstance(content, str) and not (content is None and calls):
        raise Unusable(f"its message {number} has no text")
    call_id = value.get("tool_call_id")
    return Message(cast(Role, ROLES[said]), encodable(content or ""), calls, str(call_id) if call_id else None)


def tool_calls(value: Any, number: int) -> tuple[ToolCall, ...]:
    """The calls of a message. Raises Unusable."""
    made = []
    try:
        for call in value:
            arguments = call["function"].get("arguments", "{}")
            text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
            json.loads(text)
            made.append(ToolCall(str(call.get("id") or ""), str(call["function"]["name"]), text))
    except (TypeError, KeyError, AttributeError, ValueError):
        raise Unusable(f"its message {number} has tool calls that cannot be read") from None
    return tuple(made)
