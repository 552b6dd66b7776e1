"""What each click on the Data tab does: handlers from widget values to the tab's view."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr

from engine.access import require
from engine.data.columns import PARTS
from engine.data.hub_data import hub_table
from engine.data.prepare import CUSTOM, Preparation, balancing_columns, custom_style, likely_style, prepared
from engine.data.readers import read_table
from engine.data.shelf import Saved
from engine.data.table import Table
from engine.datasets import samples, saved
from engine.errors import Problem
from engine.prompts import style
from pages import data_render as render
from pages.bench import PAGE, Bench, Look
from pages.desk import Desk
from pages.form import resolve
from pages.parts import asks, visitor

LONGEST_LIMIT = 131_072
PASTED = {"JSON or JSON lines": ".jsonl", "CSV": ".csv", "Tab-separated": ".tsv", "Plain text": ".txt"}


def shelf(mine: bool) -> list[tuple[str, str]]:
    """What can be opened, as (label, value): samples, and kept datasets for those who may see them."""
    shipped = [(f"Sample: {each.name}, {each.rows} rows", f"sample/{each.name}") for each in samples()]
    kept = [(f"{each.name}, {each.rows:,} rows", f"saved/{each.path.stem}") for each in saved()] if mine else []
    return shipped + kept


def shown(bench: Bench) -> list[Any]:
    """Complaints, the table, figures, and one row."""
    return [render.complaints(bench), render.table(bench), render.statistics(bench), render.row(bench)]


def laid_out(bench: Bench, table: Table) -> list[Any]:
    """The whole tab for newly loaded rows: a style that suits them, their columns, a name to save them under."""
    bench.put(table)
    fitting = likely_style(bench.dataset, bench.mapping) if bench.dataset else gr.skip()
    return [fitting, re.sub(r"\.\w+$", "", table.name), *arranged(bench)]


def arranged(bench: Bench) -> list[Any]:
    """What changes with the meaning of columns."""
    columns = ["", *(bench.table.columns if bench.table else ())]
    parts = [gr.update(choices=columns, value=bench.mapping.get(part, "")) for part in PARTS]
    balance = gr.update(choices=["", *balancing_columns(bench.dataset)] if bench.dataset else [""], value="")
    return [
        render.headline(bench),
        gr.update(visible=bench.table is not None),
        gr.update(open=bench.dataset is None),
        *parts,
        balance,
        *shown(bench),
    ]


@asks("look")
def choices(request: gr.Request) -> Any:
    """What this person may open."""
    return gr.update(choices=shelf(visitor(request).mode != "visitor"))


@asks("look")
def open_named(request: gr.Request, bench: Bench, value: str) -> list[Any]:
    """Open a sample or a kept dataset; nothing where the field is left empty."""
    if not value:
        return [gr.skip()] * (2 + len(arranged(bench)))
    return laid_out(bench, named_table(value, request))


def named_table(value: str, request: gr.Request) -> Table:
    """The rows behind a choice of `shelf`. Raises Problem."""
    kind, _, name = value.partition("/")
    found: list[Saved] = samples() if kind == "sample" else []
    if kind == "saved":
        require(visitor(request), "load data")
        found = saved()
    for each in found:
        if name == (each.path.stem if kind == "saved" else each.name):
            return read_table(each.path, each.name)
    raise Problem(f"There is no dataset '{name}' any more. Choose another.")


@asks("load data")
def upload(request: gr.Request, bench: Bench, path: str | None) -> list[Any]:
    """Read an uploaded file, and remove it: others could fetch what lies in Gradio's cache."""
    if not path:
        raise Problem("Choose a file first.")
    try:
        return laid_out(bench, read_table(Path(path)))
    finally:
        Path(path).unlink(missing_ok=True)


