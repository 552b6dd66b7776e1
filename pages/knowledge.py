"""The Knowledge tab: drop a folder of documents, ask, and read the answer beside its numbered sources."""

from __future__ import annotations

from functools import partial
from typing import Any

import gradio as gr
from gradio.events import Dependency

from pages import knowledge_add as add
from pages import knowledge_ask as asking
from pages import knowledge_locks as locks
from pages import knowledge_map as maps
from pages import knowledge_measure as measuring
from pages import knowledge_mend as mending
from pages import knowledge_rerank as reranking
from pages import knowledge_shelf as shelves
from pages.knowledge_api import add_documents, ask, search
from pages.knowledge_docs_form import Adding, Shelf, adding_form, shelf_form
from pages.knowledge_form import Talk, talk_form
from pages.knowledge_map_form import Mapping, Measuring, mapping_form, measuring_form
from pages.knowledge_study import Study
from pages.launch import Launch
from pages.pickers import when_shown

TITLE = "Knowledge"
GLANCE = 1.0  # seconds between two looks at a job that adds documents
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
INSTANT: dict[str, Any] = {**QUIET, "queue": False}
WORKING: dict[str, Any] = {**QUIET, "concurrency_limit": 4, "concurrency_id": "knowledge"}
STREAMING: dict[str, Any] = {**QUIET, "concurrency_limit": 8, "concurrency_id": "knowledge-ask"}
# what was opened comes into sight, where it is not
BRING = """() => {
  setTimeout(() => document.querySelector("#knowledge-sources .passage > summary")
    ?.scrollIntoView({ behavior: "smooth", block: "nearest" }), 150);
  return [];
}"""


def build(launch: Launch) -> None:
    """Lay out the tab inside the current Blocks and wire it."""
    study = gr.State(Study())
    with gr.Column(elem_id="knowledge-tab"):
        shelf = shelf_form(launch)
        with gr.Tabs(elem_classes="knowledge-inner") as parts:
            with gr.Tab("Ask", id="knowledge-ask-tab"):
                talk = talk_form(launch)
            with gr.Tab("Documents", id="knowledge-documents-tab", render_children=True):
                adding = adding_form(launch)
            with gr.Tab("Map", id="knowledge-map-tab", render_children=True):
                mapping = mapping_form()
            with gr.Tab("Measure", id="knowledge-measure-tab", render_children=True):
                measure = measuring_form(launch)
    view = [shelf.choice, shelf.headline, adding.files, adding.chosen, talk.place, talk.tags,
            shelf.offer, shelf.offered, shelf.model, shelf.length]  # fmt: skip
    chosen = wire_shelf(study, shelf, talk, view)
    job = [adding.progress, gr.Timer(GLANCE, active=False)]
    wire_files(study, adding, view, job, chosen[0])
    wire_adding(study, adding, view, job, chosen[0])
    wire_mending(study, shelf, parts, job)
    wire_talk(study, talk, view)
    when_shown(reranking.offered, talk.rerank, **INSTANT)
    wire_map(study, mapping)
    wire_measure(study, measure, talk, [*job, parts])
    for event in turned(chosen, adding):
        event(mending.in_force, [study], adding.phrases, **INSTANT)
        event(measuring.lengths, [study], measure.lengths, **INSTANT)
    gr.api(add_documents, api_name="add_documents")
    gr.api(search, api_name="search")
    gr.api(ask, api_name="ask")


def turned(chosen: list[Dependency], adding: Adding) -> list[Any]:
    """Events after which another collection, or another state of it, is in front of the visitor."""
    return [partial(gr.on, None), adding.progress.submit, *(each.then for each in chosen)]


def wire_shelf(study: gr.State, shelf: Shelf, talk: Talk, view: list[Any]) -> list[Dependency]:
    """Choosing, making, renaming, deleting, taking away and bringing in a collection; what turns to another one."""
    gr.on(None, shelves.arrive, [study], view, **INSTANT)
    cleared = [talk.talk, talk.status, talk.sources]
    chosen = shelf.choice.input(shelves.choose, [study, shelf.choice], [*view, *cleared], **INSTANT)
    fields = [study, shelf.new_name, shelf.embedder, shelf.tokens]
    made = shelf.create.click(shelves.create, fields, [shelf.new_name, shelf.told, *view], **WORKING)
    shelf.rename.click(shelves.rename, [study, shelf.name], [shelf.name, shelf.told, *view], **INSTANT)
    shelf.delete.click(shelves.ask_first, [study], shelf.sure, **INSTANT)
    shelf.keep.click(shelves.think_again, [study], shelf.sure, **INSTANT)
    gone = shelf.really.click(shelves.delete, [study], [shelf.sure, shelf.told, *view], **INSTANT)
    shelf.export.click(shelves.export, [study], shelf.link, **INSTANT)
    came = shelf.incoming.upload(shelves.take_in, [study], [shelf.told, *view], **WORKING)
    for another in (made, gone, came):  # the talk with the last one has ended
        another.success(asking.clear, [study], cleared, **INSTANT)
    return [chosen, made, gone, came]


