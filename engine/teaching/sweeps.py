"""Several runs of one recipe that differ in some knobs: started together, looked at together."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from engine import jobs
from engine.errors import Problem
from engine.recipe import KNOBS, Recipe, from_mapping
from engine.teaching.runs import Job

MOST_RUNS = 32  # of one sweep


def pairs(texts: Sequence[str]) -> dict[str, str]:
    """KNOB=VALUE texts as a mapping. Raises Problem."""
    if wrong := [text for text in texts if "=" not in text]:
        raise Problem(f"Write KNOB=VALUE, such as learning_rate=1e-3; '{wrong[0]}' is not of that form.")
    return {key.strip(): value.strip() for key, value in (text.split("=", 1) for text in texts)}


def start(recipe: Recipe, swept: Mapping[str, str], owner: str = "", request: str = "") -> list[Job]:
    """A run for each combination of the values, which are separated by commas. Raises Problem before any is started.

    No knob means one run. `request` marks one press of Start, as in jobs.start.
    """
    values = {name: [each.strip() for each in text.split(",") if each.strip()] for name, text in swept.items()}
    if empty := [name for name, found in values.items() if not found]:
        raise Problem(f"Give {empty[0]} its values, separated by commas, such as {empty[0]}=4,8,16.")
    combinations = [dict(zip(values, each, strict=True)) for each in itertools.product(*values.values())]
    if len(combinations) > MOST_RUNS:
        raise Problem(
            f"That would be {len(combinations)} runs; {MOST_RUNS} are the most at once. Leave some values out."
        )
    made = [from_mapping(each, replace(recipe, name=named(recipe, each))) for each in combinations]
    for each in made:
        jobs.prepared(each)
    return [
        jobs.start(each, owner, f"{request}-{place}" if request else "", sweep=chosen)
        for place, (each, chosen) in enumerate(zip(made, combinations, strict=True))
    ]


def named(recipe: Recipe, chosen: Mapping[str, str]) -> str:
    """The name of one run of a sweep."""
    words = " ".join(f"{key} {value}" for key, value in chosen.items())
    return f"{recipe.name or 'sweep'} {words}"[:80] if words else recipe.name


def siblings(job: Job, among: Sequence[Job]) -> list[Job]:
    """The runs that vary the same knobs on the same model and examples, this one among them, by their values."""

    def group(each: Job) -> Any:
        swept = each.record.get("sweep") or {}
        return tuple(swept), each.recipe.get("model"), each.recipe.get("data_name")

    if not job.record.get("sweep"):
        return []
    return sorted((each for each in among if group(each) == group(job)), key=values)


def values(job: Job) -> tuple[tuple[float, str], ...]:
    """The values of the swept knobs, such that they can be put in order."""
    return tuple(ordered(each) for each in (job.record.get("sweep") or {}).values())


def ordered(text: str) -> tuple[float, str]:
    """Numbers by size, then words by the alphabet."""
    try:
        return float(text), ""
    except ValueError:
        return float("inf"), text


def knobs(job: Job) -> list[str]:
    """The knobs that a run's sweep varies."""
    return [name for name in job.record.get("sweep") or {} if name in KNOBS]
