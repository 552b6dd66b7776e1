"""Plans, reports and files of the Knowledge tab as HTML; every text from a file is escaped here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape

from engine.amounts import amount
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
    if shut := sum(report.encrypted for report in reports):
        told += f" {count(shut, 'file')} {'is' if shut == 1 else 'are'} locked with a password."
    rows = [
        f'<tr data-state="{escape(report.state)}"><th scope="row">{escape(report.file)}</th><td>{state(report)}</td>'
        f"<td>{amount(report.bytes)}</td><td>{escape(why(report))}</td></tr>"
        for report in reports
    ]
    return (
        f'<p class="plan-line">{told}{time}</p>{table(("File", "Plan", "Size", ""), rows, "plan")}{refusals(left_out)}'
    )


def state(report: FileReport) -> str:
    """A report's state in words."""
    shut = ", locked" if report.encrypted and report.state in ("new", "changed") else ""
    return escape(STATES.get(report.state, report.state)) + shut


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


def locks(names: Sequence[str], missing: Sequence[str]) -> str:
    """The locked files of a plan, and which of them still need their password."""
    if not names:
        return ""
    rows = [
        f'<tr data-state="{"encrypted" if name in missing else "added"}"><th scope="row">{escape(name)}</th>'
        f"<td>{'needs its password' if name in missing else 'opens with its password'}</td></tr>"
        for name in names
    ]
    return table(("Locked file", "Password"), rows, "locks")


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


def said(sentences: Sequence[str]) -> str:
    """What the index had to say, as notes."""
    return "".join(f'<p class="note">{escape(sentence)}</p>' for sentence in dict.fromkeys(sentences))


def offer(sentence: str) -> str:
    """What is wrong with a collection; the button beside it mends it."""
    return f'<p class="note" role="alert">{escape(sentence)}</p>'


def told(text: str) -> str:
    """A sentence that says what has been done."""
    return f'<p class="hint fine">{escape(text)}</p>' if text else ""
