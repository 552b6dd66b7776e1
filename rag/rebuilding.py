"""Cuts and embeds a collection anew from its stored pages: other settings, another model, cleaning undone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from engine.errors import Problem
from rag.adding import alone
from rag.drafts import Draft, draft_of
from rag.embedders import BATCH, Embedder, embedder
from rag.embedding import embed_drafts
from rag.progress import Event, Pace
from rag.store import Store
from rag.types import CollectionSettings, FileRecord, FileReport


def drafts_from_store(
    store: Store, files: Sequence[FileRecord], made: CollectionSettings, model: Embedder
) -> list[Draft]:
    """The files, cleaned and cut anew from their pages as they were read."""
    return [
        draft_of(store.pages(record.id), record, FileReport(record.path, "same", bytes=record.bytes), made, model)
        for record in files
    ]


def rebuild(
    store: Store,
    model_name: str | None = None,
    chunk_tokens: int | None = None,
    overlap: int | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Everything anew in one step at the end; False where it was stopped, and then nothing changed. Raises Problem."""
    import numpy as np

    old = store.settings
    model = embedder(model_name or old.embedder, old.query_prefix if not model_name else "")
    chosen = dataclasses.replace(
        old, embedder=model.name, fingerprint=model.fingerprint, dimension=model.dimension,
        query_prefix=model.query_prefix, chunk_tokens=chunk_tokens or old.chunk_tokens,
        overlap=old.overlap if overlap is None else overlap,
    )  # fmt: skip
    check_sizes(chosen)
    with alone(store):
        drafts = drafts_from_store(store, store.files(), chosen, model)
        texts = sorted({chunk.text for draft in drafts for chunk in draft.chunks}, key=len, reverse=True)
        known = store.known_vectors(texts) if chosen.fingerprint == old.fingerprint else set()
        texts = [text for text in texts if text not in known]
        pace = Pace(files=len(drafts), chunks=len(texts), tokens=len(texts), files_read=len(drafts))
        vectors = [np.zeros((0, model.dimension), dtype=np.float32)]
        for at in range(0, len(texts), BATCH):
            if stop():
                return False
            vectors.append(model.embed_passages(texts[at : at + BATCH]))
            pace.embedded(len(vectors[-1]), len(vectors[-1]), 0.0)
            on_event(pace.progress("embedding"))
        items = [(draft.record, draft.pages, draft.chunks) for draft in drafts if draft.record]
        store.replace_all(chosen, items, texts, np.concatenate(vectors))
    return True


def check_sizes(chosen: CollectionSettings) -> None:
    """Raise Problem for sizes that make no sense."""
    if not 32 <= chosen.chunk_tokens <= 8192:
        raise Problem(f"A chunk of {chosen.chunk_tokens} tokens makes no sense. Choose between 32 and 8192.")
    if not 0 <= chosen.overlap <= chosen.chunk_tokens // 2:
        raise Problem(f"An overlap of {chosen.overlap} tokens does not fit. Choose at most half a chunk.")


def reclean(
    store: Store,
    paths: Sequence[str] | None = None,
    kept: Sequence[str] | None = None,
    cleaned: bool | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
) -> None:
    """Clean some files anew, or all: put lines back (`kept`), switch removal off or on. Only new texts are embedded."""
    made = store.settings
    model = embedder(made.embedder, made.query_prefix)
    store.check_embedder(model)
    with alone(store):
        files = []
        for record in store.files():
            if paths is None or record.path in paths:
                more = tuple(dict.fromkeys([*record.kept, *kept])) if kept is not None else record.kept
                files.append(
                    dataclasses.replace(record, kept=more, cleaned=record.cleaned if cleaned is None else cleaned)
                )
        drafts = drafts_from_store(store, files, made, model)
        embed_drafts(store, drafts, model, Pace(files=len(files)), lambda report: None, on_event, lambda: False)


def set_phrases(store: Store, phrases: Sequence[str], on_event: Callable[[Event], None] = lambda event: None) -> None:
    """Lines with one of these phrases are removed from all pages, now and later; fewer phrases put lines back."""
    store.save_settings(dataclasses.replace(store.settings, phrases=tuple(one for one in phrases if one.strip())))
    reclean(store, on_event=on_event)


def faults(folder: Path) -> list[str]:
    """What is wrong with a collection's folder, in sentences: the file, the vectors, the model, the originals."""
    try:
        with Store(folder) as store:
            found, made = store.faults(), store.settings
            missing = [one.path for one in store.files() if one.kind == "pdf" and store.original(one.id) is None]
            if missing:
                found.append(f"The kept PDF of {len(missing)} files is gone, such as {missing[0]}. Add them again.")
            store.check_embedder(embedder(made.embedder, made.query_prefix))
            return found
    except Problem as problem:
        return [str(problem)]
