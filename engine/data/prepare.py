"""Makes a better training set of a dataset: by length, without repeats, in balance; and custom prompt styles."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from engine.data.survey import repeats
from engine.datasets import Dataset, Example
from engine.errors import Problem
from engine.prompts import PromptStyle

CUSTOM = "custom"
RESPONSE = "(the response)"  # stands for a column in balancing
MOST_COMPARED = 20_000  # rows: every row is compared with every other
BLOCK = 512  # rows compared at once
BY_COLUMN = {"instruction": "alpaca", "comment": "shawgpt", "question": "headed-question", "english": "latex"}

Embed = Callable[[Sequence[str]], Any]


@dataclass(frozen=True)
class Preparation:
    """What is done to a dataset, in this order. 0, false and "" switch a step off.

    Lengths are whole examples in tokens; `similar` is the cosine from which two rows say the same; `balance` is a
    column of which every value gets as many rows as its rarest has, drawn with the seed.
    """

    shortest: int = 0
    longest: int = 0
    exact: bool = False
    similar: float = 0.0
    balance: str = ""
    seed: int = 0

    def problems(self) -> list[str]:
        """Every complaint about these values."""
        checks = (
            (self.shortest >= 0 and self.longest >= 0, "Lengths must be 0 (off) or a positive number of tokens."),
            (not self.longest or self.shortest <= self.longest, "The shortest length is above the longest."),
            (0 <= self.similar <= 1, "The similarity must lie between 0 (off) and 1."),
        )
        return [sentence for fine, sentence in checks if not fine]


def prepared(dataset: Dataset, wanted: Preparation, lengths: Sequence[int], embed: Embed) -> tuple[Dataset, list[str]]:
    """The dataset after every step, and a sentence for each. `lengths` are its examples' tokens. Raises Problem."""
    if wrong := wanted.problems():
        raise Problem(" ".join(wrong))
    examples, told = list(dataset.examples), []
    if wanted.shortest or wanted.longest:
        fitting = [wanted.shortest <= length <= (wanted.longest or length) for length in lengths]
        examples = keep(examples, fitting)
        told.append(f"{len(fitting) - sum(fitting):,} rows by length")
    if wanted.exact:
        again = repeats(examples)
        examples = keep(examples, [not each for each in again])
        told.append(f"{sum(again):,} exact repeats")
    if wanted.similar:
        new = unlike(examples, wanted.similar, embed)
        told.append(f"{len(new) - sum(new):,} rows that say the same as an earlier one")
        examples = keep(examples, new)
    if wanted.balance:
        before = len(examples)
        examples = balanced(examples, wanted.balance, wanted.seed)
        told.append(f"{before - len(examples):,} rows for balance")
    if not examples:
        raise Problem("These steps would leave no row. Loosen one of them.")
    return replace(dataset, examples=tuple(examples)), told


def keep(examples: Sequence[Example], chosen: Iterable[bool]) -> list[Example]:
    """The examples that are chosen."""
    return [example for example, yes in zip(examples, chosen, strict=True) if yes]


def unlike(examples: Sequence[Example], threshold: float, embed: Embed) -> list[bool]:
    """For each example whether no earlier one that was kept lies within the threshold. Raises Problem."""
    if len(examples) > MOST_COMPARED:
        raise Problem(
            f"Similar rows are found among {MOST_COMPARED:,} rows at most; here are {len(examples):,}. "
            "Remove exact repeats or filter by length first."
        )
    vectors = np.asarray(embed([meaning(example) for example in examples]))
    kept = np.ones(len(examples), dtype=bool)
    for start in range(0, len(examples), BLOCK):
        block = vectors[start : start + BLOCK] @ vectors[: start + BLOCK].T
        for at, near in enumerate(block >= threshold, start):
            kept[at] = not bool(np.any(near[:at] & kept[:at]))
    return kept.tolist()


def meaning(example: Example) -> str:
    """The text whose embedding stands for an example."""
    return f"{example.prompt}\n{example.response}"


def balanced(examples: Sequence[Example], column: str, seed: int) -> list[Example]:
    """As many rows of each value of a column as its rarest value has, in the order of the file. Raises Problem."""
    groups: dict[str, list[int]] = {}
    for index, example in enumerate(examples):
        value = example.response if column == RESPONSE else dict(example.fields).get(column, "")
        groups.setdefault(value, []).append(index)
    if len(groups) < 2:
        raise Problem(f"{column} has one value only, so there is nothing to balance.")
    if len(groups) > len(examples) / 2:
        raise Problem(f"{column} has {len(groups):,} values in {len(examples):,} rows, too many to balance by.")
    fewest = min(len(group) for group in groups.values())
    draw = random.Random(seed)
    chosen = [index for group in groups.values() for index in draw.sample(group, fewest)]
    return [examples[index] for index in sorted(chosen)]


def balancing_columns(dataset: Dataset) -> list[str]:
    """Columns by whose values the rows could be balanced: few values, each more than once on average."""
    values: dict[str, set[str]] = {RESPONSE: set()}
    for example in dataset.examples:
        values[RESPONSE].add(example.response)
        for name, value in example.fields:
            values.setdefault(name, set()).add(value)
    return [name for name, found in values.items() if 1 < len(found) <= len(dataset) / 2]


def custom_style(turn: str, system: str = "{system}\n\n") -> PromptStyle:
    """A style in a person's own words, with speaker tokens such as ###HUMAN###. Raises Problem with every complaint."""
    wrong = [
        f"The custom style must hold {part} exactly once."
        for part in ("{prompt}", "{response}")
        if turn.count(part) != 1
    ]
    if not wrong and turn.index("{prompt}") > turn.index("{response}"):
        wrong.append("In the custom style {prompt} must stand before {response}.")
    if system.count("{system}") != 1:
        wrong.append("The custom system line must hold {system} exactly once.")
    if wrong:
        raise Problem(" ".join(wrong))
    return PromptStyle(CUSTOM, "Custom", "A style of your own.", turn, system)


def likely_style(dataset: Dataset, mapping: dict[str, str]) -> str:
    """The name of the style that suits rows with these columns."""
    if "messages" in mapping:
        return "chat"
    if dataset.examples and "###" in dataset.examples[0].prompt:
        return "plain"  # written with headings of its own
    return BY_COLUMN.get(mapping.get("prompt", "").lower(), "question-answer")
