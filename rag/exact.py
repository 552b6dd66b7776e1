"""Exact search over the store's own vectors: what headless runs use, and what the index is held to."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rag.store import Store
from rag.storing.filters import Where

if TYPE_CHECKING:
    import numpy as np


class Exact:
    """Every vector of a store in memory, read again when the store has changed. Threads may share it."""

    def __init__(self, store: Store):
        self.store = store
        self._lock = threading.Lock()
        self._read: tuple[int, list[str], np.ndarray] | None = None

    def vectors(self) -> tuple[list[str], np.ndarray]:
        """(chunk ids by number, unit vectors as float32 of shape (chunks, dimension))."""
        with self._lock:
            version = self.store.version()
            if self._read is None or self._read[0] != version:
                self._read = (version, *self.store.vectors())
            return self._read[1], self._read[2]

    def search(self, vector: np.ndarray, k: int, where: Where | None = None) -> list[tuple[str, float]]:
        """(chunk id, cosine) of the `k` chunks nearest to a unit vector, best first, among those of a filter."""
        if not where:
            return nearest(vector, *self.vectors(), k)
        return nearest(vector, *self.store.vectors(self.store.matching(where)), k)


def nearest(vector: np.ndarray, ids: Sequence[str], vectors: np.ndarray, k: int) -> list[tuple[str, float]]:
    """(id, cosine) of the `k` rows of `vectors` (n, dimension) nearest to a vector, all unit; ties by row."""
    import numpy as np

    if not len(ids) or k < 1:
        return []
    cosines = vectors @ vector
    few = np.argpartition(-cosines, k - 1)[:k] if k < len(ids) else np.arange(len(ids))
    floor = cosines[few].min()
    few = np.flatnonzero(cosines >= floor)  # all that tie with the last one, so that ties go by row
    order = few[np.lexsort((few, -cosines[few]))][:k]
    return [(ids[row], float(cosines[row])) for row in order]
