"""Documents in: from files that arrived to a plan, from a plan to a job, and a look at the job from its folder."""

from __future__ import annotations

import time
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from engine import jobs
from engine.access import may
from engine.errors import Problem
from engine.jobs import Job
from pages import knowledge_locks as locks
from pages import knowledge_render as render
from pages.knowledge_shelf import allowed, tagged, view
from pages.knowledge_study import Study, Waiting
from pages.parts import asks, visitor
from pages.render import count
from pages.upload import batch_folder, forget
from pages.words import duration
from rag import job as adding
from rag import sample
from rag.adding import plan
from rag.sources import Sources, gathered
from rag.store import Store, list_collections
from rag.storing.place import reserved
from rag.types import CollectionSettings

SHOWN = 3600  # seconds after which the report of a finished job is no longer shown
UNNAMED = "My documents"
CANCEL = '<button type="button" class="cancel" data-cancel>Cancel</button>'
WORDS = {"queued": "waiting for its turn", "stopped": "stopped", "failed": "failed", "done": "done", "lost": "lost"}
DOING = {"add": "adding", "reindex": "re-indexing", "keep": "cleaning anew", "phrases": "cleaning anew"}
STOPPED = {"add": "What was added before the stop stays.", "reindex": "Nothing was changed.",
           "keep": "Files that were done before the stop are cleaned anew.",
           "phrases": "Files that were done before the stop are cleaned anew."}  # fmt: skip


@asks("add documents")
def arrived(request: gr.Request, study: Study, tags: str, password: str, event: gr.EventData) -> list[Any]:
    """A plan for the files that were just uploaded."""
    told: dict[str, Any] = event._data if isinstance(event._data, dict) else {}
    owner, batch = visitor(request).name, str(told.get("batch", ""))
    folder = batch_folder(batch, owner)
    throw_away(study, owner)
    left_out = [f"{one.get('name')}: {one.get('why')}" for one in told.get("refused", []) if isinstance(one, dict)]
    try:
        sources = gathered(sorted(folder.iterdir()), folder.parent / "unpacked")
        return planned(request, study, sources, batch, left_out, password)
    except Problem:
        forget(batch, owner)
        raise


@asks("add documents")
def look_into(request: gr.Request, study: Study, path: str, tags: str, password: str) -> list[Any]:
    """A plan for a folder or a file of this machine, for the person who sits at it."""
    who = visitor(request)
    if who.mode != "local":
        raise Problem("From afar, files cannot be named. Drop them on the page.")
    if not (path or "").strip():
        raise Problem("Write the path of a folder or a file first; the box is empty.")
    throw_away(study, who.name)
    place = Path(path.strip()).expanduser()
    return planned(request, study, gathered([place], unpacked_here(place)), "", [], password)


def unpacked_here(place: Path) -> Path:
    """Where a zip of this machine is unpacked to: a batch of its own, which old ones leave after a day."""
    from pages.upload import uploads

    folder = uploads() / f"{time.time_ns():032x}"
    if place.suffix.lower() == ".zip":
        folder.mkdir(parents=True)
    return folder / "unpacked"


def planned(
    request: gr.Request, study: Study, sources: Sources, batch: str, left_out: list[str], password: str
) -> list[Any]:
    """Compare the sources with the collection and show what Apply would do; the password is tried on locked files."""
    who = visitor(request)
    name, made = allowed(who, study.collection or sample.NAME), False
    if name == sample.NAME:
        name, made = free_name(sources.name or UNNAMED), True
        Store.create(name, CollectionSettings(name, owner=who.name)).close()
    with Store.open(name) as store:
        wanted = plan(store, sources)
    study.waiting = Waiting(wanted, sources, batch, name, made)
    locks.tried(study.waiting, locks.locked(study.waiting), password)
    where = f'<p class="note">They will go into a new collection, “{escape(name)}”.</p>' if made else ""
    work = any(report.state in ("new", "changed", "moved", "gone", "same") for report in wanted.reports)
    return [where + render.plan(wanted.reports, wanted.seconds, left_out), gr.Button(visible=work),
            gr.Button(visible=True), gr.Checkbox(visible=wanted.count("gone") > 0, value=False)]  # fmt: skip


def free_name(wanted: str) -> str:
    """The name, with a number behind it where a collection has it already, or where it is the sample's."""
    taken = {each.name for each in list_collections()}
    name, number = wanted[:70], 2
    while name in taken or reserved(name):
        name, number = f"{wanted[:70]} {number}", number + 1
    return name


