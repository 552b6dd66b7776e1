"""Lanes that show what documents and tuning do: with and without context, and both models times both."""

from __future__ import annotations

from dataclasses import replace

from engine.catalog import Model
from engine.grounding import DEFAULT
from engine.lanes import Lane
from engine.messages import Sampling
from engine.prompts import CHAT
from rag.answer import ANSWERING
from rag.collection import Asked, Collection, How


def with_and_without(
    collection: Collection,
    model: Model,
    how: How | None = None,
    form: str = DEFAULT,
    system: str = "",
    sampling: Sampling = ANSWERING,
    key: str | None = None,
) -> list[Lane]:
    """Two lanes of one model: the bare question, and the question with what the collection holds on it."""
    alone = Lane(model, style_of(model), system, sampling, key=key, form=form)
    return [alone, replace(alone, passages=Asked(collection, how or How()))]


def four_lanes(
    collection: Collection,
    base: Model,
    tuned: Model,
    how: How | None = None,
    form: str = DEFAULT,
    system: str = "",
    sampling: Sampling = ANSWERING,
    keys: tuple[str | None, str | None] = (None, None),
) -> list[Lane]:
    """The board {base, tuned} x {no context, context}, in that order; both models get the same prompts and passages.

    The style is the base's own template, or that of the tuned model where its base has none.
    """
    documents = Asked(collection, how or How())
    style = style_of(base)
    lanes = []
    for model, key in zip((base, tuned), keys, strict=True):
        alone = Lane(model, style, system, sampling, key=key, form=form)
        lanes += [alone, replace(alone, passages=documents)]
    return lanes


def style_of(model: Model) -> str:
    """How a board asks a model: in its own chat template where it is known to have one."""
    from engine.grounding import toy

    return CHAT if model.endpoint or toy(model) else model.style or CHAT
