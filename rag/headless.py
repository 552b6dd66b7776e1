"""Documents in from the command line: `python -m rag add FOLDER --collection NAME`, list, remove."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import importlib.util
import json
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import Problem
from rag.types import CollectionSettings, FileRecord, FileReport

if TYPE_CHECKING:
    from rag.store import Store

BAD = ("refused", "failed", "encrypted", "cancelled")
LOCKED = "It is locked; give its password with --password."
PRINTED = ("file", "state", "pages", "chunks", "reason")
Command = Callable[[argparse.Namespace], int]


def parser() -> argparse.ArgumentParser:
    """All commands; those that ask questions or serve register themselves."""
    top = argparse.ArgumentParser(prog="python -m rag", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    register(commands)
    for module in ("rag.headless_keep", "rag.headless_out", "rag.headless_compare", "rag.serve"):
        if importlib.util.find_spec(module):
            importlib.import_module(module).register(commands)
    return top


def register(commands: Any) -> None:
    """The commands of documents in, each with its function as `run`."""
    add = command(commands, "add", run_add, "add files, a folder or a zip; what is there already costs nothing")
    add.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a folder, a zip, or files")
    add.add_argument("--tag", action="append", default=[], help="a tag for all files, besides their folders; repeat")
    add.add_argument("--password", action="append", default=[], help="a password to try on locked PDFs; repeat")
    add.add_argument("--plan", action="store_true", help="only say what would be done")
    add.add_argument("--remove-gone", action="store_true", help="remove files that are no longer in the folder")
    add.add_argument("--embedder", default=CollectionSettings.embedder, help="of a new collection")
    add.add_argument("--chunk-tokens", type=int, default=CollectionSettings.chunk_tokens, help="of a new collection")
    add.add_argument("--overlap", type=int, default=CollectionSettings.overlap, help="of a new collection")
    command(commands, "list", run_list, "the collections, or the files of one", needed=False)
    remove = command(commands, "remove", run_remove, "remove files from a collection, or all of it")
    remove.add_argument("files", nargs="*", metavar="FILE", help="paths as `list` shows them")
    remove.add_argument("--all", action="store_true", help="delete the whole collection")


def command(commands: Any, name: str, run: Command, about: str, needed: bool = True) -> argparse.ArgumentParser:
    """One command with the options that all have."""
    made: argparse.ArgumentParser = commands.add_parser(name, help=about, description=about)
    made.add_argument("--collection", required=needed, default="", metavar="NAME")
    made.add_argument("--json", action="store_true", help="print JSON")
    made.set_defaults(run=run)
    return made


def run_add(args: argparse.Namespace) -> int:
    """Add; 0 when every file is in, 1 when one is not."""
    import tempfile

    from rag.adding import apply, plan
    from rag.sources import gathered

    stopped: list[int] = []
    with tempfile.TemporaryDirectory(prefix="diptych-add-") as room:
        sources = gathered([path.expanduser() for path in args.paths], Path(room) / "unpacked")
        with shelf(args, Path(room)) as store:
            wanted = plan(store, sources, passwords=args.password)
            if args.plan:
                return show([printed(report) for report in wanted.reports], args.json, row_of_report) and 0
            before = signal.signal(signal.SIGINT, lambda *_: stopped.append(1))
            try:
                reports = apply(
                    store, wanted, told(args.json), lambda: bool(stopped), args.password, args.remove_gone, args.tag
                )
            finally:
                signal.signal(signal.SIGINT, before)
    show([printed(report) for report in reports], args.json, row_of_report)
    return int(any(report.state in BAD for report in reports))


def shelf(args: argparse.Namespace, room: Path) -> Store:
    """The collection to add to, made where it is not there; for a plan alone, an empty one in `room`. Raises Problem.

    The sample is left as it came along.
    """
    from rag.store import Store, checked_name
    from rag.storing import place, schema

    if args.collection.strip() == place.SAMPLE:
        place.refuse_reserved(place.SAMPLE)
    if Store.folder_of(args.collection):
        return Store.open(args.collection)
    chosen = CollectionSettings(
        args.collection, embedder=args.embedder, chunk_tokens=args.chunk_tokens, overlap=args.overlap
    )
    if not args.plan:
        return Store.create(args.collection, chosen)
    place.refuse_reserved(checked_name(args.collection))
    schema.create(room / schema.FILE)
    return Store(room)


def told(quiet: bool) -> Callable[[Any], None]:
    """Prints progress on the error stream, on one line, where a person looks on."""
    from rag.progress import Progress

    def tell(event: Any) -> None:
        if isinstance(event, Progress) and not quiet and sys.stderr.isatty():
            left = "" if event.seconds_left is None else f", {event.seconds_left:.0f} s left"
            print(
                f"\r{event.share:4.0%} {event.chunks_done} chunks, {event.pages} pages{left}   ",
                end="",
                file=sys.stderr,
            )

    return tell


def run_list(args: argparse.Namespace) -> int:
    """The collections, or the files of one."""
    from rag.store import Store, list_collections, unreadable_collections

    if args.collection:
        with Store.open(args.collection) as store:
            return show([record_values(record) for record in store.files()], args.json, row_of_file)
    rows = []
    for made in list_collections():
        with Store.open(made.name) as store:
            rows.append({**dataclasses.asdict(made), "files": len(store.files()), "chunks": store.count()})
    for sentence in unreadable_collections().values():
        print(sentence, file=sys.stderr)
    return show(
        rows, args.json, lambda row: f"{row['name']}: {row['files']} files, {row['chunks']} chunks ({row['embedder']})"
    )


def run_remove(args: argparse.Namespace) -> int:
    """Remove files; nothing of their text stays on the disk."""
    from rag.store import Store

    store = Store.open(args.collection)
    if args.all:
        store.delete()
        return show(
            [{"collection": args.collection, "state": "removed"}], args.json, lambda row: f"removed {row['collection']}"
        )
    with store:
        if not args.files:
            raise Problem("Name the files to remove as `python -m rag list` shows them, or say --all.")
        rows = [{"file": name, "state": "removed" if store.remove_file(name) else "not there"} for name in args.files]
        store.compact()
    show(rows, args.json, lambda row: f"{row['state']}: {row['file']}")
    return int(any(row["state"] == "not there" for row in rows))


def printed(report: FileReport) -> dict[str, Any]:
    """A report as JSON prints it; besides the five fields, those that say something."""
    values = dataclasses.asdict(report)
    return {name: value for name, value in values.items() if name in PRINTED or (value and name != "bytes")}


def record_values(record: FileRecord) -> dict[str, Any]:
    """A stored file as JSON prints it."""
    values = dataclasses.asdict(record)
    values["removed"] = [dataclasses.asdict(one) for one in record.removed]
    return {"file": values.pop("path"), **{name: value for name, value in values.items() if name not in ("id", "kept")}}


def row_of_report(row: dict[str, Any]) -> str:
    """A report for people."""
    moved = f" (was {row['moved_from']})" if row.get("moved_from") else ""
    counts = f"{row['pages']:5} pages {row['chunks']:5} chunks"
    locked = LOCKED if row.get("encrypted") and not row["reason"] else ""
    return f"{row['state']:9} {counts}  {row['file']}{moved}  {row['reason']}{locked}".rstrip()


def row_of_file(row: dict[str, Any]) -> str:
    """A stored file for people."""
    tags = f"  [{', '.join(row['tags'])}]" if row["tags"] else ""
    return f"{row['pages']:5} pages {row['chunks']:5} chunks  {row['file']}{tags}  {row['reason']}".rstrip()


def show(rows: Sequence[dict[str, Any]], as_json: bool, row: Callable[[dict[str, Any]], str]) -> int:
    """Print rows as a JSON list or a line each; 0."""
    print(json.dumps(list(rows), ensure_ascii=False, indent=2) if as_json else "\n".join(map(row, rows)))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 2 when the request was wrong."""
    args = parser().parse_args(arguments)
    try:
        return int(args.run(args))
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 2
