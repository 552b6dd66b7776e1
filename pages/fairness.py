"""Proof that a comparison was fair, as HTML: prompts, seeds, adapters that really act, and what was cut."""

from __future__ import annotations

from html import escape

from pages.board import Board, Turn, collection
from pages.render import count


def fairness(board: Board) -> str:
    """Proof that the comparison was fair: prompts, seeds, adapters that really act, and what was cut."""
    turns = {n: v.last for n, v in enumerate(board.lanes[: board.shown], 1) if v.last and not v.ask}
    answered = {n: turn for n, turn in turns.items() if turn.result.error is None}
    notes = "".join(f'<p class="note" role="note">{escape(text)}</p>' for text in board.notes)
    compared = len(answered) > 1
    lines = [*sameness(answered), *unread(answered), *weights(answered)] if compared else []
    items = "".join(f"<li>{line}</li>" for line in (*lines, *cuts(turns)))
    proof = f'<ul class="proof">{items}</ul>' if items else ""
    return notes + proof + (prompts(answered) if compared else "")


def sameness(turns: dict[int, Turn]) -> list[str]:
    """Whether lanes read the same prompt, drew with the same seed, and sampled in the same way."""
    texts = {turn.result.prompt for turn in turns.values() if not refused(turn)}
    seeds = {turn.result.seed for turn in turns.values()}
    ways = {turn.lane.sampling for turn in turns.values()}
    lines = [
        tick(len(texts) < 2, f"same rendered prompt{reads(turns, ', in which ')}", why_different(turns)),
        tick(len(seeds) == 1, f"same seed ({min(seeds)})", f"different seeds ({', '.join(map(str, sorted(seeds)))})"),
    ]
    if len(ways) > 1 and len(seeds) == 1:
        lines.append(tick(False, "", "different sampling settings"))
    return lines


def refused(turn: Turn) -> bool:
    """Whether its lane found nothing to read, so that no model was asked."""
    return turn.reading is not None and turn.reading.refused


def why_different(turns: dict[int, Turn]) -> str:
    """That prompts differ, and whether the passages that some lanes read are the only reason."""
    alike: dict[tuple[str, str], set[str]] = {}
    for turn in turns.values():
        if not refused(turn):
            alike.setdefault((collection(turn.lane), turn.lane.form), set()).add(turn.result.prompt)
    ways = {(turn.lane.style, turn.lane.system) for turn in turns.values()}
    if len(ways) == 1 and all(len(texts) == 1 for texts in alike.values()):
        return f"the rendered prompts differ{reads(turns, ' because ')}"
    return f"different rendered prompts: see below{reads(turns, '; ')}"


def reads(turns: dict[int, Turn], lead: str) -> str:
    """Which lanes read how many passages of what, after some words; empty where none reads any."""
    said = [
        f"lane {n} reads {count(len(turn.reading.passages), 'passage')} of “{escape(collection(turn.lane))}”"
        for n, turn in turns.items()
        if turn.reading and turn.reading.passages
    ]
    return lead + ", ".join(said) if said else ""


def unread(turns: dict[int, Turn]) -> list[str]:
    """Lanes with documents that hold nothing near the question."""
    return [
        tick(False, "", f"lane {n}: nothing in “{escape(collection(turn.lane))}” comes near, its model was not asked")
        for n, turn in turns.items()
        if refused(turn)
    ]


def weights(turns: dict[int, Turn]) -> list[str]:
    """For each tuned lane its adapter's hash and how far the first step's logits moved from the base's."""
    lines = []
    for number, turn in turns.items():
        result = turn.result
        if result.adapter is None or refused(turn):
            continue
        name = f"lane {number}: adapter <code>{escape(result.adapter)}</code>"
        if result.logit_difference is None:
            lines.append(f'{name} <span class="quiet">first-step logits not measured</span>')
        elif result.logit_difference == 0:
            lines.append(tick(False, "", f"{name} changes nothing: its first-step logits equal the base's"))
        else:
            lines.append(f"{name} moves first-step logits by up to {result.logit_difference:.2f}")
    return lines


def cuts(turns: dict[int, Turn]) -> list[str]:
    """Lanes whose prompt did not fit, whether they answered or failed."""
    return [
        tick(False, "", f"lane {n}: the first {count(turn.result.cut_tokens, 'token')} of the prompt did not fit")
        for n, turn in turns.items()
        if turn.result.cut_tokens
    ]


def tick(fine: bool, yes: str, no: str) -> str:
    """A line with a mark that says whether all is well."""
    mark, text, kind = ("✓", yes, "fine") if fine else ("≠", no, "differs")
    return f'<span class="{kind}"><span aria-hidden="true">{mark}</span> {text}</span>'


def prompts(turns: dict[int, Turn]) -> str:
    """The exact rendered prompts, folded away; lanes that read the same text share one."""
    readers: dict[str, list[int]] = {}
    for number, turn in turns.items():
        if not refused(turn):
            readers.setdefault(turn.result.prompt, []).append(number)
    blocks = ""
    for text, numbers in readers.items():
        who = "All lanes" if len(readers) == 1 else f"Lane{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"
        size = turns[numbers[0]].result.prompt_tokens
        tokens = f", {count(size, 'token')}" if size is not None else ""
        blocks += f"<h4>{who}{tokens}</h4><pre>{escape(text)}</pre>"
    return f'<details class="prompts"><summary>The exact prompt that was read</summary>{blocks}</details>'
