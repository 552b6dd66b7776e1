"""The Data tab: load examples, see exactly what training will read, put them in order, keep them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import gradio as gr
from gradio.components import Component

from engine.catalog import all_models
from engine.data.columns import PARTS
from engine.data.prepare import CUSTOM
from engine.data.tokens import LOSSES
from engine.prompts import styles
from pages import data_moves as moves
from pages import data_pairs as pairs
from pages import data_render as render
from pages import data_sources as sources
from pages.bench import PAGE, Bench
from pages.data_form import hub_form, keep_form, paste_form, prepare_form
from pages.data_keep import export, keep, push_rows
from pages.data_pairs import Making, pairs_form
from pages.launch import Launch
from pages.pickers import follow

TITLE = "Data"
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
INSTANT: dict[str, Any] = {**QUIET, "queue": False}
WORKING: dict[str, Any] = {**QUIET, "concurrency_limit": 4, "concurrency_id": "data"}
# a click on a row's number, or anywhere else in the row
PICK_ROW = """element.addEventListener('click', (event) => {
  const row = event.target.closest('[data-place]');
  if (row) trigger('select', { place: Number(row.dataset.place) });
});"""


@dataclass(frozen=True)
class Tab:
    """What most events need: the visitor's bench, the parts of the view, and the form that says how to look."""

    bench: gr.State
    headline: gr.HTML
    body: gr.Column
    columns: gr.Accordion
    parts: list[gr.Dropdown]
    balance: gr.Dropdown
    name: gr.Textbox
    complaints: gr.HTML
    table: gr.HTML
    statistics: gr.HTML
    row: gr.HTML
    look: list[Component]

    @property
    def seen(self) -> list[Component]:
        """The outputs of moves.shown."""
        return [self.complaints, self.table, self.statistics, self.row]

    @property
    def arranged(self) -> list[Any]:
        """The outputs of moves.arranged."""
        return [self.headline, self.body, self.columns, *self.parts, self.balance, *self.seen]

    @property
    def laid_out(self) -> list[Any]:
        """The outputs of moves.laid_out."""
        return [self.look[1], self.name, *self.arranged]


def build(launch: Launch) -> None:
    """Lay out the tab inside the current Blocks and wire it."""
    owner = launch.mode != "visitor"
    bench = gr.State(Bench())
    with gr.Row(elem_id="data-load"):
        opened = gr.Dropdown(
            moves.shelf(owner), value=None, label="Open a sample or a saved dataset", elem_id="data-open", min_width=220
        )
        uploaded = gr.UploadButton("Upload a file", size="sm", elem_id="data-upload", visible=owner)
    pasting = paste_form(owner)
    hub = hub_form(owner)
    making = pairs_form(owner)
    headline = gr.HTML(render.EMPTY, elem_id="data-headline")
    with gr.Column(visible=False, elem_id="data-body") as body:
        complaints = gr.HTML(elem_id="data-complaints")
        with gr.Accordion("Columns", open=False, elem_classes="settings", elem_id="data-columns") as columns:
            parts, use = column_form()
        look = look_form()
        with gr.Row(elem_id="data-look"):
            table, steps = table_pane()
            row = gr.HTML(elem_id="data-row")
        statistics = gr.HTML(elem_id="data-statistics")
        preparing = prepare_form(owner)
        keeping = keep_form(owner)
    tab = Tab(bench, headline, body, columns, parts, preparing.balance, keeping.name, complaints, table, statistics,
              row, look)  # fmt: skip
    follow([cast(gr.Dropdown, look[0])], bases=True)
    wire_loading(tab, opened, uploaded, pasting, hub)
    wire_making(tab, making)
    wire_looking(tab, use, steps)
    again = [bench, *look]
    done = [preparing.told, headline, *tab.seen]
    preparing.apply.click(moves.prepare, [bench, *preparing.inputs, *look], done, **WORKING)
    preparing.undo.click(moves.undo, again, done, **WORKING)
    keeping.save.click(keep, [bench, *keeping.inputs, *look], [keeping.told, opened], **WORKING)
    keeping.push.click(push_rows, [bench, *keeping.push_inputs], keeping.told, **WORKING)
    for name, button in keeping.downloads.items():
        made = button.click(export(name), [bench], keeping.box, **INSTANT)
        made.success(None, [keeping.box], None, js="(file) => { window.diptych.save(file); return []; }")


def column_form() -> tuple[list[gr.Dropdown], gr.Button]:
    """A choice of column for each part."""
    gr.HTML(
        '<p class="hint">Choose prompt and response, or messages, or text. A part may also be written out of several '
        "columns: <code>{title}: {question}</code></p>"
    )
    with gr.Row(elem_id="data-parts"):
        parts = [
            gr.Dropdown(
                [""], value="", label=part.capitalize(), info=what, allow_custom_value=True, min_width=180,
                elem_id=f"data-part-{part}",
            )
            for part, what in PARTS.items()
        ]  # fmt: skip
    return parts, gr.Button("Use these columns", size="sm", elem_id="data-remap")


