"""The region that shows the conversation as a Python script with the openai SDK."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from engine.messages import Message
from pages.asking import question
from pages.form import resolve
from pages.parts import asks, visitor
from pages.talk import Talk

COPY = "(code) => { navigator.clipboard?.writeText(code).catch(() => {}); return []; }"  # http pages have no clipboard


@dataclass(frozen=True)
class Script:
    """The button, the fold and the code."""

    button: gr.Button
    fold: gr.Accordion
    code: gr.Code

    def wire(self, talk: gr.State, values: Sequence[Component]) -> None:
        """Make the button write the script."""
        made = self.button.click(
            script,
            [talk, *values],
            [self.fold, self.code],
            queue=False,
            show_progress="hidden",
            api_visibility="private",
        )
        made.success(None, [self.code], None, js=COPY)


def script_region(button: gr.Button) -> Script:
    """Lay the region out; `button` stands elsewhere."""
    with gr.Accordion("The same with the openai SDK", open=True, visible=False, elem_classes="settings") as fold:
        code = gr.Code(
            language="python", show_label=False, container=False, interactive=False, elem_id="assistant-code"
        )
    return Script(button, fold, code)


@asks("export own")
def script(request: gr.Request, talk: Talk, *values: Any) -> list[Any]:
    """The script of the conversation's last question, or of an example before there is one. Keys are left out."""
    from engine.acting.as_python import as_python  # it brings the openai SDK along, which start-up does without

    turns = talk.turns
    prompt = turns[-1].prompt if turns else "Hello!"
    asked = question(talk, visitor(request), prompt, values)
    model, _ = resolve(values[0], "the assistant", talk.desk, visitor(request))
    system = [Message("system", asked.system)] if asked.system else []
    earlier = [message for turn in turns[:-1] if len(turn.messages) > 1 for message in turn.messages]
    messages = [*system, *earlier, Message("user", prompt)]
    return [gr.update(visible=True), as_python(model, messages, asked.tools, asked.sampling)]
