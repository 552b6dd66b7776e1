"""The shelf of collections and the Documents part of the Knowledge tab: drop zone, plan, job, files."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import gradio as gr
from gradio.components import Component

from engine.settings import ASSETS, settings
from pages.knowledge_lines import PICK
from pages.launch import Launch
from pages.upload import largest

DROP = """<div class="dropzone" data-limit="{limit}"><p class="drop-title">Drop a folder, files or a zip here</p>
<p class="quiet">PDF, Markdown, text, HTML, DOCX and CSV, up to {most} each. Sub-folders become tags.</p>
<p class="drop-buttons"><button type="button" data-pick="folder">Choose a folder</button>
<button type="button" data-pick="files">Choose files</button>
<button type="button" data-stop class="drop-stop">Stop sending</button></p>
<input type="file" name="folder" aria-label="A folder of documents" webkitdirectory multiple>
<input type="file" name="files" aria-label="Documents" multiple>
<progress max="1" value="0" hidden aria-label="Files sent"></progress>
<p class="drop-status" role="status" aria-live="polite"></p></div>"""
# Cancel is drawn with the bar; once a job is over, the files of the collection are looked at again
JOB = """let last = '';
element.addEventListener('click', (event) => { if (event.target.closest('[data-cancel]')) trigger('select'); });
watch('value', () => {
  const over = element.querySelector('[data-over]')?.dataset.over ?? '';
  if (over && over !== last) trigger('submit');
  last = over;
});"""


EMBEDDERS = ["all-MiniLM-L6-v2", "BAAI/bge-small-en-v1.5", "all-MiniLM-L6-v2:bf16", "all-MiniLM-L6-v2:int8"]


def script(name: str) -> str:
    """A script of assets, for a gr.HTML to run once."""
    return (ASSETS / name).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Shelf:
    """The collections, and what may be done to one."""

    choice: gr.Dropdown
    headline: gr.HTML
    offer: gr.Row
    offered: gr.HTML
    accept: gr.Button
    new_name: gr.Textbox
    embedder: gr.Dropdown
    tokens: gr.Number
    create: gr.Button
    name: gr.Textbox
    rename: gr.Button
    delete: gr.Button
    sure: gr.Row
    really: gr.Button
    keep: gr.Button
    export: gr.Button
    link: gr.HTML
    incoming: gr.HTML
    model: gr.Dropdown
    length: gr.Number
    reindex: gr.Button
    check: gr.Button
    remake: gr.Button
    told: gr.HTML


def shelf_form(launch: Launch) -> Shelf:
    """The row of collections and, folded away, what changes them. Visitors see the sample alone."""
    owner = launch.mode != "visitor"
    with gr.Row(elem_id="knowledge-head"):
        choice = gr.Dropdown([], label="Collection", elem_id="knowledge-choice", min_width=240, allow_custom_value=True)
        headline = gr.HTML(elem_id="knowledge-headline")
    with gr.Row(visible=False, elem_id="knowledge-offer", elem_classes="fields") as offer:
        offered = gr.HTML()
        accept = gr.Button("Re-index it now", size="sm", variant="primary", elem_id="knowledge-accept")
    with gr.Accordion(
        "Collections: new, rename, delete, re-index, export, import",
        open=False,
        visible=owner,
        elem_classes="settings",
        elem_id="knowledge-manage",
    ):
        with gr.Row(elem_classes="fields"):
            new_name = gr.Textbox(label="New collection", max_length=80, elem_id="knowledge-new", min_width=200)
            embedder, tokens = indexing_fields(
                "",
                "Embedding model",
                "all-MiniLM-L6-v2 needs no network. Behind a colon: what it computes in; bf16 halves the time.",
            )
            create = gr.Button("Create", size="sm", elem_id="knowledge-create")
        with gr.Row(elem_classes="fields"):
            name = gr.Textbox(label="Another name", max_length=80, elem_id="knowledge-name", min_width=200)
            rename = gr.Button("Rename", size="sm", elem_id="knowledge-rename")
            delete = gr.Button("Delete…", size="sm", variant="stop", elem_id="knowledge-delete")
            export = gr.Button("Export as one file", size="sm", elem_id="knowledge-export")
        with gr.Row(visible=False, elem_id="knowledge-sure", elem_classes="fields") as sure:
            gr.HTML('<p class="note">Delete this collection with everything in it? The files you added stay yours.</p>')
            really = gr.Button("Delete it", size="sm", variant="stop", elem_id="knowledge-really")
            keep = gr.Button("Keep it", size="sm", elem_id="knowledge-keep")
        with gr.Row(elem_classes="fields", elem_id="knowledge-indexing"):
            title, info = "Embedding model of this collection", "With another one every passage is embedded anew."
            model, length = indexing_fields("again-", title, info)
            reindex = gr.Button("Re-index", size="sm", elem_id="knowledge-reindex")
            check = gr.Button("Look for damage", size="sm", elem_id="knowledge-check")
            remake = gr.Button("Rebuild the index", size="sm", elem_id="knowledge-remake")
        link = gr.HTML(elem_id="knowledge-link")
        incoming = gr.HTML(
            f'<div class="dropzone small" data-limit="{largest()}"><p class="drop-buttons"><button type="button" '
            'data-pick="files">Import an exported collection</button></p><input type="file" name="files" '
            'aria-label="An exported collection" accept=".zip"><progress max="1" value="0" hidden></progress>'
            '<p class="drop-status" role="status" aria-live="polite"></p></div>',
            js_on_load=script("knowledge_drop.js"),
            elem_id="knowledge-import",
        )
        told = gr.HTML(elem_id="knowledge-managed")
    return Shelf(choice, headline, offer, offered, accept, new_name, embedder, tokens, create, name, rename, delete,
                 sure, really, keep, export, link, incoming, model, length, reindex, check, remake, told)  # fmt: skip


def indexing_fields(of: str, title: str, info: str) -> tuple[gr.Dropdown, gr.Number]:
    """Embedding model and passage length; `of` stands in their element ids."""
    embedder = gr.Dropdown(
        EMBEDDERS, value=EMBEDDERS[0], label=title, info=info, allow_custom_value=True,
        elem_id=f"knowledge-{of}embedder", min_width=200,
    )  # fmt: skip
    tokens = gr.Number(
        256, label="Passage length", info="in the model's own tokens", precision=0, minimum=32, maximum=8192,
        elem_id=f"knowledge-{of}tokens", min_width=130,
    )  # fmt: skip
    return embedder, tokens


@dataclass(frozen=True)
class Locks:
    """The locked files of a plan: a list of them, and a box for the password of one."""

    region: gr.Column
    listed: gr.HTML
    file: gr.Dropdown
    password: gr.Textbox
    leave: gr.Checkbox
    give: gr.Button

    @property
    def shown(self) -> list[gr.Column | Component]:
        """The outputs of knowledge_locks.listed."""
        return [self.region, self.listed, self.file, self.password, self.leave]


def locks_form() -> Locks:
    """What is asked before Apply where files are locked."""
    with gr.Column(visible=False, elem_id="knowledge-locks") as region:
        listed = gr.HTML()
        with gr.Row(elem_classes="fields"):
            file = gr.Dropdown([], label="Locked file", allow_custom_value=True, elem_id="knowledge-locked",
                               min_width=240)  # fmt: skip
            password = gr.Textbox(
                label="Its password", info="where it is not the one for all", type="password",
                elem_id="knowledge-its-password", min_width=170,
            )  # fmt: skip
            give = gr.Button("Give it", size="sm", elem_id="knowledge-give")
            leave = gr.Checkbox(False, label="Leave locked files out", elem_id="knowledge-leave", min_width=170)
    return Locks(region, listed, file, password, leave, give)


@dataclass(frozen=True)
class Adding:
    """Documents in: the drop zone, the plan, the job, and the files that are here."""

    drop: gr.HTML
    path: gr.Textbox
    look: gr.Button
    tags: gr.Textbox
    password: gr.Textbox
    plan: gr.HTML
    locks: Locks
    apply: gr.Button
    discard: gr.Button
    gone: gr.Checkbox
    progress: gr.HTML
    files: gr.HTML
    chosen: gr.Dropdown
    remove: gr.Button
    new_tags: gr.Textbox
    tag: gr.Button
    cleaned: gr.HTML
    phrases: gr.Textbox
    clean: gr.Button
    told: gr.HTML


def adding_form(launch: Launch) -> Adding:
    """Everything about documents; visitors of an open demo see what is there, and add nothing."""
    owner = launch.mode != "visitor"
    with gr.Column(visible=owner, elem_id="knowledge-add"):
        drop = gr.HTML(
            DROP.format(limit=largest(), most=escape(settings().max_upload.upper())),
            js_on_load=script("knowledge_drop.js"),
            elem_id="knowledge-drop",
        )
        with gr.Row(elem_classes="fields"):
            path = gr.Textbox(
                label="Or a folder or file on this machine", placeholder="/home/me/papers",
                visible=launch.mode == "local", elem_id="knowledge-path", min_width=260,
            )  # fmt: skip
            look = gr.Button("Look into it", size="sm", visible=launch.mode == "local", elem_id="knowledge-look")
            tags = gr.Textbox(
                label="Further tags", placeholder="comma, between, them", elem_id="knowledge-tags", min_width=170
            )
            password = gr.Textbox(
                label="Password for all locked PDFs", type="password", elem_id="knowledge-password", min_width=170
            )
        plan = gr.HTML(elem_id="knowledge-plan")
        locks = locks_form()
        with gr.Row(elem_classes="run-buttons"):
            apply = gr.Button("Apply", variant="primary", visible=False, elem_id="knowledge-apply")
            discard = gr.Button("Discard", size="sm", visible=False, elem_id="knowledge-discard")
            gone = gr.Checkbox(
                False, label="Remove files that are no longer in the folder", visible=False, elem_id="knowledge-gone"
            )
        progress = gr.HTML(elem_id="knowledge-progress", js_on_load=JOB)
    gr.HTML('<h3 class="panel-title">In this collection</h3>')
    files = gr.HTML(elem_id="knowledge-files")
    with gr.Accordion("One file: tags, removal, what cleaning took away", open=False, elem_classes="settings",
                      elem_id="knowledge-file"):  # fmt: skip
        with gr.Row(elem_classes="fields"):
            chosen = gr.Dropdown([], label="File", allow_custom_value=True, elem_id="knowledge-chosen", min_width=240)
            new_tags = gr.Textbox(label="Its tags", visible=owner, elem_id="knowledge-its-tags", min_width=170)
            tag = gr.Button("Set tags", size="sm", visible=owner, elem_id="knowledge-set-tags")
            remove = gr.Button("Remove file", size="sm", variant="stop", visible=owner, elem_id="knowledge-remove")
        cleaned = gr.HTML(elem_id="knowledge-cleaned", js_on_load=PICK)
        with gr.Row(elem_classes="fields", visible=owner):
            phrases = gr.Textbox(
                label="Lines that cleaning shall always take away, one per line",
                info="all that are in force stand here; one that you delete comes back to the pages",
                lines=2, elem_id="knowledge-phrases",
            )  # fmt: skip
            clean = gr.Button("Keep these lines out", size="sm", elem_id="knowledge-clean")
        told = gr.HTML(elem_id="knowledge-told")
    return Adding(drop, path, look, tags, password, plan, locks, apply, discard, gone, progress, files, chosen,
                  remove, new_tags, tag, cleaned, phrases, clean, told)  # fmt: skip
