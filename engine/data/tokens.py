"""Turns an example into the tokens that training reads, and marks which of them carry loss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal

import numpy as np

from engine.datasets import Example
from engine.errors import Problem
from engine.messages import Message, encodable
from engine.prompts import CHAT, PromptStyle, spelled, styles

Side = Literal["left", "right"]
Loss = Literal["completion", "assistant", "all"]
MASKED = -100  # the label that torch's cross-entropy leaves out
AT_ONCE = 128  # examples in one call of the tokenizer

LOSSES: dict[str, str] = {
    "completion": "the last response only",
    "assistant": "every turn of the assistant",
    "all": "every token, the prompt too",
}


@dataclass(frozen=True)
class Tokens:
    """One example as training reads it, at most `limit` tokens.

    `labels` equal `ids` where a token carries loss and are -100 elsewhere. `cut` tokens were cut off; `meant` is how
    many would carry loss without the cut, and `trained` how many do. `stops` says
    whether the last token is a stop token that carries loss. `joined` says that one token holds both the end of
    the prompt and the start of a response, which a model that is only given the prompt never reads.
    `text` is the rendered example before it was cut, without an appended stop token.
    """

    ids: tuple[int, ...]
    labels: tuple[int, ...]
    cut: int
    meant: int
    stops: bool
    joined: bool
    text: str

    @property
    def trained(self) -> int:
        """How many tokens carry loss."""
        return sum(label != MASKED for label in self.labels)


@dataclass(frozen=True)
class Draft:
    """A rendered example: its text, the parts of it [start, end) that carry loss, and who writes special tokens."""

    text: str
    spans: tuple[tuple[int, int], ...]
    special: bool


def tokenized(
    example: Example, style: PromptStyle, tokenizer: Any, limit: int, side: Side, loss: Loss = "completion"
) -> Tokens:
    """The example's tokens, cut to `limit` on the given side. Training and the preview both call this.

    Prompt and response are tokenized as one string; a token carries loss when any of its characters do. The stop
    token is appended, unless a chat template has written its own, and carries loss. Raises Problem when the style
    cannot render the example.
    """
    return next(tokenized_all([example], style, tokenizer, limit, side, loss))


def tokenized_all(
    examples: Iterable[Example], style: PromptStyle, tokenizer: Any, limit: int, side: Side, loss: Loss = "completion"
) -> Iterator[Tokens]:
    """`tokenized` for many examples, with few calls of the tokenizer."""
    drafts: list[Draft] = []
    for example in examples:
        drafts.append(draft(example, style, tokenizer, loss))
        if len(drafts) == AT_ONCE:
            yield from encoded(drafts, tokenizer, limit, side)
            drafts = []
    if drafts:
        yield from encoded(drafts, tokenizer, limit, side)


def draft(example: Example, style: PromptStyle, tokenizer: Any, loss: Loss) -> Draft:
    """Render an example and find what carries loss. Plain text is taken as it stands, whatever the style."""
    if example.plain and not example.messages[0].tool_calls:
        text = encodable(example.response)
        return Draft(text, ((0, len(text)),), special=True)
    style, messages = fitting(example, style)
    text, spans = (chat_draft if style.name == CHAT else written_draft)(messages, style, tokenizer, loss)
    whole = ((0, len(text)),) if loss == "all" else tuple(spans)
    return Draft(text, whole, style.adds_special_tokens())


def fitting(example: Example, style: PromptStyle) -> tuple[PromptStyle, Sequence[Message]]:
    """The style and messages for one row: Alpaca has a second template for rows with an input."""
    fields = dict(example.fields)
    if style.name == "alpaca" and fields.get("instruction") and fields.get("input"):
        with_input = (Message("system", fields["instruction"]), Message("user", fields["input"]))
        return styles()["alpaca-input"], (*with_input, example.messages[-1])
    return style, [replace(message, content=encodable(message.content)) for message in example.messages]


def carrying(messages: Sequence[Message], loss: Loss) -> list[int]:
    """The places of the turns that carry loss."""
    if loss != "assistant":
        return [len(messages) - 1]
    return [place for place, message in enumerate(messages) if message.role == "assistant"]


def written_draft(
    messages: Sequence[Message], style: PromptStyle, tokenizer: Any, loss: Loss
) -> tuple[str, list[tuple[int, int]]]:
    """Text and spans in a style of ours. What the style writes behind a response, such as ###STOP###, belongs to it."""
    if any(message.tool_calls or message.role == "tool" for message in messages):
        raise Problem(f"The style '{style.title}' has no place for tool calls. Choose the model's own chat template.")
    ending = style.turn.split("{response}")[1].rstrip()
    text = style.render(messages[:-1], tokenizer) + style.completion(messages[-1].content) + ending
    spans = []
    for place in carrying(messages, loss):
        start = len(style.render(messages[:place], tokenizer))
        spans.append((start, start + len(style.completion(messages[place].content) + ending)))
    return text, spans


