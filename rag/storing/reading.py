"""What can be asked of store.sqlite: settings, files, pages, chunks, vectors, words."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import Problem
from rag.storing import schema
from rag.storing.filters import Where, condition, match_expression
from rag.storing.rows import (
    CHUNK_QUERY,
    FILE_COLUMNS,
    chunk_from,
    many,
    page_from,
    record_from,
    settings_from,
    vector_key,
)
from rag.types import PAGE_BREAK, Chunk, CollectionSettings, FileRecord, Page

if TYPE_CHECKING:
    import numpy as np

OPEN, CLOSE = "\x02", "\x03"  # stand around matched words while they are gathered


class Reads:
    """The questions. Threads may share it: one connection, one lock."""

    def __init__(self, folder: Path):
        if not (folder / schema.FILE).is_file():
            raise Problem(f"There is no collection in {folder.name}. It may have been deleted.")
        self.folder = folder
        self._lock = threading.RLock()
        self._connection = schema.connect(folder / schema.FILE)
        try:
            schema.check_format(self._connection, folder)
        except BaseException:
            self._connection.close()
            raise

    @property
    def settings(self) -> CollectionSettings:
        """What the collection was made with, read from the file each time."""
        row = self._one("SELECT value FROM meta WHERE name = 'settings'")
        return settings_from(row[0] if row else '{"name": "?"}')

    def remembered(self, name: str) -> str:
        """What `remember` kept; empty where nothing was."""
        row = self._one("SELECT value FROM meta WHERE name = ?", (f"fact.{name}",))
        return str(row[0]) if row else ""

    def files(self) -> list[FileRecord]:
        """Every file, by path."""
        return [record_from(row) for row in self._all(f"SELECT {FILE_COLUMNS} FROM files ORDER BY path")]  # noqa: S608

    def file(self, which: str | int) -> FileRecord | None:
        """The file of that path or id."""
        column = "id" if isinstance(which, int) else "path"
        row = self._one(f"SELECT {FILE_COLUMNS} FROM files WHERE {column} = ?", (which,))  # noqa: S608
        return record_from(row) if row else None

    def chunks(self, ids: Sequence[str] | None = None) -> list[Chunk]:
        """All chunks by number, or those of some ids in the order asked; unknown ids are left out."""
        if ids is None:
            return [chunk_from(row) for row in self._all(f"{CHUNK_QUERY} ORDER BY c.number")]
        with self._lock:
            rows = many(self._connection, f"{CHUNK_QUERY} WHERE c.id IN ({{}})", list(dict.fromkeys(ids)))
        found = {row[0]: chunk_from(row) for row in rows}
        return [found[one] for one in ids if one in found]

    def chunk(self, one: str) -> Chunk | None:
        """The chunk of that id."""
        return next(iter(self.chunks([one])), None)

    def chunks_of(self, file: str | int) -> list[Chunk]:
        """The chunks of one file, in their order."""
        column = "f.id" if isinstance(file, int) else "f.path"
        return [chunk_from(row) for row in self._all(f"{CHUNK_QUERY} WHERE {column} = ? ORDER BY c.start", (file,))]

    def count(self, where: Where | None = None) -> int:
        """How many chunks there are, or how many a filter lets through."""
        if not where:
            return int(self._one("SELECT COUNT(*) FROM chunks")[0])
        return len(self.matching(where))

    def matching(self, where: Where | None) -> list[str]:
        """The ids of the chunks that a filter lets through, by number."""
        sql, values = condition(where)
        query = f"SELECT c.id FROM chunks c JOIN files f ON f.id = c.file_id {f'WHERE {sql}' if sql else ''}"  # noqa: S608
        return [row[0] for row in self._all(f"{query} ORDER BY c.number", values)]

    def tags(self) -> list[str]:
        """Every tag in use, sorted."""
        return [row[0] for row in self._all("SELECT DISTINCT value FROM files, json_each(tags) ORDER BY value")]

    def vectors(self, ids: Sequence[str] | None = None) -> tuple[list[str], np.ndarray]:
        """(chunk ids by number, their unit vectors as float32 of shape (chunks, dimension))."""
        import numpy as np

        query = "SELECT c.id, v.vector, c.number FROM chunks c JOIN vectors v ON v.id = c.vector"
        with self._lock:
            if ids is None:
                rows = self._connection.execute(f"{query} ORDER BY c.number").fetchall()
            else:
                rows = sorted(
                    many(self._connection, f"{query} WHERE c.id IN ({{}})", list(ids)), key=lambda row: row[2]
                )
        flat = np.frombuffer(b"".join(row[1] for row in rows), dtype=np.float32)
        return [row[0] for row in rows], flat.reshape(len(rows), -1 if rows else self.settings.dimension)

    def page(self, file: str | int, index: int) -> Page | None:
        """One page of a file, cleaned and as it was read."""
        return next(iter(self.pages(file, index)), None)

    def pages(self, file: str | int, index: int | None = None) -> list[Page]:
        """The pages of a file in order, or the one of that index."""
        record = self.file(file)
        if record is None:
            return []
        one, values = ("", [record.id]) if index is None else ("AND number = ?", [record.id, index])
        query = f"SELECT number, label, text, raw, start, fault FROM pages WHERE file_id = ? {one} ORDER BY number"  # noqa: S608
        return [page_from(row) for row in self._all(query, values)]

    def text(self, file: str | int) -> str:
        """The whole cleaned text of a file, in which the offsets of its chunks count."""
        return PAGE_BREAK.join(page.text for page in self.pages(file))

    def original(self, file: str | int) -> Path | None:
        """The kept copy of a PDF (without its password), from which a page can be drawn; None for other kinds."""
        record = self.file(file)
        path = self.originals / f"{record.hash}.pdf" if record and record.kind == "pdf" else None
        return path if path and path.is_file() else None

    @property
    def originals(self) -> Path:
        """Where copies of PDFs lie."""
        return self.folder / "files"

    def version(self) -> int:
        """A number that rises with every committed change of chunks."""
        return int(self._one("SELECT value FROM meta WHERE name = 'version'")[0])

    def changes(self, since: int = 0) -> tuple[list[str], list[str]]:
        """(chunk ids to upsert, chunk ids to remove) that bring an index of version `since` up to date."""
        rows = self._all("SELECT id, removed FROM changes WHERE version > ? ORDER BY version, rowid", (since,))
        return [one for one, removed in rows if not removed], [one for one, removed in rows if removed]

    def keyword_search(
        self, query: str, k: int = 10, where: Where | None = None
    ) -> list[tuple[str, float, tuple[str, ...]]]:
        """(chunk id, BM25 score, matched words as they stand there), best first; words count by their stem.

        The score is FTS5's bm25() with its sign turned, k1 = 1.2 and b = 0.75; more is better.
        """
        words = match_expression(query)
        if not words or k < 1:
            return []
        sql, values = condition(where)
        found = self._all(
            "SELECT c.id, -bm25(words), highlight(words, 0, ?, ?) FROM words "  # noqa: S608
            "JOIN chunks c ON c.number = words.rowid JOIN files f ON f.id = c.file_id "
            f"WHERE words MATCH ? {f'AND {sql}' if sql else ''} ORDER BY bm25(words), c.number LIMIT ?",
            [OPEN, CLOSE, words, *values, k],
        )
        return [(one, score, marked(text)) for one, score, text in found]

    def known_vectors(self, texts: Sequence[str]) -> set[str]:
        """Those of the texts whose vector is here already."""
        keys = {vector_key(text): text for text in texts}
        with self._lock:
            rows = many(self._connection, "SELECT key FROM vectors WHERE key IN ({})", list(keys))
        return {keys[row[0]] for row in rows}

    def vectors_of(self, texts: Sequence[str]) -> np.ndarray:
        """The vectors of texts that are here, float32 of shape (texts, dimension), in their order."""
        import numpy as np

        keys = [vector_key(text) for text in texts]
        with self._lock:
            rows = many(
                self._connection, "SELECT key, vector FROM vectors WHERE key IN ({})", list(dict.fromkeys(keys))
            )
        found = dict(rows)
        flat = np.frombuffer(b"".join(found[key] for key in keys), dtype=np.float32)
        return flat.reshape(len(keys), self.settings.dimension)

    def faults(self) -> list[str]:
        """What is wrong with the file, in sentences; empty when it is sound."""
        found = [f"SQLite says: {row[0]}." for row in self._all("PRAGMA integrity_check(5)") if row[0] != "ok"]
        for record in self.files():
            if record.chunks != self._one("SELECT COUNT(*) FROM chunks WHERE file_id = ?", (record.id,))[0]:
                found.append(f"{record.path} has not as many chunks as were written. Add it again.")
        size = self.settings.dimension * 4
        wrong = self._one("SELECT COUNT(*) FROM vectors WHERE length(vector) != ?", (size,))[0]
        return found + ([f"{wrong} vectors have a wrong length. Rebuild the collection."] if wrong else [])

    def _all(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock:
            try:
                return self._connection.execute(query, values).fetchall()
            except sqlite3.DatabaseError as error:
                raise Problem(refusal(self.folder, error)) from error

    def _one(self, query: str, values: Sequence[Any] = ()) -> Any:
        return next(iter(self._all(query, values)), None)


def marked(text: str) -> tuple[str, ...]:
    """The different words between the marks of highlight(), in lower case."""
    pieces = text.split(OPEN)[1:]
    return tuple(dict.fromkeys(piece.split(CLOSE)[0].lower() for piece in pieces))


def refusal(folder: Path, error: sqlite3.Error) -> str:
    """What SQLite's complaint means, and what to do."""
    text = str(error)
    if "locked" in text:
        return f"Another process is writing to the collection in {folder.name}. Wait until it is done and repeat."
    if "full" in text:
        return "The disk is full. Make room and add again; what was added is kept."
    return f"The collection in {folder.name} cannot be read or written ({text}). Run `python -m rag check` on it."
