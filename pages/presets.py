"""Ready arrangements of lanes: base vs tuned, base vs prompt vs tuned, a base and its adapters, documents or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.catalog import Model
from engine.errors import Problem
from engine.prompts import styles
from pages.form import NO_DOCUMENTS
from rag import sample
from rag.boards import style_of

PLAIN = "plain"
MOST_ADAPTERS = 3  # beside their base they make the four lanes that stand in one row on a desktop


@dataclass(frozen=True)
class Placement:
    """A model in a lane; `style` and `collection` are None where what all lanes share holds."""

    model: Model
    style: str | None = None
    collection: str | None = None


@dataclass(frozen=True)
class Arrangement:
    """Lanes from left to right and the prompt style that they share."""

    lanes: tuple[Placement, ...]
    style: str


def base_and_tuned(models: Sequence[Model]) -> Arrangement:
    """The same question in the same words for a base and for its tuned self."""
    base, adapters = family(models)
    return Arrangement((Placement(base), Placement(adapters[0])), shared_style(adapters[0]))


def base_prompt_and_tuned(models: Sequence[Model]) -> Arrangement:
    """What a good prompt alone does for the base, between the bare base and the tuned model."""
    base, adapters = family(models)
    lanes = (Placement(base, PLAIN), Placement(base), Placement(adapters[0]))
    return Arrangement(lanes, shared_style(adapters[0]))


def base_and_adapters(models: Sequence[Model]) -> Arrangement:
    """A base beside up to three adapters on it, each asked in the style it was trained with."""
    base, adapters = family(models, MOST_ADAPTERS)
    style = shared_style(adapters[0])
    tuned = [Placement(a, None if shared_style(a) == style else shared_style(a)) for a in adapters[:MOST_ADAPTERS]]
    return Arrangement((Placement(base), *tuned), style)


def with_and_without_documents(models: Sequence[Model]) -> Arrangement:
    """One model twice: the bare question, and the question with what the sample collection holds on it."""
    lanes = (Placement(models[0], collection=NO_DOCUMENTS), Placement(models[0], collection=sample.NAME))
    return Arrangement(lanes, style_of(models[0]))


def family(models: Sequence[Model], wanted: int = 1) -> tuple[Model, list[Model]]:
    """The first listed base that has `wanted` adapters, else the first that has any, and all it has.

    Raises Problem when there is none.
    """
    found = []
    for base in models:
        adapters = [m for m in models if m.adapter and (m.base, m.revision) == (base.base, base.revision)]
        if base.adapter is None and base.endpoint is None and adapters:
            found.append((base, adapters))
    for base, adapters in found:
        if len(adapters) >= wanted:
            return base, adapters
    if found:
        return found[0]
    raise Problem("The list of models holds no base together with an adapter of its own, which this preset needs.")


def shared_style(model: Model) -> str:
    """The style a model was trained with, or plain."""
    return model.style if model.style in styles() else PLAIN


PRESETS: dict[str, Callable[[Sequence[Model]], Arrangement]] = {
    "Base vs tuned": base_and_tuned,
    "Base vs prompt vs tuned": base_prompt_and_tuned,
    "Base and its adapters": base_and_adapters,
    "With and without documents": with_and_without_documents,
}
