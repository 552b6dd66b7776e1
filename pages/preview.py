"""What the lanes are about to read, shown before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from engine.access import Visitor
from engine.data.tokenizer_files import FileTokenizer, tokenizer_here
from engine.errors import Problem
from engine.messages import Message, encodable
from engine.prompts import CHAT, style
from pages import board as boards
from pages.desk import Desk
from pages.form import AS_SHARED, PER_LANE, SHARED, resolve
from pages.parts import asks, visitor
from pages.render import count

SAMPLE = "Great content, thank you!"
UNSEEN = "Each model writes it with its own template; after sending, the exact prompt stands under the lanes."
LONGEST_SHOWN = 20_000  # characters; a browser takes seconds to lay out a megabyte of them
LONGEST_COUNTED = 1_000_000  # characters, which take some seconds to tokenize


@dataclass(frozen=True)
class Asked:
    """A lane before it is asked: its tokenizer, where that is on this machine, its style, and what it would be told.

    `grounded` says that passages of its documents will join the prompt.
    """

    style: str
    messages: tuple[Message, ...]
    tokenizer: FileTokenizer | None = None
    grounded: bool = False


@dataclass(frozen=True)
class Written:
    """What a lane would read and in how many tokens, where they could be counted; or why it cannot be shown."""

    about: str
    text: str = ""
    tokens: int | None = None
    grounded: bool = False
    hint: str = ""


def written(asked: Asked) -> Written:
    """The exact prompt of a lane."""
    chosen, tokenizer = style(asked.style), asked.tokenizer
    if chosen.name == CHAT and tokenizer is None:
        return Written(chosen.about, hint=UNSEEN)
    try:
        # only the chat style needs a tokenizer
        text = encodable(chosen.render(asked.messages, tokenizer))  # type: ignore[arg-type]
    except Problem as problem:
        return Written(chosen.about, hint=str(problem))
    counted = tokenizer if len(text) <= LONGEST_COUNTED else None
    tokens = counted.count(text, chosen.adds_special_tokens()) if counted else None
    return Written(chosen.about, text, tokens, asked.grounded)


def preview(lanes: Sequence[Asked]) -> str:
    """What lanes would read, as escaped HTML; those that would read the same share one text."""
    made = {asked: written(asked) for asked in dict.fromkeys(lanes)}  # tokenizing is done once for equal lanes
    readers: dict[Written, list[int]] = {}
    for number, asked in enumerate(lanes, 1):
        readers.setdefault(made[asked], []).append(number)
    return "".join(block(each, numbers, len(readers) > 1) for each, numbers in readers.items())


def block(one: Written, numbers: Sequence[int], named: bool) -> str:
    """One text with what is to say about it; `named` says for which lanes it stands."""
    who = f"<strong>Lane{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}</strong> · " if named else ""
    if one.hint:
        return f'<p class="hint">{who}{escape(one.about)} {escape(one.hint)}</p>'
    size = f", {count(one.tokens, 'token')}" if one.tokens is not None else ""
    later = ", besides passages of its documents" if one.grounded else ""
    heading = f'<p class="hint">{who}{escape(one.about)} A model reads{later}{size}:</p>'
    return f'{heading}<pre class="preview">{escape(shortened(one.text))}</pre>'


def shortened(text: str) -> str:
    """Beginning and end of a text that is too long to be shown."""
    half = LONGEST_SHOWN // 2
    if len(text) <= LONGEST_SHOWN:
        return text
    return f"{text[:half]}\n… ({len(text) - 2 * half:,} characters) …\n{text[-half:]}"


def told(system: str, earlier: Sequence[Message], prompt: str) -> tuple[Message, ...]:
    """What a model is told; a sample stands for a prompt that is not written yet."""
    instructed = [Message("system", system)] if system.strip() else []
    return (*instructed, *earlier, Message("user", prompt if prompt.strip() else SAMPLE))


def asked_lanes(desk: Desk, prompt: str, values: Sequence[Any], who: Visitor) -> list[Asked]:
    """The lanes on the page from the values of SHARED and then of PER_LANE for each lane."""
    common, rest, size = dict(zip(SHARED, values, strict=False)), values[len(SHARED) :], len(PER_LANE)
    found = []
    for place in range(desk.board.shown):
        mine = dict(zip(PER_LANE, rest[place * size :], strict=False))
        system = (mine if mine["own"] else common)["system"] or ""
        chosen = {name: common[name] if mine[name] == AS_SHARED else mine[name] for name in ("style", "collection")}
        messages = told(system, boards.history(desk.board.lanes[place]), prompt)
        tokenizer = tokenizer_of(mine["model"], f"lane {place + 1}", desk, who)
        found.append(Asked(chosen["style"], messages, tokenizer, bool((chosen["collection"] or "").strip())))
    return found


def tokenizer_of(name: str | None, of: str, desk: Desk, who: Visitor) -> FileTokenizer | None:
    """The tokenizer of the model that a lane's picker names. What is wrong with the two is told by Send."""
    try:
        return tokenizer_here(resolve(name, of, desk, who)[0])
    except Problem:
        return None


def turned(opened: bool) -> Any:
    """Remember whether the preview is open."""

    @asks("look")
    def turn(request: gr.Request) -> bool:
        return opened

    return turn


@asks("look")
def show_preview(request: gr.Request, opened: bool, desk: Desk, prompt: str, *values: Any) -> Any:
    """The preview for what the form holds now; nothing is done while it is closed."""
    return preview(asked_lanes(desk, prompt or "", values, visitor(request))) if opened else gr.skip()
