"""What adding tells while it runs: events, and how long the rest will take, from tokens rather than files."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rag.types import FileReport

if TYPE_CHECKING:
    from rag.drafts import Draft
    from rag.store import Store

RATE = 3000.0  # tokens a second before anything was measured: a laptop's two cores
PER_PAGE = 350.0  # tokens of a page before any was read
START = 4.0  # seconds that loading the model takes


@dataclass(frozen=True)
class Progress:
    """How far adding is. `share` is in [0, 1]; `seconds_left` is None before anything was measured."""

    phase: str  # reading or embedding
    file: str
    files_read: int
    files_done: int
    files: int
    pages: int
    chunks_done: int
    chunks: int
    share: float
    seconds_left: float | None


@dataclass(frozen=True)
class FileDone:
    """A file is settled; where its state is added or changed, it is on the disk."""

    report: FileReport


@dataclass(frozen=True)
class Finished:
    """All files are settled."""

    reports: tuple[FileReport, ...]
    seconds: float


Event = Progress | FileDone | Finished


@dataclass
class Pace:
    """Counts what was read and embedded, and tells from it what is left."""

    tokens_a_second: float = RATE
    measured: bool = False
    expected_pages: int = 0
    files: int = 0
    files_read: int = 0
    files_done: int = 0
    pages: int = 0
    planned_pages_read: int = 0
    chunks: int = 0
    chunks_done: int = 0
    tokens: int = 0
    tokens_done: int = 0
    seconds: float = 0.0
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, store: Store, work: Sequence[FileReport] = ()) -> Pace:
        """With the speed that the store remembers from last time."""
        remembered = store.remembered("tokens_a_second")
        pages = sum(max(1, report.pages) for report in work)
        return cls(float(remembered or RATE), bool(remembered), expected_pages=pages, files=len(work))

    def estimate(self, reports: Sequence[FileReport]) -> float:
        """Seconds that reading and embedding the new and changed files will take, about."""
        pages = sum(max(1, report.pages) for report in reports if report.state in ("new", "changed"))
        return START + pages * PER_PAGE / self.tokens_a_second if pages else 0.0

    def read(self, draft: Draft) -> None:
        """A file was read and cut."""
        self.files_read += 1
        self.pages += len(draft.pages)
        self.planned_pages_read += max(1, draft.planned_pages)
        self.chunks += len(draft.chunks)
        self.tokens += sum(draft.tokens)

    def embedded(self, chunks: int, tokens: int, seconds: float) -> None:
        """A batch was embedded, or was known already (in no time)."""
        self.chunks_done += chunks
        self.tokens_done += tokens
        self.seconds += seconds
        if seconds and self.seconds > 1:
            self.tokens_a_second, self.measured = self.tokens_done / self.seconds, True

    def progress(self, phase: str, file: str = "") -> Progress:
        """The state of things as an event."""
        per_page = self.tokens / self.planned_pages_read if self.planned_pages_read else PER_PAGE
        unread = max(0, self.expected_pages - self.planned_pages_read) * per_page
        left = self.tokens - self.tokens_done + unread
        share = self.tokens_done / max(1.0, self.tokens_done + left)
        seconds = left / self.tokens_a_second if self.measured else None
        return Progress(
            phase, file, self.files_read, self.files_done, self.files, self.pages, self.chunks_done, self.chunks,
            min(1.0, share), seconds,
        )  # fmt: skip

    def keep(self, store: Store) -> None:
        """Remember the speed for the next plan."""
        if self.seconds > 1:
            store.remember("tokens_a_second", json.dumps(self.tokens_a_second))
