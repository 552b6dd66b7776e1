"""Passages that say the same: equal but for a few words, none of which is a number or a name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from rag.types import Chunk

WORD = re.compile(r"\w+")
SAME = 0.9  # share of words, with repetitions, that two passages have in common


def words(text: str) -> Counter[str]:
    """The words of a text as they are written, with how often each stands there."""
    return Counter(WORD.findall(text))


def telling(word: str) -> bool:
    """Whether another word in its place may make another statement: a number, or a word with a capital."""
    return any(letter.isdigit() or letter.isupper() for letter in word)


def same(a: Counter[str], b: Counter[str]) -> bool:
    """Whether two passages, given by their words, say the same."""
    small, large = sorted((a.total(), b.total()))
    if small < SAME * large:
        return False
    common = (a & b).total()
    if common < SAME * large:
        return False
    left = (a - b) + (b - a)
    return not any(telling(word) for word in left)


def groups(chunks: Iterable[Chunk]) -> list[list[Chunk]]:
    """The chunks in their order, those that say the same as an earlier one put beside it.

    Passages that say the same have the same numbers and names, so only those are held against each other.
    """
    found: list[list[Chunk]] = []
    alike: dict[frozenset[tuple[str, int]], list[tuple[Counter[str], list[Chunk]]]] = {}
    for chunk in chunks:
        mine = words(chunk.text)
        those = alike.setdefault(frozenset((word, n) for word, n in mine.items() if telling(word)), [])
        group = next((group for theirs, group in those if same(mine, theirs)), None)
        if group is None:
            group = []
            those.append((mine, group))
            found.append(group)
        group.append(chunk)
    return found
