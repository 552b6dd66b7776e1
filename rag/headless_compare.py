"""Lanes with documents from the command line: `python -m rag compare --prompt TEXT --lane MODEL@COLLECTION`."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from typing import Any

from engine.compare import CompareEvent, Lane, LaneGrounded
from engine.grounding import DEFAULT, forms
from engine.headless import add_options, compared, lanes_from, printed, readable
from engine.lanes import LaneResult
from rag.collection import Collection
from rag.lane import Documents, checked, parted
from rag.store import Store, list_collections


def register(commands: Any) -> None:
    """Make `compare` a command of `python -m rag`: `python -m engine.compare` whose lanes may read documents."""
    about = "one prompt through several lanes; a lane named MODEL@COLLECTION reads that collection first"
    made = commands.add_parser("compare", help=about, description=about)
    add_options(made)
    made.add_argument("--form", choices=list(forms()), default=DEFAULT, help="how the passages are put")
    made.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run one comparison; 0 when every lane answered, 1 when one failed. Raises Problem."""
    lanes = with_documents(args)
    read: dict[int, LaneGrounded] = {}

    def tell(event: CompareEvent) -> None:
        if isinstance(event, LaneGrounded):
            read[event.lane] = event

    results = compared(lanes, args.prompt, tell)
    rows = [row(lanes[at], result, read.get(at)) for at, result in enumerate(results)]
    if args.json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
    else:
        print("\n".join(shown(result, each) for result, each in zip(results, rows, strict=True)))
    return int(any(result.error for result in results))


def with_documents(args: argparse.Namespace) -> list[Lane]:
    """The lanes of the options, each with the collection behind its @. Stores are searched themselves, exactly."""
    known = [each.name for each in list_collections()]
    parts = [parted(name, known) for name in args.lane or []]
    lanes = lanes_from(argparse.Namespace(**{**vars(args), "lane": [model for model, _ in parts] or None}))
    shelf = {name: Documents(name, opening=lambda one: Collection(Store.open(one))) for _, name in parts if name}
    return [
        replace(lane, passages=shelf.get(name), form=args.form)
        for lane, (_, name) in zip(lanes, parts or [("", "")] * len(lanes), strict=True)
    ]


def row(lane: Lane, result: LaneResult, read: LaneGrounded | None) -> dict[str, Any]:
    """A result as JSON prints it; where passages were read, with the checked words and the sources."""
    values = printed(result)
    if read is None or not isinstance(lane.passages, Documents):
        return values
    hits = lane.passages.hits(read.question)[: len(read.passages)]
    if not hits:
        return values | {"collection": lane.passages.name, "sources": []}
    found = checked(lane, result.text, hits, read.question)
    sources = [
        {"number": hit.rank, "file": hit.chunk.file, "page": hit.chunk.page_label, "cosine": round(hit.cosine, 4),
         "cited": hit.rank in found.cited}
        for hit in hits
    ]  # fmt: skip
    return values | {"text": found.text, "collection": lane.passages.name, "sources": sources}


def shown(result: LaneResult, values: dict[str, Any]) -> str:
    """A lane for people, its sources below."""
    lines = [
        f"[{one['number']}] {one['file']}, page {one['page']} ({one['cosine']:.2f}){', cited' * one['cited']}\n"
        for one in values.get("sources", ())
    ]
    return readable(replace(result, text=values["text"])) + "".join(lines)
