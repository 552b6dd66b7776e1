"""The Assistant tab: chat with a model that calls tools, each call shown, and nothing done behind one's back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from engine.acting.assistants import assistants
from engine.acting.own_tools import own_tools
from engine.acting.shipped_tools import WEB
from engine.catalog import all_models
from engine.settings import settings
from pages import asking, converse, kept, leaflet, shaping, shelf
from pages.as_python import script_region
from pages.bubbles import explained
from pages.chat_remote import chat as chat_endpoint
from pages.launch import Launch
from pages.pickers import follow, when_shown
from pages.talk import Talk

TITLE = "Assistant"
STREAMS = 32  # turns that stream at once
EXAMPLE = f"() => document.querySelector('#assistant-prompt textarea').placeholder.replace('{converse.LEAD}', '')"
INSTANT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
STREAMING: dict[str, Any] = {
    "concurrency_limit": STREAMS,
    "concurrency_id": "chat",
    "show_progress": "hidden",
    "api_visibility": "private",
}


Files = tuple[gr.Button, gr.UploadButton, gr.Button]  # export, import, copy as Python


@dataclass(frozen=True)
class Setup:
    """The fields that say who answers and how."""

    model: gr.Dropdown
    preset: gr.Dropdown
    system: gr.Textbox
    tools: gr.CheckboxGroup
    documents: gr.Dropdown
    describe: gr.Checkbox
    temperature: gr.Slider
    most: gr.Number

    @property
    def values(self) -> list[Component]:
        """The inputs in the order of asking.question."""
        return [*self.kept, self.documents, self.describe, self.temperature, self.most]

    @property
    def kept(self) -> list[Component]:
        """What is kept with a conversation, in the order of kept.filled."""
        return [self.model, self.preset, self.system, self.tools]


@dataclass(frozen=True)
class Stage:
    """Where the conversation is: what a view fills, and the box in which one writes."""

    box: gr.Textbox
    chat: gr.Chatbot
    status: gr.HTML
    approval: gr.Column
    asked: gr.HTML
    call: gr.Textbox
    kept: gr.Textbox

    @property
    def view(self) -> list[Any]:
        """The outputs of converse.show."""
        return [self.chat, self.status, self.approval, self.asked, self.call, self.kept]


def build(launch: Launch) -> None:
    """Lay out the tab inside the current Blocks and wire it."""
    talk = gr.State(Talk())
    with gr.Row(elem_id="assistant"):
        with gr.Column(scale=3, min_width=320, elem_id="assistant-talk"), gr.Tabs(elem_id="assistant-ways"):
            with gr.Tab("Chat", id="chat"):
                stage, send, stop, minor, answers, files = conversation()
                saved = gr.Textbox(visible="hidden", elem_id="assistant-export", label="Export of the conversation")
                python = script_region(files[2])
            with gr.Tab("Structured output", id="structured"):
                shape = shaping.region()
            with gr.Tab("Brochure", id="brochure"):
                sheet = leaflet.region(launch)
        with gr.Column(scale=1, min_width=280, elem_id="assistant-setup"):
            drawer = kept.drawer()
            setup, warning = setup_fields(launch)
            if launch.mode != "visitor":
                endpoint_fields(talk, setup.model)
    wire_turns(talk, stage, setup, send, stop, minor, answers)
    wire_setup(talk, stage, setup, warning)
    wire_transcript(talk, stage, setup, files, saved)
    follow([setup.model], talk)
    drawer.wire(talk, setup.kept, stage.view, stage.kept)
    when_shown(converse.documents, setup.documents, **INSTANT)
    python.wire(talk, setup.values)
    shape.wire(talk, setup.values)
    sheet.wire(talk, setup.values)
    gr.api(chat_endpoint, api_name="chat", concurrency_limit=STREAMS, concurrency_id="chat")


def conversation() -> tuple[Stage, gr.Button, gr.Button, dict[str, gr.Button], dict[str, gr.Button], Files]:
    """The talk, the question about a waiting call, the box and its buttons: Send, Stop, the minor ones, the answers to
    a call that waits, and those for files.
    """
    chat = gr.Chatbot(
        label="Conversation with the assistant",
        show_label=False,
        container=False,
        layout="panel",
        height=None,
        min_height="19rem",
        max_height="max(19rem, calc(100vh - 330px))",
        buttons=["copy"],
        editable="user",
        feedback_options=None,
        elem_id="assistant-chat",
        placeholder='<p class="quiet">Ask something; each tool that is used shows up here.</p>',
    )
    with gr.Column(visible=False, elem_id="approval") as approval:
        asked = gr.HTML()
        call = gr.Textbox(visible="hidden", label="The call that waits", elem_id="assistant-call")
        with gr.Row():
            answers = {
                "once": gr.Button("Allow once", size="sm", variant="primary"),
                "conversation": gr.Button("Allow in this conversation", size="sm", variant="secondary"),
                "refuse": gr.Button("Refuse", size="sm", variant="stop"),
            }
    status = gr.HTML('<p class="stats">Nothing asked yet.</p>', elem_id="assistant-status")
    with gr.Row(elem_id="assistant-row"):
        first = next(iter(assistants().values()))
        box = gr.Textbox(
            label="Your question", show_label=False, container=False, lines=1, max_lines=8, scale=1,
            placeholder=converse.LEAD + first.example, elem_id="assistant-prompt",
        )  # fmt: skip
        send = gr.Button("Send", variant="primary", scale=0, min_width=110, elem_id="assistant-send")
    with gr.Row(elem_id="assistant-buttons"):
        stop = gr.Button("Stop", size="sm", variant="secondary", min_width=60, elem_id="assistant-stop")
        names = {"retry": "Retry", "undo": "Undo", "clear": "New conversation"}
        minor = {name: gr.Button(title, size="sm", variant="secondary", min_width=60) for name, title in names.items()}
        example = gr.Button("Try the example", size="sm", variant="secondary", min_width=60)
        example.click(None, None, box, js=EXAMPLE)
        files = file_buttons()
    record = gr.Textbox(visible="hidden", label="What this browser keeps", elem_id="assistant-record")
    return Stage(box, chat, status, approval, asked, call, record), send, stop, minor, answers, files


def file_buttons() -> Files:
    """Export, import, and the conversation as a script."""
    quiet: dict[str, Any] = {"size": "sm", "variant": "secondary", "min_width": 60}
    out = gr.Button("Export", elem_id="assistant-export-button", **quiet)
    into = gr.UploadButton("Import", file_types=[".json"], type="binary", **quiet)
    return out, into, gr.Button("Copy as Python", elem_id="assistant-python", **quiet)


def setup_fields(launch: Launch) -> tuple[Setup, gr.HTML]:
    """Who answers, with which words and tools."""
    first = next(iter(assistants().values()))
    model = gr.Dropdown(
        [each.name for each in all_models()], value=all_models()[0].name, label="Model",
        allow_custom_value=launch.mode != "visitor", elem_id="assistant-model",
    )  # fmt: skip
    presets = [(each.title, name) for name, each in assistants().items()]
    preset = gr.Dropdown(presets, value=first.name, label="Ready-made assistant", elem_id="assistant-preset")
    system = gr.Textbox(first.system, label="System prompt", lines=3, max_lines=8, elem_id="assistant-system")
    readable = asking.may_read_pages(launch.visitor("somebody"))
    offered = [tool for tool in asking.offered(launch.mode) if readable or tool.name not in WEB]
    names = [tool.name for tool in offered]
    tools = gr.CheckboxGroup(names, value=list(first.tools), label="Tools", elem_id="assistant-tools")
    there = shelf.collections(launch.visitor("somebody"))
    documents = gr.Dropdown(
        converse.with_none(there), value="", label="Documents to search", visible=bool(there),
        info="a collection of the Knowledge tab, as the tool search_documents", elem_id="assistant-documents",
    )  # fmt: skip
    complaints = own_tools(settings().tools)[1] if launch.mode == "local" else ()
    gr.HTML(explained(offered, complaints), elem_id="assistant-explained")
    warning = gr.HTML(elem_id="assistant-warning")
    with gr.Accordion("More settings", open=False, elem_classes="settings"):
        temperature = gr.Slider(
            0, 2, 0, step=0.05, label="Temperature", info="0 calls tools most surely", elem_id="assistant-temperature"
        )
        most = gr.Number(256, label="Token limit", info="of each reply", precision=0, elem_id="assistant-most")
        describe = gr.Checkbox(
            label="Describe the tools in the prompt", info="for models whose chat template has no place for tools",
            elem_id="assistant-describe",
        )  # fmt: skip
    return Setup(model, preset, system, tools, documents, describe, temperature, most), warning


def endpoint_fields(talk: gr.State, model: gr.Dropdown) -> None:
    """The form that adds an endpoint to this visitor's models."""
    with gr.Accordion("Use an OpenAI-compatible endpoint", open=False, elem_classes="settings"):
        gr.HTML('<p class="hint">Kept until you close this page; the key stays in memory.</p>')
        name = gr.Textbox(label="Name in the list", placeholder="my endpoint", elem_id="assistant-endpoint-name")
        address = gr.Textbox(
            label="Base URL", placeholder="http://localhost:11434/v1", elem_id="assistant-endpoint-url"
        )
        served = gr.Textbox(label="Model at the endpoint", placeholder="llama3.2", elem_id="assistant-endpoint-model")
        key = gr.Textbox(label="API key", type="password", placeholder="None", elem_id="assistant-endpoint-key")
        button = gr.Button("Add and choose", size="sm", variant="secondary")
        told = gr.HTML()
    button.click(converse.add_endpoint, [talk, name, address, served, key], [told, key, model], **INSTANT)


