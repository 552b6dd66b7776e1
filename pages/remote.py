"""The named endpoint /compare, for gradio_client and plain HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import gradio as gr

from engine.access import Visitor
from engine.catalog import Model
from engine.compare import Lane, LaneEnded, LaneResult
from engine.errors import Problem
from engine.messages import Sampling
from engine.prompts import style as style_named
from pages import desk as desks
from pages.desk import Desk
from pages.form import resolve
from pages.parts import asks, visitor

BEAT = 0.25  # seconds between two signs of life, at which a caller who went away is noticed


@asks("compare")
def compare(
    request: gr.Request,
    prompt: str,
    lanes: list[str],
    style: str = "",
    max_new_tokens: int = 128,
    temperature: float = 0.0,
    seed: int = 0,
) -> Iterator[list[dict[str, Any]]]:
    """One prompt through the named models at once; at last a list with one result for each lane, in order.

    `style` is the name of a prompt style; left empty, the style that the last listed model was trained with.
    A lane that fails has its sentence in `error`; the others are not affected.
    """
    models = chosen(lanes, visitor(request))
    named = style_named(style or next((m.style for m in reversed(models) if m.style), "plain")).name
    sampling = Sampling(temperature=temperature, max_tokens=max_new_tokens, seed=seed)
    comparison = desks.start([Lane(model, named, sampling=sampling) for model in models], prompt, [[]] * len(models))
    results: list[dict[str, Any]] = [{"model": model.name} for model in models]
    try:
        while not comparison.done:
            for event in comparison.take(BEAT):
                if isinstance(event, LaneEnded):
                    results[event.lane] = described(event.result)
            yield results
    finally:
        comparison.stop()


def chosen(names: Sequence[str], who: Visitor) -> list[Model]:
    """The models of those names. Raises Problem."""
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise Problem('Give the lanes as a list of model names, such as ["starter", "starter-shawgpt"].')
    nobody = Desk([])
    return [resolve(name, f"lane {number}", nobody, who)[0] for number, name in enumerate(names, 1)]


def described(result: LaneResult) -> dict[str, Any]:
    """A result as plain data."""
    return asdict(result) | {"tokens_per_second": result.tokens_per_second}
