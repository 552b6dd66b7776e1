"""Questions out: the streamed answer beside its sources, the boards of several answers, opening a citation."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from engine.access import Visitor
from engine.catalog import Model
from engine.compare import Lane
from engine.errors import Problem
from engine.messages import Message
from pages import knowledge_board as boards
from pages import knowledge_sources as render
from pages import knowledge_talk as talks
from pages.desk import Desk
from pages.form import resolve
from pages.knowledge_form import WAYS
from pages.knowledge_open import collection_of, passage_html
from pages.knowledge_study import EMPTY_SOURCES, EMPTY_TALK, Board, Search, Study, Turn
from pages.parts import asks, visitor
from rag import sample
from rag.answer import Answer, AnswerEvent, Found, Words
from rag.answer import ask as answering
from rag.boards import four_lanes, with_and_without
from rag.citing import DOUBTFUL
from rag.collection import Asked, Collection, How
from rag.rerank import DEFAULT, at_hand
from rag.why import standing

READING = "The sample documents are read for the first time; that takes some seconds…"
LOOKING = "Looking into the documents…"


@dataclass(frozen=True)
class Wish:
    """The filled-in form of a question."""

    way: str
    model: Model
    key: str | None
    tuned: str
    form: str
    how: How


def wish_from(values: Sequence[Any], who: Visitor) -> Wish:
    """The form's values in the order of Talk.settings as a wish. Raises Problem."""
    way, name, tuned, form, mode, k, auto, cutoff, tags, rerank = values
    if way not in WAYS:
        raise Problem("Choose how to answer: with the documents, without them, or side by side.")
    if not auto and cutoff is None:
        raise Problem("Write the lowest cosine, or let the collection choose its own cutoff.")
    model, key = resolve(name, "the answer", Desk([]), who)
    how = How(
        int(k or 0), mode, None if auto else float(cutoff), {"tag": list(tags)} if tags else None,
        (at_hand() or DEFAULT) if rerank else "",
    )  # fmt: skip
    return Wish(way, model, key, tuned or "", form, how)


def show(study: Study, status: str = "") -> list[Any]:
    """The talk or the board, the status line, and what stands beside them."""
    board = study.board
    if board:
        status = status or ("The answers are being written…" if board.running else "All answers are there.")
        return [talks.quarters(board.question, board.cells), status, render.pane(study)]
    return [talks.talk(study.turns), status or talks.status(study.turns), render.pane(study)]


@asks("ask documents")
def send(request: gr.Request, study: Study, question: str, *values: Any) -> Iterator[list[Any]]:
    """Answer the question in the way that the form says; the box is emptied once the documents were searched."""
    who, text = visitor(request), (question or "").strip()
    if not text:
        raise Problem("Write a question first; the box is empty.")
    if study.busy:
        raise Problem("The last question is still being answered. Wait for it, or press Stop.")
    wish = wish_from(values, who)
    yield from (in_talk if wish.way in ("with", "without") else on_board)(study, who, text, wish)


def in_talk(study: Study, who: Visitor, question: str, wish: Wish) -> Iterator[list[Any]]:
    """One answer, streamed into the talk. A question that could not be answered leaves no trace there."""
    study.board = None
    turns, turn = study.turns, Turn(question, context=wish.way == "with", model=wish.model.name, running=True)
    history, before = [message for each in turns for message in said(each)], study.search
    place = study.begin(turn)
    stopping, box, shown = study.stopping, gr.skip(), 0.0
    try:
        yield [box, *show(study, READING if first_use(study) else LOOKING)]
        collection = collection_of(study, who)
        events = answering(question, collection, wish.model, history, turn.context, wish.how, wish.form, key=wish.key)
        with closing(events):
            for event in events:
                turn, box = told(turn, event, wish.how), ""
                turns[place], study.search = turn, turn.search
                if stopping.is_set():
                    break
                if not isinstance(event, Words) or time.monotonic() - shown > boards.BEAT:
                    shown = time.monotonic()
                    yield [box, *show(study)]
        notes = (*turn.notes, "Stopped by you.") if turn.running else turn.notes
        turns[place] = replace(turn, running=False, notes=notes)
        yield [box, *show(study)]
    except Exception:
        del turns[place:]
        study.search = before
        yield [gr.skip(), *show(study)]
        raise
    finally:
        if place < len(turns) and turns[place].running:
            turns[place] = replace(turns[place], running=False)


def first_use(study: Study) -> bool:
    """Whether the sample must be read before anything can be answered."""
    return study.collection in ("", sample.NAME) and not sample.there()


def said(turn: Turn) -> list[Message]:
    """A finished turn as messages."""
    return [Message("user", turn.question), Message("assistant", turn.text)] if turn.text else []


