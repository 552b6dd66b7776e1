"""What changes a whole collection or what was cleaned from its files: re-index, look for damage, put lines back."""

from __future__ import annotations

from typing import Any

import gradio as gr

from engine.access import may
from engine.errors import Problem
from engine.jobs import Job
from pages import knowledge_render as render
from pages.knowledge_add import look
from pages.knowledge_lines import cleaned
from pages.knowledge_shelf import allowed, idle, own
from pages.knowledge_study import Study
from pages.parts import asks, visitor
from pages.render import count
from rag import job as jobs
from rag import sample
from rag.opened import looked_at, remade
from rag.rebuilding import distinct, faults, trouble
from rag.store import Store
from rag.types import CollectionSettings, FileRecord

DOCUMENTS = "knowledge-documents-tab"  # where the bar of a job stands
GOING = "The bar under Documents shows how far it is; until it is done, questions are answered as before."


def followed(request: gr.Request, study: Study, job: Job, sentence: str) -> list[Any]:
    """(what is told, the bar, its timer) of a job that has just begun."""
    study.job, study.seen = job.id, "?"
    return [render.told(sentence), *look(request, study)]


@asks("change collections")
def reindex(request: gr.Request, study: Study, model: str | None, length: float | None) -> list[Any]:
    """Cut and embed the collection anew with this model and this passage length, as a job."""
    name, tokens, wanted = own(request, study), int(length or 0), (model or "").strip()
    if not wanted:
        raise Problem("Choose the embedding model to re-index with; the field is empty.")
    if not 32 <= tokens <= 8192:
        raise Problem("The passage length must lie between 32 and 8,192 tokens.")
    idle(name)
    job = jobs.start_reindex(name, visitor(request).name, wanted, tokens)
    return [*followed(request, study, job, f"'{name}' is re-indexed with {wanted}. {GOING}"), shown()]


@asks("change collections")
def recut(request: gr.Request, study: Study, tokens: int) -> list[Any]:
    """Cut and embed the collection anew at another passage length, with the embedding model it has, as a job."""
    name = own(request, study)
    idle(name)
    job = jobs.start_reindex(name, visitor(request).name, chunk_tokens=tokens)
    told = f"'{name}' is re-indexed with passages of {tokens:,} tokens. {GOING}"
    return [*followed(request, study, job, told), shown()]


@asks("change collections")
def accept(request: gr.Request, study: Study) -> list[Any]:
    """Re-index as the offer above the tabs says."""
    name = allowed(visitor(request), study.collection or sample.NAME)
    idle(name)
    with Store.open(name) as store:
        wrong = trouble(store)
    if wrong is None:
        raise Problem(f"'{name}' is sound again; there is nothing to mend.")
    job = jobs.start_reindex(name, visitor(request).name, wrong.embedder)
    return [*followed(request, study, job, f"'{name}' is re-indexed with {wrong.embedder}. {GOING}"), shown()]


def shown() -> Any:
    """The Documents part, in front."""
    return gr.Tabs(selected=DOCUMENTS)


@asks("change collections")
def check(request: gr.Request, study: Study) -> str:
    """Look for damage in the collection's folder, and whether its index agrees; what is found, in sentences."""
    name = read(request, study)
    with Store.open(name) as store:
        folder, index = store.folder, looked_at(store)
    found = [*faults(folder), *([index.sentence] if index.wrong else [])]
    return render.said(found) if found else render.told(f"'{name}' is sound. {index.sentence}")


@asks("change collections")
def remake(request: gr.Request, study: Study) -> str:
    """Make the index anew from the stored passages and vectors; nothing else changes."""
    return render.told(remade(read(request, study)))


def read(request: gr.Request, study: Study) -> str:
    """The collection in front of the visitor, which may be the sample. Raises Problem where that is still unread."""
    name = allowed(visitor(request), study.collection or sample.NAME)
    if unread(name):
        raise Problem("The sample has not been read yet. Ask it something first.")
    return name


def unread(name: str) -> bool:
    """Whether it is the sample, and that has not been read; documents of others under its name are not it."""
    return name == sample.NAME and not sample.there()


@asks("ask documents")
def look_at(request: gr.Request, study: Study, file: str | None) -> list[Any]:
    """One file's tags, and what cleaning took away from it."""
    who = visitor(request)
    name, study.file = allowed(who, study.collection or sample.NAME), file or ""
    if unread(name):
        return ["", cleaned(None)]
    with Store.open(name) as store:
        record, made = store.file(study.file), store.settings
    owner = may(who, "change collections") and name != sample.NAME
    return [", ".join(record.tags) if record else "", cleaned(record, made.kept, owner)]


@asks("ask documents")
def look_again(request: gr.Request, study: Study) -> list[Any]:
    """The file that was looked at, once a job has changed it."""
    return look_at(request, study, study.file)


@asks("change collections")
def settle(request: gr.Request, study: Study, event: gr.EventData) -> list[Any]:
    """Put a line back, or give it to cleaning again: in the file that is looked at, or in all, as a job."""
    told: dict[str, Any] = event._data if isinstance(event._data, dict) else {}
    line, act, name = str(told.get("line", "")), str(told.get("act", "")), own(request, study)
    idle(name)
    with Store.open(name) as store:
        record, made = store.file(study.file), store.settings
    everywhere = act.endswith("everywhere")
    if record is None and not everywhere:
        raise Problem("That file is not there any more. Choose another.")
    kept = decided(record, made, line, act)
    job = jobs.start_keeping(name, kept, "" if everywhere else study.file, visitor(request).name)
    what = "stays" if act.startswith("keep") else "is cleaned away again"
    where = "every file" if everywhere else study.file
    return followed(request, study, job, f"“{line}” {what} in {where}, which is cleaned anew. {GOING}")


def decided(record: FileRecord | None, made: CollectionSettings, line: str, act: str) -> list[str]:
    """The lines that stay after an act, of the file or of all. Raises Problem where the line is not there."""
    kept = list(made.kept if act.endswith("everywhere") else record.kept if record else ())
    known = [each.line for each in record.removed] if record and act.startswith("keep") else kept
    if line not in known:
        raise Problem("That line is not there any more. Choose the file again.")
    return [*kept, line] if act.startswith("keep") else [each for each in kept if each != line]


@asks("ask documents")
def in_force(request: gr.Request, study: Study) -> str:
    """The lines that cleaning takes away from the collection, one a line, for the box in which they are changed."""
    who = visitor(request)
    name = allowed(who, study.collection or sample.NAME)
    if not may(who, "change collections") or unread(name):
        return ""
    with Store.open(name) as store:
        return "\n".join(store.settings.phrases)


@asks("change collections")
def keep_out(request: gr.Request, study: Study, phrases: str) -> list[Any]:
    """The lines that cleaning takes away from now on, all of them; every file is cleaned anew, as a job."""
    name = own(request, study)
    idle(name)
    wanted = distinct((phrases or "").splitlines())
    job = jobs.start_phrases(name, wanted, visitor(request).name)
    told = f"{count(len(wanted), 'line')} will be kept out" if wanted else "No line is kept out any more"
    return followed(request, study, job, f"{told}. All files are cleaned anew. {GOING}")
