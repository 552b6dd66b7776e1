"""The collections that this process has open, each once: the index has one owner, and opening it takes a while."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from rag.index import Index
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
    from engine.errors import Problem

    try:
        return Index(store, tell)
    except Problem as problem:
        tell(f"{problem} Until then every passage is compared, which is exact and slower.")
        return None


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
