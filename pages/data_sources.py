"""What pairs are made of on the Data tab: pasted text, uploaded documents, or a collection of the Knowledge tab."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from engine.data.pairs import Section, sections
from engine.errors import Problem
from pages.parts import asks
from pages.render import count
from rag.cleaning import cleaned
from rag.documents import Document, Reader
from rag.drafts import GARBLED, SCANNED
from rag.store import Store, list_collections
from rag.types import Page

TEXT, FILES, COLLECTION = "A text", "Files", "A collection"
WAYS = (TEXT, FILES, COLLECTION)
MOST_FILES = 50  # of one upload


@dataclass(frozen=True)
class Material:
    """The passages of documents that were read. Lives in gr.State, by reference."""

    sections: tuple[Section, ...] = ()


@dataclass(frozen=True)
class Sources:
    """The form that says what pairs are made of; `inputs` in the order of `chosen`."""

    way: gr.Radio
    upload: gr.UploadButton
    read: gr.HTML
    material: gr.State
    parts: list[Any]
    collection: gr.Dropdown
    inputs: list[Any]


def sources_form(kinds: Sequence[str]) -> Sources:
    """Where the passages come from; only the part that was chosen is seen. `kinds` are endings of files."""
    way = gr.Radio(list(WAYS), value=TEXT, label="Made of", elem_id="data-pairs-way")
    text = gr.Textbox(
        label="Text", show_label=False, lines=5, max_lines=16, placeholder="Paste a text", elem_id="data-source"
    )
    with gr.Column(visible=False) as files:
        upload = gr.UploadButton(
            "Choose documents", file_count="multiple", file_types=list(kinds), size="sm", elem_id="data-pairs-upload"
        )
        read = gr.HTML('<p class="hint">PDF, Markdown, text, HTML, DOCX or CSV.</p>', elem_id="data-pairs-read")
    collection = gr.Dropdown([], label="Collection", visible=False, elem_id="data-pairs-collection")
    material = gr.State(Material())
    return Sources(
        way, upload, read, material, [text, files, collection], collection, [way, text, material, collection]
    )


@asks("load data")
def choose(request: gr.Request, way: str) -> list[Any]:
    """Show the part of the form that the choice needs; the collections are those there are now."""
    updates = [gr.update(visible=way == each) for each in WAYS]
    if way == COLLECTION:
        names = [one.name for one in list_collections()]
        updates[-1] = gr.update(visible=True, choices=names, value=names[0] if names else None)
    return updates


@asks("load data")
def read_files(request: gr.Request, paths: Sequence[str] | None) -> Iterator[list[Any]]:
    """Read uploaded documents, one after another, and remove them: others could fetch what lies in Gradio's cache."""
    files = [Path(path) for path in paths or ()]
    try:
        if not files or len(files) > MOST_FILES:
            raise Problem(f"Choose 1 to {MOST_FILES} documents at a time; a Knowledge collection may hold more.")
        found: list[Section] = []
        told = ""
        with Reader() as reader:
            for number, path in enumerate(files, 1):
                yield [f'{told}<p class="hint">Reading {number} of {len(files)}: {escape(path.name)}…</p>', gr.skip()]
                document = reader.read(path)
                passages = from_document(document)
                found += passages
                told += line(document, len(passages))
        yield [told, Material(tuple(found))]
    finally:
        for path in files:
            path.unlink(missing_ok=True)


def from_document(document: Document) -> list[Section]:
    """The passages of a document, without what repeats on its pages; none where it could not be read."""
    usable = [replace(page, raw="" if page.fault == "garbled" else page.raw) for page in document.pages]
    return from_pages(document.path.name, cleaned(usable, document.kind).pages if not document.state else ())


def from_pages(name: str, pages: Sequence[Page]) -> list[Section]:
    """The passages of a file's cleaned pages, each with the page's printed label."""
    return [section for page in pages for section in sections(page.text, name, page.label)]


def line(document: Document, passages: int) -> str:
    """What was read of a document, or in a sentence why it was not."""
    name, pages = escape(document.path.name), len(document.pages)
    faults = [page.fault for page in document.pages]
    reasons = [document.reason] if document.reason else []
    if document.kind == "pdf" and (empty := faults.count("empty")):
        reasons.append(SCANNED.format(empty=empty, pages=pages))
    if garbled := faults.count("garbled"):
        reasons.append(GARBLED.format(garbled=garbled, pages=pages))
    if not (passages or reasons):
        reasons.append("It holds no text.")
    figures = f"{count(pages, 'page')}, {count(passages, 'passage')}. " if passages else ""
    kind = "hint" if passages else "note"
    return f'<p class="{kind}"><strong>{name}</strong>: {figures}{escape(" ".join(reasons))}</p>'


def chosen(way: str, text: str | None, material: Material, collection: str | None) -> list[Section]:
    """The passages that the form says. Raises Problem where there are none."""
    if way == FILES:
        if not material.sections:
            raise Problem("Choose documents first; none that could be read is here.")
        return list(material.sections)
    if way == COLLECTION:
        return from_collection(collection or "")
    return sections(text or "")


def from_collection(name: str) -> list[Section]:
    """The passages of every file of a collection, cleaned as they are there. Raises Problem."""
    if not name:
        raise Problem("There is no collection yet. Add documents in the Knowledge tab, or choose files here.")
    with Store.open(name) as store:
        found = [each for file in store.files() for each in from_pages(file.path, store.pages(file.path))]
    if not found:
        raise Problem(f"The collection {name} holds no text. Add documents in the Knowledge tab.")
    return found
