"""The owner's models from the command line: `python -m engine.models look|add|list|stop|resume|load|delete`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from engine.amounts import amount
from engine.errors import Problem
from engine.models import download, kept, loaded
from engine.models.footprint import PRECISIONS
from engine.models.kept import Entry
from engine.models.look import look
from engine.models.report import Report

GLANCE = 0.5  # seconds between two looks at a download that is waited for
MARKS = {"good": "ok", "note": "note", "bad": "NO"}


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(prog="python -m engine.models", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    for name, about in (("look", "look at a model, change nothing"), ("add", "look, then add; a Hub model downloads")):
        command = commands.add_parser(name, help=about)
        command.add_argument("source", help="a folder, or a Hub id such as HuggingFaceTB/SmolLM2-135M")
        command.add_argument("--revision", help="branch, tag, commit or refs/pr/1; default: the newest")
        command.add_argument("--base", help="the model that an adapter is attached to")
        command.add_argument("--json", action="store_true", help="print JSON")
        if name == "add":
            command.add_argument("--name", default="", help="what it is called in every list")
            command.add_argument("--precision", choices=list(PRECISIONS), default="auto")
            command.add_argument("--wait", action="store_true", help="return when the download is over")
    commands.add_parser("list", help="the models that were added").add_argument("--json", action="store_true")
    for name, about in (
        ("resume", "go on with a download, to its end"),
        ("stop", "stop a download; what has come is kept"),
        ("load", "load once and tell what it takes"),
        ("delete", "remove a model and what was downloaded for it"),
    ):
        command = commands.add_parser(name, help=about)
        command.add_argument("name", help="a model's name or id")
        command.add_argument("--json", action="store_true", help="print JSON")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command: 0 when all is well, 1 when a look or a download ends badly, 2 when the request was wrong."""
    args = parser().parse_args(arguments)
    try:
        return run(args)
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 2


def run(args: argparse.Namespace) -> int:
    """One command. Raises Problem."""
    match args.command:
        case "look":
            found = look(args.source, args.revision, args.base)
            print(json.dumps(found.plain(), indent=2) if args.json else told(found))
            return 0 if found.usable else 1
        case "add":
            entry = kept.keep(look(args.source, args.revision, args.base), args.name, args.precision)
            return report([waited(entry) if args.wait else entry], args.json)
        case "list":
            return report(kept.entries(), args.json)
    entry = named(args.name)
    match args.command:
        case "resume":
            download.resume(entry.store)
            return report([waited(entry)], args.json)
        case "stop":
            download.cancel(entry.store)
            return report([entry], args.json) and 0
        case "load":
            took = loaded.load(kept.to_load(entry), int(entry.needs.get(entry.precision, 0)))
            print(json.dumps(asdict(took), indent=2) if args.json else footprint(took))
        case "delete":
            kept.delete(entry)
            print(json.dumps({"deleted": entry.name}) if args.json else f"{entry.name} is deleted.")
    return 0


def named(name: str) -> Entry:
    """The kept model of that name or id. Raises Problem."""
    for entry in kept.entries():
        if name in (entry.id, entry.name):
            return entry
    raise Problem(f"There is no model '{name}' among those that were added. `python -m engine.models list` shows them.")


def waited(entry: Entry) -> Entry:
    """The entry once its download is over, well or not."""
    while entry.store and download.progress(entry.store).state in ("waiting", "downloading", "checking"):
        time.sleep(GLANCE)
    return entry


def told(found: Report) -> str:
    """A look as lines: every finding, then bytes in memory at each precision."""
    lines = [f"{MARKS[each.kind]:>5}  {each.text}" for each in found.findings]
    lines += [f"{'':>5}  {PRECISIONS[name]}: {amount(size)} in memory" for name, size in found.needs.items()]
    if found.instead:
        lines.append(f"{'':>5}  Look at this instead: {found.instead}")
    return "\n".join(lines)


def footprint(took: loaded.Footprint) -> str:
    """A load as one line."""
    return f"{took.name}: {amount(took.reckoned)} reckoned before, {amount(took.held)} of weights held now."


def described(entry: Entry) -> dict[str, Any]:
    """A kept model as plain data."""
    now = download.progress(entry.store) if entry.store else None
    state = now.state if now else "done" if entry.ready else "gone"
    return {
        "id": entry.id, "name": entry.name, "kind": entry.kind, "source": entry.source, "commit": entry.commit,
        "precision": entry.precision, "state": state, "arrived": now.done if now else entry.size, "size": entry.size,
        "reason": now.reason if now else "", "folder": str(entry.folder),
    }  # fmt: skip


def report(entries: Sequence[Entry], as_json: bool) -> int:
    """Print kept models; 1 when a download among them has failed or was stopped."""
    rows = [described(entry) for entry in entries]
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    for row in [] if as_json else rows:
        size = f"{amount(row['arrived'])} of {amount(row['size'])}"
        print(f"{row['name']}  {row['kind']}  {row['precision']}  {row['state']}  {size}  {row['source']}")
        if row["reason"]:
            print(f"    {row['reason']}")
    return 1 if any(row["state"] in ("failed", "stopped", "gone") for row in rows) else 0
