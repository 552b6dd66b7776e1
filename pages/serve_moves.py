"""What the Serve tab does: tell the address, make and revoke keys, look at the server."""

from __future__ import annotations

from typing import Any

import gradio as gr

from engine.errors import Problem
from engine.serve import Service
from engine.serving import keys
from engine.settings import ASSETS
from pages import serve_render as render
from pages.parts import asks, visitor

PLACEHOLDER = "none"  # the openai SDK insists on a key, also where none is needed
EXAMPLES = ("python", "langchain", "curl")


def service_of(request: gr.Request) -> Service:
    """The server on this port. Raises Problem where the page runs without one."""
    found = request.request.scope.get("diptych.service") if request.request else None
    if not isinstance(found, Service):
        raise Problem("This page runs without its server for programs.")
    return found


def base_url(request: gr.Request) -> str:
    """The address for programs, by the name under which this page was asked for."""
    scheme = request.headers.get("x-forwarded-proto", "").split(",")[0].strip()
    plain = "https" if scheme == "https" else request.request.url.scheme  # type: ignore[union-attr]
    return f"{plain}://{request.headers.get('host', 'localhost')}/v1"


@asks("look")
def offer(request: gr.Request) -> list[str]:
    """The address with the names of the models, and the code with that address in it."""
    service, url = service_of(request), base_url(request)
    secret = "YOUR_KEY" if service.key_needed else PLACEHOLDER
    code = [
        (ASSETS / "serving" / f"{name}.txt").read_text(encoding="utf-8").strip().replace("{address}", url)
        for name in EXAMPLES
    ]
    return [render.about(url, service.listing.names()), *(text.replace("{key}", secret) for text in code)]


def seen(request: gr.Request) -> list[Any]:
    """Whether keys are needed, the table of keys, and those that can be revoked."""
    found = keys.all_keys()
    choices = [(f"{key.name} ({key.id})", key.id) for key in reversed(found) if key.revoked is None]
    chosen = gr.Dropdown(choices=choices, value=choices[0][1] if choices else None)
    return [render.needed(service_of(request).key_needed), render.key_table(found), chosen]


@asks("see keys")
def keys_seen(request: gr.Request) -> list[Any]:
    """See `seen`."""
    return seen(request)


@asks("make key")
def make(request: gr.Request, name: str, at_once: float | None, minute: float | None, owner: bool) -> list[Any]:
    """Make a key, show it once, and empty the name."""
    by = visitor(request).name
    _, secret = keys.create(name or "", int(at_once or 0), int(minute or 0), bool(owner), by)
    return [gr.Textbox(secret, visible=True), "", *seen(request)]


@asks("revoke key")
def revoke(request: gr.Request, which: str | None) -> list[Any]:
    """Revoke the chosen key; a key that is still shown goes from sight."""
    if not which:
        raise Problem("Choose the key to revoke.")
    keys.revoke(which)
    return [gr.Textbox("", visible=False), *seen(request)]


@asks("see server")
def figures(request: gr.Request) -> str:
    """What the server does now and did so far."""
    return render.figures(service_of(request))
