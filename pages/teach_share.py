"""Merging a run's adapter into its base, and runs that go to the Hub or come from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from engine.teaching import sharing
from engine.teaching.merge import merge_apart, told
from pages.parts import asks, visitor
from pages.teach_moves import chosen
from pages.teach_render import escape


@dataclass(frozen=True)
class Sharing:
    """The form behind merge, push and pull."""

    merge: gr.Button
    push: gr.Button
    push_inputs: list[Any]
    pull: gr.Button
    pull_inputs: list[Any]
    told: gr.HTML


def sharing_form() -> Sharing:
    """Merge; where to on the Hub; where from."""
    with gr.Accordion("Merge and share", open=False, elem_id="run-sharing"):
        gr.HTML(
            '<p class="hint">Merging adds the adapter to the base\'s own weights, never to 4-bit ones, and makes one '
            "more model. What goes to the Hub: weights, model card, recipe and curves; the examples stay here.</p>"
        )
        merge = gr.Button("Merge into the base", size="sm", elem_id="run-merge")
        with gr.Row():
            name = gr.Textbox(label="Put it on the Hub as", placeholder="OWNER/NAME", elem_id="run-push-name")
            with gr.Column(min_width=140):
                private = gr.Checkbox(True, label="Private", container=False, elem_id="run-push-private")
                merged = gr.Checkbox(False, label="The merged model", container=False, elem_id="run-push-merged")
            push = gr.Button("Push", size="sm", elem_id="run-push")
        with gr.Row():
            source = gr.Textbox(label="Fetch a run from the Hub", placeholder="OWNER/NAME", elem_id="run-pull-name")
            revision = gr.Textbox(label="Revision", placeholder="Newest", elem_id="run-pull-revision", min_width=100)
            pull = gr.Button("Fetch", size="sm", elem_id="run-pull")
        said = gr.HTML(elem_id="run-shared")
    return Sharing(merge, push, [name, private, merged], pull, [source, revision], said)


def hint(sentence: str) -> str:
    """What a button has done."""
    return f'<p class="hint" role="status">{escape(sentence)}</p>'


@asks("train")
def merge(request: gr.Request, run: str | None) -> Any:
    """Merge the chosen run in a process of its own."""
    job = chosen(visitor(request), run)
    yield hint(f"Merging {job.name}…")
    yield hint(f"{told(merge_apart(job))} {job.name} merged is a model now.")


@asks("share run")
def push(request: gr.Request, run: str | None, name: str | None, private: bool, merged: bool) -> Any:
    """Put the chosen run on the Hub."""
    job = chosen(visitor(request), run)
    yield hint(f"Pushing {job.name}…")
    facts = sharing.push(job, name or "", private is not False, bool(merged))
    yield hint(f"{job.name} is at {facts['address']}, revision {facts['revision'][:12]}.")


@asks("share run")
def pull(request: gr.Request, name: str | None, revision: str | None) -> Any:
    """Fetch a run from the Hub."""
    yield hint(f"Fetching {name}…")
    job = sharing.pull(name or "", revision or "", visitor(request).name)
    yield hint(f"{job.name} is a run and a model now.")
