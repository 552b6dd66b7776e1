"""A collection as a LangChain retriever, for chains and agents of others."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field

from rag import sample
from rag.collection import Collection, How
from rag.retrieve import retrieve
from rag.store import Store
from rag.types import Hit


class CollectionRetriever(BaseRetriever):
    """Documents with file, page (from 1), cosine and tags in their metadata; nothing below the cutoff.

    `CollectionRetriever.open("name", k=3, mode="both")` searches the store exactly, beside a running app.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)
    collection: Collection = Field(exclude=True)
    how: How = Field(default_factory=How)

    @classmethod
    def open(cls, name: str, **how: Any) -> CollectionRetriever:
        """The retriever of a collection; `how` are fields of rag.collection.How. Raises Problem.

        The sample is read now where it has not been.
        """
        sample.ready(name)
        return cls(collection=Collection(Store.open(name)), how=How(**how))

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return [document(hit) for hit in retrieve(self.collection, query, **vars(self.how)).hits]


def document(hit: Hit) -> Document:
    """A hit as LangChain knows it."""
    chunk = hit.chunk
    metadata = {
        "source": chunk.file, "page": chunk.page + 1, "page_label": chunk.page_label, "score": hit.score,
        "cosine": hit.cosine, "rank": hit.rank, "tags": list(chunk.tags), "start": chunk.start, "end": chunk.end,
    }  # fmt: skip
    return Document(id=chunk.id, page_content=chunk.text, metadata=metadata)
