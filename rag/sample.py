"""The collection that comes along: short pages in assets/samples/knowledge, read into the home folder on first use."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable

from engine.errors import Problem
from engine.settings import ASSETS
from rag.adding import apply, plan
from rag.embedders import Embedder
from rag.store import Store
from rag.storing.place import SAMPLE
from rag.storing.portable import free_name
from rag.types import CollectionSettings

NAME = SAMPLE
TITLE = "Sample: fat tails, LoRA, causality"
ABOUT = "Short pages on the courses' themes that come along, in PDF and Markdown."
FOLDER = ASSETS / "samples" / "knowledge"
MARK = "sample"  # under which the store remembers what it was made from
_lock = threading.Lock()


def there() -> bool:
    """Whether the sample has been read into the home folder; documents of others under its name do not count."""
    if Store.folder_of(NAME) is None:
        return False
    with Store.open(NAME) as store:
        return not holds_others(store)


def holds_others(store: Store) -> bool:
    """Whether documents lie in a collection that did not come along."""
    return any(record.source != FOLDER.resolve().name for record in store.files())


def put_aside() -> None:
    """Give a collection of somebody's own that got the sample's name, as once it could, a free one."""
    if Store.folder_of(NAME) is not None and not there():
        with Store.open(NAME) as store:
            store.rename(free_name(NAME))


def ready(name: str, tell: Callable[[str], None] = lambda sentence: None) -> None:
    """Read the sample where that is the name of a collection to be searched; `tell` says so first. Raises Problem."""
    if name.strip() == NAME:
        if not there():
            tell("Reading the sample documents that come along, which takes some seconds.")
        built()


def built(model: Embedder | None = None) -> None:
    """Read the sample where that has not been done, or where a later Diptych brings other pages. Raises Problem.

    What was begun and not ended is completed: files that are there already cost nothing. Two callers wait for one.
    """
    with _lock:
        now = digest()
        if not now:
            raise Problem("The sample documents are not in this copy of Diptych. Add documents of your own.")
        put_aside()
        with Store.open(NAME) if there() else Store.create(NAME, CollectionSettings(NAME), built_in=True) as store:
            if store.remembered(MARK) == now:
                return
            apply(store, plan(store, [FOLDER]), remove_gone=True, model=model)
            store.remember(MARK, now)


def digest() -> str:
    """A hash of all sample documents; empty where there are none."""
    files = [path for path in sorted(FOLDER.rglob("*")) if path.is_file()]
    found = hashlib.sha256()
    for path in files:
        found.update(path.relative_to(FOLDER).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest() if files else ""
