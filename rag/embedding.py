"""Embeds the chunks of several files together, sorted by length, and stores each file as soon as it is whole."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence

from rag.drafts import Draft
from rag.embedders import Embedder
from rag.progress import Event, Pace
from rag.store import Store
from rag.types import FileReport

KEPT_EVERY = 8  # batches whose vectors are written together: what a kill may cost


def embed_drafts(
    store: Store,
    drafts: Sequence[Draft],
    model: Embedder,
    pace: Pace,
    finished: Callable[[FileReport], None],
    on_event: Callable[[Event], None],
    stop: Callable[[], bool],
) -> None:
    """Make the vectors that are missing and put the files; after a stop those files whose vectors are all there."""
    lengths = {chunk.text: tokens for one in drafts for chunk, tokens in zip(one.chunks, one.tokens, strict=True)}
    known = store.known_vectors(list(lengths))
    total = sum(len(one.chunks) for one in drafts)
    missing = sorted((text for text in lengths if text not in known), key=lengths.__getitem__, reverse=True)
    if total > len(missing):
        tokens = sum(sum(one.tokens) for one in drafts) - sum(lengths[text] for text in missing)
        pace.embedded(total - len(missing), tokens, 0.0)
    known |= embed_missing(store, missing, lengths, model, pace, on_event, stop)
    for draft in drafts:
        if draft.record is None:
            finished(draft.report)
        elif all(chunk.text in known for chunk in draft.chunks):
            store.put_file(draft.record, draft.pages, draft.chunks)
            finished(draft.report)
        else:
            continue
        pace.files_done += 1
        on_event(pace.progress("embedding", draft.report.file))


def embed_missing(
    store: Store,
    texts: Sequence[str],
    lengths: dict[str, int],
    model: Embedder,
    pace: Pace,
    on_event: Callable[[Event], None],
    stop: Callable[[], bool],
) -> set[str]:
    """Embed texts that come longest first, a batch at a time, until asked to stop; those that are on the disk."""
    import numpy as np

    waiting: list[str] = []
    vectors: list[np.ndarray] = []
    kept: set[str] = set()

    def keep() -> None:
        if waiting:
            store.put_vectors(waiting, np.concatenate(vectors))
            kept.update(waiting)
            waiting.clear()
            vectors.clear()

    at, started = 0, time.monotonic()
    with contextlib.closing(model.in_batches(texts)) as made:
        while at < len(texts) and not stop():
            vectors.append(next(made))
            batch = texts[at : at + len(vectors[-1])]
            at += len(batch)
            waiting += batch
            now = time.monotonic()
            pace.embedded(len(batch), sum(lengths[text] for text in batch), now - started)
            started = now
            on_event(pace.progress("embedding"))
            if len(vectors) >= KEPT_EVERY:
                keep()
    keep()
    return kept
