"""Reranking on the Knowledge tab: offered while a cross-encoder is at hand, else told how to get one."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.context import Context

from engine.access import may
from pages.parts import asks, visitor
from rag.rerank import CANDIDATES, DEFAULT, at_hand


def follow(box: gr.Checkbox, **how: Any) -> None:
    """Renew the offer when the page is opened and whenever the tab around is chosen; to be called in its layout."""
    tab = Context.block
    gr.on(None, offered, None, box, **how)
    if isinstance(tab, gr.Tab):
        tab.select(offered, None, box, **how)


@asks("ask documents")
def offered(request: gr.Request) -> gr.Checkbox:
    """The box, to be ticked only where there is something to rerank with."""
    name = at_hand()
    if name:
        return gr.Checkbox(interactive=True, info=f"{name} reads the first {CANDIDATES} again")
    advice = f" Add one on the Models tab, such as {DEFAULT}." if may(visitor(request), "add model") else ""
    return gr.Checkbox(value=False, interactive=False, info=f"None is on this machine.{advice}")
