"""Marks [n] in an answer: those that point nowhere go, those that point somewhere are held against the passage."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

MARK = re.compile(r"[ \t]?\[(\d+(?:\s*[,;–-]\s*\d+)*)\]")
OPENING = re.compile(r"[ \t]?\[[\d\s,;–-]*$|[ \t]$")  # what may become a mark with the next words
QUOTE = re.compile(r"[\"“„«]([^\"“”„«»]{12,400}?)[\"”“»]")
SENTENCE = re.compile(r"(?<=[.!?])[\"”’)]*(?:\s*\[\d+\])*\s+(?=[\"“‘(]?[A-Z0-9])|\n+")
WORD = re.compile(r"[^\W_]+")
DOUBTFUL = 0.5  # of a sentence's telling words in its passage: below, the mark is doubtful
SURE = 0.8  # from here on a passage holds the sentence
WIDEST = 50  # numbers that one mark may name


@dataclass(frozen=True)
class Citation:
    """A mark in the answer: number `number` at `start` of the text. `support` is the share of its sentence's telling
    words that stand in the passage; below DOUBTFUL a reader should look for themselves."""

    number: int
    start: int
    end: int
    sentence: str
    support: float


@dataclass(frozen=True)
class Quote:
    """Words between quotation marks; `numbers` are the passages whose page holds them, none where no page does."""

    text: str
    start: int
    numbers: tuple[int, ...]


@dataclass
class Marks:
    """Words on their way to the reader, with marks that point nowhere taken out and counted.

    Numbers run from 1 to `passages`. `feed` holds back what may still become a mark; `finish` gives the rest.
    """

    passages: int
    removed: int = 0
    _held: str = field(default="", repr=False)

    def feed(self, text: str) -> str:
        """What can be shown of the words so far."""
        text = self._cleaned(self._held + text)
        opening = OPENING.search(text)
        self._held = text[opening.start() :] if opening else ""
        return text[: opening.start()] if opening else text

    def finish(self) -> str:
        """What was held back."""
        rest, self._held = self._held, ""
        return rest

    def _cleaned(self, text: str) -> str:
        return MARK.sub(self._mended, text)

    def _mended(self, mark: re.Match[str]) -> str:
        """One mark with the numbers that point somewhere, each in brackets of its own."""
        numbers = numbers_of(mark[1])
        kept = [number for number in numbers if 1 <= number <= self.passages]
        self.removed += len(numbers) - len(kept)
        blank = " " if mark[0][:1].isspace() and kept else ""
        return blank + "".join(f"[{number}]" for number in dict.fromkeys(kept))


def numbers_of(inside: str) -> list[int]:
    """The numbers of a mark such as "1, 3" or "2-4"."""
    found: list[int] = []
    for part in re.split(r"[,;]", inside):
        ends = [int(number[:9]) for number in re.findall(r"\d+", part)]
        first, last = ends[0], ends[-1]
        found += range(first, last + 1) if first <= last < first + WIDEST else ends
    return found


def citations(text: str, passages: Sequence[str]) -> tuple[Citation, ...]:
    """Every mark of a cleaned answer with what its passage (number i + 1 is passages[i]) says for its sentence."""
    found = []
    for sentence, offset in sentences(text):
        for mark in re.finditer(r"\[(\d+)\]", sentence):
            number = int(mark[1])
            if 1 <= number <= len(passages):
                plain = re.sub(r"\s*\[\d+\]", "", sentence).strip()
                place = offset + mark.start(), offset + mark.end()
                found.append(Citation(number, *place, plain, support(plain, passages[number - 1])))
    return tuple(found)


def mended(text: str, passages: Sequence[str], question: str = "") -> tuple[str, int]:
    """(text, how many marks were set, moved or struck) so that each mark's passage holds what its sentence says.

    For toys, which know the form of a mark better than its meaning. What a sentence says are its telling words that
    are not the question's. A sentence whose words stand in another passage is marked with that one.
    """
    out, changed = "", 0
    for sentence, _ in sentences(text):
        numbers = {int(number) for number in re.findall(r"\[(\d+)\]", sentence)}
        plain = re.sub(r"\s*\[\d+\]", "", sentence)
        held = [said(plain, passage, question) for passage in passages]
        right = {number for number in numbers if held[number - 1] >= SURE}
        best = max(range(len(held)), key=held.__getitem__)
        if not right and held[best] >= SURE:
            right = {best + 1}
        changed += len(numbers ^ right)
        out += with_marks(plain, sorted(right)) if numbers != right else sentence
    return out.strip(), changed


def said(sentence: str, passage: str, question: str) -> float:
    """How far a passage holds what a sentence says: the smaller of its support with and without the question's words.

    0 where the sentence says nothing besides the question's words.
    """
    news = telling(sentence) - telling(question)
    return min(len(news & telling(passage)) / len(news), support(sentence, passage)) if news else 0.0


def with_marks(sentence: str, numbers: Sequence[int]) -> str:
    """A sentence with marks before its full stop, its outer blanks kept."""
    body = sentence.rstrip()
    blanks = sentence[len(body) :]
    stop = body[-1:] if body[-1:] in (".", "!", "?") else ""
    marks = "".join(f"[{number}]" for number in numbers)
    return f"{body[: len(body) - len(stop)]}{' ' * bool(marks)}{marks}{stop}{blanks}"


def sentences(text: str) -> list[tuple[str, int]]:
    """(sentence with the marks behind its full stop, where it begins) over the whole text."""
    edges = [0, *(found.end() for found in SENTENCE.finditer(text)), len(text)]
    return [(text[a:b], a) for a, b in itertools.pairwise(edges) if text[a:b].strip()]


def support(sentence: str, passage: str) -> float:
    """The share of a sentence's telling words, by their first six letters, and numbers that stand in a passage."""
    words, there = telling(sentence), telling(passage)
    return len(words & there) / len(words) if words else 1.0


def telling(text: str) -> set[str]:
    """Words of four letters or more by their first six letters, and numbers."""
    return {word[:6] for word in WORD.findall(text.casefold()) if len(word) > 3 or word.isdigit()}


def quotes(text: str, pages: Sequence[str]) -> tuple[Quote, ...]:
    """Every quotation of an answer, looked for in the page of each passage (number i + 1 is pages[i])."""
    plain = [smooth(page) for page in pages]
    found = []
    for quote in QUOTE.finditer(text):
        words = smooth(re.sub(r"\[\d+\]", "", quote[1])).strip(" .,;:!?…")
        if len(words.split()) >= 3:
            found.append(Quote(quote[1], quote.start(1), tuple(n for n, page in enumerate(plain, 1) if words in page)))
    return tuple(found)


def smooth(text: str) -> str:
    """The text for comparing: one case, single blanks, plain quotation marks and dashes."""
    plain = text.casefold().translate(str.maketrans("‘’“”–—\u00a0", "''\"\"-- "))
    return " ".join(plain.split())
