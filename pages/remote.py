"""The named endpoint /compare, for gradio_client and plain HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import gradio as gr

from engine.access import Visitor
from engine.catalog import Model
from engine.compare import Lane, LaneEnded
from engine.errors import Problem
from engine.lanes import common_style
from engine.messages import Sampling
from engine.prompts import style as style_named
from pages import desk as desks
from pages.board import Board, Turn, apply, begin, collection
from pages.desk import Desk
from pages.export import sources
from pages.form import documents, resolve
from pages.parts import asks, visitor
from pages.shelf import collections
from rag.lane import Documents, parted

DEFAULT = Sampling()  # the command line's defaults, too
BEAT = 0.25  # seconds between two signs of life, at which a caller who went away is noticed


@asks("compare")
def compare(
    request: gr.Request,
    prompt: str,
    lanes: list[str],
    style: str = "",
    max_new_tokens: int = DEFAULT.max_tokens,
    temperature: float = DEFAULT.temperature,
    seed: int = DEFAULT.seed,
) -> Iterator[list[dict[str, Any]]]:
    """One prompt through the named models at once; at last a list with one result for each lane, in order.

    "model@collection" reads that collection of documents first: its result has `sources`, and in `checked_text` the
    answer with only those marks [n] that point to one of them. `style` is the name of a prompt style; left empty,
    that of the first listed model that has one of its own decides for all. What is not given is as in
    `python -m engine.compare`. A lane that fails has its sentence in `error`; the others are not affected.
    """
    found = chosen(lanes, visitor(request))
    named = style_named(style or common_style([model for model, _ in found])).name
    sampling = Sampling(temperature=temperature, max_tokens=max_new_tokens, seed=seed)
    asked = [Lane(model, named, sampling=sampling, passages=read) for model, read in found]
    comparison = desks.start(asked, prompt, [[]] * len(asked))
    board = Board(shown=len(asked))
    for place, lane in enumerate(asked):
        board = begin(board, place, lane, prompt)
    results: list[dict[str, Any]] = [{"model": lane.model.name} for lane in asked]
    try:
        while not comparison.done:
            for event in comparison.take(BEAT):
                board = apply(board, event)
                if isinstance(event, LaneEnded) and (turn := board.lanes[event.lane].last):
                    results[event.lane] = described(turn)
            yield results
    finally:
        comparison.stop()


def chosen(names: Sequence[str], who: Visitor) -> list[tuple[Model, Documents | None]]:
    """The models of those names, each with the collection that it reads, if any. Raises Problem."""
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise Problem('Give the lanes as a list of model names, such as ["starter", "starter-shawgpt"].')
    nobody, read, found = Desk([]), dict[str, Documents](), []
    known = [name for _, name in collections(who)]
    for number, name in enumerate(names, 1):
        model, documented = parted(name, known)
        found.append((resolve(model, f"lane {number}", nobody, who)[0], documents(documented, who, read)))
    return found


def described(turn: Turn) -> dict[str, Any]:
    """A result as plain data, with what it read where it read anything."""
    values = asdict(turn.result) | {"tokens_per_second": turn.result.tokens_per_second}
    if not collection(turn.lane):
        return values
    return values | {"collection": collection(turn.lane), "checked_text": turn.text, "sources": sources(turn)}
