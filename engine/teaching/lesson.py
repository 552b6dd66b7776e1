"""What a job teaches: the examples of a run folder, split, and rendered as the model will read them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.data.tokens import Tokens, tokenized_all
from engine.datasets import Dataset, Example, read, split
from engine.errors import Problem
from engine.prompts import style
from engine.recipe import Recipe, from_mapping
from engine.teaching.runs import read_json


@dataclass(frozen=True)
class Lesson:
    """The recipe of a run and its examples in three parts."""

    recipe: Recipe
    dataset: Dataset
    training: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]

    @property
    def held_back(self) -> tuple[Example, ...]:
        """What the table at the end is made of: the test rows, else the validation rows, else what was trained on."""
        return self.test or self.validation or self.training


@dataclass(frozen=True)
class Rendered:
    """The tokens that are learned from and those that are measured on."""

    learned: list[Tokens]
    measured: list[Tokens]

    def facts(self, lesson: Lesson, name: str | None) -> dict[str, Any]:
        """What is to be known of the data, for data.json."""
        learned, measured = self.learned, self.measured
        return {
            "name": name or lesson.dataset.name,
            "fingerprint": lesson.dataset.fingerprint,
            "training": len(learned),
            "validation": len(measured),
            "test": len(lesson.test),
            "without_loss": len(lesson.training) + len(lesson.validation) - len(learned) - len(measured),
            "cut": sum(row.cut > 0 for row in learned),
            "tokens": sum(len(row.ids) for row in learned),
            "tokens_with_loss": sum(row.trained for row in learned),
        }


def read_lesson(folder: Path) -> Lesson:
    """The lesson of a run folder. Raises Problem when its examples are gone or are others than at its start."""
    values = read_json(folder / "recipe.json")
    recipe = from_mapping({name: value for name, value in values.items() if name != "data_name"})
    source = next(iter(sorted(folder.glob("examples.*"))), None)
    if source is None:
        raise Problem("The run's copy of its examples is gone. Start a new run.")
    dataset = led(read(source, recipe.column_map or None), recipe.lead)
    if read_json(folder / "data.json").get("fingerprint") not in (None, dataset.fingerprint):
        raise Problem("The examples of this run have changed since it was started. Start a new run on them.")
    training, *kept_back = (part.examples for part in split(dataset, recipe.validation, recipe.test, recipe.seed))
    return Lesson(recipe, dataset, fewer(training, recipe.rows, recipe.seed), *kept_back)


def fewer(examples: tuple[Example, ...], rows: int, seed: int) -> tuple[Example, ...]:
    """So many examples, drawn with the seed, in their order; a larger draw holds every smaller one. 0 takes all."""
    if not rows or rows >= len(examples):
        return examples
    places = list(range(len(examples)))
    random.Random(seed).shuffle(places)
    return tuple(examples[place] for place in sorted(places[:rows]))


def led(dataset: Dataset, lead: str) -> Dataset:
    """The dataset with `lead` taken off the start of its responses: the prompt style writes it."""
    if not lead:
        return dataset
    shorter = []
    for example in dataset.examples:
        said = example.messages[-1]
        kept = replace(said, content=said.content.strip().removeprefix(lead.strip()).strip())
        shorter.append(replace(example, messages=(*example.messages[:-1], kept)))
    return replace(dataset, examples=tuple(shorter))


def render(lesson: Lesson, tokenizer: Any) -> Rendered:
    """Both parts as tokens. Raises Problem when nothing is left."""
    learned = tokens_of(lesson.training, lesson.recipe, tokenizer)
    measured = tokens_of(lesson.validation, lesson.recipe, tokenizer)
    if not learned:
        raise Problem(
            f"No example has a token left to learn from at {lesson.recipe.max_length} tokens. Raise the length, or "
            "cut the other side."
        )
    return Rendered(learned, measured)


def tokens_of(examples: Sequence[Example], recipe: Recipe, tokenizer: Any) -> list[Tokens]:
    """The examples as training reads them; those that are left without loss after cutting are left out."""
    side, loss = recipe.truncation, recipe.loss
    rows = tokenized_all(examples, style(recipe.style), tokenizer, recipe.max_length, side, loss)  # type: ignore[arg-type]
    return [row for row in rows if row.trained]
