"""Rows of a file before anybody says what they mean, gathered under limits and read line by line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from engine.data.encodings import encoding_of, undecoded

MOST_ROWS = 200_000
LONGEST_LINE = 4 * 2**20  # characters: a row of this length has no place in training, and a 1 GB line none in memory
MOST_CHARACTERS = 400 * 2**20  # of all rows together, which stay in memory
TOO_LONG = f"it is longer than {LONGEST_LINE:,} characters"
UNDECODED = "it holds bytes that are not text in the file's encoding"


@dataclass(frozen=True)
class Fault:
    """A row that is left out: its number in the file, from 1 (lines of jsonl, records of csv), and why."""

    row: int
    why: str


@dataclass(frozen=True)
class Row:
    """One row as it stands in the file: its number there, from 1, and its cells by column."""

    number: int
    cells: Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """What a file holds before anybody says what its columns mean. `notes` say how it was read."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass
class Gathering:
    """A table in the making, under the limits of this module."""

    rows: list[Row] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    columns: dict[str, None] = field(default_factory=dict)  # in the order in which they first come
    characters: int = 0

    @property
    def full(self) -> bool:
        """Whether no further row may come; the first time it is asked, a note says so."""
        full = len(self.rows) >= MOST_ROWS or self.characters >= MOST_CHARACTERS
        if full and not any("left out" in note for note in self.notes):
            self.notes.append(f"Only the first {len(self.rows):,} rows are read; the rest of the file is left out.")
        return full

    def add(self, number: int, cells: Any) -> None:
        """Keep a row, or note why it cannot be one."""
        if not isinstance(cells, dict):
            self.faults.append(Fault(number, f"it is {kind_of(cells)} and not an object with named columns"))
            return
        length = sum(len(value) for value in cells.values() if isinstance(value, str))
        if length > LONGEST_LINE:
            self.faults.append(Fault(number, TOO_LONG))
            return
        self.characters += length
        cells = {str(name).strip(): value for name, value in cells.items()}
        self.columns |= dict.fromkeys(cells)
        self.rows.append(Row(number, cells))

    def table(self, name: str) -> Table:
        """The finished table."""
        return Table(name, tuple(self.columns), tuple(self.rows), tuple(self.faults), tuple(self.notes))


def kind_of(value: Any) -> str:
    """What a JSON value is, in words."""
    words = {str: "a text", list: "a list", bool: "true or false", int: "a number", float: "a number"}
    return words.get(type(value), "empty")


def open_text(path: Path, gathering: Gathering) -> TextIO:
    """The file as text. Bytes that its encoding does not know come as lone surrogates (see `undecoded`)."""
    encoding, note = encoding_of(path)
    gathering.notes += [note] if note else []
    errors = "replace" if encoding.startswith("utf-16") else "surrogateescape"
    return path.open(encoding=encoding, errors=errors, newline="")


def short_lines(file: TextIO) -> Iterator[str | None]:
    """Every line, or None for one that is longer than LONGEST_LINE, of which no more than that is ever in memory."""
    while line := file.readline(LONGEST_LINE):
        if len(line) < LONGEST_LINE or line.endswith(("\n", "\r")):
            yield line
            continue
        while (more := file.readline(LONGEST_LINE)) and not more.endswith(("\n", "\r")):
            pass
        yield None


def lines(file: TextIO, gathering: Gathering) -> Iterator[tuple[int, str]]:
    """Numbered lines, from 1, that are short enough, fully decoded and not blank; others become faults."""
    for number, line in enumerate(short_lines(file), 1):
        if gathering.full:
            return
        if line is None:
            gathering.faults.append(Fault(number, TOO_LONG))
        elif undecoded(line):
            gathering.faults.append(Fault(number, UNDECODED))
        else:
            yield number, line
