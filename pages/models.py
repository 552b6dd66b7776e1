"""The Models tab: look at a model before it is loaded, download it, keep it, load it in a precision, unload it."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.components import Component

from pages import models_moves as moves
from pages.launch import Launch
from pages.models_form import Adding, Keeping, Loaded, adding, catalogue, keeping, loaded

TITLE = "Models"
GLANCE = 1.5  # seconds between two looks at downloads and memory
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
INSTANT: dict[str, Any] = {**QUIET, "queue": False}
WORKING: dict[str, Any] = {**QUIET, "concurrency_limit": 4, "concurrency_id": "models"}


def build(launch: Launch) -> None:
    """Lay out the tab inside the current Blocks and wire it."""
    owner = launch.mode != "visitor"
    with gr.Row(elem_classes="teach"):
        with gr.Column(scale=2, min_width=320, elem_classes="panel", elem_id="models-form"):
            form = adding(owner)
        with gr.Column(scale=3, min_width=360, elem_classes="panel", elem_id="models-mine"):
            mine = keeping(owner)
            held = loaded(owner)
    with gr.Column(elem_classes="panel", elem_id="models-all"):
        offered = catalogue()
    refresh = watching(mine, held)
    wire_adding(form, offered, mine, refresh)
    wire_keeping(mine, held, refresh)


Refresh = tuple[list[Component], list[Component]]


def watching(mine: Keeping, held: Loaded) -> Refresh:
    """Look at the models on a timer and when another is chosen; inputs and outputs of a glance."""
    last = gr.State({})
    inputs = [mine.choice, held.choice, last]
    outputs = [
        last, mine.shelf, mine.choice, mine.load, mine.stop, mine.resume, mine.delete, held.table, held.choice
    ]  # fmt: skip
    gr.Timer(GLANCE).tick(moves.glance, inputs, outputs, **INSTANT)
    for choice in (mine.choice, held.choice):
        choice.input(moves.glance, inputs, outputs, **INSTANT)
    return inputs, outputs


def wire_adding(form: Adding, offered: gr.HTML, mine: Keeping, refresh: Refresh) -> None:
    """Look, look at something else, add."""
    found = gr.State(None)
    asked = [form.source, form.revision]
    shown = [
        found, form.report, form.instead, form.base, form.form, form.name, form.precision, form.add, form.told
    ]  # fmt: skip
    fresh = gr.State("")  # a new look goes by the base that the adapter itself names
    gr.on([form.look.click, form.source.submit], moves.look_at, [*asked, fresh], shown, **WORKING)
    form.base.input(moves.look_at, [*asked, form.base], shown, **WORKING)
    for begun in (
        form.instead.click(moves.go_instead, [found], asked, **INSTANT),
        offered.select(moves.picked, None, asked, **INSTANT),
    ):
        begun.success(moves.look_at, [*asked, fresh], shown, **WORKING)
    added = form.add.click(
        moves.add, [found, form.name, form.precision], [form.told, mine.choice, form.form, found], **WORKING
    )
    added.success(moves.glance, *refresh, **INSTANT)


def wire_keeping(mine: Keeping, held: Loaded, refresh: Refresh) -> None:
    """What the buttons under the list do; each shows the models anew."""
    chosen = [mine.choice]
    mine.delete.click(moves.ask_sure, chosen, [mine.sure, mine.really], **INSTANT)
    mine.spare.click(moves.close_sure, None, mine.sure, **INSTANT)
    acts = (
        mine.load.click(moves.load, chosen, mine.told, **WORKING),
        mine.stop.click(moves.stop, chosen, mine.told, **INSTANT),
        mine.resume.click(moves.resume, chosen, mine.told, **INSTANT),
        mine.really.click(moves.delete, chosen, mine.told, **INSTANT),
        mine.rename.click(moves.rename, [mine.choice, mine.name], [mine.told, mine.name], **INSTANT),
        mine.set_precision.click(moves.set_precision, [mine.choice, mine.precision], mine.told, **INSTANT),
        held.unload.click(moves.unload, [held.choice], mine.told, **INSTANT),
    )
    for act in acts:
        act.then(moves.glance, *refresh, **INSTANT)
    mine.really.click(moves.close_sure, None, mine.sure, **INSTANT)
