"""What the buttons below the rows of the Data tab do: download, keep for fine-tuning, put on the Hub."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from engine.data.exports import FORMATS
from engine.data.hub_data import push
from engine.data.prepare import CUSTOM
from engine.data.shelf import Saved, save, saved
from engine.datasets import split
from engine.errors import Problem
from pages import data_render as render
from pages.bench import Bench
from pages.data_moves import look_from, shelf
from pages.parts import asks, visitor

ENDINGS = ("", " validation", " test")  # of the names of a split's parts


def export(name: str) -> Callable[..., str]:
    """The rows as a file's name, type and text, which the page's script offers as a download."""
    ending, media, make = FORMATS[name]

    @asks("export own")
    def export_rows(request: gr.Request, bench: Bench) -> str:
        rows = bench.rows
        stem = re.sub(r"[^\w.-]+", "-", re.sub(r"\.\w+$", "", rows.name)).strip("-.") or "dataset"
        return json.dumps({"name": f"{stem}.{ending}", "type": media, "text": make(rows)})

    return export_rows


@asks("save dataset")
def keep(
    request: gr.Request,
    bench: Bench,
    name: str,
    validation: float | None,
    test: float | None,
    seed: float | None,
    *look: Any,
) -> list[Any]:
    """Keep the rows for fine-tuning, and their validation and test parts beside them where a share is above 0."""
    rows, written = bench.rows, look_from(look, request).style
    if wrong := rows.problems():
        raise Problem(" ".join(wrong))
    own = {"title": written.title, "turn": written.turn, "system": written.system} if written.name == CUSTOM else None
    owner = visitor(request).name
    name = (name or "").strip()
    if not (validation or test):
        kept = [save(replace(rows, name=name), name, owner, own)]
    else:
        parts = zip(split(rows, validation or 0, test or 0, int(seed or 0)), ENDINGS, strict=True)
        kept = [save(part, f"{name}{ending}", owner, own) for part, ending in parts if part.examples]
    told = ", ".join(f"{each.name} ({each.rows:,} {'row' if each.rows == 1 else 'rows'})" for each in kept)
    return [render.told(f"Saved: {told}.{older(name, kept)}"), gr.update(choices=shelf(True))]


def older(name: str, kept: Sequence[Saved]) -> str:
    """A word about parts of an earlier split under this name that the new one did not replace."""
    parts = {f"{name}{ending}" for ending in ENDINGS} - {each.name for each in kept}
    left = [each.name for each in saved() if each.name in parts]
    return f" From an earlier split there is still {' and '.join(left)}: rows of it may be among these." if left else ""


@asks("push dataset")
def push_rows(request: gr.Request, bench: Bench, name: str, private: bool) -> str:
    """Put the rows on the Hub."""
    return render.told(f"Pushed to {push(bench.rows, name or '', private is not False)}.")
