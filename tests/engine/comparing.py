"""What tests of comparisons share: a small base with two adapters, lanes of them, and what they come to."""

from __future__ import annotations

from pathlib import Path

from engine.catalog import Model
from engine.compare import Comparison, Lane, LaneEnded, LaneResult
from engine.messages import Sampling
from tests.engine.rows import save_adapter
from tests.tiny import make_tiny_llama

GREEDY = Sampling(temperature=0, max_tokens=24)


def base_and_two(folder: Path) -> dict[str, Model]:
    """A base of random weights and the adapters "one" and "two" on it."""
    from transformers import AutoModelForCausalLM

    base = str(make_tiny_llama(folder / "base", hidden=64))
    for seed, name in enumerate(("one", "two")):
        loaded = AutoModelForCausalLM.from_pretrained(base)
        save_adapter(loaded, folder / name, seed, r=4, target_modules="all-linear")
    made = {name: Model(name=name, base=base, adapter=folder / name) for name in ("one", "two")}
    return made | {"base": Model(name="base", base=base)}


def lanes(models: dict[str, Model], *names: str, **changes: object) -> list[Lane]:
    """Greedy lanes of these models unless told otherwise."""
    return [Lane(models[name], **({"sampling": GREEDY} | changes)) for name in names]  # type: ignore[arg-type]


def results(comparison: Comparison) -> list[LaneResult]:
    """What each lane came to, once all have ended."""
    ended = {event.lane: event.result for event in comparison if isinstance(event, LaneEnded)}
    return [ended[i] for i in range(len(comparison.lanes))]