def throw_away(study: Study, owner: str) -> None:
    """Forget the plan that stands there: its uploads, and a collection that was made for it alone."""
    waiting, study.waiting = study.waiting, Waiting()
    if waiting.batch:
        forget(waiting.batch, owner)
    if waiting.made and Store.folder_of(waiting.collection):
        with Store.open(waiting.collection) as store:
            if not store.files() and not adding.jobs_of(store.folder.name):
                store.delete()


@asks("add documents")
def discard(request: gr.Request, study: Study) -> list[Any]:
    """Let the plan go; nothing was changed."""
    throw_away(study, visitor(request).name)
    return closed()


def closed() -> list[Any]:
    """No plan, and none of its buttons."""
    return ["", gr.Button(visible=False), gr.Button(visible=False), gr.Checkbox(visible=False, value=False)]


@asks("add documents")
def start(request: gr.Request, study: Study, tags: str, password: str, gone: bool, leave: bool = False) -> list[Any]:
    """Start the job that does what the plan says; a second click finds no plan and starts nothing.

    A file that stays locked keeps the plan waiting, unless such files are to be left out (`leave`).
    """
    waiting, study.waiting = study.waiting, Waiting()
    if waiting.sources is None:
        raise Problem("There is no plan to apply. Drop some documents first.")
    try:
        given = locks.unlocked(waiting, password, bool(leave))
    except Problem:
        study.waiting = waiting
        raise
    owner = visitor(request).name
    discarded = batch_folder(waiting.batch, owner).parent if waiting.batch else None
    job = adding.start(waiting.collection, waiting.sources, owner, tagged(tags), given, bool(gone), discarded)
    study.choose(waiting.collection)
    study.job, study.seen = job.id, "?"
    return [*closed(), *look(request, study), *view(study, visitor(request))]


@asks("add documents")
def cancel(request: gr.Request, study: Study) -> list[Any]:
    """Stop the job after the batch it works on; what is done stays."""
    job = watched(study)
    if job is None or job.over:
        raise Problem("Nothing is being added.")
    jobs.stop(job)
    return look(request, study)


def watched(study: Study) -> Job | None:
    """The newest job of the collection in front of the visitor, while it runs and for a while after."""
    folder = Store.folder_of(study.collection) if study.collection not in ("", sample.NAME) else None
    found = adding.jobs_of(folder.name) if folder else []
    if not found:
        return None
    ended = found[0].over and time.time() - float(found[0].record.get("created", 0)) > SHOWN
    return None if ended and found[0].id != study.job else found[0]


@asks("ask documents")
def look(request: gr.Request, study: Study) -> list[Any]:
    """The job of this collection and its report; what has not changed is left alone, and the clock runs with it."""
    who = visitor(request)
    job = watched(study) if may(who, "add documents") else None
    shown = progress(job) + (render.report(adding.reports(job)) if job else "")
    if shown == study.seen:
        return [gr.skip(), gr.skip()]
    study.seen = shown
    return [shown, gr.Timer(active=bool(job and not job.over))]


def progress(job: Job | None) -> str:
    """How far a job is: a bar, counts, and about how long the rest takes."""
    if job is None:
        return ""
    now, work = adding.progress(job), str(job.record.get("work", "add"))
    facts = [WORDS.get(job.state, DOING.get(work, work))]
    if job.state == "done" and "seconds" in job.done:
        doing = "" if work == "add" else f"{DOING.get(work, work)} "
        facts = [f"{doing}done in {duration(float(job.done['seconds']))}"]
    if not job.over and now:
        facts += [f"{now.files_done} of {count(now.files, 'file')}", f"{now.chunks_done:,} of {now.chunks:,} passages"]
        if now.file:
            facts.append(f"{now.phase} {now.file}")
        if now.seconds_left is not None:
            facts.append(f"about {duration(now.seconds_left)} left")
    elif not job.over and job.phase:
        facts.append(job.phase)
    share = 1.0 if job.state == "done" else now.share if now else 0.0
    pulse = '<span class="pulse" aria-hidden="true"></span>' if not job.over else ""
    reason = f'<div class="lane-error">{escape(job.reason)}</div>' if job.reason and job.state != "stopped" else ""
    kept = f"<p>{STOPPED.get(work, '')}</p>" if job.state == "stopped" else ""
    bar = (
        f'<progress max="1" value="{share:.3f}" aria-label="Documents added"></progress>{CANCEL}'
        if not job.over
        else ""
    )
    line, over = escape(" · ".join(facts)), f' data-over="{escape(job.id)}"' if job.over else ""
    return f'<div class="job-bar" data-state="{job.state}"{over}><p>{pulse}{line}</p>{bar}{kept}{reason}</div>'
