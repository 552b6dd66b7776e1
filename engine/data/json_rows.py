"""Reads rows from JSON: one object a line, or one value that holds a list of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.data.encodings import undecoded
from engine.data.table import UNDECODED, Fault, Gathering, kind_of, lines, open_text
from engine.errors import Problem

CONVERSATIONS = ("messages", "conversations", "conversation", "dialogue", "dialog")  # columns that hold whole talks
LARGEST_JSON = 256 * 2**20  # bytes: a JSON array can only be read whole


class SeveralValues(Exception):
    """The file holds JSON objects one after another, as jsonl does."""


def read_jsonl(path: Path, gathering: Gathering) -> None:
    """One JSON object a line; a file that is one JSON value over many lines is read as that."""
    with open_text(path, Gathering()) as file:
        start = file.read(4096).lstrip()
    if start.startswith("[") or start.partition("\n")[0].strip() == "{":
        read_json(path, gathering)
    else:
        read_lines(path, gathering)


def read_lines(path: Path, gathering: Gathering) -> None:
    """One JSON object a line, whatever the file looks like."""
    with open_text(path, gathering) as file:
        for number, line in lines(file, gathering):
            if line.strip():
                read_line(number, line, gathering)


def read_line(number: int, line: str, gathering: Gathering) -> None:
    """Add one line of JSON."""
    try:
        gathering.add(number, json.loads(line, object_pairs_hook=once))
    except RecursionError:
        gathering.faults.append(Fault(number, "its JSON is nested too deeply"))
    except ValueError as error:
        gathering.faults.append(Fault(number, json_trouble(error)))


def json_trouble(error: ValueError) -> str:
    """What is wrong with a JSON text, in words."""
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON ({error.msg.lower()})"
    return f"it is not JSON that can be used: {error}"


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The pairs of a JSON object as a dict. Raises ValueError where a key stands twice: one value would be lost."""
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key '{next(name for name in names if names.count(name) > 1)}' stands twice")
    return made


def read_json(path: Path, gathering: Gathering) -> None:
    """A JSON array of objects, an object that holds one such array, or columns as lists of equal length."""
    if path.stat().st_size > LARGEST_JSON:
        raise Problem(
            f"{path.name} is larger than {LARGEST_JSON // 2**20} MB, too large for one JSON value. Save it as jsonl, "
            "one object a line."
        )
    with open_text(path, gathering) as file:
        text = file.read()
    try:
        value = json_value(text, path.name)
    except SeveralValues:
        gathering.notes.clear()
        read_lines(path, gathering)
        return
    for number, cells in enumerate(rows_in(value, path.name), 1):
        if gathering.full:
            return
        if isinstance(cells, dict) and any(undecoded(v) for v in cells.values() if isinstance(v, str)):
            gathering.faults.append(Fault(number, UNDECODED))
        else:
            gathering.add(number, cells)


def json_value(text: str, name: str) -> Any:
    """The value of a whole file. Raises SeveralValues for objects one after another, Problem for other troubles."""
    try:
        return json.loads(text, object_pairs_hook=once)
    except RecursionError:
        raise Problem(f"{name} is nested too deeply to be a list of rows.") from None
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and text.lstrip().startswith("{"):
            raise SeveralValues from error
        raise Problem(f"{name} is not valid JSON: {error.msg}, in line {error.lineno}.") from error
    except ValueError as error:
        raise Problem(f"{name} cannot be used: {error}.") from error


def rows_in(value: Any, name: str) -> Sequence[Any]:
    """The list of rows in a JSON value. Raises Problem where there is none."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        if any(str(name).lower() in CONVERSATIONS for name in value):
            return [value]
        found = [each for each in value.values() if isinstance(each, list)]
        if len(found) == 1 and len(value) <= 5 and all(isinstance(each, dict) for each in found[0]):
            return found[0]
        if found and len(found) == len(value) and len({len(each) for each in found}) == 1:
            return [dict(zip(value, cells, strict=True)) for cells in zip(*found, strict=True)]
        return [value]
    raise Problem(f"{name} holds {kind_of(value)} and no rows. It should be a list of objects.")
