"""The links of an HTML page: where they lead, and the words that stand on them."""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import urldefrag, urljoin, urlsplit

MOST = 100  # links of one page that are looked at
LONGEST_WORDS = 120  # characters kept of the words on a link


@dataclass(frozen=True)
class Link:
    """A link: its whole address, without a fragment, and its words."""

    url: str
    words: str


class Reader(HTMLParser):
    """Gathers (href, words) of every anchor; the first base element counts."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.base = ""
        self.found: list[tuple[str, str]] = []
        self.href: str | None = None
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "base":
            self.base = self.base or given.get("href") or ""
        elif tag == "a":
            self.end_link()
            self.href = given.get("href")
        elif tag == "img" and self.href is not None:
            self.words.append(given.get("alt") or "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self.end_link()

    def handle_data(self, data: str) -> None:
        if self.href is not None:
            self.words.append(data)

    def end_link(self) -> None:
        """Keep the link that is open, if one is."""
        if self.href:
            self.found.append((self.href, " ".join(" ".join(self.words).split())[:LONGEST_WORDS]))
        self.href, self.words = None, []


def links_of(html: str, url: str) -> tuple[Link, ...]:
    """The links to other pages over http or https, each once, in the order of the page."""
    reader = Reader()
    reader.feed(html)
    reader.close()
    reader.end_link()
    here = urldefrag(url).url
    found: dict[str, Link] = {}
    for href, words in reader.found:
        try:
            target = urldefrag(urljoin(urljoin(url, reader.base), href.strip())).url
            fine = urlsplit(target).scheme in ("http", "https") and bool(urlsplit(target).hostname)
        except ValueError:
            continue
        if fine and target != here and (target not in found or not found[target].words):
            found[target] = Link(target, words)
    return tuple(found.values())[:MOST]


def same_site(one: str, other: str) -> bool:
    """Whether two addresses have the same scheme, host and port; "www." in front of a host does not count."""
    a, b = urlsplit(one), urlsplit(other)
    return (a.scheme, bare(a.netloc)) == (b.scheme, bare(b.netloc))


def bare(netloc: str) -> str:
    """Host and port without "www."."""
    return netloc.lower().removeprefix("www.")
