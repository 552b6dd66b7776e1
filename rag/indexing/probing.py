"""Opens a Chroma folder in a child process first, since a damaged one ends the process that reads it; and compares."""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

from engine.settings import ROOT, prepare_process
from rag.store import Store

log = logging.getLogger(__name__)
SAMPLED = 200  # chunks that the probe looks up and searches for
SECONDS = 300
LIKE = 0.9999  # the cosine at which a vector counts as found again


def probe(store: Path, folder: Path, version: int = 0) -> str:
    """What is wrong with a Chroma folder, found by a child process that may die of it; empty where all is well.

    Without a version of the store up to which it was filled, how much it holds is not looked at.
    """
    command = [sys.executable, "-m", "rag.indexing.probing", str(store), str(folder), str(version)]
    try:
        child = subprocess.run(  # noqa: S603 - our own module, no shell
            command, capture_output=True, timeout=SECONDS, cwd=ROOT, check=False, text=True
        )
    except subprocess.TimeoutExpired:
        return f"did not open within {SECONDS} seconds"
    if child.returncode:
        log.warning("the probe of %s ended with %s: %s", folder, child.returncode, child.stderr[-2000:])
        return "is damaged (it cannot be opened)"
    with contextlib.suppress(ValueError, IndexError):
        return str(json.loads(child.stdout.splitlines()[-1]))
    return "is damaged (it cannot be read)"


def looked_at(store: Store, folder: Path, version: int) -> str:
    """What is wrong with a Chroma folder that lets itself be opened: in the child, see `probe`."""
    import sqlite3

    from rag.index import COLLECTION, client

    with contextlib.closing(sqlite3.connect(folder / "chroma.sqlite3")) as connection:
        if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            return "is damaged (its database is broken)"
    return disagreement(store, client(folder).get_collection(COLLECTION, embedding_function=None), version)


def disagreement(store: Store, held: Any, version: int) -> str:
    """Where an open Chroma collection that was filled up to a version of the store departs from it; empty if nowhere.

    Looks at how many chunks it holds, where the store still has that version, and at SAMPLED of them.
    """
    import numpy as np

    if store.version() == version and (count := held.count()) != store.count() and store.version() == version:
        return f"does not hold what the store holds ({count:,} of {store.count():,} passages)"
    ids = store.matching(None)
    sample = [ids[row] for row in sorted(set(np.linspace(0, len(ids) - 1, SAMPLED, dtype=int)))] if ids else []
    kept = held.get(ids=sample, include=["embeddings"]) if sample else {"ids": [], "embeddings": []}
    if not kept["ids"]:
        return ""
    truth = dict(zip(*store.vectors(kept["ids"]), strict=True))
    for one, vector in zip(kept["ids"], kept["embeddings"], strict=True):
        if float(np.dot(truth[one], vector)) < LIKE:
            return "is damaged (a vector is not the stored one)"
    near = held.query(query_embeddings=[truth[one] for one in kept["ids"]], n_results=1, include=["distances"])
    if any(not far or 1 - far[0] < LIKE for far in near["distances"]):
        return "is damaged (it does not find what it holds)"
    return ""


if __name__ == "__main__":
    prepare_process()
    with Store(Path(sys.argv[1])) as opened:
        sys.stdout.write(json.dumps(looked_at(opened, Path(sys.argv[2]), int(sys.argv[3]))) + "\n")
