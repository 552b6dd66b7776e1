"""Reads rows from CSV and TSV."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from engine.data.encodings import undecoded
from engine.data.table import LONGEST_LINE, TOO_LONG, UNDECODED, Fault, Gathering, open_text, short_lines
from engine.errors import Problem

DELIMITERS = ",;\t|"
csv.field_size_limit(LONGEST_LINE)  # the library's own limit, 128 KiB, is below a long document


def read_csv(path: Path, gathering: Gathering) -> None:
    """A header and records; the delimiter is the one that the header has most of, a tab in .tsv."""
    too_long: set[int] = set()
    with open_text(path, gathering) as file:
        head = next((line for line in short_lines(file) if line is None or line.strip()), "")
        if head is None:
            raise Problem(f"The header of {path.name} cannot be read: {TOO_LONG}.")
        delimiter = "\t" if path.suffix.lower() == ".tsv" else max(DELIMITERS, key=head.count)
        records = csv.reader(itertools.chain([head], csv_lines(file, too_long)), delimiter=delimiter)
        header = csv_header(records, path.name)
        gathering.columns |= dict.fromkeys(header)
        for number in itertools.count(1):
            before = records.line_num
            try:
                cells = next(records)
            except StopIteration:
                return
            except csv.Error as error:
                gathering.faults.append(Fault(number, f"it is not CSV: {error}"))
                continue
            if gathering.full:
                return
            if too_long and not too_long.isdisjoint(range(before + 1, records.line_num + 1)):
                gathering.faults.append(Fault(number, TOO_LONG))
            elif any(cells):
                add_record(number, header, cells, gathering)


def csv_lines(file: TextIO, too_long: set[int]) -> Iterator[str]:
    """Lines behind the header. One that is too long comes as an empty one, and its number goes into `too_long`."""
    for number, line in enumerate(short_lines(file), 2):
        if line is None:
            too_long.add(number)
        yield "\n" if line is None else line


def csv_header(records: Iterator[list[str]], name: str) -> list[str]:
    """The names of the columns. Raises Problem where they cannot be told apart."""
    try:
        header = [column.strip() for column in next(records, [])]
    except csv.Error as error:
        raise Problem(f"The header of {name} cannot be read: {error}.") from error
    if any(undecoded(column) for column in header):
        raise Problem(f"The header of {name} cannot be read: {UNDECODED}.")
    if twice := sorted({column for column in header if header.count(column) > 1}):
        raise Problem(f"The header of {name} names a column twice: '{', '.join(twice)}'. Rename one of them.")
    return header


def add_record(number: int, header: list[str], cells: list[str], gathering: Gathering) -> None:
    """Add one record of CSV; cells missing at its end are empty."""
    if any(undecoded(cell) for cell in cells):
        gathering.faults.append(Fault(number, UNDECODED))
    elif len(cells) > len(header):
        gathering.faults.append(Fault(number, f"it has {len(cells)} cells under {len(header)} columns"))
    else:
        gathering.add(number, dict(itertools.zip_longest(header, cells, fillvalue="")))
