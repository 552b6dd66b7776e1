"""Conversations kept in the visitor's own browser: list, open, rename, delete, export, import; back after a reload."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from html import escape
from typing import Annotated, Any

import gradio as gr
import pydantic
from gradio.components import Component
from gradio.context import Context

from engine.acting.assistants import assistants
from engine.acting.shipped_tools import WEB
from engine.catalog import all_models
from engine.errors import Problem
from engine.settings import ASSETS
from pages import asking
from pages.converse import View, show
from pages.parts import asks, visitor
from pages.talk import Chosen, Talk
from pages.transcript import MOST_BYTES, as_json, read

MOST_LISTED = 200
QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
# the list's value does not go to the server: there it would have to be one of the choices it was first laid out with
OPEN = '(talk, found, id) => [talk, talks("open", id), null]'
SURE = """(talk, found, id) => [
  talk, id && confirm("Delete this conversation from this browser?") ? (talks("remove", id), id) : "", null
]"""
TROUBLES = {
    "full": "This browser's storage is full, so the newest words are not kept. Delete or export conversations.",
    "shut": "This browser keeps nothing for this page, so a conversation ends with the tab. Export what you need.",
}
Id = Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{32}$")]


class Entry(pydantic.BaseModel):
    """A line of the list."""

    id: Id
    title: Annotated[str, pydantic.Field(max_length=300)] = ""
    changed: float = 0.0


class Record(Entry):
    """A conversation as the browser keeps it; see transcript.record."""

    file: dict[str, Any]


class Store(pydantic.BaseModel):
    """What assets/talks.js tells of the browser's storage."""

    talks: list[Entry] = []
    trouble: str = ""
    record: str = ""


@dataclass(frozen=True)
class Drawer:
    """The region's widgets."""

    talks: gr.Radio
    note: gr.HTML
    title: gr.Textbox
    rename: gr.Button
    delete: gr.Button
    found: gr.Textbox

    def wire(self, talk: gr.State, fields: list[Component], view: list[Component], record: gr.Textbox) -> None:
        """What is kept comes into the list, and what is chosen in it comes back on stage.

        `fields` are the outputs of `filled`, `view` those of converse.show, whose last is `record`.
        """
        listing, index = [self.talks, self.title, self.note], script('(talk) => [talk, talks("index")]')
        save = script('(talk, record) => [talk, talks("keep", record)]')
        record.change(listed, [talk, record], listing, js=save, **QUIET)
        picked = [talk, self.found, self.talks]
        opened = self.talks.input(open_talk, picked, [*fields, *view], js=script(OPEN), **QUIET)
        opened.then(listed, [talk, self.found], listing, js=index, **QUIET)
        gr.on([self.rename.click, self.title.submit], rename, [talk, self.title], view, **QUIET)
        self.delete.click(delete, picked, view, js=script(SURE), **QUIET)
        page = Context.root_block
        if page is not None:
            back = page.load(reopen, [talk, self.found], [*fields, *view], js=index, **QUIET)
            back.then(listed, [talk, self.found], listing, js=index, **QUIET)


def script(line: str) -> str:
    """A handler in the browser that may call talks(); `line` is (its parameters) => what it hands to the server."""
    parameters, _, result = line.partition("=>")
    return (
        f"{parameters.strip()} => {{\n{(ASSETS / 'talks.js').read_text(encoding='utf-8')}\nreturn {result.strip()};\n}}"
    )


def drawer() -> Drawer:
    """Lay out the list of conversations."""
    with gr.Accordion("Conversations in this browser", open=True, elem_classes="settings", elem_id="assistant-kept"):
        talks = gr.Radio([], label="Conversations", show_label=False, container=False, elem_id="assistant-talks")
        note = gr.HTML('<p class="hint">None yet.</p>', elem_id="assistant-kept-note")
        with gr.Row(elem_id="assistant-kept-row"):
            title = gr.Textbox(
                label="Title", show_label=False, container=False, max_lines=1, max_length=200, scale=1, min_width=110,
                placeholder="Its title", elem_id="assistant-title",
            )  # fmt: skip
            rename = gr.Button("Rename", size="sm", variant="secondary", min_width=60, scale=0)
            delete = gr.Button("Delete", size="sm", variant="stop", min_width=60, scale=0)
        found = gr.Textbox(visible="hidden", label="What this browser tells of them")
    return Drawer(talks, note, title, rename, delete, found)


def stored(text: str | None) -> Store:
    """What the browser said; nothing where it cannot be read: it is the visitor's own, and may be anything."""
    try:
        return Store.model_validate_json(text or "{}")
    except pydantic.ValidationError:
        return Store(trouble="shut")


