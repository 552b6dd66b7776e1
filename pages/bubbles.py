"""The Assistant's steps as chat messages: one pure function, and the list of steps that it is given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any, Literal

from engine.acting.schema import Unreadable, read_object
from engine.acting.steps import Done, Step, Words
from engine.messages import Message, ToolCall, ToolResult
from engine.tools import Tool
from pages.literal import literal

State = Literal["waiting", "running", "done", "failed", "refused"]
STATES: dict[State, str] = {
    "waiting": "waiting for your answer",
    "running": "running",
    "done": "done",
    "failed": "failed",
    "refused": "refused",
}
OPEN_STATES: frozenset[State] = frozenset({"waiting", "running"})
ENDINGS = {
    "stopped": "Stopped by you.",
    "time": "The turn took longer than two minutes and was ended.",
    "rounds": "The model kept calling tools; the turn was ended after 8 replies.",
    "length": "The answer reached the token limit.",
    "content_filter": "The server's content filter cut the answer off.",
}
LONGEST_SHOWN = 6_000  # characters of a result; the browser would draw a very long one again at every beat


@dataclass(frozen=True)
class Said:
    """Words of the person or of the model."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True)
class Fold:
    """One tool call and what became of it."""

    call: ToolCall
    state: State = "running"
    content: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Remark:
    """Something the person should know of this turn, said by the app and not by the model."""

    text: str


Shown = Said | Fold | Remark


def bubble(step: Shown) -> dict[str, Any]:
    """One step as a message of the Chatbot. Text goes in as a block: Gradio strips plain strings."""
    match step:
        case Said(role="user", text=text):
            return message("user", literal(text))  # page.js takes that back where it is edited or copied
        case Said(role=role, text=text):
            return message(role, text)
        case Remark(text=text):
            return message("assistant", f"*{text}*")
        case Fold():
            parts = [f"Arguments\n{fenced(spelled(step.call.arguments), 'json')}"]
            if step.content:
                parts.append(f"Result\n{fenced(shortened(step.content))}")
            running = step.state in OPEN_STATES
            took = "" if running or step.state == "refused" else f" · {step.seconds:.2f} s"
            title = f"{step.call.name or 'a tool without a name'} · {STATES[step.state]}{took}"
            metadata = {"title": title, "id": step.call.id, "status": "pending" if running else "done"}
            return {**message("assistant", "\n\n".join(parts)), "metadata": metadata}


def message(role: str, text: str) -> dict[str, Any]:
    """Words in the shape that the Chatbot leaves untouched."""
    return {"role": role, "content": [{"type": "text", "text": text}]}


def after(shown: Sequence[Shown], step: Step) -> tuple[Shown, ...]:
    """What is shown once a step of the agent has come."""
    match step:
        case Words(text=text):
            if shown and isinstance(shown[-1], Said) and shown[-1].role == "assistant":
                return (*shown[:-1], Said("assistant", shown[-1].text + text))
            return (*shown, Said("assistant", text))
        case ToolCall():
            return (*shown, Fold(step))
        case ToolResult():
            state: State = "refused" if step.refused else "failed" if step.error else "done"
            return marked(shown, step.id, state=state, content=step.content, seconds=step.seconds)
        case Done():
            told = [step.problem] if step.problem else [ENDINGS[step.reason]] if step.reason in ENDINGS else []
            if step.left_out:
                told.append(f"The first {step.left_out} messages did not fit the model and were left out.")
            return (*shown, *map(Remark, told))


def marked(shown: Sequence[Shown], id: str, **changes: Any) -> tuple[Shown, ...]:
    """The same steps with the fold of one call changed."""
    return tuple(replace(s, **changes) if isinstance(s, Fold) and s.call.id == id else s for s in shown)


def replayed(messages: Sequence[Message]) -> tuple[Shown, ...]:
    """The steps of a conversation that was kept as messages."""
    shown: tuple[Shown, ...] = ()
    for each in messages:
        if each.role == "tool":
            state: State = "failed" if each.content.startswith("Error:") else "done"
            shown = marked(shown, each.tool_call_id or "", state=state, content=each.content)
        elif each.role != "system":
            said = (Said("user" if each.role == "user" else "assistant", each.content),) if each.content else ()
            shown = (*shown, *said, *map(Fold, each.tool_calls))
    return shown


def explained(tools: Sequence[Tool], complaints: Sequence[str]) -> str:
    """What each tool does and takes, folded away, and which of the owner's files could not be read."""
    rows = []
    for tool in tools:
        click = " Waits for your click." if tool.side_effect else ""
        schema = escape(json.dumps(tool.parameters, ensure_ascii=False, indent=1))
        rows.append(f"<dt>{escape(tool.name)}</dt><dd>{escape(tool.about)}{click}<pre>{schema}</pre></dd>")
    notes = "".join(f'<p class="note" role="note">{escape(text)}</p>' for text in complaints)
    return f'<details class="tool-list"><summary>What the tools do</summary><dl>{"".join(rows)}</dl></details>{notes}'


def spelled(arguments: str) -> str:
    """Arguments over several lines where they are JSON; else as the model wrote them."""
    try:
        return json.dumps(read_object(arguments), ensure_ascii=False, indent=2)
    except Unreadable:
        return arguments


def shortened(text: str) -> str:
    """A result as it is shown."""
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…\n({len(text):,} characters in all)"


def fenced(text: str, kind: str = "") -> str:
    """The text in a fence longer than any run of backticks in it."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{kind}\n{text}\n{fence}"
