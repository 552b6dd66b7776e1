"""The readable text of an HTML page: title, headings, paragraphs, and where its links lead."""

from __future__ import annotations

import re
from html.parser import HTMLParser

UNREAD = frozenset({"script", "style", "noscript", "template", "svg", "iframe", "object", "select", "head"})
VOID = frozenset({"br", "hr", "img", "input", "link", "meta", "area", "base", "col", "embed", "source", "wbr"})
BREAKING = frozenset({"address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "fieldset", "figure"})
BREAKING |= {"footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p"}
BREAKING |= {"pre", "section", "table", "td", "th", "tr", "ul"}
HEADING = re.compile(r"h[1-6]")


class Reader(HTMLParser):
    """Gathers text. Of what browsers do not show only the title is kept."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.title: list[str] = []
        self.unread: list[str] = []
        self.in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "title" and not self.title:
            self.in_title = True
        elif tag == "body":
            self.unread.clear()  # a head that was never closed ends here
        elif tag in UNREAD and tag not in VOID:
            self.unread.append(tag)
        if tag in BREAKING:
            self.parts.append("\n")
        if HEADING.fullmatch(tag):
            self.parts.append("#" * int(tag[1]) + " ")
        elif tag == "li":
            self.parts.append("- ")

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self.in_title = False
        elif tag in self.unread:
            del self.unread[self.unread.index(tag) :]
        if tag in BREAKING:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if self.in_title:
            self.title.append(data)
        elif not self.unread:
            self.parts.append(data.replace("\n", " "))


def text_of(html: str) -> str:
    """The text, one block a line, with the title first."""
    reader = Reader()
    reader.feed(html)
    reader.close()
    lines = (" ".join(line.split()) for line in "".join(reader.parts).split("\n"))
    body = "\n".join(line for line in lines if line.strip("-# "))
    title = " ".join("".join(reader.title).split())
    return f"{title}\n\n{body}" if title and body else title or body


def title_of(html: str) -> str:
    """The page's title; empty where it has none."""
    reader = Reader()
    reader.feed(html)
    reader.close()
    return " ".join("".join(reader.title).split())
