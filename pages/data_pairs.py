"""The Data tab's form that makes question and answer pairs of documents, to be looked through before they are used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from engine.catalog import Model, all_models
from engine.data.pairs import Pair, Progress, Writer, make_pairs, spread, table_of, written_by
from engine.data.plain_pairs import plain_pairs
from engine.errors import Problem
from engine.messages import Sampling
from engine.recipe import TOY_PARAMETERS
from engine.respond import responder_for
from engine.teaching.shape import count_parameters
from pages import data_render as render
from pages.bench import Bench
from pages.data_moves import laid_out
from pages.data_sources import Material, Sources, chosen, sources_form
from pages.desk import Desk
from pages.form import resolve
from pages.parts import asks, visitor
from pages.render import count
from rag.reading.kinds import KINDS

HEADS = ("Keep", "Question", "Answer", "File", "Page")
LONGEST_ANSWER = 600  # tokens for all pairs of a passage
SIMPLE = (
    "These are simple pairs, made by a plain rule from what the text says of itself: {model} is too small to write "
    "questions. Choose a chat model for better ones."
)


@dataclass(frozen=True)
class Making:
    """The form behind `make` and `use`."""

    sources: Sources
    inputs: list[Any]
    make: gr.Button
    stop: gr.Button
    told: gr.HTML
    review: gr.Dataframe
    use: gr.Button


def pairs_form(owner: bool) -> Making:
    """Documents or a text, a model, and the pairs that came out, each to be kept, changed or dropped."""
    names = [model.name for model in all_models()]
    with gr.Accordion(
        "Make pairs from documents or a text", open=False, elem_classes="settings", visible=owner, elem_id="data-pairs"
    ):
        gr.HTML(
            '<p class="hint">A model reads passage by passage and writes questions with answers. Look through them: '
            "untick what is wrong, or correct it in its cell. The starter is too small for this; with it the pairs "
            "are simple ones, made by a plain rule.</p>"
        )
        sources = sources_form(tuple(KINDS))
        with gr.Row(elem_classes="fields"):
            model = gr.Dropdown(
                names, value=names[0], label="Model", allow_custom_value=True, elem_id="data-pairs-model", min_width=180
            )
            number = whole("Pairs a passage", 3, 20, "data-pairs-count")
            most = whole("Passages at most", 50, 500, "data-pairs-most")
        with gr.Row(elem_classes="buttons"):
            make = gr.Button("Make pairs", size="sm", elem_id="data-pairs-make")
            stop = gr.Button("Stop", size="sm", variant="stop", elem_id="data-pairs-stop")
        told = gr.HTML(elem_id="data-pairs-told")
        review = gr.Dataframe(
            headers=list(HEADS), datatype=["bool", "str", "str", "str", "str"], type="array", column_count=len(HEADS),
            row_count=0,
            interactive=True, wrap=True, show_label=False, max_height=420, elem_id="data-pairs-review",
            column_widths=["90px", "27%", "41%", "16%", "80px"], static_columns=[3, 4],
        )  # fmt: skip
        use = gr.Button("Use the pairs that are ticked", size="sm", variant="primary", elem_id="data-pairs-use")
    return Making(sources, [*sources.inputs, model, number, most], make, stop, told, review, use)


def whole(label: str, value: int, most: int, name: str) -> gr.Number:
    """A field for a whole number from 1."""
    return gr.Number(value, label=label, precision=0, minimum=1, maximum=most, elem_id=name, min_width=120)


@asks("load data")
def make(
    request: gr.Request,
    way: str,
    text: str | None,
    material: Material,
    collection: str | None,
    name: str,
    number: float | None,
    most: float | None,
) -> Iterator[list[Any]]:
    """Make pairs and show them as they come; a closed tab or Stop ends it."""
    model, key = resolve(name, "making pairs", Desk([]), visitor(request))
    found = chosen(way, text, material, collection)
    if not most or most < 1:
        raise Problem("Ask for 1 passage at least.")
    read = spread(found, int(most))
    write, note = writer(model, key)
    if len(read) < len(found):
        note = f"{len(read):,} of {len(found):,} passages are read, spread evenly. {note}"
    yield [render.told(f"{note} Reading…".strip()), []]
    for progress in make_pairs(read, write, int(number or 0)):
        rows = [[True, pair.question, pair.answer, pair.file, pair.page] for pair in progress.pairs]
        yield [render.told(f"{told(progress)} {note}".strip()), rows]


def writer(model: Model, key: str | None) -> tuple[Writer, str]:
    """What writes the pairs, and a sentence where that is not the model itself."""
    if toy(model):
        return plain_pairs, SIMPLE.format(model=model.name)
    return written_by(responder_for(model, key), Sampling(0, max_tokens=LONGEST_ANSWER)), ""


def toy(model: Model) -> bool:
    """Whether a model is far too small to write questions."""
    return not model.endpoint and (count_parameters(model) or TOY_PARAMETERS) < TOY_PARAMETERS


def told(progress: Progress) -> str:
    """How far the making is, and what came of it."""
    text = f"{count(len(progress.pairs), 'pair')} after {progress.done:,} of {count(progress.of, 'passage')}"
    text += f"; {progress.empty:,} gave none" if progress.empty else ""
    text += f"; {count(progress.dropped, 'empty or repeated pair')} dropped" if progress.dropped else ""
    return f"{text}."


@asks("load data")
def use(request: gr.Request, bench: Bench, rows: list[list[Any]] | None) -> list[Any]:
    """Load the ticked pairs."""
    ticked = [cells for keep, *cells in rows or [] if keep in (True, "true", "True")]
    pairs = [Pair(*(str(cell or "") for cell in cells)) for cells in ticked]
    if not pairs:
        raise Problem("No pair is ticked. Make some first, and keep those that are right.")
    return laid_out(bench, table_of(pairs, f"pairs made from {'documents' if pairs[0].file else 'a text'}"))
