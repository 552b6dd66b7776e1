"""Where collections lie: one folder each below the home folder, with the store, the index and the originals."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from engine.errors import Problem
from engine.settings import settings
from engine.teaching.runs import slug
from rag.storing.schema import FILE

FOLDER = "knowledge"
SAMPLE = "sample"  # the name of the collection that comes along, which visitors of an open demo may read


def knowledge_folder() -> Path:
    """Where all collections live; made on first use."""
    folder = settings().home / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def store_folders() -> Iterator[Path]:
    """Every folder that holds a store, by name; what is hidden or half made is left out."""
    root = settings().home / FOLDER
    if root.is_dir():
        yield from sorted(path for path in root.iterdir() if not path.name.startswith(".") and (path / FILE).is_file())


def free_folder(name: str) -> Path:
    """A folder for a collection of that name which is not there yet."""
    base = slug(name)
    folder, number = knowledge_folder() / base, 2
    while folder.exists():
        folder, number = knowledge_folder() / f"{base}-{number}", number + 1
    return folder


def reserved(name: str) -> bool:
    """Whether a name is that of the collection that comes along, or would pass for it: `Sample`, `sample!`."""
    return slug(name) == SAMPLE


def refuse_reserved(name: str) -> None:
    """Raise Problem for a reserved name, so that nobody's own documents are read as the sample."""
    if reserved(name):
        raise Problem(f"'{name}' is kept for the collection that comes along. Choose another name.")


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Let one process at a time make, rename or remove collections."""
    with (knowledge_folder() / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
