"""Prompt styles: how a conversation becomes the exact text that a model reads. Data in assets/prompts."""

from __future__ import annotations

import functools
import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from engine.errors import Problem
from engine.messages import Message
from engine.settings import ASSETS

CHAT = "chat"


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that rendering needs."""

    chat_template: Any

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any: ...


@dataclass(frozen=True)
class PromptStyle:
    """One way to write a conversation.

    `turn` holds `{prompt}` once and `{response}` once, in that order; finished turns are written whole, the open
    one up to `{response}`. `system` is written first when there is a system prompt and holds `{system}`.
    The style named "chat" leaves both empty and uses the model's own template. Where `without_input` names another
    style, `system` holds the instruction and the prompt is its input: with one of them alone that style is written.
    """

    name: str
    title: str
    about: str
    turn: str = ""
    system: str = ""
    without_input: str = ""

    def render(self, messages: Sequence[Message], tokenizer: Tokenizer, tools: Sequence[dict] = ()) -> str:
        """The text up to where the model goes on. Raises Problem when the model has no template of its own."""
        if self.name == CHAT:
            return render_chat(messages, tokenizer, tools)
        if self.without_input and (alone := instruction_alone(messages)):
            return style(self.without_input).render(alone, tokenizer)
        system = "\n".join(m.content for m in messages if m.role == "system")
        text = self.system.replace("{system}", system) if system else ""
        before, rest = self.turn.split("{prompt}")
        between, after = rest.split("{response}")
        for message in messages:
            if message.role == "user":
                text += before + message.content + between.rstrip(" ")
            elif message.role == "assistant":
                text += self.completion(message.content) + after
        return text

    def completion(self, response: str) -> str:
        """The response as it stands behind the rendered prompt, which never ends in a space.

        A space before `{response}` belongs to the response, because tokenizers join it to the word that follows.
        """
        return (" " if " {response}" in self.turn else "") + response.strip(" ")

    def adds_special_tokens(self) -> bool:
        """Whether the tokenizer should add its own start token: a chat template writes it itself."""
        return self.name != CHAT


def instruction_alone(messages: Sequence[Message]) -> Sequence[Message]:
    """The conversation with its instruction as the prompt; empty where there are an instruction and an input."""
    system = "\n".join(m.content for m in messages if m.role == "system")
    talk = [m for m in messages if m.role != "system"]
    if not system.strip():
        return talk
    if talk and talk[0].role == "user" and not talk[0].content.strip():
        return [Message("user", system), *talk[1:]]
    return []


def render_chat(messages: Sequence[Message], tokenizer: Tokenizer, tools: Sequence[dict]) -> str:
    """The conversation in the model's own chat template, opened for the assistant."""
    if not tokenizer.chat_template:
        raise Problem(
            "This model has no chat template, so its own chat style cannot be used. "
            "Choose another prompt style for this lane, such as 'Plain' or 'Question and answer'."
        )
    plain = [spelled(message) for message in messages]
    return tokenizer.apply_chat_template(plain, tools=list(tools) or None, add_generation_prompt=True, tokenize=False)


def spelled(message: Message) -> dict[str, Any]:
    """A message as chat templates read it: arguments of tool calls as objects, results named by their call's id."""
    plain: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        named = [(c.id, {"name": c.name, "arguments": arguments(c.arguments)}) for c in message.tool_calls]
        plain["tool_calls"] = [{"type": "function", "id": id, "function": function} for id, function in named]
    if message.tool_call_id:
        plain["tool_call_id"] = message.tool_call_id
    return plain


def arguments(text: str) -> Any:
    """A call's arguments for a template: an object where they are JSON ("" means none), else the text itself."""
    try:
        return json.loads(text) if text.strip() else {}
    except ValueError:
        return text


@functools.cache
def styles() -> dict[str, PromptStyle]:
    """Every style by its name, in the order of the `order` key of its file in assets/prompts."""
    found = []
    for path in sorted((ASSETS / "prompts").glob("*.toml")):
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        found.append((data.pop("order"), PromptStyle(name=path.stem, **data)))
    return {style.name: style for _, style in sorted(found, key=lambda pair: pair[0])}


def written_out(turn: str) -> PromptStyle:
    """A style of a person's own. Raises Problem where its parts stand in the wrong order."""
    if turn.index("{prompt}") > turn.index("{response}"):
        raise Problem("In a style of one's own {prompt} must stand before {response}.")
    return PromptStyle(turn, "A style of one's own", "", turn, "{system}\n\n")


def style(name: str) -> PromptStyle:
    """The style of that name, or a turn written out with {prompt} and {response}. Raises Problem with the names."""
    if name not in styles() and name.count("{prompt}") == name.count("{response}") == 1:
        return written_out(name)
    if name not in styles():
        raise Problem(f"There is no prompt style '{name}'. Choose one of: {', '.join(styles())}.")
    return styles()[name]
