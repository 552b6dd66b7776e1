"""Takes furniture off pages, so that it can be seen and undone: what repeats, and what has the shape of a web page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rag.reading.letters import joined_lines, plain_letters, unhyphenated
from rag.reading.webpage import web_furniture
from rag.types import PAGE_BREAK, Page, Removed

EDGE = 3  # lines at the top and at the bottom of a page that may be a running head
OFTEN = 0.5  # of the pages
FEWEST = 3  # pages on which a line must stand to be one; of two pages it must be the first or last line of both
LONGEST_HEAD = 200  # characters
NUMBER = re.compile(r"\W*(page|p\.|seite|s\.)?\W*(\d{1,4}|[ivxl]{1,6})(\W*(of|/|von)\W*\d{1,4})?\W*", re.IGNORECASE)
POINT = re.compile(r"\s*[-*•‣·▪◦|]\s")  # begins a point of a list, or a row of a table


@dataclass(frozen=True)
class Cleaned:
    """The pages with their text cleaned and their place in the file's text, and what was taken away."""

    pages: tuple[Page, ...]
    removed: tuple[Removed, ...]

    @property
    def text(self) -> str:
        """The cleaned text of the file, in which offsets count."""
        return PAGE_BREAK.join(page.text for page in self.pages)


def cleaned(
    pages: Sequence[Page], kind: str, phrases: Sequence[str] = (), kept: Sequence[str] = (), furniture: bool = True
) -> Cleaned:
    """Clean the raw text of pages. Lines of `kept` stay whatever they look like; lines with one of `phrases` go.

    Letters are mended always; lines are removed only with `furniture`.
    """
    lines = [plain_letters(page.raw).split("\n") for page in pages]
    reasons: dict[tuple[int, int], str] = {}
    if furniture:
        if kind == "pdf":
            reasons |= running_heads(lines)
        reasons |= web_furniture(lines, reasons)
    reasons |= dict.fromkeys(with_phrases(lines, phrases), "phrase")
    stay = {masked(line) for line in kept}
    reasons = {(page, at): why for (page, at), why in reasons.items() if masked(lines[page][at]) not in stay}
    remaining = [
        [line for at, line in enumerate(found) if (page, at) not in reasons] for page, found in enumerate(lines)
    ]
    return Cleaned(placed(pages, rewritten(remaining, kind)), gathered(lines, reasons))


def rewritten(lines: Sequence[Sequence[str]], kind: str) -> list[str]:
    """Each page's remaining lines as text: words joined across lines, blank lines at most two in a row."""
    texts = ["\n".join(page) for page in lines]
    if kind == "pdf":
        texts = unhyphenated([joined_lines(text) for text in texts])
    texts = [re.sub(r"\n{4,}", "\n\n\n", re.sub(r"[ \t]+\n", "\n", text)).rstrip("\n") for text in texts]
    # two blank lines in front of a heading stay at the top of a page, so that chunks can begin there
    heads = ["\n\n" if at and text.startswith("\n\n") else "" for at, text in enumerate(texts)]
    return [head + text.lstrip("\n") for head, text in zip(heads, texts, strict=True)]


def placed(pages: Sequence[Page], texts: Sequence[str]) -> tuple[Page, ...]:
    """The pages with their texts, each with where it begins in the whole."""
    found, start = [], 0
    for page, text in zip(pages, texts, strict=True):
        found.append(replace(page, text=text, start=start))
        start += len(text) + len(PAGE_BREAK)
    return tuple(found)


def masked(line: str) -> str:
    """A line with its digits masked and its blanks single, so that page numbers and dates compare equal."""
    return re.sub(r"\d+", "#", " ".join(line.split())).casefold()


def wording(line: str) -> str:
    """What of a line must be the same on other pages for a running head: of a list's point or bare numbers, all."""
    return masked(line) if re.search(r"[^\W\d_]", line) and not POINT.match(line) else " ".join(line.split())


def running_heads(lines: Sequence[Sequence[str]]) -> dict[tuple[int, int], str]:
    """(page, line) of heads and feet that repeat, and of bare page numbers; with why."""
    edges = [edge_lines(page) for page in lines]
    pages_with: Counter[str] = Counter()
    for page, places in enumerate(edges):
        pages_with.update({wording(lines[page][at]) for at in places})
    filled = sum(bool(places) for places in edges)
    found = {}
    for page, places in enumerate(edges):
        for at in places:
            line = lines[page][at]
            times = pages_with[wording(line)]
            outer = at in (*places[:2], *places[-2:])
            if filled > 1 and outer and NUMBER.fullmatch(line.strip()):
                found[page, at] = "page number"
            elif len(line) <= LONGEST_HEAD and repeats(times, filled, at in (places[0], places[-1])):
                found[page, at] = "repeats"
    bare = sum(
        all((page, at) in found or not line.strip() for at, line in enumerate(one)) for page, one in enumerate(lines)
    )
    # where most pages would be bare, what repeats is the text: a form, a slide, a label
    return found if bare <= filled / 2 else {place: why for place, why in found.items() if why != "repeats"}


def edge_lines(page: Sequence[str]) -> list[int]:
    """Where the first and the last lines with text stand."""
    filled = [at for at, line in enumerate(page) if line.strip()]
    return filled if len(filled) <= 2 * EDGE else [*filled[:EDGE], *filled[-EDGE:]]


def repeats(times: int, pages: int, outermost: bool) -> bool:
    """Whether a line stands at the edge of so many pages that it is a running head."""
    if times >= FEWEST:
        return times >= OFTEN * pages
    return times == pages == 2 and outermost


def with_phrases(lines: Sequence[Sequence[str]], phrases: Sequence[str]) -> list[tuple[int, int]]:
    """(page, line) of the lines that hold one of the phrases, whatever the case."""
    wanted = [" ".join(phrase.split()).casefold() for phrase in phrases if phrase.strip()]
    return [
        (page, at)
        for page, found in enumerate(lines)
        for at, line in enumerate(found)
        if any(phrase in " ".join(line.split()).casefold() for phrase in wanted)
    ]


def gathered(lines: Sequence[Sequence[str]], reasons: dict[tuple[int, int], str]) -> tuple[Removed, ...]:
    """What was taken away, lines of one wording together, in the order of the pages."""
    found: dict[tuple[str, str], tuple[str, list[int]]] = {}
    for (page, at), why in sorted(reasons.items()):
        line = lines[page][at].strip()
        if line:
            found.setdefault((masked(line), why), (line, []))[1].append(page)
    return tuple(Removed(line, why, tuple(dict.fromkeys(pages))) for (_, why), (line, pages) in found.items())
