"""Plans, reports and files of the Knowledge tab as HTML; every text from a file is escaped here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape

from pages.render import count
from pages.words import duration
from rag.types import FileRecord, FileReport

STATES = {
    "new": "new", "changed": "changed", "same": "unchanged", "moved": "moved", "gone": "no longer in the folder",
    "added": "added", "removed": "removed", "refused": "refused", "failed": "failed", "encrypted": "needs a password",
    "empty": "no text", "cancelled": "not reached", "done": "done",
}  # fmt: skip
MOST_ROWS = 300  # of a table on the page; the figures above it always count everything


def table(heads: Sequence[str], rows: Sequence[str], kind: str) -> str:
    """A table that scrolls by itself where it is too wide; what is beyond MOST_ROWS is counted."""
    more = len(rows) - MOST_ROWS
    tail = f'<tr><td colspan="{len(heads)}">… and {more:,} more</td></tr>' if more > 0 else ""
    head = "".join(f'<th scope="col">{each}</th>' for each in heads)
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows[:MOST_ROWS])}{tail}</tbody>"
    return f'<div class="scroll"><table class="files {kind}">{body}</table></div>'


def states(reports: Sequence[FileReport]) -> str:
    """How many files are in which state, in words."""
    numbers = Counter(report.state for report in reports)
    return ", ".join(f"{numbers[state]:,} {STATES[state]}" for state in STATES if numbers[state])


def plan(reports: Sequence[FileReport], seconds: float, left_out: Sequence[str] = ()) -> str:
    """What Apply will do, before it is done."""
    if not reports:
        return '<p class="note">There is nothing to read in what was given.</p>' + refusals(left_out)
    work = [report for report in reports if report.state in ("new", "changed", "moved", "gone")]
    time = f" It takes about {duration(max(1.0, seconds))}." if work else ""
    told = f"{count(len(reports), 'file')}: {states(reports)}." if work else f"Nothing to do: {states(reports)}."
    rows = [
        f'<tr data-state="{escape(report.state)}"><th scope="row">{escape(report.file)}</th><td>{state(report)}</td>'
        f"<td>{size(report.bytes)}</td><td>{escape(why(report))}</td></tr>"
        for report in reports
    ]
    return (
        f'<p class="plan-line">{told}{time}</p>{table(("File", "Plan", "Size", ""), rows, "plan")}{refusals(left_out)}'
    )


def state(report: FileReport) -> str:
    """A report's state in words."""
    return escape(STATES.get(report.state, report.state))


def why(report: FileReport) -> str:
    """What there is to say about one file: the reason, where it moved from, pages that gave nothing."""
    parts = [report.reason.rstrip(".")] if report.reason else []
    if report.moved_from:
        parts.append(f"was {report.moved_from}")
    if report.encrypted and not report.reason:
        parts.append("encrypted: give its password below")
    for number, what in ((report.empty, "without text"), (report.garbled, "garbled"), (report.truncated, "cut off")):
        if number and not report.reason:
            parts.append(f"{count(number, 'page')} {what}")
    return ". ".join(parts) + "." * bool(parts)


def refusals(left_out: Sequence[str]) -> str:
    """Files that did not arrive, each with its sentence."""
    if not left_out:
        return ""
    items = "".join(f"<li>{escape(each)}</li>" for each in left_out)
    return f'<div class="note"><strong>{count(len(left_out), "file")} left out.</strong><ul>{items}</ul></div>'


def report(reports: Sequence[FileReport]) -> str:
    """What became of every file."""
    if not reports:
        return ""
    pages, chunks = sum(each.pages for each in reports), sum(each.chunks for each in reports)
    rows = [
        f'<tr data-state="{escape(each.state)}"><th scope="row">{escape(each.file)}</th><td>{state(each)}</td>'
        f"<td>{each.pages or ''}</td><td>{each.chunks or ''}</td><td>{each.removed or ''}</td>"
        f"<td>{escape(why(each))}</td></tr>"
        for each in sorted(reports, key=lambda each: each.file)
    ]
    line = f"{count(len(reports), 'file')}: {states(reports)}. {count(pages, 'page')}, {count(chunks, 'passage')}."
    return f'<p class="plan-line">{line}</p>' + table(
        ("File", "State", "Pages", "Passages", "Lines cleaned away", ""), rows, "report"
    )


def shelf(files: Sequence[FileRecord]) -> str:
    """The files of a collection."""
    if not files:
        return '<p class="quiet">No documents yet. Drop a folder above.</p>'
    rows = [
        f'<tr data-state="{escape(each.state)}"><th scope="row">{escape(each.path)}</th><td>{tags(each.tags)}</td>'
        f"<td>{each.pages or ''}</td><td>{each.chunks or ''}</td>"
        f"<td>{sum(len(line.pages) for line in each.removed) or ''}</td><td>{escape(each.reason)}</td></tr>"
        for each in files
    ]
    return table(("File", "Tags", "Pages", "Passages", "Lines cleaned away", ""), rows, "held")


def tags(names: Sequence[str]) -> str:
    """Tags as small labels."""
    return " ".join(f'<span class="tag">{escape(name)}</span>' for name in names)


def cleaned(file: FileRecord | None) -> str:
    """What cleaning took away from one file, line by line, with the pages it stood on."""
    if file is None:
        return '<p class="quiet">Choose a file to see what cleaning took away from it.</p>'
    if not file.cleaned:
        return '<p class="quiet">Cleaning is switched off for this file: it stands as it was read.</p>'
    if not file.removed:
        return '<p class="quiet">Cleaning took nothing away from this file.</p>'
    rows = [
        f"<tr><td><q>{escape(each.line)}</q></td><td>{escape(each.why)}</td><td>{pages_of(each.pages)}</td></tr>"
        for each in file.removed
    ]
    return table(("Line as it was read", "Why", "Pages"), rows, "removed")


def pages_of(pages: Sequence[int]) -> str:
    """Pages from 0 as people count them; many are shortened."""
    shown = ", ".join(str(page + 1) for page in pages[:12])
    return shown + (f" and {len(pages) - 12} more" if len(pages) > 12 else "")


def size(number: int) -> str:
    """Bytes in words."""
    return f"{number / 1e6:.1f} MB" if number >= 1e6 else f"{number / 1e3:.0f} kB" if number >= 1000 else f"{number} B"


def told(text: str) -> str:
    """A sentence that says what has been done."""
    return f'<p class="hint fine">{escape(text)}</p>' if text else ""
