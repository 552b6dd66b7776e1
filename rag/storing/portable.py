"""A collection as one zip file: plain JSON, one array of vectors and the kept PDFs. Nothing in it is ever run."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from engine.errors import Problem
from engine.messages import encodable
from rag.types import PAGE_BREAK, Chunk, CollectionSettings, FileRecord, Page, Removed

if TYPE_CHECKING:
    import numpy as np

    from rag.store import Store

FORMAT = 1
LARGEST = 4 * 2**30  # bytes that an export may unpack to
LONGEST_LINE = 64 * 2**20
DIGEST = re.compile(r"[0-9a-f]{64}")
STRANGE = "This file is no collection that Diptych exported, or it is damaged ({}). Export it again."


def export_to(store: Store, path: Path) -> Path:
    """Write the zip next to its place and move it there when it is whole."""
    import numpy as np

    part = path.with_name(f".{path.name}.part")
    made = dataclasses.asdict(dataclasses.replace(store.settings, owner=""))
    texts: dict[str, int] = {}
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("collection.json", json.dumps({"format": FORMAT, "settings": made}))
            with archive.open("files.jsonl", "w", force_zip64=True) as out:
                for record in store.files():
                    out.write(line_of(store, record, texts).encode() + b"\n")
            vectors = store.vectors_of(list(texts))
            with archive.open("vectors.npy", "w", force_zip64=True) as out:
                np.lib.format.write_array(out, vectors, allow_pickle=False)
            for digest in sorted({record.hash for record in store.files() if store.original(record.id)}):
                archive.write(store.originals / f"{digest}.pdf", f"files/{digest}.pdf")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def line_of(store: Store, record: FileRecord, texts: dict[str, int]) -> str:
    """One file as a line of JSON; texts get the numbers of their vectors."""
    pages = [[one.index, one.label, one.raw, one.text, one.fault] for one in store.pages(record.id)]
    chunks = [
        [one.page, one.page_label, one.last_page, one.start, one.end, texts.setdefault(one.text, len(texts))]
        for one in store.chunks_of(record.id)
    ]
    return json.dumps({"file": dataclasses.asdict(record), "pages": pages, "chunks": chunks})


def import_from(path: Path, name: str = "", owner: str = "") -> Store:
    """A new collection from an exported file. Everything is checked; what does not fit raises Problem."""
    from rag.store import Store

    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LARGEST:
                raise Problem(f"This file would unpack to more than {LARGEST // 2**30} GB and is not imported.")
            made = json.loads(archive.read("collection.json"))
            if made["format"] > FORMAT:
                raise Problem("This collection was exported by a newer version of Diptych. Update Diptych.")
            chosen = settings_of(made["settings"], name, owner)
            store = Store.create(chosen.name, chosen)
            try:
                fill(store, archive, chosen)
            except BaseException:
                store.delete()
                raise
            return store
    except OSError as error:
        raise Problem(f"{path.name} cannot be read: {error.strerror or error}.") from None
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, IndexError, EOFError, AttributeError) as error:
        raise Problem(STRANGE.format(type(error).__name__)) from None


def settings_of(values: dict[str, Any], name: str, owner: str) -> CollectionSettings:
    """The settings of an export under a name that is free."""
    known = {field.name for field in dataclasses.fields(CollectionSettings)}
    made = CollectionSettings(**{key: value for key, value in values.items() if key in known})
    if not re.fullmatch(r"[0-9a-f]{32}", made.fingerprint) or not 1 <= made.dimension <= 8192:
        raise ValueError("no fingerprint")
    phrases, kept = tuple(map(str, made.phrases)), tuple(map(str, made.kept))
    return dataclasses.replace(made, name=free_name(name or made.name), owner=owner, phrases=phrases, kept=kept)


def fill(store: Store, archive: zipfile.ZipFile, chosen: CollectionSettings) -> None:
    """Write what an export holds into a new store."""
    vectors = read_vectors(archive, chosen.dimension)
    names = set(archive.namelist())
    with archive.open("files.jsonl") as lines:
        for values in objects(lines):
            record, pages, chunks, numbers = parsed(values)
            store.put_vectors([chunk.text for chunk in chunks], vectors[numbers])
            store.put_file(record, pages, chunks)
            inside = f"files/{record.hash}.pdf"
            if inside in names:
                store.originals.mkdir(exist_ok=True)
                with archive.open(inside) as source, (store.originals / f"{record.hash}.pdf").open("wb") as out:
                    shutil.copyfileobj(source, out)


def objects(lines: IO[bytes]) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file of lines. Raises ValueError for a line beyond all measure."""
    while line := lines.readline(LONGEST_LINE):
        if len(line) >= LONGEST_LINE:
            raise ValueError("a line is too long")
        yield json.loads(line)


def read_vectors(archive: zipfile.ZipFile, dimension: int) -> np.ndarray:
    """The array of unit vectors, float32 of shape (texts, dimension)."""
    import numpy as np

    vectors = np.load(io.BytesIO(archive.read("vectors.npy")), allow_pickle=False)
    if vectors.dtype != np.float32 or vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise ValueError("vectors of another shape")
    if len(vectors) and not np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3):
        raise ValueError("vectors of another length")
    return vectors


def parsed(values: dict[str, Any]) -> tuple[FileRecord, list[Page], list[Chunk], list[int]]:
    """(record, pages, chunks, numbers of their vectors) of one line; offsets must fit the pages."""
    from rag.sources import clean_name

    known = {field.name for field in dataclasses.fields(FileRecord)}
    raw = {key: value for key, value in values["file"].items() if key in known}
    raw["removed"] = tuple(
        Removed(str(one["line"]), str(one["why"]), tuple(map(int, one["pages"]))) for one in raw.get("removed", ())
    )
    raw["tags"], raw["kept"] = tuple(map(str, raw.get("tags", ()))), tuple(map(str, raw.get("kept", ())))
    record = FileRecord(**{**raw, "path": clean_name(str(raw["path"])), "id": 0})
    if not DIGEST.fullmatch(record.hash):
        raise ValueError("no hash")
    pages, start = [], 0
    for index, label, read, cleaned, fault in values["pages"]:
        text = encodable(str(cleaned))
        pages.append(Page(int(index), str(label), text, encodable(str(read)), start, str(fault)))
        start += len(text) + len(PAGE_BREAK)
    whole = PAGE_BREAK.join(page.text for page in pages)
    chunks = [
        Chunk("", record.path, 0, record.tags, int(page), str(label), int(last), int(begin), int(end), whole[begin:end])
        for page, label, last, begin, end, _ in values["chunks"]
    ]
    if any(not 0 <= one.start < one.end <= len(whole) for one in chunks):
        raise ValueError("offsets beyond the text")
    numbers = [int(row[5]) for row in values["chunks"]]
    if any(number < 0 for number in numbers):
        raise ValueError("a vector of a negative number")
    return record, pages, chunks, numbers


def free_name(wanted: str) -> str:
    """The name, with a number behind it where a collection has it already, or where it is reserved."""
    from rag.store import Store
    from rag.storing.place import reserved

    name, number = wanted, 2
    while reserved(name) or Store.folder_of(name):
        name, number = f"{wanted} {number}", number + 1
    return name
