"""What is in memory now; load a model there and see what it really takes; unload."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from pathlib import Path

from engine.catalog import Model, all_models
from engine.errors import Problem

Key = tuple[str, str | None, str]


@dataclass(frozen=True)
class Held:
    """One base in memory: the names of the models on it, bytes of its weights, whether it answers just now."""

    key: Key
    names: tuple[str, ...]
    bytes: int
    busy: bool

    @property
    def id(self) -> str:
        """The key as a picker's value."""
        return "|".join(part or "" for part in self.key)

    @property
    def title(self) -> str:
        """What people call it."""
        return self.names[0] if self.names else Path(self.key[0]).name


@dataclass(frozen=True)
class Footprint:
    """A load as it went: bytes reckoned before, bytes of the weights and of the whole process afterwards."""

    name: str
    precision: str
    reckoned: int
    held: int
    process_before: int | None
    process_after: int | None


def in_memory() -> list[Held]:
    """The bases in memory, in the order in which they came. Asks nothing of torch before the first is loaded."""
    if "engine.local" not in sys.modules:
        return []
    from engine.local import pool

    names: dict[Key, list[str]] = {}
    for model in all_models():
        names.setdefault((model.base, model.revision, model.precision), []).append(model.name)
    found = pool().loaded()
    busy = pool().busy()
    return [Held(key, tuple(names.get(key, ())), size, key in busy) for key, size in found.items()]


def load(model: Model, reckoned: int = 0) -> Footprint:
    """Bring a model into memory, unless it is there, and tell what it takes. Raises Problem."""
    from engine.local import pool

    if model.endpoint:
        raise Problem(f"{model.name} is at an endpoint; there is nothing to load.")
    before = process_bytes()
    with pool().hold(model) as base:
        base.place(model)
        return Footprint(model.name, model.precision, reckoned, base.bytes, before, process_bytes())


def unload(id: str | None) -> str:
    """Throw a base out of memory; its title. Raises Problem when it is answering just now, or not there."""
    import gc

    from engine.local import pool

    found = next((each for each in in_memory() if each.id == id), None)
    if found is None:
        raise Problem("Choose a model that is in memory first.")
    pool().unload(found.key)
    gc.collect()
    trim()
    return found.title


def forget(folder: Path) -> None:
    """Throw out everything that was loaded from a folder. Raises Problem while it answers."""
    for each in in_memory():
        if Path(each.key[0]) == folder:
            unload(each.id)


def process_bytes() -> int | None:
    """Resident memory of this process; None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    import resource

    return pages * resource.getpagesize()


def trim() -> None:
    """Hand memory that was freed back to the system, where the C library (glibc) would keep it for later."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
