"""What the Models tab does: look, add, follow downloads, load, unload, rename, set a precision, delete."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from engine.access import Visitor
from engine.errors import Problem
from engine.models import download, kept, loaded
from engine.models.adapter_look import bases
from engine.models.footprint import PRECISIONS
from engine.models.kept import Entry
from engine.models.look import free_bytes, look
from engine.models.report import Report
from engine.settings import settings
from pages import models_render as render
from pages.parts import asks, visitor

VIEW = ("shelf", "choice", "load", "stop", "resume", "delete", "memory", "held")
AT_WORK = ("waiting", "downloading", "checking")


@asks("add model")
def look_at(request: gr.Request, source: str, revision: str, base: str | None) -> Iterator[list[Any]]:
    """Look at what is named, and show what was found; the outputs of `looked`."""
    wait = '<p class="stats live"><span class="pulse" aria-hidden="true"></span>Looking…</p>'
    yield [None, wait, *[gr.skip()] * 6, ""]
    try:
        found = look(source or "", revision, base or None)
    except Exception:
        yield looked(None)
        raise
    yield looked(found)


def looked(found: Report | None) -> list[Any]:
    """[report state, report, instead, base, form, name, precision, add, told] for a look's outcome."""
    usable = found is not None and found.usable
    adapter = found is not None and found.kind == "adapter"
    instead = found.instead if found else ""
    choices = [each.name for each in bases()] if adapter else []
    size = render.amount(found.size) if found else ""
    fits = [
        (title, name)
        for name, title in PRECISIONS.items()
        if not (found and found.needs.get(name, 0) > settings().memory_bytes)
    ]
    return [
        found,
        render.report(found, settings().memory_bytes),
        gr.Button(value=f"Look at {instead}", visible=bool(instead)),
        gr.Dropdown(choices=choices, value=(found.base_name or None) if found else None, visible=adapter),
        gr.Column(visible=usable),
        kept.proposed(found, "") if found and usable else "",
        gr.Dropdown(choices=fits, value=fits[0][1] if fits else None, visible=found is None or found.kind == "model"),
        f"Download {size} and add" if found and found.place == "hub" else "Add",
        "",
    ]


@asks("add model")
def go_instead(request: gr.Request, found: Report | None) -> list[str]:
    """[source, revision] of what to look at instead."""
    if found is None or not found.instead:
        raise Problem("Look at a model first.")
    return [found.instead, ""]


@asks("add model")
def picked(request: gr.Request, event: gr.EventData) -> list[str]:
    """[source, revision] of the catalogue's line that was clicked."""
    source = event._data.get("source") if isinstance(event._data, dict) else None
    return [str(source or ""), ""]


@asks("add model")
def add(request: gr.Request, found: Report | None, name: str, precision: str | None) -> list[Any]:
    """[told, choice, form, report state]: keep what was looked at; a Hub model begins to download."""
    if found is None:
        raise Problem("Look at a model first; what was looked at is what is added.")
    made = kept.keep(found, name or "", precision or "auto", visitor(request).name)
    return [render.told(begun(made)), made.id, gr.Column(visible=False), None]


def begun(made: Entry) -> str:
    """What to say of a model that was just added."""
    if made.store and not made.ready:
        return f"{made.name} is downloading; the bar stands beside it."
    if made.kind == "reranker":
        return f"{made.name} is here. Knowledge offers it under How to search."
    return f"{made.name} is in every list now. Choose it in Compare."


