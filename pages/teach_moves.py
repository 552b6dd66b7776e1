"""What the Fine-tune tab does: fill the form, reckon memory, start, stop, resume, rename, delete, look."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import gradio as gr

from engine import jobs
from engine.access import Visitor
from engine.catalog import find
from engine.data.shelf import samples, saved
from engine.errors import Problem
from engine.jobs import Job, all_jobs
from engine.recipe import KNOBS, fitted, from_mapping, presets
from engine.settings import machine_memory
from engine.teaching import sweeps
from engine.teaching.runs import stamp
from engine.teaching.shape import count_parameters, shape_of
from engine.teaching.sweeps import pairs
from pages import teach_render as render
from pages.parts import asks, visitor
from pages.teach_form import OUTSIDE, SIZES, examples, recipe_from
from pages.teach_memory import memory_chart, work_ahead

VIEW = (
    "list", "choice", "others", "line", "plot", "lines", "sweep", "answers", "table", "log", "stop", "resume", "delete",
)  # fmt: skip


def seen_by(who: Visitor) -> list[Job]:
    """The runs that a person may see: all for owners; visitors of an open demo start none and see none."""
    return all_jobs() if who.mode != "visitor" else []


def filling() -> str:
    """The script that fills the form with a recipe's values and what it is for.

    It runs in the browser: an answer of the server would come later and undo what was typed by then.
    """
    table = {}
    for name, (_, _, recipe) in presets().items():
        values = asdict(recipe)
        table[name] = [render.about_recipe(name), *(values[knob] for knob in KNOBS if knob not in OUTSIDE)]
    return f"(name) => ({json.dumps(table)})[name]"


@asks("see jobs")
def offer(request: gr.Request) -> gr.Dropdown:
    """The examples that there are now: the Data tab may have kept new ones since the page was opened."""
    return gr.Dropdown(choices=examples(visitor(request).mode != "visitor"))


@asks("see jobs")
def reckon(request: gr.Request, *sizes: Any) -> str:
    """The memory chart for the fields of SIZES."""
    values = dict(zip(SIZES, sizes, strict=True))
    if any(value is None for value in values.values()):
        return '<p class="quiet">Fill in the fields under Advanced to see the memory.</p>'
    recipe = from_mapping({**values, "learning_rate": 1.0})
    try:
        shape = shape_of(find(recipe.model), recipe)
        ahead = work_ahead(shape, recipe, rows_of(recipe.data), last_speed())
        return ahead + memory_chart(shape, recipe, float(machine_memory()), float(free_memory()))
    except Problem as problem:
        return f'<p class="quiet">{render.escape(str(problem))}</p>'


def rows_of(data: str) -> int:
    """Rows of a sample or of a kept dataset; 0 for others."""
    return next((each.rows for each in (*samples(), *saved()) if data in (each.name, each.path.stem)), 0)


def last_speed() -> float:
    """Operations a second of the newest run that tells; 0 for none."""
    for job in all_jobs():
        if (work := job.latest("operations")) and (seconds := job.latest("seconds")):
            return work / seconds
    return 0.0


def free_memory() -> int:
    """Bytes that could be had now without pushing others out."""
    import psutil

    return psutil.virtual_memory().available


@asks("see jobs")
def fits(request: gr.Request, *values: Any) -> str:
    """What Start will change in the recipe for a model of this size, before it is pressed."""
    try:
        recipe = from_mapping({name: value for name, value in zip(KNOBS, values, strict=True) if value is not None})
        _, reason = fitted(recipe, count_parameters(find(recipe.model)) or 10**9)
    except Problem:
        return ""
    return f'<p class="note">{render.escape(reason)}</p>' if reason else ""


@asks("train")
def start(request: gr.Request, ticket: str, upload: str | None, swept: str | None, *values: Any) -> tuple[str, str]:
    """Start a job, or one for each of the swept values; the ticket of this press makes a second click the same."""
    owner, named = visitor(request).name, pairs((swept or "").split())
    made = sweeps.start(recipe_from(values, upload), named, owner, f"{request.session_hash}-{ticket}")
    return uuid.uuid4().hex, made[0].id


def move(action: str, act: Callable[[Job], Any]) -> Callable[[gr.Request, str | None], None]:
    """A handler that does something with the chosen run."""

    @asks(action)
    def handler(request: gr.Request, run: str | None) -> None:
        act(chosen(visitor(request), run))

    return handler


stop = move("stop job", jobs.stop)
resume = move("train", jobs.resume)
delete = move("delete run", jobs.delete)


@asks("delete run")
def sure(request: gr.Request) -> Any:
    """Ask whether the run is really to go."""
    return gr.update(visible=True)


@asks("see jobs")
def unsure(request: gr.Request) -> Any:
    """Ask no more."""
    return gr.update(visible=False)


@asks("see jobs")
def named(request: gr.Request, run: str | None) -> tuple[str, str]:
    """Name and notes of the chosen run, to be changed; empty where none is chosen."""
    if not run:
        return "", ""
    job = chosen(visitor(request), run)
    return job.name, str(job.record.get("notes") or "")


@asks("delete run")
def rename(request: gr.Request, run: str | None, name: str, notes: str | None) -> str:
    """Give the chosen run another name and other notes; what the name became."""
    return jobs.rename(chosen(visitor(request), run), name, notes or "").name


@asks("see jobs")
def in_style(request: gr.Request, data: str | None) -> Any:
    """The style that the chosen examples were kept with, where they were kept with one of their own."""
    turn = next(
        (
            each.style.get("turn")
            for each in (saved() if visitor(request).mode != "visitor" else [])
            if data in (each.name, each.path.stem)
        ),
        None,
    )
    return turn or gr.skip()


@asks("see jobs")
def reuse(request: gr.Request, run: str | None) -> list[Any]:
    """The chosen run's values for every field but its examples, so that a change of them starts another run."""
    values = chosen(visitor(request), run).recipe
    return [values.get(name, knob.default) for name, knob in KNOBS.items() if name != "data"]


