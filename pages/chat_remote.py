"""The named endpoint /chat, for gradio_client and plain HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from pages.asking import question
from pages.bubbles import Fold, Said
from pages.parts import asks, visitor
from pages.talk import Talk, Turn
from pages.transcript import history, plain

BEAT = 0.25  # seconds between two signs of life, at which a caller who went away is noticed


@asks("chat")
def chat(
    request: gr.Request,
    message: str,
    model: str = "starter",
    tools: list[str] | None = None,
    system: str = "",
    history_so_far: list[dict] | None = None,
    temperature: float = 0.0,
    max_new_tokens: int = 256,
    collection: str = "",
) -> Iterator[dict[str, Any]]:
    """One turn: at last the answer, its steps, and the history to send along with the next message.

    Tools with a side effect are refused here, as there is nobody to agree. A turn that failed says so in its steps.
    """
    talk = Talk()
    earlier = history(history_so_far)
    if earlier:
        talk.turns = (Turn("", (), tuple(earlier)),)
    values = (model, "", system, tools or [], collection, False, temperature, max_new_tokens)
    run = talk.ask(question(talk, visitor(request), message, values))
    try:
        while not run.over.wait(BEAT):
            refuse(talk)
            yield told(talk)
        yield told(talk)
    finally:
        run.stop.set()


def refuse(talk: Talk) -> None:
    """Say no to a call that waits: there is nobody to ask."""
    run = talk.run
    if run is not None and (call := run.waiting) is not None:
        talk.answer("refuse", call.id)


def told(talk: Talk) -> dict[str, Any]:
    """The turn so far as plain data."""
    steps: list[dict[str, Any]] = []
    for step in talk.turns[-1].shown[1:]:
        match step:
            case Said(text=text):
                steps.append({"kind": "words", "text": text})
            case Fold(call=call):
                steps.append({"kind": "tool_call", "id": call.id, "name": call.name, "arguments": call.arguments})
                result = {"kind": "tool_result", "id": call.id, "content": step.content, "state": step.state}
                steps.append({**result, "seconds": round(step.seconds, 3)})
            case _:
                steps.append({"kind": "remark", "text": step.text})
    words = [step["text"] for step in steps if step["kind"] == "words"]
    return {"answer": words[-1] if words else "", "steps": steps, "history": plain(talk.messages)}
