"""What stands under a lane that reads documents: the passages it read, which of them it cites, and what was mended."""

from __future__ import annotations

from html import escape

from pages.board import LaneView, Reading, Turn, collection
from pages.knowledge_sources import about_marks, brief
from pages.render import count
from rag import sample


def sources(view: LaneView) -> str:
    """The passages that the lane reads now or read last, each with file, page and score; empty where there are none."""
    newest, reading = view.ask or view.last, view.reading
    if newest is None or reading is None or not reading.hits:
        return ""
    cited = view.last.checked.cited if view.last and view.last.checked and not view.ask else ()
    rows = "".join(brief(hit, cited, passage.text) for hit, passage in zip(reading.hits, reading.passages, strict=True))
    name = collection(newest.lane)
    title = escape(sample.TITLE if name == sample.NAME else name)
    notes = "".join(f"<p>{escape(note)}</p>" for note in remarks(reading, view.last if not view.ask else None))
    return (
        f'<section class="lane-sources" aria-label="Sources"><p>{count(len(reading.hits), "passage")} of “{title}”</p>'
        f'<ol class="sources">{rows}</ol>{notes}</section>'
    )


def remarks(reading: Reading, turn: Turn | None) -> list[str]:
    """What a careful reader should know of a grounded answer, once it is whole."""
    said = []
    if turn and reading.question and reading.question != turn.prompt.strip():
        said.append(f"Searched for: {reading.question}")
    found = turn.checked if turn else None
    if found is None:
        return said
    if not found.cited and turn and turn.result.error is None:
        said.append("The answer cites none of them.")
    return [*said, *about_marks(found.doubtful, found.mended_marks, found.removed_marks)]
