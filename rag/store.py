"""Our own SQLite is the truth about a collection: files, pages, chunks, vectors. Any process may read it."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import Problem
from rag.storing import place, schema
from rag.storing.writing import Writes
from rag.types import CollectionSettings

if TYPE_CHECKING:
    from rag.embedders import Embedder

LONGEST_NAME = 80


def list_collections(owner: str | None = None) -> list[CollectionSettings]:
    """The settings of every collection that can be read, by name; of one owner where one is given."""
    found = []
    for folder in place.store_folders():
        try:
            with Store(folder) as store:
                found.append(store.settings)
        except Problem:
            continue
    return sorted((one for one in found if owner is None or one.owner == owner), key=lambda one: one.name.lower())


def unreadable_collections() -> dict[str, str]:
    """Why a collection cannot be read, by the name of its folder; those that can be are left out."""
    found = {}
    for folder in place.store_folders():
        try:
            with Store(folder) as store:
                _ = store.settings
        except Problem as problem:
            found[folder.name] = str(problem)
    return found


class Store(Writes):
    """One collection on the disk. Threads may share it; a write is one transaction and is on the disk when it returns.

    Every committed write raises `version()`, from which the index catches up.
    """

    @classmethod
    def create(cls, name: str, chosen: CollectionSettings | None = None, built_in: bool = False) -> Store:
        """A new, empty collection; without settings, with the default embedder. Raises Problem where it is there.

        The name of the sample is for what is `built_in`.
        """
        from rag.embedders import embedder

        name = checked_name(name)
        if not built_in:
            place.refuse_reserved(name)
        chosen = dataclasses.replace(chosen or CollectionSettings(name), name=name)
        if not chosen.fingerprint:
            model = embedder(chosen.embedder, chosen.query_prefix)
            chosen = dataclasses.replace(
                chosen, fingerprint=model.fingerprint, dimension=model.dimension, query_prefix=model.query_prefix
            )
        with place.one_at_a_time():
            if cls.folder_of(name):
                raise Problem(f"There is a collection '{name}' already. Choose another name, or add to that one.")
            folder = place.free_folder(name)
            making = folder.with_name(f".making-{folder.name}-{time.time_ns()}")
            making.mkdir()
            schema.create(making / schema.FILE)
            with cls(making) as store:
                store.save_settings(chosen)
            making.rename(folder)
        return cls(folder)

    @staticmethod
    def folder_of(name: str) -> Path | None:
        """The folder of the collection with that name, or whose folder is called so; of the sample, by name alone."""
        by_folder = None
        for folder in place.store_folders():
            called = ""
            with contextlib.suppress(Problem), Store(folder) as store:
                called = store.settings.name
            if called == name:
                return folder
            if folder.name == name and place.SAMPLE not in (name, called):
                by_folder = folder
        return by_folder

    @classmethod
    def open(cls, name: str) -> Store:
        """The collection of that name. Raises Problem that lists those there are."""
        folder = cls.folder_of(name.strip())
        if folder is None:
            names = ", ".join(f"'{one.name}'" for one in list_collections()) or "none yet"
            raise Problem(f"There is no collection '{name}'. Those there are: {names}.")
        return cls(folder)

    @classmethod
    def import_from(cls, path: Path, name: str = "", owner: str = "") -> Store:
        """A new collection from a file that `export_to` wrote, under its own name or another. Raises Problem."""
        from rag.storing.portable import import_from

        return import_from(path, name, owner)

    def export_to(self, path: Path) -> Path:
        """Write the whole collection into one zip file, and return its path."""
        from rag.storing.portable import export_to

        return export_to(self, path)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def rename(self, name: str) -> None:
        """Give the collection another name; its folder stays. Raises Problem where that name is taken."""
        name = checked_name(name)
        place.refuse_reserved(name)
        with place.one_at_a_time():
            other = self.folder_of(name)
            if other and other != self.folder:
                raise Problem(f"There is a collection '{name}' already. Choose another name.")
            self.save_settings(dataclasses.replace(self.settings, name=name))

    def delete(self) -> None:
        """Remove the collection with all that lies in its folder."""
        self.close()
        with place.one_at_a_time():
            hidden = self.folder.with_name(f".deleted-{self.folder.name}-{time.time_ns()}")
            self.folder.rename(hidden)
        shutil.rmtree(hidden, ignore_errors=True)

    def check_embedder(self, model: Embedder) -> None:
        """Raise Problem unless the vectors here were made by that very model."""
        made = self.settings
        if model.fingerprint != made.fingerprint or model.dimension != made.dimension:
            raise Problem(
                f"The collection '{made.name}' was made with {made.embedder} ({made.dimension} numbers a vector, "
                f"{made.fingerprint[:8]}); {model.name} ({model.dimension}, {model.fingerprint[:8]}) cannot search it. "
                "Choose the first one, or re-index the collection with the other."
            )


def checked_name(name: str) -> str:
    """A collection's name, with single blanks. Raises Problem where it is empty or too long."""
    name = " ".join("".join(letter for letter in name if letter.isprintable()).split())
    if not name:
        raise Problem("Write a name for the collection; it is empty.")
    if len(name) > LONGEST_NAME:
        raise Problem(f"The name has {len(name)} characters. Use at most {LONGEST_NAME}.")
    return name
