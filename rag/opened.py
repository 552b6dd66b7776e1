"""The collections that this process has open, each once: the index has one owner, and opening it takes a while."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from engine.errors import Problem
from rag.index import Index
from rag.indexing import looking
from rag.indexing.looking import Look
from rag.retrieve import Collection
from rag.store import Store
from rag.storing.schema import FILE

_lock = threading.RLock()
_open: dict[str, tuple[Store, Collection]] = {}  # by the folder's name, which a renamed collection keeps
_files: dict[str, tuple[int, int]] = {}  # by the same, which file on the disk was opened
_told: dict[str, list[str]] = {}  # by the same, what opening had to say


def opened(name: str, tell: Callable[[str], None] = lambda sentence: None) -> Collection:
    """The collection of that name, with its index brought up to the store.

    One that another process has deleted and made again under the same name is opened anew. Where another process
    holds the index, the store itself is searched, exactly; `tell` says why. Raises Problem.
    """
    with _lock:
        with Store.open(name) as found:
            folder = found.folder
        key, file = folder.name, file_of(folder)
        if _files.get(key) != file:
            let_go(key)
            store = Store(folder)
            _told[key], _files[key] = [], file
            _open[key] = (store, Collection(store, indexed(store, noting(_told[key], tell))))
        return _open[key][1]


def file_of(folder: Path) -> tuple[int, int]:
    """Which file a store is: (device, inode). The system gives an inode to no other file while this one is open."""
    found = (folder / FILE).stat()
    return found.st_dev, found.st_ino


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
    try:
        return Index(store, tell)
    except Problem as problem:
        tell(f"{problem} Until then every passage is compared, which is exact and slower.")
        return None


def looked_at(store: Store) -> Look:
    """Whether a collection's index agrees with the store, be it open here, in another process, or nowhere."""
    with _lock:
        found = _open.get(store.folder.name)
    index = found[1].index if found else None
    return index.look() if index else looking.looked_at(store)


def remade(name: str) -> str:
    """Make a collection's index anew from the store; how that went, as a sentence.

    Raises Problem where another process holds it, or where there is no such collection.
    """
    index = opened(name).index
    if index is None:  # another process held it when it was first needed; it may have ended since
        forgotten(name)
        index = opened(name).index
    if index is None:
        raise Problem(f"The index of '{name}' is in use by another Diptych. Close that one first, or rebuild it there.")
    return f"The index of '{name}' was made anew from the store: {index.rebuild():,} passages."


def forgotten(name: str) -> None:
    """Let go of a collection, before it is renamed or deleted."""
    folder = Store.folder_of(name.strip())
    if folder:
        let_go(folder.name)


def let_go(key: str) -> None:
    """Close what is open of a collection, by its folder's name; nothing where it is not open."""
    with _lock:
        found = _open.pop(key, None)
        _told.pop(key, None)
        _files.pop(key, None)
        if found:
            store, collection = found
            collection.close()
            store.close()
