"""The named endpoints /add_documents, /search and /ask, for gradio_client and plain HTTP."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path
from typing import Any

import gradio as gr

from engine import jobs
from engine.access import Visitor
from engine.errors import Problem
from engine.jobs import Job
from pages.desk import Desk
from pages.form import resolve
from pages.knowledge_open import collection_of
from pages.knowledge_shelf import tagged
from pages.knowledge_study import Study
from pages.parts import asks, visitor
from pages.upload import batch_folder, uploads
from rag import job as adding
from rag import sample
from rag.answer import Answer
from rag.answer import answered as last_of
from rag.answer import ask as answering
from rag.collection import How
from rag.retrieve import retrieve
from rag.sources import gathered
from rag.store import Store
from rag.types import CollectionSettings, Hit

LONGEST = 3600.0  # seconds that a caller waits for a job


@asks("add documents")
def add_documents(
    request: gr.Request,
    collection: str,
    path: str = "",
    batch: str = "",
    tags: str = "",
    password: str = "",
    remove_gone: bool = False,
    wait: bool = True,
) -> dict[str, Any]:
    """Add a folder, zip or file of this machine, or a batch that was sent to the upload route, to a collection.

    A collection that is not there is made. Returns the run and, where one waits for it, a report for each file.
    """
    who = visitor(request)
    if path and who.mode != "local":
        raise Problem("From afar, files cannot be named. Send them to the upload route and give their batch.")
    if not (path or batch):
        raise Problem("Say what to add: a path of this machine, or the batch of an upload.")
    if not collection.strip() or collection.strip() == sample.NAME:
        raise Problem("Name a collection of your own to add to.")
    if batch:
        files = batch_folder(batch, who.name)
        run = started(who, collection, sorted(files.iterdir()), files.parent, tags, password, remove_gone)
    else:
        room = uploads() / uuid.uuid4().hex  # named as a batch is: what a stopped job leaves goes with old batches
        try:
            run = started(who, collection, [Path(path).expanduser()], room, tags, password, remove_gone)
        except BaseException:
            shutil.rmtree(room, ignore_errors=True)
            raise
    if wait:
        run = jobs.wait(run, LONGEST)
    told = [report(each) for each in adding.reports(run)]
    return {"run": run.id, "state": run.state, "reason": run.reason, "collection": collection, "files": told}


def started(
    who: Visitor, collection: str, paths: list[Path], room: Path, tags: str, password: str, remove_gone: bool
) -> Job:
    """The job that adds the paths; zips are unpacked in `room`, a folder that goes when all is added."""
    sources = gathered(paths, room / "unpacked")
    if Store.folder_of(collection) is None:
        Store.create(collection, CollectionSettings(collection, owner=who.name)).close()
    passwords = [password] if password else ()
    return adding.start(collection, sources, who.name, tagged(tags), passwords, bool(remove_gone), room)


def report(found: Any) -> dict[str, Any]:
    """A file's report as the command line prints it."""
    return {name: getattr(found, name) for name in ("file", "state", "pages", "chunks", "reason")}


@asks("ask documents")
def search(
    request: gr.Request,
    question: str,
    collection: str = sample.NAME,
    k: int = 3,
    mode: str = "both",
    cutoff: float | None = None,
    tags: str = "",
) -> list[dict[str, Any]]:
    """The passages nearest to a question, best first: file, page, score, why, and the text."""
    how = how_from(k, mode, cutoff, tags)
    found = retrieve(collection_of(Study(collection), visitor(request)), question, **vars(how))
    return [described(hit) for hit in found.hits]


@asks("ask documents")
def ask(
    request: gr.Request,
    question: str,
    collection: str = sample.NAME,
    model: str = "starter",
    context: bool = True,
    form: str = "strict",
    k: int = 3,
    mode: str = "both",
    cutoff: float | None = None,
    tags: str = "",
) -> dict[str, Any]:
    """An answer from a collection with its numbered sources; without `context` the bare question is asked."""
    who = visitor(request)
    chosen, key = resolve(model, "the answer", Desk([]), who)
    held = collection_of(Study(collection), who)
    how = how_from(k, mode, cutoff, tags)
    return result(last_of(answering(question, held, chosen, context=bool(context), how=how, form=form, key=key)))


def how_from(k: int, mode: str, cutoff: float | None, tags: str) -> How:
    """The arguments as a way to search."""
    where = {"tag": list(tagged(tags))} if tagged(tags) else None
    return How(int(k), mode, None if cutoff is None else float(cutoff), where)  # type: ignore[arg-type]


def described(hit: Hit) -> dict[str, Any]:
    """A hit as plain data."""
    chunk = hit.chunk
    return {
        "rank": hit.rank, "file": chunk.file, "page": chunk.page + 1, "page_label": chunk.page_label,
        "score": hit.cosine, "vector_rank": hit.vector_rank, "keyword_rank": hit.keyword_rank,
        "matched": list(hit.matched), "tags": list(chunk.tags), "text": chunk.text,
        "also": [{"file": each.file, "page": each.page + 1} for each in hit.also],
    }  # fmt: skip


def result(answer: Answer) -> dict[str, Any]:
    """An answer as plain data."""
    quotes = [{"text": each.text, "passages": list(each.numbers)} for each in answer.quotes]
    return {
        "question": answer.question, "question_used": answer.question_used, "answer": answer.text,
        "cited": list(answer.cited), "sources": [described(hit) for hit in answer.hits], "quotes": quotes,
        "removed_marks": answer.removed_marks, "refused": answer.refused, "model": answer.model,
        "cutoff": answer.cutoff, "seconds": answer.seconds, "end": answer.end,
    }  # fmt: skip