@asks("look")
def listed(request: gr.Request, talk: Talk, found: str) -> View:
    """The list with the open conversation marked, its title, and a word where the browser keeps nothing.

    A title that somebody is writing stays: the field changes only with the conversation or its name.
    """
    store = stored(found)
    talks = sorted(store.talks, key=lambda one: -one.changed)[:MOST_LISTED]
    choices = [(label(one), one.id) for one in talks]
    here = talk.id if any(one.id == talk.id for one in talks) else None
    title = next((one.title for one in talks if one.id == here), "")
    before, talk.named = talk.named, (here, title)
    trouble = TROUBLES.get(store.trouble, "")
    note = f'<p class="note" role="note">{escape(trouble)}</p>' if trouble else ""
    if not talks and not trouble:
        note = '<p class="hint">None yet. What you ask is kept here, in this browser alone, and unencrypted.</p>'
    field = gr.update() if talk.named == before else title
    return [gr.update(choices=choices, value=here, visible=bool(choices)), field, note]


def label(entry: Entry) -> str:
    """A line of the list: the title and the day."""
    day = time.strftime("%d %b", time.localtime(entry.changed)) if 0 < entry.changed < 1e11 else ""
    return f"{entry.title or 'Conversation'} · {day}" if day else entry.title or "Conversation"


@asks("chat")
def reopen(request: gr.Request, talk: Talk, found: str) -> View:
    """After a reload: go on with the conversation that this tab had, unless another was begun meanwhile."""
    store = stored(found)
    if not store.record or talk.turns or talk.run is not None:
        return [*unchanged(), *show(talk, keep=False)]
    return taken(request, talk, store.record)


@asks("chat")
def open_talk(request: gr.Request, talk: Talk, found: str, _: None = None) -> View:
    """Go on with a conversation of the list."""
    store = stored(found)
    if not store.record:
        raise Problem("This conversation is no longer in this browser.")
    return taken(request, talk, store.record)


def taken(request: gr.Request, talk: Talk, text: str) -> View:
    """Take a kept conversation over and fill the form as it was. Raises Problem."""
    if len(text) > MOST_BYTES:
        raise Problem("This conversation is too long to be opened again; delete it.")
    try:
        kept = Record.model_validate_json(text)
    except pydantic.ValidationError:
        raise Problem("What this browser kept of the conversation cannot be read; delete it.") from None
    turns, chosen, title = read(json.dumps(kept.file).encode())
    talk.take_over(turns, kept.id, title, kept.changed)
    talk.chosen = chosen
    return [*filled(request, chosen), *show(talk, keep=False)]


def filled(request: gr.Request, chosen: Chosen) -> View:
    """The form's model, preset, system prompt and tools as a conversation had them, as far as there still are any."""
    who = visitor(request)
    offered = {tool.name for tool in asking.offered(who.mode)} - (set() if asking.may_read_pages(who) else WEB)
    known = any(model.name == chosen.model for model in all_models())
    return [
        gr.update(value=chosen.model) if known else gr.update(),
        gr.update(value=chosen.preset) if chosen.preset in assistants() else gr.update(),
        chosen.system,
        [name for name in chosen.tools if name in offered],
    ]


def unchanged() -> View:
    """The form as it is."""
    return [gr.update()] * 4


@asks("chat")
def rename(request: gr.Request, talk: Talk, title: str) -> View:
    """Give the open conversation a title."""
    if not talk.turns:
        raise Problem("There is nothing to name yet. Ask something first.")
    talk.rename((title or "")[:200])
    return show(talk)


@asks("chat")
def delete(request: gr.Request, talk: Talk, sure: str, _: None = None) -> View:
    """Forget the open conversation: the page's script has taken it out of the browser already."""
    if sure == talk.id:
        talk.clear()
    return show(talk)


@asks("export own")
def export(request: gr.Request, talk: Talk, *values: Any) -> str:
    """The conversation for the page's script, which saves it."""
    talk.check_idle()
    chosen = talk.chosen if talk.turns else asking.chosen(values)
    text = as_json(talk.messages, chosen, talk.title)
    return json.dumps({"name": "conversation.json", "type": "application/json", "text": text}, ensure_ascii=False)


@asks("chat")
def take_in(request: gr.Request, talk: Talk, data: bytes | None) -> View:
    """Go on with an exported conversation, as one of its own; what the form said comes along."""
    if not data:
        raise Problem("Choose a conversation that was exported here.")
    turns, chosen, title = read(data)
    talk.take_over(turns, title=title)
    talk.chosen = chosen
    return [*filled(request, chosen), *show(talk)]
