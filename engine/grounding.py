"""Numbered passages in a prompt: what a lane or an answer with documents is asked. Forms in assets/grounding."""

from __future__ import annotations

import functools
import itertools
import re
import threading
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from engine.catalog import Model
from engine.errors import Problem
from engine.lanes import Lane, LaneGrounded
from engine.messages import Begin, End, Message, Piece
from engine.respond import Event, FollowsUp, Passage, Passages, responder_for
from engine.settings import ASSETS

DEFAULT = "strict"
PASSAGES = 3  # in a prompt where nobody chose a number
SHORTER = (1200, 800, 500, 300, 160)  # characters of a passage, tried in turn until the prompt fits the model
TOY_BYTES = 200_000_000  # of weights: a model below reads short passages better than long ones
TOY_CHARACTERS = 260  # of a passage for a toy: about what the starter was trained on
# what chat templates and tool formats give a meaning; in a document it is only text
MARKUP = re.compile(r"<(?=\||/?(?:s|think|tools?|tool_call|tool_response|start_of_turn|end_of_turn)>|<SYS>>|</SYS>>)")
BRACKETS = re.compile(r"\[(/?(?:INST|TOOL_CALLS|AVAILABLE_TOOLS|TOOL_RESULTS)|\d+(?:\s*[,;–-]\s*\d+)*)\]")
SENTENCE = re.compile(r"(?<=[.!?])[\"”’)]*\s+(?=[\"“‘(]?[A-Z0-9])|\n+")
BLOCK = re.compile(r"\s*(?:[-*|#>]|\d+[.)]\s)")  # a line that begins a list's item, a table's row, a heading
WORD = re.compile(r"[^\W_]+")


class Fits(Protocol):
    """Part of a local responder: whether the model can read the messages whole."""

    def __call__(self, text: str) -> bool: ...


@dataclass(frozen=True)
class Form:
    """One way to put passages before a question; `turn` holds {passages} and {question}."""

    name: str
    title: str
    about: str
    passage: str
    between: str
    turn: str

    def write(self, question: str, passages: Sequence[Passage]) -> str:
        """The whole text of the person's turn. Nothing in a passage is read as a place of the form."""
        numbered = (
            filled(self.passage, number=str(number), text=flowing(inert(passage.text)))
            for number, passage in enumerate(passages, 1)
        )
        return filled(self.turn, passages=self.between.join(numbered), question=question)


@functools.cache
def forms() -> dict[str, Form]:
    """Every form by its name, in the order of the `order` key of its file."""
    read = [(path, tomllib.loads(path.read_text(encoding="utf-8"))) for path in (ASSETS / "grounding").glob("*.toml")]
    found = sorted(((data.pop("order"), Form(name=path.stem, **data)) for path, data in read), key=lambda pair: pair[0])
    return {form.name: form for _, form in found}


def form_named(name: str) -> Form:
    """The form of that name. Raises Problem with the names there are."""
    if name not in forms():
        raise Problem(f"There is no form '{name}' for passages. Choose one of: {', '.join(forms())}.")
    return forms()[name]


def filled(template: str, **values: str) -> str:
    """The template with its places filled in one pass, so that a value is never searched for places."""
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), template)


def inert(text: str) -> str:
    """The text with everything broken up that a template, a tool format or a citation would give a meaning."""
    return BRACKETS.sub(r"(\1)", MARKUP.sub("< ", text))


