"""The Compare tab's results as JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from engine.data.exports import cell as text_cell
from pages.board import Board, Reading, Turn, collection
from pages.render import stats_line


def rows(board: Board) -> list[dict[str, Any]]:
    """One flat row for each finished turn of each lane on the page. Keys of endpoints are not part of it."""
    return [row(lane, turn) for lane, turn in exchanges(board)]


def row(number: int, turn: Turn) -> dict[str, Any]:
    """A turn of the lane of that number as flat values."""
    result, lane = turn.result, turn.lane
    values = {"turn": turn.number, "lane": number, "model": result.model, "adapter": result.adapter}
    values |= {"prompt": turn.prompt, "answer": result.text, "end": result.end, "error": result.error}
    values |= {"tokens": result.tokens, "seconds": result.seconds}
    values |= {"first_token_seconds": result.first_token_seconds, "retries": turn.retries}
    values |= {"tokens_per_second": result.tokens_per_second, "logit_difference": result.logit_difference}
    values |= {"style": lane.style, "system": lane.system, "rendered_prompt": result.prompt}
    values |= {"prompt_tokens": result.prompt_tokens, "cut_tokens": result.cut_tokens}
    return values | asdict(lane.sampling) | {"stop": list(lane.sampling.stop)} | read(turn)


def read(turn: Turn) -> dict[str, Any]:
    """What a turn read, with the answer as its checked marks left it; a row without documents has it all empty."""
    reading, found = turn.reading or Reading(), turn.checked
    form = turn.lane.form if collection(turn.lane) else ""
    return {"collection": collection(turn.lane), "form": form, "searched_for": reading.question,
            "checked_answer": found.text if found else "", "removed_marks": found.removed_marks if found else None,
            "mended_marks": found.mended_marks if found else None, "sources": sources(turn)}  # fmt: skip


def sources(turn: Turn) -> list[dict[str, Any]]:
    """The passages that a turn read: number, file, printed page, cosine, whether it is cited, and its words."""
    reading, cited = turn.reading or Reading(), turn.checked.cited if turn.checked else ()
    return [
        {"number": hit.rank, "file": hit.chunk.file, "page": hit.chunk.page_label, "cosine": round(hit.cosine, 4),
         "cited": hit.rank in cited, "text": passage.text}
        for hit, passage in zip(reading.hits, reading.passages, strict=True)
    ]  # fmt: skip


def as_json(board: Board) -> str:
    """A format number, notes, and the rows."""
    data = {"format": 1, "made_by": "Diptych", "notes": list(board.notes), "results": rows(board)}
    return json.dumps(data, ensure_ascii=False, indent=2) + "\n"


def as_csv(board: Board) -> str:
    """The rows for a spreadsheet: numbers stay numbers, text can never be run as a formula."""
    found = rows(board)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(found[0]) if found else [], lineterminator="\r\n")
    writer.writeheader()
    for row in found:
        writer.writerow({name: cell(value) for name, value in row.items()})
    return out.getvalue()


def cell(value: Any) -> Any:
    """A value as a cell: text that a spreadsheet might take for a formula gets an apostrophe in front."""
    if isinstance(value, list):
        value = json.dumps(value, ensure_ascii=False) if value else ""
    return text_cell(value) if isinstance(value, str) else value


def as_markdown(board: Board) -> str:
    """A page to paste into notes: each prompt, then each lane's answer in a fence that its text cannot close."""
    parts = ["# Diptych comparison\n", *(f"> {note}\n" for note in board.notes)]
    last = 0
    for lane, turn in exchanges(board):
        if turn.number != last:
            parts.append(f"## Prompt {turn.number}\n\n{fenced(turn.prompt)}\n")
        parts += answered(lane, turn)
        last = turn.number
    return "\n".join(parts)


def exchanges(board: Board) -> list[tuple[int, Turn]]:
    """Every finished turn on the page with its lane's number: those of one Send together, in the lanes' order."""
    found = [(n, turn) for n, view in enumerate(board.lanes[: board.shown], 1) for turn in view.turns]
    return sorted(found, key=lambda each: (each[1].number, each[0]))


def answered(lane: int, turn: Turn) -> list[str]:
    """What a lane answered, its figures and its sources."""
    figures = turn.result.error or stats_line(turn.result)
    adapter = f" (adapter {turn.result.adapter})" if turn.result.adapter else ""
    retried = f" · retried, seed {turn.result.seed}" if turn.retries else ""
    heading = f"### Lane {lane}: {turn.result.model}{adapter}\n\n{fenced(turn.text)}\n"
    return [heading, f"{figures}{retried}\n", *listed(turn)]


def listed(turn: Turn) -> list[str]:
    """The sources of a turn as lines of a list, each in code marks that its name cannot close."""
    if not collection(turn.lane):
        return []
    rows = [
        f"- [{one['number']}] {coded(one['file'])}, page {one['page']}, cosine {one['cosine']}"
        + (", cited" if one["cited"] else "")
        for one in sources(turn)
    ]
    return [f"Documents: {coded(collection(turn.lane))}\n", *("\n".join(rows) + "\n",) * bool(rows)]


def coded(text: str) -> str:
    """A name in code marks."""
    return f"`{text.replace('`', chr(39))}`"


def fenced(text: str) -> str:
    """The text in a fence longer than any run of backticks in it."""
    fence = "`" * 3
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}"


# what a button says: (file name's end, media type, maker)
FORMATS: dict[str, tuple[str, str, Callable[[Board], str]]] = {
    "JSON": ("json", "application/json", as_json),
    "CSV": ("csv", "text/csv", as_csv),
    "Markdown": ("md", "text/markdown", as_markdown),
}
