"""Whole collections from the command line: `python -m rag rebuild|check|export|import`."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import Problem
from rag.headless import command, show, told

if TYPE_CHECKING:
    from rag.store import Store


def register(commands: Any) -> None:
    """The commands for a whole collection, each with its function as `run`."""
    about = "cut and embed a collection anew from its stored pages, then its search index"
    rebuild = command(commands, "rebuild", run_rebuild, about)
    rebuild.add_argument("--index", action="store_true", help="the search index alone, from the stored vectors")
    rebuild.add_argument("--embedder", help="another embedding model")
    rebuild.add_argument("--chunk-tokens", type=int)
    rebuild.add_argument("--overlap", type=int)
    command(commands, "check", run_check, "look for damage; 0 when there is none", needed=False)
    export = command(commands, "export", run_export, "write a collection into one file")
    export.add_argument("path", type=Path)
    bring = command(commands, "import", run_import, "make a collection from such a file", needed=False)
    bring.add_argument("path", type=Path)


def run_rebuild(args: argparse.Namespace) -> int:
    """Cut and embed anew, then the index; one that another process holds is left alone, and brought up there."""
    from rag.indexing.keeping import InUse
    from rag.rebuilding import rebuild
    from rag.store import Store

    if args.index and (args.embedder or args.chunk_tokens or args.overlap is not None):
        raise Problem("Say --index alone: it makes the search index anew from the vectors that are there.")
    with Store.open(args.collection) as store:
        if not args.index:
            rebuild(store, args.embedder, args.chunk_tokens, args.overlap, told(args.json))
        try:
            index = made_anew(store)
        except InUse as held:
            if args.index:
                raise
            index = f"{held.fact}, which brings it up to the store itself; it was left alone."
        made = {**dataclasses.asdict(store.settings), "chunks": store.count(), "index": index}
    return show(
        [made], args.json, lambda row: f"{row['name']}: {row['chunks']} chunks with {row['embedder']}. {row['index']}"
    )


def made_anew(store: Store) -> str:
    """Make the index anew from the store; what became of it. Raises InUse where another process holds it."""
    from rag.index import Index

    with Index(store, anew=True) as index:
        return f"The index of '{index.name}' was made anew from the store: {index.count():,} passages."


def run_check(args: argparse.Namespace) -> int:
    """What is wrong with one collection or with all; 1 when something is."""
    from rag.rebuilding import faults, index_of
    from rag.store import Store
    from rag.storing.place import store_folders

    folders = [Store.open(args.collection).folder] if args.collection else list(store_folders())
    rows = []
    for folder in folders:
        index, wrong = index_of(folder), faults(folder)
        if index and index.wrong:
            wrong.append(index.sentence)
        rows.append({"collection": folder.name, "faults": wrong, "index": index.sentence if index else ""})
    show(rows, args.json, row_of_check)
    return int(any(row["faults"] for row in rows))


def row_of_check(row: dict[str, Any]) -> str:
    """What was looked at, for people."""
    index = [row["index"]] if row["index"] and row["index"] not in row["faults"] else []
    return f"{row['collection']}: {' '.join([*(row['faults'] or ['sound.']), *index])}"


def run_export(args: argparse.Namespace) -> int:
    """Write a collection into one file."""
    from rag.store import Store

    with Store.open(args.collection) as store:
        path = store.export_to(args.path)
    return show(
        [{"file": str(path), "bytes": path.stat().st_size}],
        args.json,
        lambda row: f"{row['file']}: {row['bytes']} bytes",
    )


def run_import(args: argparse.Namespace) -> int:
    """Make a collection from an exported file."""
    from rag.store import Store

    with Store.import_from(args.path, args.collection) as store:
        made = {"name": store.settings.name, "files": len(store.files()), "chunks": store.count()}
    return show([made], args.json, lambda row: f"{row['name']}: {row['files']} files, {row['chunks']} chunks")