def chosen(who: Visitor, run: str | None) -> Job:
    """The run of that id. Raises Problem."""
    for job in seen_by(who):
        if job.id == run:
            return job
    raise Problem("Choose a run first.")


@asks("see jobs")
def glance(request: gr.Request, seen: str) -> Any:
    """A text that is another one once anything about the runs is, upon which the page looks at them."""
    now = stamp() if visitor(request).mode != "visitor" else "none"
    return gr.skip() if now == seen else now


@asks("see jobs")
def look(request: gr.Request, run: str | None, others: list[str] | None, last: dict[str, Any]) -> list[Any]:
    """Everything that shows runs, read from their folders; what has not changed is left alone on the page."""
    found = seen_by(visitor(request))
    job = next((each for each in found if each.id == run), found[0] if found else None)
    overlaid = [each for each in found if each.id in (others or []) and each is not job]
    names = [(f"{each.name} ({render.when(each.record.get('created'))})", each.id) for each in found]
    kept = [each.id for each in overlaid]
    points = render.points([*([job] if job else []), *overlaid])
    view = {
        "list": render.runs_table(found),
        "choice": (names, job.id if job else None),
        "others": (names, kept),
        "line": render.headline(job),
        "plot": points,
        "lines": json.dumps(list(dict.fromkeys(points["line"]))),
        "sweep": render.sweep(job, found),
        "answers": render.answers(job),
        "table": render.before_after(job),
        "log": render.log_tail(job),
        "stop": bool(job and not job.over),
        "resume": bool(job and job.over and job.state != "done"),
        "delete": bool(job and job.over),
    }
    said = {"choice": run, "others": others or []}
    return [view, *(gr.skip() if last.get(part) == view[part] else update(part, view[part], said) for part in VIEW)]


@asks("see jobs")
def coloured(request: gr.Request, lines: str) -> gr.LinePlot:
    """The plot's lines by name, once its points are there: it knows only those of its first points by itself."""
    return gr.LinePlot(color_map=render.colours(json.loads(lines or "[]")))


def update(part: str, value: Any, said: dict[str, Any]) -> Any:
    """A part of the view as its component takes it. A choice that stands is not sent back: it may be another by now."""
    if part in said:
        kept = {} if value[1] == said[part] else {"value": value[1]}
        return gr.Dropdown(choices=value[0], **kept)
    if part == "plot":
        import pandas

        # an empty plot draws a legend from minus to plus infinity
        return gr.LinePlot(value=pandas.DataFrame(value), visible=bool(value["step"]))
    return gr.Button(interactive=value) if part in ("stop", "resume", "delete") else value
