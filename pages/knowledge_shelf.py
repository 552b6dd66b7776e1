"""The shelf of collections: which there are, which is open, and what makes, renames, deletes, exports, imports one."""

from __future__ import annotations

from contextlib import closing
from html import escape
from typing import Any
from urllib.parse import urlencode

import gradio as gr

from engine.access import Visitor, may
from engine.errors import Problem
from pages import knowledge_render as render
from pages.knowledge_study import EMPTY_SOURCES, EMPTY_TALK, Study
from pages.parts import asks, visitor
from pages.render import count
from pages.upload import EXPORT, batch_folder, forget
from rag import sample
from rag.adding import alone
from rag.job import jobs_of
from rag.opened import forgotten, told
from rag.rebuilding import trouble
from rag.store import Store, list_collections, unreadable_collections
from rag.types import CollectionSettings

# what shows a collection, in this order
VIEW = ("choice", "headline", "files", "chosen", "place", "only", "offer", "offered", "model", "length")


def names(who: Visitor) -> list[tuple[str, str]]:
    """The collections that a person may see, as (label, name): the sample, and for owners all the others."""
    others = [each.name for each in list_collections()] if may(who, "add documents") else []
    return [(sample.TITLE, sample.NAME), *((name, name) for name in others if name != sample.NAME)]


def allowed(who: Visitor, name: str | None) -> str:
    """The name if this person may use that collection. Raises Problem."""
    if name and name in [each for _, each in names(who)]:
        return name
    raise Problem(f"There is no collection '{name}'. Choose one from the list.")


def view(study: Study, who: Visitor) -> list[Any]:
    """Everything that shows the collection in front of the visitor, in the order of VIEW."""
    offered = names(who)
    if study.collection not in [name for _, name in offered]:
        study.choose(sample.NAME)
    choice = gr.Dropdown(choices=offered, value=study.collection)
    lost = render.said(tuple(unreadable_collections().values())) if may(who, "change collections") else ""
    if study.collection == sample.NAME and not sample.there():
        waiting = f'<p class="hint">{sample.ABOUT} They are read on the first question.</p>'
        empty = gr.Dropdown(choices=[], value=None)
        no_tags = gr.Dropdown(choices=[], value=[], multiselect=True)
        return [choice, waiting + lost, waiting, empty, empty, no_tags, gr.Row(visible=False), "", gr.skip(), gr.skip()]
    with Store.open(study.collection) as store:
        files, tags, made = store.files(), store.tags(), store.settings
        facts = headline(made, files, store.count()) + render.said(told(store.folder.name)) + lost
        wrong = trouble(store) if may(who, "change collections") and files else None
    paths = [each.path for each in files]
    one = gr.Dropdown(choices=paths, value=study.file if study.file in paths else None)
    return [
        choice, facts, render.shelf(files), one, gr.Dropdown(choices=paths, value=None),
        gr.Dropdown(choices=tags, value=[], multiselect=True), gr.Row(visible=wrong is not None),
        render.offer(wrong.sentence) if wrong else "", made.embedder, made.chunk_tokens,
    ]  # fmt: skip


def headline(made: CollectionSettings, files: list, chunks: int) -> str:
    """A collection in one line."""
    pages = sum(each.pages for each in files)
    facts = [
        count(len(files), "file"),
        count(pages, "page"),
        count(chunks, "passage"),
        f"{escape(made.embedder)}, passages of {made.chunk_tokens} tokens",
    ]
    return f'<p class="hint">{" · ".join(facts)}</p>'


@asks("ask documents")
def arrive(request: gr.Request, study: Study) -> list[Any]:
    """The shelf when the page is opened or something on it has changed."""
    return view(study, visitor(request))


@asks("ask documents")
def choose(request: gr.Request, study: Study, name: str | None) -> list[Any]:
    """Another collection: its files, and an empty talk."""
    who = visitor(request)
    study.choose(allowed(who, name))
    return [*view(study, who), EMPTY_TALK, "", EMPTY_SOURCES]


