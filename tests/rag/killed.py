"""A process that adds a folder and says so on its output: `python -m tests.rag.killed COLLECTION FOLDER [real]`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from rag import adding, embedding
from rag.embedders import Embedder
from rag.store import Store
from tests.rag.putting import Hashed


class Slow(Hashed):
    """Takes its time, so that a test can kill the process between two batches."""

    def _embed(self, texts: list[str], batch: int):  # type: ignore[no-untyped-def]
        time.sleep(0.02)
        return super()._embed(texts, batch)


def main(collection: str, folder: str, *real: str) -> None:
    """Print `done NAME` for each file that was told to be on the disk, and a dot for every other event."""
    adding.WINDOW = adding.ENOUGH = 4  # files are settled a few at a time
    embedding.KEPT_EVERY = 1

    def tell(event: adding.Event) -> None:
        print(f"done {event.report.file}" if isinstance(event, adding.FileDone) else ".", flush=True)

    with Store.open(collection) as store:
        wanted = adding.plan(store, [Path(folder)])
        adding.apply(store, wanted, tell, model=Embedder() if real else Slow())


if __name__ == "__main__":
    main(*sys.argv[1:])
