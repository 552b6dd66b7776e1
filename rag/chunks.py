"""Cuts a file's cleaned text into chunks by the embedding model's own tokens: at headings, paragraphs, sentences."""

from __future__ import annotations

import bisect
import functools
from collections.abc import Callable, Iterator, Sequence

from rag.embedders import Embedder
from rag.types import PAGE_BREAK, Chunk, Page

# where to cut, best first: before headings (two blank lines), paragraphs, sentences, lines, clauses, words
SEPARATORS = [
    r"\n\n\n+", r"\n\n", r"(?<=[.!?])\s+|(?<=[.!?][\"”’)])\s+|(?<=[。！？])", r"\n", r"(?<=[;,:])\s+", r"\s+",
]  # fmt: skip
LETTERS = 12  # characters that count as one token at least: a word beyond 100 letters is one unknown token to MiniLM
FEW = 32  # tokens: a shorter chunk joins its neighbour where both fit
SPARE = 8  # tokens that a cut inside a word may add


def split(pages: Sequence[Page], model: Embedder, tokens: int = 256, overlap: int = 25) -> list[Chunk]:
    """The chunks of one file, in order; each is a slice of the pages' texts joined by PAGE_BREAK.

    `tokens` counts the special tokens too and is lowered to what the model reads. `overlap` is repeated at most,
    in whole sentences or lines.
    """
    text = PAGE_BREAK.join(page.text for page in pages)
    limit = max(2 * SPARE, min(tokens, model.max_tokens) - model.special_tokens)
    size = sizes(model)
    spans = joined(
        whole(text, pieces(text, limit, min(overlap, limit // 2), size), limit, model, size), text, limit, size
    )
    starts = [page.start for page in pages]
    return [chunk(text, start, end, pages, starts) for start, end in spans]


def sizes(model: Embedder) -> Callable[[str], int]:
    """What measures a text: its tokens, or its letters where those are suspiciously few. Remembers short texts."""
    count = functools.lru_cache(maxsize=4096)(model.count_tokens)
    return lambda text: max(count(text) if len(text) < 400 else model.count_tokens(text), len(text) // LETTERS)


def pieces(text: str, limit: int, overlap: int, size: Callable[[str], int]) -> Iterator[tuple[int, int]]:
    """Spans of the pieces that langchain-text-splitters makes; single words may be longer than the limit."""
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    splitter = RecursiveCharacterTextSplitter(
        separators=SEPARATORS,
        is_separator_regex=True,
        keep_separator="start",
        chunk_size=limit,
        chunk_overlap=overlap,
        length_function=size,
    )
    at = 0
    for piece in splitter.split_text(text):
        start = text.find(piece, at)
        yield start, start + len(piece)
        at = start + 1


def whole(
    text: str, spans: Iterator[tuple[int, int]], limit: int, model: Embedder, size: Callable[[str], int]
) -> Iterator[tuple[int, int]]:
    """The spans, those beyond the limit cut between tokens, without blanks at their ends and without empty ones."""
    for start, end in spans:
        for first, last in cut(text, start, end, limit, model) if size(text[start:end]) > limit else [(start, end)]:
            part = text[first:last]
            if stripped := part.strip():
                begin = first + part.index(stripped)
                yield begin, begin + len(stripped)


def cut(text: str, start: int, end: int, limit: int, model: Embedder) -> Iterator[tuple[int, int]]:
    """A span without good places to cut, in portions that fit."""
    places = model.offsets(text[start:end])
    at = start
    while at < end:
        ahead = bisect.bisect_left(places, (at - start, 0))
        fits = places[ahead + limit - SPARE][0] + start if ahead + limit - SPARE < len(places) else end
        stop = max(at + 1, min(fits, at + (limit - SPARE) * LETTERS, end))
        yield at, stop
        at = stop


def joined(
    spans: Iterator[tuple[int, int]], text: str, limit: int, size: Callable[[str], int]
) -> list[tuple[int, int]]:
    """The spans, of which a very short one goes together with the one before where both fit."""
    found: list[tuple[int, int]] = []
    for start, end in spans:
        if found:
            first, last = found[-1]
            few = min(size(text[start:end]), size(text[first:last])) < FEW
            if few and size(text[first:end]) <= limit:
                found[-1] = (first, max(end, last))
                continue
        found.append((start, end))
    return found


def chunk(text: str, start: int, end: int, pages: Sequence[Page], starts: Sequence[int]) -> Chunk:
    """The chunk of a span, with the pages it begins and ends on."""
    first = max(0, bisect.bisect_right(starts, start) - 1)
    last = max(first, bisect.bisect_right(starts, end - 1) - 1)
    return Chunk("", "", 0, (), pages[first].index, pages[first].label, pages[last].index, start, end, text[start:end])
