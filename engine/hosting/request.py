"""One request in OpenAI's shape, and what may be given up of it when a server refuses a part."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import openai

from engine.hosting.answer import whole
from engine.hosting.errors import said
from engine.messages import Message, Sampling

# Options that a server may refuse, in the order in which they are given up when it names several at once.
DISPENSABLE = ("response_format", "stream_options", "seed", "top_k", "repetition_penalty", "top_p", "temperature")


def options(sampling: Sampling, tools: Sequence[dict]) -> dict[str, Any]:
    """The request besides model and messages. top_k and repetition_penalty are vLLM's; sent only when switched on."""
    body: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "seed": sampling.seed,
        "stream_options": {"include_usage": True},
    }
    if sampling.top_k:
        body["top_k"] = sampling.top_k
    if sampling.repetition_penalty != 1:
        body["repetition_penalty"] = sampling.repetition_penalty
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if tools:
        body["tools"] = list(tools)
    return body


def without(body: dict[str, Any], refused: set[str]) -> dict[str, Any]:
    """The request for a server that refused these options. max_tokens only changes its name.

    OpenAI's newer models want it as max_completion_tokens, which other servers do not know.
    """
    kept = {name: value for name, value in body.items() if name not in refused}
    if "max_tokens" in refused:
        kept["max_completion_tokens"] = body["max_tokens"]
    return kept


def refusal(error: openai.APIError, body: dict[str, Any]) -> str | None:
    """The one option of this body that the server refuses and that may go; None when its complaint names none."""
    if not isinstance(error, openai.APIStatusError) or error.status_code not in (400, 422):
        return None
    named = set(re.findall(r"\w+", error.param if isinstance(error.param, str) else said(error)))
    if "max_tokens" in named and "max_tokens" in body and "max_completion_tokens" in said(error):
        return "max_tokens"
    return next((name for name in DISPENSABLE if name in named and name in body), None)


def readable(message: Message) -> str:
    """A message as the person sees it in the prompt that was sent."""
    calls = "".join(f"\n{call.name}({call.arguments})" for call in message.tool_calls)
    return f"{message.role}: {message.content}{calls}"


def wire_message(message: Message) -> dict[str, Any]:
    """A message in OpenAI's shape."""
    body: dict[str, Any] = {"role": message.role, "content": whole(message.content)}
    if message.tool_calls:
        body["content"] = body["content"] or None
        body["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    return body
