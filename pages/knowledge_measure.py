"""Measuring retrieval: a question file, the table of what each way to search found, and the use of one row."""

from __future__ import annotations

import re
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from engine.errors import Problem
from engine.teaching.turns import Stopped
from pages.knowledge_form import MODES
from pages.knowledge_map_form import AS_IT_IS
from pages.knowledge_mend import recut
from pages.knowledge_open import collection_of
from pages.knowledge_render import table, told
from pages.knowledge_shelf import allowed
from pages.knowledge_study import Study
from pages.parts import asks, visitor
from pages.render import count
from rag import sample
from rag.collection import Collection
from rag.embedders import embedder
from rag.measure import Interval, Measured, at_size
from rag.measure import table as measured
from rag.questions import Question, read_questions
from rag.store import Store
from rag.types import CollectionSettings

MOST_QUESTIONS = 1000
LENGTHS = (128, 256, 512)  # tokens of a passage that may be tried, up to what the embedding model reads
HEADS = ("Passages of", "Search by", "k", "hit@k", "MRR", "nDCG", "Median", "95 %")
MISSES = 12  # questions without a hit that are listed
CUTTING = "A copy of the collection is cut into passages of {tokens:,} tokens and embedded. That takes a while…"
COPIES = " Other passage lengths are searched on a copy without an index, every passage compared."


@asks("ask documents")
def lengths(request: gr.Request, study: Study) -> Any:
    """The passage lengths that can be tried on the collection in front of the visitor."""
    name = allowed(visitor(request), study.collection or sample.NAME)
    return gr.CheckboxGroup(choices=offered(settings_of(name)), value=[AS_IT_IS])


def settings_of(name: str) -> CollectionSettings:
    """The settings of a collection; those of a new one for the sample before it has been read."""
    if Store.folder_of(name) is None:
        return CollectionSettings(name)
    with Store.open(name) as store:
        return store.settings


def offered(made: CollectionSettings) -> list[tuple[str, str]]:
    """The lengths to choose from, as (label, value): the collection's own, and LENGTHS that its model reads whole."""
    model = embedder(made.embedder, made.query_prefix)
    most = model.max_tokens if model.here() else 0
    others = [length for length in LENGTHS if length <= most and length != made.chunk_tokens]
    return [(f"As it is: {made.chunk_tokens:,}", AS_IT_IS), *((str(length), str(length)) for length in others)]


@asks("measure retrieval")
def run(
    request: gr.Request, study: Study, upload: str | None, text: str, modes: list[str], ks: str,
    sizes: Sequence[str] = (AS_IT_IS,),
) -> Iterator[list[Any]]:  # fmt: skip
    """Ask every question in every way at every passage length; the table grows mode by mode."""
    questions, wanted = questions_from(upload, text), numbers(ks)
    ways = [mode for mode in MODES if mode in (modes or [])]
    if not ways:
        raise Problem("Choose at least one way to search.")
    study.measured = stopped = threading.Event()
    yield [told(f"Asking {count(len(questions), 'question')}…"), gr.skip()]
    collection = collection_of(study, visitor(request))
    rows: list[Measured] = []
    with suppress(Stopped):
        for tokens in tokens_of(sizes, collection.store.settings):
            if tokens != collection.store.settings.chunk_tokens:
                yield [(result(rows, True) if rows else "") + told(CUTTING.format(tokens=tokens)), gr.skip()]
            with cut(collection, tokens, stopped) as at_length:
                for mode in ways:
                    if stopped.is_set():
                        raise Stopped
                    rows += measured([at_length], questions, [mode], wanted)  # type: ignore[list-item]
                    yield shown(rows, True)
    yield shown(rows, False) if rows else [told("Stopped before anything was measured."), gr.skip()]


def tokens_of(sizes: Sequence[str], made: CollectionSettings) -> list[int]:
    """The lengths that were chosen, the collection's own first. Raises Problem for none, or one that is not offered."""
    known = [value for _, value in offered(made)]
    chosen = [value for value in known if value in (sizes or ())]
    if not chosen or len(chosen) < len(set(sizes)):
        raise Problem(f"Choose at least one passage length out of: {', '.join(known)}.")
    return [made.chunk_tokens if value == AS_IT_IS else int(value) for value in chosen]


