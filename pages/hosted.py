"""The form that adds an OpenAI-compatible endpoint to this visitor's models; keys stay in the server's memory."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import gradio as gr

from engine.catalog import Model, all_models
from engine.errors import Problem
from pages.desk import Desk
from pages.launch import Launch
from pages.parts import asks

SHARED_LINK = " With a share link a key you type here passes the relay of gradio.live."


def endpoint_form(desk: gr.State, pickers: list[gr.Dropdown], launch: Launch) -> None:
    """Lay out and wire the form."""
    with gr.Accordion("Use an OpenAI-compatible endpoint", open=False, elem_classes="settings", elem_id="endpoint"):
        gr.HTML(
            '<p class="hint">OpenAI, GitHub Models, Ollama, vLLM and others. The endpoint joins your list of models '
            f"until you close this page; the key is kept in memory only.{SHARED_LINK if launch.share else ''}</p>"
        )
        with gr.Row():
            name = gr.Textbox(label="Name in the list", placeholder="my endpoint", elem_id="endpoint-name")
            address = gr.Textbox(label="Base URL", placeholder="http://localhost:11434/v1", elem_id="endpoint-url")
            model = gr.Textbox(label="Model", placeholder="llama3.2", elem_id="endpoint-model")
            key = gr.Textbox(label="API key", type="password", placeholder="None", elem_id="endpoint-key")
        button = gr.Button("Add to my models", size="sm", variant="secondary", elem_id="endpoint-add")
        told = gr.HTML(elem_id="endpoint-told")
    button.click(
        add_endpoint,
        [desk, name, address, model, key],
        [told, key, *pickers],
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )


@asks("use endpoint")
def add_endpoint(request: gr.Request, desk: Desk, name: str, address: str, model: str, key: str) -> list[Any]:
    """Keep the endpoint on this visitor's desk and offer it in every lane."""
    found = endpoint(name, address, model)
    desk.endpoints[found.name] = (found, key.strip() or None)
    names = [each.name for each in all_models()] + list(desk.endpoints)
    told = '<p class="hint" role="status">Added. Choose it as the model of a lane.</p>'
    return [told, "", *[gr.update(choices=names) for _ in desk.board.lanes]]


def endpoint(name: str, address: str, model: str) -> Model:
    """The endpoint as a model. Raises Problem with everything that is missing."""
    name, address, model = name.strip(), address.strip().rstrip("/"), model.strip()
    wrong = []
    if not name:
        wrong.append("Give the endpoint a name.")
    if any(each.name == name for each in all_models()):
        wrong.append(f"The name '{name}' belongs to a model in the list; choose another.")
    try:
        parts = urlsplit(address)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.username
    except ValueError:
        fine = False
    if not fine:
        wrong.append("The base URL must start with http:// or https:// and name a host, without a password in it.")
    if not model:
        wrong.append("Say which model the endpoint should use.")
    if wrong:
        raise Problem(" ".join(wrong))
    return Model(name=name, base=model, endpoint=address)
