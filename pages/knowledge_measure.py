"""Measuring retrieval: a question file, the table of what each way to search found, and the use of one row."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from engine.errors import Problem
from pages.knowledge_form import MODES
from pages.knowledge_open import collection_of
from pages.knowledge_render import table, told
from pages.knowledge_study import Study
from pages.parts import asks, visitor
from pages.render import count
from rag.measure import Interval, Measured
from rag.measure import table as measured
from rag.questions import Question, read_questions

MOST_QUESTIONS = 1000
HEADS = ("Search by", "k", "hit@k", "MRR", "nDCG", "Median", "95 %")
MISSES = 12  # questions without a hit that are listed


@asks("measure retrieval")
def run(
    request: gr.Request, study: Study, upload: str | None, text: str, modes: list[str], ks: str
) -> Iterator[list[Any]]:
    """Ask every question in every way; the table grows mode by mode."""
    questions, wanted = questions_from(upload, text), numbers(ks)
    ways = [mode for mode in MODES if mode in (modes or [])]
    if not ways:
        raise Problem("Choose at least one way to search.")
    yield [told(f"Asking {count(len(questions), 'question')}…"), gr.skip()]
    collection = collection_of(study, visitor(request))
    rows: list[Measured] = []
    for mode in ways:
        rows += measured([collection], questions, [mode], wanted)  # type: ignore[list-item]
        yield [result(rows, mode != ways[-1]), gr.Dropdown(choices=choices(rows), value=best(rows))]


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
    size, questions = rows[0].chunk_tokens, count(len(rows[0].outcomes), "question")
    head = (
        f'<p class="plan-line">{questions}, passages of {size} tokens, without a cutoff. A question for which nothing '
        "is found counts as zero; in brackets the 95 % interval over the questions. The first way to search also turns "
        "the questions into vectors, which the others reuse.</p>"
    )
    still = '<p class="quiet">Still measuring…</p>' if running else ""
    return head + table(HEADS, lines, "measured") + still + misses(rows)


def row_html(row: Measured, most: dict[str, float]) -> str:
    """One way to search; the best figure of each column is marked."""
    scores = "".join(cell(row.score(name), most[name]) for name in ("hit", "mrr", "ndcg"))
    p50, p95 = row.milliseconds
    name = MODES[row.mode]
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
        return f'<p class="hint fine">{MODES[row.mode]} with k = {row.k} finds something for every question.</p>'
    items = "".join(f"<li>{escape(each)}</li>" for each in missed[:MISSES])
    more = f"<li>… and {len(missed) - MISSES} more</li>" if len(missed) > MISSES else ""
    return (
        f'<details class="missed"><summary>{MODES[row.mode]} with k = {row.k} found nothing for '
        f"{count(len(missed), 'question')}</summary><ul>{items}{more}</ul></details>"
    )


def choices(rows: list[Measured]) -> list[tuple[str, str]]:
    """The rows as choices."""
    return [(f"{MODES[row.mode]}, k = {row.k}", f"{row.mode}/{row.k}") for row in rows]


def best(rows: list[Measured]) -> str:
    """The row with the best nDCG; of equals the one with fewest passages."""
    row = max(rows, key=lambda each: (each.score("ndcg").mean, -each.k))
    return f"{row.mode}/{row.k}"


@asks("ask documents")
def use(request: gr.Request, setting: str | None) -> list[Any]:
    """Put a row's way to search and its k into the form of the talk."""
    mode, _, k = (setting or "").partition("/")
    if mode not in MODES or not k.isdigit():
        raise Problem("Measure first, then choose a row of the table.")
    return [mode, int(k), told(f"Questions are searched by {MODES[mode].lower()} now, {k} passages each.")]
