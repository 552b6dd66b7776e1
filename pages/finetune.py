"""The Fine-tune tab: model, examples, recipe, Start; then watch the run, stop it, resume it, read what it learned."""

from __future__ import annotations

from typing import Any, cast

import gradio as gr
from gradio.components import Component

from engine.recipe import KNOBS
from pages import teach_moves as moves
from pages import teach_render as render
from pages import teach_share as sharing
from pages.launch import Launch
from pages.pickers import follow, when_shown
from pages.teach_api import job_list, start_job, stop_job
from pages.teach_form import FIRST_RECIPE, OUTSIDE, SIZES, advanced_fields, beginner_fields

TITLE = "Fine-tune"
GLANCE = 2.5  # seconds between two glances at the run folders
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "undocumented"}


def build(launch: Launch) -> None:
    """Lay out the tab inside the current Blocks and wire it."""
    with gr.Row(elem_classes="teach"):
        with gr.Column(scale=2, min_width=320, elem_classes="panel", elem_id="teach-form"):
            form = start_form(launch)
        with gr.Column(scale=3, min_width=360, elem_classes="panel", elem_id="teach-runs"):
            view = runs_view()
    refresh = watching(view)
    fields, recipe, upload, swept, start_button, ticket, about, memory, note = form
    values: list[Component] = [fields[name] for name in KNOBS]
    filled = [about, *(fields[name] for name in KNOBS if name not in OUTSIDE)]
    sizes = [fields[name] for name in SIZES]
    recipe.input(None, [recipe], filled, js=moves.filling(), **QUIET).then(moves.reckon, sizes, memory, **QUIET).then(
        moves.fits, values, note, **QUIET
    )
    sized: list[Any] = [fields[name] for name in SIZES]
    changes = [each.input for each in sized]  # what a field shows is reckoned; nothing that was typed is written to
    gr.on(changes, moves.reckon, sizes, memory, **QUIET).then(moves.fits, values, note, **QUIET)
    follow([cast(gr.Dropdown, fields["model"])], bases=True)
    when_shown(moves.offer, fields["data"], queue=False, **QUIET)  # the Data tab may have kept some since
    started = start_button.click(
        moves.start, [ticket, upload, swept, *values], [ticket, view["choice"]], concurrency_limit=1, **QUIET
    )
    started.success(moves.look, *refresh, **QUIET)
    for button, name in (("stop", "stop"), ("resume", "resume"), ("really", "delete")):
        acted = view[button].click(getattr(moves, name), [view["choice"]], None, queue=False, **QUIET)
        acted.then(moves.look, *refresh, **QUIET)
    view["delete"].click(moves.sure, None, view["sure"], queue=False, **QUIET)
    for event in (view["keep"].click, view["really"].click, view["choice"].change):  # it was asked of one run only
        event(moves.unsure, None, view["sure"], queue=False, **QUIET)
    reused = [fields[name] for name in KNOBS if name != "data"]
    view["reuse"].click(moves.reuse, [view["choice"]], reused, queue=False, **QUIET)
    called = [view["name"], view["notes"]]
    for event in (view["calling"].expand, view["choice"].change):  # what is saved must be what the chosen run is called
        event(moves.named, [view["choice"]], called, queue=False, **QUIET)
    renamed = view["rename"].click(moves.rename, [view["choice"], *called], view["name"], queue=False, **QUIET)
    renamed.then(moves.look, *refresh, **QUIET)
    fields["data"].input(moves.in_style, [fields["data"]], fields["style"], queue=False, **QUIET)
    share = view["share"]
    share.merge.click(sharing.merge, [view["choice"]], share.told, **QUIET)
    share.push.click(sharing.push, [view["choice"], *share.push_inputs], share.told, **QUIET)
    fetched = share.pull.click(sharing.pull, share.pull_inputs, share.told, **QUIET)
    fetched.success(moves.look, *refresh, **QUIET)
    gr.api(start_job, api_name="start_job")
    gr.api(job_list, api_name="jobs")
    gr.api(stop_job, api_name="stop_job")


