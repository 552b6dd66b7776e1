"""The Map and Measure parts of the Knowledge tab."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from pages.knowledge_docs_form import script
from pages.knowledge_form import MODES
from pages.launch import Launch

# a passage that is named in a list is opened
PICK_CHUNK = """element.addEventListener('click', (event) => {
  const named = event.target.closest('[data-chunk]');
  if (named) trigger('select', { chunk: named.dataset.chunk });
});"""


@dataclass(frozen=True)
class Mapping:
    """The map and what it tells."""

    method: gr.Dropdown
    colour: gr.Dropdown
    deep: gr.Checkbox
    draw: gr.Button
    map: gr.HTML
    passage: gr.HTML
    lists: gr.HTML


def mapping_form() -> Mapping:
    """How to draw, and the drawing."""
    with gr.Row(elem_classes="fields", elem_id="knowledge-map-form"):
        method = gr.Dropdown(
            [("t-SNE: neighbours stay neighbours", "tsne"), ("PCA: two straight axes", "pca")],
            value="tsne", label="Drawn by", elem_id="knowledge-method", min_width=200,
        )  # fmt: skip
        colour = gr.Dropdown(
            [("File", "file"), ("Tag", "tag"), ("Cluster", "cluster")], value="file", label="Coloured by",
            elem_id="knowledge-colour", min_width=140,
        )  # fmt: skip
        deep = gr.Checkbox(
            False, label="Three dimensions", info="drag to turn", elem_id="knowledge-deep", min_width=150
        )
        draw = gr.Button("Draw the map", variant="primary", elem_id="knowledge-draw", scale=0, min_width=150)
    with gr.Row(elem_id="knowledge-map-row"):
        with gr.Column(scale=3, min_width=320):
            picture = gr.HTML(
                '<p class="quiet">Every passage as a dot; the last question and its hits are drawn in.</p>',
                js_on_load=script("knowledge_map.js"),
                elem_id="knowledge-map",
            )
        with gr.Column(scale=2, min_width=320):
            passage = gr.HTML(elem_id="knowledge-map-passage")
            lists = gr.HTML(elem_id="knowledge-map-lists", js_on_load=PICK_CHUNK)
    return Mapping(method, colour, deep, draw, picture, passage, lists)


@dataclass(frozen=True)
class Measuring:
    """Measuring retrieval with questions whose answers are known."""

    upload: gr.File
    text: gr.Textbox
    modes: gr.CheckboxGroup
    ks: gr.Textbox
    lengths: gr.CheckboxGroup
    measure: gr.Button
    stop: gr.Button
    result: gr.HTML
    setting: gr.Dropdown
    use: gr.Button
    told: gr.HTML


AS_IT_IS = "as it is"  # the passage length that the collection has
QUESTIONS_HELP = """<p class="hint">One question a line, as JSON: <code>question</code>, and what counts as found:
<code>file</code> (and <code>page</code>), or <code>keywords</code>, or <code>passage</code>.</p>"""


def measuring_form(launch: Launch) -> Measuring:
    """A question file, settings to try, and the table of what they found."""
    owner = launch.mode != "visitor"
    gr.HTML(QUESTIONS_HELP if owner else '<p class="note">Only the owner can measure.</p>')
    with gr.Row(elem_classes="fields", visible=owner):
        upload = gr.File(
            label="Question file: jsonl or json", file_types=[".jsonl", ".json"], height=150,
            elem_id="knowledge-questions",
        )  # fmt: skip
        text = gr.Textbox(
            label="Or write them here", lines=4, elem_id="knowledge-questions-text",
            placeholder='{"question": "What is fat-tailedness?", "keywords": ["fat"]}',
        )  # fmt: skip
    with gr.Row(elem_classes="fields", visible=owner):
        modes = gr.CheckboxGroup(
            [(text, key) for key, text in MODES.items()], value=list(MODES), label="Search by",
            elem_id="knowledge-modes",
        )  # fmt: skip
        ks = gr.Textbox("1, 3, 5, 10", label="Passages (k)", elem_id="knowledge-ks", min_width=130)
        lengths = gr.CheckboxGroup(
            [("As it is", AS_IT_IS)], value=[AS_IT_IS], label="Passage length in tokens",
            info="another length is cut and embedded anew on a copy, which takes as long as re-indexing",
            elem_id="knowledge-lengths",
        )  # fmt: skip
        measure = gr.Button("Measure", variant="primary", elem_id="knowledge-measure", scale=0, min_width=120)
        stop = gr.Button("Stop", size="sm", elem_id="knowledge-measure-stop", min_width=60)
    result = gr.HTML(elem_id="knowledge-measured")
    with gr.Row(elem_classes="fields", visible=owner):
        setting = gr.Dropdown(
            [], label="A row of the table", info="a row of another passage length re-indexes the collection",
            allow_custom_value=True, elem_id="knowledge-setting", min_width=220,
        )  # fmt: skip
        use = gr.Button("Use this setting", size="sm", elem_id="knowledge-use")
    told = gr.HTML(elem_id="knowledge-used")
    return Measuring(upload, text, modes, ks, lengths, measure, stop, result, setting, use, told)
