"""A collection that can be asked: the store, its embedder, and the index where this process owns it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from engine.respond import Passage
from rag.cutoff import SAMPLE, Calibration, calibrated
from rag.embedders import Embedder, embedder
from rag.exact import Exact
from rag.store import Store
from rag.storing.filters import Where

if TYPE_CHECKING:
    import numpy as np

    from rag.index import Index
    from rag.retrieve import Retrieved
    from rag.types import Hit

Mode = Literal["both", "vector", "keyword"]
MODES: tuple[Mode, ...] = ("both", "vector", "keyword")
REMEMBERED = 64  # questions whose vectors are kept


@dataclass(frozen=True)
class How:
    """How a collection is searched. `cutoff` None means the collection's own; `rerank` names a cross-encoder."""

    k: int = 3
    mode: Mode = "both"
    cutoff: float | None = None
    where: Where | None = None
    rerank: str = ""


class Collection:
    """Searches a store: through the index where there is one, else exactly. Threads may share it.

    It implements engine.respond.Passages. Raises Problem where the embedding model is not the one of the store.
    """

    def __init__(self, store: Store, index: Index | None = None, model: Embedder | None = None):
        self.store, self.index = store, index
        self._given = model
        self._lock = threading.RLock()
        self._vectors: OrderedDict[str, np.ndarray] = OrderedDict()
        self._calibrated: tuple[int, Calibration, np.ndarray] | None = None

    @property
    def name(self) -> str:
        """What the collection is called now."""
        return self.store.settings.name

    @property
    def model(self) -> Embedder:
        """The embedder, after a look whether it made the vectors here. Raises Problem."""
        made = self.store.settings
        model = self._given or embedder(made.embedder, made.query_prefix)
        self.store.check_embedder(model)
        return model

    @cached_property
    def exact(self) -> Exact:
        """Every vector in memory; read when first needed."""
        return Exact(self.store)

    def close(self) -> None:
        """Let go of the index; the store stays open."""
        if self.index is not None:
            self.index.close()

    # -- the two ways to find chunks -------------------------------------------------------------------------------

    def vector_of(self, question: str) -> np.ndarray:
        """The question's unit vector, float32 of shape (dimension,); the last ones are remembered."""
        model = self.model
        key = f"{model.fingerprint} {question}"
        with self._lock:
            if key not in self._vectors:
                self._vectors[key] = model.embed_query(question)
            self._vectors.move_to_end(key)
            while len(self._vectors) > REMEMBERED:
                self._vectors.popitem(last=False)
            return self._vectors[key]

    def by_vector(self, vector: np.ndarray, k: int, where: Where | None = None) -> list[tuple[str, float]]:
        """(chunk id, cosine) of the nearest chunks, best first. The index is brought up to the store before."""
        if self.index is None:
            return self.exact.search(vector, k, where)
        self.index.catch_up()
        return self.index.search(vector, k, where)

    def by_words(self, question: str, k: int, where: Where | None = None) -> list[tuple[str, tuple[str, ...]]]:
        """(chunk id, matched words) by BM25, best first."""
        return [(one, matched) for one, _, matched in self.store.keyword_search(question, k, where)]

    def cosines(self, vector: np.ndarray, ids: Sequence[str]) -> dict[str, float]:
        """The cosine of each chunk to a vector, from the store's own vectors."""
        found, vectors = self.store.vectors(ids)
        return dict(zip(found, (vectors @ vector).tolist(), strict=True)) if found else {}

    # -- what is near ----------------------------------------------------------------------------------------------

    def calibration(self) -> tuple[Calibration, np.ndarray]:
        """The collection's own cutoff, and a sample of its vectors; made anew when the store has changed."""
        with self._lock:
            version = self.store.version()
            if self._calibrated is None or self._calibrated[0] != version:
                ids = self.store.matching(None)
                sample = self.store.vectors(ids[:: max(1, len(ids) // SAMPLE)][:SAMPLE])[1]
                made = calibrated(self.model, lambda vector: self.by_vector(vector, 1)[0][1], sample)
                self._calibrated = version, made, sample
            return self._calibrated[1:]

    def search(self, question: str, k: int) -> Sequence[Passage]:
        """See engine.respond.Passages: both ways fused, above the collection's cutoff."""
        return self.asked(How(k)).search(question, k)

    def nearest(self, question: str) -> Passage | None:
        """See engine.respond.Passages."""
        return self.asked(How()).nearest(question)

    def asked(self, how: How) -> Asked:
        """The collection with its way of searching fixed, for a lane."""
        return Asked(self, how)


@dataclass(frozen=True)
class Asked:
    """A collection and how it is searched, as engine.respond.Passages: a lane's documents.

    `found` holds what the last search gave and `searches` all of it, so that a page can show what is behind the
    passages.
    """

    collection: Collection
    how: How = field(default_factory=How)
    found: list[Hit] = field(default_factory=list, compare=False, repr=False)
    searches: list[Retrieved] = field(default_factory=list, compare=False, repr=False)

    def search(self, question: str, k: int) -> Sequence[Passage]:
        """What was found for the question; how many is said by `how`."""
        from rag.retrieve import retrieve

        given = retrieve(self.collection, question, **vars(self.how))
        self.found[:], self.searches[:] = given.hits, [given]
        return [passage(hit) for hit in self.found]

    def nearest(self, question: str) -> Passage | None:
        """What comes nearest to the question, however far."""
        from rag.retrieve import retrieve

        hit = retrieve(self.collection, question, **vars(self.how)).nearest
        return passage(hit) if hit else None


def passage(hit: Hit) -> Passage:
    """A hit as engine knows it; pages count from 1."""
    chunk = hit.chunk
    return Passage(chunk.text, chunk.file, chunk.page + 1, hit.cosine)