def start_form(launch: Launch) -> tuple[Any, ...]:
    """The form on the left. An open demo shows it too, but its visitors may not start."""
    gr.HTML('<h3 class="panel-title">Teach a model</h3>')
    if launch.mode == "visitor":
        gr.HTML('<p class="note">This is an open demo: only its owner can start jobs.</p>')
    fields, recipe, upload = beginner_fields(launch)
    about = gr.HTML(render.about_recipe(FIRST_RECIPE))
    note = gr.HTML()
    start_button = gr.Button("Start", variant="primary", elem_id="teach-start", interactive=launch.mode != "visitor")
    ticket = gr.Textbox("first", visible="hidden", label="Ticket", elem_id="teach-ticket")
    with gr.Accordion("Memory before the start", open=False, elem_id="teach-memory", elem_classes="settings"):
        memory = gr.HTML('<p class="quiet">Change a field, and the memory it takes is reckoned here.</p>')
    with gr.Accordion("Advanced: every knob", open=False, elem_id="teach-advanced", elem_classes="settings"):
        fields |= advanced_fields(launch)
        swept = gr.Textbox(
            label="Several runs",
            info="A run for each combination, one after another, in one table: rank=4,8,16 rows=25,50",
            max_length=300,
            elem_id="teach-sweep",
        )
    return fields, recipe, upload, swept, start_button, ticket, about, memory, note


def runs_view() -> dict[str, Any]:
    """The runs on the right: which there are, how the chosen one goes, what it says."""
    view: dict[str, Any] = {}
    gr.HTML('<h3 class="panel-title">Runs</h3>')
    view["list"] = gr.HTML(elem_id="runs-list")
    with gr.Row():
        # a value may come before the choices that hold it; the server looks for the run itself
        loose: dict[str, Any] = {"allow_custom_value": True, "min_width": 180}
        view["choice"] = gr.Dropdown([], label="Run", elem_id="run-choice", **loose)
        view["others"] = gr.Dropdown(
            [], label="Compare its curve with", multiselect=True, elem_id="run-others", **loose
        )
    view["line"] = gr.HTML(elem_id="run-line")
    with gr.Row(elem_classes="run-buttons"):
        view["stop"] = gr.Button("Stop and save", size="sm", interactive=False, elem_id="run-stop")
        view["resume"] = gr.Button("Resume", size="sm", interactive=False, elem_id="run-resume")
        view["reuse"] = gr.Button("Use its values", size="sm", elem_id="run-reuse")
        view["delete"] = gr.Button("Delete…", size="sm", variant="stop", interactive=False, elem_id="run-delete")
    with gr.Row(visible=False, elem_id="run-sure", elem_classes="fields") as view["sure"]:
        gr.HTML('<p class="note">Delete this run with its checkpoints and its model?</p>')
        view["really"] = gr.Button("Delete it", size="sm", variant="stop", elem_id="run-really")
        view["keep"] = gr.Button("Keep it", size="sm", elem_id="run-keep")
    view["plot"] = gr.LinePlot(
        x="step",
        y="loss",
        color="line",
        x_title="Step",
        y_title="Loss",
        height=320,
        visible=False,
        elem_id="run-plot",
        label="Loss",
    )
    view["lines"] = gr.Textbox("", visible="hidden", label="Lines of the plot", elem_id="run-lines")
    view["sweep"] = gr.HTML(elem_id="run-sweep")
    with gr.Accordion("Before and after", open=True):
        view["table"] = gr.HTML(elem_id="run-table")
    with gr.Accordion("Sample answers while it learns", open=True):
        view["answers"] = gr.HTML(elem_id="run-answers")
    with gr.Accordion("Log", open=False):
        view["log"] = gr.Textbox(
            label="Log", show_label=False, lines=12, max_lines=12, interactive=False, elem_id="run-log"
        )
    with gr.Accordion("Name and notes", open=False, elem_id="run-calling") as view["calling"]:
        view["name"] = gr.Textbox(label="Name of the run and its model", max_length=80, elem_id="run-name")
        view["notes"] = gr.Textbox(label="Notes", lines=3, max_length=4000, elem_id="run-notes")
        view["rename"] = gr.Button("Save name and notes", size="sm", elem_id="run-rename")
    view["share"] = sharing.sharing_form()
    return view


def watching(view: dict[str, Any]) -> tuple[list[Component], list[Component]]:
    """Look at the runs when something about them changes or another is chosen; inputs and outputs of a look.

    The timer asks for one short text only: a dozen outputs at every beat would slow the browser down on all tabs.
    """
    last = gr.State({})
    seen = gr.Textbox("", visible="hidden", label="What was seen last", elem_id="runs-seen")
    inputs = [view["choice"], view["others"], last]
    outputs = [last, *(view[part] for part in moves.VIEW)]
    gr.Timer(GLANCE).tick(moves.glance, [seen], [seen], queue=False, **QUIET)
    seen.change(moves.look, inputs, outputs, queue=False, **QUIET)
    view["lines"].change(moves.coloured, view["lines"], view["plot"], queue=False, **QUIET)
    for part in ("choice", "others"):
        view[part].input(moves.look, inputs, outputs, queue=False, **QUIET)
    return inputs, outputs
