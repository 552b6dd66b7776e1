"""Between rows of store.sqlite and the types of rag."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from rag.types import Chunk, CollectionSettings, FileRecord, Page, Removed

FILE_COLUMNS = (
    "id, path, hash, bytes, kind, pages, chunks, tags, state, reason, added, empty, garbled, truncated, removed, kept, "
    "cleaned, source"
)
CHUNK_QUERY = (
    "SELECT c.id, f.path, c.file_id, f.tags, c.page, c.page_label, c.last_page, c.start, c.stop, c.text, c.number "
    "FROM chunks c JOIN files f ON f.id = c.file_id"
)


def record_from(row: Sequence[Any]) -> FileRecord:
    """A row of files as a record."""
    values = dict(zip((name.strip() for name in FILE_COLUMNS.split(",")), row, strict=True))
    values["tags"], values["kept"] = tuple(json.loads(values["tags"])), tuple(json.loads(values["kept"]))
    values["removed"] = tuple(Removed(line, why, tuple(pages)) for line, why, pages in json.loads(values["removed"]))
    values["cleaned"] = bool(values["cleaned"])
    return FileRecord(**values)


def record_values(record: FileRecord) -> tuple[Any, ...]:
    """The columns of a record behind its id."""
    values = {field.name: getattr(record, field.name) for field in dataclasses.fields(record) if field.name != "id"}
    values["tags"], values["kept"] = json.dumps(record.tags), json.dumps(record.kept)
    values["removed"] = json.dumps([[gone.line, gone.why, gone.pages] for gone in record.removed])
    return tuple(values[name.strip()] for name in FILE_COLUMNS.split(",")[1:])


def chunk_from(row: Sequence[Any]) -> Chunk:
    """A row of CHUNK_QUERY as a chunk."""
    one, file, file_id, tags, page, label, last_page, start, stop, text, number = row
    return Chunk(one, file, file_id, tuple(json.loads(tags)), page, label, last_page, start, stop, text, number)


def page_from(row: Sequence[Any]) -> Page:
    """A row (number, label, text, raw, start, fault) of pages."""
    return Page(*row)


def settings_from(text: str) -> CollectionSettings:
    """The settings of a collection; fields that this version does not know are left out."""
    known = {field.name for field in dataclasses.fields(CollectionSettings)}
    values = {name: value for name, value in json.loads(text).items() if name in known}
    return CollectionSettings(**{**values, **{name: tuple(values.get(name, ())) for name in ("phrases", "kept")}})


def chunk_id(path: str, text: str, occurrence: int) -> str:
    """An id made from content: the file's path, the text, and how often that text came before in the file."""
    return hashlib.sha256(f"{path}\0{occurrence}\0{text}".encode()).hexdigest()[:32]


def vector_key(text: str) -> str:
    """What names a text's vector in one collection, whose embedder never changes."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def many(connection: sqlite3.Connection, query: str, values: Sequence[Any], at_once: int = 900) -> list[Any]:
    """All rows of a query that ends in `IN ({})`, asked in portions."""
    rows: list[Any] = []
    for start in range(0, len(values), at_once):
        portion = values[start : start + at_once]
        rows += connection.execute(query.format(", ".join("?" * len(portion))), portion).fetchall()
    return rows