@asks("load data")
def paste(request: gr.Request, bench: Bench, text: str, kind: str) -> list[Any]:
    """Read pasted rows."""
    if not (text or "").strip():
        raise Problem("Paste some rows first; the box is empty.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"pasted{PASTED.get(kind, '.jsonl')}"
        path.write_text(text, encoding="utf-8", errors="replace", newline="")
        return laid_out(bench, read_table(path, "pasted rows"))


@asks("load data")
def load_hub(request: gr.Request, bench: Bench, name: str, config: str, part: str, rows: float | None) -> list[Any]:
    """Stream the first rows of a dataset of the Hub."""
    return laid_out(bench, hub_table(name or "", config or "", part or "", int(rows or 0)))


@asks("look")
def remap(request: gr.Request, bench: Bench, *columns: str | None) -> list[Any]:
    """Give the columns the parts that the form says."""
    bench.remap({part: (column or "").strip() for part, column in zip(PARTS, columns, strict=True)})
    return arranged(bench)


@asks("look")
def measure(request: gr.Request, bench: Bench, *values: Any) -> list[Any]:
    """Tokenize the rows as the form says and show what comes out."""
    look = look_from(values, request)
    if bench.dataset is not None and bench.dataset.examples:
        with suppress(Problem):  # the view tells it
            bench.measure(look)
    return shown(bench)


def look_from(values: Any, request: gr.Request) -> Look:
    """The filled-in form as a Look. Raises Problem."""
    name, style_name, turn, loss, limit, side = values
    model, _ = resolve(name, "the preview", Desk([]), visitor(request))
    if not limit or not 1 <= limit <= LONGEST_LIMIT:
        raise Problem(f"The limit must lie between 1 and {LONGEST_LIMIT:,} tokens.")
    written = custom_style((turn or "").replace("\\n", "\n")) if style_name == CUSTOM else style(style_name)
    return Look(model, written, loss, int(limit), side)


@asks("look")
def show_turn(request: gr.Request, style_name: str) -> Any:
    """The box for a style of one's own, where that is chosen."""
    return gr.update(visible=style_name == CUSTOM)


@asks("look")
def pick(request: gr.Request, bench: Bench, event: gr.EventData) -> list[Any]:
    """Show the row whose number was clicked."""
    place = event._data.get("place") if isinstance(event._data, dict) else None
    bench.go(place if isinstance(place, int) else bench.at)
    return [render.table(bench), render.row(bench)]


def move(rows: int) -> Callable[..., list[Any]]:
    """Go some rows on or back; a page at a time begins at the top of the page."""

    @asks("look")
    def move_on(request: gr.Request, bench: Bench) -> list[Any]:
        start = bench.at // PAGE * PAGE if abs(rows) == PAGE else bench.at
        if 0 <= start + rows < (len(bench.dataset) if bench.dataset else 0):
            bench.go(start + rows)
        return [render.table(bench), render.row(bench)]

    return move_on


@asks("load data")
def prepare(
    request: gr.Request,
    bench: Bench,
    shortest: float | None,
    longest: float | None,
    exact: bool,
    similar: float | None,
    balance: str | None,
    seed: float | None,
    *look: Any,
) -> Iterator[list[Any]]:
    """Do what the form says to the rows as they stand; while what they say is read, tell how far that is."""
    shortest, longest, similar, seed = (number or 0 for number in (shortest, longest, similar, seed))
    wanted = Preparation(int(shortest), int(longest), bool(exact), float(similar), balance or "", int(seed))
    if wanted == Preparation(seed=wanted.seed):
        raise Problem("Choose at least one step.")
    lengths = bench.measure(look_from(look, request)).lengths
    waiting = [gr.skip()] * 5
    if wanted.similar and not wanted.problems():
        for done, of in bench.embed_rows():
            yield [render.told(f"Reading what the rows say: {done:,} of {of:,}…"), *waiting]
    dataset, told = prepared(bench.rows, wanted, lengths, bench.embedded)
    bench.change(dataset, told)
    bench.measure(look_from(look, request))
    yield [render.told(f"Left out: {', '.join(told)}."), render.headline(bench), *shown(bench)]


@asks("load data")
def undo(request: gr.Request, bench: Bench, *look: Any) -> list[Any]:
    """Back to the rows as they were loaded."""
    bench.undo()
    bench.measure(look_from(look, request))
    return ["", render.headline(bench), *shown(bench)]