def look_form() -> list[Component]:
    """Model, style, loss and limit, in the order of moves.look_from."""
    bases = [model.name for model in all_models() if not (model.adapter or model.endpoint)]
    titles = [(each.title, name) for name, each in styles().items()] + [("A style of my own", CUSTOM)]
    losses = [(what.capitalize(), loss) for loss, what in LOSSES.items()]
    sides = [("Its start", "left"), ("Its end", "right")]
    with gr.Row(elem_id="data-how", elem_classes="fields"):
        model = gr.Dropdown(
            bases, value=bases[0], label="Tokenizer of", allow_custom_value=True, elem_id="data-model", min_width=140
        )
        style = gr.Dropdown(titles, value="question-answer", label="Prompt style", elem_id="data-style", min_width=180)
        loss = gr.Dropdown(losses, value="completion", label="What carries loss", elem_id="data-loss", min_width=180)
        limit = gr.Number(512, label="Limit in tokens", precision=0, minimum=1, elem_id="data-limit", min_width=110)
        side = gr.Dropdown(sides, value="left", label="Cut off", elem_id="data-side", min_width=110)
    turn = gr.Textbox(
        "###HUMAN### {prompt} ###BOT### {response} ###STOP###",
        label="My style: one turn, with {prompt} and {response}; \\n is a new line",
        visible=False,
        elem_id="data-turn",
    )
    return [model, style, turn, loss, limit, side]


def table_pane() -> tuple[gr.HTML, dict[str, gr.Button]]:
    """The paged table and its buttons."""
    with gr.Column(elem_id="data-pane", min_width=0):
        table = gr.HTML(elem_id="data-table", js_on_load=PICK_ROW)
        with gr.Row(elem_id="data-paging"):
            names = ("Previous page", "Previous row", "Next row", "Next page")
            steps = {name: gr.Button(name, size="sm", variant="secondary", min_width=60) for name in names}
    return table, steps


def wire_loading(tab: Tab, opened: gr.Dropdown, uploaded: gr.UploadButton, pasting: list[Any], hub: list[Any]) -> None:
    """Everything that brings rows; the tokens are counted once they stand on the page."""
    paste, *paste_inputs = pasting
    load, *hub_inputs = hub
    events = (
        opened.input(moves.open_named, [tab.bench, opened], tab.laid_out, **WORKING),
        uploaded.upload(moves.upload, [tab.bench, uploaded], tab.laid_out, **WORKING),
        paste.click(moves.paste, [tab.bench, *paste_inputs], tab.laid_out, **WORKING),
        load.click(moves.load_hub, [tab.bench, *hub_inputs], tab.laid_out, **WORKING),
    )
    for event in events:
        event.success(moves.measure, [tab.bench, *tab.look], tab.seen, **WORKING)
    gr.on(fn=moves.choices, inputs=None, outputs=opened, **INSTANT)


def wire_making(tab: Tab, making: Making) -> None:
    """Pairs made from documents or a text, and those of them that are used."""
    given = making.sources
    given.way.input(sources.choose, [given.way], given.parts, **QUIET)
    given.upload.upload(sources.read_files, [given.upload], [given.read, given.material], **WORKING)
    running = making.make.click(pairs.make, making.inputs, [making.told, making.review], **WORKING)
    making.stop.click(None, None, None, cancels=[running], api_visibility="private")
    used = making.use.click(pairs.use, [tab.bench, making.review], tab.laid_out, **WORKING)
    used.success(moves.measure, [tab.bench, *tab.look], tab.seen, **WORKING)


def wire_looking(tab: Tab, use: gr.Button, steps: dict[str, gr.Button]) -> None:
    """Columns, the form that says how rows become tokens, and the ways from row to row."""
    shown = use.click(moves.remap, [tab.bench, *tab.parts], tab.arranged, **WORKING)
    shown.success(moves.measure, [tab.bench, *tab.look], tab.seen, **WORKING)
    model, style, turn, loss, limit, side = tab.look
    style.change(moves.show_turn, [style], turn, **INSTANT)  # type: ignore[attr-defined]
    changes = [part.input for part in (model, style, loss, side)] + [turn.blur, limit.blur, limit.submit]  # type: ignore[attr-defined]
    gr.on(changes, moves.measure, [tab.bench, *tab.look], tab.seen, trigger_mode="always_last", **WORKING)
    one = [tab.table, tab.row]
    tab.table.select(moves.pick, [tab.bench], one, **INSTANT)
    for button, rows in zip(steps.values(), (-PAGE, -1, 1, PAGE), strict=True):
        button.click(moves.move(rows), [tab.bench], one, **INSTANT)