@asks("see models")
def glance(request: gr.Request, choice: str | None, held: str | None, last: dict[str, Any]) -> list[Any]:
    """Everything that shows models, read anew; what has not changed is left alone on the page."""
    who = visitor(request)
    entries = kept.entries()
    going = {each.store: download.progress(each.store) for each in entries if each.store}
    chosen = next((each for each in entries if each.id == choice), entries[-1] if entries else None)
    progress = going.get(chosen.store) if chosen else None
    memory = loaded.in_memory()
    held = next((each.id for each in memory if each.id == held), memory[0].id if memory else None)
    view = {
        "shelf": render.shelf(entries, going, who.mode != "visitor") + render.room_line(entries, rounded(free_bytes())),
        "choice": ([(each.name, each.id) for each in entries], chosen.id if chosen else None),
        "load": bool(chosen and chosen.ready and chosen.kind != "reranker"),
        "stop": bool(progress and progress.state in AT_WORK),
        "resume": bool(progress and progress.state in ("stopped", "failed")),
        "delete": bool(chosen),
        "memory": render.memory(memory, settings().memory_bytes),
        "held": ([(f"{each.title}, {PRECISIONS[each.key[2]]}", each.id) for each in memory], held),
    }
    return [view, *(gr.skip() if last.get(part) == view[part] else update(part, view[part]) for part in VIEW)]


def rounded(size: int) -> int:
    """Free bytes to the nearest 100 MB, so that the page is not drawn again for every file that others write."""
    return round(size, -8)


def update(part: str, value: Any) -> Any:
    """A part of the view as its component takes it."""
    if part in ("choice", "held"):
        return gr.Dropdown(choices=value[0], value=value[1])
    return value if part in ("shelf", "memory") else gr.Button(interactive=value)


def acting(action: str, act: Callable[[Entry, Visitor], str]) -> Callable[[gr.Request, str | None], str]:
    """A handler that does something with the chosen model and tells it."""

    @asks(action)
    def handler(request: gr.Request, choice: str | None) -> str:
        return render.told(act(kept.entry(choice), visitor(request)))

    return handler


def stopped(entry: Entry, who: Visitor) -> str:
    """End its download."""
    download.cancel(entry.store)
    return f"The download of {entry.name} is stopped; what has arrived is kept."


def resumed(entry: Entry, who: Visitor) -> str:
    """Go on with its download."""
    download.resume(entry.store)
    return f"The download of {entry.name} goes on."


def deleted(entry: Entry, who: Visitor) -> str:
    """Take it out of the catalogue, the disk and memory."""
    if entry.kind == "model":
        loaded.forget(entry.folder)
    kept.delete(entry)
    return f"{entry.name} is deleted." + ("" if entry.store else " Your own folder is untouched.")


stop = acting("change models", stopped)
resume = acting("add model", resumed)
delete = acting("change models", deleted)


@asks("change models")
def ask_sure(request: gr.Request, choice: str | None) -> list[Any]:
    """[sure, really]: ask once more before a model is deleted."""
    return [gr.Row(visible=True), f"Yes, delete {kept.entry(choice).name}"]


@asks("look")
def close_sure(request: gr.Request) -> gr.Row:
    """Put the question away."""
    return gr.Row(visible=False)


@asks("change models")
def rename(request: gr.Request, choice: str | None, name: str) -> list[str]:
    """[told, name field]: give the chosen model another name."""
    made = kept.rename(kept.entry(choice), name or "")
    return [render.told(f"It is called {made.name} now."), ""]


@asks("change models")
def set_precision(request: gr.Request, choice: str | None, precision: str) -> str:
    """Load the chosen model in another precision from now on."""
    made = kept.set_precision(kept.entry(choice), precision)
    return render.told(f"{made.name} is loaded in {PRECISIONS[made.precision]} from now on.")


@asks("load models")
def load(request: gr.Request, choice: str | None) -> Iterator[str]:
    """Bring the chosen model into memory and tell what it takes."""
    entry = kept.entry(choice)
    model = kept.to_load(entry)
    yield '<p class="stats live"><span class="pulse" aria-hidden="true"></span>Loading…</p>'
    try:
        found = loaded.load(model, int(entry.needs.get(entry.precision, 0)))
    except Exception:
        yield ""
        raise
    yield render.footprint(found)


@asks("load models")
def unload(request: gr.Request, held: str | None) -> str:
    """Throw a base out of memory."""
    return render.told(f"{loaded.unload(held)} is out of memory.")
