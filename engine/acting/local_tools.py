"""Tools for local models: through the chat template, or written into the prompt where the template has no place."""

from __future__ import annotations

import functools
import json
import uuid
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

from engine.acting.tool_text import CLOSE, OPEN, SPECIAL, ToolText
from engine.errors import Problem
from engine.messages import End, Message, Piece, ToolCall
from engine.prompts import CHAT, Tokenizer, render_chat
from engine.respond import Event
from engine.settings import ASSETS

CANARY = "canary_b3f1"
PROBE = {
    "type": "function",
    "function": {"name": CANARY, "description": "", "parameters": {"type": "object", "properties": {}}},
}
NO_PLACE = (
    "The chat template of {name} has no place for tools. Switch on 'Describe the tools in the prompt' (on the command "
    "line: --describe-tools), choose a model that was trained with tools, or switch the tools off."
)


def prepared(
    messages: Sequence[Message], tokenizer: Tokenizer, style: str, tools: Sequence[dict], describe: bool, name: str
) -> tuple[Sequence[Message], str, Sequence[dict]]:
    """(messages, style, tools for the template) as a local model can be asked. Raises Problem.

    Tools go through the model's own chat template, whatever style its lanes use. With `describe` they are written
    into the system prompt instead, and what was called and answered before becomes plain text.
    """
    if describe:
        told = written_out(messages)
        return (with_system(told, description(tools)) if tools else told), style, ()
    if tools:
        if not takes_tools(tokenizer):
            raise Problem(NO_PLACE.format(name=name))
        return messages, CHAT, tools
    native = style == CHAT and takes_tools(tokenizer)
    return (messages if native else written_out(messages)), style, ()


def takes_tools(tokenizer: Tokenizer) -> bool:
    """Whether the model's chat template writes the tools that it is given."""
    if not tokenizer.chat_template:
        return False
    try:
        return CANARY in render_chat([Message("user", "hi")], tokenizer, [PROBE])
    except Exception:
        return False  # a template may fail at anything that it does not know


def description(tools: Sequence[dict]) -> str:
    """What a model without a place for tools is told about them."""
    lines = "\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in tools)
    return template().replace("{tools}", lines)


@functools.cache
def template() -> str:
    """The words around the tools in a prompt."""
    return (ASSETS / "tools" / "in_prompt.txt").read_text(encoding="utf-8").strip()


def with_system(messages: Sequence[Message], text: str) -> list[Message]:
    """The messages with a text at the end of the system prompt, or as one."""
    if messages and messages[0].role == "system":
        return [replace(messages[0], content=f"{messages[0].content}\n\n{text}"), *messages[1:]]
    return [Message("system", text), *messages]


def written_out(messages: Sequence[Message]) -> list[Message]:
    """Calls and results as text, for models that know neither; results of one reply make one message."""
    plain: list[Message] = []
    for message in messages:
        if message.role == "tool":
            text = f"<tool_response>{message.content}</tool_response>"
            if plain and plain[-1].role == "user" and plain[-1].content.startswith("<tool_response>"):
                plain[-1] = replace(plain[-1], content=f"{plain[-1].content}\n{text}")
            else:
                plain.append(Message("user", text))
        elif message.tool_calls:
            calls = [f'{OPEN}{{"name": "{c.name}", "arguments": {c.arguments}}}{CLOSE}' for c in message.tool_calls]
            plain.append(Message("assistant", "\n".join([message.content, *calls]).strip()))
        else:
            plain.append(message)
    return plain


def marks(tokenizer: Any) -> frozenset[int]:
    """Ids of the special tokens that mark tool calls, which must not be dropped from the text. Often there are none.

    Mistral's [TOOL_CALLS] is one; the <tool_call> of Qwen and of the starter is an ordinary token.
    """
    added = tokenizer.get_added_vocab()
    return frozenset(added[mark] for mark in SPECIAL if added.get(mark) in tokenizer.all_special_ids)


def with_calls(events: Generator[Event], tools: Sequence[dict]) -> Generator[Event]:
    """A local model's events with the calls taken out of its words."""
    text = ToolText([tool["function"]["name"] for tool in tools])
    called = False
    for event in events:
        if not isinstance(event, Piece | End):
            yield event
            continue
        for found in text.feed(event.text) if isinstance(event, Piece) else text.finish():
            if isinstance(found, ToolCall):
                called = True
                yield replace(found, id=found.id or f"call_{uuid.uuid4().hex[:9]}")
            else:
                yield Piece(found, at=event.at)
        if isinstance(event, End):
            yield replace(event, reason="tool_calls") if called and event.reason == "stop" else event
