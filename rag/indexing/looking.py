"""Looks whether an index agrees with its store, and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rag.indexing.keeping import InUse, Lock, State, altered, read_state
from rag.indexing.probing import probe
from rag.store import Store

FOLDER = "chroma"
MEND = "It is made anew from the store when the page next opens it, or at once by rebuilding the index."


@dataclass(frozen=True)
class Look:
    """What a look at an index found, as a sentence; `wrong` where it cannot be searched before it is made anew."""

    sentence: str
    wrong: bool = False


def looked_at(store: Store) -> Look:
    """The index of a collection, which this process does not have open. One that another holds is left alone."""
    folder, name = store.folder / FOLDER, store.settings.name
    if not folder.is_dir() or not any(folder.iterdir()):
        return Look(f"'{name}' has no index yet; the page makes it when it first searches.")
    try:
        with Lock(store.folder, name):
            state = read_state(folder)
            return told(store, state, fault(store, folder, state))
    except InUse as held:
        return Look(f"{held.fact}, which looks after it; it was left alone.")


def told(store: Store, state: State | None, wrong: str) -> Look:
    """What was found, in words. `wrong` is the end of a sentence, or empty."""
    name = store.settings.name
    if wrong or state is None:
        return Look(f"The index of '{name}' {wrong or 'cannot be read'}. {MEND}", wrong=True)
    if state.version != store.version():
        return Look(f"The index of '{name}' opens and has yet to take in the last changes; the next search does that.")
    return Look(f"The index of '{name}' opens and agrees with the store: {store.count():,} passages in both.")


def fault(store: Store, folder: Path, state: State | None) -> str:
    """Why a closed index cannot be used, as the end of a sentence; empty where it can, or where there is none yet."""
    if state is None:
        return "cannot be read" if any(folder.iterdir()) else ""
    if state.busy:
        return "was left in the middle of a change"
    if state.fingerprint != store.settings.fingerprint:
        return "was made with another embedding model"
    if state.version > store.version():
        return "belongs to another state of the store"
    return altered(state, folder) or probe(store.folder, folder / state.generation, state.version)
