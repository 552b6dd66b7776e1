"""What lies beside a Chroma folder: a lock that one process holds, and a state file with a seal over the files."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from engine.errors import Problem

FORMAT = 1
LOCK = "lock"
STATE = "state.json"
UNSEALED = ("length.bin",)  # Chroma writes it anew when it opens a folder
SAVED = "index_metadata.pickle"  # is there once the graph was saved; before, the graph's files mean nothing


class InUse(Problem):
    """Another process holds an index; `fact` is that alone, without an end, for sentences of other consequences."""

    def __init__(self, fact: str):
        super().__init__(
            f"{fact}. Close that one first. Searching from the command line works meanwhile: it reads the store itself."
        )
        self.fact = fact


class Lock:
    """An exclusive lock on one collection's index. Raises InUse where another process holds it."""

    def __init__(self, folder: Path, name: str):
        self._file: IO[str] = (folder / LOCK).open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.seek(0)
            holder = self._file.read().strip()
            self._file.close()
            process = f" (process {holder})" if holder.isdigit() else ""
            raise InUse(f"The index of '{name}' is in use by another Diptych{process}") from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let others have it."""
        if not self._file.closed:
            self._file.truncate(0)
            self._file.close()


@dataclass(frozen=True)
class State:
    """What the index holds: which folder, up to which version of the store, by which embedder.

    `seal` are hashes of the files that Chroma leaves alone between writes; `busy` says that a write did not end.
    """

    generation: str
    version: int = 0
    fingerprint: str = ""
    busy: bool = False
    seal: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT


def read_state(folder: Path) -> State | None:
    """The state of the index in `folder`; None where there is none that can be read."""
    try:
        values = json.loads((folder / STATE).read_text(encoding="utf-8"))
        state = State(**values)
    except (OSError, ValueError, TypeError):
        return None
    plain = state.generation.isalnum() and isinstance(state.version, int) and isinstance(state.seal, dict)
    return state if plain and state.format == FORMAT else None


def write_state(folder: Path, state: State) -> None:
    """Replace the state file in one go."""
    new = folder / f"{STATE}.new"
    new.write_text(json.dumps(asdict(state)), encoding="utf-8")
    with new.open("rb") as file:
        os.fsync(file.fileno())
    new.replace(folder / STATE)


def seal_of(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a saved graph by its path in the folder; Chroma's SQLite changes by being opened."""
    found = {}
    for path in sorted(file for graph in folder.glob(f"*/{SAVED}") for file in graph.parent.iterdir()):
        if path.is_file() and path.name not in UNSEALED:
            with contextlib.suppress(OSError), path.open("rb") as file:
                found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def altered(state: State, folder: Path) -> str:
    """Which file of an index is not as it was sealed, as the end of a sentence; empty where all are."""
    wrong = differing(state.seal, seal_of(folder / state.generation))
    return f"is damaged ({Path(wrong[0]).name} is not as it was written)" if wrong else ""


def differing(seal: dict[str, str], found: dict[str, str]) -> Sequence[str]:
    """The files that are not as they were sealed."""
    return sorted(name for name in {*seal, *found} if seal.get(name) != found.get(name))