def cut(collection: Collection, tokens: int, stopped: threading.Event) -> AbstractContextManager[Collection]:
    """The collection itself, or a copy cut to another length just as the re-index job would cut it."""
    if tokens == collection.store.settings.chunk_tokens:
        return nullcontext(collection)
    return at_size(collection.store, tokens, tokens // 10, stopped.is_set)


@asks("stop own")
def stop(request: gr.Request, study: Study) -> None:
    """End the measuring; the rows that are there stay."""
    study.measured.set()


def shown(rows: list[Measured], running: bool) -> list[Any]:
    """The table so far, and its rows to choose from."""
    return [result(rows, running), gr.Dropdown(choices=choices(rows), value=best(rows))]


def questions_from(upload: str | None, text: str) -> list[Question]:
    """The questions of the uploaded file, else of the box. Raises Problem."""
    if upload:
        path = Path(upload)
        try:
            found = read_questions(path)
        finally:
            path.unlink(missing_ok=True)  # others could fetch what lies in Gradio's cache
    elif (text or "").strip():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "the box"
            path.write_text(text, encoding="utf-8", errors="replace")
            found = read_questions(path)
    else:
        raise Problem("Upload a question file, or write questions into the box.")
    if len(found) > MOST_QUESTIONS:
        raise Problem(f"{MOST_QUESTIONS:,} questions are the most at a time; these are {len(found):,}.")
    return found


def numbers(text: str) -> list[int]:
    """The values of k out of a line such as "1, 3, 5". Raises Problem."""
    found = sorted({int(each) for each in re.findall(r"\d+", text or "")})
    if not found or found[0] < 1 or found[-1] > 50:
        raise Problem("Write the numbers of passages to try, between 1 and 50, such as 1, 3, 5.")
    return found


def result(rows: list[Measured], running: bool) -> str:
    """The table, and which questions the best row missed."""
    most = {name: max(row.score(name).mean for row in rows) for name in ("hit", "mrr", "ndcg")}
    lines = [row_html(row, most) for row in rows]
    questions = count(len(rows[0].outcomes), "question")
    copies = COPIES if len({row.chunk_tokens for row in rows}) > 1 else ""
    head = (
        f'<p class="plan-line">{questions}, without a cutoff. A question for which nothing is found counts as zero; in '
        "brackets the 95 % interval over the questions. The first way to search also turns the questions into vectors, "
        f"which the others reuse.{copies}</p>"
    )
    still = '<p class="quiet">Still measuring…</p>' if running else ""
    return head + table(HEADS, lines, "measured") + still + misses(rows)


def row_html(row: Measured, most: dict[str, float]) -> str:
    """One way to search; the best figure of each column is marked."""
    scores = "".join(cell(row.score(name), most[name]) for name in ("hit", "mrr", "ndcg"))
    p50, p95 = row.milliseconds
    name = f"{row.chunk_tokens:,} tokens</td><td>{MODES[row.mode]}"
    return f"<tr><td>{name}</td><td>{row.k}</td>{scores}<td>{p50:.0f} ms</td><td>{p95:.0f} ms</td></tr>"


def cell(score: Interval, most: float) -> str:
    """A figure with its interval."""
    best = ' class="best"' if score.mean == most else ""
    return f"<td{best}>{score.mean:.3f} <small>[{score.low:.2f}, {score.high:.2f}]</small></td>"


def misses(rows: list[Measured]) -> str:
    """The questions for which the row with most hits found nothing."""
    row = max(rows, key=lambda each: (each.score("hit").mean, -each.k))
    missed = [outcome.question.question for outcome in row.outcomes if outcome.rank is None]
    if not missed:
        return f'<p class="hint fine">{named(row)} finds something for every question.</p>'
    items = "".join(f"<li>{escape(each)}</li>" for each in missed[:MISSES])
    more = f"<li>… and {len(missed) - MISSES} more</li>" if len(missed) > MISSES else ""
    return (
        f'<details class="missed"><summary>{named(row)} found nothing for '
        f"{count(len(missed), 'question')}</summary><ul>{items}{more}</ul></details>"
    )


def named(row: Measured) -> str:
    """A row in words."""
    return f"{MODES[row.mode]} with k = {row.k}, passages of {row.chunk_tokens:,} tokens,"


def choices(rows: list[Measured]) -> list[tuple[str, str]]:
    """The rows as choices."""
    return [(f"{MODES[row.mode]}, k = {row.k}, passages of {row.chunk_tokens:,} tokens", key(row)) for row in rows]


def key(row: Measured) -> str:
    """A row as `use` reads it."""
    return f"{row.mode}/{row.k}/{row.chunk_tokens}"


def best(rows: list[Measured]) -> str:
    """The row with the best nDCG; of equals the one with fewest passages, and then the one that needs no new index."""
    return key(max(rows, key=lambda each: (each.score("ndcg").mean, -each.k)))


@asks("ask documents")
def use(request: gr.Request, study: Study, setting: str | None) -> list[Any]:
    """Put a row's way to search and its k into the form of the talk; another passage length starts the re-index job."""
    mode, k, tokens = read(setting)
    name = allowed(visitor(request), study.collection or sample.NAME)
    said = f"Questions are searched by {MODES[mode].lower()} now, {count(k, 'passage')} each."
    if tokens == settings_of(name).chunk_tokens:
        return [mode, k, told(said), gr.skip(), gr.skip(), gr.skip()]
    started, *job = recut(request, study, tokens)
    return [mode, k, told(said) + started, *job]


def read(setting: str | None) -> tuple[str, int, int]:
    """(mode, k, passage length) of a row that was chosen. Raises Problem."""
    mode, *figures = (setting or "").split("/")
    if mode not in MODES or len(figures) != 2 or not all(each.isdigit() for each in figures):
        raise Problem("Measure first, then choose a row of the table.")
    return mode, int(figures[0]), int(figures[1])
