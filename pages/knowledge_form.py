"""The Ask part of the Knowledge tab: the talk on the left, what the answers rest on at the right."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from engine.catalog import all_models
from engine.grounding import forms
from pages.knowledge_study import EMPTY_SOURCES, EMPTY_TALK
from pages.launch import Launch

SAMPLE_QUESTIONS = ("What is fat-tailedness?", "What does LoRA train?", "Why is correlation not causation?")
WAYS = {
    "with": "With the documents",
    "without": "Without them",
    "both": "With and without, side by side",
    "four": "Base and tuned, with and without (2 × 2)",
}
MODES = {"both": "Meaning and words", "vector": "Meaning alone", "keyword": "Words alone"}
# a click on a source, a mark in an answer, or a file's row says which
PICK = """element.addEventListener('click', (event) => {
  const mark = event.target.closest('[data-cite]');
  if (!mark) return;
  const turn = mark.closest('[data-turn]');
  trigger('select', { cite: Number(mark.dataset.cite), turn: turn ? Number(turn.dataset.turn) : -1 });
});"""


@dataclass(frozen=True)
class Talk:
    """The question, the answers and their sources: few widgets, since each costs the browser time at every beat."""

    talk: gr.HTML
    status: gr.HTML
    question: gr.Textbox
    ask: gr.Button
    stop: gr.Button
    clear: gr.Button
    way: gr.Radio
    model: gr.Dropdown
    tuned: gr.Dropdown
    form: gr.Dropdown
    mode: gr.Dropdown
    k: gr.Slider
    auto: gr.Checkbox
    cutoff: gr.Number
    tags: gr.Dropdown
    rerank: gr.Checkbox
    sources: gr.HTML
    place: gr.Textbox
    page: gr.Number
    find: gr.Button
    found: gr.HTML

    @property
    def settings(self) -> list[Component]:
        """The fields of a question, in the order of knowledge_ask.Asked."""
        return [self.way, self.model, self.tuned, self.form, self.mode, self.k, self.auto, self.cutoff, self.tags,
                self.rerank]  # fmt: skip


def talk_form(launch: Launch) -> Talk:
    """The talk on the left, what it rests on at the right."""
    with gr.Row(elem_id="knowledge-ask"):
        with gr.Column(scale=3, min_width=320, elem_id="knowledge-left"):
            talk = gr.HTML(EMPTY_TALK, elem_id="knowledge-talk", js_on_load=PICK)
            status = gr.HTML(elem_id="knowledge-status")
            with gr.Row(elem_id="knowledge-row"):
                question = gr.Textbox(
                    label="Your question to the documents", show_label=False, container=False, lines=1, max_lines=6,
                    placeholder="Ask the documents. Enter sends.", elem_id="knowledge-question", scale=1,
                )  # fmt: skip
                ask = gr.Button("Ask", variant="primary", elem_id="knowledge-send", scale=0, min_width=110)
            with gr.Row(elem_id="knowledge-buttons"):
                stop = gr.Button("Stop", size="sm", variant="secondary", elem_id="knowledge-stop", min_width=60)
                clear = gr.Button("New talk", size="sm", variant="secondary", elem_id="knowledge-clear", min_width=60)
                for text in SAMPLE_QUESTIONS:
                    example = gr.Button(text, size="sm", variant="secondary", elem_classes="try", min_width=60)
                    example.click(None, None, question, js=f"() => {json.dumps(text)}", api_visibility="private")
            fields = asking_fields(launch)
            found_form = finding_form()
        with gr.Column(scale=2, min_width=320, elem_id="knowledge-right"):
            sources = gr.HTML(EMPTY_SOURCES, elem_id="knowledge-sources", js_on_load=PICK)
    parts: list[Any] = [talk, status, question, ask, stop, clear, *fields, sources]
    return Talk(*parts, *found_form)


def asking_fields(launch: Launch) -> list[Any]:
    """How to answer, and how to search."""
    names = [model.name for model in all_models()]
    tuned = [model.name for model in all_models() if model.adapter]
    own = launch.mode != "visitor"
    with gr.Row(elem_classes="fields", elem_id="knowledge-how"):
        way = gr.Radio(
            [(text, key) for key, text in WAYS.items()], value="with", label="Answer", elem_id="knowledge-way"
        )
    with gr.Row(elem_classes="fields"):
        model = gr.Dropdown(
            names, value=names[0], label="Model", allow_custom_value=own, elem_id="knowledge-model", min_width=160
        )
        other = gr.Dropdown(
            tuned or names, value=(tuned or names)[0], label="Tuned model of the 2 × 2",
            allow_custom_value=own, elem_id="knowledge-tuned", min_width=160,
        )  # fmt: skip
        form = gr.Dropdown(
            [(each.title, name) for name, each in forms().items()], value="strict", label="How the passages are given",
            elem_id="knowledge-form", min_width=200,
        )  # fmt: skip
    with (
        gr.Accordion("How to search", open=False, elem_classes="settings", elem_id="knowledge-search"),
        gr.Row(elem_classes="fields"),
    ):
        mode = gr.Dropdown(
            [(text, key) for key, text in MODES.items()], value="both", label="Search by", elem_id="knowledge-mode",
            min_width=170,
        )  # fmt: skip
        k = gr.Slider(1, 50, 3, step=1, label="Passages", elem_id="knowledge-k", min_width=150)
        auto = gr.Checkbox(
            True, label="Cutoff from the collection", info="else the number beside it", elem_id="knowledge-auto",
            min_width=170,
        )  # fmt: skip
        cutoff = gr.Number(0.3, label="Lowest cosine", minimum=-1, maximum=1, step=0.01, elem_id="knowledge-cutoff",
                           min_width=110)  # fmt: skip
        tags = gr.Dropdown([], label="Only these tags", multiselect=True, allow_custom_value=True,
                           elem_id="knowledge-only", min_width=170)  # fmt: skip
        rerank = gr.Checkbox(
            False, label="Rerank with a cross-encoder", interactive=False, elem_id="knowledge-rerank", min_width=190,
        )  # fmt: skip
    return [way, model, other, form, mode, k, auto, cutoff, tags, rerank]


def finding_form() -> list[Any]:
    """Why a page is not among the hits."""
    with gr.Accordion("Why is a page not among them?", open=False, elem_classes="settings", elem_id="knowledge-absent"):
        with gr.Row(elem_classes="fields"):
            place = gr.Dropdown([], label="File", allow_custom_value=True, elem_id="knowledge-place", min_width=220)
            page = gr.Number(1, label="Page", precision=0, minimum=1, elem_id="knowledge-page", min_width=90)
            find = gr.Button("Find its rank", size="sm", elem_id="knowledge-find")
        found = gr.HTML(elem_id="knowledge-found")
    return [place, page, find, found]