def told(turn: Turn, event: AnswerEvent, how: How) -> Turn:
    """The turn after an event of the answer."""
    match event:
        case Found():
            found = event.retrieved
            read = tuple(each.text for each in event.read)
            return replace(turn, used=found.question_used, hits=found.hits, search=Search(found, how), read=read)
        case Words():
            return replace(turn, text=turn.text + event.text)
    return finished(turn, event)


def finished(turn: Turn, answer: Answer) -> Turn:
    """The turn with the whole answer, and what a careful reader should know of it."""
    doubtful = sorted({each.number for each in answer.citations if each.support < DOUBTFUL})
    notes = render.about_marks(doubtful, answer.mended_marks) + render.about_quotes(answer.quotes)
    return replace(
        turn, text=answer.text, cited=answer.cited, removed=answer.removed_marks, notes=tuple(notes), running=False,
        seconds=answer.seconds, used=answer.question_used,
    )  # fmt: skip


def on_board(study: Study, who: Visitor, question: str, wish: Wish) -> Iterator[list[Any]]:
    """Two or four answers side by side, in one batch; each cell grows by itself."""
    tuned, key = resolve(wish.tuned, "the tuned answer", Desk([]), who) if wish.way == "four" else (wish.model, None)
    if wish.way == "four" and tuned == wish.model:
        raise Problem("The board compares two models. Choose a base and a tuned model that differ.")
    study.begin(Turn(question))
    study.turns.pop()
    stopping, before, study.search = study.stopping, study.search, None
    study.board = Board(question)
    try:
        yield [gr.skip(), *show(study, READING if first_use(study) else LOOKING)]
        titles, lanes = lanes_for(wish, collection_of(study, who), tuned, key)
        for cells in boards.answered(titles, lanes, question, stopping):
            found = search_of(lanes)
            study.search = study.search or found
            study.board = Board(question, tuple(cells), found)
            yield ["", *show(study)]
        study.board = replace(study.board, running=False)
        yield ["", *show(study)]
    except Exception:
        study.board, study.search = None, before
        yield [gr.skip(), *show(study)]
        raise
    finally:
        if study.board and study.board.running:
            study.board = replace(study.board, running=False)


def lanes_for(wish: Wish, collection: Collection, tuned: Model, key: str | None) -> tuple[list[str], list[Lane]]:
    """(titles, lanes) of the board that is wished for."""
    if wish.way == "both":
        lanes = with_and_without(collection, wish.model, wish.how, wish.form, key=wish.key)
        return ["Without", "With"], lanes
    lanes = four_lanes(collection, wish.model, tuned, wish.how, wish.form, keys=(wish.key, key))
    return ["Base", "Base, grounded", "Tuned", "Tuned, grounded"], lanes


def search_of(lanes: Sequence[Lane]) -> Search | None:
    """The search that the grounded lanes share, once one of them has made it."""
    documents = next((lane.passages for lane in lanes if isinstance(lane.passages, Asked)), None)
    return Search(documents.searches[0], documents.how) if documents and documents.searches else None


@asks("stop own")
def stop(request: gr.Request, study: Study) -> None:
    """End the answer; what it has said stays."""
    study.stopping.set()


@asks("ask documents")
def clear(request: gr.Request, study: Study) -> list[Any]:
    """Begin another talk; the follow-ups of the last one end."""
    study.clear()
    return [EMPTY_TALK, "", EMPTY_SOURCES]


@asks("ask documents")
def open_passage(request: gr.Request, study: Study, event: gr.EventData) -> str:
    """The page of the passage whose number was clicked, above the list in which it is marked."""
    where: dict[str, Any] = event._data if isinstance(event._data, dict) else {}
    number, place = where.get("cite"), where.get("turn", -1)
    if isinstance(place, int) and 0 <= place < len(study.turns):
        study.search = study.turns[place].search
    found = study.search.retrieved if study.search else None
    hits = (found.hits or render.nearest_of(found)) if found else ()
    hit = hits[number - 1] if isinstance(number, int) and 0 < number <= len(hits) else None
    if hit is None:
        raise Problem("That passage is not there any more. Ask again.")
    collection = collection_of(study, visitor(request))
    chunk = collection.store.chunk(hit.chunk.id)
    if chunk is None:
        raise Problem(f"{hit.chunk.file} has changed or left the collection since. Ask again.")
    study.opened = number or 0, passage_html(collection.store, chunk, number)
    return render.pane(study)


@asks("ask documents")
def explain(request: gr.Request, study: Study, file: str | None, page: float | None, *values: Any) -> str:
    """Where a page stands in the search whose hits are shown, and what stands before it.

    The fields of the form play no part: they say how the next question is asked.
    """
    search = study.search or study.asked
    if search is None:
        raise Problem("Ask a question with the documents first; then its ranking can be explained.")
    if not file:
        raise Problem("Choose a file first.")
    collection, place = collection_of(study, visitor(request)), None if page is None else int(page) - 1
    how = replace(search.how, cutoff=search.retrieved.cutoff)
    return render.absent(standing(collection, search.question, file, place, **vars(how)), search)
