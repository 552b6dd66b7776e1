"""Finds what a site puts around an article that was printed: by its shape, not by its words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

Place = tuple[int, int]  # page, line
MINUTES = re.compile(r"\b\d{1,3}\s*(?:min|minutes?)\b.{0,5}\bread\b|\bmin(?:utes?)? read\b", re.IGNORECASE)
MONTH = r"[A-Z][a-z]{2,8}\.?"
NUMERIC = r"\d{1,2}[/.]\d{1,2}[/.]\d{2,4}|\d{4}-\d\d-\d\d"
DATE = rf"(?:{NUMERIC}|{MONTH} \d{{1,2}}(?:, \d{{4}})?|\d{{1,2}} {MONTH} \d{{4}})"
BYLINE = re.compile(rf"·.*(?:{DATE}|{MINUTES.pattern})|{MINUTES.pattern}.*·|^{MINUTES.pattern}$")
DOMAIN = re.compile(r"(?:https?://)?(?:[a-z0-9-]+\.)+[a-z]{2,12}/?", re.IGNORECASE)
BARE_NUMBERS = re.compile(r"[\d.,]+[KM]?(?:\s+[\d.,]+[KM]?){0,3}")
SENTENCE_END = re.compile(r"[.:!?][\"”’)\]]*$|[)\]]$")
REFERENCE = re.compile(r"\[\d+\]|https?://|\d+\.\s")
PROSE = 70  # characters: a longer line is a line of a paragraph
CARD = 5  # lines that the preview of a link has at most
KICKER = 6  # lines that may stand above a title
NEAR = 4  # lines after a byline in which counts of readers stand


def web_furniture(pages: Sequence[Sequence[str]]) -> dict[Place, str]:
    """(page, line) of furniture with why; nothing in a file that has no byline such as "· 7 min read ·"."""
    lines = [(page, at, line) for page, found in enumerate(pages) for at, line in enumerate(found) if line.strip()]
    texts = [line.strip() for _, _, line in lines]
    bylines = [at for at, text in enumerate(texts) if BYLINE.search(text) and len(text) <= 2 * PROSE]
    if not bylines:
        return {}
    heads = headings(pages, lines)
    found: dict[int, str] = {}
    for at in reversed(range(len(texts))):
        found |= dict.fromkeys(link_card(texts, at), "link preview")
        found |= dict.fromkeys(link_row(texts, at, heads), "row of links")
    found |= dict.fromkeys(bylines, "byline")
    found |= dict.fromkeys(masthead(texts, bylines[0], min(heads, default=0)), "masthead")
    found |= dict.fromkeys(tail_of(texts, bylines), "recommended")
    return {lines[at][:2]: why for at, why in found.items()}


def headings(pages: Sequence[Sequence[str]], lines: Sequence[tuple[int, int, str]]) -> set[int]:
    """Which lines are headings: two blank lines stand before them, or they begin with #."""

    def is_heading(page: int, at: int, line: str) -> bool:
        above = pages[page][max(0, at - 2) : at]
        return line.startswith("#") or (len(above) == 2 and not any(one.strip() for one in above))

    return {number for number, line in enumerate(lines) if is_heading(*line)}


def masthead(texts: Sequence[str], byline: int, first: int) -> Iterator[int]:
    """What stands above the title, and the bare counts around the byline."""
    if first <= KICKER and first < byline:
        yield from (at for at in range(first) if not sentence(texts[at]))
    yield from (at for at in range(byline, min(len(texts), byline + NEAR)) if BARE_NUMBERS.fullmatch(texts[at]))


def link_card(texts: Sequence[str], at: int) -> Iterator[int]:
    """The preview of a link: a bare domain, and the short lines above it up to the end of a paragraph."""
    if not DOMAIN.fullmatch(texts[at]):
        return
    yield at
    for before in range(at - 1, max(-1, at - 1 - CARD), -1):
        text = texts[before]
        if re.search(r"[.:?)\]]$", text) or len(text) > PROSE or REFERENCE.match(text) or DOMAIN.fullmatch(text):
            return
        yield before


def link_row(texts: Sequence[str], at: int, heads: set[int]) -> Iterator[int]:
    """A row such as "YouTube | LinkedIn | Twitter", with its short neighbours that are no sentences."""
    if not is_row(texts[at]):
        return
    yield at
    for step in (-1, 1):
        for near in (at + step, at + 2 * step):
            if not 0 <= near < len(texts) or near in heads or sentence(texts[near]) or len(texts[near]) > PROSE:
                break
            yield near


def is_row(text: str) -> bool:
    """Whether a line is nothing but a few short names between bars."""
    names = text.split(" | ")
    return (
        (len(names) > 1 or text.endswith(" |")) and not re.search(r"[=(){}]", text) and len(max(names, key=len)) <= 50
    )


def tail_of(texts: Sequence[str], bylines: Sequence[int]) -> Iterator[int]:
    """The short lines behind the article's last sentence or reference: tags, profile, recommended articles."""
    first = bylines[0]
    for at in range(len(texts) - 1, first, -1):
        if sentence(texts[at]) or len(texts[at]) > PROSE + 30:
            return
        yield at


def sentence(text: str) -> bool:
    """Whether a line ends a sentence or is a reference."""
    return (bool(SENTENCE_END.search(text)) and not BYLINE.search(text)) or bool(REFERENCE.match(text))
