"""The Serve tab: where programs find the models of this Diptych, code to copy, keys, and what the server does now."""

from __future__ import annotations

from typing import Any

import gradio as gr

from engine.settings import ASSETS
from pages import serve_moves as moves
from pages.launch import Launch

TITLE = "Serve"
GLANCE = 2.0  # seconds between two looks at the figures
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "undocumented", "queue": False}
CODE: dict[str, tuple[str, Any]] = {
    "python": ("Python", "python"),
    "langchain": ("LangChain", "python"),
    "curl": ("curl", "shell"),
}
INTRO = (
    '<p class="hint">Everything that speaks to OpenAI’s API can speak to this address: chats with tools and streams, '
    "raw prompts, embeddings. Callers share the decoding steps of Compare.</p>"
)


def build(launch: Launch) -> None:
    """Lay out the tab inside the current Blocks and wire it."""
    with gr.Row(elem_classes="serve"):
        with gr.Column(scale=3, min_width=320, elem_classes="panel", elem_id="serve-use"):
            about, code = use()
        with gr.Column(scale=2, min_width=320, elem_classes="panel", elem_id="serve-keys"):
            if launch.mode == "visitor":
                gr.HTML('<p class="note">This is an open demo: its owner makes keys on the command line.</p>')
            else:
                keys_and_figures()
    gr.on(None, moves.offer, None, [about, *code], **QUIET)  # when the page is opened


def use() -> tuple[gr.HTML, list[gr.Code]]:
    """Address, names, and code for each client."""
    gr.HTML('<h3 class="panel-title">Use these models from your own code</h3>')
    gr.HTML(INTRO)
    about = gr.HTML(elem_id="serve-about")
    code = []
    with gr.Tabs(elem_id="serve-code"):
        for name, (title, language) in CODE.items():
            with gr.Tab(title):
                text = (ASSETS / "serving" / f"{name}.txt").read_text(encoding="utf-8").strip()
                label = f"{title} code"
                made = gr.Code(
                    text, language=language, label=label, show_label=False, interactive=False, wrap_lines=True
                )
                code.append(made)
    return about, code


def keys_and_figures() -> None:
    """Make keys, revoke them, and watch the server."""
    gr.HTML('<h3 class="panel-title">Keys</h3>')
    needed = gr.HTML(elem_id="serve-needed")
    with gr.Row(elem_classes="fields"):
        name = gr.Textbox(label="Whose key", placeholder="My class", max_length=80, elem_id="key-name", min_width=140)
        at_once = gr.Number(8, label="Requests at once", precision=0, minimum=1, elem_id="key-at-once", min_width=110)
        minute = gr.Number(120, label="A minute", precision=0, minimum=1, elem_id="key-minute", min_width=90)
    owner = gr.Checkbox(label="May also read /metrics", elem_id="key-owner", container=False)
    make = gr.Button("Make a key", size="sm", variant="primary", elem_id="key-make")
    shown = gr.Textbox(
        label="The new key: copy it now, it is shown only once", visible=False, interactive=False, buttons=["copy"],
        elem_id="key-shown",
    )  # fmt: skip
    table = gr.HTML(elem_id="key-table")
    with gr.Row(elem_classes="fields"):
        which = gr.Dropdown([], label="Key", elem_id="key-which", allow_custom_value=True, min_width=160)
        revoke = gr.Button("Revoke", size="sm", variant="stop", elem_id="key-revoke")
    gr.HTML('<h3 class="panel-title">Now</h3>')
    figures = gr.HTML(elem_id="serve-figures")
    seen = [needed, table, which]
    gr.on(None, moves.keys_seen, None, seen, **QUIET)
    make.click(moves.make, [name, at_once, minute, owner], [shown, name, *seen], **QUIET)
    revoke.click(moves.revoke, [which], [shown, *seen], **QUIET)
    gr.Timer(GLANCE).tick(moves.figures, None, figures, **QUIET)
    gr.on(None, moves.figures, None, figures, **QUIET)
