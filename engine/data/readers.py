"""Reads a file of rows into a table: jsonl, json, csv, tsv, parquet or txt, in whatever encoding it came."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path

from engine.data.csv_rows import read_csv
from engine.data.json_rows import read_json, read_jsonl
from engine.data.table import Gathering, Table, lines, open_text
from engine.errors import Problem


def read_table(path: Path, name: str | None = None) -> Table:
    """The rows of a file, by its name's ending. Raises Problem; a row that cannot be read costs only itself."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise Problem(
            f"{name or path.name} is none of the files that can be read here: {', '.join(sorted(READERS))}. "
            "Save it as one of them."
        )
    gathering = Gathering()
    try:
        reader(path, gathering)
    except OSError as error:
        raise Problem(f"{name or path.name} cannot be opened: {error.strerror or error}.") from error
    table = gathering.table(name or path.name)
    if not table.rows and not table.faults:
        only = "only a header" if table.columns else "no rows"
        raise Problem(f"{table.name} holds {only}. Choose a file with at least one row of data.")
    return table


def read_parquet(path: Path, gathering: Gathering) -> None:
    """A Parquet file, a few rows at a time."""
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=64):
                for cells in batch.to_pylist():
                    number += 1
                    if gathering.full:
                        return
                    gathering.add(number, cells)
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        if not gathering.rows:
            raise Problem(f"{path.name} is not a Parquet file that can be read: {str(error)[:160]}") from error
        gathering.notes.append(f"{path.name} breaks off after row {number:,}; what follows is left out.")


def read_txt(path: Path, gathering: Gathering) -> None:
    """Paragraphs between empty lines, or lines where no line is empty; one column, `text`. Numbers are lines."""
    with open_text(path, gathering) as file:
        numbered = [(number, line.rstrip()) for number, line in lines(file, gathering)]
    paragraphs = any(not line for _, line in numbered)
    for blank, group in itertools.groupby(numbered, key=lambda pair: not pair[1]):
        found = list(group)
        if blank:
            continue
        parts: Iterable[list[tuple[int, str]]] = [found] if paragraphs else ([pair] for pair in found)
        for part in parts:
            gathering.add(part[0][0], {"text": "\n".join(line for _, line in part)})


READERS: dict[str, Callable[[Path, Gathering], None]] = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".parquet": read_parquet,
    ".txt": read_txt,
    ".md": read_txt,
}
