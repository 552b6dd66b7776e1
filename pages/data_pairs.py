"""The Data tab's form that makes question and answer pairs of a text, to be looked through before they are used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from engine.catalog import all_models
from engine.data.pairs import Pair, make_pairs, table_of
from engine.errors import Problem
from engine.messages import Sampling
from engine.respond import responder_for
from pages import data_render as render
from pages.bench import Bench
from pages.data_moves import laid_out
from pages.desk import Desk
from pages.form import resolve
from pages.parts import asks, visitor
from pages.render import count

HEADS = ("Keep", "Question", "Answer")
LONGEST_ANSWER = 600  # tokens for all pairs of a passage


@dataclass(frozen=True)
class Making:
    """The form behind `make` and `use`."""

    inputs: list[Any]
    make: gr.Button
    stop: gr.Button
    told: gr.HTML
    review: gr.Dataframe
    use: gr.Button


def pairs_form(owner: bool) -> Making:
    """Text, model, and the pairs that came out, each to be kept, changed or dropped."""
    names = [model.name for model in all_models()]
    with gr.Accordion(
        "Make pairs from a text", open=False, elem_classes="settings", visible=owner, elem_id="data-pairs"
    ):
        gr.HTML(
            '<p class="hint">A model reads the text passage by passage and writes questions with answers. Look through '
            "them: untick what is wrong, or correct it in its cell. The starter is too small for this; use a chat "
            "model.</p>"
        )
        text = gr.Textbox(
            label="Text", show_label=False, lines=5, max_lines=16, placeholder="Paste a text", elem_id="data-source"
        )
        with gr.Row(elem_classes="fields"):
            model = gr.Dropdown(
                names, value=names[0], label="Model", allow_custom_value=True, elem_id="data-pairs-model", min_width=180
            )
            number = gr.Number(
                3,
                label="Pairs a passage",
                precision=0,
                minimum=1,
                maximum=20,
                elem_id="data-pairs-count",
                min_width=120,
            )
        with gr.Row(elem_classes="buttons"):
            make = gr.Button("Make pairs", size="sm", elem_id="data-pairs-make")
            stop = gr.Button("Stop", size="sm", variant="stop", elem_id="data-pairs-stop")
        told = gr.HTML(elem_id="data-pairs-told")
        review = gr.Dataframe(
            headers=list(HEADS), datatype=["bool", "str", "str"], type="array", column_count=len(HEADS), row_count=0,
            interactive=True, wrap=True, show_label=False, max_height=420, elem_id="data-pairs-review",
            column_widths=["130px", "40%", "60%"],
        )  # fmt: skip
        use = gr.Button("Use the pairs that are ticked", size="sm", variant="primary", elem_id="data-pairs-use")
    return Making([text, model, number], make, stop, told, review, use)


@asks("load data")
def make(request: gr.Request, text: str, name: str, number: float | None) -> Iterator[list[Any]]:
    """Make pairs and show them as they come; a closed tab or Stop ends it."""
    model, key = resolve(name, "making pairs", Desk([]), visitor(request))
    asked = int(number or 0)
    yield [render.told("Reading…"), []]
    for progress in make_pairs(text or "", responder_for(model, key), asked, Sampling(0, max_tokens=LONGEST_ANSWER)):
        told = f"{count(len(progress.pairs), 'pair')} after {progress.done:,} of {count(progress.of, 'passage')}"
        told += f"; {progress.empty:,} gave none" if progress.empty else ""
        yield [render.told(f"{told}."), [[True, pair.question, pair.answer] for pair in progress.pairs]]


@asks("load data")
def use(request: gr.Request, bench: Bench, rows: list[list[Any]] | None) -> list[Any]:
    """Load the ticked pairs."""
    chosen = [Pair(str(q or ""), str(a or "")) for keep, q, a in rows or [] if keep in (True, "true", "True")]
    if not chosen:
        raise Problem("No pair is ticked. Make some first, and keep those that are right.")
    return laid_out(bench, table_of(chosen, "pairs made from a text"))