@asks("change collections")
def create(request: gr.Request, study: Study, name: str, embedder: str, tokens: float | None) -> list[Any]:
    """A new, empty collection, which is then in front of the visitor."""
    who = visitor(request)
    wanted = int(tokens or 0)
    if not 32 <= wanted <= 8192:
        raise Problem("The passage length must lie between 32 and 8,192 tokens.")
    chosen = CollectionSettings(
        name or "", embedder=(embedder or "").strip(), chunk_tokens=wanted, overlap=wanted // 10, owner=who.name
    )
    if (name or "").strip().lower() == sample.NAME:
        raise Problem(f"'{sample.NAME}' is the name of the collection that comes along. Choose another.")
    Store.create(name or "", chosen).close()
    study.choose(" ".join((name or "").split()))
    return ["", render.told(f"Made '{study.collection}'. Drop documents under Documents."), *view(study, who)]


@asks("change collections")
def rename(request: gr.Request, study: Study, name: str) -> list[Any]:
    """Give the collection another name."""
    who, old = visitor(request), own(request, study)
    with Store.open(old) as store:
        store.rename(name or "")
        study.collection = store.settings.name
    forgotten(old)
    return ["", render.told(f"'{old}' is now '{study.collection}'."), *view(study, who)]


@asks("change collections")
def delete(request: gr.Request, study: Study) -> list[Any]:
    """Remove the collection, after the second click; not while a job or a command works on it."""
    who, name = visitor(request), own(request, study)
    idle(name)
    store = Store.open(name)
    with closing(store), alone(store):
        forgotten(name)
        store.delete()
    study.choose(sample.NAME)
    return [gr.Row(visible=False), render.told(f"'{name}' is deleted."), *view(study, who)]


def own(request: gr.Request, study: Study) -> str:
    """The collection in front of the visitor, where it is not the sample. Raises Problem."""
    name = allowed(visitor(request), study.collection)
    if name == sample.NAME:
        raise Problem("The sample collection stays as it is. Create one of your own first.")
    return name


def idle(name: str) -> None:
    """Raise Problem where a job works on the collection, or waits for its turn to."""
    folder = Store.folder_of(name)
    if folder is not None and any(not job.over for job in jobs_of(folder.name)):
        raise Problem("This collection is being changed just now. Wait until that is done, or press Cancel.")


@asks("change collections")
def ask_first(request: gr.Request, study: Study) -> Any:
    """Show what deleting would do."""
    own(request, study)
    return gr.Row(visible=True)


@asks("change collections")
def think_again(request: gr.Request, study: Study) -> Any:
    """Keep the collection after all."""
    return gr.Row(visible=False)


@asks("export collection")
def export(request: gr.Request, study: Study) -> str:
    """A link to the collection as one file; the file is written when the link is followed."""
    name = allowed(visitor(request), study.collection)
    if name == sample.NAME and not sample.there():
        raise Problem("The sample has not been read yet. Ask it something first.")
    query = escape(urlencode({"name": name}))
    return f'<p><a href=".{EXPORT}?{query}" download>Download {escape(name)} as one file</a></p>'


@asks("change collections")
def take_in(request: gr.Request, study: Study, event: gr.EventData) -> list[Any]:
    """A collection from an exported file that was just uploaded."""
    who = visitor(request)
    batch = str((event._data or {}).get("batch", ""))
    folder = batch_folder(batch, who.name)
    try:
        found = [each for each in folder.rglob("*") if each.is_file()]
        if len(found) != 1:
            raise Problem("Choose one exported collection.")
        with Store.import_from(found[0], owner=who.name) as store:
            study.choose(store.settings.name)
    finally:
        forget(batch, who.name)
    return [render.told(f"'{study.collection}' is in."), *view(study, who)]


def tagged(text: str) -> tuple[str, ...]:
    """Tags out of a line with commas."""
    return tuple(dict.fromkeys(part.strip() for part in (text or "").split(",") if part.strip()))


@asks("change collections")
def set_tags(request: gr.Request, study: Study, file: str | None, tags: str) -> list[Any]:
    """Replace a file's tags."""
    with Store.open(own(request, study)) as store:
        record = store.file(file or "")
        if record is None:
            raise Problem("Choose a file first.")
        store.set_tags(record.id, tagged(tags))
    return [render.told(f"{file} has its new tags."), *view(study, visitor(request))]


@asks("change collections")
def remove(request: gr.Request, study: Study, file: str | None) -> list[Any]:
    """Take a file out of the collection."""
    with Store.open(own(request, study)) as store:
        if not file or not store.remove_file(file):
            raise Problem("Choose a file first.")
    return [render.told(f"{file} is out of the collection."), *view(study, visitor(request))]
