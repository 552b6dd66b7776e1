"""Reranking on the Knowledge tab: offered while a cross-encoder is at hand, else told how to get one."""

from __future__ import annotations

import gradio as gr

from engine.access import may
from pages.parts import asks, visitor
from rag.rerank import CANDIDATES, DEFAULT, at_hand


@asks("ask documents")
def offered(request: gr.Request) -> gr.Checkbox:
    """The box, to be ticked only where there is something to rerank with."""
    name = at_hand()
    if name:
        return gr.Checkbox(interactive=True, info=f"{name} reads the first {CANDIDATES} again")
    advice = f" Add one on the Models tab, such as {DEFAULT}." if may(visitor(request), "add model") else ""
    return gr.Checkbox(value=False, interactive=False, info=f"None is on this machine.{advice}")
