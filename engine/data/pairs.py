"""Makes question and answer pairs of a text with a model, for a person to look through before they are used."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise

from engine.data.table import Row, Table
from engine.errors import Problem
from engine.messages import Message, Sampling
from engine.respond import Generation, Responder
from engine.settings import ASSETS

LONGEST_PASSAGE = 1500  # characters: about 400 tokens, which leaves a small context room for the answer
MOST_PASSAGES = 500
MARK = re.compile(r"^[\s>*#\d.)-]*(Q|Question|A|Answer)\s*\d*\s*\**\s*[:.)]\**\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Pair:
    """A question and its answer."""

    question: str
    answer: str


@dataclass(frozen=True)
class Progress:
    """The pairs so far, after `done` of `of` passages; `empty` of them gave none."""

    pairs: tuple[Pair, ...]
    done: int
    of: int
    empty: int


def make_pairs(text: str, responder: Responder, count: int, sampling: Sampling) -> Iterator[Progress]:
    """Ask for `count` pairs about each passage of the text, one passage after another. Raises Problem.

    Closing the iterator stops the model.
    """
    found = passages(text)
    if not found:
        raise Problem("Give a text to make pairs of; it is empty.")
    if len(found) > MOST_PASSAGES or not 1 <= count <= 20:
        raise Problem(
            f"Ask for 1 to 20 pairs a passage, of {MOST_PASSAGES} passages at most (about "
            f"{MOST_PASSAGES * LONGEST_PASSAGE:,} characters); this text has {len(found):,}."
        )
    made: dict[Pair, None] = {}
    empty = 0
    for done, passage in enumerate(found, 1):
        answer = Generation(responder.reply(request(passage, count), sampling))
        with closing(answer.events):  # type: ignore[type-var]
            for _ in answer:
                pass
        pairs = parsed(answer.text)
        empty += not pairs
        made |= dict.fromkeys(pairs)
        yield Progress(tuple(made), done, len(found), empty)


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
    """The pairs in a model's answer: lines that begin with Q: and A:, numbered or in bold as models like to."""
    parts: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if mark := MARK.match(line):
            parts.append((mark[1][0].upper(), [line[mark.end() :].strip()]))
        elif parts and line.strip():
            parts[-1][1].append(line.strip())
    said = [(kind, "\n".join(lines).strip().strip("*").strip()) for kind, lines in parts]
    following = pairwise(said)
    return [Pair(q, a) for (first, q), (second, a) in following if (first, second) == ("Q", "A") and q and a]


def table_of(pairs: Sequence[Pair], name: str) -> Table:
    """The pairs as a table."""
    rows = tuple(Row(n, {"question": pair.question, "answer": pair.answer}) for n, pair in enumerate(pairs, 1))
    return Table(name, ("question", "answer"), rows)
