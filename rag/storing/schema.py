"""The tables of store.sqlite, and how a connection to it is opened."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from engine.errors import Problem

FORMAT = 1
FILE = "store.sqlite"
PATIENCE = 30.0  # seconds that a writer waits for another one
SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE files (
    id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL UNIQUE, hash TEXT NOT NULL, bytes INTEGER NOT NULL,
    kind TEXT NOT NULL, pages INTEGER NOT NULL, chunks INTEGER NOT NULL, tags TEXT NOT NULL, state TEXT NOT NULL,
    reason TEXT NOT NULL, added REAL NOT NULL, empty INTEGER NOT NULL, garbled INTEGER NOT NULL,
    truncated INTEGER NOT NULL, removed TEXT NOT NULL, kept TEXT NOT NULL, cleaned INTEGER NOT NULL,
    source TEXT NOT NULL
);
CREATE INDEX files_by_hash ON files (hash);
CREATE TABLE pages (
    file_id INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE, number INTEGER NOT NULL, label TEXT NOT NULL,
    raw TEXT NOT NULL, text TEXT NOT NULL, start INTEGER NOT NULL, fault TEXT NOT NULL, PRIMARY KEY (file_id, number)
) WITHOUT ROWID;
CREATE TABLE vectors (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, vector BLOB NOT NULL);
CREATE TABLE chunks (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
    file_id INTEGER NOT NULL REFERENCES files (id), page INTEGER NOT NULL, page_label TEXT NOT NULL,
    last_page INTEGER NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL, text TEXT NOT NULL,
    vector INTEGER NOT NULL REFERENCES vectors (id)
);
CREATE INDEX chunks_by_file ON chunks (file_id);
CREATE INDEX chunks_by_vector ON chunks (vector);
CREATE TABLE changes (id TEXT PRIMARY KEY, version INTEGER NOT NULL, removed INTEGER NOT NULL);
CREATE INDEX changes_by_version ON changes (version);
CREATE VIRTUAL TABLE words USING fts5 (
    text, content = 'chunks', content_rowid = 'number', tokenize = 'porter unicode61 remove_diacritics 2'
);
"""


def connect(path: Path) -> sqlite3.Connection:
    """A connection in WAL mode that syncs on every commit and leaves no deleted text on the disk.

    Raises Problem where the file is damaged.
    """
    connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise Problem(
            f"The collection in {path.parent.name} cannot be opened: its file is damaged or locked ({error}). "
            "Import it from an export, or delete it and add the documents again."
        ) from None
    return connection


def create(path: Path) -> None:
    """A new store file without any content but its format."""
    connection = connect(path)
    try:
        connection.executescript(SCHEMA)
        connection.execute("INSERT INTO meta VALUES ('format', ?), ('version', '0')", (str(FORMAT),))
    finally:
        connection.close()


def check_format(connection: sqlite3.Connection, folder: Path) -> None:
    """Raise Problem unless the store is of a format known here."""
    try:
        row = connection.execute("SELECT value FROM meta WHERE name = 'format'").fetchone()
    except sqlite3.DatabaseError:
        row = None
    if row is None:
        raise Problem(f"The folder {folder.name} holds no collection that can be read. Delete it or import an export.")
    if int(row[0]) > FORMAT:
        raise Problem(f"The collection in {folder.name} was made by a newer version of Diptych. Update Diptych.")
