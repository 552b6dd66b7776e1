"""Opening a passage: its page of the file, drawn with the passage marked where the file is a PDF."""

from __future__ import annotations

from collections.abc import Callable

from engine.access import Visitor
from engine.errors import Problem
from pages import knowledge_sources as render
from pages.knowledge_shelf import allowed
from pages.knowledge_study import Study
from rag import sample
from rag.collection import Collection
from rag.opened import opened
from rag.render import picture, spans
from rag.store import Store
from rag.types import Chunk, Page


def collection_of(study: Study, who: Visitor, tell: Callable[[str], None] = lambda sentence: None) -> Collection:
    """The collection in front of the visitor, ready to be asked; the sample is read now where it has not been."""
    name = allowed(who, study.collection or sample.NAME)
    if name == sample.NAME:
        sample.built()
    return opened(name, tell)


def passage_html(store: Store, chunk: Chunk, number: int | None = None) -> str:
    """The page that holds most of a passage, with it marked; what went wrong with drawing is told, not raised."""
    page, original = fullest(store, chunk), store.original(chunk.file_id)
    index, text, drawn, note = page.index if page else chunk.page, page.text if page else "", None, ""
    if original is not None:
        try:
            drawn = picture(original, index, chunk.text)
        except Problem as problem:
            note = f"{problem} "
    if chunk.last_page > chunk.page:
        note += f"The passage reaches from page {chunk.page + 1} to page {chunk.last_page + 1} of the file; "
        note += f"page {index + 1}, which holds most of it, is shown."
    return render.passage_view(chunk, text, drawn, note.strip(), number)


def fullest(store: Store, chunk: Chunk) -> Page | None:
    """The page on which most of a passage stands."""
    found = [store.page(chunk.file_id, index) for index in range(chunk.page, chunk.last_page + 1)]
    pages = [page for page in found if page]
    return max(pages, key=lambda page: sum(end - start for start, end in spans(page.text, chunk.text)), default=None)
