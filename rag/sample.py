"""The collection that comes along: short pages in assets/samples/knowledge, read into the home folder on first use."""

from __future__ import annotations

import hashlib
import threading

from engine.errors import Problem
from engine.settings import ASSETS
from rag.adding import apply, plan
from rag.embedders import Embedder
from rag.store import Store
from rag.types import CollectionSettings

NAME = "sample"
TITLE = "Sample: fat tails, LoRA, causality"
ABOUT = "Short pages on the courses' themes that come along, in PDF and Markdown."
FOLDER = ASSETS / "samples" / "knowledge"
MARK = "sample"  # under which the store remembers what it was made from
_lock = threading.Lock()


def there() -> bool:
    """Whether the sample has been read into the home folder."""
    return Store.folder_of(NAME) is not None


def built(model: Embedder | None = None) -> None:
    """Read the sample where that has not been done, or where a later Diptych brings other pages. Raises Problem.

    What was begun and not ended is completed: files that are there already cost nothing. Two callers wait for one.
    """
    with _lock:
        now = digest()
        if not now:
            raise Problem("The sample documents are not in this copy of Diptych. Add documents of your own.")
        with Store.open(NAME) if there() else Store.create(NAME, CollectionSettings(NAME)) as store:
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
