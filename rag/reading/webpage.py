"""Finds what a site puts around an article that was printed; only where several signs say that the file is one."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

Place = tuple[int, int]  # page, line
MINUTES = r"\b\d{1,3}[ -]?min(?:ute)?s?\.? read\b"
BYLINE = re.compile(rf"[·•].*{MINUTES}|{MINUTES}.*[·•]|^{MINUTES}$", re.IGNORECASE)
DOMAIN = re.compile(
    r"(?:https?://)?(?:[a-z0-9-]+\.)+"
    r"(?:com|org|net|edu|gov|info|io|ai|dev|app|co|blog|news|me|tv|eu|uk|us|ca|au|in|de|at|ch|fr|nl|es|it|se)/?",
    re.IGNORECASE,
)
BARE_NUMBERS = re.compile(r"[\d.,]+[KM]?(?:\s+[\d.,]+[KM]?){0,3}")
# what stands on the buttons above an article, one or several to a line
BUTTONS = re.compile(
    r"(?:(?:open in app|search|write|sign (?:up|in)|log in|get started|member-only story|follow|listen|share|"
    r"subscribe|menu|skip to (?:main )?content)\s*)+",
    re.IGNORECASE,
)
# how the list of other articles behind one begins
BEHIND = re.compile(
    r"""(?i:more (?:from|by) (?:the list\b)?|written by |curated by |recommended (?:from|for) )["“]?(?=[A-Z:])|"""
    r"(?i:recommended (?:articles|reading)|related (?:articles|posts|stories)|read next|you (?:may|might) also like)"
)
LABEL = re.compile(r"[^\w|:]*\w[^|:]{0,40}: (?=\S)")
SENTENCE_END = re.compile(r"[.:!?][\"”’)\]]*$|[)\]]$")
PREVIEW_END = re.compile(r"[.:?\]]$|\([^() ]* [^()]*\)$")  # a single word in brackets may end a title
REFERENCE = re.compile(r"\[\d+\]|https?://|\d+\.\s")
LIST = re.compile(rf"(?:[-*+•‣–·▪◦]|\(?\w{{1,3}}[.)])\s+(?!{MINUTES})\S")
CODE = re.compile(r"[={};]|\w\(|^#|^\s{4}|^\t")
PROSE = 70  # characters: a longer line is a line of a paragraph
CARD = 5  # lines that the preview of a link has at most, in two blocks
TOP = 20  # lines within which the byline of a printed article stands
NEAR = 2  # lines after a byline in which counts of readers stand
FEW = 3  # lines: a longer list of other articles has a second byline or a second such beginning
SIGNS = 2  # kinds of furniture that must stand in a file besides the byline
SHARE, LEAST = 0.15, 250  # of a file's characters, and characters: where more looks like furniture, it is text


@dataclass(frozen=True)
class Sheet:
    """The lines with text of a file. Lines of one block have no blank line and no page break between them."""

    places: Sequence[Place]
    texts: Sequence[str]
    blocks: Sequence[Sequence[int]]
    heads: frozenset[int]  # two blank lines stand before them
    kept: frozenset[int]  # lists, tables, code and headings of Markdown, which are never furniture


def web_furniture(pages: Sequence[Sequence[str]], heads: Collection[Place] = ()) -> dict[Place, str]:
    """(page, line) of furniture with why; nothing in a file that is not surely a printed article.

    It is one if it has a byline such as "· 7 min read ·" near its top and furniture of two more kinds. `heads` are
    running heads and feet, which are passed over as if they did not stand there.
    """
    sheet = sheet_of(pages, heads)
    bylines = [at for at, text in enumerate(sheet.texts) if is_byline(text) and at not in sheet.kept]
    if not bylines or bylines[0] >= TOP:
        return {}
    buttons = [at for at in range(bylines[0]) if BUTTONS.fullmatch(sheet.texts[at])]
    numbers, rows, cards = list(counts(sheet, bylines[0])), list(link_rows(sheet)), list(link_cards(sheet))
    tail = list(tail_of(sheet, bylines[0]))
    if sum(map(bool, (buttons, numbers, rows, cards, tail))) < SIGNS:
        return {}
    shapes = {**dict.fromkeys(cards, "link preview"), **dict.fromkeys(rows, "row of links")}
    found = shapes if is_small(sheet, shapes) else {}
    found |= dict.fromkeys(bylines, "byline") | dict.fromkeys((*buttons, *numbers), "masthead")
    found |= dict.fromkeys(tail if is_small(sheet, tail) else (), "recommended")
    return {sheet.places[at]: why for at, why in found.items() if at not in sheet.kept}


