"""How a prompt style writes a conversation, shown before anything is sent."""

from __future__ import annotations

from html import escape

import gradio as gr

from engine.messages import Message
from engine.prompts import CHAT, style
from pages.parts import asks

SAMPLE = "Great content, thank you!"


def preview(name: str, system: str, prompt: str) -> str:
    """The exact text that a model reads for this prompt in this style, as escaped HTML."""
    chosen = style(name)
    if chosen.name == CHAT:
        text = "Each model writes it with its own template; after sending, the exact prompt stands under the lanes."
        return f'<p class="hint">{escape(chosen.about)} {text}</p>'
    messages = [Message("system", system)] if system.strip() else []
    # only the chat style needs a tokenizer
    text = chosen.render([*messages, Message("user", prompt if prompt.strip() else SAMPLE)], tokenizer=None)  # type: ignore[arg-type]
    return f'<p class="hint">{escape(chosen.about)} A model reads:</p><pre class="preview">{escape(text)}</pre>'


@asks("look")
def show_preview(request: gr.Request, name: str, system: str, prompt: str) -> str:
    """The preview for what the form holds now."""
    return preview(name, system or "", prompt or "")
