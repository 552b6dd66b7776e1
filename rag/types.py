"""The few types of rag: a page, a chunk, a hit, and what is told about a file. All frozen."""

from __future__ import annotations

from dataclasses import dataclass, replace

PAGE_BREAK = "\n"  # stands between two pages in the cleaned text of a file; chunk offsets count it


@dataclass(frozen=True)
class Page:
    """One page. `index` counts from 0; `label` is what is printed on it (iv, A-3), else the number from 1.

    `text` is cleaned, `raw` is as it was read. `start` is where the page begins in the cleaned text of its file.
    `fault` is empty, "empty" (no text, as on a scan), "garbled" or "truncated".
    """

    index: int
    label: str
    text: str
    raw: str = ""
    start: int = 0
    fault: str = ""


@dataclass(frozen=True)
class Removed:
    """Lines of one wording that cleaning took away: an example as it was read, why, and the pages (from 0)."""

    line: str
    why: str
    pages: tuple[int, ...]


@dataclass(frozen=True)
class FileReport:
    """What is known of one file, in a plan or after adding.

    `file` is the path inside the added folder, with slashes. States of a plan: new, changed, same, moved, gone,
    refused. After adding: added, changed, same, moved, removed, refused, failed, encrypted, empty, cancelled.
    `empty`, `garbled` and `truncated` count pages; `chars` is what will be read, for the time estimate.
    """

    file: str
    state: str
    pages: int = 0
    chunks: int = 0
    reason: str = ""
    empty: int = 0
    garbled: int = 0
    encrypted: bool = False
    truncated: int = 0
    moved_from: str = ""
    removed: int = 0
    bytes: int = 0

    def but(self, **changes: object) -> FileReport:
        """The report with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class FileRecord:
    """One file as the store holds it. `hash` is SHA-256 of its bytes; `added` is seconds since 1970."""

    id: int
    path: str
    hash: str
    bytes: int
    kind: str
    pages: int
    chunks: int
    tags: tuple[str, ...] = ()
    state: str = "added"
    reason: str = ""
    added: float = 0.0
    empty: int = 0
    garbled: int = 0
    truncated: int = 0
    removed: tuple[Removed, ...] = ()
    kept: tuple[str, ...] = ()  # lines that a person put back
    cleaned: bool = True
    source: str = ""  # name of the folder or zip it came with; empty for single files


@dataclass(frozen=True)
class Chunk:
    """A passage. `start` and `end` are offsets in the cleaned text of its file, of which `text` is that very slice.

    `page` and `last_page` count from 0; `number` is its row in the store, ascending in the order of adding.
    """

    id: str
    file: str
    file_id: int
    tags: tuple[str, ...]
    page: int
    page_label: str
    last_page: int
    start: int
    end: int
    text: str
    number: int = 0

    @property
    def pages(self) -> str:
        """The page as people cite it: the printed label, and the count where that differs."""
        shown = f"page {self.page_label}"
        return shown if self.page_label == str(self.page + 1) else f"{shown} ({self.page + 1} in the file)"


@dataclass(frozen=True)
class Hit:
    """A chunk that was found, and why. Ranks count from 1; `also` holds near-duplicates collapsed into this one.

    `score` and `cosine` lie in [-1, 1]; `rerank` is a cross-encoder's score where one was used.
    """

    chunk: Chunk
    score: float
    rank: int
    vector_rank: int | None = None
    keyword_rank: int | None = None
    matched: tuple[str, ...] = ()
    cosine: float = 0.0
    rerank: float | None = None
    also: tuple[Chunk, ...] = ()


@dataclass(frozen=True)
class CollectionSettings:
    """What a collection was made with. `fingerprint` names the very weights; `dimension` is the vectors' length.

    `chunk_tokens` counts the special tokens that the embedding model adds. `phrases` are lines that a person wants
    removed from every page, `kept` lines that stay on every page whatever cleaning makes of them, `clean` switches the
    removal of repeated furniture.
    """

    name: str
    embedder: str = "all-MiniLM-L6-v2"
    fingerprint: str = ""
    dimension: int = 384
    chunk_tokens: int = 256
    overlap: int = 25
    query_prefix: str = ""
    owner: str = ""
    phrases: tuple[str, ...] = ()
    clean: bool = True
    kept: tuple[str, ...] = ()
