"""Pickers that learn of models added or taught since the page was opened, when their tab is chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.context import Context

from engine.catalog import all_models
from pages.parts import asks


def when_shown(handler: Callable[..., Any], output: Component, **how: Any) -> None:
    """Renew a component when the page is opened and whenever the tab around is chosen; to be called in its layout."""
    tab = Context.block
    gr.on(None, handler, None, output, **how)
    if isinstance(tab, gr.Tab):
        tab.select(handler, None, output, **how)


def follow(pickers: Sequence[gr.Dropdown], own: gr.State | None = None, bases: bool = False) -> None:
    """Renew the choices whenever the tab around is chosen; `own` holds a desk with endpoints, or what has one.

    To be called while the page is laid out. Where nothing has changed the pickers are left alone: an update might
    meet a hand that is just choosing.
    """
    tab = Context.block
    if isinstance(tab, gr.Tab):
        last = gr.State(names(bases))
        tab.select(
            renewing(len(pickers), bases),
            [last, own or gr.State(None)],
            [last, *pickers],
            queue=False,
            show_progress="hidden",
            api_visibility="private",
        )


def renewing(count: int, bases: bool) -> Callable[..., list[Any]]:
    """A handler that answers with the names there are now and an update for each picker."""

    @asks("look")
    def renew(request: gr.Request, last: list[str], own: Any) -> list[Any]:
        endpoints = getattr(getattr(own, "desk", own), "endpoints", {})
        now = [*names(bases), *endpoints]
        if now == last:
            return [gr.skip()] * (count + 1)
        return [now, *[gr.Dropdown(choices=now) for _ in range(count)]]

    return renew


def names(bases: bool) -> list[str]:
    """The names of all models, or of those that are local and no adapters."""
    return [model.name for model in all_models() if not (bases and (model.adapter or model.endpoint))]
