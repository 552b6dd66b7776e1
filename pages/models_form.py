"""What the Models tab is made of: the form that looks and adds, the owner's models, memory, the catalogue."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from engine.models.footprint import PRECISIONS
from pages import models_render as render

PRECISION_CHOICES = [(title, name) for name, title in PRECISIONS.items()]
PICK_MODEL = """element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-source]');
  if (!button) return;
  document.getElementById('models-form').scrollIntoView({ block: 'start' });
  trigger('select', { source: button.dataset.source });
});"""


@dataclass(frozen=True)
class Adding:
    """The widgets that look at a model and add it."""

    source: gr.Textbox
    revision: gr.Textbox
    look: gr.Button
    report: gr.HTML
    instead: gr.Button
    base: gr.Dropdown
    form: gr.Column
    name: gr.Textbox
    precision: gr.Dropdown
    add: gr.Button
    told: gr.HTML


@dataclass(frozen=True)
class Keeping:
    """The widgets of the models that were added."""

    shelf: gr.HTML
    choice: gr.Dropdown
    load: gr.Button
    stop: gr.Button
    resume: gr.Button
    delete: gr.Button
    sure: gr.Row
    really: gr.Button
    spare: gr.Button
    precision: gr.Dropdown
    set_precision: gr.Button
    name: gr.Textbox
    rename: gr.Button
    told: gr.HTML


@dataclass(frozen=True)
class Loaded:
    """The widgets of what is in memory."""

    table: gr.HTML
    choice: gr.Dropdown
    unload: gr.Button


def adding(owner: bool) -> Adding:
    """Look first, then add."""
    gr.HTML('<h3 class="panel-title">Add a model</h3>')
    if not owner:
        gr.HTML('<p class="note">This is an open demo: only its owner can add models.</p>')
    source = gr.Textbox(
        label="Hub id or folder", placeholder="HuggingFaceTB/SmolLM2-135M or /path/to/a/folder", max_lines=1,
        elem_id="models-source",
    )  # fmt: skip
    with gr.Row(elem_id="models-look-row"):
        revision = gr.Textbox(
            label="Revision", placeholder="the newest", max_lines=1, elem_id="models-revision", min_width=140, scale=1
        )
        look = gr.Button("Look", variant="primary", elem_id="models-look", interactive=owner, min_width=100, scale=0)
    report = gr.HTML(render.NOTHING_YET, elem_id="models-report")
    instead = gr.Button("Look at its base", size="sm", visible=False, elem_id="models-instead")
    base = gr.Dropdown([], label="Attach it to", visible=False, elem_id="models-base")
    with gr.Column(visible=False, elem_id="models-add-form") as form:
        name = gr.Textbox(label="Name in every list", max_length=80, max_lines=1, elem_id="models-name")
        precision = gr.Dropdown(PRECISION_CHOICES, value="auto", label="Load it in", elem_id="models-precision")
        add = gr.Button("Add", variant="primary", elem_id="models-add", interactive=owner)
    told = gr.HTML(elem_id="models-added")
    return Adding(source, revision, look, report, instead, base, form, name, precision, add, told)


def keeping(owner: bool) -> Keeping:
    """The owner's models and what can be done with one."""
    gr.HTML('<h3 class="panel-title">Your models</h3>')
    shelf = gr.HTML(elem_id="models-shelf")
    with gr.Column(visible=owner, elem_id="models-acts"):
        # a value may come before the choices that hold it; the server looks for the model itself
        choice = gr.Dropdown([], label="Model", allow_custom_value=True, elem_id="models-choice")
        with gr.Row(elem_classes="run-buttons"):
            off = {"size": "sm", "interactive": False}
            load = gr.Button("Load", elem_id="models-load", **off)  # type: ignore[arg-type]
            stop = gr.Button("Stop the download", elem_id="models-stop", **off)  # type: ignore[arg-type]
            resume = gr.Button("Resume", elem_id="models-resume", **off)  # type: ignore[arg-type]
            delete = gr.Button("Delete", variant="stop", elem_id="models-delete", **off)  # type: ignore[arg-type]
        with gr.Row(visible=False, elem_id="models-sure", elem_classes="run-buttons") as sure:
            really = gr.Button("Yes, delete it", size="sm", variant="stop", elem_id="models-really")
            spare = gr.Button("Keep it", size="sm", elem_id="models-spare")
        told = gr.HTML(elem_id="models-told")
        with gr.Accordion("Precision and name", open=False, elem_classes="settings", elem_id="models-change"):
            with gr.Row(elem_classes="fields"):
                precision = gr.Dropdown(
                    PRECISION_CHOICES, value="auto", label="Load it in", elem_id="models-new-precision", min_width=200
                )
                set_precision = gr.Button("Set the precision", size="sm", elem_id="models-set-precision", min_width=140)
            with gr.Row(elem_classes="fields"):
                name = gr.Textbox(
                    label="New name", max_length=80, max_lines=1, elem_id="models-new-name", min_width=200
                )
                rename = gr.Button("Rename", size="sm", elem_id="models-rename", min_width=140)
    return Keeping(
        shelf, choice, load, stop, resume, delete, sure, really, spare, precision, set_precision, name, rename, told
    )


def loaded(owner: bool) -> Loaded:
    """What is in memory now."""
    gr.HTML('<h3 class="panel-title">In memory now</h3>')
    table = gr.HTML(elem_id="models-memory")
    with gr.Row(visible=owner, elem_id="models-unload-row"):
        choice = gr.Dropdown([], label="Unload", allow_custom_value=True, elem_id="models-held", scale=1)
        unload = gr.Button("Unload", size="sm", elem_id="models-unload", min_width=100, scale=0)
    return Loaded(table, choice, unload)


def catalogue() -> gr.HTML:
    """The table of what can be added."""
    gr.HTML('<h3 class="panel-title">Catalogue</h3>')
    return gr.HTML(render.catalogue(), elem_id="models-catalogue", js_on_load=PICK_MODEL)
