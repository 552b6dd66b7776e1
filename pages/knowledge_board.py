"""One question through several lanes of the engine: with and without the documents, base and tuned."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from engine.compare import CompareEvent, Comparison, Lane, LaneBegan, LaneEnded, LaneGrounded, LanePiece, LaneWaits
from pages.knowledge_sources import about_marks, about_quotes
from pages.knowledge_talk import Quarter
from pages.render import ENDS
from rag.answer import page_text
from rag.citing import quotes
from rag.collection import Asked
from rag.lane import checked

BEAT = 0.2  # seconds between two updates: for each widget the browser searches all of the page's, tab by tab


def cells(titles: Sequence[str], lanes: Sequence[Lane]) -> list[Quarter]:
    """Empty cells for lanes."""
    return [
        Quarter(title, lane.model.name, lane.passages is not None, line="waiting for its turn…")
        for title, lane in zip(titles, lanes, strict=True)
    ]


def answered(
    titles: Sequence[str], lanes: Sequence[Lane], question: str, stopping: threading.Event
) -> Iterator[list[Quarter]]:
    """The cells as they grow, beat by beat, until every lane has ended; closing it ends the lanes."""
    comparison = Comparison(lanes, question)
    now = cells(titles, lanes)
    try:
        while not comparison.done:
            if stopping.is_set():
                comparison.stop()
            began = time.monotonic()
            events = comparison.take(BEAT)
            if not comparison.done:
                time.sleep(max(0.0, BEAT - (time.monotonic() - began)))
                events += comparison.take(0)
            for event in events:
                if not isinstance(event, LaneWaits | LaneGrounded | LaneBegan | LanePiece | LaneEnded):
                    continue
                at = event.lane
                now = [*now[:at], changed(now[at], event, lanes[at], question), *now[at + 1 :]]
            yield now
    finally:
        comparison.stop()


def changed(cell: Quarter, event: CompareEvent, lane: Lane, question: str) -> Quarter:
    """A cell after an event of its lane."""
    match event:
        case LaneWaits():
            return replace(cell, line=f"{event.what}…")
        case LaneGrounded():
            return replace(cell, passages=len(event.passages), line="reading the passages…")
        case LaneBegan():
            return replace(cell, line="reading the prompt…")
        case LanePiece():
            return replace(cell, text=cell.text + event.text, line="answering…")
        case LaneEnded():
            return ended(cell, event, lane, question)
    return cell


def ended(cell: Quarter, event: LaneEnded, lane: Lane, question: str) -> Quarter:
    """A finished cell: marks that point nowhere are out, and what a careful reader should know stands below."""
    result = event.result
    line = f"{result.seconds:.1f} s · {ENDS.get(result.end, result.end)}"
    cell = replace(cell, text=result.text.strip(), running=False, error=result.error or "", line=line)
    if isinstance(lane.passages, Asked) and cell.passages:
        return held(cell, lane, lane.passages, question)
    return cell


def held(cell: Quarter, lane: Lane, documents: Asked, question: str) -> Quarter:
    """A finished cell with its marks and quotations held against the passages, as an answer of the talk is."""
    hits = documents.found[: cell.passages]
    found = checked(lane, cell.text, hits, question)
    pages = [page_text(documents.collection, hit) for hit in hits]
    notes = about_marks(found.doubtful, found.mended_marks, found.removed_marks) + about_quotes(
        quotes(found.text, pages)
    )
    return replace(cell, text=found.text, cited=found.cited, notes=tuple(notes))