def wire_files(study: gr.State, adding: Adding, view: list[Any], job: list[Any], chosen: Dependency) -> None:
    """One file: its tags, what was cleaned away and is put back, its removal."""
    one, seen = [study, adding.chosen], [adding.new_tags, adding.cleaned]
    adding.chosen.input(mending.look_at, one, seen, **INSTANT)
    adding.progress.submit(mending.look_again, [study], seen, **INSTANT)
    chosen.then(mending.look_again, [study], seen, **INSTANT)
    adding.cleaned.select(mending.settle, [study], [adding.told, *job], **INSTANT)
    adding.tag.click(shelves.set_tags, [*one, adding.new_tags], [adding.told, *view], **INSTANT)
    adding.remove.click(shelves.remove, one, [adding.told, *view], **INSTANT)
    adding.clean.click(mending.keep_out, [study, adding.phrases], [adding.told, *job], **INSTANT)


def wire_mending(study: gr.State, shelf: Shelf, parts: gr.Tabs, job: list[Any]) -> None:
    """Re-index, look for damage, and make the index anew."""
    shelf.accept.click(mending.accept, [study], [shelf.told, *job, parts], **INSTANT)
    shelf.reindex.click(mending.reindex, [study, shelf.model, shelf.length], [shelf.told, *job, parts], **INSTANT)
    shelf.check.click(mending.check, [study], shelf.told, **WORKING)
    shelf.remake.click(mending.remake, [study], shelf.told, **WORKING)


def wire_adding(study: gr.State, adding: Adding, view: list[Any], job: list[Any], chosen: Dependency) -> None:
    """From files that arrived to a plan, from a plan to a job, and a look at the job on a timer."""
    plan = [adding.plan, adding.apply, adding.discard, adding.gone]
    wishes = [study, adding.tags, adding.password]
    dropped = adding.drop.upload(add.arrived, wishes, plan, **WORKING)
    looked = adding.look.click(add.look_into, [study, adding.path, *wishes[1:]], plan, **WORKING)
    discarded = adding.discard.click(add.discard, [study], plan, **INSTANT)
    started = [*wishes, adding.gone, adding.locks.leave]
    applied = adding.apply.click(add.start, started, [*plan, *job, *view], **WORKING)
    for each in (dropped, looked, discarded, applied):
        each.then(locks.listed, [study], adding.locks.shown, **INSTANT)
    one = [study, adding.locks.file, adding.locks.password]
    adding.locks.give.click(locks.give, one, adding.locks.shown, **WORKING)
    adding.progress.select(add.cancel, [study], job, **INSTANT)
    adding.progress.submit(shelves.arrive, [study], view, **INSTANT)
    job[1].tick(add.look, [study], job, **INSTANT)
    gr.on(None, add.look, [study], job, **INSTANT)
    chosen.then(add.look, [study], job, **INSTANT)


def wire_talk(study: gr.State, talk: Talk, view: list[Any]) -> None:
    """Ask, stop, begin anew, open a citation, ask why a page is not there."""
    shown = [talk.talk, talk.status, talk.sources]
    inputs = [study, talk.question, *talk.settings]
    for event in (talk.ask.click, talk.question.submit):
        event(asking.send, inputs, [talk.question, *shown], **STREAMING).then(shelves.arrive, [study], view, **INSTANT)
    talk.stop.click(asking.stop, [study], None, **INSTANT)
    talk.clear.click(asking.clear, [study], shown, **INSTANT)
    for part in (talk.talk, talk.sources):
        opened = part.select(asking.open_passage, [study], talk.sources, **WORKING)
        opened.success(None, None, None, js=BRING, api_visibility="private")
    talk.find.click(asking.explain, [study, talk.place, talk.page, *talk.settings], talk.found, **WORKING)


def wire_map(study: gr.State, mapping: Mapping) -> None:
    """Draw, and open what is clicked."""
    fields = [study, mapping.method, mapping.colour, mapping.deep]
    mapping.draw.click(maps.draw, fields, [mapping.map, mapping.lists], **WORKING)
    for part in (mapping.map, mapping.lists):
        part.select(maps.open_dot, [study], mapping.passage, **WORKING)


def wire_measure(study: gr.State, measure: Measuring, talk: Talk, job: list[Any]) -> None:
    """Measure, and use what was found best."""
    fields = [study, measure.upload, measure.text, measure.modes, measure.ks, measure.lengths]
    measure.measure.click(measuring.run, fields, [measure.result, measure.setting], **STREAMING)
    measure.stop.click(measuring.stop, [study], None, **INSTANT)
    use = [talk.mode, talk.k, measure.told, *job]
    measure.use.click(measuring.use, [study, measure.setting], use, **INSTANT)
