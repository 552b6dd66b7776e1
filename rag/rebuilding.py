"""Cuts and embeds a collection anew from its stored pages: other settings, another model, cleaning undone."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from engine.errors import Problem
from rag.adding import alone
from rag.drafts import Draft, draft_of
from rag.embedders import DEFAULT, Embedder, embedder
from rag.embedding import embed_drafts
from rag.indexing.looking import Look
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
        started = time.monotonic()
        with contextlib.closing(model.in_batches(texts)) as made:
            for some in made:
                if stop():
                    return False
                vectors.append(some)
                now = time.monotonic()
                pace.embedded(len(some), len(some), now - started)
                started = now
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
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Clean some files anew, or all: say which lines stay (`kept`), switch removal off or on. Only new texts are
    embedded. False where it was stopped; files that were done by then stay so."""
    made = store.settings
    model = embedder(made.embedder, made.query_prefix)
    store.check_embedder(model)
    with alone(store):
        files = []
        for record in store.files():
            if paths is None or record.path in paths:
                stay = record.kept if kept is None else distinct(kept)
                files.append(
                    dataclasses.replace(record, kept=stay, cleaned=record.cleaned if cleaned is None else cleaned)
                )
        drafts, pace = drafts_from_store(store, files, made, model), Pace.of(store)
        pace.files = len(drafts)
        for draft in drafts:
            pace.read(draft)
        embed_drafts(store, drafts, model, pace, lambda report: None, on_event, stop)
        return pace.files_done == len(drafts)


def distinct(lines: Sequence[str]) -> tuple[str, ...]:
    """The lines that hold something, each once."""
    return tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))


def set_phrases(
    store: Store,
    phrases: Sequence[str],
    on_event: Callable[[Event], None] = lambda event: None,
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Lines with one of these phrases are removed from all pages, now and later; fewer phrases put lines back."""
    store.save_settings(dataclasses.replace(store.settings, phrases=distinct(phrases)))
    return reclean(store, on_event=on_event, stop=stop)


def set_kept(
    store: Store,
    lines: Sequence[str],
    file: str = "",
    on_event: Callable[[Event], None] = lambda event: None,
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """These lines stay whatever cleaning makes of them: in one file, or without one in all, now and later.

    Fewer lines give those that are missing back to cleaning. Raises Problem where the file is gone.
    """
    if file:
        if store.file(file) is None:
            raise Problem(f"{file} is not in the collection any more. Look at the list of files.")
        return reclean(store, [file], lines, on_event=on_event, stop=stop)
    store.save_settings(dataclasses.replace(store.settings, kept=distinct(lines)))
    return reclean(store, on_event=on_event, stop=stop)


@dataclasses.dataclass(frozen=True)
class Trouble:
    """Why questions to a collection fail, or may; re-indexing it with `embedder` mends it."""

    sentence: str
    embedder: str


def trouble(store: Store) -> Trouble | None:
    """What is wrong between a collection and its embedding model; None where nothing is. Never asks the network."""
    made = store.settings
    model = embedder(made.embedder, made.query_prefix)
    if not model.here():
        sentence = (
            f"The embedding model of '{made.name}', {made.embedder}, is not on this machine. The next question tries "
            f"to fetch it from the Hub; re-indexed with {DEFAULT}, the collection needs no network."
        )
        return Trouble(sentence, DEFAULT) if made.embedder != DEFAULT else None
    try:
        store.check_embedder(model)
    except Problem:
        sentence = (
            f"'{made.name}' was made with another {made.embedder} than the one on this machine, so no question can "
            "be answered from it. Re-index it: every passage is embedded anew, and nothing else changes."
        )
        return Trouble(sentence, made.embedder)
    return None


def index_of(folder: Path) -> Look | None:
    """Whether the index of a collection's folder agrees with the store; None where the store cannot be read."""
    from rag.opened import looked_at

    with contextlib.suppress(Problem), Store(folder) as store:
        return looked_at(store)
    return None


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
