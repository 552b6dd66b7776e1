"""Text, Markdown, HTML and CSV as pages of text."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from engine.acting import html_text
from engine.data.encodings import encoding_of
from rag.reading.kinds import Refused

Read = tuple[str, str]  # label, text
ROWS = 40  # of a table on what is cited as one page
ASIDE = frozenset({"nav", "footer", "aside", "form", "button"})  # parts of a web page that are no article
DECLARED = re.compile(rb"<meta[^>]{0,200}charset=[\"']?([\w-]{2,20})", re.IGNORECASE)


def decoded(path: Path) -> tuple[str, str]:
    """(the file's text, a note about its encoding)."""
    encoding, note = encoding_of(path)
    data = path.read_bytes()
    if found := DECLARED.search(data[:4096]):
        try:
            return data.decode(found.group(1).decode()), ""
        except (LookupError, UnicodeDecodeError):
            pass
    text = data.decode(encoding, "replace").removeprefix("\ufeff")
    return text.replace("\r\n", "\n").replace("\r", "\n"), note


def text_pages(path: Path) -> tuple[list[Read], str]:
    """The pages of a text, which form feeds part."""
    text, note = decoded(path)
    pages = text.split("\f")
    while len(pages) > 1 and not pages[-1].strip():
        pages.pop()
    return [(str(at + 1), page.strip("\n")) for at, page in enumerate(pages)], note


def markdown_pages(path: Path) -> tuple[list[Read], str]:
    """A Markdown file as one page, with two blank lines before every heading outside of code."""
    text, note = decoded(path)
    lines: list[str] = []
    fenced = False
    for line in text.split("\n"):
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        if not fenced and re.match(r"#{1,6} ", line):
            while lines and not lines[-1].strip():
                lines.pop()
            lines += ["", ""] if lines else []
        lines.append(line.rstrip())
    return [("1", "\n".join(lines).strip("\n"))], note


class Article(html_text.Reader):
    """A page's text without its navigation, forms and footers."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ASIDE:
            self.unread.append(tag)
        super().handle_starttag(tag, attrs)


def html_pages(path: Path) -> tuple[list[Read], str]:
    """The readable text of a web page; its title and headings begin with #."""
    markup, note = decoded(path)
    reader = Article()
    reader.feed(markup)
    reader.close()
    lines = [" ".join(line.split()) for line in "".join(reader.parts).split("\n")]
    title = " ".join("".join(reader.title).split())
    body = "\n\n".join(f"\n{line}" if line.startswith("#") else line for line in lines if line.strip("-# "))
    if title and title not in body[:300]:
        body = f"# {title}\n\n{body}"
    return [("1", body.strip("\n"))], note


def table_pages(path: Path) -> tuple[list[Read], str]:
    """A table's rows as lines `column: value; column: value`, forty to a page, whose label names the rows."""
    text, note = decoded(path)
    csv.field_size_limit(2**20)
    try:
        dialect: type[csv.Dialect] | csv.Dialect = csv.Sniffer().sniff(text[:8192], delimiters=",;\t|")
    except csv.Error:
        dialect = csv.excel
    try:
        return list(rows_in_pages(csv.reader(io.StringIO(text, newline=""), dialect))), note
    except csv.Error as error:
        raise Refused(f"The table cannot be read: {error}.") from None


def rows_in_pages(rows: Iterator[list[str]]) -> Iterator[Read]:
    """Pages of rows; the first row names the columns."""
    header = next(rows, [])
    lines: list[str] = []
    first, number = 1, 0
    for number, row in enumerate(rows, start=1):
        cells = [f"{name}: {value}" for name, value in zip(header, row, strict=False) if value.strip()]
        lines.append("; ".join(" ".join(cell.split()) for cell in cells))
        if len(lines) == ROWS:
            yield f"rows {first}–{number}", "\n".join(lines)
            lines, first = [], number + 1
    if lines or number == 0:
        yield (f"rows {first}–{number}", "\n".join(lines)) if number else ("1", "; ".join(header))