def sheet_of(pages: Sequence[Sequence[str]], passed: Collection[Place] = ()) -> Sheet:
    """The lines with text, and what is known of each by the blank lines and fences around it."""
    places: list[Place] = []
    blocks: list[list[int]] = []
    heads, kept, fenced = set(), set(), False
    for page, lines in enumerate(pages):
        blanks, below = 0, False  # below a running head the page begins, however far below
        for at, line in enumerate(lines):
            if (page, at) in passed:
                blanks, below = 0, True
                continue
            if not line.strip():
                blanks += not below
                continue
            below = False
            number, fence = len(places), line.lstrip().startswith(("```", "~~~"))
            if fenced or fence or is_kept(line):
                kept.add(number)
            if blanks >= 2:
                heads.add(number)
            if blanks or not places or places[-1][0] != page:
                blocks.append([])
            blocks[-1].append(number)
            places.append((page, at))
            fenced, blanks = fenced != fence, 0
    texts = [pages[page][at].strip() for page, at in places]
    return Sheet(places, texts, blocks, frozenset(heads), frozenset(kept))


def is_kept(line: str) -> bool:
    """Whether a line is of a list, a table or code, or a heading of Markdown."""
    text = line.strip()
    return bool(LIST.match(text) or text.startswith("|") or CODE.search(line))


def is_byline(text: str) -> bool:
    """Whether a line says how many minutes an article takes, beside other facts or alone."""
    return len(text) <= PROSE + 30 and bool(BYLINE.search(text)) and not SENTENCE_END.search(text)


def is_small(sheet: Sheet, lines: Collection[int]) -> bool:
    """Whether these lines are a small part of the file's text."""
    size = sum(len(sheet.texts[at]) for at in lines)
    return size <= max(LEAST, SHARE * sum(map(len, sheet.texts)))


def counts(sheet: Sheet, byline: int) -> Iterator[int]:
    """The bare counts of readers behind the byline, up to the first sentence."""
    for at in range(byline + 1, min(len(sheet.texts), byline + 1 + NEAR)):
        if sentence(sheet.texts[at]):
            return
        if BARE_NUMBERS.fullmatch(sheet.texts[at]):
            yield at


def link_cards(sheet: Sheet) -> Iterator[int]:
    """The previews of links: a bare domain at the end of a block, below a title in the same or in two blocks before."""
    for number, block in enumerate(sheet.blocks):
        if DOMAIN.fullmatch(sheet.texts[block[-1]]):
            above = [block[:-1]] if len(block) > 1 else list(reversed(sheet.blocks[max(0, number - 2) : number]))
            lines = card(sheet, above)
            yield from [*lines, block[-1]] if lines else []


def card(sheet: Sheet, above: Sequence[Sequence[int]]) -> list[int]:
    """The lines of a preview in the blocks above its domain, the nearest first: whole blocks of short lines."""
    lines: list[int] = []
    for block in above:
        if len(lines) + len(block) > CARD or not all(is_preview(sheet, at) for at in block):
            break
        lines += block
    return lines


def is_preview(sheet: Sheet, at: int) -> bool:
    """Whether a line may be the title or the summary of a link."""
    text = sheet.texts[at]
    if len(text) > PROSE or at in sheet.kept or at in sheet.heads:
        return False
    return not (PREVIEW_END.search(text) or REFERENCE.match(text) or DOMAIN.fullmatch(text) or " | " in text)


def link_rows(sheet: Sheet) -> Iterator[int]:
    """Blocks of rows such as "Socials: YouTube | LinkedIn | Twitter", each with a label, and a line that goes on."""
    below = [*sheet.blocks[1:], []]
    for block, after in zip(sheet.blocks, below, strict=False):
        texts = [sheet.texts[at] for at in block]
        if any(map(is_row, texts)) and all(is_row(text) or is_labelled(text) for text in texts):
            yield from block
            if len(after) == 1 and is_row(f"More: {sheet.texts[after[0]]}"):
                yield after[0]


def is_labelled(text: str) -> bool:
    """Whether a line is a label and a short name: "Support: Buy me a coffee"."""
    return bool(LABEL.match(text)) and len(text) <= PROSE and not sentence(text)


def is_row(text: str) -> bool:
    """Whether a line is a label and a few short names between bars, each with a capital."""
    label = LABEL.match(text)
    names = text[label.end() :].rstrip(" |").split(" | ") if label else []
    titled = all(name[:1].isupper() and len(name) <= 50 and ":" not in name for name in names)
    return len(names) > 1 and titled and not re.search(r"[=(){}]", text)


def tail_of(sheet: Sheet, byline: int) -> Iterator[int]:
    """The list of other articles behind an article's last sentence or reference.

    It begins with words that say so, or, in whatever language, with the block of the first of several bylines.
    """
    end = len(sheet.texts)
    first, signs, bylines = end, 0, list[int]()
    for at in reversed(range(byline + 1, end)):
        text = sheet.texts[at]
        begins = bool(BEHIND.match(text))
        if at in sheet.kept or sentence(text) or len(text) > PROSE + 30:
            break
        first = at if begins else first
        signs += begins or is_byline(text)
        bylines += [at] if is_byline(text) else []
        if at in sheet.heads and not begins:
            break
    if len(bylines) > 1:
        first = min(first, next(block[0] for block in sheet.blocks if bylines[-1] in block))
    if signs > 1 or end - first <= FEW:
        yield from range(first, end)


def sentence(text: str) -> bool:
    """Whether a line ends a sentence or is a reference."""
    return bool(SENTENCE_END.search(text)) or bool(REFERENCE.match(text))
