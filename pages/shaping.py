"""The Structured output region: a text and a JSON schema in, validated JSON out, with every try on show."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr
from gradio.components import Component

from engine.acting.shapes import Shape, shape_of, shapes
from engine.acting.steps import Words
from engine.errors import Problem
from engine.messages import Message
from engine.structured import REPAIRS, Shaped, ShapedEvent, Try, shaped
from pages.asking import respond, sampling
from pages.errand import Errand
from pages.form import resolve
from pages.parts import asks, visitor
from pages.talk import Talk

ABOUT = (
    '<p class="hint">The model of this tab answers with JSON that fits the schema. What does not fit is told to it, '
    f"and it may try again, {REPAIRS} times at most. A model on this machine is held to the schema at every token, so "
    "even the starter's replies fit, though what it puts into them is a toy's; endpoints are held to it by their own "
    "strict mode where they have one.</p>"
)
ENDINGS = {"stopped": "Stopped by you.", "time": "It took longer than two minutes and was ended."}


@dataclass(frozen=True)
class Region:
    """The region's widgets."""

    example: gr.Dropdown
    prompt: gr.Textbox
    schema: gr.Code
    send: gr.Button
    stop: gr.Button
    tries: gr.HTML
    value: gr.Code

    def wire(self, talk: gr.State, values: Sequence[Component]) -> None:
        """Make the buttons work; `values` are those of assistant.Setup."""
        errand = gr.State(Errand())
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        inputs = [talk, errand, self.prompt, self.schema, *values]
        self.send.click(extract, inputs, [self.tries, self.value], concurrency_limit=32, **quiet)
        self.stop.click(stop, [errand], None, queue=False, **quiet)
        self.example.input(example, [self.example], [self.prompt, self.schema], queue=False, **quiet)


def region() -> Region:
    """Lay the region out."""
    name, (first, text) = next(iter(shapes().items()))
    gr.HTML(ABOUT)
    picked = gr.Dropdown(
        [(each.capitalize(), each) for each in shapes()], value=name, label="Example", elem_id="shape-example"
    )
    prompt = gr.Textbox(text, label="Text", lines=5, max_lines=14, max_length=60_000, elem_id="shape-prompt")
    with gr.Accordion("JSON schema", open=False, elem_classes="settings"):
        schema = gr.Code(written(first), language="json", show_label=False, max_lines=24, elem_id="shape-schema")
    with gr.Row(elem_classes="shape-buttons"):
        send = gr.Button("Answer in JSON", variant="primary", size="sm", elem_id="shape-send")
        halt = gr.Button("Stop", variant="secondary", size="sm", elem_id="shape-stop")
    tries = gr.HTML(elem_id="shape-tries")
    value = gr.Code(language="json", label="Validated JSON", interactive=False, visible=False, elem_id="shape-value")
    return Region(picked, prompt, schema, send, halt, tries, value)


def written(shape: Shape) -> str:
    """A schema as text."""
    return json.dumps(shape.schema, indent=2, ensure_ascii=False)


@asks("look")
def example(request: gr.Request, name: str) -> list[Any]:
    """Fill in the text and the schema of an example."""
    if name not in shapes():
        return [gr.update(), gr.update()]
    shape, text = shapes()[name]
    return [text, written(shape)]


@asks("chat")
def extract(
    request: gr.Request, talk: Talk, errand: Errand, prompt: str, schema: str, *values: Any
) -> Iterator[list[Any]]:
    """Answer in the shape, and show every try."""
    if not (prompt or "").strip():
        raise Problem("Write or paste a text first; it is empty.")
    model, key = resolve(values[0], "the assistant", talk.desk, visitor(request))
    shape, drawn = shape_of(schema or ""), sampling(*values[-2:])
    responder = respond(model, key, False)
    messages = [Message("user", prompt)]
    for events in errand.events(lambda stop: shaped(responder, messages, shape, drawn, stop=stop)):
        yield shown(events)


@asks("stop own")
def stop(request: gr.Request, errand: Errand) -> None:
    """End the work in progress."""
    errand.stop()


def shown(events: Sequence[ShapedEvent]) -> list[Any]:
    """(the tries as HTML, the value) of what has come so far."""
    parts: list[str] = []
    words, number = "", 0
    value = gr.update(visible=False, value="")
    note = '<p class="stats live"><span class="pulse" aria-hidden="true"></span>answering…</p>'
    for event in events:
        match event:
            case Words(text=text):
                words += text
            case Try():
                number, words = number + 1, ""
                parts.append(tried(event, number))
            case Shaped():
                note = ended(event, number)
                if event.reason == "stop":
                    value = gr.update(visible=True, value=json.dumps(event.value, ensure_ascii=False, indent=2))
    if words:
        parts.append(f"<section><h4>Try {number + 1}</h4><pre>{escape(words)}</pre></section>")
    return [f'<div class="tries">{"".join(parts)}{note}</div>', value]


def tried(event: Try, number: int) -> str:
    """One try: folded away when a later one or the value says it better."""
    verdict = '<span class="fine">fits the schema</span>' if event.complaint is None else "does not fit"
    complaint = f'<p class="complaint">{escape(event.complaint)}</p>' if event.complaint else ""
    text = f"<details><summary>What the model wrote</summary><pre>{escape(event.text) or '(nothing)'}</pre></details>"
    return f"<section><h4>Try {number}: {verdict}</h4>{complaint}{text}</section>"


def ended(event: Shaped, tries: int) -> str:
    """The line at the end, and one where the model could not be held to the schema."""
    loose = f'<p class="hint">{escape(event.loose)}</p>' if event.loose else ""
    if event.reason == "stop":
        counts = event.usage.completion_tokens
        words = f" · {counts:,} tokens written" if counts is not None else ""
        line = f'<p class="stats" role="status">Validated after {tries} {"try" if tries == 1 else "tries"}{words}</p>'
        return line + loose
    told = ENDINGS.get(event.reason) or event.problem or "There was no answer."
    return f'<p class="note" role="note">{escape(told)}</p>{loose}'
