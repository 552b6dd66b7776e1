"""What the Compare tab is made of: the row of presets, a card for each lane, the composer, the tools."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import cast

import gradio as gr
from gradio.components import Component

from engine.catalog import all_models
from pages import render
from pages.board import LaneView
from pages.export import FORMATS
from pages.form import AS_SHARED, PER_LANE, Fields, chosen_fields, drawn_fields
from pages.launch import Launch
from pages.presets import PRESETS, Arrangement

EXAMPLES = {
    "A list question": "What are three steps to clean a dataset?",
    "A thank-you": "Great content, thank you!",
    "Fat-tailedness": "What is fat-tailedness?",
    "A support dialogue": "Customer: My order came with a broken lid. What can I do?\nAgent:",
}


@dataclass(frozen=True)
class LaneCard:
    """The widgets of one lane."""

    column: gr.Column
    head: gr.HTML
    model: gr.Dropdown
    chat: gr.Chatbot
    foot: gr.HTML
    stop: gr.Button
    retry: gr.Button
    fields: Fields
    drawer: gr.Column

    @property
    def own(self) -> gr.Checkbox:
        """Whether the lane has sampling of its own."""
        return cast(gr.Checkbox, self.fields["own"])

    @property
    def inputs(self) -> list[Component]:
        """The widgets in the order of PER_LANE."""
        return [self.model, *(self.fields[name] for name in PER_LANE[1:])]


def arrangement_row() -> tuple[dict[str, gr.Button], gr.Button, gr.Button]:
    """The presets, and lanes more or fewer."""
    with gr.Row(elem_id="presets"):
        gr.HTML('<span class="row-label" id="presets-label">Arrange</span>')
        presets = {name: gr.Button(name, size="sm", variant="secondary") for name in PRESETS}
        fewer_button = gr.Button("Remove a lane", size="sm", variant="secondary", elem_id="fewer")
        more_button = gr.Button("Add a lane", size="sm", variant="secondary", elem_id="more")
    starter = all_models()[0]
    gr.HTML(f'<p class="hint"><strong>{escape(starter.name)}</strong>: {escape(starter.about)}</p>')
    return presets, fewer_button, more_button


def lane_card(
    place: int, arrangement: Arrangement, view: LaneView, launch: Launch, there: Sequence[tuple[str, str]]
) -> LaneCard:
    """One lane: heading, model, talk, figures, and settings of its own; `there` are the collections it may read."""
    used = place < len(arrangement.lanes)
    placement = arrangement.lanes[place if used else 0]
    with gr.Column(visible=used, elem_classes="lane", elem_id=f"lane-{place + 1}", min_width=0) as column:
        head = gr.HTML(render.head(place, view))
        model = gr.Dropdown(
            [each.name for each in all_models()],
            value=placement.model.name,
            label=f"Model of lane {place + 1}",
            show_label=False,
            container=False,
            allow_custom_value=launch.mode != "visitor",
            elem_id=f"model-{place + 1}",
            elem_classes="model",
        )
        chat = gr.Chatbot(
            label=f"Lane {place + 1}",
            show_label=False,
            container=False,
            layout="panel",
            height=None,
            min_height="17rem",
            max_height="max(17rem, calc(100vh - 520px))",  # figures and composer stay in sight below it
            buttons=["copy"],
            feedback_options=None,
            elem_id=f"chat-{place + 1}",
            elem_classes="talk",
            placeholder='<p class="quiet">The answer appears here.</p>',
        )
        foot = gr.HTML(render.foot(view), elem_classes="foot")
        with gr.Row(elem_classes="lane-buttons"):
            stop = gr.Button("Stop", size="sm", variant="stop", elem_classes="lane-stop", min_width=60)
            retry = gr.Button("Retry", size="sm", variant="secondary", elem_classes="lane-retry", min_width=60)
        with gr.Accordion("This lane only", open=False, elem_classes="own-settings"):
            fields = chosen_fields(f"lane-{place + 1}", placement.style or AS_SHARED, there, may_share=True)
            with gr.Column(visible=False) as drawer:
                fields |= drawn_fields(f"lane-{place + 1}")
    return LaneCard(column, head, model, chat, foot, stop, retry, fields, drawer)


def composer() -> tuple[gr.Textbox, gr.Button, gr.Button, gr.Button]:
    """The prompt, its buttons and the examples."""
    with gr.Row(elem_id="prompt-row"):
        prompt = gr.Textbox(
            label="Prompt for all lanes",
            show_label=False,
            container=False,
            lines=2,
            max_lines=10,
            placeholder="Write one prompt for all lanes. Ctrl+Enter sends.",
            elem_id="prompt",
            scale=1,
        )
        with gr.Column(scale=0, min_width=128, elem_id="prompt-buttons"):
            send_button = gr.Button("Send", variant="primary", elem_id="send")
            with gr.Row(elem_id="minor-buttons"):
                stop_button = gr.Button("Stop all", size="sm", variant="secondary", elem_id="stop-all", min_width=60)
                clear_button = gr.Button("Clear", size="sm", variant="secondary", elem_id="clear", min_width=60)
    with gr.Row(elem_id="examples"):
        gr.HTML('<span class="row-label">Try</span>')
        for title, text in EXAMPLES.items():
            button = gr.Button(title, size="sm", variant="secondary", min_width=60)
            button.click(None, None, prompt, js=f"() => {json.dumps(text)}")
    return prompt, send_button, stop_button, clear_button


def tools() -> tuple[gr.Checkbox, dict[str, gr.Button], gr.Textbox]:
    """Differences, downloads, and the box in which a download reaches the page's script."""
    with gr.Row(elem_id="tools"):
        diff = gr.Checkbox(label="Mark differences from lane 1", container=False, elem_id="diff")
        downloads = {name: gr.Button(f"Export {name}", size="sm", variant="secondary") for name in FORMATS}
        box = gr.Textbox(visible="hidden", elem_id="export-box", label="Export")
    return diff, downloads, box
