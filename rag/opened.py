"""The collections that this process has open, each once: the index has one owner, and opening it takes a while."""

from __future__ import annotations

import threading
from collections.abc import Callable

from rag.index import Index
from rag.retrieve import Collection
from rag.store import Store

_lock = threading.RLock()
_open: dict[str, tuple[Store, Collection]] = {}  # by the folder's name, which a renamed collection keeps
_told: dict[str, list[str]] = {}  # by the same, what opening had to say


def opened(name: str, tell: Callable[[str], None] = lambda sentence: None) -> Collection:
    """The collection of that name, with its index brought up to the store.

    Where another process holds the index, the store itself is searched, exactly; `tell` says why. Raises Problem.
    """
    with _lock:
        folder = Store.folder_of(name.strip())
        key = folder.name if folder else ""
        if key not in _open:
            store = Store.open(name)
            key = store.folder.name
            _told[key] = []
            _open[key] = (store, Collection(store, indexed(store, noting(_told[key], tell))))
        collection = _open[key][1]
    return collection


def noting(said: list[str], tell: Callable[[str], None]) -> Callable[[str], None]:
    """A `tell` that also remembers."""

    def both(sentence: str) -> None:
        said.append(sentence)
        tell(sentence)

    return both


def told(folder: str) -> tuple[str, ...]:
    """What this process had to say of the index of a collection, by its folder's name: damage, or another's lock."""
    with _lock:
        return tuple(_told.get(folder, ()))


def indexed(store: Store, tell: Callable[[str], None]) -> Index | None:
    """The store's index; None where another process holds it."""
    from engine.errors import Problem

    try:
        return Index(store, tell)
    except Problem as problem:
        tell(f"{problem} Until then every passage is compared, which is exact and slower.")
        return None


def forgotten(name: str) -> None:
    """Let go of a collection, before it is renamed or deleted."""
    with _lock:
        folder = Store.folder_of(name.strip())
        found = _open.pop(folder.name, None) if folder else None
        _told.pop(folder.name if folder else "", None)
    if found:
        store, collection = found
        collection.close()
        store.close()
