"""Lines that cleaning took away from a file, and lines that it was told to leave, as HTML with a button for each."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from pages.knowledge_render import table
from rag.types import FileRecord

# a click says which line, and what shall become of it
PICK = """element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-line]');
  if (button) trigger('select', { line: button.dataset.line, act: button.dataset.act });
});"""
WORDS = {
    "keep": "Put back", "keep everywhere": "In every file",
    "clean": "Clean away again", "clean everywhere": "Clean away again",
}  # fmt: skip


def cleaned(file: FileRecord | None, everywhere: Sequence[str] = (), owner: bool = False) -> str:
    """What cleaning took away from a file, with the pages it stood on, and what it was told to leave.

    `everywhere` are lines that stay in all files. Owners find buttons beside each line.
    """
    return taken(file, owner) + left(file, everywhere, owner)


def taken(file: FileRecord | None, owner: bool) -> str:
    """The lines that are gone."""
    if file is None:
        return '<p class="quiet">Choose a file to see what cleaning took away from it.</p>'
    if not file.cleaned:
        return '<p class="quiet">Cleaning is switched off for this file: it stands as it was read.</p>'
    if not file.removed:
        return '<p class="quiet">Cleaning took nothing away from this file.</p>'
    rows = [
        f"<tr><td><q>{escape(each.line)}</q></td><td>{escape(each.why)}</td><td>{pages_of(each.pages)}</td>"
        f"{buttons(each.line, ('keep', 'keep everywhere'), owner)}</tr>"
        for each in file.removed
    ]
    return table(("Line as it was read", "Why", "Pages", *["Put it back"] * owner), rows, "removed")


def left(file: FileRecord | None, everywhere: Sequence[str], owner: bool) -> str:
    """The lines that stay because a person put them back."""
    kept = [(line, "in this file", "clean") for line in (file.kept if file else ())]
    kept += [(line, "in every file", "clean everywhere") for line in everywhere]
    if not kept:
        return ""
    rows = [
        f"<tr><td><q>{escape(line)}</q></td><td>{where}</td>{buttons(line, (act,), owner)}</tr>"
        for line, where, act in kept
    ]
    return table(("Line that was put back", "Where", *[""] * owner), rows, "put-back")


def buttons(line: str, acts: Sequence[str], owner: bool) -> str:
    """A cell with a button for each act; none where the reader may not change the collection."""
    if not owner:
        return ""
    made = (
        f'<button type="button" class="line-act" data-act="{act}" data-line="{escape(line)}">{WORDS[act]}</button>'
        for act in acts
    )
    return f"<td>{' '.join(made)}</td>"


def pages_of(pages: Sequence[int]) -> str:
    """Pages from 0 as people count them; many are shortened."""
    shown = ", ".join(str(page + 1) for page in pages[:12])
    return shown + (f" and {len(pages) - 12} more" if len(pages) > 12 else "")
