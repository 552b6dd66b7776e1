"""What can be changed in store.sqlite; every change is one transaction and is on the disk when it returns."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from engine.errors import Problem
from rag.storing.reading import Reads, refusal
from rag.storing.rows import CHUNK_QUERY, FILE_COLUMNS, chunk_from, chunk_id, record_values, vector_key
from rag.types import Chunk, CollectionSettings, FileRecord, Page

if TYPE_CHECKING:
    import numpy as np

LEFT_BEHIND = 3600.0  # seconds after which a PDF that belongs to no file was left by a killed process


class Writes(Reads):
    """The changes. Every one that touches chunks raises `version()`, from which the index catches up."""

    def save_settings(self, chosen: CollectionSettings) -> None:
        """Replace the settings; vectors and chunks stay as they are."""
        with self.writing(changed=False) as connection:
            save_settings(connection, chosen)

    def remember(self, name: str, value: str) -> None:
        """Keep a fact that is worth something to the next run, such as the speed of embedding."""
        with self.writing(changed=False) as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"fact.{name}", value))

    @contextlib.contextmanager
    def writing(self, changed: bool = True) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is on the disk afterwards, or nothing. Raises Problem where there is no room."""
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    if changed:
                        self._connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'version'")
                    yield self._connection
                    self._connection.execute("COMMIT")
                except BaseException:
                    with contextlib.suppress(sqlite3.Error):
                        self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.OperationalError as error:
                raise Problem(refusal(self.folder, error)) from error

    def put_vectors(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        """Keep the vectors of texts (texts, dimension), so that they need never be made again. Raises Problem."""
        if len(texts) and vectors.shape != (len(texts), self.settings.dimension):
            raise Problem(
                f"Vectors of shape {vectors.shape} do not fit this collection, which holds {self.settings.dimension} "
                "numbers each. Choose the embedding model it was made with, or re-index it."
            )
        with self.writing(changed=False) as connection:
            insert_vectors(connection, texts, vectors)

    def put_file(self, record: FileRecord, pages: Sequence[Page], chunks: Sequence[Chunk]) -> FileRecord:
        """Add a file, or replace the one of that path, with its pages and chunks, in one transaction.

        The vectors of the chunks' texts must be here (`put_vectors`). Ids and numbers of the chunks are given here.
        """
        with self.writing() as connection:
            keep = self._drop_file(connection, record.path)
            record = dataclasses.replace(record, pages=len(pages), chunks=len(chunks), added=time.time())
            names = FILE_COLUMNS if keep else FILE_COLUMNS.partition(", ")[2]
            values = (keep, *record_values(record)) if keep else record_values(record)
            holes = ", ".join("?" * len(values))
            cursor = connection.execute(f"INSERT INTO files ({names}) VALUES ({holes})", values)  # noqa: S608
            record = dataclasses.replace(record, id=int(cursor.lastrowid or 0))
            insert_pages(connection, record.id, pages)
            insert_chunks(connection, record, chunks)
        return record

    def move_file(self, file: int, path: str, tags: Sequence[str] | None = None, source: str = "") -> None:
        """Give a file another path; its chunks get new ids and keep their vectors."""
        record = self.file(file)
        if record is None:
            raise Problem("That file is no longer in the collection. Look again and repeat.")
        moved = dataclasses.replace(record, path=path, tags=record.tags if tags is None else tuple(tags))
        with self.writing() as connection:
            chunks = [
                chunk_from(row) for row in self._all(f"{CHUNK_QUERY} WHERE c.file_id = ? ORDER BY c.start", (file,))
            ]
            drop_chunks(connection, file)
            connection.execute(
                "UPDATE files SET path = ?, tags = ?, source = ? WHERE id = ?",
                (path, json.dumps(moved.tags), source or record.source, file),
            )
            insert_chunks(connection, moved, chunks)

    def set_tags(self, file: int, tags: Sequence[str]) -> None:
        """Replace a file's tags; its chunks count as changed, since they carry them."""
        with self.writing() as connection:
            connection.execute("UPDATE files SET tags = ? WHERE id = ?", (json.dumps(list(tags)), file))
            connection.execute(
                "INSERT OR REPLACE INTO changes SELECT id, (SELECT value FROM meta WHERE name = 'version'), 0 "
                "FROM chunks WHERE file_id = ?",
                (file,),
            )

    def remove_file(self, path: str) -> bool:
        """Take a file out, with its pages, chunks, vectors and kept original; False where it was not there."""
        record = self.file(path)
        if record is None:
            return False
        with self.writing() as connection:
            self._drop_file(connection, path)
            connection.execute("DELETE FROM vectors WHERE id NOT IN (SELECT vector FROM chunks)")
        self.forget_original(record.hash)
        return True

    def forget_original(self, digest: str) -> None:
        """Remove the kept PDF of a hash that no file has any more."""
        if not self._one("SELECT 1 FROM files WHERE hash = ?", (digest,)):
            (self.originals / f"{digest}.pdf").unlink(missing_ok=True)

    def replace_all(
        self,
        chosen: CollectionSettings,
        items: Sequence[tuple[FileRecord, Sequence[Page], Sequence[Chunk]]],
        texts: Sequence[str],
        vectors: np.ndarray,
    ) -> None:
        """Put other pages, chunks and vectors in the place of all there are, in one transaction, with new settings."""
        with self.writing() as connection:
            for row in connection.execute("SELECT id FROM files").fetchall():
                drop_chunks(connection, row[0])
            if chosen.fingerprint != self.settings.fingerprint:
                connection.execute("DELETE FROM vectors")
            insert_vectors(connection, texts, vectors)
            for record, pages, chunks in items:
                connection.execute("DELETE FROM pages WHERE file_id = ?", (record.id,))
                insert_pages(connection, record.id, pages)
                insert_chunks(connection, record, chunks)
                names = ", ".join(f"{name} = ?" for name in FILE_COLUMNS.split(", ")[1:])
                values = record_values(dataclasses.replace(record, chunks=len(chunks)))
                connection.execute(f"UPDATE files SET {names} WHERE id = ?", (*values, record.id))  # noqa: S608
            connection.execute("DELETE FROM vectors WHERE id NOT IN (SELECT vector FROM chunks)")
            save_settings(connection, chosen)

    def compact(self) -> None:
        """Give the room of what was removed back to the disk, and leave none of its words there."""
        with self._lock:
            self._connection.execute("DELETE FROM vectors WHERE id NOT IN (SELECT vector FROM chunks)")
            self._connection.execute("INSERT INTO words (words) VALUES ('rebuild')")
            self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        used = {f"{row[0]}.pdf" for row in self._all("SELECT hash FROM files")}
        for path in self.originals.glob("*") if self.originals.is_dir() else ():
            if path.name not in used and time.time() - path.stat().st_mtime > LEFT_BEHIND:
                path.unlink(missing_ok=True)

    def _drop_file(self, connection: sqlite3.Connection, path: str) -> int | None:
        """Remove a file's rows inside a transaction; its id, or None where it was not there."""
        row = connection.execute("SELECT id FROM files WHERE path = ?", (path,)).fetchone()
        if row is None:
            return None
        drop_chunks(connection, row[0])
        connection.execute("DELETE FROM pages WHERE file_id = ?", row)
        connection.execute("DELETE FROM files WHERE id = ?", row)
        return int(row[0])


def save_settings(connection: sqlite3.Connection, chosen: CollectionSettings) -> None:
    """Write the settings inside a transaction."""
    text = json.dumps(dataclasses.asdict(chosen), ensure_ascii=False)
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('settings', ?)", (text,))


def insert_vectors(connection: sqlite3.Connection, texts: Sequence[str], vectors: np.ndarray) -> None:
    """Write the vectors of texts inside a transaction; those that are there stay."""
    import numpy as np

    rows = [
        (vector_key(text), np.ascontiguousarray(vector, dtype=np.float32).tobytes())
        for text, vector in zip(texts, vectors, strict=True)
    ]
    connection.executemany("INSERT OR IGNORE INTO vectors (key, vector) VALUES (?, ?)", rows)


def insert_pages(connection: sqlite3.Connection, file: int, pages: Sequence[Page]) -> None:
    """Write a file's pages inside a transaction."""
    rows = [(file, one.index, one.label, one.raw, one.text, one.start, one.fault) for one in pages]
    connection.executemany("INSERT INTO pages VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


def insert_chunks(connection: sqlite3.Connection, record: FileRecord, chunks: Sequence[Chunk]) -> None:
    """Write chunks of a file inside a transaction, with ids from path and text, their words, and the change log."""
    seen: dict[str, int] = {}
    for chunk in chunks:
        seen[chunk.text] = occurrence = seen.get(chunk.text, -1) + 1
        one = chunk_id(record.path, chunk.text, occurrence)
        row = connection.execute("SELECT id FROM vectors WHERE key = ?", (vector_key(chunk.text),)).fetchone()
        if row is None:
            raise ValueError(f"no vector for a chunk of {record.path}")
        values = (one, record.id, chunk.page, chunk.page_label, chunk.last_page, chunk.start, chunk.end, chunk.text)
        cursor = connection.execute(
            "INSERT INTO chunks (id, file_id, page, page_label, last_page, start, stop, text, vector) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, row[0]),
        )
        connection.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (cursor.lastrowid, chunk.text))
        log_change(connection, one, removed=False)


def drop_chunks(connection: sqlite3.Connection, file: int) -> None:
    """Remove a file's chunks and their words inside a transaction; their vectors stay for the next ones."""
    for number, one, text in connection.execute(
        "SELECT number, id, text FROM chunks WHERE file_id = ?", (file,)
    ).fetchall():
        connection.execute("INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)", (number, text))
        log_change(connection, one, removed=True)
    connection.execute("DELETE FROM chunks WHERE file_id = ?", (file,))


def log_change(connection: sqlite3.Connection, one: str, removed: bool) -> None:
    """Note that a chunk came or went in the version that is being written."""
    connection.execute(
        "INSERT OR REPLACE INTO changes VALUES (?, (SELECT value FROM meta WHERE name = 'version'), ?)",
        (one, int(removed)),
    )
