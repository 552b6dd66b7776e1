"""The Data tab's forms that are folded away: pasting, the Hub, preparing, keeping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from engine.data.exports import FORMATS
from pages.data_moves import PASTED


@dataclass(frozen=True)
class Preparing:
    """The form behind moves.prepare; `inputs` in its order."""

    inputs: list[Component]
    balance: gr.Dropdown
    apply: gr.Button
    undo: gr.Button
    told: gr.HTML


@dataclass(frozen=True)
class Keeping:
    """The forms behind moves.keep, moves.push and the downloads; inputs in the order of those two."""

    name: gr.Textbox
    inputs: list[Component]
    save: gr.Button
    told: gr.HTML
    downloads: dict[str, gr.Button]
    box: gr.Textbox
    push: gr.Button
    push_inputs: list[Component]


def paste_form(owner: bool) -> list[Any]:
    """[button, then the inputs of moves.paste]."""
    with gr.Accordion("Paste rows", open=False, elem_classes="settings", visible=owner, elem_id="data-paste"):
        text = gr.Textbox(
            label="Rows",
            show_label=False,
            lines=5,
            max_lines=16,
            placeholder='{"question": "What is a diptych?", "answer": "A picture of two panels."}',
            elem_id="data-pasted",
        )
        with gr.Row(elem_classes="fields"):
            kind = gr.Radio(list(PASTED), value="JSON or JSON lines", label="They are", elem_id="data-pasted-kind")
            button = gr.Button("Load what is pasted", size="sm", elem_id="data-paste-load")
    return [button, text, kind]


def hub_form(owner: bool) -> list[Any]:
    """[button, then the inputs of moves.load_hub]."""
    with gr.Accordion(
        "From the Hugging Face Hub", open=False, elem_classes="settings", visible=owner, elem_id="data-hub"
    ):
        gr.HTML('<p class="hint">The first rows are streamed; the rest of a large dataset stays where it is.</p>')
        with gr.Row(elem_classes="fields"):
            name = gr.Textbox(label="Dataset", placeholder="OWNER/NAME", elem_id="data-hub-name", min_width=220)
            config = gr.Textbox(label="Configuration", placeholder="None", elem_id="data-hub-config", min_width=120)
            part = gr.Textbox("train", label="Split", elem_id="data-hub-split", min_width=100)
            rows = gr.Number(1000, label="Rows", precision=0, minimum=1, elem_id="data-hub-rows", min_width=100)
        button = gr.Button("Load from the Hub", size="sm", elem_id="data-hub-load")
    return [button, name, config, part, rows]


def prepare_form(owner: bool) -> Preparing:
    """Length, repeats, balance."""
    with gr.Accordion("Prepare", open=False, elem_classes="settings", visible=owner, elem_id="data-prepare"):
        with gr.Row(elem_classes="fields"):
            shortest = whole("Shortest, in tokens", "0 keeps all", "data-shortest")
            longest = whole("Longest, in tokens", "0 keeps all", "data-longest")
            similar = gr.Slider(
                0, 1, 0, step=0.01, label="Leave out rows that say the same", elem_id="data-similar", min_width=220,
                info="cosine of their embeddings; 0 is off, 0.9 finds rewordings",
            )  # fmt: skip
            balance = gr.Dropdown(
                [""], value="", label="Balance by", elem_id="data-balance", min_width=160,
                info="as many rows of each value",
            )  # fmt: skip
            seed = whole("Seed", "of the draw", "data-seed")
        exact = gr.Checkbox(label="Leave out exact repeats", container=False, elem_id="data-exact")
        with gr.Row(elem_classes="buttons"):
            apply = gr.Button("Prepare the rows", size="sm", variant="primary", elem_id="data-apply")
            undo = gr.Button("Back to the rows as loaded", size="sm", variant="secondary", elem_id="data-undo")
        told = gr.HTML(elem_id="data-prepared")
    return Preparing([shortest, longest, exact, similar, balance, seed], balance, apply, undo, told)


def whole(label: str, info: str, elem_id: str) -> gr.Number:
    """A field for a whole number from 0."""
    return gr.Number(0, label=label, info=info, precision=0, minimum=0, elem_id=elem_id, min_width=120)


def keep_form(owner: bool) -> Keeping:
    """Keep the rows for fine-tuning, whole or split, and download them."""
    with gr.Column(visible=owner, elem_id="data-keep"):
        with gr.Row(elem_classes="fields"):
            name = gr.Textbox(label="Name", placeholder="my examples", elem_id="data-name", min_width=220)
            validation = share("Validation share", "data-validation")
            test = share("Test share", "data-test")
            seed = whole("Seed of the split", "same seed, same split", "data-split-seed")
        save = gr.Button("Use for fine-tuning", variant="primary", elem_id="data-save")
        told = gr.HTML(elem_id="data-told")
        with gr.Accordion("Put on the Hugging Face Hub", open=False, elem_classes="settings", elem_id="data-push"):
            with gr.Row(elem_classes="fields"):
                repository = gr.Textbox(label="Dataset", placeholder="OWNER/NAME", elem_id="data-push-name")
                private = gr.Checkbox(True, label="Private", container=False, elem_id="data-push-private")
            push = gr.Button("Push", size="sm", elem_id="data-push-button")
    with gr.Row(elem_id="data-tools"):
        downloads = {each: gr.Button(f"Export {each}", size="sm", variant="secondary") for each in FORMATS}
        box = gr.Textbox(visible="hidden", elem_id="data-export-box", label="Export")
    return Keeping(name, [name, validation, test, seed], save, told, downloads, box, push, [repository, private])


def share(label: str, elem_id: str) -> gr.Number:
    """A field for a share of the rows."""
    return gr.Number(
        0, label=label, info="0 keeps the rows together", minimum=0, maximum=0.9, step=0.05, elem_id=elem_id,
        min_width=120,
    )  # fmt: skip
