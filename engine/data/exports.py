"""A dataset as text: jsonl that reads back the same, OpenAI's chat jsonl, and CSV for a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

from engine.datasets import Dataset, as_row, spelled
from engine.errors import Problem

# what spreadsheets take for the start of a formula, in half and in full width (OWASP, "CSV Injection")
FORMULA_STARTS = tuple("=+-@\t\r\n＝＋－＠")


def as_jsonl(dataset: Dataset) -> str:
    """Messages and the other columns, one row a line."""
    return "".join(json.dumps(as_row(example), ensure_ascii=False) + "\n" for example in dataset.examples)


def as_chat_jsonl(dataset: Dataset) -> str:
    """OpenAI's format for fine-tuning: nothing but messages. Raises Problem for plain text, which it cannot hold."""
    if any(example.plain for example in dataset.examples):
        raise Problem("Chat jsonl needs a prompt in every row; this dataset holds plain text. Export jsonl instead.")
    rows = ({"messages": [spelled(message) for message in example.messages]} for example in dataset.examples)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def as_csv(dataset: Dataset) -> str:
    """Prompt, response and the other columns; conversations of several turns keep them all in `messages`.

    Text that a spreadsheet might run as a formula gets an apostrophe in front.
    """
    names = dict.fromkeys(name for example in dataset.examples for name, _ in example.fields)
    out = io.StringIO()
    long = any(len(example.messages) > 3 or example.messages[-1].tool_calls for example in dataset.examples)
    plain = all(example.plain for example in dataset.examples)
    columns = ["text"] if plain else ["messages"] if long else ["system", "prompt", "response"]
    writer = csv.writer(out, lineterminator="\r\n")
    heads = [f"{name} (column)" if name in columns else name for name in names]  # both are there, under two names
    writer.writerow([cell(name) for name in (*columns, *heads)])
    for example in dataset.examples:
        said: dict[str, Any] = {"text": example.response, "prompt": example.prompt, "response": example.response}
        said["system"] = "\n".join(m.content for m in example.messages if m.role == "system")
        said["messages"] = json.dumps([spelled(message) for message in example.messages], ensure_ascii=False)
        values = dict(example.fields)
        row = [said[name] for name in columns] + [values.get(name, "") for name in names]
        writer.writerow([cell(value) for value in row])
    return out.getvalue()


def cell(text: str) -> str:
    """A text as a cell that no spreadsheet runs."""
    risky = text.startswith(FORMULA_STARTS) or text.lstrip().startswith(FORMULA_STARTS)
    return f"'{text}" if risky else text


# what a button says: (file name's end, media type, maker)
FORMATS: dict[str, tuple[str, str, Callable[[Dataset], str]]] = {
    "jsonl": ("jsonl", "application/jsonl", as_jsonl),
    "chat jsonl": ("chat.jsonl", "application/jsonl", as_chat_jsonl),
    "CSV": ("csv", "text/csv", as_csv),
}
