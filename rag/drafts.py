"""From a file to what will be stored of it: read, cleaned, cut. Runs in a thread ahead of the embedding."""

from __future__ import annotations

import queue
import shutil
import threading
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rag.chunks import split
from rag.cleaning import cleaned
from rag.documents import Document, Reader
from rag.embedders import Embedder
from rag.sources import Source
from rag.store import Store
from rag.types import Chunk, CollectionSettings, FileRecord, FileReport, Page

AHEAD = 8  # documents that are read before the embedding asks for them
GLANCE = 0.05  # seconds until a waiting embedder is told that nothing is ready
SCANNED = (
    "No text was found on {empty} of {pages} pages: they are pictures (a scan). Run them through OCR and add that."
)
GARBLED = "{garbled} of {pages} pages hold letters that stand for none (a broken font). Save the file again as PDF."


@dataclass(frozen=True)
class Draft:
    """One file ready to be embedded; `tokens` counts those of each chunk. Without a record it is only reported."""

    report: FileReport
    record: FileRecord | None = None
    pages: tuple[Page, ...] = ()
    chunks: tuple[Chunk, ...] = ()
    tokens: tuple[int, ...] = ()
    planned_pages: int = 0


def drafted(
    store: Store,
    work: Iterable[tuple[FileReport, Source, str]],
    model: Embedder,
    tags: Sequence[str],
    passwords: Sequence[str] | Mapping[str, str],
) -> Generator[Draft]:
    """A draft for each file of the work, read by one child process."""
    made = store.settings
    store.originals.mkdir(exist_ok=True)
    with Reader() as reader:
        for report, source, digest in work:
            tried = passwords_for(report.file, passwords)
            copy = store.originals / f".{digest}.part"
            document = reader.read(source.path, source.name, tried, copy)
            keep_original(document, source.path, copy, store.originals / f"{digest}.pdf")
            if document.state:
                locked = document.state == "encrypted"
                told = report.but(state=document.state, reason=document.reason, encrypted=locked)
                yield Draft(told, planned_pages=report.pages)
                continue
            size, earlier = source.path.stat().st_size, store.file(report.file)
            record = FileRecord(
                0, report.file, digest, size, document.kind, 0, 0, tags_for(source, earlier, tags),
                state=report.state, source=source.folder,
            )  # fmt: skip
            if earlier:
                record = replace(record, kept=earlier.kept, cleaned=earlier.cleaned)
            yield draft_of(document.pages, record, report, made, model, document)


def tags_for(source: Source, earlier: FileRecord | None, tags: Sequence[str]) -> tuple[str, ...]:
    """A file's tags: its folders', those it was given by hand before, and those that all files of this drop get."""
    folders = earlier.path.split("/")[:-1] if earlier else []
    by_hand = [tag for tag in earlier.tags if tag not in folders] if earlier else []
    return tuple(dict.fromkeys([*source.tags, *by_hand, *tags]))


def passwords_for(file: str, passwords: Sequence[str] | Mapping[str, str]) -> list[str]:
    """The passwords to try on a file."""
    if isinstance(passwords, Mapping):
        return [passwords[name] for name in (file, "") if passwords.get(name)]
    return list(passwords)


def keep_original(document: Document, source: Path, copy: Path, place: Path) -> None:
    """Keep a PDF that could be read, so that its pages can be drawn: the copy without a password, or as it is."""
    if document.kind == "pdf" and not document.state:
        if not copy.is_file():
            shutil.copyfile(source, copy)
        copy.replace(place)
    copy.unlink(missing_ok=True)


def draft_of(
    pages: Sequence[Page],
    record: FileRecord,
    report: FileReport,
    made: CollectionSettings,
    model: Embedder,
    document: Document | None = None,
) -> Draft:
    """Clean pages, cut them and say what is wrong with them."""
    usable = [replace(page, raw=page.raw if page.fault != "garbled" else "") for page in pages]
    stay = (*made.kept, *record.kept)
    clean = cleaned(usable, record.kind, made.phrases, stay, made.clean and record.cleaned)
    whole = tuple(replace(page, raw=before.raw) for page, before in zip(clean.pages, pages, strict=True))
    chunks = split(whole, model, made.chunk_tokens, made.overlap)
    faults = [page.fault for page in pages]
    empty, garbled, cut = (faults.count(fault) for fault in ("empty", "garbled", "truncated"))
    cut = max(cut, int(bool(document and document.lost)))
    reasons = [document.reason] if document and document.reason else []
    if empty and record.kind == "pdf":
        reasons.append(SCANNED.format(empty=empty, pages=len(pages)))
    if garbled:
        reasons.append(GARBLED.format(garbled=garbled, pages=len(pages)))
    if not chunks and not reasons:
        reasons.append("It holds no text.")
    reason = " ".join(reasons) if document else record.reason
    word = ("added" if report.state in ("new", "same") else report.state) if document else "added"
    record = replace(
        record, pages=len(whole), chunks=len(chunks), reason=reason, empty=empty, garbled=garbled,
        truncated=cut if document else record.truncated, removed=clean.removed,
        state=word if chunks else "empty",
    )  # fmt: skip
    done = report.but(
        state=record.state, pages=len(whole), chunks=len(chunks), reason=reason, empty=empty, garbled=garbled,
        truncated=record.truncated, removed=sum(len(one.pages) for one in clean.removed), encrypted=False,
    )  # fmt: skip
    counts = tuple(model.count_tokens(chunk.text) for chunk in chunks)
    return Draft(done, record, whole, tuple(chunks), counts, report.pages)


def in_background(drafts: Generator[Draft]) -> Generator[Draft | None]:
    """The drafts as a thread makes them ahead; None when none is ready yet. Closing it ends the thread."""
    ready: queue.Queue[Draft | BaseException | None] = queue.Queue(maxsize=AHEAD)
    ended = threading.Event()

    def put(item: Draft | BaseException | None) -> bool:
        while not ended.is_set():
            try:
                ready.put(item, timeout=GLANCE)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for draft in drafts:
                if not put(draft):
                    break
            put(None)
        except BaseException as error:
            put(error)
        finally:
            drafts.close()

    thread = threading.Thread(target=work, name="reading", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item = ready.get(timeout=GLANCE)
            except queue.Empty:
                yield None
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        ended.set()
        thread.join()
