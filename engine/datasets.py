"""Training data: examples, the datasets they make, what is wrong with them, and how they are split."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.data.table import Fault
from engine.errors import Problem
from engine.messages import Message

if TYPE_CHECKING:
    from engine.data.shelf import Saved

FEWEST_ROWS = 10
MOST_NUMBERS = 12  # row numbers named in one complaint


@dataclass(frozen=True)
class Example:
    """One conversation to learn from; its last message is the assistant's. Plain text is such a message alone.

    `row` is its number in the file, from 1; `fields` are the columns that are not part of the messages.
    """

    messages: tuple[Message, ...]
    row: int = 0
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def prompt(self) -> str:
        """What the person says last before the response; empty for plain text."""
        return next((m.content for m in reversed(self.messages[:-1]) if m.role == "user"), "")

    @property
    def response(self) -> str:
        """The last message's text."""
        return self.messages[-1].content

    @property
    def plain(self) -> bool:
        """Whether this is a text to go on writing and no conversation."""
        return len(self.messages) == 1

    @cached_property
    def canonical(self) -> str:
        """The example as one line of JSON, equal for equal content whatever its row."""
        return json.dumps(as_row(self), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True)
class Dataset:
    """Examples in the order of their file. `faults` are rows that were left out; `notes` say how it was read."""

    name: str
    examples: tuple[Example, ...]
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.examples)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the examples in their order, in hex; rows' numbers and the name do not count."""
        digest = hashlib.sha256()
        for example in self.examples:
            digest.update(example.canonical.encode("utf-8", "replace") + b"\n")
        return digest.hexdigest()

    def problems(self) -> list[str]:
        """Every reason why this cannot be trained on, in words with row numbers; empty when it can."""
        found = []
        if len(self.examples) < FEWEST_ROWS:
            found.append(f"Pick a dataset with at least {FEWEST_ROWS} rows; this one has {len(self.examples)}.")
            found += self.left_out()
        conversations = [example for example in self.examples if not example.plain]
        if len(conversations) > 1 and len({example.response for example in conversations}) == 1:
            found.append(
                f"All {len(conversations)} responses are the same ('{conversations[0].response[:40]}'), so there is "
                "nothing to learn from the prompts. Add rows with other responses."
            )
        return found

    def warnings(self) -> list[str]:
        """What a person should know but may accept: rows that were left out, how columns were taken, duplicates."""
        found = [*self.notes, *self.left_out()]
        seen: dict[str, int] = {}
        again = [each.row for each in self.examples if seen.setdefault(each.canonical, each.row) != each.row]
        if again:
            found.append(f"{rows_named(again)} {'repeats' if len(again) == 1 else 'repeat'} an earlier row exactly.")
        return found

    def left_out(self) -> list[str]:
        """One sentence for each reason for which rows were left out."""
        by_reason: dict[str, list[int]] = {}
        for fault in self.faults:
            by_reason.setdefault(fault.why, []).append(fault.row)
        return [f"{rows_named(rows)} left out: {why}." for why, rows in by_reason.items()]


def rows_named(rows: Sequence[int]) -> str:
    """Row numbers in words, such as 'Row 3' or 'Rows 3, 7 and 9' or 'Rows 1, 2 … and 40 more'."""
    if len(rows) == 1:
        return f"Row {rows[0]:,}"
    named = [f"{row:,}" for row in rows[:MOST_NUMBERS]]
    last = f"{len(rows) - MOST_NUMBERS:,} more" if len(rows) > MOST_NUMBERS else named.pop()
    return f"Rows {', '.join(named)} and {last}"


def as_row(example: Example) -> dict[str, Any]:
    """The example as the row of a jsonl file, from which `read` makes the same example again."""
    return {"messages": [spelled(message) for message in example.messages], **dict(example.fields)}


def spelled(message: Message) -> dict[str, Any]:
    """A message as OpenAI's chat format has it."""
    plain: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        named = [(c.id, {"name": c.name, "arguments": c.arguments}) for c in message.tool_calls]
        plain["tool_calls"] = [{"id": id, "type": "function", "function": function} for id, function in named]
    if message.tool_call_id:
        plain["tool_call_id"] = message.tool_call_id
    return plain


def read(path: Path, mapping: Mapping[str, str] | None = None) -> Dataset:
    """The dataset in a file: jsonl, json, csv, tsv, parquet or txt. Raises Problem.

    `mapping` says which column plays which part (see engine.data.columns.PARTS); without it columns are recognised.
    """
    from engine.data.columns import dataset_from
    from engine.data.readers import read_table

    return dataset_from(read_table(path), mapping)


def saved() -> list[Saved]:
    """The datasets kept in the home folder, newest first."""
    from engine.data.shelf import saved as kept

    return kept()


def samples() -> list[Saved]:
    """The datasets that ship with the app."""
    from engine.data.shelf import samples as shipped

    return shipped()


def split(dataset: Dataset, validation: float, test: float, seed: int) -> tuple[Dataset, Dataset, Dataset]:
    """(training, validation, test): shares between 0 and 1, drawn with the seed; each keeps the file's order.

    Rows with the same prompt stay together, so that nothing is tested that was trained. A share above 0 gets at
    least one row where there are enough. Raises Problem when nothing is left to train on.
    """
    if min(validation, test) < 0 or validation + test >= 1:
        raise Problem("The shares for validation and test must be 0 or more and leave something to train on.")
    groups: dict[str, list[int]] = {}
    for index, example in enumerate(dataset.examples):
        groups.setdefault(example.prompt or example.canonical, []).append(index)
    order = list(groups.values())
    random.Random(seed).shuffle(order)
    parts: list[list[int]] = []
    for share in (validation, test):
        wanted = max(1, round(share * len(dataset))) if share else 0
        part: list[int] = []
        while len(part) < wanted and len(order) > 1:
            part += order.pop()
        parts.append(part)
    training = [index for group in order for index in group]
    if not training:
        raise Problem("There is no row to train on. Load a dataset with more rows.")
    names = ("training", "validation", "test")
    chosen = (training, *parts)
    return tuple(part_of(dataset, indices, name) for indices, name in zip(chosen, names, strict=True))  # type: ignore[return-value]


def part_of(dataset: Dataset, indices: Iterable[int], name: str) -> Dataset:
    """The examples at these places, in the file's order, under a name that says which part they are."""
    chosen = tuple(dataset.examples[index] for index in sorted(indices))
    return replace(dataset, name=f"{dataset.name} ({name})", examples=chosen, faults=(), notes=())
