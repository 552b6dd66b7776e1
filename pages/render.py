"""The Compare tab's words and marks as HTML; every piece of text from a person or a model is escaped here."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from html import escape

from engine.catalog import Model
from engine.compare import LaneResult
from engine.errors import Problem
from engine.models.prices import cost, dollars
from pages.board import Board, LaneView

ENDS = {
    "stop": "finished by itself",
    "length": "reached the token limit",
    "stopped": "stopped by you",
    "error": "failed",
    "content_filter": "cut off by the server's content filter",
    "tool_calls": "asked for a tool",
}
MOST_DIFF_WORDS = 4000  # difflib takes time with the square of the words: about a second at this length
WORDS = re.compile(r"\s*\S+\s*")


def head(place: int, view: LaneView) -> str:
    """A lane's heading: its number, its model, and the adapter's short hash."""
    model = view.model
    state = "running" if view.ask else "ended" if view.turns else "idle"
    name = escape(model.name) if model else "no model chosen"
    return (
        f'<div class="lane-head" data-state="{state}"><h3>'
        f'<span class="lane-number" aria-hidden="true">{place + 1}</span>'
        f'<span class="visually-hidden">Lane {place + 1}: </span>{name}</h3>{kind(model)}</div>'
    )


def kind(model: Model | None) -> str:
    """What the weights are: a base, an adapter with its hash, or somebody's server."""
    if model is None:
        return ""
    if model.endpoint:
        return f'<span class="kind">endpoint · {escape(model.base)}</span>'
    if model.adapter is None:
        return f'<span class="kind">base{bits(model)}</span>'
    try:
        return f'<span class="kind tuned">adapter <code>{model.adapter_hash}</code>{bits(model)}</span>'
    except (Problem, OSError):
        return '<span class="kind tuned">adapter, weights not found</span>'


def bits(model: Model) -> str:
    """The precision it was set to, for those who compare two; nothing where it is automatic."""
    return "" if model.precision == "auto" else f" · {escape(model.precision)}"


def foot(view: LaneView) -> str:
    """What stands under a lane: what it waits for, its figures, or its error."""
    if view.ask:
        if view.ask.waits:
            words = f"{view.ask.waits}…"
        elif not view.ask.began:
            words = "waiting for its turn…"
        else:
            words = f"{count(view.ask.tokens, 'token')} so far" if view.ask.tokens else "reading the prompt…"
        return f'<p class="stats live"><span class="pulse" aria-hidden="true"></span>{escape(words)}</p>'
    if view.last is None:
        return '<p class="stats">no answer yet</p>'
    result, retries, reading = view.last.result, view.last.retries, view.last.reading
    mark = f'<span class="retried">retried, seed {result.seed}</span>' if retries else ""
    if result.error is not None:
        card = f'<div class="lane-error"><strong>This lane failed.</strong> {escape(result.error)}</div>'
        return card + (f'<p class="stats">{mark}</p>' if mark else "")
    if reading and reading.refused:
        return f'<p class="stats">{mark}the model was not asked · {result.seconds:.2f} s</p>'
    paid = cost(view.last.lane.model, result.prompt_tokens, result.tokens)
    price = f" · {dollars(paid)}" if paid is not None else ""
    return f'<p class="stats">{mark}{escape(stats_line(result) + price)}</p>'


def stats_line(result: LaneResult) -> str:
    """Time to first word, tokens, speed, seconds and why the lane ended, in words."""
    first = result.first_token_seconds
    speed = result.tokens_per_second
    parts = [
        f"first word {first:.2f} s" if first is not None else "no word",
        count(result.tokens, "token") if result.tokens is not None else "tokens not reported",
        f"{speed:.1f} tokens/s" if speed is not None else "",
        f"{result.seconds:.2f} s",
        ENDS.get(result.end, result.end),
    ]
    return " · ".join(part for part in parts if part)


def count(number: int, noun: str) -> str:
    """A number with its noun, such as '1 token' or '2 tokens'."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def status(board: Board) -> str:
    """One short line that screen readers announce: how far each lane is."""
    parts = []
    for number, view in enumerate(board.lanes[: board.shown], 1):
        if view.ask:
            # tens only, so that a reader is not told every single word
            parts.append(f"lane {number}: {view.ask.waits or count(view.ask.tokens // 10 * 10, 'token')}")
        elif view.last:
            parts.append(f"lane {number} {'failed' if view.last.result.error else 'done'}")
    line = ", ".join(parts)
    return escape(line[:1].upper() + line[1:])


def difference(board: Board, place: int) -> str:
    """The last answer of a lane marked against the first lane's; empty while either is unfinished."""
    first, view = board.lanes[0], board.lanes[place]
    if not board.diff or place == 0 or first.ask or view.ask or not first.last or not view.last:
        return ""
    if first.last.result.error is not None or view.last.result.error is not None:
        return ""
    marked = diff_html(first.last.text, view.last.text)
    return (
        f'<details class="diff" open><summary>Difference from lane 1</summary><p class="legend">'
        f"<ins>only here</ins> <del>only in lane 1</del></p><div>{marked}</div></details>"
    )


def diff_html(before: str, after: str) -> str:
    """Word by word what changed, as escaped HTML with <ins> and <del>; long texts are compared at their start."""
    if before == after:
        return f'<span class="same">The same, word for word.</span> {escape(after)}'
    old, new = WORDS.findall(before)[:MOST_DIFF_WORDS], WORDS.findall(after)[:MOST_DIFF_WORDS]
    parts = []
    for same, gone, come in runs(old, new):
        parts.append(escape(same))
        parts += [f"<del>{escape(gone)}</del>" if gone else "", f"<ins>{escape(come)}</ins>" if come else ""]
    return "".join(parts)


def runs(old: list[str], new: list[str]) -> list[tuple[str, str, str]]:
    """What stayed, went and came, in turns. Words are compared without the space behind them.

    A few words that happen to be the same between two long changes are counted with the changes: marked word by
    word, two different sentences cannot be read.
    """
    matcher = difflib.SequenceMatcher(a=[w.strip() for w in old], b=[w.strip() for w in new], autojunk=False)
    found: list[tuple[list[str], list[str], list[str]]] = [([], [], [])]
    codes = matcher.get_opcodes()
    for at, (tag, old_from, old_to, new_from, new_to) in enumerate(codes):
        if tag == "equal" and not chance(codes, at):
            found.append((new[new_from:new_to], [], []))
            continue
        found[-1][1].extend(old[old_from:old_to])
        found[-1][2].extend(new[new_from:new_to])
    return [("".join(same), "".join(gone), "".join(come)) for same, gone, come in found]


def chance(codes: Sequence[tuple[str, int, int, int, int]], at: int) -> bool:
    """Whether an equal run lies between changes that are each more than twice as long as it is."""
    if at == 0 or at == len(codes) - 1:
        return False
    length = codes[at][2] - codes[at][1]
    changed = [max(code[2] - code[1], code[4] - code[3]) for code in (codes[at - 1], codes[at + 1])]
    return min(changed) > 2 * length
