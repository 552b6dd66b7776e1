"""Makes question and answer pairs of texts with a model, for a person to look through before they are used."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import pairwise

from engine.data.table import Row, Table
from engine.errors import Problem
from engine.messages import Message, Sampling
from engine.respond import Generation, Responder
from engine.settings import ASSETS

LONGEST_PASSAGE = 1500  # characters: about 400 tokens, which leaves a small context room for the answer
MOST_PASSAGES = 500
MOST_PAIRS = 20  # of a passage
MARK = re.compile(r"^[\s>*#\d.)-]*(Q|Question|A|Answer)\s*\d*\s*\**\s*[:.)]\**\s*", re.IGNORECASE)


# writes that many pairs about a passage, as `parsed` reads them
Writer = Callable[[str, int], str]


@dataclass(frozen=True)
class Section:
    """A passage that pairs are made of, and the file and the printed page that it stands on; empty for pasted text."""

    text: str
    file: str = ""
    page: str = ""


@dataclass(frozen=True)
class Pair:
    """A question and its answer, and where they are from."""

    question: str
    answer: str
    file: str = ""
    page: str = ""


@dataclass(frozen=True)
class Progress:
    """The pairs so far, after `done` of `of` passages.

    `empty` passages gave none; `dropped` pairs lacked a half or asked again what an earlier one asks.
    """

    pairs: tuple[Pair, ...]
    done: int
    of: int
    empty: int
    dropped: int = 0


def make_pairs(found: Sequence[Section], write: Writer, count: int) -> Iterator[Progress]:
    """Ask for `count` pairs about each passage, one passage after another. Raises Problem.

    Closing the iterator ends the work.
    """
    if not found:
        raise Problem("Give a text to make pairs of; it is empty.")
    if len(found) > MOST_PASSAGES or not 1 <= count <= MOST_PAIRS:
        raise Problem(
            f"Ask for 1 to {MOST_PAIRS} pairs a passage, of {MOST_PASSAGES} passages at most; these are {len(found):,}."
        )
    made: dict[str, Pair] = {}
    empty = dropped = 0
    for done, section in enumerate(found, 1):
        pairs = parsed(write(section.text, count))
        whole = [pair for pair in pairs if pair.question and pair.answer]
        before = len(made)
        for pair in whole:
            made.setdefault(asked_as(pair), replace(pair, file=section.file, page=section.page))
        empty += not whole
        dropped += len(pairs) - (len(made) - before)
        yield Progress(tuple(made.values()), done, len(found), empty, dropped)


def asked_as(pair: Pair) -> str:
    """What a question comes to when case, spaces and marks do not count."""
    return " ".join(re.findall(r"\w+", pair.question.casefold())) or pair.question


def written_by(responder: Responder, sampling: Sampling) -> Writer:
    """A writer that asks a model."""

    def write(passage: str, count: int) -> str:
        answer = Generation(responder.reply(request(passage, count), sampling))
        with closing(answer.events):  # type: ignore[type-var]
            for _ in answer:
                pass
        return answer.text

    return write


def sections(text: str, file: str = "", page: str = "") -> list[Section]:
    """The passages of a text, each with where it is from."""
    return [Section(passage, file, page) for passage in passages(text)]


def spread(found: Sequence[Section], most: int) -> list[Section]:
    """At most so many of the passages, evenly from all of them and in their order."""
    if len(found) <= most:
        return list(found)
    return [found[place * len(found) // most] for place in range(most)]


def request(passage: str, count: int) -> list[Message]:
    """The conversation that asks about a passage."""
    words = tomllib.loads((ASSETS / "pairs.toml").read_text(encoding="utf-8"))
    asked = words["prompt"].replace("{count}", str(count)).replace("{passage}", passage)
    return [Message("system", words["system"]), Message("user", asked)]


def passages(text: str) -> list[str]:
    """Whole paragraphs together up to LONGEST_PASSAGE characters; a longer paragraph is cut between words."""
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        for part in pieces(" ".join(paragraph.split())):
            if found and len(found[-1]) + len(part) + 2 <= LONGEST_PASSAGE:
                found[-1] += f"\n\n{part}"
            else:
                found.append(part)
    return found


def pieces(paragraph: str) -> Iterator[str]:
    """A paragraph in pieces of at most LONGEST_PASSAGE characters; nothing where it is empty."""
    while len(paragraph) > LONGEST_PASSAGE:
        cut = paragraph.rfind(" ", 0, LONGEST_PASSAGE)
        cut = cut if cut > 0 else LONGEST_PASSAGE
        yield paragraph[:cut]
        paragraph = paragraph[cut:].lstrip()
    if paragraph:
        yield paragraph


def parsed(text: str) -> list[Pair]:
    """The pairs in a model's answer: lines that begin with Q: and A:, numbered or in bold as models like to.

    A half may be empty.
    """
    parts: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if mark := MARK.match(line):
            parts.append((mark[1][0].upper(), [line[mark.end() :].strip()]))
        elif parts and line.strip():
            parts[-1][1].append(line.strip())
    said = [(kind, "\n".join(lines).strip().strip("*").strip()) for kind, lines in parts]
    following = pairwise(said)
    return [Pair(q, a) for (first, q), (second, a) in following if (first, second) == ("Q", "A")]


def table_of(pairs: Sequence[Pair], name: str) -> Table:
    """The pairs as a table, with file and page where they are from documents."""
    columns = ("question", "answer", *(("file", "page") if any(pair.file for pair in pairs) else ()))
    rows = tuple(Row(n, {column: getattr(pair, column) for column in columns}) for n, pair in enumerate(pairs, 1))
    return Table(name, columns, rows)