def wire_turns(
    talk: gr.State,
    stage: Stage,
    setup: Setup,
    send: gr.Button,
    stop: gr.Button,
    minor: dict[str, gr.Button],
    answers: dict[str, gr.Button],
) -> None:
    """Send, Stop, Retry, Undo, Clear, and the answers to a call that waits."""
    inputs, outputs = [talk, stage.box, *setup.values], [stage.box, *stage.view]
    streams = [
        gr.on([send.click, stage.box.submit], converse.send, inputs, outputs, **STREAMING),
        minor["retry"].click(converse.retry, inputs, outputs, **STREAMING),
        stage.chat.edit(converse.edit, [talk, *setup.values], outputs, **STREAMING),
    ]
    changes = [
        minor["undo"].click(converse.undo, [talk], outputs, **INSTANT),
        minor["clear"].click(converse.clear, [talk], outputs, **INSTANT),
    ]
    for each in [*streams, *changes]:
        each.then(converse.look, [talk], stage.view, **INSTANT)
    stop.click(converse.stop, [talk], None, **INSTANT)
    answered = [talk, stage.call]
    answers["once"].click(converse.answer("once"), answered, None, **INSTANT)
    answers["conversation"].click(converse.answer("conversation"), answered, None, **INSTANT)
    answers["refuse"].click(converse.answer("refuse"), answered, None, **INSTANT)


def wire_setup(talk: gr.State, stage: Stage, setup: Setup, warning: gr.HTML) -> None:
    """Ready-made assistants, and the word about too many tools."""
    filled = [setup.system, setup.tools, setup.documents, stage.box]
    setup.preset.input(converse.preset, [setup.preset], filled, **INSTANT)
    gr.on([setup.tools.change, setup.model.change], converse.warn, [talk, setup.model, setup.tools], warning, **INSTANT)


def wire_transcript(talk: gr.State, stage: Stage, setup: Setup, files: Files, saved: gr.Textbox) -> None:
    """Export and import."""
    out, into, _ = files
    made = out.click(kept.export, [talk, *setup.kept], saved, **INSTANT)
    made.success(None, [saved], None, js="(file) => { window.diptych.save(file); return []; }")
    into.upload(kept.take_in, [talk, into], [*setup.kept, *stage.view], **INSTANT)
