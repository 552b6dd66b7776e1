"""A collection as a tool of the Assistant: the model asks, passages with their places come back."""

from __future__ import annotations

from typing import Any

from engine.grounding import inert
from engine.tools import Tool
from rag.collection import Collection, How
from rag.retrieve import retrieve
from rag.store import list_collections
from rag.types import Hit

PASSAGES = 3
CHARACTERS = 1200  # of a passage in a result
NOTHING = "Nothing in the documents comes near this question. Say that they do not say."


def collections() -> list[str]:
    """The names of the collections that can be searched."""
    return [one.name for one in list_collections()]


def search_tool(collection: str) -> Tool:
    """The tool that searches the collection of that name. Raises Problem where it is gone."""
    from rag.opened import opened

    return search_documents(opened(collection))


def search_documents(collection: Collection, how: How | None = None) -> Tool:
    """The tool `search_documents(question)` over a collection. It changes nothing, so it runs unasked."""
    chosen = how or How(k=PASSAGES)

    def search_documents(question: str) -> dict[str, Any]:
        """Search the person's documents. Answer from the passages that come back and cite them as [1], [2].

        Args:
            question: What to look for, as a whole question that stands alone.
        """
        found = retrieve(collection, question, **vars(chosen))
        if not found.hits:
            return {"passages": [], "note": NOTHING}
        return {"passages": [told(hit) for hit in found.hits]}

    return Tool.from_function(search_documents)


def told(hit: Hit) -> dict[str, Any]:
    """A hit for a model: number, place, similarity, and its words with all markup broken."""
    chunk = hit.chunk
    return {
        "number": hit.rank, "file": chunk.file, "page": chunk.page_label, "similarity": round(hit.cosine, 3),
        "text": inert(chunk.text)[:CHARACTERS],
    }  # fmt: skip
