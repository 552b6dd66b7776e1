"""The talk with documents and the board of answers side by side, as HTML from plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from pages import knowledge_sources as render
from pages.knowledge_study import EMPTY_TALK, Turn
from pages.render import count


def talk(turns: Sequence[Turn]) -> str:
    """All turns, oldest first."""
    return "".join(turn_html(place, turn) for place, turn in enumerate(turns)) or EMPTY_TALK


def turn_html(place: int, turn: Turn) -> str:
    """One question, what was searched for where that is another question, the answer, and what is to be said of it."""
    used = ""
    if turn.used and turn.used != turn.question:
        used = f"<small>searched for: {escape(turn.used)}</small>"
    how = "" if turn.context else "<small>without the documents</small>"
    body = render.answer(turn.text, turn.cited, turn.running)
    return (
        f'<article class="turn" data-turn="{place}" data-state="{"running" if turn.running else "ended"}">'
        f'<p class="question">{escape(turn.question)}{used}{how}</p><div class="reply">{body}</div>'
        f'<div class="aside">{"".join(f"<p>{escape(note)}</p>" for note in asides(turn))}</div></article>'
    )


def asides(turn: Turn) -> list[str]:
    """What stands in small letters under an answer."""
    said = [*turn.notes, *render.about_marks(removed=turn.removed)]
    if not turn.running and turn.seconds:
        said.append(f"{turn.model} · {turn.seconds:.1f} s")
    return said


def status(turns: Sequence[Turn]) -> str:
    """One short line for screen readers."""
    if not turns:
        return ""
    last = turns[-1]
    if last.running:
        return "Reading the passages…" if not last.text else "Answering…"
    return f"Answered, {count(len(last.hits), 'passage')} beside it." if last.text else ""


@dataclass(frozen=True)
class Quarter:
    """One cell of the board: whose answer, whether it had the passages, how far it is, and what is to be said of it."""

    title: str
    model: str
    context: bool
    text: str = ""
    cited: tuple[int, ...] = ()
    running: bool = True
    line: str = ""
    passages: int = 0
    error: str = ""
    notes: tuple[str, ...] = ()


def quarters(question: str, cells: Sequence[Quarter]) -> str:
    """The board: two columns, without and with the documents; a row for each model."""
    if not cells:
        return ""
    body = "".join(quarter(cell) for cell in cells)
    return f'<div class="board"><h3 class="panel-title">{escape(question)}</h3><div class="quarters">{body}</div></div>'


def quarter(cell: Quarter) -> str:
    """One cell."""
    kind = "with the documents" if cell.context else "without"
    body = (
        f'<div class="lane-error">{escape(cell.error)}</div>'
        if cell.error
        else render.answer(cell.text, cell.cited, cell.running)
    )
    state = "running" if cell.running else "ended"
    notes = "".join(f"<p>{escape(note)}</p>" for note in cell.notes)
    return (
        f'<section class="quarter{" grounded" * cell.context}" data-state="{state}">'
        f"<h4>{escape(cell.title)}<small>{escape(cell.model)}, {kind}</small></h4>"
        f'<div class="reply">{body}</div><div class="aside">{notes}</div>'
        f'<p class="stats">{escape(cell.line)}</p></section>'
    )
