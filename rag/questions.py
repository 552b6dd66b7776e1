"""Questions with what a good search finds for them: read from a file, and held against chunks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from engine.errors import Problem
from rag.types import Chunk

LARGEST = 5_000_000  # bytes of a question file
SHARED = 0.8  # of an expected passage's words that a chunk must hold, or of the chunk's words where it is the shorter
WORD = re.compile(r"\w+")
Facet = Callable[[Chunk], bool]


@dataclass(frozen=True)
class Question:
    """A question and its labels; those that are empty are not asked for.

    `file` is a path in the collection, or its end; `page` counts from 1 or is a printed label. `keywords` are words
    that the passages found must hold; each is looked for by itself.
    """

    question: str
    file: str = ""
    page: str = ""
    passage: str = ""
    keywords: tuple[str, ...] = ()
    category: str = ""

    def facets(self) -> list[Facet]:
        """What is looked for: one test for the place or passage, and one for each keyword."""
        found: list[Facet] = []
        if self.file or self.page:
            found.append(self.at_place)
        if self.passage:
            wanted = set(WORD.findall(self.passage.casefold()))
            found.append(lambda chunk: shares(wanted, set(WORD.findall(chunk.text.casefold()))))
        for keyword in self.keywords:
            found.append(partial(holds, keyword.casefold()))
        return found

    def at_place(self, chunk: Chunk) -> bool:
        """Whether a chunk lies in the expected file and touches the expected page."""
        if self.file and not (chunk.file == self.file or chunk.file.endswith("/" + self.file)):
            return False
        if not self.page:
            return True
        numbers = {str(page + 1) for page in range(chunk.page, chunk.last_page + 1)}
        return self.page in numbers or self.page == chunk.page_label


def holds(word: str, chunk: Chunk) -> bool:
    """Whether a chunk holds a word, which is given in lower case."""
    return word in chunk.text.casefold()


def shares(wanted: set[str], words: set[str]) -> bool:
    """Whether two passages, given by their words, are one and the same or one holds the other."""
    return len(wanted & words) >= SHARED * max(1, min(len(wanted), len(words)))


def read_questions(path: Path) -> list[Question]:
    """The questions of a JSONL or JSON file. Raises Problem that names the first bad row and what is expected."""
    try:
        if path.stat().st_size > LARGEST:
            raise Problem(f"{path.name} is larger than {LARGEST // 1_000_000} MB. Ask fewer questions.")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"{path.name} cannot be read as UTF-8 text ({type(error).__name__}).") from None
    try:
        rows = (
            json.loads(text)
            if text.lstrip().startswith("[")
            else [json.loads(x) for x in text.splitlines() if x.strip()]
        )
    except ValueError as error:
        raise Problem(f"{path.name} is neither a JSON list nor one JSON object a line: {error}.") from None
    if not rows:
        raise Problem(f"{path.name} holds no question.")
    return [question(row, number) for number, row in enumerate(rows, 1)]


def question(row: Any, number: int = 1) -> Question:
    """One row as a question. Raises Problem."""
    if not isinstance(row, Mapping) or not isinstance(row.get("question"), str) or not row["question"].strip():
        raise Problem(
            f"Row {number} has no 'question'. A row is an object with question, and file, passage or keywords."
        )
    keywords = row.get("keywords") or ()
    if isinstance(keywords, str) or not isinstance(keywords, Sequence) or not all(isinstance(w, str) for w in keywords):
        raise Problem(f"Row {number}: 'keywords' must be a list of words.")
    labels = {
        name: str(row.get(name) if row.get(name) is not None else "").strip()
        for name in ("file", "page", "passage", "category")
    }
    made = Question(row["question"].strip(), **labels, keywords=tuple(word for word in keywords if word.strip()))
    if not made.facets():
        raise Problem(f"Row {number} says nothing of what is to be found. Give it a file, a passage or keywords.")
    return made