def flowing(text: str) -> str:
    """The text without the line ends of a printed page; items of lists, rows of tables and headings keep theirs."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    out = ""
    for line in lines:
        out += ("\n" if BLOCK.match(line) and out else " " if out else "") + line
    return out


def words(text: str) -> set[str]:
    """The words of a text of four letters or more by their first six letters, and all numbers: a crude stem."""
    return {word[:6] for word in WORD.findall(text.casefold()) if len(word) > 3 or word.isdigit()}


def excerpt(text: str, question: str, most: int) -> str:
    """The run of whole sentences of at most `most` characters that shares most words with the question.

    It begins at the sentence that does best alone and grows to the side of the better neighbour.
    """
    if len(text) <= most:
        return text
    edges = [0, *(found.end() for found in SENTENCE.finditer(text)), len(text)]
    spans = [(a, b) for a, b in itertools.pairwise(edges) if text[a:b].strip()]
    wanted = words(question)
    worth = [len(words(text[a:b]) & wanted) for a, b in spans]
    first = last = max(range(len(spans)), key=lambda i: (worth[i], -i))
    while True:
        sides = [(worth[first - 1], 0)] if first else []
        sides += [(worth[last + 1], 1)] if last + 1 < len(spans) else []
        sides = [(w, s) for w, s in sides if spans[last + s][1] - spans[first - 1 + s][0] <= most]
        if not sides:
            return text[spans[first][0] : spans[last][1]].strip()[:most]
        if max(sides)[1]:
            last += 1
        else:
            first -= 1


def shortened(
    question: str, passages: Sequence[Passage], form: Form, fits: Fits | None, most: int | None = None
) -> tuple[Passage, ...]:
    """The passages as they go into the prompt: cut to what shares most with the question, then fewer, until it fits."""
    kept = tuple(replace(p, text=excerpt(p.text, question, most)) if most else p for p in passages)
    if fits is None:
        return kept
    for length in (None, *SHORTER):
        shorter = tuple(replace(p, text=excerpt(p.text, question, length)) if length else p for p in kept)
        if fits(form.write(question, shorter)):
            return shorter
    while len(shorter) > 1 and not fits(form.write(question, shorter)):
        shorter = shorter[:-1]
    return shorter


def toy(model: Model) -> bool:
    """Whether a model is a local folder with weights so small that it can do little more than copy."""
    folder = Path(model.base)
    if model.endpoint or not folder.is_dir():
        return False
    return 0 < sum(path.stat().st_size for path in folder.glob("*.safetensors")) < TOY_BYTES


def refusal(nearest: Passage | None) -> str:
    """The answer where no passage comes near enough to the question; no model is asked for it."""
    if nearest is None:
        return "The documents do not say: there is nothing in them yet."
    page = f", page {nearest.page}" if nearest.page is not None else ""
    score = f" (similarity {nearest.score:.2f})" if nearest.score is not None else ""
    return f"The documents do not say. The nearest passage is in {nearest.source}{page}{score}, below the cutoff."


class Grounding:
    """The passages of one prompt for several lanes: a collection is searched once for a question, whoever asks."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, str], tuple[tuple[Passage, ...], Passage | None]] = {}
        self._one_at_a_time = threading.Lock()

    def found(self, passages: Passages, question: str) -> tuple[tuple[Passage, ...], Passage | None]:
        """What a collection holds on a question, and where that is nothing, what came nearest."""
        key = id(passages), question
        with self._one_at_a_time:
            if key not in self._found:
                hits = tuple(passages.search(question, PASSAGES))
                self._found[key] = (hits, None if hits else passages.nearest(question))
            return self._found[key]

    def place(self, number: int, lane: Lane, messages: Sequence[Message]) -> tuple[tuple[Message, ...], LaneGrounded]:
        """The messages of a lane that has documents, with passages before the question, and what to tell of it.

        A toy reads the question that stands alone and nothing of the talk before it; other models read both.
        """
        if lane.passages is None:
            raise ValueError("this lane has no documents")
        *before, asked = messages
        small = toy(lane.model)
        question = standing(lane, asked.content, before, small)
        hits, nearest = self.found(lane.passages, question)
        if not hits:
            return tuple(messages), LaneGrounded(number, (), refusal(nearest), question)
        form = form_named(lane.form)
        if small:
            before = [message for message in before if message.role == "system"]

        def with_text(text: str) -> tuple[Message, ...]:
            return (*before, replace(asked, content=text))

        kept = shortened(question, hits, form, fits_for(lane, with_text), TOY_CHARACTERS if small else None)
        text = form.write(question if small else asked.content, kept)
        return with_text(text), LaneGrounded(number, kept, question=question)


def standing(lane: Lane, question: str, before: Sequence[Message], small: bool) -> str:
    """The question as it is to be searched for: a follow-up made to stand alone, by the model unless it is a toy."""
    history = [message for message in before if message.role != "system"]
    if not history or not isinstance(lane.passages, FollowsUp):
        return question
    return lane.passages.stand_alone(question, history, None if small else responder_for(lane.model, lane.key))


def fits_for(lane: Lane, with_text: Callable[[str], tuple[Message, ...]]) -> Fits | None:
    """Whether a text fits a local lane's context; None for an endpoint, whose context nobody tells."""
    if lane.model.endpoint:
        return None
    from engine.local import LocalResponder

    responder = LocalResponder(lane.model, lane.style)
    return lambda text: responder.fits(with_text(text), lane.sampling)


def refused(grounded: LaneGrounded) -> tuple[Event, ...]:
    """The events of a lane that has nothing to answer from; none where it has."""
    return (Begin(""), Piece(grounded.refusal), End("stop")) if grounded.refusal else ()
