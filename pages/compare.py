"""The Compare tab: one prompt, two to eight lanes side by side, figures under each and proof that it was fair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import gradio as gr
from gradio.components import Component
from gradio.context import Context

from engine.catalog import all_models
from engine.compare import MOST_LANES
from pages import moves
from pages.cards import LaneCard, arrangement_row, composer, lane_card, tools
from pages.desk import Desk
from pages.form import OWN, SHARED, Fields, chosen_fields, drawn_fields
from pages.hosted import endpoint_form
from pages.launch import Launch
from pages.pickers import follow
from pages.presets import PRESETS
from pages.preview import Asked, preview, show_preview, told, turned
from pages.remote import compare
from pages.shelf import collections

TITLE = "Compare"
STREAMS = 32  # comparisons and retries that stream at once; each holds a thread for one beat at a time
INSTANT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "undocumented"}
STREAMING: dict[str, Any] = {
    "concurrency_limit": STREAMS,
    "concurrency_id": "compare",
    "show_progress": "hidden",
    "api_visibility": "undocumented",
}


@dataclass(frozen=True)
class Table:
    """What most events need: the visitor's desk, the lanes, the shared settings, and what a view fills."""

    desk: gr.State
    cards: list[LaneCard]
    shared: Fields
    proof: gr.HTML
    status: gr.HTML

    @property
    def view(self) -> list[Component]:
        """The outputs of moves.show."""
        return [*(part for card in self.cards for part in (card.head, card.chat, card.foot)), self.proof, self.status]

    @property
    def columns(self) -> list[gr.Column]:
        """The outputs of moves.columns."""
        return [card.column for card in self.cards]

    @property
    def settings(self) -> list[Component]:
        """The shared fields in the order of SHARED."""
        return [self.shared[name] for name in SHARED]

    @property
    def of_lanes(self) -> list[Component]:
        """The fields of each lane in the order of PER_LANE."""
        return [part for card in self.cards for part in card.inputs]


def build(launch: Launch) -> None:
    """Lay out the tab inside the current Blocks and wire it."""
    arrangement = PRESETS["Base vs tuned"](all_models())
    desk = gr.State(Desk([placement.model for placement in arrangement.lanes]))
    there = collections(launch.visitor("somebody"))
    presets, fewer, more = arrangement_row()
    with gr.Row(elem_classes="lanes"):
        views = desk.value.board.lanes
        cards = [lane_card(place, arrangement, views[place], launch, there) for place in range(MOST_LANES)]
    proof = gr.HTML(elem_id="proof")
    with gr.Column(elem_id="composer"):
        prompt, send, stop, clear = composer()
        status = gr.HTML(elem_id="status")
    diff, downloads, box = tools()
    with gr.Accordion("Shared settings", open=False, elem_classes="settings") as settings:
        written = gr.HTML(preview([Asked(arrangement.style, told("", (), ""))]), elem_id="preview")
        shared = chosen_fields("shared", arrangement.style, there) | drawn_fields("shared")
    if launch.mode != "visitor":
        endpoint_form(desk, [card.model for card in cards], launch)

    table = Table(desk, cards, shared, proof, status)
    wire_composer(table, prompt, send, stop, clear)
    wire_arrangement(table, presets, fewer, more)
    wire_documents(table, gr.State(there))
    wire_tools(table, diff, downloads, box)
    wire_preview(table, prompt, settings, written)
    for place in range(MOST_LANES):
        wire_lane(table, place)
    gr.api(compare, api_name="compare", concurrency_limit=STREAMS, concurrency_id="compare")


def wire_composer(table: Table, prompt: gr.Textbox, send: gr.Button, stop: gr.Button, clear: gr.Button) -> None:
    """Send, Stop all and Clear."""
    inputs = [table.desk, prompt, *table.settings, *table.of_lanes]
    send.click(moves.send, inputs, [prompt, *table.view], **STREAMING)
    stop.click(moves.stop(None), [table.desk], None, **INSTANT)
    clear.click(moves.clear, [table.desk], table.view, **INSTANT)


def wire_arrangement(table: Table, presets: dict[str, gr.Button], fewer: gr.Button, more: gr.Button) -> None:
    """Presets, and lanes more or fewer."""
    more.click(moves.more, [table.desk], [*table.columns, *table.view], **INSTANT)
    fewer.click(moves.fewer, [table.desk], [*table.columns, *table.view], **INSTANT)
    models, styles = [card.model for card in table.cards], [card.fields["style"] for card in table.cards]
    gr.on(None, moves.offer, None, models, **INSTANT)  # runs may have made models since the server started
    follow(models, table.desk)
    read = [card.fields["collection"] for card in table.cards]
    own = [part for card in table.cards for part in (card.own, card.drawer, *(card.fields[name] for name in OWN))]
    outputs = [table.shared["style"], *models, *styles, *read, *own, *table.columns, *table.view]
    fresh = [cast(Any, table.cards[0].fields[name]).value for name in OWN]
    for name, button in presets.items():
        button.click(moves.preset(name, fresh), [table.desk], outputs, **INSTANT)


def wire_documents(table: Table, last: gr.State) -> None:
    """The collections there are when the page is opened, and whenever its tab is chosen."""
    fields = [table.shared["collection"], *(card.fields["collection"] for card in table.cards)]
    gr.on(None, moves.offer_documents, last, [last, *fields], **INSTANT)
    if isinstance(Context.block, gr.Tab):
        Context.block.select(moves.offer_documents, last, [last, *fields], **INSTANT)


def wire_tools(table: Table, diff: gr.Checkbox, downloads: dict[str, gr.Button], box: gr.Textbox) -> None:
    """Differences and downloads."""
    diff.input(moves.mark_differences, [table.desk, diff], table.view, **INSTANT)
    for name, button in downloads.items():
        made = button.click(moves.export(name), [table.desk], box, **INSTANT)
        made.success(None, [box], None, js="(file) => { window.diptych.save(file); return []; }")


def wire_preview(table: Table, prompt: gr.Textbox, settings: gr.Accordion, written: gr.HTML) -> None:
    """What the lanes will read: when the settings are opened, and then whenever a choice or the words change."""
    opened = gr.State(False)
    inputs = [opened, table.desk, prompt, *table.settings, *table.of_lanes]
    opening = settings.expand(turned(True), None, opened, **INSTANT)
    opening.then(show_preview, inputs, written, **INSTANT)
    settings.collapse(turned(False), None, opened, **INSTANT)
    forms = [table.shared, *(card.fields | {"model": card.model} for card in table.cards)]
    read = ("model", "style", "own", "system", "collection")
    changes = [cast(Any, form[name]).change for form in forms for name in read if name in form]
    # a preset changes many fields at once; of what comes while the preview is made only the last is asked for
    gr.on([*changes, prompt.blur], show_preview, inputs, written, trigger_mode="always_last", **INSTANT)


def wire_lane(table: Table, place: int) -> None:
    """The buttons and the picker of one lane, and its own settings, which begin as the shared ones."""
    card = table.cards[place]
    card.stop.click(moves.stop(place), [table.desk], None, **INSTANT)
    card.retry.click(moves.retry(place), [table.desk, *table.settings, *card.inputs], table.view, **STREAMING)
    card.model.input(moves.pick(place), [table.desk, card.model], [card.head, card.chat], **INSTANT)
    common, own = [table.shared[name] for name in OWN], [card.fields[name] for name in OWN]
    card.own.input(moves.open_drawer, [card.own, *common], [card.drawer, *own], **INSTANT)
