"""Chroma over the store: a copy for fast search, owned by one process, and made anew from the store at any doubt."""

from __future__ import annotations

import dataclasses
import logging
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.settings import settings
from rag.exact import nearest
from rag.indexing.keeping import Lock, State, altered, read_state, seal_of, write_state
from rag.indexing.looking import FOLDER, Look, fault, told
from rag.indexing.probing import disagreement
from rag.store import Store
from rag.storing.filters import Where

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)
Tell = Callable[[str], None]
COLLECTION = "chunks"
PORTION = 2000  # chunks in one write; Chroma takes 5,461 at most
EXACT = 4000  # chunks that a filter leaves: up to here all of them are compared, which the graph would not do
# ef_search decides how sure the search is: at 256 its top ten were those of exact search on 6,000 clustered vectors
GRAPH = {"space": "cosine", "ef_construction": 100, "ef_search": 256, "max_neighbors": 16}
BROKEN = "is damaged (Chroma cannot read it any more)"
SAVES = 20  # how often the graph is saved while a collection is written at once
SAVE_AFTER = (1000, 5000)  # chunks at least and at most between two saves: what came since is read anew at opening


class Index:
    """One collection's Chroma folder, open in this process alone. Threads may share it.

    Opening looks at the seal, then lets a child open the folder first: a damaged one kills the process that reads
    it. Whatever is wrong, then or later, the index is made anew from the store, and `told` says so. `anew` takes
    nothing over from an index that is there.
    """

    def __init__(self, store: Store, tell: Tell = log.warning, anew: bool = False):
        self.store, self.name = store, store.settings.name
        self.folder = store.folder / FOLDER
        self.told: list[str] = []
        self._tell = tell
        self._writing = threading.RLock()
        self._client: Any = None
        self._collection: Any = None
        self._lock = Lock(store.folder, self.name)
        try:
            self.folder.mkdir(exist_ok=True)
            self._state = self._emptied() if anew else self._sound_state()
            self._connect()
            self.catch_up()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def generation(self) -> Path:
        """The folder that Chroma writes to; a rebuilt index gets another one."""
        return self.folder / self._state.generation

    def count(self) -> int:
        """How many chunks the index holds."""
        return int(self._collection.count())

    def search(self, vector: np.ndarray, k: int, where: Where | None = None) -> list[tuple[str, float]]:
        """(chunk id, cosine) of the `k` chunks nearest to a unit vector, best first, among those of a filter."""
        allowed: dict[str, Any] | None = None
        if where:
            ids = self.store.matching(where)
            if len(ids) <= EXACT:
                return nearest(vector, *self.store.vectors(ids), k)
            allowed = {"file": {"$in": sorted({chunk.file_id for chunk in self.store.chunks(ids)})}}
        with self._writing:  # a rebuilt index changes its folder
            try:
                return self._nearest(vector, k, allowed)
            except damage() as error:
                self._broken(error)
                return self._nearest(vector, k, allowed)

    def catch_up(self) -> int:
        """Bring the index to the store's version; how many chunks came or went. Made anew where counts differ."""
        with self._writing:
            version = self.store.version()
            if version == self._state.version:
                return 0
            wrong = altered(self._state, self.folder)  # Chroma would write its changes into damaged files
            if self._state.fingerprint != self.store.settings.fingerprint:
                wrong = "was made with another embedding model"
            if wrong:
                self._say(wrong)
                return self.rebuild()
            try:
                return self._take_in(version)
            except damage() as error:
                return self._broken(error)

    def look(self) -> Look:
        """Whether the index agrees with the store; nothing is changed."""
        with self._writing:
            try:
                wrong = altered(self._state, self.folder)
                wrong = wrong or disagreement(self.store, self._collection, self._state.version)
            except damage() as error:
                log.warning("looking at the index of %s: %s", self.name, error)
                wrong = BROKEN
            return told(self.store, self._state, wrong)

    def rebuild(self, tell: Callable[[int, int], None] = lambda done, of: None) -> int:
        """Make the index anew from the store, beside the old one, which then goes; how many chunks it holds."""
        with self._writing:
            old, self._state = self._state, self._fresh()
            self._disconnect()
            version = self.store.version()
            self._connect()
            self._mark(busy=True)
            self._upsert([chunk.id for chunk in self.store.chunks()], tell)
            self._finish(version)
            shutil.rmtree(self.folder / old.generation, ignore_errors=True)
            return self.count()

    def close(self) -> None:
        """Let go of Chroma and of the lock."""
        with self._writing:
            self._disconnect()
            self._lock.release()

    # -- opening ---------------------------------------------------------------------------------------------------

    def _sound_state(self) -> State:
        """The state of an index that may be opened, or of a new, empty one in its place."""
        state = read_state(self.folder)
        wrong = fault(self.store, self.folder, state)
        if state is not None and not wrong:
            return state
        if wrong:
            self._say(wrong)
        return self._emptied()

    def _emptied(self) -> State:
        """The state of a new, empty index in place of whatever lies there."""
        for rest in self.folder.iterdir():
            shutil.rmtree(rest) if rest.is_dir() else rest.unlink()
        write_state(self.folder, fresh := self._fresh())
        return fresh

    def _fresh(self) -> State:
        return State(uuid.uuid4().hex[:12], fingerprint=self.store.settings.fingerprint)

    def _say(self, what: str) -> None:
        sentence = f"The index of '{self.name}' {what}. It is made anew from the stored texts and vectors."
        self.told.append(sentence)
        self._tell(sentence)

    def _connect(self) -> None:
        self.generation.mkdir(exist_ok=True)
        self._client = client(self.generation)
        low, high = SAVE_AFTER
        apart = min(max(self.store.count() // SAVES, low), high)
        graph = {**GRAPH, "num_threads": settings().threads, "sync_threshold": apart}
        self._collection = self._client.get_or_create_collection(
            COLLECTION, embedding_function=None, configuration={"hnsw": graph}
        )

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = self._collection = None

    # -- searching -------------------------------------------------------------------------------------------------

    def _nearest(self, vector: np.ndarray, k: int, allowed: dict[str, Any] | None) -> list[tuple[str, float]]:
        size = min(k, self.count())
        if size < 1:
            return []
        found = self._collection.query(query_embeddings=[vector], n_results=size, where=allowed, include=["distances"])
        return [(one, 1 - float(far)) for one, far in zip(found["ids"][0], found["distances"][0], strict=True)]

    def _broken(self, error: Exception) -> int:
        """Make an index anew that Chroma could not use any more; how many chunks it holds."""
        log.warning("the index of %s: %s", self.name, error)
        self._say(BROKEN)
        return self.rebuild()

    # -- writing ---------------------------------------------------------------------------------------------------

    def _take_in(self, version: int) -> int:
        """Write the changes of the store up to a version; how many chunks came or went."""
        upserted, removed = self.store.changes(self._state.version)
        self._mark(busy=True)
        for portion in portions(removed):
            self._collection.delete(ids=list(portion))
        self._upsert(upserted)
        if self.count() != self.store.count() and version == self.store.version():
            self._say("does not hold what the store holds")
            return self.rebuild()
        self._finish(version)
        return len(upserted) + len(removed)

    def _upsert(self, ids: Sequence[str], tell: Callable[[int, int], None] = lambda done, of: None) -> None:
        done = 0
        for portion in portions(ids):
            files = {chunk.id: chunk.file_id for chunk in self.store.chunks(portion)}
            found, vectors = self.store.vectors(portion)
            if found:
                metadata = [{"file": files.get(one, 0)} for one in found]
                self._collection.upsert(ids=found, embeddings=vectors, metadatas=metadata)
            done += len(portion)
            tell(done, len(ids))

    def _mark(self, busy: bool) -> None:
        self._state = dataclasses.replace(self._state, busy=busy)
        write_state(self.folder, self._state)

    def _finish(self, version: int) -> None:
        """Seal what was written. A search first: Chroma carries out its last writes when it is asked."""
        ids = self._collection.peek(1)["embeddings"]
        if len(ids):
            self._collection.query(query_embeddings=[ids[0]], n_results=1)
        self._state = dataclasses.replace(self._state, version=version, seal=seal_of(self.generation))
        self._mark(busy=False)


def client(folder: Path) -> Any:
    """Chroma on a folder, inside this process. No embedding function is ever made: its makers run code by name."""
    import chromadb
    from chromadb.config import Settings

    return chromadb.PersistentClient(str(folder), Settings(_env_file=None, anonymized_telemetry=False))  # type: ignore[call-arg]


def damage() -> type[Exception]:
    """What Chroma raises where its files are not what it wrote."""
    from chromadb.errors import InternalError

    return InternalError


def portions(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """The ids in runs of PORTION."""
    return (ids[start : start + PORTION] for start in range(0, len(ids), PORTION))