def chat_draft(
    messages: Sequence[Message], style: PromptStyle, tokenizer: Any, loss: Loss
) -> tuple[str, list[tuple[int, int]]]:
    """Text and spans in the model's own chat template; the mark that ends a turn belongs to the turn."""
    text = closed(messages, tokenizer, style)
    spans = []
    for place in carrying(messages, loss):
        prompt = style.render(messages[:place], tokenizer)
        turn = text if place == len(messages) - 1 else closed(messages[: place + 1], tokenizer, style)
        if not (turn.startswith(prompt) and text.startswith(turn)):
            raise Problem(
                "This model's chat template writes a turn differently once another follows, so what carries loss "
                "cannot be marked exactly. Choose another prompt style, or loss on every token."
            )
        spans.append((len(prompt), len(turn)))
    return text, spans


def closed(messages: Sequence[Message], tokenizer: Any, style: PromptStyle) -> str:
    """The finished conversation in the chat template, without space behind its last mark."""
    style.render(messages[:-1], tokenizer)  # raises Problem where the model has no template
    plain = [spelled(message) for message in messages]
    return tokenizer.apply_chat_template(plain, add_generation_prompt=False, tokenize=False).rstrip()


def encoded(drafts: Sequence[Draft], tokenizer: Any, limit: int, side: Side) -> Iterator[Tokens]:
    """Tokens of drafts, in order, with one call of the tokenizer for each run of drafts that are written alike."""
    if not tokenizer.is_fast:
        raise Problem("This model has a slow tokenizer, which cannot say where its tokens lie. Choose another model.")
    for special, run in groupby(drafts, key=lambda each: each.special):
        alike = list(run)
        texts = [each.text for each in alike]
        found = tokenizer(texts, add_special_tokens=special, return_offsets_mapping=True)
        for each, ids, offsets in zip(alike, found["input_ids"], found["offset_mapping"], strict=True):
            yield marked(each, ids, offsets, tokenizer, limit, side)


def marked(
    each: Draft, ids: Sequence[int], offsets: Sequence[tuple[int, int]], tokenizer: Any, limit: int, side: Side
) -> Tokens:
    """Labels for the tokens of a draft, the stop token, and the cut."""
    ids = list(ids)
    starts, finishes = np.asarray(offsets, dtype=np.int64).reshape(-1, 2).T
    touching = [(starts < to) & (begin < finishes) for begin, to in each.spans]
    carries = np.any(touching, axis=0).tolist() if touching else [False] * len(ids)
    joined = any(bool(np.any((starts < begin) & (begin < finishes))) for begin, _ in each.spans)
    if stops := ends(ids, each, tokenizer):
        carries[-1] = True
    elif stops := tokenizer.eos_token_id is not None:
        ids.append(tokenizer.eos_token_id)
        carries.append(True)
    labels = [id if loss else MASKED for id, loss in zip(ids, carries, strict=True)]
    cut = max(0, len(ids) - limit)
    kept = slice(cut, None) if side == "left" else slice(0, limit)
    stops = stops and not (cut and side == "right")
    return Tokens(tuple(ids[kept]), tuple(labels[kept]), cut, sum(carries), stops, joined, each.text)


def ends(ids: Sequence[int], each: Draft, tokenizer: Any) -> bool:
    """Whether the text itself ends the reply: with the stop token, or with the special token of a chat template."""
    if not ids or ids[-1] == tokenizer.eos_token_id:
        return bool(ids)
    return not each.special and ids[-1] in tokenizer.all_special_ids
